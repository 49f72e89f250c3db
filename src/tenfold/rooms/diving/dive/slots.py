"""What a network is asked of an instance: one bit for each slot (Nair et al. 2020, section 5.3).

A binary column has one slot. A general integer column with k values has ceil(log2 k), the most
significant bit first: each one halves the interval that is left, so that some of them already
tighten the column's bounds. Slots after the first abstained one of a column are not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.instance import Floats, Mip

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slots:
    """S bits, those of one column together and the most significant first."""

    column: Ints
    """[S], number of the column."""
    bit: Ints
    """[S], 0 for the most significant one of the column."""
    lower: Floats
    """[S], least value of the column."""
    size: Floats
    """[S], values that are left before this bit is known, a power of two."""

    def __len__(self) -> int:
        return len(self.column)


def slots_of(mip: Mip, *, bits: int, asked: Bools | None = None) -> Slots:
    """Return the slots of an instance.

    Args:
        mip: the instance; columns whose bounds meet and those with an infinite bound have none.
        bits: at most so many a column.
        asked: [n], columns that have slots; `None`: all that are whole.
    """
    lower, upper = np.ceil(mip.lower - 1e-9), np.floor(mip.upper + 1e-9)
    there = mip.whole & np.isfinite(lower) & np.isfinite(upper) & (upper > lower)
    if asked is not None:
        there &= asked
    columns = np.flatnonzero(there)
    lower, upper = lower[columns], upper[columns]
    # The exponent of a float is exact where log2 of a wide range is rounded.
    depth = np.frexp(upper - lower)[1].astype(np.int64)
    kept = np.minimum(depth, bits)
    owner = np.repeat(np.arange(len(columns)), kept)
    first = np.repeat(np.cumsum(kept) - kept, kept)
    bit = np.arange(len(owner)) - first
    return Slots(
        column=columns[owner],
        bit=bit,
        lower=lower[owner],
        size=2.0 ** (depth[owner] - bit),
    )


def bits_of(slots: Slots, x: Floats) -> Bools:
    """Return the bits of points, [K, S] for x of shape [K, n]."""
    above = np.rint(np.atleast_2d(x)[:, slots.column]) - slots.lower
    return np.asarray(np.floor(above / (slots.size / 2)) % 2 > 0.5)


def tighten(mip: Mip, slots: Slots, bits: Bools, chosen: Bools) -> tuple[Floats, Floats]:
    """Return the bounds of an instance in which the chosen bits hold, [n] each.

    Args:
        mip: the instance.
        slots: its slots.
        bits: their values, [S].
        chosen: which of them to use, [S].
    """
    lower, upper = mip.lower.copy(), mip.upper.copy()
    # Bits of one column, one after the other: each halves what the one before left.
    alive = np.ones(len(mip.lower), dtype=np.bool_)
    for depth in range(int(slots.bit.max(initial=-1)) + 1):
        here = np.flatnonzero(slots.bit == depth)
        column = slots.column[here]
        used = chosen[here] & alive[column]
        alive[column] &= used
        column, half, high = column[used], slots.size[here][used] / 2, bits[here][used]
        first = lower[column] if depth else slots.lower[here][used]
        low = np.where(high, first + half, first)
        # A value above the upper bound is none: the highest one is meant.
        low = np.minimum(low, np.floor(mip.upper[column] + 1e-9))
        lower[column] = low
        upper[column] = np.minimum(low + half - 1, mip.upper[column])
    return lower, upper
