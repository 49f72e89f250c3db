"""Compiled loops of an LSTM's cell: all that is not a matrix product, in one pass over memory.

Tanh is a rational function fitted to 1e-8 on [-8.3, 8.3], beyond which it is 1 in float32; the
logistic function comes from it. Both keep within 4e-7 of the exact values, and unlike a library's
they vectorise. Sums are float32, as everywhere.

L lanes, T steps, R rows, H units; gates lie in the order input, forget, output, candidate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import bare, within

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


@bare
def forward_step(
    t: int, gates: Any, bias: Any, cells: Any, curved: Any, hiddens: Any, shown: Any, bend: bool
) -> None:
    """Take step `t` of a window, in place.

    Args:
        t: number of the step.
        gates: entry t holds both products and becomes the opened gates, [T, L, R, 4H].
        bias: [L, 4H].
        cells: entry t is read and t + 1 written, [T + 1, L, R, H].
        curved: entry t becomes tanh of the new cell, [T, L, R, H].
        hiddens: entry t + 1 is written, [T + 1, L, R, H].
        shown: step t becomes the hidden values too, [L, T, R, H].
        bend: show hidden values cut off at 0.
    """
    units = cells.shape[3]
    for lane in range(gates.shape[1]):
        for row in range(gates.shape[2]):
            gate, curve = gates[t, lane, row], curved[t, lane, row]
            cell = cells[t + 1, lane, row]
            open_row(gate, bias[lane], units)
            move_row(gate, cells[t, lane, row], cell, units)
            curve_row(cell, curve)
            _show(gate, curve, hiddens[t + 1, lane, row], shown[lane, t, row], bend)


@bare
def only_forward(
    t: int, product: Any, bias: Any, cells: Any, hidden: Any, shown: Any, curve: Any, bend: bool
) -> None:
    """Take step `t` and keep no more than the new cell and hidden values.

    Args:
        t: number of the step.
        product: both products, becomes the opened gates, [L, R, 4H].
        bias: [L, 4H].
        cells: before the step, become those after it, [L, R, H].
        hidden: is written, [L, R, H].
        shown: step t becomes the hidden values too, [L, T, R, H].
        curve: room for one row, [H].
        bend: show hidden values cut off at 0.
    """
    units = cells.shape[2]
    for lane in range(cells.shape[0]):
        for row in range(cells.shape[1]):
            gate, cell = product[lane, row], cells[lane, row]
            open_row(gate, bias[lane], units)
            move_row(gate, cell, cell, units)
            curve_row(cell, curve)
            _show(gate, curve, hidden[lane, row], shown[lane, t, row], bend)


@bare
def backward_step(
    t: int, gates: Any, cells: Any, curved: Any, shown: Any, above: Any, to_hidden: Any,
    to_cell: Any, slopes: Any, sums: Any, come: Any, bend: bool,
) -> None:  # fmt: skip
    """Take step `t` back: from what is above to the slopes of the gates before bending.

    Args:
        t: number of the step.
        gates: opened, [T, L, R, 4H].
        cells: [T + 1, L, R, H].
        curved: [T, L, R, H].
        shown: hidden values as they were shown, [L, T, R, H].
        above: gradient of what was shown, [L, T, R, H].
        to_hidden: gradient from the step after, [L, R, H]; left as it is.
        to_cell: gradient of the cell from the step after, becomes that for the step before,
            [L, R, H].
        slopes: is written, [L, R, 4H].
        sums: slopes of all rows are added, the gradient of the bias, [L, 4H].
        come: room for one row, [H].
        bend: hidden values were shown cut off at 0.
    """
    units = cells.shape[3]
    one, zero = F(1.0), F(0.0)
    for lane in range(gates.shape[1]):
        total = sums[lane]
        for row in range(gates.shape[2]):
            gate, slope = gates[t, lane, row], slopes[lane, row]
            curve, cell = curved[t, lane, row], cells[t, lane, row]
            outer, inner, there = above[lane, t, row], to_hidden[lane, row], shown[lane, t, row]
            carried = to_cell[lane, row]
            for j in range(units):
                come[j] = inner[j] + (outer[j] if there[j] > zero or not bend else zero)
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
            for j in range(4 * units):
                total[j] += slope[j]
