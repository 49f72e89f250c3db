import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from parts.mip.examples import knapsack, random_mip
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.instance import Kind, change_bounds, from_rows
from tenfold.parts.mip.repair import ROUNDING, repair_point

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")

from tenfold.parts.mip import highs, scip

SOLVERS = pytest.mark.parametrize("solver", [highs, scip], ids=["highs", "scip"])


def opened():
    """Return min 10 y + x1 + 2 x2 with x1 + x2 = 3, x1 <= 2 y, y binary."""
    return from_rows(
        name="opened",
        cost=np.array([10.0, 1.0, 2.0]),
        matrix=sparse.csr_array([[0.0, 1.0, 1.0], [-2.0, 1.0, 0.0]]),
        left=np.array([3.0, -np.inf]),
        right=np.array([3.0, 0.0]),
        upper=np.array([1.0, 5.0, 5.0]),
        kinds=np.array([Kind.BINARY, Kind.CONTINUOUS, Kind.CONTINUOUS], dtype=np.uint8),
    )


@SOLVERS
def test_a_continuous_part_off_by_rounding_is_mended_with_the_best_value(solver):
    mip = opened()
    for y, x, objective in ((1.0, [2.0, 1.0], 14.0), (0.0, [0.0, 3.0], 6.0)):
        broken = np.array([y + 1e-5, *x]) + np.array([0.0, 3e-5, -1e-5])
        assert not check_point(mip, broken).feasible
        mended = repair_point(mip, broken, solver=solver)
        assert mended == pytest.approx([y, *x], abs=1e-9)
        assert mended[0] == y
        assert mip.objective(mended) == pytest.approx(objective)


@SOLVERS
def test_an_integer_part_that_cannot_be_completed_gives_none(solver):
    mip = change_bounds(opened(), np.zeros(3), np.array([1.0, 5.0, 2.0]))
    assert repair_point(mip, np.array([0.0, 0.0, 3.0]), solver=solver) is None
    assert repair_point(mip, np.array([1.0, 0.0, 3.0]), solver=solver) == pytest.approx([1, 2, 1])


def test_a_point_that_fits_is_returned_as_it_is():
    x = np.array([1.0, 0.5, 2.5])
    assert repair_point(opened(), x, solver=highs) is x


def test_integers_that_are_no_matter_of_rounding_or_out_of_bounds_give_none():
    for y in (0.5, 2 * ROUNDING, 2.0, -1.0, np.nan, np.inf):
        assert repair_point(opened(), np.array([y, 2.0, 1.0]), solver=highs) is None


def test_a_continuous_part_that_is_no_number_is_found_anew():
    x = np.array([1.0, np.nan, np.nan])
    assert repair_point(opened(), x, solver=highs) == pytest.approx([1, 2, 1])


@SOLVERS
def test_an_instance_of_integers_alone_is_rounded_or_given_up(solver):
    mip = knapsack()
    assert repair_point(mip, np.array([2.0, 0.0, 1.00002]), solver=solver).tolist() == [2, 0, 1]
    assert repair_point(mip, np.array([2.0, 1.00002, 1.0]), solver=solver) is None


@SOLVERS
def test_columns_without_any_row_go_where_they_are_best(solver):
    mip = from_rows(
        name="free", sense="maximize", cost=np.array([1.0, 3.0]),
        matrix=sparse.csr_array([[1.0, 0.0]]), left=np.array([1.0]), right=np.array([1.0]),
        upper=np.array([2.0, 4.0]), kinds=np.array([Kind.INTEGER, Kind.CONTINUOUS], dtype=np.uint8),
    )  # fmt: skip
    assert repair_point(mip, np.array([1.0, 5.0]), solver=solver).tolist() == [1, 4]


def test_a_part_without_a_best_point_gives_none():
    mip = from_rows(
        name="unbounded", cost=np.array([1.0, -1.0]), matrix=sparse.csr_array([[1.0, 0.0]]),
        left=np.array([1.0]), right=np.array([1.0]),
        kinds=np.array([Kind.INTEGER, Kind.CONTINUOUS], dtype=np.uint8),
    )  # fmt: skip
    assert repair_point(mip, np.array([1.0, -1.0]), solver=highs) is None


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.floats(1e-5, 1e-1))
def test_a_best_point_with_a_broken_continuous_part_comes_back(seed, noise):
    mip = random_mip(seed)
    best = highs.solve(mip)
    if best.status != "optimal":
        return
    draw = np.random.default_rng(seed)
    broken = best.x + np.where(mip.whole, 1e-5, noise) * draw.choice([-1, 1], len(best.x))
    mended = repair_point(mip, broken, solver=highs)
    assert mended is not None
    assert check_point(mip, mended).feasible
    if mended is not broken:
        assert mip.objective(mended) == pytest.approx(best.objective, abs=1e-5)
