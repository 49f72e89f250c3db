"""What action values are moved towards: n-step and lambda returns (rooms triad, vdn).

The four ways to bootstrap are those of van Hasselt et al. 2018, "Deep reinforcement learning and
the deadly triad" (arXiv:1812.02648); lambda returns look forward over a window, as in Harb and
Precup 2017 (arXiv:1704.05495). Differs from both: an episode that a time limit cut off goes on
bootstrapping, from the value of its final observation.

All functions are pure, take float32 and float64 and any leading dimensions, and let no gradient
through. A number given for each lane is a tensor whose dimensions are the first ones of the
others: `gamma` [K] goes with rewards [K, B, T].
"""

# K lanes (or any leading dimensions, ..), T steps of a window, A actions

from __future__ import annotations

import enum
from typing import NamedTuple

import torch
from torch import Tensor

from tenfold.parts.rl.explore import greedy


class Bootstrap(enum.IntEnum):
    """Which network selects the next action and which one says what it is worth."""

    Q_LEARNING = 0
    """Online selects, online evaluates."""
    TARGET_Q = 1
    """Frozen selects, frozen evaluates."""
    INVERSE_DOUBLE_Q = 2
    """Frozen selects, online evaluates."""
    DOUBLE_Q = 3
    """Online selects, frozen evaluates."""


class Returns(NamedTuple):
    """Discounted rewards up to the next bootstrap: the target is reward + discount * value."""

    reward: Tensor
    """[..], sum of gamma^j r_j over the steps taken."""
    discount: Tensor
    """[..], gamma^length; 0 where the episode terminated on the way."""
    length: Tensor
    """[..] int64, steps taken, at least 1."""


@torch.no_grad()
def bootstrap(
    online: Tensor, frozen: Tensor, kind: Bootstrap | Tensor, *, legal: Tensor | None = None
) -> Tensor:
    """Return what the best next action is worth, [..].

    Args:
        online: action values [.., A] of the network that learns.
        frozen: those of its older copy.
        kind: which of both selects and which evaluates; a tensor of codes for a kind a lane.
        legal: bool [.., A], actions that may be selected; where there are none the value is 0.
    """
    assert online.shape == frozen.shape, f"values {online.shape} and {frozen.shape}"
    if isinstance(kind, Bootstrap):
        selects = frozen if kind in (Bootstrap.TARGET_Q, Bootstrap.INVERSE_DOUBLE_Q) else online
        evaluates = frozen if kind in (Bootstrap.TARGET_Q, Bootstrap.DOUBLE_Q) else online
    else:
        code = _spread(kind, online.ndim)
        target, inverse = code == Bootstrap.TARGET_Q, code == Bootstrap.INVERSE_DOUBLE_Q
        selects = torch.where(target | inverse, frozen, online)
        evaluates = torch.where(target | (code == Bootstrap.DOUBLE_Q), frozen, online)
    value = evaluates.gather(-1, greedy(selects, legal=legal)[..., None])[..., 0]
    return value if legal is None else torch.where(legal.any(-1), value, 0.0)


@torch.no_grad()
def td_target(reward: Tensor, discount: Tensor, value: Tensor) -> Tensor:
    """Return reward + discount * value; a value that is not used may be anything, even NaN."""
    return reward + torch.where(discount == 0, 0.0, discount * value)


@torch.no_grad()
def before_end(terminated: Tensor, truncated: Tensor) -> Tensor:
    """Say which steps of windows [.., T] belong to the first episode, its last step included."""
    ended = (terminated | truncated).long()
    return ended.cumsum(-1) == ended


@torch.no_grad()
def n_step(
    rewards: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float | Tensor,
    steps: int | Tensor,
) -> Returns:
    """Assemble returns that stop after `steps` steps, or where the episode ends before.

    No correction is made for actions that another policy chose.

    Args:
        rewards: [.., T], T at least `steps`, from the step on at which a return begins.
        terminated: bool [.., T].
        truncated: bool [.., T]; a return that stops there bootstraps from the final observation.
        gamma: discount of one step, in [0, 1].
        steps: n, 1 or more.
    """
    place = torch.arange(rewards.shape[-1], device=rewards.device)
    taken = before_end(terminated, truncated) & (place < _lead(steps, rewards.ndim))
    length = taken.sum(-1)
    powers = _lead(gamma, rewards.ndim) ** place.to(rewards.dtype)
    reward = torch.where(taken, powers * rewards, 0.0).sum(-1)
    discount = _lead(gamma, rewards.ndim - 1) ** length.to(rewards.dtype)
    stops = (terminated & taken).any(-1)
    return Returns(reward, torch.where(stops, 0.0, discount), length)


@torch.no_grad()
def lambda_returns(
    rewards: Tensor,
    values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float | Tensor,
    trace: float | Tensor,
) -> Tensor:
    """Return forward-view lambda returns G [.., T] of a window.

    With d = 1 where the episode terminated and V_t the value after step t,

        G_(T-1) = r_(T-1) + gamma (1 - d_(T-1)) V_(T-1)
        G_t     = r_t     + gamma (1 - d_t) [(1 - lambda) V_t + lambda G_(t+1)]

    where lambda counts as 0 at a truncated step, as what follows belongs to another episode.
    Traces are not cut at actions that are not greedy.

    Args:
        rewards: [.., T].
        values: [.., T], V; at a truncated step that of the episode's final observation.
        terminated: bool [.., T].
        truncated: bool [.., T].
        gamma: discount of one step, in [0, 1].
        trace: lambda, in [0, 1].
    """
    gamma, trace = _lead(gamma, rewards.ndim - 1), _lead(trace, rewards.ndim - 1)
    alone = truncated.clone()
    alone[..., -1] = True
    ahead = values[..., -1]
    backwards = []
    for t in range(rewards.shape[-1] - 1, -1, -1):
        mixed = (1 - trace) * values[..., t] + trace * ahead
        mixed = torch.where(alone[..., t], values[..., t], mixed)
        ahead = rewards[..., t] + torch.where(terminated[..., t], 0.0, gamma * mixed)
        backwards.append(ahead)
    return torch.stack(backwards[::-1], dim=-1)


def _lead(number: float | Tensor, dimensions: int) -> float | Tensor:
    """Return a number for each lane so that it goes with tensors of these many dimensions."""
    return _spread(number, dimensions) if isinstance(number, Tensor) else number


def _spread(number: Tensor, dimensions: int) -> Tensor:
    return number.reshape(*number.shape, *(1,) * (dimensions - number.ndim))
