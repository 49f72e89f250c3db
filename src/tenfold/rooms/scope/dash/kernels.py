"""The compiled loops of the pages: choose active entries, count them, keep the best examples.

An entry is one active latent on one row. Everything counted here is the same for any division
of the rows into parts: counts are whole numbers, histograms double their range in exact steps,
and examples are kept by orders that have no ties (value and row, or a hash).
"""

# R rows of a block, M latents, E entries, P classes of places

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Marks = NDArray[np.uint8]

CHUNK = 8
"""Pre-activations whose marks make one word, which is looked at as a whole."""
BINS = 64
"""Of a histogram; its range is a power of two that holds the largest value."""
COARSE = 16
"""Bins in which examples are drawn; each is four of the histogram."""
DRAWN = 3
"""Examples drawn in each coarse bin."""
TOP = 12
"""Examples of the largest values."""
NO_HASH = np.uint64(0xFFFFFFFFFFFFFFFF)
LARGEST = np.finfo(np.float32).max


class Counts(NamedTuple):
    """What is known of each latent of one dictionary after some rows; changed in place."""

    fired: Longs
    """Rows on which it was active, [M]."""
    total: NDArray[np.float64]
    """Sum of its values, [M]."""
    span: NDArray[np.float64]
    """Upper end of its histogram, a power of two; 0 before it fires, [M]."""
    histogram: Ints
    """Values by size between 0 and span, [M, BINS]."""
    places: Ints
    """Rows on which it was active by class of place, [M, P]."""
    top_value: Floats
    """Largest values, at most one an item, falling, [M, TOP]; -1 where there is none."""
    top_row: Longs
    top_item: Ints
    drawn_hash: Hashes
    """Smallest hashes of entries in each coarse bin, rising, [M, COARSE, DRAWN]."""
    drawn_row: Longs
    drawn_value: Floats


def empty_counts(width: int, places: int) -> Counts:
    """Return the counts of M latents before any row."""
    drawn = (width, COARSE, DRAWN)
    return Counts(
        fired=np.zeros(width, np.int64),
        total=np.zeros(width),
        span=np.zeros(width),
        histogram=np.zeros((width, BINS), np.int32),
        places=np.zeros((width, places), np.int32),
        top_value=np.full((width, TOP), -1, np.float32),
        top_row=np.full((width, TOP), -1, np.int64),
        top_item=np.full((width, TOP), -1, np.int32),
        drawn_hash=np.full(drawn, NO_HASH),
        drawn_row=np.full(drawn, -1, np.int64),
        drawn_value=np.full(drawn, -1, np.float32),
    )


@jit
def select_active(
    product_RM: Floats,
    bias_M: Floats,
    theta_M: Floats,
    low_M: Floats,
    cut_R: Floats,
    gain_M: Floats,
    shift_M: Floats,
    marks: Marks,
    latents_E: Ints,
    values_E: Floats,
    starts: Longs,
) -> int:
    """List the active entries of a block, row after row.

    With z = product + bias an entry is active where z - theta > cut, and then has the value
    gain z + shift, if that is positive.

    Args:
        product_RM: bare products of rows and encoder columns.
        bias_M: encoder biases.
        theta_M: thresholds.
        low_M: theta - bias, less what rounding may hide.
        cut_R: what z has to exceed on each row beside its threshold, from 0 on.
        gain_M: factor of z.
        shift_M: what is added.
        marks: zeros, M rounded up to whole words of CHUNK.
        latents_E: takes the latent of each entry; R x M + CHUNK is long enough.
        values_E: takes its value.
        starts: takes where each row begins, [R + 1].

    Returns:
        The first row with a value that is not finite, or -1.
    """
    num_rows, width = product_RM.shape
    words = marks.view(np.uint64)
    fill = 0
    starts[0] = 0
    for row in range(num_rows):
        cut = cut_R[row]
        for i in range(width):
            marks[i] = product_RM[row, i] - low_M[i] > cut
        # Most words are empty; in the others a write that may be overwritten costs less than
        # a branch that cannot be foreseen.
        end = fill
        for word in range(len(words)):
            if words[word] != 0:
                for i in range(CHUNK * word, CHUNK * word + CHUNK):
                    latents_E[end] = i
                    end += marks[i]
        for p in range(fill, end):
            i = latents_E[p]
            z = product_RM[row, i] + bias_M[i]
            value = z * gain_M[i] + shift_M[i]
            if not value <= LARGEST:
                return row
            latents_E[fill] = i
            values_E[fill] = value
            fill += z - theta_M[i] > cut and value > 0
        starts[row + 1] = fill
    return -1


@jit
def mix(number: int) -> np.uint64:
    """Return a 64-bit hash (the finisher of SplitMix64); different numbers never share one."""
    h = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@jit
def draw(counts: Counts, i: int, coarse: int, h: np.uint64, row: int, value: float) -> None:
    """Keep an entry if its hash is among the smallest of its coarse bin."""
    last = DRAWN - 1
    if h >= counts.drawn_hash[i, coarse, last]:
        return
    at = last
    while at > 0 and counts.drawn_hash[i, coarse, at - 1] > h:
        counts.drawn_hash[i, coarse, at] = counts.drawn_hash[i, coarse, at - 1]
        counts.drawn_row[i, coarse, at] = counts.drawn_row[i, coarse, at - 1]
        counts.drawn_value[i, coarse, at] = counts.drawn_value[i, coarse, at - 1]
        at -= 1
    counts.drawn_hash[i, coarse, at] = h
    counts.drawn_row[i, coarse, at] = row
    counts.drawn_value[i, coarse, at] = value


