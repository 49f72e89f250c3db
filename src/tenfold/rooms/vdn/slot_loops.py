"""Compiled loops from slots, which learn, to lanes, which compute, and back.

The first layer's part for roles is the same in all rows, so that it becomes a part of the bias; a
dueling head q = v + a - mean a is linear in what it reads, so that it becomes one layer. The plain
twin, whose gradients torch finds, is `model.Teams.ready`. And which part of what a team's agents
see or remember goes where.

S slots, L lanes, d agents, P values of a lane's heads, n inputs, e and h units, w inputs of the
LSTM.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tenfold.engine.kernel import bare, within

F = np.float32


class Weights(NamedTuple):
    """Weights of lanes, or gradients of them; see `model.Ready`."""

    first: Any
    """[L, n, e]."""
    first_bias: Any
    """[L, e]."""
    inputs: Any
    """[L, w, 4h]."""
    hidden: Any
    """[L, h, 4h]."""
    bias: Any
    """[L, 4h]."""
    head: Any
    """[L, h, P]."""
    head_bias: Any
    """[L, P]."""


class Slots(NamedTuple):
    """Weights of slots or gradients of them, as `model.Structure.layout` has them."""

    first: Any
    """[S, n, e], or of teams with a lane for each agent [S, n + d, e]: roles are inputs too."""
    first_bias: Any
    """[S, e]."""
    inputs: Any
    """[S, w, 4h]."""
    hidden: Any
    """[S, h, 4h]."""
    bias: Any
    """[S, 4h]."""
    advantage: Any
    """[S, h, P]."""
    advantage_bias: Any
    """[S, P]."""
    value: Any
    """[S, h, heads], or [0, 0, 0]: no dueling."""
    value_bias: Any
    """[S, heads], or [0, 0]."""


@within
def _set(values: Any, out: Any) -> None:
    for k in range(len(values)):
        out[k] = values[k]


@within
def _join(apart: Any, value: Any, out: Any) -> None:
    """Write q = v + a - mean a, a row of P; see `_split`."""
    outputs = len(apart) // len(value)
    for head in range(len(value)):
        total, first = F(0.0), head * outputs
        for k in range(first, first + outputs):
            total += apart[k]
        level = value[head] - total / F(outputs)
        for k in range(first, first + outputs):
            out[k] = apart[k] + level


@bare
def lay_out(given: Any, slots: Any, roles: Any, out: Any) -> None:
    """Write the weights of lanes from those of their slots; the plain twin is `model.Teams.ready`.

    Args:
        given: `Slots`, weights.
        slots: of each lane, [L].
        roles: what each lane reads beside its observation, [L, d]; [L, 0]: nothing.
        out: `Weights`, are written.
    """
    for lane in range(len(slots)):
        slot, inputs = slots[lane], out.first.shape[1]
        bias = out.first_bias[lane]
        for k in range(inputs):
            _set(given.first[slot, k], out.first[lane, k])
        _set(given.first_bias[slot], bias)
        for agent in range(roles.shape[1]):
            role, more = roles[lane, agent], given.first[slot, inputs + agent]
            for k in range(len(bias)):
                bias[k] += role * more[k]
        for k in range(out.inputs.shape[1]):
            _set(given.inputs[slot, k], out.inputs[lane, k])
        for k in range(out.hidden.shape[1]):
            _set(given.hidden[slot, k], out.hidden[lane, k])
        _set(given.bias[slot], out.bias[lane])
        if given.value.shape[0] > 0:
            for k in range(out.head.shape[1]):
                _join(given.advantage[slot, k], given.value[slot, k], out.head[lane, k])
            _join(given.advantage_bias[slot], given.value_bias[slot], out.head_bias[lane])
        else:
            for k in range(out.head.shape[1]):
                _set(given.advantage[slot, k], out.head[lane, k])
            _set(given.advantage_bias[slot], out.head_bias[lane])


@within
def _add(more: Any, out: Any) -> None:
    for k in range(len(more)):
        out[k] += more[k]


@within
def _split(more: Any, out: Any, value: Any) -> None:
    """Add the gradient of q = v + a - mean a, a row of P, to those of a and v."""
    outputs = len(more) // len(value)
    for head in range(len(value)):
        total, first = F(0.0), head * outputs
        for k in range(first, first + outputs):
            total += more[k]
        value[head] += total
        mean = total / F(outputs)
        for k in range(first, first + outputs):
            out[k] += more[k] - mean


@bare
def add_up(found: Any, slots: Any, roles: Any, out: Any) -> None:
    """Add the gradients of lanes to those of their slots: the way back of `lay_out`.

    Args:
        found: `Weights`, gradients of lanes.
        slots: of each lane, [L].
        roles: what each lane reads beside its observation, [L, d]; [L, 0]: nothing.
        out: `Slots`, gradients, zero at the beginning.
    """
    for lane in range(len(slots)):
        slot, inputs = slots[lane], found.first.shape[1]
        for k in range(inputs):
            _add(found.first[lane, k], out.first[slot, k])
        for agent in range(roles.shape[1]):
            role, goal = roles[lane, agent], out.first[slot, inputs + agent]
            for k in range(len(goal)):
                goal[k] += role * found.first_bias[lane, k]
        _add(found.first_bias[lane], out.first_bias[slot])
        for k in range(found.inputs.shape[1]):
            _add(found.inputs[lane, k], out.inputs[slot, k])
        for k in range(found.hidden.shape[1]):
            _add(found.hidden[lane, k], out.hidden[slot, k])
        _add(found.bias[lane], out.bias[slot])
        if out.value.shape[0] > 0:
            for k in range(found.head.shape[1]):
                _split(found.head[lane, k], out.advantage[slot, k], out.value[slot, k])
            _split(found.head_bias[lane], out.advantage_bias[slot], out.value_bias[slot])
        else:
            for k in range(found.head.shape[1]):
                _add(found.head[lane, k], out.advantage[slot, k])
            _add(found.head_bias[lane], out.advantage_bias[slot])


@within
def place_of(agent: Any, own: Any, parts: Any) -> Any:
    """Return at which of its parts a lane reads what comes from an agent; -1: nowhere.

    A lane that reads one part reads its own agent's; else its own is first and others follow in
    turn (`model.own_first`), as for the only lane of a central team.
    """
    if parts == 1:
        return 0 if agent == own else -1
    return (agent - own) % parts
