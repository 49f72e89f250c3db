"""Compiled loops of the mixing network of QMIX, there and back; the plain twin is `model.mix`.

    Q = sum_u elu(sum_i |W_1 x + b_1|_iu Q_i + (B_1 x + c_1)_u) |W_2 x + b_2|_u + v(x)
    v = B_3 relu(B_2 x + c_2) + c_3                                     (Rashid et al. 2018)

K teams, d agents, T steps, R windows, n inputs of one observation, U hidden units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tenfold.engine.kernel import bare, within
from tenfold.parts.nn.blas import multiply, multiply_over_rows

F = np.float32


class Mixing(NamedTuple):
    """Weights of teams or gradients of them, in the order of `model.Structure.mixing`.

    Where teams have no mixing network K is 0.
    """

    first: Any
    """W_1, [K, d n, d U]."""
    first_bias: Any
    """[K, d U]."""
    level: Any
    """B_1, [K, d n, U]."""
    level_bias: Any
    """[K, U]."""
    second: Any
    """W_2, [K, d n, U]."""
    second_bias: Any
    """[K, U]."""
    hidden: Any
    """B_2, [K, d n, U]."""
    hidden_bias: Any
    """[K, U]."""
    last: Any
    """B_3, [K, U, 1]."""
    last_bias: Any
    """[K, 1]."""


class MixRoom(NamedTuple):
    """Room for one team; what `mix` writes, `unmix` turns into gradients."""

    x: Any
    """[T, R, d n], observations of all agents side by side."""
    own: Any
    """[T, R, d], values that are mixed, then their gradients."""
    first: Any
    """[T, R, d U]."""
    level: Any
    """[T, R, U]."""
    second: Any
    """[T, R, U]."""
    hidden: Any
    """[T, R, U]."""
    total: Any
    """[T, R], the team's value."""


@within
def _affine(x: Any, weight: Any, bias: Any, out: Any) -> None:
    multiply(x, weight, out)
    for t in range(out.shape[0]):
        for row in range(out.shape[1]):
            line = out[t, row]
            for k in range(len(bias)):
                line[k] += bias[k]


@within
def _elu(x: Any) -> Any:
    return x if x > F(0.0) else np.exp(x) - F(1.0)


@within
def _sign(x: Any) -> Any:
    return F(x > F(0.0)) - F(x < F(0.0))


@bare
def mix(weights: Any, team: Any, observation: Any, begin: Any, room: Any) -> None:
    """Write `room.total` from `room.own`.

    Args:
        weights: `Mixing`.
        team: whose.
        observation: of the team, [d, T + 1, R, n].
        begin: first of the T steps.
        room: `MixRoom`.
    """
    agents, inputs = observation.shape[0], observation.shape[3]
    steps, rows, units = room.level.shape
    for t in range(steps):
        for row in range(rows):
            for agent in range(agents):
                line, goal = observation[agent, begin + t, row], room.x[t, row, agent * inputs :]
                for k in range(inputs):
                    goal[k] = line[k]
    _affine(room.x, weights.first[team], weights.first_bias[team], room.first)
    _affine(room.x, weights.level[team], weights.level_bias[team], room.level)
    _affine(room.x, weights.second[team], weights.second_bias[team], room.second)
    _affine(room.x, weights.hidden[team], weights.hidden_bias[team], room.hidden)
    last, zero = weights.last[team], F(0.0)
    for t in range(steps):
        for row in range(rows):
            level, second, hidden = room.level[t, row], room.second[t, row], room.hidden[t, row]
            for agent in range(agents):
                value, first = room.own[t, row, agent], room.first[t, row, agent * units :]
                for u in range(units):
                    level[u] += value * abs(first[u])
            total = weights.last_bias[team, 0]
            for u in range(units):
                total += _elu(level[u]) * abs(second[u]) + max(hidden[u], zero) * last[u, 0]
            room.total[t, row] = total


@bare
def unmix(weights: Any, team: Any, room: Any, found: Any) -> None:
    """Go back through `mix`: `room.total` holds the gradient of the total then.

    Writes gradients of values to `room.own` and those of weights to `found`.
    """
    steps, rows, units = room.level.shape
    agents, zero, one = room.own.shape[2], F(0.0), F(1.0)
    for u in range(units):
        found.last[team, u, 0] = zero
    found.last_bias[team, 0] = zero
    for t in range(steps):
        for row in range(rows):
            slope = room.total[t, row]
            level, second, hidden = room.level[t, row], room.second[t, row], room.hidden[t, row]
            found.last_bias[team, 0] += slope
            for u in range(units):
                bent, weight = _elu(level[u]), second[u]
                second[u] = slope * bent * _sign(weight)
                level[u] = slope * abs(weight) * (one if level[u] > zero else bent + one)
                open_ = hidden[u] > zero
                found.last[team, u, 0] += slope * hidden[u] if open_ else zero
                hidden[u] = slope * weights.last[team, u, 0] if open_ else zero
            for agent in range(agents):
                value, first = room.own[t, row, agent], room.first[t, row, agent * units :]
                total = zero
                for u in range(units):
                    total += level[u] * abs(first[u])
                    first[u] = level[u] * value * _sign(first[u])
                room.own[t, row, agent] = total
    _weigh(room.x, room.first, found.first[team], found.first_bias[team])
    _weigh(room.x, room.level, found.level[team], found.level_bias[team])
    _weigh(room.x, room.second, found.second[team], found.second_bias[team])
    _weigh(room.x, room.hidden, found.hidden[team], found.hidden_bias[team])


@within
def _weigh(x: Any, slopes: Any, for_weight: Any, for_bias: Any) -> None:
    """Write the gradients of `_affine`."""
    multiply_over_rows(x, slopes, for_weight)
    sum_rows(slopes, for_bias)


@within
def sum_rows(array: Any, out: Any) -> None:
    """Write sums over steps and rows of [T, R, N] to [N]."""
    for k in range(len(out)):
        out[k] = F(0.0)
    for t in range(array.shape[0]):
        for row in range(array.shape[1]):
            line = array[t, row]
            for k in range(len(out)):
                out[k] += line[k]
