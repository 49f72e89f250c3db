import dataclasses
import math

import pytest

from tenfold.engine.claim import to_json
from tenfold.rooms.jumprelu import claim as claim_module
from tenfold.rooms.jumprelu.claim import MATCHES, conclude, interpolate, reduction
from tenfold.rooms.jumprelu.claim_config import Claim, make_plan

PLAN = make_plan(Claim(scale="laptop"))
SUBJECT = {"parameters": 1_000_000, "bits_per_byte": 2.0, "trigram_bits_per_byte": 2.5}
EQUAL = dict.fromkeys(("TopK", "BatchTopK", "Gated", "ReLU-L1"), 1.0)
CLEAR = EQUAL | {"Gated": 0.9, "ReLU-L1": 0.7}
"""Ours over theirs: 10 % below Gated, 30 % below ReLU, level with TopK."""


def lane(l0, *, seed=0, fvu, target=0.0, often=0.0):
    return {
        "target_l0": target or l0,
        "seed": seed,
        "l0": l0,
        "fvu": fvu,
        "delta_loss": fvu / 2,
        "reconstruction_bias": 1.0,
        "dead": 0,
        "above_10_percent": often,
        "frequency_counts": [1] * 24,
        "frequency_edges": [-6 + number / 4 for number in range(25)],
    }


def piece(plan, arm, site, *, ratio, noise=0.0, often=0.0, reach=1.0):
    """One arm whose FVU is 3 L0^-0.7 / `ratio`, each seed off by `noise` in its own direction."""
    lanes = [
        lane(
            target * reach,
            seed=seed,
            fvu=3 * (target * reach) ** -0.7 / ratio * math.exp(noise * (seed - 2)),
            target=target,
            often=often,
        )
        for seed in plan.seeds
        for target in plan.target_l0
    ]
    curve = {"step": [0, 1], "l0": [9.0, 5.0], "fvu": [0.9, 0.3]}
    curves = {f"{target:g}": curve for target in plan.target_l0}
    order = [a.name for a in plan.arms].index(arm)
    return {"arm": arm, "order": order, "site": site, "lanes": lanes, "curves": curves}


def concluded(ratios, *, plan=PLAN, noise=0.0, often=None, reach=1.0):
    often = often or {}
    pieces = [
        piece(
            plan,
            arm,
            site,
            ratio={"JumpReLU": 1.0, **ratios}[arm],
            noise=noise if arm == "JumpReLU" else 0.0,
            often=often.get(arm, 0.0),
            reach=reach if arm == "JumpReLU" else 1.0,
        )
        for site in plan.sites
        for arm in ("JumpReLU", *ratios)
    ]
    claim = Claim(scale="laptop", results="somewhere/else")
    return conclude(claim, plan, pieces, subject=SUBJECT, seconds=1.0)


def comparison(result, start):
    (found,) = [one for one in result.comparisons if one.name.startswith(start)]
    return found


# Reading fronts


def test_a_power_law_is_read_exactly_between_its_points():
    lanes = [lane(l0, fvu=2 * l0**-0.5) for l0 in (10.0, 30.0, 90.0)]
    assert interpolate(lanes, "fvu", seed=0, l0=16) == pytest.approx(2 * 16**-0.5)
    assert interpolate(lanes, "delta_loss", seed=0, l0=64) == pytest.approx(64**-0.5)


@pytest.mark.parametrize("l0", [9.9, 90.1])
def test_a_front_is_never_extrapolated(l0):
    lanes = [lane(at, fvu=2 * at**-0.5) for at in (10.0, 30.0, 90.0)]
    assert interpolate(lanes, "fvu", seed=0, l0=l0) is None


def test_each_seed_is_read_on_its_own_front():
    lanes = [lane(at, seed=seed, fvu=(1 + seed) / at) for at in (10.0, 30.0) for seed in (0, 1)]
    found = [interpolate(lanes, "fvu", seed=seed, l0=20) for seed in (0, 1)]
    assert found == pytest.approx([1 / 20, 2 / 20])


def test_a_front_with_a_point_that_has_no_logarithm_gives_nothing():
    lanes = [lane(10.0, fvu=0.5), lane(20.0, fvu=-0.1), lane(30.0, fvu=0.1)]
    assert interpolate(lanes, "fvu", seed=0, l0=12) is None


def test_the_reduction_is_the_geometric_mean_over_places_in_percent():
    points = (10.0, 30.0, 90.0)
    fronts = {
        ("a", "JumpReLU"): [lane(l0, fvu=0.5 * l0**-0.5) for l0 in points],
        ("b", "JumpReLU"): [lane(l0, fvu=0.8 * l0**-0.5) for l0 in points],
        ("a", "Gated"): [lane(l0, fvu=l0**-0.5) for l0 in points],
        ("b", "Gated"): [lane(l0, fvu=l0**-0.5) for l0 in points],
    }
    both = [("a", 16.0), ("b", 64.0)]
    found = reduction(fronts, MATCHES[0], both, seed=0)
    assert found == pytest.approx(100 * (1 - math.sqrt(0.5 * 0.8)))
    assert reduction(fronts, MATCHES[0], [*both, ("a", 100.0)], seed=0) is None


