"""Many small networks as one tensor program: stacks of lanes, and slots that lanes share.

A *slot* is one set of parameters. A *lane* is one user of a slot: an agent of a team, a setting, a
seed. Sharing is an index from lanes to slots: weights are gathered by it, and gradients come back
as sums over the lanes of a slot. Lanes never mix, so that a result does not depend on what else is
in the stack, up to the order of floating-point sums within one library call.

All parameters lie in one flat tensor, array after array, each [S, *size] and contiguous, because
batched products of arrays with gaps between their matrices are several times slower.
(rooms triad, vdn, ctf)

S slots, L lanes, G groups, R rows, P parameters of a slot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.engine.kernel import find_obstacle

Arrays = dict[str, Tensor]
"""Arrays of parameters by name, [S, *size] of slots or [L, *size] of lanes."""


@dataclass(frozen=True)
class Shape:
    """One array of parameters and how its first values are drawn."""

    name: str
    size: tuple[int, ...]
    bound: float
    """First values are uniform in [-bound, bound]; 0: zeros."""

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.size)


@dataclass(frozen=True)
class Layout:
    """The arrays of a network, and where they lie in a flat tensor of S slots."""

    shapes: tuple[Shape, ...]

    @property
    def count(self) -> int:
        """P."""
        return sum(shape.count for shape in self.shapes)

    def views(self, flat: Tensor) -> Arrays:
        """Return the arrays within a flat tensor [S P], as views [S, *size]."""
        slots = len(flat) // max(self.count, 1)
        views, start = {}, 0
        for shape in self.shapes:
            part = flat[start : start + slots * shape.count]
            views[shape.name] = part.view(slots, *shape.size)
            start += slots * shape.count
        return views

    def draw(self, seeds: Sequence[int]) -> Tensor:
        """Return first values, [S P], of slots with a seed each.

        Each array has a stream of its own, named by itself: equal seeds give equal values to
        arrays of equal name and size, whatever else the network has.
        """
        flat = torch.empty(len(seeds) * self.count)
        views = self.views(flat)
        for slot, seed in enumerate(seeds):
            for shape in self.shapes:
                generator = rng.torch_stream(seed, "first values", shape.name)
                drawn = torch.rand(shape.size, generator=generator)
                views[shape.name][slot] = (2 * drawn - 1) * shape.bound
        return flat


def dense(name: str, inputs: int, outputs: int) -> tuple[Shape, Shape]:
    """Return weight [inputs, outputs] and bias of a dense layer, with PyTorch's usual bounds."""
    bound = inputs**-0.5
    return Shape(f"{name}.weight", (inputs, outputs), bound), Shape(
        f"{name}.bias", (outputs,), bound
    )


def lstm(name: str, inputs: int, units: int) -> tuple[Shape, Shape, Shape]:
    """Return the arrays of an LSTM, gates in the order input, forget, output, candidate."""
    bound = units**-0.5
    return (
        Shape(f"{name}.inputs", (inputs, 4 * units), bound),
        Shape(f"{name}.hidden", (units, 4 * units), bound),
        Shape(f"{name}.bias", (4 * units,), bound),
    )


@dataclass(frozen=True)
class Slots:
    """Which slot each lane uses, and which group (such as a team) each slot belongs to."""

    lanes: Tensor
    """[L], numbers of slots."""
    groups: Tensor
    """[S], numbers of groups; learning rate, clipping and freezing go by group."""

    @property
    def count(self) -> int:
        """S."""
        return len(self.groups)

    @cached_property
    def _plain(self) -> bool:
        """Whether lane k uses slot k, so that nothing has to be gathered."""
        return len(self.lanes) == self.count and bool(
            (self.lanes == torch.arange(self.count, device=self.lanes.device)).all()
        )

    def gather(self, arrays: Arrays) -> Arrays:
        """Return the arrays of each lane, [L, *size]; gradients come back as sums over lanes."""
        if self._plain:
            return arrays
        return {name: array.index_select(0, self.lanes) for name, array in arrays.items()}

    def add_up(self, arrays: Arrays) -> Arrays:
        """Return sums over the lanes of each slot, [S, *size], of arrays [L, *size].

        This is how gradients of gathered weights become those of slots.
        """
        if self._plain:
            return arrays
        return {
            name: array.new_zeros(self.count, *array.shape[1:]).index_add_(0, self.lanes, array)
            for name, array in arrays.items()
        }

    def to(self, device: torch.device | str) -> Slots:
        """Return the same on another device."""
        return Slots(self.lanes.to(device), self.groups.to(device))


