"""Compiled loops of an LSTM over a window: one lane after the other, all that it needs in cache.

A lane goes through the whole window before the next one begins, forward and back: its weights and
what its steps leave fit into the second cache, where those of all lanes would not.

Tanh is a rational function fitted to 1e-8 on [-8.3, 8.3], beyond which it is 1 in float32; the
logistic function comes from it. Both keep within 4e-7 of the exact values, and unlike a library's
they vectorise. Sums are float32, as everywhere.

L lanes, T steps, R rows, H units; gates lie in the order input, forget, output, candidate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import bare, within
from tenfold.parts.nn.blas import multiply, multiply_add, multiply_over_rows, multiply_turned

F = np.float32
EDGE = F(8.3)
"""Where tanh is 1 within float32."""


@within
def _tanh(x: Any) -> Any:
    x = min(max(x, -EDGE), EDGE)
    z = x * x
    top = F(2.996181463e-14)
    top = top * z + F(-3.464626727e-11)
    top = top * z + F(4.784465141e-08)
    top = top * z + F(3.367239389e-05)
    top = top * z + F(4.123978409e-03)
    top = top * z + F(1.387893827e-01)
    top = top * z + F(1.0)
    low = F(1.722043801e-06)
    low = low * z + F(4.405251478e-04)
    low = low * z + F(2.816488430e-02)
    low = low * z + F(4.721227157e-01)
    low = low * z + F(1.0)
    return x * top / low


@within
def open_row(gates: Any, bias: Any, units: Any) -> None:
    """Add the bias and bend: one row of 4H."""
    half = F(0.5)
    for j in range(3 * units):
        gates[j] = half + half * _tanh(half * (gates[j] + bias[j]))
    for j in range(3 * units, 4 * units):
        gates[j] = _tanh(gates[j] + bias[j])


@within
def move_row(gates: Any, before: Any, after: Any, units: Any) -> None:
    """Write the new cell: one row of H."""
    for j in range(units):
        after[j] = gates[units + j] * before[j] + gates[j] * gates[3 * units + j]


@within
def curve_row(cell: Any, curved: Any) -> None:
    """Write tanh of a cell: one row of H."""
    for j in range(len(cell)):
        curved[j] = _tanh(cell[j])


@within
def cut_row(row: Any) -> None:
    """Apply ReLU to a row in place."""
    zero = F(0.0)
    for j in range(len(row)):
        row[j] = max(row[j], zero)


@within
def _show(gates: Any, curved: Any, hidden: Any, shown: Any, bend: Any) -> None:
    units, zero = len(hidden), F(0.0)
    for j in range(units):
        hidden[j] = gates[2 * units + j] * curved[j]
    for j in range(units):
        shown[j] = max(hidden[j], zero) if bend else hidden[j]


@within
def _begin(hidden: Any, cell: Any, keep: Any, lane: Any, t: Any) -> None:
    """Empty the state of rows whose episode begins with step `t`; `keep` [L, T, R] may be empty."""
    if keep.shape[0] > 0:
        for row in range(hidden.shape[0]):
            share = keep[lane, t, row]
            for j in range(hidden.shape[1]):
                hidden[row, j] *= share
            for j in range(cell.shape[1]):
                cell[row, j] *= share


@within
def _copy(rows: Any, out: Any) -> None:
    for row in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            out[row, j] = rows[row, j]


@bare
def forward(
    x: Any, inputs: Any, weight: Any, bias: Any, hidden: Any, cell: Any, keep: Any, gates: Any,
    befores: Any, cells: Any, curved: Any, last_hidden: Any, last_cell: Any, shown: Any, bend: bool,
) -> None:  # fmt: skip
    """Go through a window.

    What is kept for the way back may have room for one lane only, M = 1, or for all, M = L.

    Args:
        x: [L, T, R, W].
        inputs: [L, W, 4H].
        weight: of hidden values, [L, H, 4H].
        bias: [L, 4H].
        hidden: before the window, [L, R, H].
        cell: before the window, [L, R, H].
        keep: 0 where a step begins with an empty state, else 1, [L, T, R]; [0, 0, 0]: all are 1.
        gates: is written, opened gates, [M, T, R, 4H].
        befores: is written, hidden values with which each step begins, [M, T, R, H].
        cells: is written, cells with which each step begins, [M, T, R, H].
        curved: is written, tanh of the cell after each step, [M, T, R, H].
        last_hidden: is written, after the window, [M, R, H].
        last_cell: is written, after the window, [M, R, H].
        shown: is written, the hidden values after each step, [L, T, R, H].
        bend: show hidden values cut off at 0.
    """
    lanes, steps, rows, units = shown.shape
    for lane in range(lanes):
        own = lane if gates.shape[0] > 1 else 0
        multiply(x[lane], inputs[lane], gates[own])
        _copy(hidden[lane], befores[own, 0])
        _copy(cell[lane], cells[own, 0])
        for t in range(steps):
            _begin(befores[own, t], cells[own, t], keep, lane, t)
            multiply_add(befores[own, t], weight[lane], gates[own, t])
            after_hidden = befores[own, t + 1] if t + 1 < steps else last_hidden[own]
            after_cell = cells[own, t + 1] if t + 1 < steps else last_cell[own]
            for row in range(rows):
                gate, curve = gates[own, t, row], curved[own, t, row]
                open_row(gate, bias[lane], units)
                move_row(gate, cells[own, t, row], after_cell[row], units)
                curve_row(after_cell[row], curve)
                _show(gate, curve, after_hidden[row], shown[lane, t, row], bend)


@bare
def backward(
    x: Any, inputs: Any, weight: Any, keep: Any, gates: Any, befores: Any, cells: Any, curved: Any,
    shown: Any, above: Any, slopes: Any, to_hidden: Any, to_cell: Any, come: Any, for_inputs: Any,
    for_weight: Any, for_bias: Any, to_x: Any, bend: bool,
) -> None:  # fmt: skip
    """Go back through a window that `forward` went through with M = L.

    Args:
        x: as there.
        inputs: as there.
        weight: as there.
        keep: as there.
        gates: what it wrote, as the next four.
        befores: hidden values with which each step begins.
        cells: cells with which each step begins.
        curved: tanh of the cell after each step.
        shown: hidden values after each step.
        above: gradient of what was shown, [L, T, R, H].
        slopes: room for one lane, [T, R, 4H].
        to_hidden: room, [R, H].
        to_cell: room, [R, H].
        come: room, [H].
        for_inputs: gradient of `inputs`, is written.
        for_weight: gradient of `weight`, is written.
        for_bias: gradient of `bias`, is written.
        to_x: gradient of `x`, is written; [0, 0, 0, 0]: not wanted.
        bend: as there.
    """
    lanes, steps, rows, units = shown.shape
    zero = F(0.0)
    for lane in range(lanes):
        total = for_bias[lane]
        for j in range(4 * units):
            total[j] = zero
        for row in range(rows):
            for j in range(units):
                to_hidden[row, j] = zero
                to_cell[row, j] = zero
        for back in range(steps):
            t = steps - 1 - back
            for row in range(rows):
                outer, inner, there = above[lane, t, row], to_hidden[row], shown[lane, t, row]
                for j in range(units):
                    come[j] = inner[j] + (outer[j] if there[j] > zero or not bend else zero)
                slope = slopes[t, row]
                _back(gates[lane, t, row], curved[lane, t, row], cells[lane, t, row], come,
                      to_cell[row], slope)  # fmt: skip
                for j in range(4 * units):
                    total[j] += slope[j]
            if t > 0:
                multiply_turned(slopes[t], weight[lane], to_hidden)
                _begin(to_hidden, to_cell, keep, lane, t)
        multiply_over_rows(x[lane], slopes, for_inputs[lane])
        multiply_over_rows(befores[lane], slopes, for_weight[lane])
        if to_x.shape[0] > 0:
            multiply_turned(slopes, inputs[lane], to_x[lane])


@within
def _back(gate: Any, curve: Any, cell: Any, come: Any, carried: Any, slope: Any) -> None:
    """Take one row a step back.

    Args:
        gate: opened, [4H].
        curve: tanh of the cell after, [H].
        cell: before, [H].
        come: gradient of the hidden value, [H].
        carried: gradient of the cell after, becomes that of the cell before, [H].
        slope: is written, gradient of the gates before bending, [4H].
    """
    units, one = len(come), F(1.0)
    for j in range(units):
        o = gate[2 * units + j]
        slope[2 * units + j] = come[j] * curve[j] * o * (one - o)
    for j in range(units):
        carried[j] += come[j] * gate[2 * units + j] * (one - curve[j] * curve[j])
    for j in range(units):
        i, u = gate[j], gate[3 * units + j]
        slope[j] = carried[j] * u * i * (one - i)
        slope[3 * units + j] = carried[j] * i * (one - u * u)
    for j in range(units):
        f = gate[units + j]
        slope[units + j] = carried[j] * cell[j] * f * (one - f)
    for j in range(units):
        carried[j] *= gate[units + j]
