import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from parts.mip.examples import knapsack, random_mip
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.instance import from_rows


def exact_row_break(mip, x):
    """Return the largest break of a row, all in fractions."""
    worst = Fraction(0)
    for i in range(len(mip.left)):
        span = slice(mip.matrix.indptr[i], mip.matrix.indptr[i + 1])
        pairs = zip(mip.matrix.data[span], mip.matrix.indices[span], strict=True)
        activity = sum((Fraction(float(a)) * Fraction(float(x[j])) for a, j in pairs), Fraction(0))
        for side, sign in ((mip.left[i], 1), (mip.right[i], -1)):
            if np.isfinite(side):
                unit = max(Fraction(1), abs(Fraction(float(side))))
                worst = max(worst, sign * (Fraction(float(side)) - activity) / unit)
    return worst


@given(st.integers(0, 10_000), st.floats(-1, 4))
def test_rows_are_judged_as_fractions_judge_them(seed, spread):
    mip = random_mip(seed % 100)
    x = np.random.default_rng(seed).uniform(0, 3, 5) * 10.0**-spread
    exact = exact_row_break(mip, x)
    checked = check_point(mip, x)
    assert checked.row == pytest.approx(float(exact), rel=1e-12, abs=1e-300)
    # A tolerance that is the break itself, to the last digit: rounding must not decide.
    for tolerance in (float(exact), np.nextafter(float(exact), np.inf)):
        told = check_point(mip, x, tolerance=max(tolerance, 0.0))
        assert (told.row <= tolerance) == (exact <= Fraction(float(tolerance)))


def test_cancelling_terms_do_not_hide_a_break():
    mip = from_rows(
        name="m",
        cost=np.zeros(3),
        matrix=sparse.csr_array([[1e20, 1.0, -1e20]]),
        left=np.zeros(1),
        right=np.zeros(1),
    )
    checked = check_point(mip, np.array([1.0, 0.5, 1.0]))
    assert checked.row == 0.5
    assert not checked.feasible
    assert checked.worst == "row 'r0'"


def test_what_is_broken_is_named_with_its_size():
    mip = knapsack()
    assert check_point(mip, np.array([2.0, 0.0, 1.0])).feasible
    assert check_point(mip, np.array([2.0, 0.0, 1.0])).objective == 13.0
    told = check_point(mip, np.array([2.0, 0.5, 1.0]))
    assert (told.whole, told.worst) == (0.5, "whole column 'b'")
    told = check_point(mip, np.array([-4.0, 0.0, 0.0]))
    assert (told.bound, told.worst) == (4.0, "bound of column 'a'")
    # In units of max(1, |side|): 6 instead of at most 5, and 9 instead of at most 8.
    told = check_point(mip, np.array([3.0, 0.0, 0.0]))
    assert told.row == pytest.approx(1 / 5)
    assert "breaks row" in told.line()


@pytest.mark.parametrize("bad", [np.array([1.0, 2.0]), np.array([1.0, np.nan, 0.0])])
def test_what_is_no_point_fits_nothing(bad):
    assert not check_point(knapsack(), bad).feasible


def test_rows_without_columns_count_as_zero():
    mip = dataclasses.replace(
        knapsack(), matrix=sparse.csr_array((3, 3)), left=np.array([-np.inf, 2.0, -np.inf])
    )
    assert check_point(mip, np.zeros(3)).row == 1.0
