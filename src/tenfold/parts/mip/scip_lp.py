"""The LP of a node to arrays, by compiled loops over SCIP's pointers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.parts.mip import scip_library as lib

Array = NDArray[Any]
_IMPLIED, _CONTINUOUS = 2, 3


@jit
def measure(scip: int) -> Array:
    """Return columns, rows and entries of the LP."""
    told = np.zeros(3, dtype=np.int64)
    told[0] = lib.count_lp_columns(scip)
    told[1] = lib.count_lp_rows(scip)
    rows = lib.lp_rows(scip)
    for i in range(told[1]):
        told[2] += lib.lp_row_entries(rows[i])
    return told


@jit
def read(
    scip: int,
    reals: Array,
    wholes: Array,
    row_reals: Array,
    row_ages: Array,
    starts: Array,
    places: Array,
    values: Array,
) -> Any:
    """Fill the arrays of an `LpState`; return the number of LPs solved so far.

    Args:
        scip: pointer.
        reals: [7, n]: cost, lower, upper, value, reduced cost, incumbent, average.
        wholes: [4, n]: kind, basis, age, place in the problem.
        row_reals: [4, m]: left, right, activity, dual.
        row_ages: [m].
        starts: [m + 1].
        places: [entries].
        values: [entries].
    """
    infinite = lib.infinity(scip)
    columns = lib.lp_columns(scip)
    best = lib.best_point(scip)
    for j in range(reals.shape[1]):
        column = columns[j]
        variable = lib.lp_column_variable(column)
        reals[0, j] = lib.lp_column_cost(column)
        low, high = lib.lp_column_lower(column), lib.lp_column_upper(column)
        reals[1, j] = low if low > -infinite else -np.inf
        reals[2, j] = high if high < infinite else np.inf
        reals[3, j] = lib.lp_column_value(column)
        reals[4, j] = lib.lp_column_reduced_cost(scip, column)
        reals[5, j] = lib.point_value(scip, best, variable) if best != 0 else np.nan
        reals[6, j] = lib.average_value(variable) if best != 0 else np.nan
        kind = lib.kind(variable)
        if kind == _CONTINUOUS and lib.is_implied(variable) != 0:
            kind = _IMPLIED
        wholes[0, j] = kind
        wholes[1, j] = lib.lp_column_basis(column)
        wholes[2, j] = lib.lp_column_age(column)
        wholes[3, j] = lib.place(variable)
    rows = lib.lp_rows(scip)
    end = 0
    starts[0] = 0
    for i in range(row_reals.shape[1]):
        row = rows[i]
        constant = lib.lp_row_constant(row)
        low, high = lib.lp_row_left(row), lib.lp_row_right(row)
        row_reals[0, i] = low - constant if low > -infinite else -np.inf
        row_reals[1, i] = high - constant if high < infinite else np.inf
        row_reals[2, i] = lib.lp_row_activity(scip, row) - constant
        row_reals[3, i] = lib.lp_row_dual(row)
        row_ages[i] = lib.lp_row_age(row)
        held, coefficients = lib.lp_row_columns(row), lib.lp_row_values(row)
        for k in range(lib.lp_row_entries(row)):
            places[end] = lib.lp_column_place(held[k])
            values[end] = coefficients[k]
            end += 1
        starts[i + 1] = end
    return lib.count_lps(scip)
