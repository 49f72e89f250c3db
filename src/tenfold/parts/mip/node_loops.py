"""Compiled loops that bring a `NodeReader`'s arrays to the LP of a node.

Shapes: n columns, m rows, r told rows (one for each finite side), e edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.parts.mip import scip_library as lib
from tenfold.parts.mip.features import (
    cost_norm,
    row_sums,
    set_moving_features,
    set_point_features,
    set_side_features,
    set_still_features,
)

Array = NDArray[Any]
_IMPLIED, _CONTINUOUS = 2, 3

# Numbers that a reader keeps, by their place in its `facts`.
COLUMNS, ROWS, SIDES, EDGES, VERSION = 0, 1, 2, 3, 4
"""Sizes of what is in the arrays; -1 columns: nothing is."""
RUNS, LPS = 5, 6
BEST, BEST_INDEX, FOUND = 7, 8, 9
"""The points that columns were last told of."""
FACTS = 10

# What is kept of a row, by its place in `row_marks`.
POINTER, INDEX, ENTRIES, WHICH, SIDE, EDGE = 0, 1, 2, 3, 4, 5
"""SCIP's pointer and running number, entries, finite sides (1 right, 2 left), first told row and
edge."""


@jit
def _sides(row: int, infinite: float) -> Any:
    """Return which sides of a row are finite: 1 right, 2 left, 3 both."""
    return 1 * (lib.lp_row_right(row) < infinite) + 2 * (lib.lp_row_left(row) > -infinite)


@jit
def sizes(scip: int) -> Array:
    """Return columns, rows, told rows and edges of the LP."""
    told = np.zeros(4, dtype=np.int64)
    told[0] = lib.count_lp_columns(scip)
    told[1] = lib.count_lp_rows(scip)
    table, infinite = lib.lp_rows(scip), lib.infinity(scip)
    for i in range(told[1]):
        which = _sides(table[i], infinite)
        count = which // 2 + which % 2
        told[2] += count
        told[3] += count * lib.lp_row_entries(table[i])
    return told


@jit
def read(
    scip: int,
    facts: Array,
    norm: Array,
    column_marks: Array,
    cost: Array,
    columns: Array,
    places: Array,
    row_marks: Array,
    sums: Array,
    rows: Array,
    starts: Array,
    edge_rows: Array,
    edge_columns: Array,
    edges: Array,
) -> Any:
    """Bring all arrays to the LP of now; return whether they had room for it."""
    n, m = lib.count_lp_columns(scip), lib.count_lp_rows(scip)
    if n > len(places) or m > len(row_marks):
        return False
    runs, lps = lib.count_runs(scip), lib.count_lps(scip)
    if runs != facts[RUNS] or lps < facts[LPS] or n != facts[COLUMNS]:
        facts[COLUMNS] = -1
    facts[RUNS], facts[LPS] = runs, lps
    # Averages are read again if there are more points than last time.
    again = lib.count_points_found(scip) != facts[FOUND]
    if facts[COLUMNS] < 0 or not _move_columns(
        scip, column_marks, cost, columns, n, norm[0], lps, again
    ):
        _begin_columns(scip, facts, norm, column_marks, cost, columns, places, n)
        _move_columns(scip, column_marks, cost, columns, n, norm[0], lps, True)
    _tell_points(scip, facts, columns, n)
    known = min(m, facts[ROWS])
    kept = _move_rows(scip, row_marks, sums, rows, 0, known, norm[0], lps)
    if kept < m or kept < facts[ROWS]:
        if not _append_rows(
            scip, facts, kept, m, cost[:n], row_marks, sums, rows, starts, edge_rows,
            edge_columns, edges,
        ):  # fmt: skip
            return False
        _move_rows(scip, row_marks, sums, rows, kept, m, norm[0], lps)
    return True


@jit
def _begin_columns(
    scip: int,
    facts: Array,
    norm: Array,
    marks: Array,
    cost: Array,
    columns: Array,
    places: Array,
    n: int,
) -> None:
    """Read what columns keep through a search; rows and points will be read anew as well."""
    table = lib.lp_columns(scip)
    for j in range(n):
        marks[j, 0], marks[j, 1] = table[j], lib.lp_column_index(table[j])
        cost[j] = lib.lp_column_cost(table[j])
    norm[0] = cost_norm(cost[:n])
    for j in range(n):
        variable = lib.lp_column_variable(table[j])
        kind = lib.kind(variable)
        if kind == _CONTINUOUS and lib.is_implied(variable) != 0:
            kind = _IMPLIED
        set_still_features(columns[j], kind, cost[j], norm[0])
        places[j] = lib.place(variable)
    facts[COLUMNS], facts[ROWS], facts[BEST] = n, 0, -1
    facts[SIDES], facts[EDGES] = 0, 0
    facts[VERSION] += 1


@jit
def _move_columns(
    scip: int,
    marks: Array,
    cost: Array,
    columns: Array,
    n: int,
    norm: float,
    lps: int,
    again: bool,
) -> Any:
    """Fill the features that each LP changes; stop at a column that was not there before.

    SCIP clips an average to the global bounds, which contain those of the node and only tighten;
    so one that lies within the node's bounds is as it was, and others are read again.

    Returns:
        Whether all columns and their costs are those that were read before.
    """
    table, infinite = lib.lp_columns(scip), lib.infinity(scip)
    any_point = lib.best_point(scip) != 0
    for j in range(n):
        column = table[j]
        if (
            column != marks[j, 0]
            or lib.lp_column_index(column) != marks[j, 1]
            or lib.lp_column_cost(column) != cost[j]
        ):
            return False
        low, high = lib.lp_column_lower(column), lib.lp_column_upper(column)
        set_moving_features(
            columns[j],
            low if low > -infinite else -np.inf,
            high if high < infinite else np.inf,
            lib.lp_column_value(column),
            lib.lp_column_basis(column),
            lib.lp_column_reduced_cost(scip, column),
            lib.lp_column_age(column),
            norm,
            lps,
        )
        average = columns[j, 18]
        if any_point and (again or average < low or average > high):
            columns[j, 18] = lib.average_value(lib.lp_column_variable(column))
    return True


@jit
def _tell_points(scip: int, facts: Array, columns: Array, n: int) -> None:
    """Fill the values of the best point, if it is another than last time.

    A value in a point is looked up in a hash table.
    """
    best = lib.best_point(scip)
    index = lib.point_index(best) if best != 0 else -1
    facts[FOUND] = lib.count_points_found(scip)
    if best == facts[BEST] and index == facts[BEST_INDEX]:
        return
    facts[BEST], facts[BEST_INDEX] = best, index
    table = lib.lp_columns(scip)
    for j in range(n):
        if best != 0:
            variable = lib.lp_column_variable(table[j])
            value = lib.point_value(scip, best, variable)
            set_point_features(columns[j], value, lib.average_value(variable))
        else:
            set_point_features(columns[j], np.nan, np.nan)


@jit
def _append_rows(
    scip: int,
    facts: Array,
    kept: int,
    m: int,
    cost: Array,
    marks: Array,
    sums: Array,
    rows: Array,
    starts: Array,
    edge_rows: Array,
    edge_columns: Array,
    edges: Array,
) -> Any:
    """Read the edges of all rows behind the first `kept`; return whether there was room."""
    side, edge = facts[SIDES], facts[EDGES]
    if kept < facts[ROWS]:
        side, edge = marks[kept, SIDE], marks[kept, EDGE]
    table, infinite = lib.lp_rows(scip), lib.infinity(scip)
    entries = np.empty(len(cost))
    for i in range(kept, m):
        row = table[i]
        count, which = lib.lp_row_entries(row), _sides(row, infinite)
        marks[i, POINTER], marks[i, INDEX] = row, lib.lp_row_index(row)
        marks[i, ENTRIES], marks[i, WHICH] = count, which
        marks[i, SIDE], marks[i, EDGE] = side, edge
        told = which // 2 + which % 2
        if side + told > len(rows) or edge + told * count > len(edges):
            return False
        if told == 0:
            continue
        held, coefficients = lib.lp_row_columns(row), lib.lp_row_values(row)
        for k in range(count):
            edge_columns[edge + k] = lib.lp_column_place(held[k])
            entries[k] = coefficients[k]
        first = edge_columns[edge : edge + count]
        sums[i, 0], sums[i, 1] = row_sums(cost, first, entries[:count])
        for turned in range(2):
            if which & (1 + turned) == 0:
                continue
            sign = 1.0 if turned == 0 else -1.0
            starts[side] = edge
            for k in range(count):
                edge_rows[edge] = side
                edge_columns[edge] = first[k]
                edges[edge] = sign * entries[k] / sums[i, 0]
                edge += 1
            side += 1
    starts[side] = edge
    facts[ROWS], facts[SIDES], facts[EDGES] = m, side, edge
    facts[VERSION] += 1
    return True


@jit
def _move_rows(
    scip: int,
    marks: Array,
    sums: Array,
    rows: Array,
    begin: int,
    end: int,
    norm: float,
    lps: int,
) -> Any:
    """Fill the features of rows from `begin` on; sides may move without a change of edges.

    Returns:
        The first row that is not the one that was read before, else `end`.
    """
    table, infinite = lib.lp_rows(scip), lib.infinity(scip)
    for i in range(begin, end):
        row, which, told = table[i], marks[i, WHICH], marks[i, SIDE]
        if (
            row != marks[i, POINTER]
            or lib.lp_row_index(row) != marks[i, INDEX]
            or lib.lp_row_entries(row) != marks[i, ENTRIES]
            or _sides(row, infinite) != which
        ):
            return i
        constant = lib.lp_row_constant(row)
        activity = lib.lp_row_activity(scip, row) - constant
        dual, age = lib.lp_row_dual(row), lib.lp_row_age(row)
        for turned in range(2):
            if which & (1 + turned) == 0:
                continue
            side = lib.lp_row_right(row) if turned == 0 else lib.lp_row_left(row)
            set_side_features(
                rows[told], turned, side - constant, sums[i, 1], sums[i, 0], norm, activity, dual,
                age, lps,
            )  # fmt: skip
            told += 1
    return end


@jit
def read_candidates(scip: int, places: Array) -> Any:
    """Fill the places of the columns to branch on; return how many there are."""
    held = np.zeros(1, dtype=np.intp)
    counts = np.zeros(3, dtype=np.int32)
    at, sizes = np.int64(held.ctypes.data), np.int64(counts.ctypes.data)
    code = lib.lp_candidates(scip, at, 0, 0, sizes, sizes + 4, sizes + 8)
    assert code == 1
    variables = np.empty(counts[1], dtype=np.intp)
    lib.copy_bytes(np.int64(variables.ctypes.data), held[0], 8 * len(variables))
    for k in range(len(variables)):
        places[k] = lib.lp_column_place(lib.lp_column_of(variables[k]))
    return len(variables)
