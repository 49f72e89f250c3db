"""A mixed-integer linear program as arrays.

    min or max  cost'x + offset   subject to  left <= A x <= right,  lower <= x <= upper,
    x_j whole for the integer columns.

Nothing here knows a solver: `scip` and `highs` read and write these.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tenfold.engine.errors import TenfoldError

Floats = NDArray[np.float64]
Sense = Literal["minimize", "maximize"]


class Kind(IntEnum):
    """What values a column may take; the order is that of the features' one-hot."""

    BINARY = 0
    INTEGER = 1
    IMPLIED = 2
    """Continuous as written, but whole in some best solution."""
    CONTINUOUS = 3


@dataclass(frozen=True, kw_only=True, slots=True, weakref_slot=True, eq=False)
class Mip:
    """One instance with n columns and m rows; arrays are not to be written to."""

    name: str
    sense: Sense
    cost: Floats
    """[n]."""
    offset: float
    """Added to the objective."""
    lower: Floats
    """[n], -inf where unbounded."""
    upper: Floats
    """[n], inf where unbounded."""
    kinds: NDArray[np.uint8]
    """[n], values of `Kind`."""
    matrix: sparse.csr_array
    """[m, n], no zero and no pair twice, columns ascending in each row."""
    left: Floats
    """[m], -inf where a row has no left side."""
    right: Floats
    """[m], inf where a row has no right side."""
    columns: tuple[str, ...]
    """Names, [n]."""
    rows: tuple[str, ...]
    """Names, [m]."""

    def __post_init__(self) -> None:
        n, m = len(self.cost), len(self.left)
        shapes = {
            "lower": (self.lower.shape, (n,)),
            "upper": (self.upper.shape, (n,)),
            "kinds": (self.kinds.shape, (n,)),
            "columns": ((len(self.columns),), (n,)),
            "matrix": (self.matrix.shape, (m, n)),
            "right": (self.right.shape, (m,)),
            "rows": ((len(self.rows),), (m,)),
        }
        for what, (shape, right) in shapes.items():
            assert shape == right, f"{what} has shape {shape}, not {right}"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.left), len(self.cost)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Whether a column must be whole (binary or integer), [n]."""
        return np.asarray(self.kinds <= Kind.INTEGER)

    @property
    def binary(self) -> NDArray[np.bool_]:
        """Whether a column is 0 or 1, [n]."""
        return np.asarray(self.kinds == Kind.BINARY)

    def objective(self, x: Floats) -> float:
        """Return cost'x + offset in the instance's own sense."""
        return float(self.cost @ x) + self.offset

    def worse_by(self, value: float, best: float) -> float:
        """Return how much worse than `best` a value is: positive if worse, in either sense."""
        return value - best if self.sense == "minimize" else best - value

    def digest(self) -> str:
        """Return a digest of everything but names: equal for copies of one instance."""
        whole = hashlib.sha256(self.sense.encode())
        whole.update(np.float64(self.offset).tobytes())
        for array in (self.cost, self.lower, self.upper, self.kinds, self.left, self.right):
            whole.update(np.ascontiguousarray(array).tobytes())
        for array, kind in (
            (self.matrix.indptr, np.int64),
            (self.matrix.indices, np.int64),
            (self.matrix.data, np.float64),
        ):
            whole.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        return whole.hexdigest()[:16]

    def counts(self) -> dict[str, int]:
        """Return rows, columns, entries, and columns of each kind."""
        kinds = np.bincount(self.kinds, minlength=len(Kind))
        return {
            "rows": self.shape[0],
            "columns": self.shape[1],
            "entries": int(self.matrix.nnz),
            **{kind.name.lower(): int(kinds[kind]) for kind in Kind},
        }


def from_rows(
    *,
    name: str,
    cost: Floats,
    matrix: sparse.sparray,
    left: Floats,
    right: Floats,
    lower: Floats | float = 0.0,
    upper: Floats | float = np.inf,
    kinds: NDArray[np.uint8] | Kind = Kind.CONTINUOUS,
    sense: Sense = "minimize",
    offset: float = 0.0,
    columns: tuple[str, ...] = (),
    rows: tuple[str, ...] = (),
) -> Mip:
    """Build an instance; scalars hold for every column, and missing names are x0.. and r0...

    An integer column within [0, 1] becomes binary. Entries of 0 are dropped, doubles are added.

    Raises:
        TenfoldError: for numbers that are no numbers, crossed bounds or sides, names that come
            twice, each with the name of its column or row.
    """
    table = sparse.csr_array(matrix, dtype=np.float64, copy=True)
    table.has_canonical_format = False  # picking columns leaves the mark on, but not the order
    table.sum_duplicates()
    table.eliminate_zeros()
    m, n = table.shape
    columns = columns or tuple(f"x{j}" for j in range(n))
    rows = rows or tuple(f"r{i}" for i in range(m))
    made = Mip(
        name=name,
        sense=sense,
        cost=np.asarray(cost, dtype=np.float64) + 0.0,
        offset=float(offset),
        # Adding zero makes -0 a plain 0, which files do not tell apart.
        lower=np.broadcast_to(np.asarray(lower, dtype=np.float64), n) + 0.0,
        upper=np.broadcast_to(np.asarray(upper, dtype=np.float64), n) + 0.0,
        kinds=np.broadcast_to(np.asarray(kinds, dtype=np.uint8), n).copy(),
        matrix=table,
        left=np.asarray(left, dtype=np.float64) + 0.0,
        right=np.asarray(right, dtype=np.float64) + 0.0,
        columns=columns,
        rows=rows,
    )
    _refuse_faults(made)
    unit = (made.kinds == Kind.INTEGER) & (made.lower >= 0) & (made.upper <= 1)
    return replace(made, kinds=np.where(unit, Kind.BINARY, made.kinds).astype(np.uint8))


def _refuse_faults(mip: Mip) -> None:
    for what, values in (("objective", mip.cost), ("entry", mip.matrix.data)):
        if not np.isfinite(values).all():
            raise TenfoldError(f"{mip.name}: an {what} is not finite; mend the instance")
    for what, least, most, names in (
        ("column", mip.lower, mip.upper, mip.columns),
        ("row", mip.left, mip.right, mip.rows),
    ):
        wrong = np.flatnonzero(np.isnan(least) | np.isnan(most) | (least > most))
        if len(wrong):
            at = int(wrong[0])
            raise TenfoldError(
                f"{mip.name}: {what} {names[at]!r} must lie between {least[at]} and {most[at]}, "
                "which no value does; the instance is infeasible as written"
            )
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise TenfoldError(f"{mip.name}: two {what}s are called {twice!r}; rename one")


def change_bounds(mip: Mip, lower: Floats, upper: Floats) -> Mip:
    """Return the instance with other bounds, [n] each; nothing else is touched."""
    return replace(mip, lower=lower, upper=upper)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reduced:
    """A sub-MIP without its fixed columns, and the way back."""

    mip: Mip
    kept: NDArray[np.intp]
    """Columns of the full instance that are left, ascending."""
    fixed: Floats
    """A point of the full instance, right at every column that was taken out, [n]."""

    def lift(self, x: Floats) -> Floats:
        """Return a point of the full instance from one of the reduced instance."""
        full = self.fixed.copy()
        full[self.kept] = x
        return full


def drop_fixed(mip: Mip, tolerance: float = 1e-9) -> Reduced | None:
    """Take out columns whose bounds meet, and rows that then have no column left.

    Returns:
        The reduced instance; `None` if a row without columns cannot hold, that is, if the fixed
        columns alone break it by more than 1e-6 of its side.
    """
    shut = mip.upper - mip.lower <= tolerance
    kept = np.flatnonzero(~shut)
    fixed = np.where(shut, (mip.lower + mip.upper) / 2, 0.0)
    whole = shut & mip.whole
    fixed[whole] = np.rint(fixed[whole])
    used = mip.matrix @ fixed
    inner = sparse.csr_array(mip.matrix[:, kept])
    filled = np.diff(inner.indptr) > 0
    left, right = mip.left - used, mip.right - used
    room = 1e-6 * np.maximum(1.0, np.maximum(_size(mip.left), _size(mip.right)))
    if np.any(~filled & ((left > room) | (right < -room))):
        return None
    inner = sparse.csr_array(inner[np.flatnonzero(filled)])
    names = np.array(mip.rows, dtype=object)[filled]
    reduced = replace(
        mip,
        cost=mip.cost[kept],
        offset=mip.offset + float(mip.cost @ fixed),
        lower=mip.lower[kept],
        upper=mip.upper[kept],
        kinds=mip.kinds[kept],
        matrix=inner,
        left=left[filled],
        right=right[filled],
        columns=tuple(mip.columns[j] for j in kept),
        rows=tuple(names),
    )
    return Reduced(mip=reduced, kept=kept, fixed=fixed)


def _size(sides: Floats) -> Floats:
    return np.where(np.isfinite(sides), np.abs(sides), 0.0)
