"""Adam's state of a stack of dictionaries, shared by the dense and the sparse step.

With beta1 = 0 there is no first moment, and a latent whose gradient is zero does not move, so
the sparse step leaves the second moments of such latents alone and remembers for how long. The
dense step brings them up to date before it goes on from them, so that the two may take turns.
"""

# S stack of dictionaries, M latents

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.engine.checkpoint import flatten_optimizer, restore_optimizer
from tenfold.engine.config import Json
from tenfold.rooms.jumprelu.model import Dictionary, JumpReLU


class Moments:
    """A torch Adam over a dictionary's parameters that can also be stepped latent by latent.

    Args:
        dictionary: a stack.
        learning_rate: base step size; `dense_step` is told the one of its step.
        betas: beta1 and beta2.
        threshold_rate: step size of thresholds as a multiple of the others'.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        threshold_rate: float,
    ) -> None:
        self.dictionary = dictionary
        self.betas = betas
        self.threshold_rate = threshold_rate
        unit = dictionary.unit
        thresholds = [unit.raw] if isinstance(unit, JumpReLU) else []
        others = [p for p in dictionary.parameters() if not any(p is t for t in thresholds)]
        groups = [{"params": others, "rate": 1.0}]
        if thresholds:
            groups.append({"params": thresholds, "rate": threshold_rate})
        self.optimizer = torch.optim.Adam(groups, lr=learning_rate, betas=betas, fused=True)
        self.touched = torch.zeros_like(dictionary.b_enc, dtype=torch.int64)
        """Step [S, M] after which each latent's second moments are up to date."""
        self.steps = 0
        """Steps taken."""

    @property
    def epsilon(self) -> float:
        """Adam's epsilon."""
        return float(self.optimizer.defaults["eps"])

    def second(self, parameter: Tensor) -> Tensor:
        """Return the second moments of a parameter, laid out like it."""
        return self._slots(parameter)["exp_avg_sq"]

    def _slots(self, parameter: Tensor) -> dict[str, Tensor]:
        slots: dict[str, Tensor] = self.optimizer.state[parameter]
        if not slots:
            slots["step"] = torch.tensor(float(self.steps), device=parameter.device)
            slots["exp_avg_sq"] = torch.zeros_like(parameter)
            if self.betas[0]:
                slots["exp_avg"] = torch.zeros_like(parameter)
        return slots

    def dense_step(self, rate: float) -> None:
        """Step every parameter by its gradient."""
        self._catch_up()
        self._count()
        parameters = list(self.dictionary.parameters())
        for parameter in parameters:
            slots = self._slots(parameter)
            if not self.betas[0]:
                # With beta1 = 0 the first moment is the gradient; it needs no memory of its own.
                assert parameter.grad is not None, "the loss does not reach a parameter"
                slots["exp_avg"] = parameter.grad
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self.optimizer.step()
        self.steps += 1
        self.touched.fill_(self.steps)
        if not self.betas[0]:
            for parameter in parameters:
                del self.optimizer.state[parameter]["exp_avg"]

    def sparse_step_taken(self) -> None:
        """Count a step that changed parameters, moments and `touched` in place."""
        self.steps += 1

    def _count(self) -> None:
        """Tell torch's Adam of sparse steps."""
        for slots in self.optimizer.state.values():
            slots["step"].fill_(self.steps)

    def _catch_up(self) -> None:
        """Let the moments of latents decay for the steps in which they were not touched."""
        behind = self.steps - self.touched
        if not bool(behind.any()):
            return
        decay_SM = self.betas[1] ** behind.double()
        dictionary = self.dictionary
        per_latent = [(dictionary.w_enc, -2), (dictionary.w_dec, -1), (dictionary.b_enc, None)]
        if isinstance(dictionary.unit, JumpReLU):
            per_latent.append((dictionary.unit.raw, None))
        for parameter, axis in per_latent:
            decay = decay_SM if axis is None else decay_SM.unsqueeze(axis)
            self.second(parameter).mul_(decay.to(parameter.dtype))
        self.touched.fill_(self.steps)

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything later steps depend on."""
        self._count()
        tensors, values = flatten_optimizer(self.optimizer)
        return tensors | {"touched": self.touched}, values

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Put back what `state` returned; parameters have been put back before."""
        restore_optimizer(self.optimizer, tensors, values)
        self.touched.copy_(tensors["touched"])
        self.steps = 0
        for parameter, slots in self.optimizer.state.items():
            self.steps = int(slots["step"])
            # Loading lays moments out plainly; both steps want them like their parameter.
            slots["exp_avg_sq"] = torch.empty_like(parameter).copy_(slots["exp_avg_sq"])
