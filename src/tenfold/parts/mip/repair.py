"""Mending a point whose integer part is right but whose continuous part is off by rounding."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tenfold.parts.mip.check import TOLERANCE, check_point
from tenfold.parts.mip.instance import Floats, Mip, Reduced, change_bounds, drop_fixed
from tenfold.parts.mip.solving import Relaxed

ROUNDING = 1e-3
"""An integer column this far from a whole number is no matter of rounding any more."""


class Relaxer(Protocol):
    """An adapter that solves LPs: the module `highs` or `scip`."""

    def relax(self, mip: Mip, *, seconds: float = ...) -> Relaxed:
        """Solve the LP relaxation."""


def repair_point(
    mip: Mip, x: Floats, *, solver: Relaxer, tolerance: float = TOLERANCE, seconds: float = np.inf
) -> Floats | None:
    """Round the integer part of a point and complete it as well as an LP can.

    Args:
        mip: the instance.
        x: the point, [n]. One that fits already is returned as it is.
        solver: solves the LP in which the integer columns are fixed.
        tolerance: of `check_point`, which has the last word.
        seconds: for the LP.

    Returns:
        A point that fits within the tolerance, with the best continuous part for its integers;
        `None` if the integer part is not whole within `ROUNDING`, cannot be completed, or the LP
        has no best point or ran out of time.
    """
    if check_point(mip, x, tolerance).feasible:
        return x
    reduced = _continuous_part(mip, x)
    if reduced is None:
        return None
    completed = reduced.fixed
    if len(reduced.kept):
        relaxed = solver.relax(reduced.mip, seconds=seconds)
        if relaxed.status != "optimal":
            return None
        completed = reduced.lift(relaxed.x)
    return completed if check_point(mip, completed, tolerance).feasible else None


def _continuous_part(mip: Mip, x: Floats) -> Reduced | None:
    """Return the LP that is left when the integer columns are rounded and fixed."""
    whole = mip.whole
    part = x[whole]
    rounded = np.rint(part)
    if not np.isfinite(part).all() or (np.abs(part - rounded) > ROUNDING).any():
        return None
    lower, upper = mip.lower.copy(), mip.upper.copy()
    if (rounded < lower[whole]).any() or (rounded > upper[whole]).any():
        return None
    lower[whole] = upper[whole] = rounded
    return drop_fixed(change_bounds(mip, lower, upper))
