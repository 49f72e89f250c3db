"""The compiled loops that choose and colour what is shown, after the counting."""

# R rows of a block, D width of an input, M latents, E entries, N rows of a site, X examples

from __future__ import annotations

import numpy as np

from tenfold.engine.kernel import jit
from tenfold.rooms.scope.dash.kernels import (
    COARSE,
    DRAWN,
    NO_HASH,
    TOP,
    Counts,
    Floats,
    Ints,
    Longs,
    Marks,
)


@jit
def find_companions(
    latents_E: Ints,
    starts: Longs,
    width: int,
    number: int,
    companions: Ints,
    together: Longs,
    fired_M: Longs,
) -> None:
    """Find for each latent those that fire on the same rows, by Jaccard's index.

    The index is the number of rows with both over the number with either; of equal ones the
    smaller latent comes first.

    Args:
        latents_E: active latents of the sampled rows.
        starts: where each row begins.
        width: M.
        number: how many are kept of each latent.
        companions: takes them, [M, number]; -1 where there is none.
        together: takes the rows with both, [M, number].
        fired_M: takes the sampled rows with each latent.
    """
    fired_M[:] = 0
    for p in range(starts[-1]):
        fired_M[latents_E[p]] += 1
    begins = np.zeros(width + 1, np.int64)
    for i in range(width):
        begins[i + 1] = begins[i] + fired_M[i]
    fill = begins.copy()
    rows_E = np.empty(starts[-1], np.int64)
    for row in range(len(starts) - 1):
        for p in range(starts[row], starts[row + 1]):
            rows_E[fill[latents_E[p]]] = row
            fill[latents_E[p]] += 1
    both = np.zeros(width, np.int64)
    score = np.empty(number)
    for i in range(width):
        both[:] = 0
        for q in range(begins[i], begins[i + 1]):
            row = rows_E[q]
            for p in range(starts[row], starts[row + 1]):
                both[latents_E[p]] += 1
        companions[i] = -1
        together[i] = 0
        score[:] = 0
        for j in range(width):
            if both[j] == 0 or j == i:
                continue
            index = both[j] / (fired_M[i] + fired_M[j] - both[j])
            at = number
            while at > 0 and score[at - 1] < index:
                at -= 1
                if at < number - 1:
                    score[at + 1] = score[at]
                    companions[i, at + 1] = companions[i, at]
                    together[i, at + 1] = together[i, at]
            if at < number:
                score[at] = index
                companions[i, at] = j
                together[i, at] = both[j]


@jit
def colour_windows(
    x_RD: Floats,
    first_row: int,
    item_R: Ints,
    place_R: Ints,
    cut_R: Floats,
    w_enc_MD: Floats,
    affine_M4: Floats,
    peak_rows: Longs,
    latents: Ints,
    windows: Ints,
    scale_X: Floats,
    colours: Marks,
) -> None:
    """Colour the windows around chosen rows by the values of chosen latents all along them.

    Args:
        x_RD: rows of a block that holds whole items.
        first_row: number of the block's first row in the store.
        item_R: item of each row.
        place_R: place of each row in its item.
        cut_R: as for `select_active`.
        w_enc_MD: the encoder, a row for each latent.
        affine_M4: bias, theta, gain and shift of each latent.
        peak_rows: row of each example, in this block.
        latents: latent of each example.
        windows: first place of each example's window.
        scale_X: colour a unit of value, for each example.
        colours: takes the values as 1 to 255 where active, [examples, places of a window].
    """
    num_rows, width = x_RD.shape
    length = colours.shape[1]
    for e in range(len(peak_rows)):
        i, peak = latents[e], peak_rows[e] - first_row
        item = item_R[peak]
        begin = peak
        while begin > 0 and item_R[begin - 1] == item and place_R[begin - 1] >= windows[e]:
            begin -= 1
        r = begin
        while r < num_rows and item_R[r] == item and place_R[r] < windows[e] + length:
            along = np.float32(0)
            for d in range(width):
                along += x_RD[r, d] * w_enc_MD[i, d]
            z = along + affine_M4[i, 0]
            value = z * affine_M4[i, 2] + affine_M4[i, 3]
            if z - affine_M4[i, 1] > cut_R[r] and value > 0:
                colour = min(np.float32(1.5) + value * scale_X[e], np.float32(255))
                colours[e, place_R[r] - windows[e]] = np.uint8(colour)
            r += 1


@jit
def choose_examples(
    counts: Counts, item_N: Ints, groups: int, rows: Longs, values: Floats, kinds: Marks
) -> None:
    """Choose the examples of each latent: the largest, then some of each part of its range.

    No item is shown twice. The coarse bins from the smallest to the largest value are divided
    into `groups` parts as equal as can be; group 0 is that of the largest values, 1 the
    uppermost part.

    Args:
        counts: after all rows.
        item_N: item of each row of the site.
        groups: parts of the range.
        rows: takes the row of each example, [M, TOP + groups * DRAWN]; -1 where there is none.
        values: takes its value.
        kinds: takes its group.
    """
    for i in range(len(counts.fired)):
        rows[i] = -1
        for k in range(TOP):
            rows[i, k] = counts.top_row[i, k]
            values[i, k] = max(counts.top_value[i, k], np.float32(0))
            kinds[i, k] = 0
        if counts.fired[i] == 0:
            continue
        used = int(counts.top_value[i, 0] / counts.span[i] * COARSE) + 1
        start = 0
        while counts.drawn_hash[i, start, 0] == NO_HASH:
            start += 1
        used -= start
        at = TOP
        for group in range(groups):
            low = start + used * (groups - 1 - group) // groups
            high = start + used * (groups - group) // groups
            after = np.uint64(0)
            place = 0
            while place < DRAWN:
                # The next hash of the group, in rising order over all its bins.
                best, best_q, best_k = NO_HASH, -1, -1
                for q in range(low, high):
                    for k in range(DRAWN):
                        h = counts.drawn_hash[i, q, k]
                        if after < h < best:
                            best, best_q, best_k = h, q, k
                if best_q < 0:
                    break
                after = best
                row = counts.drawn_row[i, best_q, best_k]
                fresh = True
                for k in range(at + place):
                    if rows[i, k] >= 0 and item_N[rows[i, k]] == item_N[row]:
                        fresh = False
                if fresh:
                    rows[i, at + place] = row
                    values[i, at + place] = counts.drawn_value[i, best_q, best_k]
                    kinds[i, at + place] = group + 1
                    place += 1
            at += DRAWN
