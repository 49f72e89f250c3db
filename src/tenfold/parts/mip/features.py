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
    norm = 0.0
    for j in range(len(cost)):
        norm += cost[j] * cost[j]
    norm = max(np.sqrt(norm), _NORM)
    for j in range(len(cost)):
        row = told[j]
        row[kinds[j]] = 1.0
        row[4] = cost[j] / norm
        row[5] = lower[j] > -np.inf
        row[6] = upper[j] < np.inf
        row[7] = lower[j] > -np.inf and value[j] - lower[j] <= EPSILON
        row[8] = upper[j] < np.inf and upper[j] - value[j] <= EPSILON
        if kinds[j] < 3:
            row[9] = value[j] - np.floor(value[j])
            # A hair below a whole number is that number.
            if row[9] > 1 - EPSILON:
                row[9] = 0.0
        row[10 + basis[j]] = 1.0
        row[14] = reduced[j] / norm
        row[15] = age[j] / (lps + 5.0)
        row[16] = value[j]
        row[17] = incumbent[j] if incumbent[j] == incumbent[j] else 0.0
        row[18] = average[j] if average[j] == average[j] else 0.0
    return norm


@jit
def _encode_rows(
    cost: Array,
    cost_norm: float,
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
        norm, product = 0.0, 0.0
        for k in range(starts[i], starts[i + 1]):
            norm += entries[k] * entries[k]
            product += entries[k] * cost[columns[k]]
        norm = max(np.sqrt(norm), _NORM)
        for turned in range(2):
            side = right[i] if turned == 0 else left[i]
            if not np.abs(side) < np.inf:
                continue
            sign = 1.0 if turned == 0 else -1.0
            told[row, 0] = sign * product / (norm * cost_norm)
            told[row, 1] = sign * side / norm
            told[row, 2] = np.abs(side - activity[i]) <= EPSILON * max(1.0, np.abs(side))
            told[row, 3] = age[i] / (lps + 5.0)
            told[row, 4] = sign * dual[i] / (norm * cost_norm)
            for k in range(starts[i], starts[i + 1]):
                edge_rows[edge] = row
                edge_columns[edge] = columns[k]
                edges[edge] = sign * entries[k] / norm
                edge += 1
            row += 1
