"""The compiled loop by which agents act: one step of all networks, and the choice of actions.

Acting is a few rows for each team, so that calls and copies cost more than arithmetic where each
layer is an operation of its own. Here a row goes through all layers at once. Serves agents with
networks of their own and without channels; its plain twin is `acting.Actor.values`.

K teams, C copies of each, B = K C, d agents, A actions, n inputs, e and h units, L = K d lanes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tenfold.engine.kernel import Whole, bare, within
from tenfold.parts.nn.lstm_loops import curve_row, cut_row, move_row, open_row

EIGHT = 8
"""Inputs whose products are added in one pass over a row of sums."""


class Networks(NamedTuple):
    """Weights of lanes as loops read them; see `model.Ready`."""

    first: Any
    """[L, n, e]."""
    first_bias: Any
    """[L, e]."""
    inputs: Any
    """[L, e, 4h]."""
    hidden: Any
    """[L, h, 4h]."""
    bias: Any
    """[L, 4h]."""
    head: Any
    """[L, h, A]."""
    head_bias: Any
    """[L, A]."""
    shift: Any
    """[K, n], taken from numbers that are no bytes."""
    factor: Any
    """[K, n], what they are multiplied by then; of bytes the only factor."""


class Rows(NamedTuple):
    """What agents see and remember, and what becomes of it."""

    seen: Any
    """[B, d, n], bytes or numbers."""
    hidden: Any
    """[B, d, h], before the step."""
    cell: Any
    """[B, d, h]."""
    new_hidden: Any
    """[B, d, h], written."""
    new_cell: Any
    """[B, d, h], written."""
    legal: Any
    """[B, d, A], or one for all copies, [1, d, A]."""
    draws: Any
    """[B, d, 2] in [0, 1): whether to choose any legal action, and which."""
    actions: Any
    """[B, d], written."""


class Scratch(NamedTuple):
    """Room for the rows of one lane."""

    x: Any
    """[C, n]."""
    first: Any
    """[C, e]."""
    gates: Any
    """[C, 4h]."""
    read: Any
    """[C, h]."""
    values: Any
    """[C, A]."""


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
def _multiply(rows: Any, weight: Any, out: Any) -> None:
    """Add rows [C, m] times weight [m, n] to `out` [C, n].

    Some rows of the weight serve all copies while they are in the nearest cache.
    """
    many, wide = weight.shape
    whole = many - many % EIGHT
    for k in range(0, whole, EIGHT):
        w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        w4, w5, w6, w7 = weight[k + 4], weight[k + 5], weight[k + 6], weight[k + 7]
        for row in range(rows.shape[0]):
            x, sums = rows[row], out[row]
            a, b, c, d = x[k], x[k + 1], x[k + 2], x[k + 3]
            e, f, g, h = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
            for j in range(wide):
                sums[j] += (a * w0[j] + b * w1[j] + c * w2[j] + d * w3[j]) + (
                    e * w4[j] + f * w5[j] + g * w6[j] + h * w7[j]
                )
    for k in range(whole, many):
        u = weight[k]
        for row in range(rows.shape[0]):
            a, sums = rows[row, k], out[row]
            for j in range(wide):
                sums[j] += a * u[j]


@within
def _choose(values: Any, legal: Any, draws: Any, share: Any) -> Whole:
    """Return the best legal action, or with probability `share` any legal one; 0 if none is.

    Of equal values the first; a legal action even if all values are NaN (`explore.greedy`).
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
    networks: Any, rows: Any, scratch: Any, team: Whole, agent: Whole, start: Whole, most: Any
) -> None:
    """Lay out what one agent of a team sees, scaled, and what it remembers."""
    shift, factor = networks.shift[team], networks.factor[team]
    for c in range(scratch.x.shape[0]):
        seen, x = rows.seen[start + c, agent], scratch.x[c]
        for k in range(len(x)):
            x[k] = min(max((np.float32(seen[k]) - shift[k]) * factor[k], -most), most)
        _copy(rows.hidden[start + c, agent], scratch.read[c])


@bare
def act(networks: Any, rows: Any, scratch: Any, copies: Whole, share: Any, most: Any) -> None:
    """Let all agents of all copies choose.

    Args:
        networks: `Networks`.
        rows: `Rows`.
        scratch: `Scratch`.
        copies: C.
        share: of random actions.
        most: largest size of a scaled number.
    """
    agents, units, zero = rows.seen.shape[1], scratch.read.shape[1], np.float32(0.0)
    for team in range(rows.seen.shape[0] // copies):
        for agent in range(agents):
            lane, start = team * agents + agent, team * copies
            _look(networks, rows, scratch, team, agent, start, most)
            _fill(scratch.first, networks.first_bias[lane])
            _multiply(scratch.x, networks.first[lane], scratch.first)
            for c in range(copies):
                for j in range(4 * units):
                    scratch.gates[c, j] = zero
            for c in range(copies):
                cut_row(scratch.first[c])
            _multiply(scratch.first, networks.inputs[lane], scratch.gates)
            _multiply(scratch.read, networks.hidden[lane], scratch.gates)
            for c in range(copies):
                gates, read = scratch.gates[c], scratch.read[c]
                cell, hidden = rows.new_cell[start + c, agent], rows.new_hidden[start + c, agent]
                open_row(gates, networks.bias[lane], units)
                move_row(gates, rows.cell[start + c, agent], cell, units)
                curve_row(cell, read)
                for j in range(units):
                    hidden[j] = gates[2 * units + j] * read[j]
                _copy(hidden, read)
                cut_row(read)
            _fill(scratch.values, networks.head_bias[lane])
            _multiply(scratch.read, networks.head[lane], scratch.values)
            for c in range(copies):
                legal = start + c if rows.legal.shape[0] > 1 else 0
                rows.actions[start + c, agent] = _choose(
                    scratch.values[c], rows.legal[legal, agent], rows.draws[start + c, agent], share
                )
