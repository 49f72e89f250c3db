"""A problem inside SCIP to arrays and back, by compiled loops over SCIP's pointers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.parts.mip import scip_library as lib

Array = NDArray[Any]
_BINARY, _INTEGER, _IMPLIED, _CONTINUOUS = 0, 1, 2, 3
"""Values of `instance.Kind`, which are also SCIP's own numbers of variable types."""


_KINDS = np.frombuffer("".join(f"{kind}\0" for kind in lib.ROW_KINDS).encode(), dtype=np.uint8)


@jit
def _address(array: Array) -> Any:
    """Return where an array lies; signed, as sums of signed and unsigned would become floats."""
    return np.int64(array.ctypes.data)


@jit
def _length(name: Any) -> Any:
    length = 0
    while name[length] != 0:
        length += 1
    return length


@jit
def _copy(name: Any, into: Array, begin: int) -> Any:
    """Copy a name with the zero behind it; return where the next one begins."""
    place = 0
    while name[place] != 0:
        into[begin + place] = name[place]
        place += 1
    into[begin + place] = 0
    return begin + place + 1


@jit
def _is_row(scip: int, row: int) -> Any:
    """Tell whether a constraint is of one of the linear kinds."""
    kind = lib.row_kind(row)
    begin = 0
    while begin < len(_KINDS):
        if lib.find_kind(scip, _address(_KINDS) + begin) == kind:
            return True
        while _KINDS[begin] != 0:
            begin += 1
        begin += 1
    return False


@jit
def measure(scip: int, original: bool) -> Array:
    """Return columns, rows, entries at most, bytes of column and of row names, a row not linear.

    The last is its number, -1 if all are linear.
    """
    told = np.zeros(6, dtype=np.int64)
    told[5] = -1
    count = lib.count_original_columns(scip) if original else lib.count_columns(scip)
    rows = lib.count_original_rows(scip) if original else lib.count_rows(scip)
    told[0], told[1] = count, rows
    columns = lib.original_columns(scip) if original else lib.columns(scip)
    for j in range(count):
        told[3] += _length(lib.column_name(columns[j])) + 1
    table = lib.original_rows(scip) if original else lib.rows(scip)
    entries = np.zeros(1, dtype=np.int32)
    good = np.zeros(1, dtype=np.uint32)
    for i in range(rows):
        told[4] += _length(lib.row_name(table[i])) + 1
        lib.count_row_columns(scip, table[i], _address(entries), _address(good))
        if good[0] == 0 or not _is_row(scip, table[i]):
            told[5] = i
            return told
        told[2] += entries[0]
    return told


@jit
def read_columns(
    scip: int, original: bool, cost: Array, lower: Array, upper: Array, kinds: Array, names: Array
) -> None:
    """Fill objective, bounds, kinds, [n], and names, each with a zero behind it."""
    columns = lib.original_columns(scip) if original else lib.columns(scip)
    infinite = lib.infinity(scip)
    begin = 0
    for j in range(len(cost)):
        column = columns[j]
        cost[j] = lib.cost(column)
        lower[j] = lib.original_lower(column) if original else lib.lower(column)
        upper[j] = lib.original_upper(column) if original else lib.upper(column)
        if lower[j] <= -infinite:
            lower[j] = -np.inf
        if upper[j] >= infinite:
            upper[j] = np.inf
        kind = lib.kind(column)
        if kind == _CONTINUOUS and lib.is_implied(column) != 0:
            kind = _IMPLIED
        kinds[j] = kind
        begin = _copy(lib.column_name(column), names, begin)


