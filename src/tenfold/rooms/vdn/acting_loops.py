"""The compiled loop by which teams act: one step of all networks, and the choice of actions.

Acting is a few rows for each team, so that calls and copies cost more than arithmetic where each
layer is an operation of its own. Here a lane goes through all layers at once, its rows in cache.
Serves teams without channels, central or not; its plain twin is `acting.Actor.values`.

K teams, C copies of each, B = K C, d agents, A actions, n inputs, e and h units. Each team has l
lanes, L = K l: one if it is central, else d. A lane sees g = d / l agents, and has H heads with O
values each. A head is a chooser, l H to a team: of the action of one agent, or of all if it is
joint, O = A^d.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tenfold.engine.kernel import Whole, bare, within
from tenfold.parts.nn.blas import multiply, multiply_add
from tenfold.parts.nn.lstm_loops import curve_row, cut_row, move_row, open_row


class Networks(NamedTuple):
    """Weights of lanes as loops read them; see `model.Ready`."""

    first: Any
    """[L, n, e]."""
    first_bias: Any
    """[L, e]."""
    inputs: Any
    """[L, g e, 4h]."""
    hidden: Any
    """[L, h, 4h]."""
    bias: Any
    """[L, 4h]."""
    head: Any
    """[L, h, H O]."""
    head_bias: Any
    """[L, H O]."""
    shift: Any
    """[K, n], taken from numbers that are no bytes."""
    factor: Any
    """[K, n], what they are multiplied by then; of bytes the only factor."""


class Rows(NamedTuple):
    """What agents see and remember, and what becomes of it."""

    seen: Any
    """[B, d, n], bytes or numbers."""
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
    """Room for the rows of one lane."""

    x: Any
    """[C, g, n]."""
    first: Any
    """[C, g, e]."""
    joined: Any
    """The memory of `first` as the LSTM reads it, [C, g e]."""
    gates: Any
    """[C, 4h]."""
    read: Any
    """[C, h]."""
    values: Any
    """[C, H O]."""
    choices: Any
    """The memory of `values`, a row for each head, [C, H, O]."""

    @staticmethod
    def of(copies: int, *, seen: int, inputs: int, units: int, heads: int,
           outputs: int) -> Scratch:  # fmt: skip
        """Return room for C copies of a lane with g, n, h (and e), H and O as given."""
        first = np.empty((copies, seen, units), np.float32)
        choices = np.empty((copies, heads, outputs), np.float32)
        return Scratch(
            x=np.empty((copies, seen, inputs), np.float32),
            first=first,
            joined=first.reshape(copies, -1),
            gates=np.empty((copies, 4 * units), np.float32),
            read=np.empty((copies, units), np.float32),
            values=choices.reshape(copies, -1),
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
def _bend(row: Any, bias: Any) -> None:
    """Add a bias and apply ReLU, in place."""
    zero = np.float32(0.0)
    for j in range(len(row)):
        row[j] = max(row[j] + bias[j], zero)


@within
def _choose(values: Any, legal: Any, draws: Any, share: Any) -> Whole:
    """Return the best legal choice, or with probability `share` any legal one; 0 if none is.

    Of equal values the first; a legal one even if all values are NaN (`explore.greedy`).
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
def _look(
    networks: Any, rows: Any, scratch: Any, team: Whole, part: Whole, start: Whole, most: Any
) -> None:
    """Lay out what a lane of a team sees, scaled, and what it remembers."""
    shift, factor = networks.shift[team], networks.factor[team]
    copies, many = scratch.x.shape[:2]
    for c in range(copies):
        for i in range(many):
            seen, x = rows.seen[start + c, part * many + i], scratch.x[c, i]
            for k in range(len(x)):
                x[k] = min(max((np.float32(seen[k]) - shift[k]) * factor[k], -most), most)
        _copy(rows.hidden[start + c, part], scratch.read[c])


@within
def _think(networks: Any, rows: Any, scratch: Any, lane: Whole, part: Whole, start: Whole) -> None:
    """Go from what `_look` laid out to the values of a lane's heads; write what it remembers."""
    copies, units = scratch.read.shape
    multiply(scratch.x, networks.first[lane], scratch.first)
    for c in range(copies):
        for i in range(scratch.first.shape[1]):
            _bend(scratch.first[c, i], networks.first_bias[lane])
    multiply(scratch.joined, networks.inputs[lane], scratch.gates)
    multiply_add(scratch.read, networks.hidden[lane], scratch.gates)
    for c in range(copies):
        gates, read = scratch.gates[c], scratch.read[c]
        cell, hidden = rows.new_cell[start + c, part], rows.new_hidden[start + c, part]
        open_row(gates, networks.bias[lane], units)
        move_row(gates, rows.cell[start + c, part], cell, units)
        curve_row(cell, read)
        for j in range(units):
            hidden[j] = gates[2 * units + j] * read[j]
        _copy(hidden, read)
        cut_row(read)
    _fill(scratch.values, networks.head_bias[lane])
    multiply_add(scratch.read, networks.head[lane], scratch.values)


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
def act(networks: Any, rows: Any, scratch: Any, actions: Whole, share: Any, most: Any) -> None:
    """Let all agents of all copies choose.

    Args:
        networks: `Networks`.
        rows: `Rows`.
        scratch: `Scratch`.
        actions: A.
        share: of random actions.
        most: largest size of a scaled number.
    """
    copies, lanes = scratch.read.shape[0], rows.hidden.shape[1]
    for team in range(rows.seen.shape[0] // copies):
        start = team * copies
        for part in range(lanes):
            _look(networks, rows, scratch, team, part, start, most)
            _think(networks, rows, scratch, team * lanes + part, part, start)
            _decide(rows, scratch, part, start, actions, share)
