"""The compiled loop by which teams act: one step of all networks, and the choice of actions.

Acting is a few rows for each team, so that calls and copies cost more than arithmetic where each
layer is an operation of its own. Here a team goes through all layers at once, its rows in cache.
The plain twin is `acting.Actor.values`.

K teams, C copies of each, B = K C, d agents, A actions, n inputs, e and h units, w inputs of an
LSTM, r of a head. Each team has l lanes, L = K l: one if it is central, else d. A lane has H heads
with O values each. A head is a chooser, l H to a team: of the action of one agent, or of all if it
is joint, O = A^d.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tenfold.engine.kernel import Whole, bare, within
from tenfold.parts.nn.blas import multiply, multiply_add
from tenfold.parts.nn.lstm_loops import curve_row, cut_row, move_row, open_row
from tenfold.rooms.vdn.slot_loops import place_of


class Rows(NamedTuple):
    """What agents see and remember, and what becomes of it."""

    seen: Any
    """[B, d, n], bytes or numbers."""
    shift: Any
    """[K, n], taken from numbers that are no bytes."""
    factor: Any
    """[K, n], what they are multiplied by then; of bytes the only factor."""
    hidden: Any
    """[B, l, h], before the step."""
    cell: Any
    """[B, l, h]."""
    new_hidden: Any
    """[B, l, h], written."""
    new_cell: Any
    """[B, l, h], written."""
    legal: Any
    """[B, l H, O], or one for all copies, [1, l H, O]."""
    draws: Any
    """[B, l H, 2] in [0, 1): whether to choose anything legal, and what."""
    actions: Any
    """[B, d], written."""


class Scratch(NamedTuple):
    """Room for the rows of one team."""

    x: Any
    """[C, n], of one agent."""
    first: Any
    """[C, e], of one agent."""
    wide: Any
    """[l, C, w], what each lane's LSTM reads."""
    gates: Any
    """[C, 4h], of one lane."""
    state: Any
    """[C, h], what one lane remembers."""
    shown: Any
    """[l, C, h], what each lane's LSTM gives."""
    read: Any
    """[C, r], what the heads of one lane read."""
    values: Any
    """[C, H O], of one lane."""
    choices: Any
    """The memory of `values`, a row for each head, [C, H, O]."""

    @staticmethod
    def of(copies: int, *, lanes: int, inputs: int, units: int, wide: int, read: int, heads: int,
           outputs: int) -> Scratch:  # fmt: skip
        """Return room for C copies of a team with l, n, h (and e), w, r, H and O as given."""

        def room(*size: int) -> Any:
            return np.empty(size, np.float32)

        choices = room(copies, heads, outputs)
        return Scratch(
            x=room(copies, inputs),
            first=room(copies, units),
            wide=room(lanes, copies, wide),
            gates=room(copies, 4 * units),
            state=room(copies, units),
            shown=room(lanes, copies, units),
            read=room(copies, read),
            values=choices.reshape(copies, heads * outputs),
            choices=choices,
        )


@within
def _fill(rows: Any, row: Any) -> None:
    for c in range(rows.shape[0]):
        for j in range(len(row)):
            rows[c, j] = row[j]


@within
def _copy(row: Any, out: Any) -> None:
    for j in range(len(row)):
        out[j] = row[j]


@within
def _choose(values: Any, legal: Any, draws: Any, share: Any) -> Whole:
    """Return the best legal choice, or with probability `share` any legal one; 0 if none is.

    Of equal values the first; a legal one even if all values are NaN (`explore.greedy`). Where some
    are NaN, torch takes them, this does so only if the first legal one is.
    """
    count, best = 0, -1
    for action in range(len(values)):
        if legal[action]:
            count += 1
            # Not >: the first legal action counts even if its value is NaN.
            if best < 0 or values[action] > values[best]:
                best = action
    if count == 0:
        return 0
    if draws[0] >= share:
        return best
    wanted = int(draws[1] * count)
    for action in range(len(values)):
        if legal[action]:
            if wanted == 0:
                return action
            wanted -= 1
    return best


