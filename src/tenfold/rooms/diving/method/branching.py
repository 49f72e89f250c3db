"""Neural Branching as equations (Nair et al. 2020, arXiv 2012.13349, section 6). Read this first.

At a node whose LP has the value OPT, branching on candidate i leaves two LPs, down and up.

    score of full strong branching   s_i = (up_i - OPT + eps) (down_i - OPT + eps)    `scores`
    soft target of the expert        p_i = s_i / sum_c s_c                       `soft_target`
    policy                           softmax of one logit a candidate
    loss                             - sum_c p_c log policy(c)                `imitation_loss`

The gain of a child, its value less OPT, is at least 0 and at most `room`, the distance from OPT to
the cutoff: a child beyond the cutoff is as good as an infeasible one. Without a cutoff an
infeasible child has the largest gain of all feasible ones.

Differs from the paper: `power` sharpens the target, p ~ s^power (1 is the paper's; infinity would
be the imitation of the best candidate alone).

Shapes: c candidates of one node.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Floats = NDArray[np.float64]

EPSILON = 1e-6
"""eps of the score: a candidate with one child that gains nothing is still told from others."""
TIE = 1e-6
"""Scores this close to the best, relatively, are as good as the best: LPs are no more exact."""


def gains(children: ArrayLike, value: float, room: float = np.inf) -> Floats:
    """Return by how much children are above their node, of any shape, within [0, room].

    Args:
        children: values of their LPs, infinite where infeasible; a minimisation.
        value: of the node's LP, OPT.
        room: cutoff less OPT, infinite if there is no cutoff.
    """
    above = np.maximum(np.asarray(children, dtype=np.float64) - value, 0.0)
    if not np.isfinite(room):
        room = float(above[np.isfinite(above)].max(initial=0.0))
    return np.minimum(above, max(room, 0.0))


def scores(down: Floats, up: Floats) -> Floats:
    """Return the score of each candidate, [c], from the gains of its children, [c] each.

    >>> scores(np.array([1.0, 0.0]), np.array([2.0, 3.0])).round(6).tolist()
    [2.000003, 3e-06]
    """
    product: Floats = (up + EPSILON) * (down + EPSILON)
    return product


def soft_target(told: Floats, power: float = 1.0) -> Floats:
    """Return the expert's distribution over candidates, [c], from their scores, [c].

    >>> soft_target(np.array([1.0, 3.0])).tolist()
    [0.25, 0.75]
    """
    # Relative to the best, so that no power leaves the range of a float.
    weights: Floats = (told / told.max()) ** power
    return np.asarray(weights / weights.sum())


def imitation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of the policy at one node, a scalar; [c] each."""
    return -(target * torch.log_softmax(logits, dim=0)).sum()


def best_of(told: ArrayLike) -> NDArray[np.bool_]:
    """Return which candidates have the best score, [c]; ties are all best."""
    values = np.asarray(told, dtype=np.float64)
    return np.asarray(values >= values.max() * (1 - TIE))


def choose(told: ArrayLike) -> int:
    """Return the candidate to branch on: the first of those with the best score."""
    return int(np.argmax(best_of(told)))


def hit(logits: ArrayLike, told: ArrayLike, count: int) -> bool:
    """Tell whether one of the policy's `count` first candidates has the best score.

    Ties of scores count as best, ties of logits go to the earlier candidate.
    """
    order = np.argsort(-np.asarray(logits, dtype=np.float64), kind="stable")
    return bool(best_of(told)[order[:count]].any())


def chance(told: ArrayLike, count: int) -> float:
    """Return how likely `count` candidates drawn blindly contain one of the best ones."""
    best = best_of(told)
    missed, left = 1.0, len(best)
    for _ in range(min(count, left)):
        missed *= max(left - int(best.sum()), 0) / left
        left -= 1
    return 1.0 - missed