@jit
def widen(counts: Counts, i: int, span: float) -> None:
    """Double the range of a latent's histogram until it ends at `span`."""
    while counts.span[i] < span:
        counts.span[i] *= 2
        for b in range(BINS // 2):
            counts.histogram[i, b] = counts.histogram[i, 2 * b] + counts.histogram[i, 2 * b + 1]
        counts.histogram[i, BINS // 2 :] = 0
        for q in range(COARSE):
            # Bin 0 keeps its own; every other bin moves to the one of half its number.
            if q > 0:
                for k in range(DRAWN):
                    h = counts.drawn_hash[i, q, k]
                    if h != NO_HASH:
                        row, value = counts.drawn_row[i, q, k], counts.drawn_value[i, q, k]
                        counts.drawn_hash[i, q, k] = NO_HASH
                        draw(counts, i, q // 2, h, row, value)


@jit
def rank_top(counts: Counts, i: int, value: float, row: int, item: int) -> None:
    """Keep an entry if it is among the largest; of each item only its largest counts.

    Of equal values the one of the smaller row is kept.
    """
    at = TOP - 1
    for k in range(TOP):
        if counts.top_item[i, k] == item:
            better = value > counts.top_value[i, k]
            if not better and not (value == counts.top_value[i, k] and row < counts.top_row[i, k]):
                return
            at = k
            break
    while at > 0:
        above = counts.top_value[i, at - 1]
        if above > value or (above == value and counts.top_row[i, at - 1] < row):
            break
        counts.top_value[i, at] = above
        counts.top_row[i, at] = counts.top_row[i, at - 1]
        counts.top_item[i, at] = counts.top_item[i, at - 1]
        at -= 1
    counts.top_value[i, at] = value
    counts.top_row[i, at] = row
    counts.top_item[i, at] = item


@jit
def count_entries(
    counts: Counts,
    latents_E: Ints,
    values_E: Floats,
    starts: Longs,
    first_row: int,
    item_R: Ints,
    place_R: Ints,
    seed: int,
) -> None:
    """Add the entries of a block.

    Args:
        counts: changed.
        latents_E: from `select_active`, like the next two.
        values_E: value of each entry.
        starts: where each row begins.
        first_row: number of the block's first row in the store.
        item_R: item of each row; rows of an item are neighbours.
        place_R: class of each row's place.
        seed: of the examples that are drawn.
    """
    width = len(counts.fired)
    for r in range(len(item_R)):
        row, item, place = first_row + r, item_R[r], place_R[r]
        for p in range(starts[r], starts[r + 1]):
            i, value = latents_E[p], values_E[p]
            counts.fired[i] += 1
            counts.total[i] += value
            counts.places[i, place] += 1
            if value >= counts.span[i]:
                span = math.ldexp(1.0, math.frexp(value)[1])
                if counts.span[i] == 0:
                    counts.span[i] = span
                widen(counts, i, span)
            b = int(value / counts.span[i] * BINS)
            counts.histogram[i, b] += 1
            h = mix((row * width + i) ^ seed)
            coarse = b // (BINS // COARSE)
            if h < counts.drawn_hash[i, coarse, DRAWN - 1]:
                draw(counts, i, coarse, h, row, value)
            if value > counts.top_value[i, TOP - 1]:
                rank_top(counts, i, value, row, item)


@jit
def absorb(counts: Counts, other: Counts) -> None:
    """Add the counts of other rows; `other` is used up."""
    for i in range(len(counts.fired)):
        if other.fired[i] == 0:
            continue
        span = max(counts.span[i], other.span[i])
        if counts.span[i] == 0:
            counts.span[i] = span
        widen(counts, i, span)
        widen(other, i, span)
        counts.fired[i] += other.fired[i]
        counts.total[i] += other.total[i]
        for b in range(BINS):
            counts.histogram[i, b] += other.histogram[i, b]
        for p in range(counts.places.shape[1]):
            counts.places[i, p] += other.places[i, p]
        for q in range(COARSE):
            for k in range(DRAWN):
                h = other.drawn_hash[i, q, k]
                if h != NO_HASH:
                    draw(counts, i, q, h, other.drawn_row[i, q, k], other.drawn_value[i, q, k])
        for k in range(TOP):
            value, row = other.top_value[i, k], other.top_row[i, k]
            last = counts.top_value[i, TOP - 1]
            if row >= 0 and (value > last or (value == last and row < counts.top_row[i, TOP - 1])):
                rank_top(counts, i, value, row, other.top_item[i, k])


@jit
def sample_rows(
    latents_E: Ints,
    starts: Longs,
    first_row: int,
    limit: np.uint64,
    seed: int,
    kept_E: Ints,
    kept_starts: Longs,
) -> int:
    """Copy the latents of the rows whose hash is below `limit`, and return how many rows."""
    rows, fill = 0, 0
    kept_starts[0] = 0
    for r in range(len(starts) - 1):
        if mix((first_row + r) ^ seed) >= limit:
            continue
        for p in range(starts[r], starts[r + 1]):
            kept_E[fill] = latents_E[p]
            fill += 1
        rows += 1
        kept_starts[rows] = fill
    return rows
