"""The sparse step of one dictionary of a stack: its arrays and its tasks, phase by phase."""

# B rows of a batch, R rows of a block, D width of an input, O of an output, M latents

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels import cpu, largest, latents
from tenfold.rooms.jumprelu.kernels.entries import (
    Block,
    choose_above,
    choose_largest,
    rows_of_block,
)
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.workers import Room
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, JumpReLU, TopK

RANGES = 32
"""Parts of the latents that are updated independently."""


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """What a dictionary's L0 costs in one batch."""

    value: float
    weight_price: float
    """dL/dL0 of a row of weight 1."""


def penalty_of(kind: str, *, price: float, target_l0: float, l0_B: np.ndarray) -> Penalty:
    """Return a penalty of `method.jumprelu_penalty` and its slope in each row's L0.

    Rows weigh 1, or under `quad_example`, where each has its own price, L0 less the target.
    """
    rows = len(l0_B)
    mean = float(l0_B.mean(dtype=np.float64))
    if kind == "linear":
        return Penalty(value=price * mean, weight_price=price / rows)
    if kind == "quad_batch":
        excess = mean / target_l0 - 1
        return Penalty(value=price * excess**2, weight_price=2 * price * excess / target_l0 / rows)
    assert kind == "quad_example", f"the sparse step has no penalty {kind!r}"
    weight = 2 * price / target_l0
    squares = float(np.square(l0_B.astype(np.float64) - target_l0).mean())
    return Penalty(value=weight * squares, weight_price=2 * weight / rows)


