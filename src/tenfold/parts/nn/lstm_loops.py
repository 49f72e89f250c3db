"""Compiled loops of an LSTM over a window: one lane after the other, all that it needs in cache.

A lane goes through the whole window before the next one begins, forward and back: its weights and
what its steps leave fit into the second cache, where those of all lanes would not.

Tanh is a rational function fitted to 1e-8 on [-8.3, 8.3], beyond which it is 1 in float32; the
logistic function comes from it. Both keep within 4e-7 of the exact values, and unlike a library's
they vectorise. Sums are float32, as everywhere.

L lanes, T steps, R rows, H units; gates lie in the order input, forget, output, candidate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
    half, opened, candidate = F(0.5), gates[: 3 * units], gates[3 * units :]
    # Loops over whole parts: with an index that begins elsewhere they would not vectorise.
    for j in range(len(opened)):
        opened[j] = half + half * _tanh(half * (opened[j] + bias[j]))
    shift = bias[3 * units :]
    for j in range(len(candidate)):
        candidate[j] = _tanh(candidate[j] + shift[j])


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
    entering, kept, out = gate[:units], gate[units : 2 * units], gate[2 * units : 3 * units]
    candidate, to_candidate = gate[3 * units :], slope[3 * units :]
    to_kept, to_out = slope[units : 2 * units], slope[2 * units : 3 * units]
    for j in range(units):
        to_out[j] = come[j] * curve[j] * out[j] * (one - out[j])
    for j in range(units):
        carried[j] += come[j] * out[j] * (one - curve[j] * curve[j])
    for j in range(units):
        slope[j] = carried[j] * candidate[j] * entering[j] * (one - entering[j])
    for j in range(units):
        to_candidate[j] = carried[j] * entering[j] * (one - candidate[j] * candidate[j])
    for j in range(units):
        to_kept[j] = carried[j] * cell[j] * kept[j] * (one - kept[j])
    for j in range(units):
        carried[j] *= kept[j]


@within
def _begin(hidden: Any, cell: Any, keep: Any, team: Any, t: Any) -> None:
    """Empty the state of rows whose episode begins with step `t`."""
    if keep.shape[0] > 0:
        for row in range(hidden.shape[0]):
            share = keep[team, t, row]
            for j in range(hidden.shape[1]):
                hidden[row, j] *= share
            for j in range(cell.shape[1]):
                cell[row, j] *= share


@within
def _copy(rows: Any, out: Any) -> None:
    for row in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            out[row, j] = rows[row, j]


class Kept(NamedTuple):
    """What a pass over windows leaves for the way back; each entry of M serves a lane."""

    gates: Any
    """Opened gates, [M, T, R, 4H]."""
    befores: Any
    """Hidden values with which each step begins, [M, T, R, H]."""
    cells: Any
    """Cells with which each step begins, [M, T, R, H]."""
    curved: Any
    """Tanh of the cell after each step, [M, T, R, H]."""
    hidden: Any
    """Hidden values after the window, [M, R, H]."""
    cell: Any
    """Cells after the window, [M, R, H]."""


class Room(NamedTuple):
    """Room for the way back of one lane."""

    slopes: Any
    """[T, R, 4H]."""
    to_hidden: Any
    """[R, H]."""
    to_cell: Any
    """[R, H]."""
    come: Any
    """[H]."""
    turned: Any
    """Weights of hidden values transposed, [4H, H]."""


@bare
def forward_lane(
    x: Any, inputs: Any, weight: Any, bias: Any, hidden: Any, cell: Any, keep: Any, team: Any,
    kept: Any, own: Any, shown: Any, bend: bool, keeps: bool,
) -> None:  # fmt: skip
    """Go through a window with one lane.

    Args:
        x: [T, R, W]; `kept` may have room for more steps, and for two only if it `keeps` nothing.
        inputs: [W, 4H].
        weight: of hidden values, [H, 4H].
        bias: [4H].
        hidden: before the window, [R, H].
        cell: before the window, [R, H].
        keep: 0 where a step begins with an empty state, else 1, [K, T, R]; [0, 0, 0]: all are 1.
        team: which entry of `keep` is this lane's.
        kept: `Kept`.
        own: which entry of `kept` is written.
        shown: is written, the hidden values after each step, [T, R, H].
        bend: show hidden values cut off at 0.
        keeps: whether there will be a way back; else steps overwrite one another's memory, so
            that it stays in cache.
    """
    steps, rows, units = shown.shape
    _copy(hidden, kept.befores[own, 0])
    _copy(cell, kept.cells[own, 0])
    for t in range(steps):
        place, here, there = (t, t, t + 1) if keeps else (0, t % 2, (t + 1) % 2)
        gates, curved = kept.gates[own, place], kept.curved[own, place]
        before, begin = kept.befores[own, here], kept.cells[own, here]
        _begin(before, begin, keep, team, t)
        multiply(x[t], inputs, gates)
        multiply_add(before, weight, gates)
        after = kept.befores[own, there] if t + 1 < steps else kept.hidden[own]
        end = kept.cells[own, there] if t + 1 < steps else kept.cell[own]
        for row in range(rows):
            gate, curve = gates[row], curved[row]
            open_row(gate, bias, units)
            move_row(gate, begin[row], end[row], units)
            curve_row(end[row], curve)
            _show(gate, curve, after[row], shown[t, row], bend)


@bare
def backward_lane(
    x: Any, inputs: Any, weight: Any, keep: Any, team: Any, kept: Any, own: Any, shown: Any,
    above: Any, room: Any, for_inputs: Any, for_weight: Any, for_bias: Any, to_x: Any, bend: bool,
) -> None:  # fmt: skip
    """Go back through a window that `forward_lane` went through.

    Args:
        x: as there, [T, R, W]; it may have gone on behind these steps.
        inputs: as there.
        weight: as there.
        keep: as there.
        team: as there.
        kept: as there.
        own: as there.
        shown: what it wrote, [T, R, H].
        above: gradient of that, [T, R, H].
        room: `Room`.
        for_inputs: gradient of `inputs`, is written.
        for_weight: gradient of `weight`, is written.
        for_bias: gradient of `bias`, is written.
        to_x: gradient of `x`, is written; [0, 0, 0]: not wanted.
        bend: as there.
    """
    steps, rows, units = shown.shape
    zero, come = F(0.0), room.come
    for j in range(4 * units):
        for_bias[j] = zero
    for row in range(rows):
        for j in range(units):
            room.to_hidden[row, j] = zero
            room.to_cell[row, j] = zero
    # Products with a matrix as it lies are faster, and there is one for each step.
    for j in range(4 * units):
        for k in range(units):
            room.turned[j, k] = weight[k, j]
    for back in range(steps):
        t = steps - 1 - back
        for row in range(rows):
            outer, inner, there = above[t, row], room.to_hidden[row], shown[t, row]
            for j in range(units):
                come[j] = inner[j] + (outer[j] if there[j] > zero or not bend else zero)
            slope = room.slopes[t, row]
            _back(
                kept.gates[own, t, row], kept.curved[own, t, row], kept.cells[own, t, row], come,
                room.to_cell[row], slope,
            )  # fmt: skip
            for j in range(4 * units):
                for_bias[j] += slope[j]
        if t > 0:
            multiply(room.slopes[t], room.turned, room.to_hidden)
            _begin(room.to_hidden, room.to_cell, keep, team, t)
    multiply_over_rows(x, room.slopes[:steps], for_inputs)
    multiply_over_rows(kept.befores[own, :steps], room.slopes[:steps], for_weight)
    if to_x.shape[0] > 0:
        multiply_turned(room.slopes[:steps], inputs, to_x)


@bare
def forward(
    x: Any, inputs: Any, weight: Any, bias: Any, hidden: Any, cell: Any, keep: Any, kept: Any,
    shown: Any, bend: bool, keeps: bool,
) -> None:  # fmt: skip
    """Go through a window with all lanes: arrays of `forward_lane` with [L] before them.

    `keep` is [L, T, R]; `kept` may have one entry, which all lanes then write.
    """
    for lane in range(len(x)):
        own = lane if len(kept.gates) > 1 else 0
        forward_lane(
            x[lane], inputs[lane], weight[lane], bias[lane], hidden[lane], cell[lane], keep, lane,
            kept, own, shown[lane], bend, keeps,
        )  # fmt: skip


@bare
def backward(
    x: Any, inputs: Any, weight: Any, keep: Any, kept: Any, shown: Any, above: Any, room: Any,
    for_inputs: Any, for_weight: Any, for_bias: Any, to_x: Any, bend: bool,
) -> None:  # fmt: skip
    """Go back with all lanes: arrays of `backward_lane` with [L] before them.

    `to_x` may be [1, 0, 0, 0]: not wanted.
    """
    for lane in range(len(x)):
        backward_lane(
            x[lane], inputs[lane], weight[lane], keep, lane, kept, lane, shown[lane], above[lane],
            room, for_inputs[lane], for_weight[lane], for_bias[lane],
            to_x[lane if len(to_x) > 1 else 0], bend,
        )  # fmt: skip
