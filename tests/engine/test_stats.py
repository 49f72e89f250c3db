import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream
from tenfold.engine.stats import (
    bootstrap_interval,
    interquartile_mean,
    log_interpolate,
    mean_interval,
    paired_interval,
    paired_test,
    smallest_effect,
)

PATIENT = settings(deadline=None, derandomize=True)
NUMBERS = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 3))
SAMPLES = st.lists(NUMBERS, min_size=2, max_size=9)


@PATIENT
@given(SAMPLES)
def test_mean_interval_is_that_of_student(values):
    assume(np.std(values) > 1e-6)
    interval = mean_interval(values)
    low, high = reference.t.interval(
        0.95, len(values) - 1, loc=np.mean(values), scale=reference.sem(values)
    )
    assert interval.estimate == pytest.approx(np.mean(values))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)


def test_mean_interval_of_three_seeds_covers_as_often_as_it_says():
    draws = stream(0, "coverage").normal(2.0, 1.0, size=(2000, 3))
    covers = [mean_interval(row) for row in draws]
    share = np.mean([interval.low <= 2.0 <= interval.high for interval in covers])
    assert share == pytest.approx(0.95, abs=0.02)


def test_bootstrap_of_three_seeds_covers_too_rarely_which_is_why_student_is_used():
    draws = stream(0, "coverage").normal(2.0, 1.0, size=(400, 3))
    covers = [bootstrap_interval(row, statistic=lambda v: v.mean(-1), resamples=500)
              for row in draws]  # fmt: skip
    assert np.mean([interval.low <= 2.0 <= interval.high for interval in covers]) < 0.85


def test_bootstrap_of_many_values_agrees_with_student():
    values = stream(1, "many").normal(size=400)
    bootstrap = bootstrap_interval(values, statistic=lambda v: v.mean(-1))
    student = mean_interval(values)
    assert (bootstrap.low, bootstrap.high) == pytest.approx((student.low, student.high), abs=0.01)


def test_bootstrap_is_a_function_of_its_seed():
    values = stream(2, "some").normal(size=12)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


@PATIENT
@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_interquartile_mean_is_the_mean_trimmed_by_a_quarter_at_each_end(values):
    assert interquartile_mean(values) == pytest.approx(reference.trim_mean(values, 0.25))


def test_interquartile_mean_does_not_see_an_outlier():
    assert interquartile_mean([1.0, 2.0, 3.0, 4.0, 1e9]) == 3.0


@PATIENT
@given(SAMPLES, st.randoms(use_true_random=False))
def test_paired_interval_depends_only_on_the_differences(values, random):
    shift = [random.randint(-100, 100) for _ in values]
    ours = [value + move for value, move in zip(values, shift, strict=True)]
    paired, alone = paired_interval(ours, shift), mean_interval(values)
    assert (paired.low, paired.high) == pytest.approx((alone.low, alone.high), abs=1e-6)


@PATIENT
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=7))
def test_paired_test_counts_every_sign_flip(differences):
    flips = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(np.dot(signs, differences)) for signs in flips]
    share = np.mean([total >= abs(sum(differences)) for total in sums])
    assert paired_test(differences, np.zeros(len(differences))) == pytest.approx(share)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 16])
def test_the_smallest_p_of_n_pairs_is_two_in_two_to_the_n(count):
    assert paired_test(np.full(count, 0.1), np.zeros(count)) == 2 / 2**count


def test_paired_test_of_many_pairs_is_that_of_student():
    ours = stream(0, "ours").normal(0.3, 1.0, size=40)
    theirs = stream(0, "theirs").normal(size=40)
    assert paired_test(ours, theirs) == pytest.approx(reference.ttest_rel(ours, theirs).pvalue)


def test_many_equal_differences_are_certain_one_way_or_the_other():
    assert paired_test(np.ones(20), np.ones(20)) == 1.0
    assert paired_test(np.ones(20), np.zeros(20)) == 0.0


