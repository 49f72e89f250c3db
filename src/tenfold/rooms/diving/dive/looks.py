"""What a network sees of an instance before any search, with or without the root LP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.parts.mip import highs
from tenfold.parts.mip.features import COLUMN_FEATURES, ROW_FEATURES, encode
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.lp_state import LpState, from_relaxed
from tenfold.parts.mip.solving import Relaxed
from tenfold.parts.nn.graph import Bipartite
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.slots import Slots, slots_of

OWN_COLUMNS = ("LP known", "cost over its spread", "width of bounds", "rows")
"""What a column is told beside the 19 of `features`; these do not change with the size."""
OWN_ROWS = ("LP known", "place of side in range", "entries")
_LP_COLUMNS = [
    COLUMN_FEATURES.index(name)
    for name in ("at lower bound", "at upper bound", "fractionality", "basis: lower",
                 "basis: basic", "basis: upper", "basis: zero", "reduced cost over norm of cost",
                 "age", "LP value")
]  # fmt: skip
_LP_ROWS = [ROW_FEATURES.index(name) for name in ("is tight", "age", "dual over norms")]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Look:
    """One instance as a network sees it."""

    slots: Slots
    graph: Bipartite | None
    """Columns and rows; `None` if only a hook's features are looked at."""
    extra: Tensor
    """[k, F], a hook's features of the slots' columns, one row for each slot; F may be 0."""


def look_at(
    mip: Mip, *, bits: int, hooks: Hooks, graph: bool, relaxed: Relaxed | None = None
) -> Look:
    """Return what is to be seen of an instance.

    Args:
        mip: the instance.
        bits: most slots of a column.
        hooks: of the family.
        graph: whether columns and rows are looked at.
        relaxed: the root LP, if it was solved.
    """
    asked, extra = None, np.zeros((0, 0))
    columns = np.zeros(0, dtype=np.int64)
    if hooks.features is not None:
        columns, extra = hooks.look(mip)
        asked = np.zeros(len(mip.cost), dtype=np.bool_)
        asked[columns] = True
    slots = slots_of(mip, bits=bits, asked=asked)
    row_of = np.zeros(len(mip.cost), dtype=np.int64)
    row_of[columns] = np.arange(len(columns))
    told = extra[row_of[slots.column]] if asked is not None else np.zeros((len(slots), 0))
    return Look(
        slots=slots,
        graph=graph_of(mip, relaxed) if graph else None,
        extra=torch.from_numpy(told.astype(np.float32)),
    )


def graph_of(mip: Mip, relaxed: Relaxed | None) -> Bipartite:
    """Return columns and rows of an instance as a graph; what only an LP knows is 0 without."""
    known = relaxed is not None
    told = encode(from_relaxed(mip, relaxed) if relaxed is not None else _unsolved(mip))
    columns, rows = told.columns, told.rows
    if not known:
        columns[:, _LP_COLUMNS] = 0.0
        rows[:, _LP_ROWS] = 0.0
    own_columns, own_rows = _own_features(mip, known=known)
    return Bipartite(
        columns=torch.from_numpy(np.concatenate([columns, own_columns], axis=1)),
        rows=torch.from_numpy(np.concatenate([rows, own_rows], axis=1)),
        edge_rows=torch.from_numpy(told.edge_rows),
        edge_columns=torch.from_numpy(told.edge_columns),
        edges=torch.from_numpy(told.edges),
    )


def solve_root(mip: Mip, *, seconds: float = np.inf) -> Relaxed | None:
    """Return the root LP, solved by HiGHS; `None` if it has no best point or took too long."""
    relaxed = highs.relax(mip, seconds=seconds)
    return relaxed if relaxed.status == "optimal" else None


def _unsolved(mip: Mip) -> LpState:
    """Return the state of an LP that nobody has solved: all values are 0."""
    m, n = mip.shape
    return from_relaxed(
        mip,
        Relaxed(
            status="optimal", x=np.zeros(n), duals=np.zeros(m), reduced=np.zeros(n),
            basis=np.zeros(n, dtype=np.uint8), objective=0.0, iterations=0, seconds=0.0,
        ),
    )  # fmt: skip


def _own_features(mip: Mip, *, known: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the features of columns and rows that do not change with an instance's size.

    Norms grow with the number of columns; a network that was trained on small instances would
    not know large ones by them alone.
    """
    sign = 1.0 if mip.sense == "minimize" else -1.0
    spread = float(np.sqrt(np.mean(mip.cost[mip.cost != 0] ** 2))) if mip.cost.any() else 1.0
    width = np.where(np.isfinite(mip.upper - mip.lower), mip.upper - mip.lower, 0.0)
    table = mip.matrix
    degree = np.bincount(table.indices, minlength=len(mip.cost))
    columns = np.stack(
        [np.full(len(mip.cost), float(known)), sign * mip.cost / spread, np.log1p(width),
         np.log1p(degree)], axis=1,
    )  # fmt: skip
    counts = np.diff(table.indptr)
    places = _places(mip)
    sides = [np.isfinite(mip.right), np.isfinite(mip.left)]
    # One row for each finite side, the right one first, as `features.encode` has them.
    told = [
        np.stack([np.full(len(counts), float(known)), place, np.log1p(counts)], axis=1)
        for place in places
    ]
    order = np.argsort(
        np.concatenate([2 * np.flatnonzero(sides[0]), 2 * np.flatnonzero(sides[1]) + 1]),
        kind="stable",
    )
    rows = np.concatenate([told[0][sides[0]], told[1][sides[1]]])[order]
    return columns.astype(np.float32), rows.astype(np.float32)


def _places(mip: Mip) -> tuple[Floats, Floats]:
    """Return where each side lies between the least and the most that a row can be, in [-1, 2].

    -1 stands for a row whose activity has no bound; the left side is turned as the row is.
    """
    table = mip.matrix
    low, high = mip.lower[table.indices], mip.upper[table.indices]
    with np.errstate(invalid="ignore"):
        least = np.where(table.data > 0, table.data * low, table.data * high)
        most = np.where(table.data > 0, table.data * high, table.data * low)
    number = np.repeat(np.arange(len(mip.left)), np.diff(table.indptr))
    bottom = np.bincount(number, weights=least, minlength=len(mip.left))
    top = np.bincount(number, weights=most, minlength=len(mip.left))
    bounded = np.isfinite(bottom) & np.isfinite(top)
    range_ = np.maximum(np.where(bounded, top, 0.0) - np.where(bounded, bottom, 0.0), 1e-9)
    found = []
    for side, left in ((mip.right, False), (mip.left, True)):
        there = bounded & np.isfinite(side)
        ends = np.where(there, top, 0.0) if left else np.where(there, bottom, 0.0)
        above = np.where(there, side, 0.0) - ends
        share = np.where(there, (-above if left else above) / range_, -1.0)
        found.append(np.clip(share, -1.0, 2.0))
    return found[0], found[1]
