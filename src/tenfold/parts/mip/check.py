"""Whether a point fits an instance, told exactly.

A row's activity is a sum of products in extended precision. Where its rounding could decide the
answer, that row is summed again in fractions, so that the answer is that of exact arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.instance import Floats, Mip

TOLERANCE = 1e-6
"""How far a row or bound may be broken, in units of max(1, |side|), and a whole column from a
whole number; what SCIP and HiGHS ask for by default."""
WIDE = np.longdouble


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What an exact check of a point says."""

    objective: float
    """In the instance's own sense."""
    row: float
    """Largest break of a row, in units of max(1, |side|)."""
    bound: float
    """Largest break of a bound, likewise."""
    whole: float
    """Largest distance of an integer column from a whole number."""
    worst: str
    """The row or column that is broken most, empty if none."""
    tolerance: float

    @property
    def feasible(self) -> bool:
        """Whether nothing is broken by more than the tolerance."""
        return max(self.row, self.bound, self.whole) <= self.tolerance

    def line(self) -> str:
        """Return the certificate: one sentence."""
        verdict = "fits" if self.feasible else f"breaks {self.worst}"
        return (
            f"objective {self.objective:.12g}; {verdict} at tolerance {self.tolerance:g} "
            f"(rows {self.row:.3g}, bounds {self.bound:.3g}, whole numbers {self.whole:.3g})"
        )


def check_point(mip: Mip, x: Floats, tolerance: float = TOLERANCE) -> Checked:
    """Check a point, [n], against every row, bound and integer column of an instance.

    A point with a NaN or of the wrong length breaks everything infinitely.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.shape != mip.cost.shape or not np.isfinite(x).all():
        return Checked(
            objective=np.nan, row=np.inf, bound=np.inf, whole=np.inf, tolerance=tolerance,
            worst="its shape or a value that is not finite",
        )  # fmt: skip
    rows = _broken_rows(mip, x, tolerance)
    bounds = np.maximum(_broken(mip.lower - x, mip.lower), _broken(x - mip.upper, mip.upper))
    parts = np.where(mip.whole, np.abs(x - np.rint(x)), 0.0)
    told = [
        (float(breaks.max(initial=0.0)), what, names, breaks)
        for what, names, breaks in (
            ("row", mip.rows, rows),
            ("bound of column", mip.columns, bounds),
            ("whole column", mip.columns, parts),
        )
    ]
    most, what, names, breaks = max(told, key=lambda entry: entry[0])
    return Checked(
        objective=float((mip.cost.astype(WIDE) * x.astype(WIDE)).sum() + WIDE(mip.offset)),
        row=told[0][0],
        bound=told[1][0],
        whole=told[2][0],
        worst=f"{what} {names[int(np.argmax(breaks))]!r}" if most > 0 else "",
        tolerance=tolerance,
    )


def _broken(excess: Floats, sides: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(sides), np.maximum(excess, 0) / _unit(sides), 0.0)


def _unit(sides: Floats) -> Floats:
    return np.maximum(1.0, np.abs(np.where(np.isfinite(sides), sides, 0.0)))


def _broken_rows(mip: Mip, x: Floats, tolerance: float) -> Floats:
    """Return by how much each row is broken, [m], exact wherever it could matter."""
    table = mip.matrix
    if not table.nnz:
        zero = np.zeros(len(mip.left))
        return np.maximum(_broken(mip.left - zero, mip.left), _broken(zero - mip.right, mip.right))
    terms = table.data.astype(WIDE) * x[table.indices].astype(WIDE)
    lengths = np.diff(table.indptr)
    activity = _row_sums(terms, table.indptr)
    doubt = _row_sums(np.abs(terms), table.indptr) * np.finfo(WIDE).eps * (lengths + 2)
    breaks = np.zeros(len(mip.left))
    unsure = np.zeros(len(mip.left), dtype=bool)
    for sides, sign in ((mip.left, 1), (mip.right, -1)):
        there = np.isfinite(sides)
        unit = _unit(sides)
        excess = np.where(there, sign * (np.where(there, sides, 0.0) - activity), -1.0) / unit
        breaks = np.maximum(breaks, excess.astype(np.float64))
        rounded = doubt / unit + np.abs(excess) * np.finfo(np.float64).eps
        unsure |= there & (np.abs(excess - tolerance) <= rounded)
    for row in np.flatnonzero(unsure):
        breaks[row] = _exact_break(mip, x, int(row), tolerance)
    return np.maximum(breaks, 0.0)


def _row_sums(terms: NDArray[np.longdouble], starts: NDArray[np.intp]) -> NDArray[np.longdouble]:
    filled = np.diff(starts) > 0
    sums = np.zeros(len(filled), dtype=WIDE)
    sums[filled] = np.add.reduceat(terms, starts[:-1][filled])
    return sums


def _exact_break(mip: Mip, x: Floats, row: int, tolerance: float) -> float:
    """Return how far a row is broken; on the right side of the tolerance even after rounding."""
    span = slice(mip.matrix.indptr[row], mip.matrix.indptr[row + 1])
    pairs = zip(mip.matrix.data[span], mip.matrix.indices[span], strict=True)
    activity = sum((Fraction(float(a)) * Fraction(float(x[j])) for a, j in pairs), Fraction(0))
    worst = Fraction(0)
    for side, sign in ((mip.left[row], 1), (mip.right[row], -1)):
        if np.isfinite(side):
            unit = max(Fraction(1), abs(Fraction(float(side))))
            worst = max(worst, sign * (Fraction(float(side)) - activity) / unit)
    told = float(worst)
    if (worst <= Fraction(tolerance)) != (told <= tolerance):
        told = float(np.nextafter(tolerance, np.inf if worst > Fraction(tolerance) else 0.0))
    return told