@within
def _see(
    weights: Any, rows: Any, scratch: Any, team: Whole, agent: Whole, start: Whole, most: Any
) -> None:
    """Take what one agent sees, scaled, through the first layer to the lanes that read it."""
    shift, factor = rows.shift[team], rows.factor[team]
    lanes, copies, wide = scratch.wide.shape
    lane, zero = team * lanes + (agent if lanes > 1 else 0), np.float32(0.0)
    for c in range(copies):
        seen, x = rows.seen[start + c, agent], scratch.x[c]
        for k in range(len(x)):
            x[k] = min(max((np.float32(seen[k]) - shift[k]) * factor[k], -most), most)
    multiply(scratch.x, weights.first[lane], scratch.first)
    bias = weights.first_bias[lane]
    for part in range(lanes):
        place = place_of(agent, part, wide // len(bias))
        if place < 0:
            continue
        for c in range(copies):
            line, goal = scratch.first[c], scratch.wide[part, c, place * len(bias) :]
            for k in range(len(bias)):
                goal[k] = max(line[k] + bias[k], zero)


@within
def _remember(
    weights: Any, rows: Any, scratch: Any, lane: Whole, part: Whole, start: Whole
) -> None:
    """Take a step of one lane's LSTM."""
    copies, units = scratch.state.shape
    for c in range(copies):
        _copy(rows.hidden[start + c, part], scratch.state[c])
    multiply(scratch.wide[part], weights.inputs[lane], scratch.gates)
    multiply_add(scratch.state, weights.hidden[lane], scratch.gates)
    for c in range(copies):
        gates, curved, shown = scratch.gates[c], scratch.state[c], scratch.shown[part, c]
        cell, hidden = rows.new_cell[start + c, part], rows.new_hidden[start + c, part]
        open_row(gates, weights.bias[lane], units)
        move_row(gates, rows.cell[start + c, part], cell, units)
        curve_row(cell, curved)
        opened = gates[2 * units : 3 * units]
        for j in range(units):
            hidden[j] = opened[j] * curved[j]
        _copy(hidden, shown)
        cut_row(shown)


@within
def _value(weights: Any, scratch: Any, lane: Whole, part: Whole) -> None:
    """Write the values of one lane's heads."""
    lanes, copies, units = scratch.shown.shape
    many = scratch.read.shape[1] // units
    for other in range(lanes):
        place = place_of(other, part, many)
        if place < 0:
            continue
        for c in range(copies):
            _copy(scratch.shown[other, c], scratch.read[c, place * units :])
    _fill(scratch.values, weights.head_bias[lane])
    multiply_add(scratch.read, weights.head[lane], scratch.values)


@within
def _decide(rows: Any, scratch: Any, part: Whole, start: Whole, actions: Whole, share: Any) -> None:
    """Choose by the values of a lane's heads, and write the actions of agents."""
    copies, heads = scratch.choices.shape[:2]
    many = rows.actions.shape[1] // rows.draws.shape[1]
    for c in range(copies):
        legal = start + c if rows.legal.shape[0] > 1 else 0
        for head in range(heads):
            chooser = part * heads + head
            left = _choose(
                scratch.choices[c, head], rows.legal[legal, chooser],
                rows.draws[start + c, chooser], share,
            )  # fmt: skip
            # As `model.split_joint`; the only action of a head that chooses for one agent.
            for i in range(many):
                rows.actions[start + c, chooser * many + i] = left % actions
                left //= actions


@bare
def act(weights: Any, rows: Any, scratch: Any, actions: Whole, share: Any, most: Any) -> None:
    """Let all agents of all copies choose.

    Args:
        weights: `slot_loops.Weights`.
        rows: `Rows`.
        scratch: `Scratch`.
        actions: A.
        share: of random actions.
        most: largest size of a scaled number.
    """
    copies, lanes = scratch.state.shape[0], rows.hidden.shape[1]
    for team in range(rows.seen.shape[0] // copies):
        start = team * copies
        for agent in range(rows.seen.shape[1]):
            _see(weights, rows, scratch, team, agent, start, most)
        for part in range(lanes):
            _remember(weights, rows, scratch, team * lanes + part, part, start)
        for part in range(lanes):
            _value(weights, scratch, team * lanes + part, part)
            _decide(rows, scratch, part, start, actions, share)