def test_smallest_effect_agrees_with_the_known_sample_size_of_half_a_deviation():
    # dz = 0.5, two-sided 5 %, power 80 % needs 34 pairs (Faul et al. 2007, G*Power 3).
    def unit_spread(count):
        values = np.linspace(-1, 1, count)
        return values / values.std(ddof=1)

    assert smallest_effect(unit_spread(34)) < 0.5 < smallest_effect(unit_spread(33))


def test_a_test_at_the_smallest_effect_rejects_with_the_stated_power():
    sample = np.array([-1.0, 0.0, 1.0, -1.0, 1.0])
    effect = smallest_effect(sample)
    draws = stream(0, "power").normal(effect, sample.std(ddof=1), size=(20_000, 5))
    assert np.mean(reference.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) == pytest.approx(
        0.8, abs=0.01
    )


@PATIENT
@given(st.floats(0.01, 100), st.integers(2, 12))
def test_smallest_effect_falls_with_more_seeds_and_grows_with_the_spread(spread, pairs):
    few = np.array([-1.0, 1.0] * pairs)
    many = np.array([-1.0, 1.0] * (pairs + 1))
    assert smallest_effect(many) < smallest_effect(few)
    assert smallest_effect(spread * few) == pytest.approx(spread * smallest_effect(few))


def test_two_seeds_still_have_a_smallest_effect_and_it_is_enormous():
    assert smallest_effect([0.0, 1.0]) > 8


def test_no_spread_means_any_effect_would_have_shown():
    assert smallest_effect([0.3, 0.3, 0.3]) == pytest.approx(0.0, abs=1e-12)


@PATIENT
@given(
    exponent=st.floats(-3, 3),
    scale=st.floats(0.01, 100),
    x=st.lists(st.floats(0.1, 1e4), min_size=2, max_size=8),
    share=st.floats(0, 1),
)
def test_log_interpolation_is_exact_on_power_laws_in_any_order(exponent, scale, x, share):
    at = min(max(min(x) ** (1 - share) * max(x) ** share, min(x)), max(x))
    y = [scale * value**exponent for value in x]
    assert log_interpolate(x, y, at) == pytest.approx(scale * at**exponent, rel=1e-9)


@pytest.mark.parametrize("at", [0.9, 10.1, -1.0, math.nan])
def test_log_interpolation_does_not_extrapolate(at):
    assert log_interpolate([10.0, 1.0], [1.0, 2.0], at) is None


def test_log_interpolation_of_nothing_is_nothing():
    assert log_interpolate([], [], 1.0) is None


def test_points_of_equal_x_count_as_their_geometric_mean():
    assert log_interpolate([4.0, 4.0], [1.0, 9.0], 4.0) == pytest.approx(3.0)


@pytest.mark.parametrize("function", [mean_interval, bootstrap_interval, smallest_effect])
@pytest.mark.parametrize(
    ("values", "fault"), [([1.0], "two values or more, got 1"), ([1.0, math.nan], "not all finite")]
)
def test_too_few_or_broken_values_are_refused(function, values, fault):
    with pytest.raises(TenfoldError, match=fault):
        function(values)


@pytest.mark.parametrize("function", [paired_interval, paired_test])
def test_pairs_of_different_number_are_refused(function):
    with pytest.raises(TenfoldError, match="got 3 and 2"):
        function([1.0, 2.0, 3.0], [1.0, 2.0])


def test_a_curve_with_a_point_that_has_no_logarithm_is_refused_with_the_value():
    with pytest.raises(TenfoldError, match="got 0; leave that point out"):
        log_interpolate([0.0, 1.0], [1.0, 1.0], 0.5)
    with pytest.raises(TenfoldError, match="got -2"):
        log_interpolate([1.0, 3.0], [-2.0, 1.0], 2.0)
    with pytest.raises(TenfoldError, match="got 2 x and 1 y"):
        log_interpolate([1.0, 3.0], [2.0], 2.0)
