from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.parts.mip.propagate import grant_wishes

WIDE = 3


def small(rng, n=5, m=4):
    """Return a random instance of integers in 0..2 and one continuous column, and its points."""
    matrix = rng.integers(-3, 4, size=(m, n)).astype(float)
    middle = matrix @ rng.integers(0, WIDE, size=n)
    mip = from_rows(
        name="small",
        cost=np.zeros(n),
        matrix=sparse.csr_array(matrix),
        left=np.where(rng.random(m) < 0.5, middle - rng.integers(0, 3, m), -np.inf),
        right=np.where(rng.random(m) < 0.7, middle + rng.integers(0, 3, m), np.inf),
        upper=np.full(n, WIDE - 1.0),
        kinds=np.full(n, Kind.INTEGER, dtype=np.uint8),
    )
    points = np.array(list(product(range(WIDE), repeat=n)), dtype=float)
    activity = points @ matrix.T
    fits = ((activity >= mip.left - 1e-9) & (activity <= mip.right + 1e-9)).all(axis=1)
    return mip, points[fits]


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_point_is_lost_and_no_wish_is_refused_that_a_point_grants(seed):
    rng = np.random.default_rng(seed)
    mip, points = small(rng)
    order = rng.permutation(5)
    wanted = rng.integers(0, WIDE, size=5).astype(float)
    low, high, granted = grant_wishes(mip, order, wanted, wanted)
    left = points
    for column, value, given_ in zip(order, wanted, granted, strict=True):
        there = left[left[:, column] == value]
        if given_:
            left = there
            assert low[column] == high[column] == value
        else:
            assert not len(there)
    assert ((left >= low - 1e-9) & (left <= high + 1e-9)).all()


def test_what_follows_from_a_wish_is_fixed_and_what_contradicts_it_refused():
    # x0 + x1 + x2 <= 1 and x2 = x3: after x0 = 1 the others are 0.
    mip = from_rows(
        name="cliques",
        cost=np.zeros(4),
        matrix=sparse.csr_array([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, -1.0]]),
        left=np.array([-np.inf, 0.0]),
        right=np.array([1.0, 0.0]),
        upper=np.ones(4),
        kinds=np.full(4, Kind.BINARY, dtype=np.uint8),
    )
    low, high, granted = grant_wishes(mip, np.array([0, 3, 1]), np.ones(3), np.ones(3))
    assert granted.tolist() == [True, False, False]
    assert low.tolist() == [1, 0, 0, 0]
    assert high.tolist() == [1, 0, 0, 0]


def test_a_wish_refused_deep_in_its_consequences_leaves_no_trace():
    # x0 = 1 forces y >= 5 by the first row, which the second row's x1 <= 1 cannot follow.
    mip = from_rows(
        name="chain",
        cost=np.zeros(3),
        matrix=sparse.csr_array([[-5.0, 0.0, 1.0], [0.0, 4.0, -1.0]]),
        left=np.zeros(2),
        right=np.full(2, np.inf),
        upper=np.array([1.0, 1.0, np.inf]),
        kinds=np.array([Kind.BINARY, Kind.BINARY, Kind.CONTINUOUS], dtype=np.uint8),
    )
    low, high, granted = grant_wishes(mip, np.array([0]), np.ones(1), np.ones(1))
    assert not granted.any()
    assert low.tolist() == mip.lower.tolist()
    assert high.tolist() == mip.upper.tolist()


def test_bounds_of_continuous_columns_stay_those_of_the_instance():
    mip = from_rows(
        name="free",
        cost=np.zeros(2),
        matrix=sparse.csr_array([[-10.0, 1.0]]),
        left=np.array([-np.inf]),
        right=np.array([0.0]),
        lower=np.array([0.0, -np.inf]),
        upper=np.array([1.0, np.inf]),
        kinds=np.array([Kind.BINARY, Kind.CONTINUOUS], dtype=np.uint8),
    )
    low, high, granted = grant_wishes(mip, np.array([0]), np.zeros(1), np.zeros(1))
    assert granted.all()
    assert high[0] == 0
    assert low[1] == -np.inf
    assert high[1] == np.inf


@pytest.mark.parametrize("wish", [(0.4, 0.6), (3.0, 4.0)])
def test_a_wish_outside_of_whole_values_or_bounds_is_refused(wish):
    mip, _ = small(np.random.default_rng(0))
    wide = from_rows(
        name="wide", cost=mip.cost, matrix=sparse.csr_array(np.zeros((1, 5))),
        left=np.array([-np.inf]), right=np.array([np.inf]), upper=mip.upper, kinds=mip.kinds,
    )  # fmt: skip
    _, _, granted = grant_wishes(wide, np.array([2]), np.array([wish[0]]), np.array([wish[1]]))
    assert not granted.any()
