"""How often and how actions are tried that are not the best ones (rooms triad, vdn).

Randomness comes in as uniform numbers, so that each lane can bring those of its own stream
(`tenfold.parts.rl.draws`) and does the same in any company.
"""

# K lanes, C copies of the environment in each, A actions

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Schedules


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """The same share of random actions at all times."""

    value: float = 0.05
    """In [0, 1]."""

    def __post_init__(self) -> None:
        _check_share("value", self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """A share that falls on a straight line and then stays."""

    first: float = 1.0
    """At step 0, in [0, 1]."""
    last: float = 0.05
    """From `steps` on, in [0, 1]."""
    steps: int = 10_000
    """Steps that the fall takes; 0: `last` from the beginning."""

    def __post_init__(self) -> None:
        _check_share("first", self.first)
        _check_share("last", self.last)
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}; a fall takes 0 steps or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """Another share in each copy, base^(1 + power i / (C - 1)) (Horgan et al. 2018, Ape-X)."""

    base: float = 0.4
    """Share of copy 0, in [0, 1]."""
    power: float = 7.0
    """The last copy has base^(1 + power); 0 or more."""

    def __post_init__(self) -> None:
        _check_share("base", self.base)
        if self.power < 0:
            raise ValueError(f"power is {self.power}; a ladder goes down with 0 or more")


Schedule = Constant | Linear | Ladder


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is {share}, which is no share of actions; give 0 to 1")


def epsilon(schedule: Schedule, *, step: int, copies: int) -> NDArray[np.float64]:
    """Return the share of random actions in each copy at a step, [C]."""
    if isinstance(schedule, Ladder):
        powers = 1 + schedule.power * np.arange(copies) / max(1, copies - 1)
        shares: NDArray[np.float64] = np.power(schedule.base, powers)
        return shares
    if isinstance(schedule, Linear):
        done = min(1.0, step / schedule.steps) if schedule.steps else 1.0
        # Not first + done * (last - first), which need not end at `last` exactly.
        return np.full(copies, (1 - done) * schedule.first + done * schedule.last)
    return np.full(copies, schedule.value)


def epsilons(schedules: Sequence[Schedule], *, step: int, copies: int) -> NDArray[np.float64]:
    """Return the shares of all lanes at a step, [K, C]."""
    return np.stack([epsilon(schedule, step=step, copies=copies) for schedule in schedules])


# Choices


@torch.no_grad()
def greedy(values: Tensor, *, legal: Tensor | None = None) -> Tensor:
    """Return the best action of values [.., A], int64 [..]; of equal ones the first.

    A legal action is chosen even if all values are infinite or NaN; action 0 if none is legal.
    """
    if legal is None:
        return values.argmax(-1)
    least = torch.finfo(values.dtype).min
    # The clamp keeps what is legal above what is not, and lets NaN through.
    return torch.where(legal, values.clamp(min=least), -torch.inf).argmax(-1)


@torch.no_grad()
def epsilon_greedy(
    values: Tensor, share: Tensor, uniform: Tensor, *, legal: Tensor | None = None
) -> Tensor:
    """Choose the best action, or with probability `share` any legal one, all alike.

    Args:
        values: [.., A].
        share: [..] or what broadcasts to it, in [0, 1].
        uniform: [.., 2] in [0, 1); the first number decides whether, the second one which.
        legal: bool [.., A]; None: all.

    Returns:
        Actions, int64 [..].
    """
    best = greedy(values, legal=legal)
    if legal is None:
        any_action = (uniform[..., 1] * values.shape[-1]).long()
    else:
        places = legal.long().cumsum(-1)
        wanted = (uniform[..., 1] * places[..., -1]).long() + 1
        any_action = (places >= wanted[..., None]).long().argmax(-1)
    return torch.where(uniform[..., 0] < share, any_action, best)


@torch.no_grad()
def boltzmann(
    values: Tensor, temperature: Tensor, uniform: Tensor, *, legal: Tensor | None = None
) -> Tensor:
    """Choose with probabilities in proportion to exp(value / temperature).

    Args:
        values: [.., A].
        temperature: [..] or what broadcasts to it, above 0.
        uniform: [..] in [0, 1).
        legal: bool [.., A]; None: all.

    Returns:
        Actions, int64 [..]; 0 if none is legal.
    """
    # In float64, where a uniform number times a sum of probabilities stays below the sum.
    # Infinite values and NaN, as of a diverged lane, become numbers: some action is chosen.
    scores = (values.double() / temperature.double()[..., None]).nan_to_num()
    if legal is not None:
        scores = torch.where(legal, scores, -torch.inf)
    sums = scores.softmax(-1).cumsum(-1)
    wanted = uniform.double() * sums[..., -1]
    return (sums <= wanted[..., None]).sum(-1)