# Verdicts


def test_rules_are_those_fixed_before_any_run():
    rules = [(m.rival, m.measure, m.rule.kind, m.rule.margin) for m in MATCHES if m.primary]
    assert rules == [
        ("Gated", "fvu", "at_least", 5),
        ("TopK", "fvu", "at_least", -10),
        ("ReLU-L1", "fvu", "at_least", 15),
    ]


def test_effects_are_the_percentages_the_fronts_were_made_with():
    result = concluded(CLEAR)
    for rival, percent in (("Gated", 10), ("TopK", 0), ("ReLU-L1", 30)):
        for label in ("FVU", "delta loss"):
            found = comparison(result, f"{label}: JumpReLU against {rival}")
            assert found.effects == pytest.approx([percent] * len(PLAN.seeds), abs=1e-9)


def test_a_result_does_not_say_where_it_was_copied_to():
    assert "somewhere/else" not in str(to_json(concluded(CLEAR)))


def test_the_claim_holds_if_every_primary_margin_is_passed():
    assert concluded(CLEAR, noise=0.005).verdict == "holds"


@pytest.mark.parametrize(
    ("rival", "ratio"),
    [
        ("Gated", 0.99),  # 1 % lower, 5 wanted
        ("TopK", 1.2),  # 20 % higher, 10 allowed
        ("ReLU-L1", 0.9),  # 10 % lower, 15 wanted
    ],
)
def test_the_claim_does_not_hold_if_one_primary_margin_is_missed(rival, ratio):
    result = concluded(CLEAR | {rival: ratio}, noise=0.005)
    assert comparison(result, f"FVU: JumpReLU against {rival}").verdict == "does not hold"
    assert result.verdict == "does not hold"


def test_the_claim_is_undecided_if_seeds_spread_over_a_margin():
    result = concluded(CLEAR, noise=0.1)
    assert comparison(result, "FVU: JumpReLU against Gated").verdict == "undecided"
    assert result.verdict == "undecided"


def test_the_claim_is_undecided_if_a_front_does_not_reach_the_matched_l0():
    result = concluded(CLEAR, reach=3.0)
    found = comparison(result, "FVU: JumpReLU against Gated")
    assert found.effects == (None,) * len(PLAN.seeds)
    assert result.verdict == "undecided"


def test_secondary_comparisons_do_not_decide():
    result = concluded(CLEAR | {"BatchTopK": 2.0}, noise=0.005)
    assert comparison(result, "FVU: JumpReLU against BatchTopK").verdict == "does not hold"
    assert result.verdict == "holds"


def test_frequent_latents_are_compared_as_differences_to_gated():
    result = concluded(CLEAR, often={"JumpReLU": 7, "TopK": 2, "Gated": 3})
    found = {
        name: comparison(result, f"latents firing on over 10 % of rows: {name} against")
        for name in ("JumpReLU", "TopK")
    }
    assert {one.effects for one in found.values()} == {(4.0,) * 5, (-1.0,) * 5}
    assert [one.verdict for one in found.values()] == ["holds", "does not hold"]


def test_l0s_below_the_decisive_one_are_shown_but_do_not_count():
    plan = dataclasses.replace(PLAN, target_l0=(4.0, 12.0, 48.0), matched_l0=(8.0, 16.0, 32.0))
    ours = piece(plan, "JumpReLU", "x", ratio=1.0)
    for one in ours["lanes"]:
        one["fvu"] *= 100 if one["target_l0"] == 4.0 else 1
    theirs = piece(plan, "Gated", "x", ratio=0.9)
    fronts = {("x", "JumpReLU"): ours["lanes"], ("x", "Gated"): theirs["lanes"]}
    plan = dataclasses.replace(plan, sites=("x",))
    effects = claim_module._reductions(fronts, MATCHES[0], plan)
    assert effects == pytest.approx([10.0] * len(plan.seeds))


def test_notes_say_so_if_the_model_does_not_beat_a_trigram():
    weak = SUBJECT | {"bits_per_byte": 3.0}
    notes = claim_module._notes(PLAN, weak)
    assert "does NOT beat the trigram" in notes[0]
    assert "20.0 % less" in claim_module._notes(PLAN, SUBJECT)[0]


@pytest.mark.parametrize("scale", ["quick", "laptop", "full", "gpu"])
def test_every_plan_matches_inside_its_targets_and_trains_all_rivals(scale):
    plan = make_plan(Claim(scale=scale))
    assert min(plan.target_l0) < min(plan.matched_l0)
    assert max(plan.matched_l0) < max(plan.target_l0)
    assert {match.rival for match in MATCHES} | {"JumpReLU"} <= {arm.name for arm in plan.arms}
    assert len(plan.seeds) >= 3
    assert plan.rows > plan.batch
