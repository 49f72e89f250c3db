"""Bound propagation: wishes for columns are granted one by one, those that rows rule out are not.

A row's least and most activity bound each of its columns (Savelsbergh 1994, section 1.2; "node
preprocessing" in SCIP's terms). Nothing that fits all granted wishes is lost, and a wish is
refused only if no point fits it together with the ones before. (rooms diving, lns)

n columns, m rows, w wishes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tenfold.engine.kernel import jit
from tenfold.parts.mip.instance import Floats, Mip

TOLERANCE = 1e-6
"""By which a bound must be missed, relative to its size, before a domain counts as empty."""
ROUNDING = 1e-5
"""A bound of a whole column this far past a whole number is no matter of rounding any more."""
LEAST_STEP = 0.05
"""Share of its width by which a continuous column must tighten for its rows to be asked again."""
VISITS = 2_000
"""Rows asked after one wish; propagation stops there, which only makes it weaker."""
_TRAIL = 200_000
"""Bounds that one wish may move; further ones stay as they are, which only makes it weaker."""


def grant_wishes(
    mip: Mip, columns: NDArray[np.int64], lower: Floats, upper: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Tighten columns to wished bounds in the order given, as far as rows allow it.

    Args:
        mip: the instance.
        columns: that wishes are for, the most wanted first, [w].
        lower: wished, [w].
        upper: wished, [w].

    Returns:
        Lower and upper bounds of all columns, [n] each: those of whole columns as tight as was
        found, those of continuous ones as in the instance; and which wishes were granted, [w].
    """
    matrix, columnwise = mip.matrix, sparse.csc_array(mip.matrix)
    low, high = mip.lower.copy(), mip.upper.copy()
    whole = mip.whole
    low[whole], high[whole] = np.ceil(low[whole] - TOLERANCE), np.floor(high[whole] + TOLERANCE)
    granted = _grant(
        columns.astype(np.int64), np.asarray(lower, np.float64), np.asarray(upper, np.float64),
        low, high, whole,
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data,
        columnwise.indptr.astype(np.int64), columnwise.indices.astype(np.int64),
        mip.left, mip.right,
    )  # fmt: skip
    return np.where(whole, low, mip.lower), np.where(whole, high, mip.upper), granted


@jit
def _grant(
    columns: Any, wish_low: Any, wish_high: Any, low: Any, high: Any, whole: Any,
    starts: Any, places: Any, values: Any, row_starts: Any, rows: Any, left: Any, right: Any,
) -> Any:  # fmt: skip
    granted = np.zeros(len(columns), dtype=np.bool_)
    trail_column = np.empty(_TRAIL, dtype=np.int64)
    trail_low = np.empty(_TRAIL)
    trail_high = np.empty(_TRAIL)
    queue = np.empty(len(left), dtype=np.int64)
    queued = np.zeros(len(left), dtype=np.bool_)
    for w in range(len(columns)):
        j = columns[w]
        below, above = wish_low[w], wish_high[w]
        if whole[j]:
            below, above = np.ceil(below - ROUNDING), np.floor(above + ROUNDING)
        below, above = max(low[j], below), min(high[j], above)
        if below > above:
            continue
        granted[w] = True
        if below == low[j] and above == high[j]:
            continue
        trail_column[0], trail_low[0], trail_high[0] = j, low[j], high[j]
        low[j], high[j] = below, above
        used, head, tail, size = 1, 0, 0, 0
        for k in range(row_starts[j], row_starts[j + 1]):
            queue[tail] = rows[k]
            queued[rows[k]] = True
            tail = (tail + 1) % len(queue)
            size += 1
        visits, fits = 0, True
        while size and fits and visits < VISITS:
            i = queue[head]
            head = (head + 1) % len(queue)
            size -= 1
            queued[i] = False
            visits += 1
            least, most = 0.0, 0.0
            least_free, most_free = 0, 0
            for k in range(starts[i], starts[i + 1]):
                a, c = values[k], places[k]
                down, up = (low[c], high[c]) if a > 0 else (high[c], low[c])
                if np.isinf(down):
                    least_free += 1
                else:
                    least += a * down
                if np.isinf(up):
                    most_free += 1
                else:
                    most += a * up
            slack = TOLERANCE * max(1.0, abs(least), abs(most))
            if (least_free == 0 and least > right[i] + slack) or (
                most_free == 0 and most < left[i] - slack
            ):
                fits = False
                break
            for k in range(starts[i], starts[i + 1]):
                a, c = values[k], places[k]
                down, up = (low[c], high[c]) if a > 0 else (high[c], low[c])
                # What is left for this column when the others are at their least or most.
                new_up, new_down = up, down
                others_free = least_free - (1 if np.isinf(down) else 0)
                if others_free == 0 and right[i] < np.inf:
                    others = least if np.isinf(down) else least - a * down
                    new_up = (right[i] - others) / a
                others_free = most_free - (1 if np.isinf(up) else 0)
                if others_free == 0 and left[i] > -np.inf:
                    others = most if np.isinf(up) else most - a * up
                    new_down = (left[i] - others) / a
                lowest, highest = (new_down, new_up) if a > 0 else (new_up, new_down)
                if whole[c]:
                    lowest, highest = np.ceil(lowest - ROUNDING), np.floor(highest + ROUNDING)
                    moved = lowest > low[c] or highest < high[c]
                else:
                    width = high[c] - low[c]
                    if np.isinf(width):
                        width = max(1.0, abs(lowest) if lowest > -np.inf else abs(highest))
                    step = max(LEAST_STEP * width, 1e-5)
                    moved = lowest > low[c] + step or highest < high[c] - step
                if not moved or used >= _TRAIL:
                    continue
                trail_column[used], trail_low[used], trail_high[used] = c, low[c], high[c]
                used += 1
                # The sums of this row stand for the bounds before; they are only weaker for it.
                low[c], high[c] = max(low[c], lowest), min(high[c], highest)
                gap = low[c] - high[c]
                if gap > 0:
                    if whole[c] or gap > TOLERANCE * max(1.0, abs(low[c])):
                        fits = False
                        break
                    low[c] = high[c]
                for r in range(row_starts[c], row_starts[c + 1]):
                    if not queued[rows[r]]:
                        queue[tail] = rows[r]
                        queued[rows[r]] = True
                        tail = (tail + 1) % len(queue)
                        size += 1
        while size:
            queued[queue[head]] = False
            head = (head + 1) % len(queue)
            size -= 1
        if not fits:
            granted[w] = False
            for k in range(used - 1, -1, -1):
                low[trail_column[k]], high[trail_column[k]] = trail_low[k], trail_high[k]
    return granted
