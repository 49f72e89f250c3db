import json
import math

import numpy as np
import pytest

from rooms.diving.examples import cover, facilities, infeasible, linear, untrained
from tenfold.parts.mip import highs, instances, measure
from tenfold.parts.mip.measure import Curve
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving import eval as evaluating
from tenfold.rooms.diving.baselines import remember
from tenfold.rooms.diving.dive.collecting import label
from tenfold.rooms.diving.dive.config import CollectDive, Diving
from tenfold.rooms.diving.eval import (
    Kit,
    best_known,
    by_method,
    lacking,
    mean_gap_ratio,
    primal_curves,
    primal_dual_curves,
    ratio_of_times,
    run_method,
    summarise,
    time_to_mean_gap,
)
from tenfold.rooms.diving.solving import Tools

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")


def falls(at, to=0.0):
    """Return a gap of 1 that falls at a time."""
    return Curve(np.array([0.0, at]), np.array([1.0, to]))


def trial(instance, objective, *, method="scip", sense="minimize", trace=(), feasible=True):
    return {
        "instance": instance, "objective": objective, "method": method, "sense": sense,
        "feasible": feasible, "trace": [list(row) for row in trace],
    }  # fmt: skip


# Times


def test_the_time_to_a_mean_gap_is_when_the_last_that_is_needed_comes_down():
    curves = [falls(1.0), falls(3.0), falls(5.0)]
    # Two of three down leave a mean of a third.
    assert time_to_mean_gap(curves, 0.35, limit=10.0).seconds == 3.0
    assert time_to_mean_gap(curves, 0.01, limit=10.0).seconds == 5.0


def test_a_mean_gap_that_never_comes_down_counts_as_the_limit():
    reached = time_to_mean_gap([falls(1.0), falls(2.0, to=0.5)], 0.01, limit=10.0)
    assert math.isinf(reached.seconds)
    assert reached.at_most == 10.0


def test_the_ratio_of_times_of_equal_instances_is_exact():
    found = ratio_of_times([falls(2.0)] * 4, [falls(6.0)] * 4, 0.01, limit=10.0)
    assert (found.estimate, found.low, found.high) == (3.0, 3.0, 3.0)


def test_the_ratio_of_times_against_one_that_never_gets_there_uses_the_limit():
    found = ratio_of_times([falls(2.0)] * 3, [falls(1.0, to=0.5)] * 3, 0.01, limit=10.0)
    assert (found.estimate, found.low, found.high) == (5.0, 5.0, 5.0)


def test_a_time_after_the_limit_counts_as_the_limit():
    found = ratio_of_times([falls(2.0)] * 3, [falls(40.0)] * 3, 0.01, limit=10.0)
    assert found.estimate == 5.0


def test_the_interval_of_a_ratio_comes_from_drawing_instances_in_pairs():
    ours = [falls(1.0), falls(2.0), falls(4.0)]
    # Always three times as long, instance by instance: so is every resample.
    found = ratio_of_times(ours, [falls(3 * t) for t in (1.0, 2.0, 4.0)], 0.01, limit=100.0)
    assert found.low == pytest.approx(3.0)
    assert found.high == pytest.approx(3.0)
    mixed = ratio_of_times(ours, [falls(3.0), falls(2.0), falls(4.0)], 0.01, limit=100.0)
    assert mixed.estimate == pytest.approx(1.0)
    assert mixed.low == pytest.approx(1.0)
    assert mixed.high == pytest.approx(3.0)


