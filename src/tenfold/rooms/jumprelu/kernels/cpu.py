"""The compiled loops of the sparse step: choose entries, rows, sort, update of the latents.

An entry is one pre-activation that the step must look at: active, or inside the window of the
pseudo-gradients. Entries of a block of rows are written tile after tile of latents, and row
after row in a tile; `starts` [tiles * R + 1] says where each row of each tile begins.

All arrays are C-contiguous; numbers are float32 and sums of a whole batch float64. Nothing here
depends on how many threads there are: each call writes its own part only.
"""

# R rows of a block, T latents of a tile, D width of an input, O of an output, M latents,
# B rows of a batch, E entries

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]

GROUP = 8
"""Pre-activations looked at together: as many as there are bytes in the widest integer."""
SLACK = np.float32(1e-6)
"""Relative rounding that a bound on bare products has to allow for."""
OVERFLOW = -1
SMALLEST_NORM = np.float32(1e-12)


class Chosen(NamedTuple):
    """Entries of a block, from `select_above` or `largest.emit_largest`."""

    latents: Ints
    values: Floats
    slopes: Floats
    """Takes e . d_i."""
    starts: Longs
    """Where each row of each tile begins."""


class Window(NamedTuple):
    """Sums over the entries of a block inside the window of the pseudo-gradients."""

    half: float
    """Half of its width; 0 without thresholds."""
    by_row: bool
    """Whether rows have prices of their own, in proportion to L0 less the target."""
    target: float
    sums: Floats
    """[M, 3]: number of entries, sum of their rows' weights, sum of e . d_i; left as they are
    without thresholds."""


class Kept(NamedTuple):
    """The entries of a block that the pass over latents needs, in their order."""

    all: bool
    """Whether those that are not active are kept too."""
    latents: Ints
    """Like the next two, with room for one more than the block's entries."""
    values: Floats
    slopes: Floats
    """e . d_i."""
    starts: Longs
    """Where each row of each tile begins."""
    counts: Ints
    """Entries of each latent, [M]."""


@jit
def begin_rows(
    raw_RD: Floats,
    scale: float,
    shift_D: Floats,
    x_RD: Floats,
    goal_RO: Floats,
    goal_scale: float,
    start_O: Floats,
    e_RO: Floats,
) -> None:
    """Write the encoder's inputs of rows, and what their residuals have before any latent.

    Args:
        raw_RD: the rows.
        scale: C, their divisor.
        shift_D: what is subtracted from inputs.
        x_RD: takes raw / C - shift.
        goal_RO: what the rows should be; may be `x_RD`.
        goal_scale: their divisor.
        start_O: what is rebuilt without any latent.
        e_RO: takes start - goal / goal_scale.
    """
    divisor, goal_divisor = np.float32(scale), np.float32(goal_scale)
    for row in range(len(raw_RD)):
        for d in range(len(shift_D)):
            x_RD[row, d] = raw_RD[row, d] / divisor - shift_D[d]
        for o in range(len(start_O)):
            e_RO[row, o] = start_O[o] - goal_RO[row, o] / goal_divisor


@jit
def lower_bounds(b_enc_M: Floats, theta_M: Floats, half: float, low_M: Floats) -> None:
    """Write what a bare product has to exceed to be an entry, less what rounding may hide."""
    margin = np.float32(half)
    for i in range(len(low_M)):
        size = abs(theta_M[i]) + margin + abs(b_enc_M[i])
        low_M[i] = theta_M[i] - margin - b_enc_M[i] - SLACK * size


@jit
def find_above(values_T: Floats, low_T: Floats, flags: Bytes, groups: Longs, found: Ints) -> int:
    """Write the places at which `values_T` exceeds `low_T`, increasing, and return their number.

    Three plain passes, because a branch that asks each value alone is mispredicted at most of
    the places that are found, and those are few.

    Args:
        values_T: a row.
        low_T: its bounds, [T].
        flags: room for T bytes and up to a whole number of groups; zero beyond T.
        groups: room for one more than the number of groups.
        found: takes the places; room for one more than there may be.
    """
    for j in range(len(values_T)):
        flags[j] = values_T[j] > low_T[j]
    words = flags.view(np.uint64)
    hits = 0
    for group in range(len(words)):
        groups[hits] = group
        hits += words[group] != 0
    number = 0
    for hit in range(hits):
        for j in range(GROUP * groups[hit], GROUP * groups[hit] + GROUP):
            found[number] = j
            number += flags[j]
    return number


