import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.mip.measure import (
    Censored,
    Clock,
    Curve,
    gap,
    gap_ratio,
    mean_curve,
    primal_curve,
    primal_dual_curve,
    shifted_mean,
    survival,
)
from tenfold.parts.mip.solving import Step

NAN, INF = float("nan"), float("inf")
TRACE = (
    Step(seconds=0.5, primal=NAN, dual=-INF),
    Step(seconds=1.0, primal=200.0, dual=50.0),
    Step(seconds=3.0, primal=125.0, dual=80.0),
    Step(seconds=4.0, primal=100.0, dual=100.0),
)


def test_gaps_by_hand():
    assert gap(125.0, 100.0) == 0.2
    assert gap(-80.0, -100.0) == 0.2
    assert gap(0.0, 0.0) == 0.0
    for missing in ((NAN, 1.0), (INF, 1.0), (-1.0, 1.0)):
        assert gap(*missing) == 1.0


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_gap_lies_between_zero_and_one_and_is_symmetric(one, two):
    assert 0 <= gap(one, two) <= 1
    assert gap(one, two) == gap(two, one)
    assert gap(one, one) == 0


def test_curves_of_a_trace_by_hand():
    primal = primal_curve(TRACE, 100.0)
    assert primal.times.tolist() == [0.0, 1.0, 3.0, 4.0]
    assert primal.values.tolist() == [1.0, 0.5, 0.2, 0.0]
    assert primal.at([0.0, 0.99, 1.0, 2.9, 9.0]).tolist() == [1.0, 1.0, 0.5, 0.5, 0.0]
    # 1 * 1 + 2 * 0.5 + 1 * 0.2
    assert primal.integral(10.0) == pytest.approx(2.2)
    assert primal.integral(2.0) == pytest.approx(1.5)
    assert primal.first_below(0.2) == 3.0
    assert primal.first_below(0.1) == 4.0
    both = primal_dual_curve(TRACE)
    assert both.values.tolist() == [1.0, 0.75, pytest.approx(0.36), 0.0]


def test_a_gap_that_grows_again_counts_from_the_last_time_it_falls():
    curve = Curve(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.1, 0.5, 0.05]))
    assert curve.first_below(0.2) == 3.0
    assert Curve(np.array([0.0]), np.array([1.0])).first_below(0.2) == INF


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_mean_of_curves_is_the_mean_at_every_time(pairs):
    curves = [Curve(np.array([0.0, t + 1]), np.array([1.0, v])) for t, v in pairs]
    mean = mean_curve(curves)
    for t in np.linspace(0, 110, 23):
        assert mean.at(t) == pytest.approx(np.mean([curve.at(t) for curve in curves]))


def test_survival_is_the_share_that_got_there():
    reach = [1.0, 3.0, INF, 3.0]
    curves = [
        Curve(np.array([0.0, 1.0 if t == INF else t]), np.array([1.0, 0.5 if t == INF else 0.0]))
        for t in reach
    ]
    shares = survival(curves, 0.01)
    assert shares.at([0.5, 1.0, 2.0, 3.0, 50.0]).tolist() == [0.0, 0.25, 0.25, 0.75, 0.75]


def test_shifted_means():
    assert shifted_mean([7.0, 7.0], 10.0) == pytest.approx(7.0)
    assert shifted_mean([1.0, 100.0], 0.0) == pytest.approx(10.0)
    assert shifted_mean([0.0, 99.0], 1.0) == pytest.approx(9.0)


def test_times_that_were_not_reached_count_as_the_limit_and_are_told():
    ours = Censored(np.array([1.0, 3.0]), 60.0)
    theirs = Censored(np.array([15.0, INF, 70.0]), 60.0)
    assert (ours.missed, theirs.missed) == (0, 2)
    assert theirs.mean() == pytest.approx((16 * 61 * 61) ** (1 / 3) - 1)
    assert ours.ratio_to(theirs) == theirs.mean() / ours.mean()


def test_gaps_below_the_floor_are_not_told_apart():
    assert gap_ratio([1e-7, 0.0], [1e-9]) == 1.0
    assert gap_ratio([0.0], [0.01]) == pytest.approx(100.0)


def test_a_clock_wants_more_samples_until_it_is_sure():
    assert not Clock(np.array([1.0, 1.0]), 2.0).enough()
    assert Clock(np.array([1.0, 1.0, 1.0]), 2.0).enough()
    assert Clock(np.array([1.0, 1.0, 1.0]), 2.0).speed == 2.0
    shaky = np.array([1.0, 3.0] * 5)
    assert not Clock(shaky, 2.0).enough()
    assert Clock(np.tile(shaky, 3), 2.0).enough()
    # Half a width of 1.96 standard errors of the mean, here 1.96 * sqrt(10 / 9) / sqrt(10) / 2.
    assert Clock(shaky, 2.0).error == pytest.approx(1.96 * (10 / 9) ** 0.5 / 10**0.5 / 2)
