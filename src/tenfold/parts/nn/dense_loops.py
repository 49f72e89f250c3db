"""Compiled loops of dense layers: bias and ReLU in one pass over a product, forward and back.

L lanes, M rows, N columns; all arrays are C-contiguous float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import bare


@bare
def add_bias(out: Any, bias: Any, bend: bool) -> None:
    """Add a bias [L, N] to a product [L, M, N] in place; `bend`: then cut it off at 0."""
    zero = np.float32(0.0)
    for lane in range(out.shape[0]):
        shift = bias[lane]
        for row in range(out.shape[1]):
            line = out[lane, row]
            if bend:
                for j in range(len(line)):
                    line[j] = max(line[j] + shift[j], zero)
            else:
                for j in range(len(line)):
                    line[j] += shift[j]


@bare
def cut_slopes(above: Any, out: Any, slopes: Any, sums: Any) -> None:
    """Pass slopes where the output is positive, and add them up over rows.

    Args:
        above: gradient of the output, [L, M, N].
        out: the output after ReLU, [L, M, N].
        slopes: is written, [L, M, N].
        sums: gradient of the bias, is written, [L, N].
    """
    zero = np.float32(0.0)
    for lane in range(out.shape[0]):
        total = sums[lane]
        total[:] = zero
        for row in range(out.shape[1]):
            line, there, slope = above[lane, row], out[lane, row], slopes[lane, row]
            for j in range(len(line)):
                slope[j] = line[j] if there[j] > zero else zero
            for j in range(len(line)):
                total[j] += slope[j]


@bare
def add_rows(above: Any, sums: Any) -> None:
    """Write the sums over rows of [L, M, N] to [L, N]."""
    for lane in range(above.shape[0]):
        total = sums[lane]
        total[:] = np.float32(0.0)
        for row in range(above.shape[1]):
            line = above[lane, row]
            for j in range(len(line)):
                total[j] += line[j]


@bare
def clip_groups(
    gradient: Any, begins: Any, groups: Any, frozen: Any, norms: Any, clip: Any
) -> bool:
    """Clip the gradient of each group of slots, and freeze groups whose gradient is not finite.

    Args:
        gradient: array after array, in each slot after slot, [S P]; clipped in place, of frozen
            groups set to 0.
        begins: where each array begins, and the end of the last.
        groups: of each slot, [S].
        frozen: of each group, [G] bool; written.
        norms: Euclidean norm of each group's gradient before clipping, [G]; written.
        clip: largest norm; 0: none.

    Returns:
        Whether a group froze that was not frozen before.
    """
    slots, broken, zero = len(groups), False, np.float32(0.0)
    norms[:] = zero
    for array in range(len(begins) - 1):
        size = (begins[array + 1] - begins[array]) // slots
        for slot in range(slots):
            begin = begins[array] + slot * size
            part, total = gradient[begin : begin + size], zero
            for k in range(len(part)):
                total += part[k] * part[k]
            norms[groups[slot]] += total
    for group in range(len(norms)):
        norms[group] = np.sqrt(norms[group])
        if not np.isfinite(norms[group]) and not frozen[group]:
            frozen[group] = True
            broken = True
    for array in range(len(begins) - 1):
        size = (begins[array + 1] - begins[array]) // slots
        for slot in range(slots):
            begin, group = begins[array] + slot * size, groups[slot]
            part = gradient[begin : begin + size]
            if frozen[group]:
                part[:] = zero
            elif clip > zero and norms[group] > clip:
                scale = clip / norms[group]
                for k in range(len(part)):
                    part[k] *= scale
    return broken


@bare
def move_adam(
    flat: Any, mean: Any, square: Any, gradient: Any, rates: Any, first: Any, second: Any,
    epsilon: Any, pace: Any, spread: Any,
) -> None:  # fmt: skip
    """Take one step of Adam in one pass; all arrays are [P] float32, the rest numbers.

    Args:
        flat: parameters, moved in place.
        mean: running mean of gradients, moved in place.
        square: running mean of their squares, moved in place.
        gradient: of this step.
        rates: learning rate of each parameter.
        first: decay of the mean.
        second: decay of the squares.
        epsilon: added to the root.
        pace: factor of all rates over 1 - first^steps.
        spread: 1 - second^steps.
    """
    one = np.float32(1.0)
    for k in range(len(flat)):
        g = gradient[k]
        m = mean[k] + (g - mean[k]) * (one - first)
        s = second * square[k] + (one - second) * g * g
        mean[k] = m
        square[k] = s
        flat[k] -= rates[k] * (m * pace) / (np.sqrt(s / spread) + epsilon)