class LaneStep:
    """The step of one dictionary of the stack: its arrays, and its tasks phase by phase."""

    def __init__(self, dictionary: Dictionary, chosen: config.Method, lane: int) -> None:
        self.dictionary, self.chosen, self.lane = dictionary, chosen, lane
        self.blocks: list[Block] = []
        self.aux_blocks: list[Block] = []

    # Before the phases

    def begin(
        self, x_BD: Tensor, y_BO: Tensor | None, moments: Moments, setting: method.Setting
    ) -> None:
        """Take the batch and the present parameters."""
        dictionary, lane = self.dictionary, self.lane
        self.x, self.y, self.setting = x_BD, y_BO, setting
        self.weights = _arrays(dictionary, lane, [p.detach() for p in _per_latent(dictionary)])
        second = [moments.second(p) for p in _per_latent(dictionary)]
        self.second = _arrays(dictionary, lane, second)
        self.moments = moments
        self.b_dec = dictionary.b_dec.detach()[lane]
        self.theta = _thresholds(dictionary, lane)
        self.w_enc = torch.from_numpy(self.weights.w_enc)
        self.half = 0.5 * getattr(self.chosen, "bandwidth", 0.0)
        self.by_row = getattr(self.chosen, "penalty", "") == "quad_example"
        self.step_to_z = getattr(self.chosen, "step_to_z", False)
        self.target_l0 = float(setting.target_l0[lane])
        self._lay_out(len(x_BD))
        self.dead = np.zeros(0, np.int32)
        if getattr(self.chosen, "aux_weight", 0.0):
            self.dead = setting.dead[lane].numpy().nonzero()[0].astype(np.int32)
        if len(self.dead):
            self.dead_enc = self.w_enc[torch.from_numpy(self.dead)]
            self.dead_bias = self.weights.b_enc[self.dead]
        self.used_aux = self.aux_blocks if len(self.dead) else []

    def _lay_out(self, batch: int) -> None:
        if self.blocks and self.blocks[-1].last == batch:
            return
        dictionary = self.dictionary
        width, inner, outer = dictionary.width, dictionary.input_width, dictionary.output_width
        size = rows_of_block(batch)
        spans = [(first, min(first + size, batch)) for first in range(0, batch, size)]
        self.blocks = [Block(*span) for span in spans]
        self.aux_blocks = [Block(*span) for span in spans]
        self.inputs = torch.empty(batch, inner)
        self.residuals = torch.empty(2 * batch, outer)
        self.l0, self.ones = np.zeros(batch, np.float32), np.ones(batch, np.float32)
        self.window = np.zeros((len(spans), width, 3), np.float32)
        self.sums = np.zeros((2 * len(spans), outer), np.float32)
        self.counts = np.zeros((2 * len(spans), width), np.int32)
        self.begins = np.zeros(width + 1, np.int64)
        self.active = np.zeros(width, np.int32)
        self.everyone = np.arange(width, dtype=np.int32)
        step = max(16, -(-width // RANGES))
        self.ranges = [(first, min(first + step, width)) for first in range(0, width, step)]
        self.centre_parts = np.zeros((len(self.ranges), inner), np.float32)
        self.sorted = latents.Sorted(
            self.begins, np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.float32)
        )

    @property
    def batch(self) -> int:
        """B."""
        return len(self.x)

    # Phase 1

    def choose(self, number: int, room: Room, *, least: float = 0.0) -> None:
        """Find the entries of a block; of BatchTopK's, all above `least`."""
        block = self.blocks[number]
        dictionary, weights = self.dictionary, self.weights
        x_RD = self.inputs[block.rows]
        shift = self.b_dec if dictionary.pre_bias else torch.zeros(dictionary.input_width)
        cpu.centre_rows(self.x[block.rows].numpy(), dictionary.scale, shift.numpy(), x_RD.numpy())
        unit, b_enc = dictionary.unit, weights.b_enc
        if isinstance(unit, TopK):
            k = int(unit.k[self.lane])
            choose_largest(block, x_RD, self.w_enc, b_enc, k, self.everyone, room)
        else:
            theta = self.theta if isinstance(unit, JumpReLU) else np.full_like(b_enc, least)
            choose_above(block, x_RD, self.w_enc, b_enc, theta, self.half, room)

    def rebuild(self, number: int, room: Room) -> None:
        """Reconstruct the rows of a block and count its entries."""
        block = self.blocks[number]
        scaled = self._scaled(self.x, block, room, "scaled inputs")
        goal = scaled if self.y is None else self._scaled(self.y, block, room, "scaled targets")
        e_RO = self.residuals[block.rows]
        if self.dictionary.w_skip is None:
            e_RO.copy_(self.b_dec)
        else:
            skip = self.dictionary.w_skip.detach()[self.lane]
            torch.addmm(self.b_dec, scaled, skip, out=e_RO)
        window = cpu.Window(self.half, self.by_row, self.target_l0, self.window[number])
        block.error = cpu.rebuild_rows(
            block.chosen,
            self.theta,
            self.weights.w_dec,
            goal.numpy(),
            -1.0,
            e_RO.numpy(),
            window,
            block.keep(self.counts[number], everything=self.step_to_z),
            self.l0[block.rows],
            self.sums[number],
        )
        if self.used_aux:
            self._rebuild_error(number, room)

    def _scaled(self, rows: Tensor, block: Block, room: Room, name: str) -> Tensor:
        out = room.take(name, len(block), rows.shape[1])
        zero = np.zeros(rows.shape[1], np.float32)
        cpu.centre_rows(rows[block.rows].numpy(), self.dictionary.scale, zero, out.numpy())
        return out

    def _rebuild_error(self, number: int, room: Room) -> None:
        """Rebuild a block's errors from its most active dead latents (AuxK)."""
        block, main = self.aux_blocks[number], self.blocks[number]
        wanted = getattr(self.chosen, "aux_k", 0) or max(1, self.dictionary.output_width // 2)
        choose_largest(
            block,
            self.inputs[main.rows],
            self.dead_enc,
            self.dead_bias,
            min(wanted, len(self.dead)),
            self.dead,
            room,
        )
        e_RO = self.residuals[self.batch + main.first : self.batch + main.last]
        e_RO.zero_()
        number += len(self.blocks)
        sums = room.take("auxiliary window", self.dictionary.width, 3).numpy()
        block.error = cpu.rebuild_rows(
            block.chosen,
            np.zeros_like(self.theta),
            self.weights.w_dec,
            self.residuals[main.rows].numpy(),
            1.0,
            e_RO.numpy(),
            cpu.Window(0.0, False, 0.0, sums),
            block.keep(self.counts[number], everything=False),
            room.take("auxiliary l0", len(block)).numpy(),
            self.sums[number],
        )

    # Between the phases of BatchTopK

    def cut(self) -> bool:
        """Find the smallest value that BatchTopK keeps; False if the candidates are too few."""
        unit = self.dictionary.unit
        assert isinstance(unit, BatchTopK), "only BatchTopK cuts a whole batch"
        wanted = int(unit.k[self.lane]) * self.batch
        values = np.concatenate([block.values[: block.number] for block in self.blocks])
        self.least, self.allowed = 0.0, [0] * len(self.blocks)
        if len(values) < wanted:
            return False
        self.least = float(np.partition(values, len(values) - wanted)[len(values) - wanted])
        if self.least <= 0:
            # Fewer are positive than are wanted, and only those count.
            self.least, self.allowed = 0.0, [0] * len(self.blocks)
            return True
        equal = wanted - int((values > np.float32(self.least)).sum())
        for number, block in enumerate(self.blocks):
            here = largest.count_equal(block.values, block.number, self.least)
            self.allowed[number] = min(here, equal)
            equal -= self.allowed[number]
        return True

    def drop(self, number: int) -> None:
        """Drop what a batch does not keep."""
        block = self.blocks[number]
        block.number = largest.drop_below(
            block.latents, block.values, block.starts, self.least, self.allowed[number]
        )

    # Phase 2

    def arrange(self) -> None:
        """Fix where each latent's entries go, and what the rows cost."""
        blocks = [*self.blocks, *self.used_aux]
        cpu.lay_out_latents(self.counts[: len(blocks)], self.begins)
        total = int(self.begins[-1])
        if len(self.sorted.rows) < total:
            room = total + total // 4
            self.sorted = latents.Sorted(
                self.begins,
                np.empty(room, np.int32),
                np.empty(room, np.float32),
                np.empty(room, np.float32),
            )
        self.error = sum(block.error for block in self.blocks) / self.batch
        self.penalty = Penalty(value=0.0, weight_price=0.0)
        if isinstance(self.chosen, config.JumpReLU):
            self.penalty = penalty_of(
                self.chosen.penalty,
                price=float(self.setting.price[self.lane]),
                target_l0=self.target_l0,
                l0_B=self.l0,
            )
        self.row_weights = self.l0 - np.float32(self.target_l0) if self.by_row else self.ones
        self.aux_scale, self.aux_loss = self._auxiliary()

    def _auxiliary(self) -> tuple[float, float]:
        """Return what scales the auxiliary residuals' gradient, and the loss they add."""
        if not self.used_aux:
            return 0.0, 0.0
        mean = self.sums[: len(self.blocks)].sum(axis=0, dtype=np.float64) / self.batch
        variance = self.error - float(mean @ mean)
        if variance <= 0:
            return 0.0, 0.0
        weight = float(getattr(self.chosen, "aux_weight", 0.0)) / variance / self.batch
        return 2 * weight, weight * sum(block.error for block in self.used_aux)

    def place(self, number: int, room: Room) -> None:  # noqa: ARG002 (all tasks take it)
        """Sort the entries of a block to their latents."""
        blocks = [*self.blocks, *self.used_aux]
        block = blocks[number]
        shift = 0 if number < len(self.blocks) else self.batch
        cpu.place_entries(
            block.kept,
            len(block),
            block.first + shift,
            self.counts[number],
            self.sorted.rows,
            self.sorted.values,
            self.sorted.slopes,
        )

    # Phases 3 and 4

    def update(self, number: int, room: Room, *, rule: latents.Rule) -> None:  # noqa: ARG002
        """Update a range of latents."""
        first, last = self.ranges[number]
        batch = latents.Batch(
            self.inputs.numpy(), self.residuals.numpy(), self.row_weights, self.window
        )
        latents.update_latents(
            first,
            last,
            self.sorted,
            batch,
            self.theta,
            self.weights,
            self.second,
            self.moments.touched[self.lane].numpy(),
            rule,
            self.active,
            self.centre_parts[number],
        )

    def finish(self, rule: latents.Rule) -> None:
        """Update what all rows share: b_dec and the skip connection."""
        dictionary = self.dictionary
        gradient = self.sums[: len(self.blocks)].sum(axis=0) * np.float32(rule.main_scale)
        if dictionary.pre_bias:
            gradient += self.centre_parts.sum(axis=0)
        self._step(dictionary.b_dec, gradient, rule)
        if dictionary.w_skip is not None:
            residuals = self.residuals[: self.batch]
            slope = (self.inputs.T @ residuals) * rule.main_scale
            self._step(dictionary.w_skip, slope.flatten().numpy(), rule)

    def _step(self, parameter: Tensor, gradient: np.ndarray, rule: latents.Rule) -> None:
        weights = parameter.detach()[self.lane].view(-1).numpy()
        second = self.moments.second(parameter)[self.lane].view(-1).numpy()
        latents.update_vector(
            weights, second, gradient, rule.rate, rule.beta2, rule.step, rule.epsilon
        )

    def rule(self, *, rate: float) -> latents.Rule:
        """Return the numbers of this step."""
        moments, unit, chosen = self.moments, self.dictionary.unit, self.chosen
        weight = scale = 1.0
        if isinstance(chosen, config.JumpReLU):
            weight, scale = chosen.frequency_weight, chosen.frequency_scale
        thresholds = isinstance(unit, JumpReLU)
        return latents.Rule(
            main_scale=2 / self.batch,
            aux_scale=self.aux_scale,
            half=self.half,
            bandwidth=2 * self.half,
            step_to_z=self.step_to_z,
            thresholds=thresholds,
            as_log=isinstance(unit, JumpReLU) and unit.as_log,
            frequency_weight=weight / self.batch if thresholds else 0.0,
            frequency_scale=scale * self.batch / 2,
            weight_price=self.penalty.weight_price,
            rate=rate,
            threshold_rate=rate * moments.threshold_rate,
            beta2=moments.betas[1],
            step=moments.steps + 1,
            epsilon=moments.epsilon,
        )

    @property
    def loss(self) -> float:
        """What was minimised."""
        loss = self.error + self.penalty.value + self.aux_loss
        chosen = self.chosen
        if isinstance(chosen, config.JumpReLU) and chosen.frequency_weight:
            frequency = self.active.astype(np.float64) / self.batch
            more = (frequency * (1 + frequency / chosen.frequency_scale)).sum()
            loss += chosen.frequency_weight * float(more)
        return loss

    @property
    def smallest(self) -> float:
        """The smallest value that BatchTopK kept; infinite if it kept none."""
        kept = [block.values[: block.number] for block in self.blocks if block.number]
        return min((float(values.min()) for values in kept), default=float("inf"))


def _per_latent(dictionary: Dictionary) -> list[Tensor]:
    """Return the parameters that belong to a latent, thresholds last where there are any."""
    found: list[Tensor] = [dictionary.w_enc, dictionary.w_dec, dictionary.b_enc]
    if isinstance(dictionary.unit, JumpReLU):
        found.append(dictionary.unit.raw)
    return found


def _arrays(dictionary: Dictionary, lane: int, tensors: list[Tensor]) -> latents.Parameters:
    w_enc, w_dec, *vectors = tensors
    assert w_enc.mT.is_contiguous(), "the encoder is not laid out latent by latent"
    arrays = [vector[lane].numpy() for vector in vectors]
    if len(arrays) < 2:
        arrays.append(np.zeros(dictionary.width, np.float32))
    return latents.Parameters(w_enc[lane].mT.numpy(), w_dec[lane].numpy(), *arrays)


def _thresholds(dictionary: Dictionary, lane: int) -> np.ndarray:
    unit = dictionary.unit
    if not isinstance(unit, JumpReLU):
        return np.zeros(dictionary.width, np.float32)
    # A copy: thresholds move in the step, and its entries were chosen by those before.
    theta: np.ndarray = unit.threshold.detach()[lane].clone().numpy()
    return theta
