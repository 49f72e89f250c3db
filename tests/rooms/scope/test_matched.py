import numpy as np
import pytest

from rooms.scope.evaluated import D, drawn, speaker, write_suite
from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream
from tenfold.engine.stats import mean_interval
from tenfold.rooms.scope.eval import evaluate
from tenfold.rooms.scope.evaluation.matched import (
    Evaluation,
    Point,
    compare,
    front,
    fronts_by,
    open_evaluation,
    read_front,
    shared_l0,
)
from tenfold.rooms.scope.evaluation.resampling import (
    MOST_GROUPS,
    RESAMPLES,
    draws,
    grouped,
    quantile_interval,
    ratio_interval,
)


def power_law(height, *, seeds=(0,), slope=-1.0, noise=None):
    """A front that is a straight line on log-log axes."""
    return [
        Point(
            name=f"{l0}_{seed}",
            seed=seed,
            l0=l0,
            value=height * (noise or {}).get(seed, 1.0) * l0**slope,
        )
        for seed in seeds
        for l0 in (8.0, 16.0, 32.0)
    ]


def test_a_power_law_is_read_exactly_and_never_beyond_its_ends():
    points = power_law(2.0)
    assert read_front(points, 11.0).estimate == pytest.approx(2 / 11)
    for l0 in (7.9, 32.1):
        outside = read_front(points, l0)
        assert (outside.estimate, outside.interval, outside.over) == (None, None, "nothing")


def test_differences_over_seeds_are_paired_with_students_interval():
    noise = {0: 1.0, 1: 1.5, 2: 2.5}
    fronts = {
        "ours": power_law(0.8, seeds=(0, 1, 2), noise=noise),
        "theirs": power_law(1.0, seeds=(0, 1, 2), noise=noise),
    }
    (match,) = compare(fronts, reference="theirs", l0=(16.0,))
    # The noise is common to both and cancels seed by seed.
    assert match.lower.estimate == pytest.approx(20)
    assert match.lower.over == "seeds"
    assert match.lower.interval.low == pytest.approx(20)
    values = [0.8 * noise[seed] / 16 for seed in noise]
    assert match.ours.interval.low == pytest.approx(mean_interval(values).low)
    assert match.ours.interval.high == pytest.approx(mean_interval(values).high)


def test_only_seeds_on_both_sides_are_compared():
    fronts = {"a": power_law(1.0, seeds=(0, 1)), "b": power_law(2.0, seeds=(1, 2))}
    (match,) = compare(fronts, reference="b", l0=(16.0,))
    assert match.lower.estimate == pytest.approx(50)
    assert (match.lower.over, match.lower.interval) == ("nothing", None)


def test_a_front_with_a_value_that_has_no_logarithm_is_not_read():
    points = [*power_law(1.0), Point(name="x", seed=0, l0=20.0, value=-0.1)]
    assert read_front(points, 16.0).estimate is None


def test_shared_l0s_lie_within_every_front_of_every_seed():
    wide, narrow = power_law(1.0), power_law(1.0)[:2]
    assert shared_l0([wide]) == (8.0, 16.0, 32.0)
    assert all(8 <= l0 <= 16 for l0 in shared_l0([wide, narrow]))
    apart = [Point(name="x", seed=0, l0=100.0, value=1.0)]
    assert shared_l0([wide, apart]) == ()
    assert shared_l0([]) == ()


def test_an_unknown_reference_gives_the_nearest_name():
    with pytest.raises(TenfoldError, match="did you mean theirs"):
        compare({"ours": [], "theirs": []}, reference="their")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    made = {
        (f"w{latents}_{threshold}", site): drawn(D, latents=latents, threshold=threshold)
        for site in ("blocks.0", "blocks.1")
        for latents in (16, 24)
        for threshold in (0.2, 0.6, 1.0)
    }
    suite = write_suite(folder / "suite", made)
    evaluate(suite, speaker(), tokens=10**9, part_tokens=1, out=folder / "out", quiet=True)
    return open_evaluation(folder / "out")


def test_fronts_are_taken_by_their_facts(evaluated):
    assert len(front(evaluated, site="blocks.0")) == 6
    assert list(fronts_by(evaluated, "width", site="blocks.0")) == ["16", "24"]
    assert list(fronts_by(evaluated, "site", "delta_loss", width=16)) == ["blocks.0", "blocks.1"]
    with pytest.raises(TenfoldError, match="unknown measure 'fvuu'"):
        front(evaluated, "fvuu")


def test_with_one_seed_the_interval_is_over_items(evaluated):
    fronts = fronts_by(evaluated, "width", site="blocks.0")
    matches = compare(fronts, reference="16")
    assert matches
    for match in matches:
        assert match.lower.over == "items"
        assert match.lower.interval.low <= match.lower.estimate <= match.lower.interval.high
        expected = 100 * (1 - match.ours.estimate / match.theirs.estimate)
        assert match.lower.estimate == pytest.approx(expected)


def test_resampled_points_scatter_around_the_point_itself(evaluated):
    for measure in ("fvu", "delta_loss"):
        for point in front(evaluated, measure):
            l0_J, value_J = point.resampled
            assert l0_J.shape == value_J.shape == (RESAMPLES,)
            assert abs(l0_J.mean() - point.l0) < 0.2 * l0_J.std() + 1e-9
            assert abs(value_J.mean() - point.value) < 0.3 * value_J.std() + 1e-9


def test_without_the_sums_of_items_there_is_an_estimate_but_no_interval(evaluated):
    bare = Evaluation(result=evaluated.result, items={})
    fronts = fronts_by(bare, "width", site="blocks.0")
    for match in compare(fronts, reference="16"):
        assert match.lower.estimate is not None
        assert (match.lower.interval, match.lower.over) == (None, "nothing")


def test_what_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="no evaluation at"):
        open_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"schema": 7}')
    with pytest.raises(TenfoldError, match="schema 7"):
        open_evaluation(tmp_path)


def test_an_interval_over_items_is_that_of_the_mean_for_equal_items():
    values = stream(0, "values").normal(size=400)
    found = ratio_interval(values, np.ones(400))
    error = values.std() / 20
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_draws_have_as_many_items_as_there_are_and_are_always_the_same():
    assert (draws(7).sum(axis=1) == 7).all()
    np.testing.assert_array_equal(draws(7), draws(7))


def test_many_items_are_taken_together_and_none_is_lost():
    values = np.arange(5_000.0)
    assert len(grouped(values)) == MOST_GROUPS
    assert grouped(values).sum() == values.sum()
    np.testing.assert_array_equal(grouped(values[:10]), values[:10])


def test_intervals_that_mean_nothing_are_absent():
    assert ratio_interval(np.ones(1), np.ones(1)) is None
    assert ratio_interval(np.ones(5), np.zeros(5)) is None
    assert quantile_interval(np.array([1.0, np.nan]), 1.0) is None
