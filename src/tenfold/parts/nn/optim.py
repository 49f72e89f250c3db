"""Muon and AdamW side by side, and their schedule (rooms jumprelu, omni).

Muon (Jordan 2024, "Muon: an optimizer for hidden layers in neural networks") moves a matrix
along the polar factor of its running gradient, found by five Newton-Schulz steps.
Differs from it: matrices of equal shape are orthogonalised as one stack, in float32, because
many small products cost more in calls than in arithmetic.

R rows, C columns of one matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tenfold.engine.checkpoint import flatten_optimizer, restore_optimizer
from tenfold.engine.config import Json
from tenfold.parts.nn.config import OptimConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd quintic that drives singular values quickly into [0.7, 1.2]."""


def orthogonalise(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """Bring all singular values of each of `matrices` [..., R, C] near one."""
    first, third, fifth = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = first * x + (third * square + fifth * square @ square) @ x
    return x.mT if tall else x


class Muon:
    """Momentum, orthogonalised; matrices of equal shape move together."""

    def __init__(self, matrices: Iterable[nn.Parameter], *, momentum: float) -> None:
        self.momentum = momentum
        self.stacks: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for matrix in matrices:
            self.stacks.setdefault(tuple(matrix.shape), []).append(matrix)
        self.means = {
            shape: torch.zeros(len(stack), *shape, device=stack[0].device)
            for shape, stack in self.stacks.items()
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move each matrix so that its outputs change by about `rate`."""
        for (rows, columns), stack in self.stacks.items():
            gradients = torch.stack([_gradient(matrix) for matrix in stack])
            mean = self.means[rows, columns].lerp_(gradients, 1 - self.momentum)
            ahead = gradients.lerp(mean, self.momentum)  # Nesterov
            length = rate * max(1.0, rows / columns) ** 0.5
            for matrix, direction in zip(stack, orthogonalise(ahead), strict=True):
                matrix.add_(direction, alpha=-length)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, f"no gradient reached a matrix {tuple(parameter.shape)}"
    return parameter.grad


class Optimizer:
    """Muon for `matrices`, AdamW for `others`; Checkpointable."""

    def __init__(
        self,
        config: OptimConfig,
        *,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
    ) -> None:
        self.config = config
        self.muon = Muon(matrices, momentum=config.muon_momentum)
        self.adam = torch.optim.AdamW(
            others, lr=config.adam_rate, betas=config.adam_betas, weight_decay=0.0, fused=True
        )

    def step(self, *, factor: float) -> None:
        """Apply the gradients with both rates times `factor`, then forget them."""
        self.muon.step(self.config.muon_rate * factor)
        for group in self.adam.param_groups:
            group["lr"] = self.config.adam_rate * factor
        self.adam.step()
        self.adam.zero_grad()
        for stack in self.muon.stacks.values():
            for matrix in stack:
                matrix.grad = None

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return the running means of both."""
        tensors, values = flatten_optimizer(self.adam, prefix="adam")
        return tensors | {_name(shape): mean for shape, mean in self.muon.means.items()}, values

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        restore_optimizer(self.adam, tensors, values, prefix="adam")
        for shape, mean in self.muon.means.items():
            mean.copy_(tensors[_name(shape)])


def _name(shape: tuple[int, ...]) -> str:
    return "muon/" + "x".join(map(str, shape))


def rate_factor(config: OptimConfig, *, step: int, total: int) -> float:
    """Return what the rates of step 0 .. total - 1 are multiplied by, in (0, 1]."""
    left = (total - step) / total
    fall = left if config.decay == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
    return min(1.0, (step + 1) / (config.warmup_steps + 1), fall)
