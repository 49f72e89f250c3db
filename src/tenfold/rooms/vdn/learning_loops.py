"""The compiled loop by which teams learn: losses and gradients of one update, team after team.

All that an update does with one team, from the first layer of the frozen network to the gradient
of the trained one's first layer, happens before the next team begins. What it needs meanwhile, some
hundred kilobytes, stays in cache; as operations of their own on a whole stack, layers wrote and
read megabytes, and a stack of few teams spent its time between operations. The plain twin, which
also serves GPUs, is `learner.Learner`.

K teams, d agents, L lanes (of a team: d, or one if it is central), C choosers (d, or one that
chooses jointly), A actions, O values of a chooser (A, or A^d), P values of a lane (all of its
choosers'), T steps, S = T + 1, R windows, n inputs, e and h units, w inputs of the LSTM.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tenfold.engine.kernel import Whole, bare, within
from tenfold.parts.nn.blas import (
    multiply,
    multiply_add_over_rows,
    multiply_over_rows,
    multiply_turned,
)
from tenfold.parts.nn.lstm_loops import backward_lane, forward_lane
from tenfold.rooms.vdn.mixing_loops import sum_rows
from tenfold.rooms.vdn.scoring_loops import clear, score, score_mixed
from tenfold.rooms.vdn.slot_loops import place_of

F = np.float32


class Drawn(NamedTuple):
    """Windows of all teams; see `learner.Block`."""

    observation: Any
    """[K, d, S, R, n]."""
    action: Any
    """[K, T, R, d]."""
    reward: Any
    """[K, T, R]."""
    terminated: Any
    """[K, T, R]."""
    cut: Any
    """[K, T, R]."""
    valid: Any
    """[K, T, R]."""
    keep: Any
    """[K, S, R], or [0, 0, 0]: no episode begins."""
    legal: Any
    """[K, S, R, C, O]; a dimension of 1 stands for all."""
    alive: Any
    """[K, S, R, d], or [0, 0, 0, 0]: all take part, or one chooses for all."""
    hidden: Any
    """[L, R, h], before the windows."""
    cell: Any
    """[L, R, h], before the windows."""


class Space(NamedTuple):
    """Room for one team, whose lanes are M."""

    seen: Any
    """[S, R, e], the first layer for one agent."""
    wide: Any
    """[M, S, R, w], what each lane's LSTM reads."""
    shown: Any
    """[M, S, R, h], what it gives."""
    read: Any
    """[M, S, R, r], what each lane's heads read; the memory of `shown` where they read that."""
    values: Any
    """[M, S, R, P], of the trained network."""
    frozen: Any
    """[M, S, R, P], of the frozen one."""
    to_values: Any
    """[M, T, R, P], gradients."""
    to_read: Any
    """[T, R, r]."""
    to_shown: Any
    """[M, T, R, h]."""
    to_wide: Any
    """[M, T, R, w]."""


@within
def _see(weights: Any, drawn: Any, space: Any, team: Any, steps: Any) -> None:
    """Write what the LSTMs of a team read: the first layer of one agent, or of all."""
    lanes, rows, units = space.wide.shape[0], space.seen.shape[1], space.seen.shape[2]
    parts, zero = space.wide.shape[3] // units, F(0.0)
    for agent in range(drawn.observation.shape[1]):
        lane = team * lanes + (agent if lanes > 1 else 0)
        multiply(drawn.observation[team, agent, :steps], weights.first[lane], space.seen[:steps])
        bias = weights.first_bias[lane]
        for own in range(lanes):
            place = place_of(agent, own, parts)
            if place < 0:
                continue
            for t in range(steps):
                for row in range(rows):
                    line, goal = space.seen[t, row], space.wide[own, t, row, place * units :]
                    for k in range(units):
                        goal[k] = max(line[k] + bias[k], zero)


@bare
def _value(weights: Any, drawn: Any, space: Any, kept: Any, team: Any, steps: Any, values: Any,
           keeps: bool) -> None:  # fmt: skip
    """Write a team's action values, [M, steps, R, P]; `keeps` what the way back needs or not."""
    lanes, rows, units = space.shown.shape[0], space.shown.shape[2], space.shown.shape[3]
    _see(weights, drawn, space, team, steps)
    for own in range(lanes):
        lane = team * lanes + own
        forward_lane(
            space.wide[own, :steps], weights.inputs[lane], weights.hidden[lane],
            weights.bias[lane], drawn.hidden[lane], drawn.cell[lane], drawn.keep, team, kept, own,
            space.shown[own, :steps], True, keeps,
        )  # fmt: skip
    for own in range(lanes):
        lane = team * lanes + own
        if space.read.shape[3] > units:
            for agent in range(lanes):
                begin = place_of(agent, own, lanes) * units
                for t in range(steps):
                    for row in range(rows):
                        line, goal = space.shown[agent, t, row], space.read[own, t, row, begin:]
                        for k in range(units):
                            goal[k] = line[k]
        multiply(space.read[own, :steps], weights.head[lane], values[own, :steps])
        bias = weights.head_bias[lane]
        for t in range(steps):
            for row in range(rows):
                line = values[own, t, row]
                for k in range(len(bias)):
                    line[k] += bias[k]