@jit
def read_rows(
    scip: int,
    original: bool,
    starts: Array,
    places: Array,
    values: Array,
    left: Array,
    right: Array,
    names: Array,
) -> Any:
    """Fill sides, [m], names, and entries, [nnz], of all rows; `starts` is [m + 1].

    Negated columns, constant - x, are replaced by x.

    Returns:
        The number of a row that is not linear over the problem's columns, else -1.
    """
    table = lib.original_rows(scip) if original else lib.rows(scip)
    infinite = lib.infinity(scip)
    count = np.zeros(1, dtype=np.int32)
    good = np.zeros(1, dtype=np.uint32)
    columns = np.zeros(len(places) + 1, dtype=np.intp)
    begin, end = 0, 0
    starts[0] = 0
    for i in range(len(left)):
        row = table[i]
        begin = _copy(lib.row_name(row), names, begin)
        lib.count_row_columns(scip, row, _address(count), _address(good))
        room = count[0]
        if room > 0:
            lib.row_columns(scip, row, _address(columns), room, _address(good))
            if good[0] == 0:
                return i
            lib.row_values(scip, row, _address(values) + 8 * end, room, _address(good))
            if good[0] == 0:
                return i
        shift = 0.0
        for k in range(room):
            column = columns[k]
            if lib.is_negated(column) != 0:
                shift += values[end + k] * lib.negation_constant(column)
                values[end + k] = -values[end + k]
                column = lib.negation(column)
            place = lib.place(column)
            if place < 0:
                return i
            places[end + k] = place
        end += room
        starts[i + 1] = end
        left[i] = lib.row_left(scip, row, _address(good))
        right[i] = lib.row_right(scip, row, _address(good))
        left[i] = left[i] - shift if left[i] > -infinite else -np.inf
        right[i] = right[i] - shift if right[i] < infinite else np.inf
    return -1


@jit
def build(
    scip: int,
    cost: Array,
    lower: Array,
    upper: Array,
    kinds: Array,
    column_names: Array,
    starts: Array,
    places: Array,
    values: Array,
    left: Array,
    right: Array,
    row_names: Array,
) -> Any:
    """Add all columns and rows to an empty problem; return SCIP's code, 1 if all went well."""
    infinite = lib.infinity(scip)
    n, m = len(cost), len(left)
    made = np.zeros(n + 1, dtype=np.intp)
    one = np.zeros(1, dtype=np.intp)
    name = _address(column_names)
    begin = 0
    for j in range(n):
        kind = kinds[j] if kinds[j] != _IMPLIED else _CONTINUOUS
        least = lower[j] if lower[j] > -infinite else -infinite
        most = upper[j] if upper[j] < infinite else infinite
        at = _address(made) + 8 * j
        code = lib.create_column(scip, at, name + begin, least, most, cost[j], kind)
        if code != 1:
            return code
        code = lib.add_column(scip, made[j])
        if code != 1:
            return code
        while column_names[begin] != 0:
            begin += 1
        begin += 1
    name = _address(row_names)
    begin = 0
    columns = np.zeros(n + 1, dtype=np.intp)
    for i in range(m):
        count = starts[i + 1] - starts[i]
        for k in range(count):
            columns[k] = made[places[starts[i] + k]]
        least = left[i] if left[i] > -infinite else -infinite
        most = right[i] if right[i] < infinite else infinite
        code = lib.create_row(
            scip,
            _address(one),
            name + begin,
            count,
            _address(columns),
            _address(values) + 8 * starts[i],
            least,
            most,
        )
        if code != 1:
            return code
        code = lib.add_row(scip, one[0])
        if code != 1:
            return code
        lib.release_row(scip, _address(one))
        while row_names[begin] != 0:
            begin += 1
        begin += 1
    for j in range(n):
        lib.release_column(scip, _address(made) + 8 * j)
    return 1


@jit
def read_point(scip: int, point: int, x: Array) -> None:
    """Fill the values of a point of SCIP's, in the original columns, [n]."""
    columns = lib.original_columns(scip)
    for j in range(len(x)):
        x[j] = lib.point_value(scip, point, columns[j])


@jit
def read_best(scip: int, x: Array) -> None:
    """Fill the values of the best point that SCIP knows, in the original columns, [n]."""
    read_point(scip, lib.best_point(scip), x)


@jit
def restore(scip: int, inner: Array, x: Array) -> Any:
    """Fill what a point of the presolved problem, [left], is in the original columns, [n].

    Returns:
        SCIP's code, 1 if all went well.
    """
    point = np.zeros(1, dtype=np.intp)
    code = lib.create_point(scip, _address(point), 0)
    if code != 1:
        return code
    columns = lib.columns(scip)
    for j in range(len(inner)):
        code = lib.set_point_value(scip, point[0], columns[j], inner[j])
        if code != 1:
            return code
    read_point(scip, point[0], x)
    return lib.free_point(scip, _address(point))


@jit
def read_indices(scip: int, indices: Array) -> None:
    """Fill the number under which each original column was made, [n]."""
    columns = lib.original_columns(scip)
    for j in range(len(indices)):
        indices[j] = lib.index(columns[j])
