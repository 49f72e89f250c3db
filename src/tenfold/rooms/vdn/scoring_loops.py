"""Compiled loops between a team's action values and its loss: returns, errors, gradients of values.

    G_t = r_t + gamma (1 - d_t) ((1 - lambda) V_t + lambda G_(t+1))
    L = mean (Q - G)^2

See `method`; arrays are those of `learning_loops.Drawn` and `learning_loops.Space`.

K teams, d agents, T steps, R windows, O values of a chooser: an agent, or one that chooses for all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import within
from tenfold.rooms.vdn.mixing_loops import mix, unmix

F = np.float32


@within
def _best(select: Any, values: Any, legal: Any) -> Any:
    """Return the value of the best legal action, 0 if none is (`targets.bootstrap`).

    Of values that are NaN only the first legal one counts; torch takes any.
    """
    best = -1
    for action in range(len(legal)):
        # Not >: the first legal action counts even if its value is NaN.
        if legal[action] and (best < 0 or select[action] > select[best]):
            best = action
    return values[best] if best >= 0 else F(0.0)


@within
def _chosen(action: Any, chooser: Any, joint: bool, many: Any) -> Any:
    """Return the number of a chooser's action, from those of all agents [d]."""
    if not joint:
        return action[chooser]
    number, worth = 0, 1
    for agent in range(len(action)):
        number += action[agent] * worth
        worth *= many
    return number


@within
def _after(drawn: Any, space: Any, team: Any, t: Any, row: Any, chooser: Any, double: bool) -> Any:
    """Return what one chooser's best action is worth after step `t`."""
    legal = drawn.legal[
        team if drawn.legal.shape[0] > 1 else 0,
        t + 1 if drawn.legal.shape[1] > 1 else 0,
        row if drawn.legal.shape[2] > 1 else 0,
        chooser,
    ]
    lane, first = _where(space, chooser, len(legal))
    values = space.frozen[lane, t + 1, row, first:]
    value = _best(space.values[lane, t + 1, row, first:] if double else values, values, legal)
    if drawn.alive.shape[0] > 0:
        value *= drawn.alive[team, t + 1, row, chooser]
    return value


@within
def _where(space: Any, chooser: Any, many: Any) -> Any:
    """Return a chooser's lane in its team, and where its values begin among the lane's."""
    if space.values.shape[0] > 1:
        return chooser, 0
    return 0, chooser * many


@within
def _share(drawn: Any, team: Any) -> Any:
    """Return one over the number of valid steps."""
    count = 0.0
    for t in range(drawn.valid.shape[1]):
        for row in range(drawn.valid.shape[2]):
            count += drawn.valid[team, t, row]
    return F(1.0 / max(count, 1.0))


@within
def clear(array: Any) -> None:
    """Write zeros to [M, T, R, N]."""
    for lane in range(array.shape[0]):
        for t in range(array.shape[1]):
            for row in range(array.shape[2]):
                line = array[lane, t, row]
                for k in range(len(line)):
                    line[k] = F(0.0)


@within
def _ahead(drawn: Any, team: Any, t: Any, row: Any, value: Any, ahead: Any, gamma: Any,
           trace: Any) -> Any:  # fmt: skip
    """Return a step's return from the value after it and the next step's return."""
    if t + 1 < drawn.reward.shape[1] and not drawn.cut[team, t, row]:
        value = (F(1.0) - trace) * value + trace * ahead
    found = drawn.reward[team, t, row]
    if not drawn.terminated[team, t, row]:
        found += gamma * value
    return found


@within
def score(
    drawn: Any, space: Any, team: Any, adds: bool, joint: bool, actions: Any, double: bool,
    gamma: Any, trace: Any,
) -> Any:  # fmt: skip
    """Return a team's loss, and write its gradient to `space.to_values`.

    The forward-view return of each step is that of `parts.rl.targets.lambda_returns`.
    """
    steps, rows = drawn.reward.shape[1:3]
    choosers, outputs = drawn.legal.shape[3:]
    zero, loss, share = F(0.0), 0.0, _share(drawn, team)
    # One error for all who add, or one for each.
    for group in range(1 if adds else choosers):
        begin, end = (0, choosers) if adds else (group, group + 1)
        for row in range(rows):
            ahead = zero
            for back in range(steps):
                t = steps - 1 - back
                value = zero
                for chooser in range(begin, end):
                    value += _after(drawn, space, team, t, row, chooser, double)
                ahead = _ahead(drawn, team, t, row, value, ahead, gamma, trace)
                error = -ahead
                for chooser in range(begin, end):
                    lane, first = _where(space, chooser, outputs)
                    taken = first + _chosen(drawn.action[team, t, row], chooser, joint, actions)
                    own = space.values[lane, t, row, taken]
                    if drawn.alive.shape[0] > 0:
                        own *= drawn.alive[team, t, row, chooser]
                    error += own
                weight = share * drawn.valid[team, t, row]
                loss += error * error * weight
                for chooser in range(begin, end):
                    lane, first = _where(space, chooser, outputs)
                    taken = first + _chosen(drawn.action[team, t, row], chooser, joint, actions)
                    slope = F(2.0) * error * weight
                    if drawn.alive.shape[0] > 0:
                        slope *= drawn.alive[team, t, row, chooser]
                    space.to_values[lane, t, row, taken] = slope
    return loss


@within
def score_mixed(
    drawn: Any, space: Any, team: Any, double: bool, gamma: Any, trace: Any, mixing: Any,
    frozen_mixing: Any, mixed: Any, returns: Any, for_mixing: Any,
) -> Any:  # fmt: skip
    """Do what `score` does for a team whose values a network mixes, and its way back too."""
    steps, rows, agents = drawn.action.shape[1:]
    loss, share, zero = 0.0, _share(drawn, team), F(0.0)
    for t in range(steps):
        for row in range(rows):
            for agent in range(agents):
                mixed.own[t, row, agent] = _after(drawn, space, team, t, row, agent, double)
    mix(frozen_mixing, team, drawn.observation[team], 1, mixed)
    for row in range(rows):
        ahead = zero
        for back in range(steps):
            t = steps - 1 - back
            ahead = _ahead(drawn, team, t, row, mixed.total[t, row], ahead, gamma, trace)
            returns[t, row] = ahead
            for agent in range(agents):
                own = space.values[agent, t, row, drawn.action[team, t, row, agent]]
                if drawn.alive.shape[0] > 0:
                    own *= drawn.alive[team, t, row, agent]
                mixed.own[t, row, agent] = own
    mix(mixing, team, drawn.observation[team], 0, mixed)
    for t in range(steps):
        for row in range(rows):
            error = mixed.total[t, row] - returns[t, row]
            weight = share * drawn.valid[team, t, row]
            loss += error * error * weight
            mixed.total[t, row] = F(2.0) * error * weight
    unmix(mixing, team, mixed, for_mixing)
    for t in range(steps):
        for row in range(rows):
            for agent in range(agents):
                slope = mixed.own[t, row, agent]
                if drawn.alive.shape[0] > 0:
                    slope *= drawn.alive[team, t, row, agent]
                space.to_values[agent, t, row, drawn.action[team, t, row, agent]] = slope
    return loss