def affine(x: Tensor, weight: Tensor, bias: Tensor, *, bend: bool = False) -> Tensor:
    """Return x W + b of each lane, cut off at 0 if it is to `bend`.

    The bias is added in the product's own memory, which spares a pass over the result.

    Args:
        x: [L, M, inputs]; matrices may have gaps between them.
        weight: [L, inputs, outputs].
        bias: [L, outputs].
        bend: apply ReLU.

    Returns:
        [L, M, outputs], contiguous.
    """
    if not torch.is_grad_enabled():
        return _affine(x, weight, bias, bend)
    out: Tensor = _Affine.apply(x, weight, bias, bend)  # type: ignore[no-untyped-call]
    return out


def _affine(x: Tensor, weight: Tensor, bias: Tensor, bend: bool) -> Tensor:
    out = torch.bmm(x, weight)
    loops = compiled_loops("dense_loops", out)
    if loops:
        loops.add_bias(out.numpy(), bias.detach().contiguous().numpy(), bend)
        return out
    out.add_(bias.unsqueeze(1))
    return out.relu_() if bend else out


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, bend: bool) -> Tensor:
        out = _affine(x, weight, bias, bend)
        ctx.bend = bend
        ctx.save_for_backward(x, weight, out if bend else None)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight, out = ctx.saved_tensors
        slopes = gradients[0].contiguous()
        loops = compiled_loops("dense_loops", slopes)
        if loops:
            sums = slopes.new_empty(slopes.shape[0], slopes.shape[2])
            if ctx.bend:
                above, slopes = slopes, torch.empty_like(slopes)
                loops.cut_slopes(above.numpy(), out.numpy(), slopes.numpy(), sums.numpy())
            else:
                loops.add_rows(slopes.numpy(), sums.numpy())
        else:
            slopes = torch.where(out > 0, slopes, 0.0) if ctx.bend else slopes
            sums = slopes.sum(dim=1)
        to_x = torch.bmm(slopes, weight.mT) if ctx.needs_input_grad[0] else None
        return to_x, torch.bmm(x.mT, slopes), sums, None


def compiled_loops(name: str, like: Tensor) -> ModuleType | None:
    """Return a module of compiled loops beside this one, if it serves a tensor's kind.

    Args:
        name: of the module.
        like: a tensor that the loops would work on: on the CPU and float32, or plain torch serves.
    """
    if like.device.type != "cpu" or like.dtype != torch.float32 or find_obstacle():
        return None
    return _module(name)


@cache
def _module(name: str) -> ModuleType:
    return import_module(f"tenfold.parts.nn.{name}")


