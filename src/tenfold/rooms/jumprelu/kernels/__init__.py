"""Which code takes a training step: dense torch, or compiled loops over the active entries.

The sparse step gives what the dense one gives, in less time where few latents are active. What
it cannot do it refuses here, before a run starts; where too many latents are active for it to
pay, which depends on the rows, `Trainer.update` takes the dense step instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from tenfold.engine import kernel
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels.gpu_limits import find_gpu_obstacle
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.model import Dictionary

DENSEST = 1 / 3
"""Share of entries above which steps are dense.

Measured on two cores: at this share sparse steps were still about twice as fast, at a half of
all entries 1.3 to 1.5 times; their memory grows with the share, that of dense steps does not.
"""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which code takes the steps of a run, and why."""

    name: Literal["dense", "cpu", "gpu"]
    why: str

    def __str__(self) -> str:
        codes = {
            "dense": "plain torch",
            "cpu": f"sparse steps by {kernel.describe()}",
            "gpu": "sparse steps by triton",
        }
        return f"{codes[self.name]}, because {self.why}"


class Step(Protocol):
    """A sparse step; changes dictionary and moments in place."""

    def __call__(
        self,
        x_SBD: Tensor,
        y_SBO: Tensor | None,
        setting: method.Setting,
        *,
        rate: float,
        densest: float,
    ) -> method.Terms | None:
        """Take one step on raw rows and return its terms.

        Args:
            x_SBD: raw inputs, still to be divided by the dictionary's scale.
            y_SBO: raw targets of transcoders; None rebuilds the inputs.
            setting: prices, targets and what is dead.
            rate: Adam's step size; thresholds use it times `moments.threshold_rate`.
            densest: share of entries above which nothing is to be done.

        Returns:
            The terms, or None if nothing was done. Whether depends on the rows and the
            parameters alone, so that a resumed run decides alike.
        """


def choose(
    asked: config.Kernel, dictionary: Dictionary, chosen: config.Method, schedule: config.Schedule
) -> Choice:
    """Choose the code of a run's steps.

    Args:
        asked: `auto`, `dense` or `sparse`.
        dictionary: what is trained, on its device.
        chosen: the loss, with its options resolved.
        schedule: constants of the optimiser.

    Raises:
        TenfoldError: if sparse steps were asked for and cannot be taken.
    """
    if asked == "dense":
        return Choice(name="dense", why="dense steps were asked for")
    obstacle = find_obstacle(dictionary, chosen, schedule)
    if obstacle and asked == "sparse":
        raise TenfoldError(f"sparse steps cannot be taken: {obstacle}; use kernel auto or dense")
    if obstacle:
        return Choice(name="dense", why=obstacle)
    name: Literal["cpu", "gpu"] = "cpu" if dictionary.w_enc.device.type == "cpu" else "gpu"
    if asked == "sparse":
        return Choice(name=name, why="they were asked for")
    return Choice(name=name, why=f"they pay until 1 in {1 / DENSEST:.0f} latents is active")


def find_obstacle(dictionary: Dictionary, chosen: config.Method, schedule: config.Schedule) -> str:
    """Return why sparse steps cannot train this dictionary; empty if they can."""
    weights = dictionary.w_enc
    if weights.device.type not in ("cpu", "cuda"):
        return f"the dictionary is on {weights.device.type}, they are for cpu and cuda"
    if weights.dtype != torch.float32:
        return f"the dictionary is of type {weights.dtype}, they are for float32"
    if schedule.beta1:
        return f"beta1 is {schedule.beta1:g}, they need 0"
    obstacle = _method_obstacle(chosen, dictionary)
    if weights.device.type == "cuda":
        return obstacle or find_gpu_obstacle(dictionary, chosen)
    return obstacle or kernel.find_obstacle()


def _method_obstacle(chosen: config.Method, dictionary: Dictionary) -> str:
    match chosen:
        case config.JumpReLU(penalty="tanh"):
            return "the tanh penalty has a slope at every entry"
        case config.JumpReLU(bandwidth=bandwidth) if bandwidth <= 0:
            return f"the bandwidth is {bandwidth:g}, it must be positive"
        case config.TopK(multi_weight=weight) if weight:
            return "Multi-TopK has no sparse code"
        case config.JumpReLU() | config.TopK() | config.BatchTopK():
            if dictionary.w_skip is not None and dictionary.pre_bias:
                return "a skip connection beside a pre-encoder bias has no sparse code"
            return ""
        case _:
            return f"{type(chosen).__name__} has no sparse code"


def build(
    choice: Choice,
    dictionary: Dictionary,
    chosen: config.Method,
    moments: Moments,
    *,
    threads: int,
) -> Step | None:
    """Return the sparse step that was chosen, the dictionary laid out for it; None for dense."""
    if choice.name == "dense":
        return None
    lay_out(dictionary)
    if choice.name == "gpu":
        from tenfold.rooms.jumprelu.kernels.gpu import GpuStep

        assert isinstance(chosen, config.JumpReLU), "the GPU step is of one kind"
        return GpuStep(dictionary, chosen, moments)
    from tenfold.rooms.jumprelu.kernels.sparse_step import SparseStep

    return SparseStep(dictionary, chosen, moments, threads=threads)


def lay_out(dictionary: Dictionary) -> None:
    """Put each latent's encoder column together in memory; shapes and values stay."""
    dictionary.w_enc.data = dictionary.w_enc.data.mT.contiguous().mT


def still_fits(dictionary: Dictionary) -> bool:
    """Say whether the weights are still of the type and layout that sparse steps take."""
    weights = dictionary.w_enc
    return weights.dtype == torch.float32 and weights.mT.is_contiguous()
