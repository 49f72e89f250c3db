"""What a network sees of an LP: a bipartite graph of columns and rows (Gasse et al. 2019).

One encoding serves root, node and neighbourhood search. Two-sided rows become two rows, the left
side with its sign turned, so that every row reads a'x <= b. `SCHEMA` is written into every model
that was trained on these columns; a change of their meaning is a new number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.parts.mip.lp_state import LpState

SCHEMA = 1
COLUMN_FEATURES = (
    "is binary",
    "is integer",
    "is implied integer",
    "is continuous",
    "cost over its norm",
    "has lower bound",
    "has upper bound",
    "at lower bound",
    "at upper bound",
    "fractionality",
    "basis: lower",
    "basis: basic",
    "basis: upper",
    "basis: zero",
    "reduced cost over norm of cost",
    "age",
    "LP value",
    "value in best point",
    "mean value in points",
)
"""The 19 columns of `Encoded.columns`; fractionality is 0 for continuous columns."""
ROW_FEATURES = (
    "cosine with cost",
    "side over norm",
    "is tight",
    "age",
    "dual over norms",
)
"""The 5 columns of `Encoded.rows`."""
EPSILON = 1e-6
"""A value this close to a bound or side is at it."""
_NORM = 1e-12
_CONTINUOUS = 3

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Encoded:
    """A bipartite graph, float32 and free of NaN."""

    columns: NDArray[np.float32]
    """[n, 19]."""
    rows: NDArray[np.float32]
    """[r, 5], one for each finite side."""
    edge_rows: NDArray[np.int64]
    """[e], ascending."""
    edge_columns: NDArray[np.int64]
    """[e]."""
    edges: NDArray[np.float32]
    """[e], coefficient over the norm of its row."""
    places: NDArray[np.int64]
    """[n], number of each column in the problem."""


def encode(state: LpState) -> Encoded:
    """Return the graph of an LP."""
    n = len(state.cost)
    sides = int(np.isfinite(state.left).sum() + np.isfinite(state.right).sum())
    lengths = np.diff(state.starts)
    count = int(
        (lengths * (np.isfinite(state.left).astype(np.int64) + np.isfinite(state.right))).sum()
    )
    columns = np.zeros((n, len(COLUMN_FEATURES)), dtype=np.float32)
    rows = np.zeros((sides, len(ROW_FEATURES)), dtype=np.float32)
    edge_rows, edge_columns = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    edges = np.zeros(count, dtype=np.float32)
    norm = _encode_columns(
        state.kinds, state.cost, state.lower, state.upper, state.value, state.basis,
        state.reduced, state.column_age, state.incumbent, state.average, state.lps, columns,
    )  # fmt: skip
    _encode_rows(
        state.cost, norm, state.left, state.right, state.activity, state.dual, state.row_age,
        state.starts, state.columns, state.entries, state.lps, rows, edge_rows, edge_columns,
        edges,
    )  # fmt: skip
    return Encoded(
        columns=columns,
        rows=rows,
        edge_rows=edge_rows,
        edge_columns=edge_columns,
        edges=edges,
        places=state.places,
    )


@jit
def cost_norm(cost: Array) -> Any:
    """Return the norm of a cost, [n], kept away from 0."""
    norm = 0.0
    for j in range(len(cost)):
        norm += cost[j] * cost[j]
    return max(np.sqrt(norm), _NORM)


@jit
def set_still_features(told: Array, kind: int, cost: float, norm: float) -> None:
    """Fill what a column, [19], keeps all through a search; the rest becomes 0."""
    told[:] = 0.0
    told[kind] = 1.0
    told[4] = cost / norm


@jit
def set_moving_features(
    told: Array,
    lower: float,
    upper: float,
    value: float,
    basis: int,
    reduced: float,
    age: int,
    norm: float,
    lps: int,
) -> None:
    """Fill what changes with the LP in a column, [19]."""
    told[5] = lower > -np.inf
    told[6] = upper < np.inf
    told[7] = lower > -np.inf and value - lower <= EPSILON
    told[8] = upper < np.inf and upper - value <= EPSILON
    part = 0.0
    if told[_CONTINUOUS] == 0.0:
        part = value - np.floor(value)
        # A hair below a whole number is that number.
        if part > 1 - EPSILON:
            part = 0.0
    told[9] = part
    for place in range(4):
        told[10 + place] = place == basis
    told[14] = reduced / norm
    told[15] = age / (lps + 5.0)
    told[16] = value


@jit
def set_point_features(told: Array, incumbent: float, average: float) -> None:
    """Fill what the points found say of a column, [19]; 0 where they are NaN."""
    told[17] = incumbent if incumbent == incumbent else 0.0
    told[18] = average if average == average else 0.0


@jit
def set_side_features(
    told: Array,
    turned: int,
    side: float,
    product: float,
    row_norm: float,
    norm: float,
    activity: float,
    dual: float,
    age: int,
    lps: int,
) -> None:
    """Fill one side of a row, [5]; `product` is that of the row with the cost."""
    sign = 1.0 if turned == 0 else -1.0
    told[0] = sign * product / (row_norm * norm)
    told[1] = sign * side / row_norm
    told[2] = np.abs(side - activity) <= EPSILON * max(1.0, np.abs(side))
    told[3] = age / (lps + 5.0)
    told[4] = sign * dual / (row_norm * norm)


@jit
def row_sums(cost: Array, columns: Array, entries: Array) -> tuple[Any, Any]:
    """Return the norm of a row, kept away from 0, and its product with the cost."""
    norm, product = 0.0, 0.0
    for k in range(len(entries)):
        norm += entries[k] * entries[k]
        product += entries[k] * cost[columns[k]]
    return max(np.sqrt(norm), _NORM), product


@jit
def _encode_columns(
    kinds: Array,
    cost: Array,
    lower: Array,
    upper: Array,
    value: Array,
    basis: Array,
    reduced: Array,
    age: Array,
    incumbent: Array,
    average: Array,
    lps: int,
    told: Array,
) -> Any:
    """Fill the features of columns; return the norm of the cost."""
    norm = cost_norm(cost)
    for j in range(len(cost)):
        row = told[j]
        set_still_features(row, kinds[j], cost[j], norm)
        set_moving_features(
            row, lower[j], upper[j], value[j], basis[j], reduced[j], age[j], norm, lps
        )  # fmt: skip
        set_point_features(row, incumbent[j], average[j])
    return norm


@jit
def _encode_rows(
    cost: Array,
    norm: float,
    left: Array,
    right: Array,
    activity: Array,
    dual: Array,
    age: Array,
    starts: Array,
    columns: Array,
    entries: Array,
    lps: int,
    told: Array,
    edge_rows: Array,
    edge_columns: Array,
    edges: Array,
) -> None:
    """Fill the features of rows, one row for each finite side, and the edges."""
    row, edge = 0, 0
    for i in range(len(left)):
        begin, end = starts[i], starts[i + 1]
        row_norm, product = row_sums(cost, columns[begin:end], entries[begin:end])
        for turned in range(2):
            side = right[i] if turned == 0 else left[i]
            if not np.abs(side) < np.inf:
                continue
            set_side_features(
                told[row], turned, side, product, row_norm, norm, activity[i], dual[i], age[i], lps
            )
            sign = 1.0 if turned == 0 else -1.0
            for k in range(begin, end):
                edge_rows[edge] = row
                edge_columns[edge] = columns[k]
                edges[edge] = sign * entries[k] / row_norm
                edge += 1
            row += 1
