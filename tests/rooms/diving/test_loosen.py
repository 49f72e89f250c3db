from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from tenfold.parts.mip.instance import Kind, change_bounds, from_rows

pytest.importorskip("highspy")

from tenfold.parts.mip import families, highs
from tenfold.rooms.diving.dive.assign import Partial
from tenfold.rooms.diving.dive.loosen import loosen


def fixed_at(mip, columns, values):
    lower, upper = mip.lower.copy(), mip.upper.copy()
    lower[columns] = upper[columns] = values
    return Partial(lower=lower, upper=upper, coverage=1.0, tightened=len(columns))


@pytest.fixture
def needs_three():
    """Five binaries of which at least three must be 1, and a continuous column."""
    return from_rows(
        name="three",
        sense="maximize",
        cost=np.array([1.0, 2.0, 3.0, 4.0, 5.0, -1.0]),
        matrix=sparse.csr_array([[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]]),
        left=np.array([3.0]),
        right=np.array([np.inf]),
        upper=np.ones(6),
        kinds=np.array([Kind.BINARY] * 5 + [Kind.CONTINUOUS], dtype=np.uint8),
    )


def test_as_few_columns_are_freed_as_an_lp_needs(needs_three):
    partial = fixed_at(needs_three, [0, 1, 2, 3, 4], [0.0, 0.0, 0.0, 0.0, 1.0])
    looser = loosen(needs_three, partial)
    free = looser.lower[:5] < looser.upper[:5]
    assert free.sum() == 2
    assert not free[4]
    assert looser.tightened == 3
    assert looser.lower[4] == 1


def test_assignments_that_an_lp_can_keep_are_not_touched(needs_three):
    assert loosen(needs_three, fixed_at(needs_three, [0, 1], [0.0, 0.0])) is None


def test_columns_fixed_inside_their_bounds_stay_and_nothing_to_free_gives_none(needs_three):
    wide = replace(needs_three, kinds=np.full(6, Kind.INTEGER, dtype=np.uint8))
    wide = change_bounds(wide, wide.lower, np.full(6, 2.0))
    wide = replace(wide, left=np.array([9.0]))
    assert loosen(wide, fixed_at(wide, [0, 1, 2, 3, 4], np.ones(5))) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_is_left_has_an_lp_point(seed):
    mip = families.find_family("unit_commitment").make(seed, units=6, hours=8)
    columns = np.flatnonzero(mip.binary)
    partial = fixed_at(mip, columns, np.zeros(len(columns)))
    looser = loosen(mip, partial)
    assert looser is not None
    assert looser.tightened < len(columns)
    relaxed = highs.relax(change_bounds(mip, looser.lower, looser.upper))
    assert relaxed.status == "optimal"