@bare
def _go_back(weights: Any, drawn: Any, space: Any, kept: Any, room: Any, team: Any,
             found: Any) -> None:  # fmt: skip
    """Write the gradients of a team's weights."""
    lanes, steps, units = space.shown.shape[0], drawn.reward.shape[1], space.shown.shape[3]
    rows, many, zero = drawn.reward.shape[2], space.read.shape[3] // units, F(0.0)
    if many > 1:
        for own in range(lanes):
            for t in range(steps):
                for row in range(rows):
                    line = space.to_shown[own, t, row]
                    for k in range(units):
                        line[k] = zero
    for own in range(lanes):
        lane, to_values = team * lanes + own, space.to_values[own]
        sum_rows(to_values, found.head_bias[lane])
        multiply_over_rows(space.read[own, :steps], to_values, found.head[lane])
        if many == 1:
            multiply_turned(to_values, weights.head[lane], space.to_shown[own])
            continue
        multiply_turned(to_values, weights.head[lane], space.to_read)
        for agent in range(lanes):
            begin = place_of(agent, own, lanes) * units
            for t in range(steps):
                for row in range(rows):
                    line, goal = space.to_read[t, row, begin:], space.to_shown[agent, t, row]
                    for k in range(units):
                        goal[k] += line[k]
    for own in range(lanes):
        lane = team * lanes + own
        backward_lane(
            space.wide[own, :steps], weights.inputs[lane], weights.hidden[lane], drawn.keep, team,
            kept, own, space.shown[own, :steps], space.to_shown[own], room, found.inputs[lane],
            found.hidden[lane], found.bias[lane], space.to_wide[own], True,
        )  # fmt: skip
    for agent in range(drawn.observation.shape[1]):
        lane, first = team * lanes + (agent if lanes > 1 else 0), agent == 0 or lanes > 1
        total = found.first_bias[lane]
        if first:
            for k in range(len(total)):
                total[k] = zero
        _gather_slopes(space, agent, steps, total)
        x, slopes = drawn.observation[team, agent, :steps], space.seen[:steps]
        if first:
            multiply_over_rows(x, slopes, found.first[lane])
        else:
            multiply_add_over_rows(x, slopes, found.first[lane])


@within
def _gather_slopes(space: Any, agent: Any, steps: Any, total: Any) -> None:
    """Write to `space.seen` the gradient of an agent's first layer; add its rows to `total`."""
    units, rows, zero = len(total), space.seen.shape[1], F(0.0)
    parts = space.wide.shape[3] // units
    for t in range(steps):
        for row in range(rows):
            goal = space.seen[t, row]
            for k in range(units):
                goal[k] = zero
            for own in range(space.wide.shape[0]):
                place = place_of(agent, own, parts)
                if place < 0:
                    continue
                line = space.to_wide[own, t, row, place * units :]
                there = space.wide[own, t, row, place * units :]
                for k in range(units):
                    goal[k] += line[k] if there[k] > zero else zero
            for k in range(units):
                total[k] += goal[k]


@bare
def learn(
    trained: Any, frozen: Any, drawn: Any, space: Any, kept: Any, room: Any, adds: Any,
    joint: bool, actions: Whole, double: bool, gamma: Any, trace: Any, found: Any, mixing: Any,
    frozen_mixing: Any, mixed: Any, returns: Any, for_mixing: Any, losses: Any,
) -> None:  # fmt: skip
    """Write the losses of all teams and the gradients of all lanes.

    Args:
        trained: `Weights` that learn.
        frozen: `Weights` of their older copy.
        drawn: `Drawn`.
        space: `Space`.
        kept: `lstm_loops.Kept` with an entry for each lane of a team.
        room: `lstm_loops.Room`.
        adds: whether a team's value is the sum of its choosers', [K] bool.
        joint: whether the only chooser chooses for all agents.
        actions: A.
        double: whether the trained network selects the action that the frozen one values.
        gamma: discount of a step.
        trace: lambda.
        found: `Weights`, gradients, are written.
        mixing: `mixing_loops.Mixing` that learns, of 0 teams without QMIX.
        frozen_mixing: its older copy.
        mixed: `mixing_loops.MixRoom`.
        returns: room, [T, R].
        for_mixing: `mixing_loops.Mixing`, gradients, are written.
        losses: mean squared errors (`method.team_loss`), [K], are written.
    """
    teams, steps = drawn.reward.shape[:2]
    # One step more says which actions the trained network would choose after the window.
    taken = steps + 1 if double else steps
    for team in range(teams):
        _value(frozen, drawn, space, kept, team, steps + 1, space.frozen, False)
        _value(trained, drawn, space, kept, team, taken, space.values, True)
        clear(space.to_values)
        if len(mixing.first) > 0:
            losses[team] = score_mixed(
                drawn, space, team, double, gamma, trace, mixing, frozen_mixing, mixed, returns,
                for_mixing,
            )  # fmt: skip
        else:
            losses[team] = score(
                drawn, space, team, adds[team], joint, actions, double, gamma, trace
            )  # fmt: skip
        _go_back(trained, drawn, space, kept, room, team, found)