def test_the_resamples_of_one_seed_are_always_the_same():
    one, two = (evaluating.bootstrap_rows(7, seed=3) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.shape == (evaluating.RESAMPLES, 7)
    assert not np.array_equal(one, evaluating.bootstrap_rows(7, seed=4))


# Gaps


def test_the_ratio_of_mean_gaps_is_that_of_the_means():
    ours, theirs = [falls(1.0, to=0.02), falls(1.0, to=0.04)], [falls(1.0, to=0.3)] * 2
    assert mean_gap_ratio(ours, theirs, 5.0).estimate == pytest.approx(10.0)


def test_gaps_below_the_floor_are_not_told_apart():
    zero, tiny, tenth = (falls(1.0, to=gap) for gap in (0.0, 1e-7, 0.1))
    assert mean_gap_ratio([zero] * 2, [tiny] * 2, 5.0).estimate == 1.0
    assert mean_gap_ratio([zero] * 2, [tenth] * 2, 5.0).estimate == pytest.approx(
        0.1 / measure.FLOOR
    )


def test_survival_is_the_share_of_instances_that_are_there_by_then():
    curve = measure.survival([falls(1.0), falls(3.0), falls(2.0, to=0.5), falls(3.0)], 0.01)
    assert curve.at(np.array([0.5, 1.0, 2.9, 3.0, 99.0])).tolist() == [0.0, 0.25, 0.25, 0.75, 0.75]


def test_the_best_known_value_goes_by_the_sense_and_by_checked_points_only():
    trials = [
        trial("min", 3.0), trial("min", 2.0), trial("min", 1.0, feasible=False),
        trial("max", 3.0, sense="maximize"), trial("max", 4.0, sense="maximize"),
        trial("none", None, feasible=False),
    ]  # fmt: skip
    best = best_known(trials)
    assert (best["min"], best["max"]) == (2.0, 4.0)
    assert math.isnan(best["none"])


def test_curves_of_a_trial_follow_its_trace():
    trace = [(0.5, None, 50.0), (1.0, 200.0, 50.0), (2.0, 100.0, 80.0)]
    trials = [trial("a", 100.0, trace=trace)]
    (curve,) = primal_curves(trials, {"a": 100.0})
    assert curve.at(np.array([0.0, 1.0, 1.5, 2.0])).tolist() == [1.0, 0.5, 0.5, 0.0]
    (curve,) = primal_dual_curves(trials)
    assert curve.at(np.array([0.6, 1.0, 2.0])).tolist() == pytest.approx([1.0, 0.75, 0.2])


def test_the_summary_tells_times_integrals_and_who_did_not_get_there():
    trials = [
        trial("a", 100.0, method="fast", trace=[(1.0, 100.0, None)]),
        trial("b", 100.0, method="fast", trace=[(3.0, 100.0, None)]),
        trial("a", 200.0, method="slow", trace=[(2.0, 200.0, None)]),
        trial("b", 100.0, method="slow", trace=[(4.0, 100.0, None)]),
        trial("c", None, method="slow", trace=[], feasible=False),
    ]
    fast, slow = summarise(trials, target=0.01, limit=10.0)
    assert fast["time_to_mean_gap"] == 3.0
    assert (fast["reached"], slow["reached"]) == (2, 1)
    assert slow["time_to_mean_gap"] is None
    assert fast["primal_integral"] == pytest.approx((1.0 + 3.0) / 2 / 10)
    # A gap of 1 for 2 s, of one half for 8 s; a gap of 1 for 4 s.
    assert slow["primal_integral"] == pytest.approx((2 + 4 + 4) / 2 / 10)
    assert slow["final_gap"] == pytest.approx(0.25)
    assert slow["time"] == pytest.approx(measure.shifted_mean([10.0, 4.0], 1.0))
    # Nobody has a point of the third instance.
    assert slow["trials"] == 2


def test_trials_are_grouped_by_method_and_sorted_so_that_pairs_match():
    trials = [
        trial("b", 1.0, method="x"), trial("a", 1.0, method="y") | {"seed": 1},
        trial("a", 2.0, method="y") | {"seed": 0}, trial("a", 3.0, method="x"),
    ]  # fmt: skip
    groups = by_method(trials)
    assert list(groups) == ["x", "y"]
    assert [t["instance"] for t in groups["x"]] == ["a", "b"]
    assert [t["objective"] for t in groups["y"]] == [2.0, 1.0]


# Runs


@pytest.fixture(scope="module")
def kit():
    mips = [facilities(seed) for seed in range(3)]
    entries = [label(mip, key=mip.name, cfg=CollectDive(nodes=20)) for mip in mips]
    tools = Tools(dive=untrained(mips), diving=Diving(force=True))
    emphasis = {"presolve": "fast", "heuristics": "default", "separating": "off"}
    return Kit(tools=tools, memory=remember(entries), emphasis=emphasis)


@pytest.mark.parametrize(
    "method",
    ["scip", "scip-tuned", "highs", "rens", "rens-scip", "majority", "majority-scip", "knn",
     "knn-scip", "dive", "dive-scip", "branch-random", "branch-pscost", "scip-pair"],
)  # fmt: skip
def test_every_method_gives_a_checked_trial_that_json_can_hold(method, kit):
    mip = facilities(9)
    told = run_method(method, mip, kit=kit, seconds=30.0)
    assert json.loads(json.dumps(told)) == told
    assert (told["method"], told["instance"], told["sense"]) == (method, mip.name, "minimize")
    assert told["feasible"] is True
    best = highs.solve(mip, limits=Limits(gap=1e-6)).objective
    assert told["objective"] == pytest.approx(best, rel=3e-4)
    assert told["trace"][-1][1] == pytest.approx(told["objective"])
    assert all(0 <= row[0] <= told["seconds"] for row in told["trace"])


@pytest.mark.parametrize("method", ["rens", "dive", "scip", "scip-pair"])
def test_a_trial_of_an_infeasible_instance_has_no_point_and_is_not_feasible(method, kit):
    told = run_method(method, infeasible(), kit=kit, seconds=30.0)
    assert (told["status"], told["objective"], told["feasible"]) == ("infeasible", None, False)


def test_a_trial_of_an_lp_is_no_exception(kit):
    for method in ("rens", "dive", "highs"):
        told = run_method(method, linear(), kit=kit, seconds=30.0)
        assert told["objective"] == pytest.approx(3.0)


def test_time_counts_from_the_reading_of_the_file_on(tmp_path, kit, monkeypatch):
    instances.write(cover(0), tmp_path / "c.mps")
    clock = iter([100.0, *[107.0] * 10_000])
    monkeypatch.setattr(evaluating.time, "monotonic", lambda: next(clock))
    told = run_method("scip", tmp_path / "c.mps", kit=kit, seconds=5.0)
    assert told["seconds"] == 7.0


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ("dive", "a diving network"), ("dive-scip", "a diving network"),
        ("joint", "a diving network"), ("branch", "a branching policy"),
        ("majority", "labels"), ("knn-scip", "labels"), ("scip-tuned", "instances to tune on"),
        ("scip", ""), ("highs", ""), ("rens", ""), ("branch-random", ""), ("scip-pair", ""),
    ],
)  # fmt: skip
def test_a_method_says_what_it_lacks(method, needs):
    told = lacking(method, Kit(tools=Tools()))
    assert told.startswith(needs)
    assert bool(told) == bool(needs)
