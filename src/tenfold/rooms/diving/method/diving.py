"""The equations of Neural Diving (Nair et al. 2020, section 5): read this first.

    E(x; M) = c'x if x fits, else infinite          p(x | M) = exp(-E(x; M)) / Z
    w_ij = softmax_j(-E(x_ij))                       L = -sum_i sum_j w_ij log p(x_ij | M_i)
    p(x | M) = prod_s Bernoulli(b_s; sigmoid(t_s))   one factor for each bit b_s of each column

Weights of points are in `parts.mip.labels.Pool.weights`, which gives E a scale. Shapes: S bits of
one instance ("slots"), H coverage heads, K sampled assignments.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-6
"""Keeps the mean over chosen slots defined where nothing is chosen."""


def soft_targets(bits: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of the points' bits, [S].

    log p is linear in the bits, so that sum_j w_j log p(x_j) is the log likelihood of the mean:
    a network is asked once an instance, however many points it has.

    Args:
        bits: of the points, [K, S].
        weights: which sum to 1, [K].
    """
    return weights.to(torch.float32) @ bits.to(torch.float32)


def neg_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log p of each slot under Bernoulli(sigmoid(logits)), [S], targets in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def selective_loss(nll: Tensor, chosen: Tensor, *, coverage: float, penalty: float) -> Tensor:
    """Return the loss of one coverage head (SelectiveNet, Geifman and El-Yaniv 2019).

        l = sum_s y_s nll_s / sum_s y_s + penalty * max(0, coverage - mean_s y_s)^2

    Args:
        nll: of each slot, [S].
        chosen: y, the probability that a slot is assigned, [S]; soft while training.
        coverage: share of the slots that should be assigned.
        penalty: lambda.
    """
    mean = (chosen * nll).sum() / (chosen.sum() + EPSILON)
    short = (coverage - chosen.mean()).clamp(min=0)
    return mean + penalty * short.square()


def diving_loss(
    logits: Tensor,
    chosen: Tensor,
    targets: Tensor,
    *,
    coverages: tuple[float, ...],
    penalty: float,
    auxiliary: float,
) -> Tensor:
    """Return the loss of an instance: the mean over heads, plus a head that covers everything.

    Args:
        logits: t, of each slot, [S].
        chosen: logits of y for each head, [H, S].
        targets: weighted mean bits, [S].
        coverages: target of each head.
        penalty: lambda of the selective loss.
        auxiliary: weight of the plain likelihood of all slots.
    """
    nll = neg_log_likelihood(logits, targets)
    total = auxiliary * nll.mean()
    for head, coverage in zip(chosen.sigmoid(), coverages, strict=True):
        loss = selective_loss(nll, head, coverage=coverage, penalty=penalty)
        total = total + loss / len(coverages)
    return total


def most_certain(certainty: Tensor, coverage: float) -> Tensor:
    """Return which slots to assign so that a share `coverage` of them is, [S] of bool.

    Any coverage is to be had from one head: the slots with the largest certainty. Of equal ones
    the first are taken.
    """
    count = round(coverage * len(certainty))
    chosen = torch.zeros(len(certainty), dtype=torch.bool)
    chosen[torch.argsort(certainty, descending=True, stable=True)[:count]] = True
    return chosen


def sample_bits(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw assignments from p(x | M), [K, S] of bool; the first is the likeliest one."""
    drawn = torch.rand((count, len(logits)), generator=generator) < logits.sigmoid()
    drawn[0] = logits > 0
    return drawn