class Adam:
    """Adam (Kingma and Ba 2015) on slots, each group with a rate and a clipping of its own.

    A group whose gradient is not finite is frozen for good: its slots stay as they are, and no
    other group notices. Checkpointable by `state` and `load_state`.
    """

    def __init__(
        self,
        flat: Tensor,
        layout: Layout,
        groups: Tensor,
        *,
        rates: Sequence[float],
        clip: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        """Prepare to move `flat`.

        Args:
            flat: parameters, [S P]; moved in place.
            layout: of them.
            groups: of each slot, [S].
            rates: learning rate of each group, [G].
            clip: largest Euclidean norm of a group's gradient; 0: none.
            betas: decay of the two running means.
            epsilon: added to the root of the second one.
        """
        self.flat, self.layout, self.groups = flat, layout, groups
        self.rates = torch.tensor(rates, dtype=flat.dtype, device=flat.device)
        self.clip, self.betas, self.epsilon = clip, betas, epsilon
        self.mean, self.square = torch.zeros_like(flat), torch.zeros_like(flat)
        self.steps = 0
        self.frozen = torch.zeros(len(rates), dtype=torch.bool, device=flat.device)
        self._gradient = torch.zeros_like(flat)
        self._parts = layout.views(self._gradient)
        sizes = [0] + [part.numel() for part in self._parts.values()]
        self._begins = torch.tensor(sizes).cumsum(0)
        self._rate = torch.zeros_like(flat)
        self._spread_rates()

    @property
    def gradients(self) -> Arrays:
        """Where gradients may be written, [S, *size], before `step` is called without any."""
        return self._parts

    @torch.no_grad()
    def step(self, gradients: Arrays | None = None, *, pace: float = 1.0) -> Tensor:
        """Move by gradients [S, *size], all rates multiplied by `pace`.

        Args:
            gradients: of all arrays; None: those that were written into `gradients`.
            pace: of this step.

        Returns:
            The norm of each group's gradient before clipping, [G].
        """
        self.steps += 1
        for name, gradient in (gradients or {}).items():
            self._parts[name].copy_(gradient)
        loops = compiled_loops("dense_loops", self.flat)
        if loops:
            norms = torch.empty_like(self.rates)
            arrays = (self._gradient, self._begins, self.groups, self.frozen, norms)
            broken = loops.clip_groups(*(x.numpy() for x in arrays), np.float32(self.clip))
        else:
            norms, broken = self._clip()
        if broken:
            self._spread_rates()
        self._move(pace)
        return norms

    def _clip(self) -> tuple[Tensor, bool]:
        """Clip and freeze as `dense_loops.clip_groups` does."""
        squares = torch.zeros(len(self.groups), dtype=self.flat.dtype, device=self.flat.device)
        for gradient in self._parts.values():
            squares += gradient.flatten(1).square().sum(dim=1)
        norms = torch.zeros_like(self.rates).index_add_(0, self.groups, squares).sqrt()
        broken = ~norms.isfinite() & ~self.frozen
        self.frozen |= broken
        scale = torch.ones_like(norms)
        if self.clip > 0:
            scale = (self.clip / norms.clamp_min(1e-12)).clamp_max(1.0)
        scale, still = scale[self.groups], self.frozen[self.groups]
        for part in self._parts.values():
            part.mul_(scale.view((-1,) + (1,) * (part.dim() - 1)))
            part[still] = 0.0
        return norms, bool(broken.any())

    def _move(self, pace: float) -> None:
        first, second = self.betas
        grown, spread = 1 - first**self.steps, 1 - second**self.steps
        loops = compiled_loops("dense_loops", self.flat)
        if loops:
            arrays = (self.flat, self.mean, self.square, self._gradient, self._rate)
            numbers = (first, second, self.epsilon, pace / grown, spread)
            loops.move_adam(*(x.numpy() for x in arrays), *(np.float32(x) for x in numbers))
            return
        self.mean.lerp_(self._gradient, 1 - first)
        self.square.mul_(second).addcmul_(self._gradient, self._gradient, value=1 - second)
        root = (self.square / spread).sqrt_().add_(self.epsilon)
        move = torch.div(self.mean, root, out=root).mul_(self._rate)
        self.flat.sub_(move, alpha=pace / grown)

    def _spread_rates(self) -> None:
        """Write the rate of each number; it is 0 where a group is frozen."""
        rates = torch.where(self.frozen, 0.0, self.rates)[self.groups]
        for part in self.layout.views(self._rate).values():
            part.copy_(rates.view((-1,) + (1,) * (part.dim() - 1)).expand_as(part))

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return all that later steps depend on."""
        tensors = {"mean": self.mean, "square": self.square, "frozen": self.frozen}
        return {name: value.clone() for name, value in tensors.items()}, {"steps": self.steps}

    def load_state(self, tensors: Mapping[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        for name, own in (("mean", self.mean), ("square", self.square), ("frozen", self.frozen)):
            own.copy_(tensors[name])
        self.steps = int(values["steps"])
        self._spread_rates()
