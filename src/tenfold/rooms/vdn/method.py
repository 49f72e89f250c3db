"""The paper's equations as pure functions: values of a team, returns, losses, greedy actions.

    Q(h, a) = sum_i Q_i(h_i, a_i)                                   (section 3.2)
    G_7 = r_7 + gamma (1 - d_7) V_7
    G_t = r_t + gamma (1 - d_t) ((1 - lambda) V_t + lambda G_(t+1))   (forward view, Harb & Precup)
    L = mean (sum_i Q_i(h_i, a_i) - G)^2

V_t is the frozen network's value after step t: the sum of the agents' best ones for a team whose
value is decomposed, the agent's own best one for independent learners, the best joint one for a
combinatorial team. Independent learners have L = sum_i mean (Q_i - G_i)^2, so that the gradient of
each agent's value has the same scale in all architectures.

K teams, d agents, A actions, T steps, R rows.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from tenfold.parts.rl.targets import lambda_returns


class Paid(NamedTuple):
    """What windows say of rewards and ends; arrays [K, T, R]."""

    reward: Tensor
    """Of the team, scaled."""
    terminated: Tensor
    """Whether nothing follows, bool."""
    cut: Tensor
    """Whether a return must not go on behind this step, bool: the value after it stands for all
    that comes."""
    valid: Tensor
    """1 where the step is learnt from. A step at which a time limit cut an episode inside a window
    is not, as its final observation is followed by another episode's first one."""


def taken(values: Tensor, actions: Tensor) -> Tensor:
    """Return the values of the actions taken: [..., A] and [...] to [...]."""
    return values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def returns_of(paid: Paid, after: Tensor, *, gamma: float, trace: float) -> Tensor:
    """Return the forward-view returns of windows; see `tenfold.parts.rl.targets`.

    Args:
        paid: of the windows.
        after: value after each step, [K, T, R] or [K, T, R, d].
        gamma: discount of a step.
        trace: lambda.

    Returns:
        Of the shape of `after`.
    """
    extra = after.dim() - paid.reward.dim()

    def last(x: Tensor) -> Tensor:
        return x.reshape(x.shape + (1,) * extra).expand_as(after).movedim(1, -1)

    returns = lambda_returns(
        last(paid.reward), after.movedim(1, -1), last(paid.terminated), last(paid.cut),
        gamma=gamma, trace=trace,
    )  # fmt: skip
    return returns.movedim(-1, 1)


def team_loss(values: Tensor, returns: Tensor, valid: Tensor) -> Tensor:
    """Return the mean squared error of each team, [K].

    Args:
        values: of the team, [K, T, R], or of each agent, [K, T, R, d].
        returns: of the same shape, no gradient flows to them.
        valid: steps that were taken, [K, T, R].
    """
    squares = (values - returns.detach()).square()
    if squares.dim() > valid.dim():
        squares = squares.sum(dim=-1)
    return (squares * valid).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp_min(1.0)