@jit
def select_above(
    product_RT: Floats,
    first: int,
    b_enc_M: Floats,
    low_M: Floats,
    latents_E: Ints,
    values_E: Floats,
    starts: Longs,
    segment: int,
) -> int:
    """Append the entries of one tile and return their number so far.

    Args:
        product_RT: bare products of rows and encoder columns.
        first: the latent of the tile's first column.
        b_enc_M: encoder biases.
        low_M: from `lower_bounds`; an entry that rounding let through is neither active nor
            inside the window, so it does no harm.
        latents_E: takes the latent of each entry.
        values_E: takes its z.
        starts: `starts[segment]` is where this tile begins; the ends of its rows follow.
        segment: number of the tile times R.

    Returns:
        The number of entries, or OVERFLOW if the next row might not fit.
    """
    num_rows, width = product_RT.shape
    fill = int(starts[segment])
    # Slices, because an index that might be negative keeps a loop from being vectorised.
    low_T = low_M[first : first + width]
    num_groups = (width + GROUP - 1) // GROUP
    flags = np.zeros(num_groups * GROUP, np.uint8)
    groups = np.empty(num_groups + 1, np.int64)
    for row in range(num_rows):
        if fill + width >= len(latents_E):
            return OVERFLOW
        found = latents_E[fill:]
        number = find_above(product_RT[row], low_T, flags, groups, found)
        for p in range(number):
            j = found[p]
            values_E[fill + p] = product_RT[row, j] + b_enc_M[first + j]
            found[p] = first + j
        fill += number
        starts[segment + row + 1] = fill
    return fill


@jit
def add_rows(names: Ints, weights: Floats, rows_ND: Floats, number: int, out_D: Floats) -> None:
    """Add `weights` times the rows called `names` to `out_D`, four rows in one pass over it."""
    whole = number - number % 4
    for p in range(0, whole, 4):
        row0, row1 = rows_ND[names[p]], rows_ND[names[p + 1]]
        row2, row3 = rows_ND[names[p + 2]], rows_ND[names[p + 3]]
        w0, w1, w2, w3 = weights[p], weights[p + 1], weights[p + 2], weights[p + 3]
        for d in range(len(out_D)):
            out_D[d] += w0 * row0[d] + w1 * row1[d] + w2 * row2[d] + w3 * row3[d]
    for p in range(whole, number):
        row, weight = rows_ND[names[p]], weights[p]
        for d in range(len(out_D)):
            out_D[d] += weight * row[d]


@jit
def project_on_rows(names: Ints, rows_ND: Floats, vector_D: Floats, out_E: Floats) -> None:
    """Write the products of `vector_D` with the rows called `names`, four in one pass over it."""
    number = len(names)
    whole = number - number % 4
    for p in range(0, whole, 4):
        row0, row1 = rows_ND[names[p]], rows_ND[names[p + 1]]
        row2, row3 = rows_ND[names[p + 2]], rows_ND[names[p + 3]]
        sum0 = sum1 = sum2 = sum3 = np.float32(0)
        for d in range(len(vector_D)):
            value = vector_D[d]
            sum0 += value * row0[d]
            sum1 += value * row1[d]
            sum2 += value * row2[d]
            sum3 += value * row3[d]
        out_E[p], out_E[p + 1], out_E[p + 2], out_E[p + 3] = sum0, sum1, sum2, sum3
    for p in range(whole, number):
        row = rows_ND[names[p]]
        total = np.float32(0)
        for d in range(len(vector_D)):
            total += vector_D[d] * row[d]
        out_E[p] = total


@jit
def _decode(
    chosen: Chosen, theta_M: Floats, w_dec_MO: Floats, x_hat_RO: Floats, l0_R: Floats
) -> None:
    """Add the active entries' decoder rows to each row, and count them."""
    num_rows = len(l0_R)
    names = np.empty(len(theta_M) + 1, np.int32)
    values = np.empty(len(theta_M) + 1, np.float32)
    l0_R[:] = 0
    for segment in range(len(chosen.starts) - 1):
        active = 0
        for p in range(chosen.starts[segment], chosen.starts[segment + 1]):
            names[active] = chosen.latents[p]
            values[active] = chosen.values[p]
            active += chosen.values[p] - theta_M[chosen.latents[p]] > 0
        add_rows(names, values, w_dec_MO, active, x_hat_RO[segment % num_rows])
        l0_R[segment % num_rows] += active


