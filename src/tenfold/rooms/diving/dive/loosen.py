"""Which assignments must go when no point fits them all: an elastic LP (Chinneck 2008, chapter 6).

All assignments become wishes, each unit of distance costs the same, and the instance's own
objective is left out. Assignments that the LP gives up are freed; those left have an LP point
together, which shrinking the coverage finds only by freeing many more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tenfold.parts.mip import highs
from tenfold.parts.mip.instance import Mip
from tenfold.rooms.diving.dive.assign import Partial

KEPT = 1e-6
"""Distance up to which an assignment counts as kept."""


def loosen(mip: Mip, partial: Partial, *, seconds: float = np.inf) -> Partial | None:
    """Free as few fixed columns as an LP needs.

    Columns that are fixed at one of their own bounds, as every binary is, can be freed; all
    others stay as they are.

    Args:
        mip: the instance.
        partial: assignments that no point fits.
        seconds: for the LP.

    Returns:
        The looser assignments; `None` if nothing can be freed, nothing needs to be as far as an
        LP sees, or the LP has no point in time.
    """
    fixed = mip.whole & (partial.lower == partial.upper) & (mip.lower < mip.upper)
    low, high = (fixed & (partial.lower == bound) for bound in (mip.lower, mip.upper))
    soft = low | high
    if not soft.any():
        return None
    lower, upper = (
        np.where(soft, mip.lower, partial.lower),
        np.where(soft, mip.upper, partial.upper),
    )
    cost = np.where(low, 1.0, np.where(high, -1.0, 0.0))
    elastic = replace(mip, sense="minimize", cost=cost, offset=0.0, lower=lower, upper=upper)
    relaxed = highs.relax(elastic, seconds=seconds)
    if relaxed.status != "optimal":
        return None
    freed = soft & (np.abs(relaxed.x - partial.lower) > KEPT)
    if not freed.any():
        return None
    return replace(
        partial,
        lower=np.where(freed, mip.lower, partial.lower),
        upper=np.where(freed, mip.upper, partial.upper),
        tightened=partial.tightened - int(freed.sum()),
    )
