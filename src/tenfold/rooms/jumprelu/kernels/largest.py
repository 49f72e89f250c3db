"""The compiled loops that keep the largest pre-activations of each row, or of a batch.

A row's candidates are gathered while its tiles pass by; whenever its room is full only the k
largest stay, and what is not above the smallest of them is not looked at again. Of equal values
the one of the lower latent is kept.
"""

# R rows of a block, T latents of a tile, C room for the candidates of a row, M latents, E entries

from __future__ import annotations

import numpy as np

from tenfold.engine.kernel import jit
from tenfold.rooms.jumprelu.kernels.cpu import GROUP, SLACK, Floats, Ints, Longs, find_above


@jit
def find_kth_largest(values: Floats, k: int, scratch: Floats) -> np.float32:
    """Return the k-th largest of `values` (k from 1); `scratch` is as long."""
    n = len(values)
    for p in range(n):
        scratch[p] = values[p]
    left, right, wanted = 0, n - 1, k - 1
    while left < right:
        middle = (left + right) // 2
        a, b, c = scratch[left], scratch[middle], scratch[right]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = left, right
        while i <= j:
            while scratch[i] > pivot:
                i += 1
            while scratch[j] < pivot:
                j -= 1
            if i <= j:
                scratch[i], scratch[j] = scratch[j], scratch[i]
                i += 1
                j -= 1
        if wanted <= j:
            right = j
        elif wanted >= i:
            left = i
        else:
            break
    return np.float32(scratch[wanted])


@jit
def keep_largest(values: Floats, latents: Ints, number: int, k: int, scratch: Floats) -> np.float32:
    """Move the k largest of the first `number` entries to the front, order kept; k <= number.

    Returns:
        The smallest value that is kept.
    """
    cut = find_kth_largest(values[:number], k, scratch)
    equal = k
    for p in range(number):
        if values[p] > cut:
            equal -= 1
    kept = 0
    for p in range(number):
        ties = values[p] == cut and equal > 0
        if ties:
            equal -= 1
        if ties or values[p] > cut:
            values[kept] = values[p]
            latents[kept] = latents[p]
            kept += 1
    return cut


@jit
def bound_from_groups(z_T: Floats, k: int, maxima: Floats, scratch: Floats) -> np.float32:
    """Return a value that at least k of `z_T` reach, or 0 if that is not known.

    The k-th largest of the maxima of 2k groups: much nearer to the k-th largest value than 0.
    """
    groups = 2 * k
    size = len(z_T) // groups
    if size < 2:
        return np.float32(0)
    for group in range(groups):
        members = z_T[group * size : (group + 1) * size]
        most = members[0]
        for j in range(size):
            most = max(most, members[j])
        maxima[group] = most
    return np.float32(max(find_kth_largest(maxima[:groups], k, scratch), np.float32(0)))


@jit
def collect_largest(
    product_RT: Floats,
    first: int,
    b_enc_M: Floats,
    k: int,
    values_RC: Floats,
    latents_RC: Ints,
    fill_R: Longs,
    bound_R: Floats,
    scratch_C: Floats,
) -> None:
    """Gather the candidates of one tile for the k largest of each row.

    Args:
        product_RT: bare products of rows and encoder columns.
        first: the latent of the tile's first column.
        b_enc_M: encoder biases.
        k: how many are wanted; less than C.
        values_RC: candidates so far; takes those of this tile too.
        latents_RC: their latents.
        fill_R: number of candidates of each row.
        bound_R: what a candidate must exceed.
        scratch_C: room for `find_kth_largest`.
    """
    num_rows, width = product_RT.shape
    room = values_RC.shape[1]
    num_groups = (width + GROUP - 1) // GROUP
    flags = np.zeros(num_groups * GROUP, np.uint8)
    groups = np.empty(num_groups + 1, np.int64)
    found = np.empty(width + 1, np.int32)
    low_T = np.empty(width, np.float32)
    z_T = np.empty(width, np.float32)
    maxima = np.empty(room, np.float32)
    for row in range(num_rows):
        fill, bound = fill_R[row], bound_R[row]
        if first == 0:
            for j in range(width):
                z_T[j] = product_RT[row, j] + b_enc_M[j]
            # Just below, because what equals the bound must be a candidate too.
            bound = bound_from_groups(z_T, k, maxima, scratch_C) * (np.float32(1) - SLACK)
        for j in range(width):
            low_T[j] = bound - b_enc_M[first + j] - SLACK * (bound + abs(b_enc_M[first + j]))
        number = find_above(product_RT[row], low_T, flags, groups, found)
        for p in range(number):
            j = found[p]
            z = product_RT[row, j] + b_enc_M[first + j]
            if z > bound:
                if fill == room:
                    bound = keep_largest(values_RC[row], latents_RC[row], fill, k, scratch_C)
                    fill = k
                    if z <= bound:
                        continue
                values_RC[row, fill] = z
                latents_RC[row, fill] = first + j
                fill += 1
        fill_R[row] = fill
        bound_R[row] = bound


@jit
def emit_largest(
    k: int,
    values_RC: Floats,
    latents_RC: Ints,
    fill_R: Longs,
    scratch_C: Floats,
    names: Ints,
    latents_E: Ints,
    values_E: Floats,
    starts: Longs,
) -> int:
    """Write the at most k largest candidates of each row as entries, and return their number.

    Args:
        k: how many of a row are kept.
        values_RC: the candidates.
        latents_RC: their latents.
        fill_R: number of candidates of each row.
        scratch_C: room for `find_kth_largest`.
        names: the latent that each of `latents_RC` stands for.
        latents_E: takes latents, row after row; room for R k.
        values_E: takes z.
        starts: takes where each row begins, [R + 1].
    """
    number = 0
    starts[0] = 0
    for row in range(len(fill_R)):
        fill = fill_R[row]
        if fill > k:
            keep_largest(values_RC[row], latents_RC[row], fill, k, scratch_C)
            fill = k
        for p in range(fill):
            latents_E[number] = names[latents_RC[row, p]]
            values_E[number] = values_RC[row, p]
            number += 1
        starts[row + 1] = number
    return number


@jit
def count_equal(values_E: Floats, number: int, cut: float) -> int:
    """Count the entries of just this value."""
    equal = 0
    for p in range(number):
        if values_E[p] == np.float32(cut):
            equal += 1
    return equal


@jit
def drop_below(latents_E: Ints, values_E: Floats, starts: Longs, cut: float, allowed: int) -> int:
    """Keep entries above `cut` and the first `allowed` equal to it, and return their number."""
    least = np.float32(cut)
    kept = 0
    begin = starts[0]
    for segment in range(len(starts) - 1):
        end = starts[segment + 1]
        for p in range(begin, end):
            z = values_E[p]
            if z == least and allowed > 0:
                allowed -= 1
            elif z <= least:
                continue
            latents_E[kept] = latents_E[p]
            values_E[kept] = z
            kept += 1
        begin = end
        starts[segment + 1] = kept
    return kept