@jit
def _add_to_window(
    chosen: Chosen, begin: int, end: int, theta_M: Floats, window: Window, weight: np.float32
) -> None:
    """Add a row's entries inside the window to the sums of their latents."""
    half = np.float32(window.half)
    for p in range(begin, end):
        i = chosen.latents[p]
        inside = np.float32(abs(chosen.values[p] - theta_M[i]) < half)
        window.sums[i, 0] += inside
        window.sums[i, 1] += inside * weight
        window.sums[i, 2] += inside * chosen.slopes[p]


@jit
def _keep(chosen: Chosen, begin: int, end: int, theta_M: Floats, kept: Kept, fill: int) -> int:
    """Keep a row's entries, only active ones or all, and return the number kept so far."""
    for p in range(begin, end):
        i = chosen.latents[p]
        kept.latents[fill] = i
        kept.values[fill] = chosen.values[p]
        kept.slopes[fill] = chosen.slopes[p]
        keep = kept.all or chosen.values[p] - theta_M[i] > 0
        kept.counts[i] += keep
        fill += keep
    return fill


@jit
def rebuild_rows(
    chosen: Chosen,
    theta_M: Floats,
    w_dec_MO: Floats,
    e_RO: Floats,
    window: Window,
    kept: Kept,
    l0_R: Floats,
    sum_O: Floats,
) -> float:
    """Rebuild each row, and find how the error leans on each of its entries.

    Entries inside the window are summed up here, latent by latent, because all that they move
    is their threshold; active ones are kept for the pass over latents.

    Args:
        chosen: entries of the block.
        theta_M: thresholds; entries above are active.
        w_dec_MO: decoder.
        e_RO: holds the residuals without any latent, takes those with all that are active.
        window: takes the sums over entries inside the window.
        kept: takes the entries that the latents need.
        l0_R: takes the number of active entries.
        sum_O: takes the sum of e over rows.

    Returns:
        The sum of e squared.
    """
    num_rows = len(e_RO)
    _decode(chosen, theta_M, w_dec_MO, e_RO, l0_R)
    total = 0.0
    sum_O[:] = 0
    for row in range(num_rows):
        e_O = e_RO[row]
        squares = np.float32(0)
        for o in range(len(e_O)):
            sum_O[o] += e_O[o]
            squares += e_O[o] * e_O[o]
        total += float(squares)
    if window.half > 0:
        window.sums[:] = 0
    kept.counts[:] = 0
    fill = 0
    # Tile by tile, so that the tile's decoder rows stay in the core's cache for all rows.
    for segment in range(len(chosen.starts) - 1):
        row = segment % num_rows
        begin, end = chosen.starts[segment], chosen.starts[segment + 1]
        project_on_rows(chosen.latents[begin:end], w_dec_MO, e_RO[row], chosen.slopes[begin:end])
        if window.half > 0:
            weight = l0_R[row] - np.float32(window.target) if window.by_row else np.float32(1)
            _add_to_window(chosen, begin, end, theta_M, window, weight)
        fill = _keep(chosen, begin, end, theta_M, kept, fill)
        kept.starts[segment + 1] = fill
    return total


@jit
def lay_out_latents(counts_NM: Ints, starts_M: Longs) -> None:
    """Turn the counts of N blocks into places, in the order latent, block.

    Args:
        counts_NM: entries of each block and latent; takes the place of the first of them.
        starts_M: takes where each latent begins, [M + 1].
    """
    num_blocks, width = counts_NM.shape
    starts_M[:] = 0
    for block in range(num_blocks):
        for i in range(width):
            before = counts_NM[block, i]
            counts_NM[block, i] = starts_M[i + 1]
            starts_M[i + 1] += before
    for i in range(width):
        starts_M[i + 1] += starts_M[i]
    for block in range(num_blocks):
        for i in range(width):
            counts_NM[block, i] += starts_M[i]


@jit
def place_entries(
    kept: Kept,
    num_rows: int,
    first_row: int,
    places_M: Ints,
    sorted_rows: Ints,
    sorted_values: Floats,
    sorted_slopes: Floats,
) -> None:
    """Put the kept entries of one block where they belong when sorted by latent."""
    for segment in range(len(kept.starts) - 1):
        row = first_row + segment % num_rows
        for p in range(kept.starts[segment], kept.starts[segment + 1]):
            i = kept.latents[p]
            place = places_M[i]
            places_M[i] = place + 1
            sorted_rows[place] = row
            sorted_values[place] = kept.values[p]
            sorted_slopes[place] = kept.slopes[p]
