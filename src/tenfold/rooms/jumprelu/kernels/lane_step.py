"""The sparse step of one dictionary of a stack: its tasks, phase by phase."""

# B rows of a batch, R rows of a block, D width of an input, O of an output, M latents

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.kernels import cpu, largest, latents
from tenfold.rooms.jumprelu.kernels.cpu import Floats, Ints
from tenfold.rooms.jumprelu.kernels.entries import choose_above, choose_largest, columns_of
from tenfold.rooms.jumprelu.kernels.lane_arrays import Arrays, Rows, Vector, Views
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.workers import Room
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, JumpReLU, TopK


@dataclass(frozen=True, kw_only=True)
class Now:
    """What a step of one dictionary is given beside its rows."""

    views: Views
    theta: Floats
    """Thresholds before the step, [M]; zeros where there are none."""
    price: float
    target_l0: float
    k: int
    """Of TopK and BatchTopK."""
    dead: NDArray[np.bool_] | None
    """Which latents have not fired for long, [M]; None without an auxiliary loss."""


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """What a dictionary's L0 costs in one batch."""

    value: float = 0.0
    weight_price: float = 0.0
    """dL/dL0 of a row of weight 1."""


def penalty_of(
    kind: str, *, price: float, target_l0: float, mean_l0: float, l0_B: Floats
) -> Penalty:
    """Return a penalty of `method.jumprelu_penalty` and its slope in each row's L0.

    Rows weigh 1, or under `quad_example`, where each has its own price, L0 less the target.
    """
    rows = len(l0_B)
    if kind == "linear":
        return Penalty(value=price * mean_l0, weight_price=price / rows)
    if kind == "quad_batch":
        excess = mean_l0 / target_l0 - 1
        return Penalty(value=price * excess**2, weight_price=2 * price * excess / target_l0 / rows)
    assert kind == "quad_example", f"the sparse step has no penalty {kind!r}"
    weight = 2 * price / target_l0
    squares = float(np.square(l0_B.astype(np.float64) - target_l0).mean())
    return Penalty(value=weight * squares, weight_price=2 * weight / rows)


class LaneStep:
    """The step of one dictionary of the stack: its tasks phase by phase.

    Args:
        dictionary: the stack.
        chosen: the loss, with its options resolved.
        moments: Adam's state.
        active_M: takes the number of rows of a batch on which each latent was active.
    """

    def __init__(
        self, dictionary: Dictionary, chosen: config.Method, moments: Moments, active_M: Ints
    ) -> None:
        self.chosen, self.moments, self.active = chosen, moments, active_M
        unit = dictionary.unit
        self.thresholds, self.largest = isinstance(unit, JumpReLU), isinstance(unit, TopK)
        self.of_batch = isinstance(unit, BatchTopK)
        self.as_log = isinstance(unit, JumpReLU) and unit.as_log
        self.width, self.inner = dictionary.width, dictionary.input_width
        self.outer, self.pre_bias = dictionary.output_width, dictionary.pre_bias
        self.half = 0.5 * getattr(chosen, "bandwidth", 0.0)
        self.by_row = getattr(chosen, "penalty", "") == "quad_example"
        self.step_to_z = getattr(chosen, "step_to_z", False)
        self.aux_k = getattr(chosen, "aux_k", 0) or max(1, self.outer // 2)
        self.zeros = np.zeros(max(self.width, self.inner, self.outer), np.float32)
        self.everyone = np.arange(self.width, dtype=np.int32)
        self.low = np.zeros(self.width, np.float32)
        self.batch = 0

    # Before the phases

    def begin(self, x_BD: Floats, y_BO: Floats | None, scale: float, now: Now) -> None:
        """Take the batch, its divisor and the present parameters."""
        self.x, self.y, self.scale, self.now = x_BD, y_BO, scale, now
        if self.batch != len(x_BD):
            self.batch = len(x_BD)
            self.arrays = Arrays(self.batch, inner=self.inner, outer=self.outer, width=self.width)
            self.ones = np.ones(self.batch, np.float32)
        self.shift = self.start = now.views.b_dec.weights
        if not self.pre_bias:
            self.shift = self.zeros[: self.inner]
        elif y_BO is None:
            # Both x_hat and what is centred hold b_dec: in their difference it cancels.
            self.start = self.zeros[: self.outer]
        if self.thresholds:
            self._look_above(now.theta)
        self._begin_dead()

    def _look_above(self, theta_M: Floats) -> None:
        cpu.lower_bounds(self.now.views.weights.b_enc, theta_M, self.half, self.low)

    def look_above(self, least: float) -> None:
        """Let BatchTopK's blocks choose all entries above `least`."""
        self._look_above(np.full(self.width, least, np.float32))

    def _begin_dead(self) -> None:
        dead, views = self.now.dead, self.now.views
        self.aux_rows: Sequence[Rows] = ()
        if dead is None or not dead.any():
            return
        self.dead = dead.nonzero()[0].astype(np.int32)
        self.dead_columns = columns_of(views.w_enc[self.dead])
        self.dead_bias = views.weights.b_enc[self.dead]
        self.aux_rows = self.arrays.aux_rows

    @property
    def rows(self) -> Sequence[Rows]:
        """Of each block."""
        return self.arrays.rows

    # Phase 1

    def choose(self, rows: Rows, room: Room) -> None:
        """Find the entries of a block; of BatchTopK's, all that `look_above` lets through."""
        block, views = rows.block, self.now.views
        first, last = block.first, block.last
        goal, goal_scale = rows.x.array, 1.0
        if self.y is not None:
            goal, goal_scale = self.y[first:last], self.scale
        cpu.begin_rows(
            self.x[first:last],
            self.scale,
            self.shift,
            rows.x.array,
            goal,
            goal_scale,
            self.start,
            rows.e.array,
        )
        x_RD, b_enc = rows.x.tensor, views.weights.b_enc
        if views.w_skip is not None:
            rows.e.tensor.addmm_(x_RD, views.w_skip)
        if self.largest:
            choose_largest(block, x_RD, views.columns, b_enc, self.now.k, self.everyone, room)
        else:
            choose_above(block, x_RD, views.columns, b_enc, self.low, room)

    def rebuild(self, number: int, room: Room) -> None:
        """Reconstruct the rows of a block and count its entries."""
        rows = self.rows[number]
        window = cpu.Window(self.half, self.by_row, self.now.target_l0, rows.window)
        self._rebuild(rows, self.now.theta, window, everything=self.step_to_z)
        if self.aux_rows:
            self._rebuild_error(rows, self.aux_rows[number], room)

    def _rebuild(
        self, rows: Rows, theta_M: Floats, window: cpu.Window, *, everything: bool
    ) -> None:
        block = rows.block
        block.error = cpu.rebuild_rows(
            block.chosen,
            theta_M,
            self.now.views.weights.w_dec,
            rows.e.array,
            window,
            block.keep(rows.counts, everything=everything),
            rows.l0,
            rows.sums,
        )

    def _rebuild_error(self, main: Rows, aux: Rows, room: Room) -> None:
        """Rebuild a block's errors from its most active dead latents (AuxK)."""
        k = min(self.aux_k, len(self.dead))
        columns, bias = self.dead_columns, self.dead_bias
        choose_largest(aux.block, aux.x.tensor, columns, bias, k, self.dead, room)
        # The goal is x - x_hat, so what the latents start from is x_hat - x.
        aux.e.array[:] = main.e.array
        window = cpu.Window(0.0, False, 0.0, aux.window)
        self._rebuild(aux, self.zeros[: self.width], window, everything=False)

    # Between the phases of BatchTopK

    def cut(self) -> bool:
        """Find the smallest value that BatchTopK keeps; False if the candidates are too few."""
        assert self.of_batch, "only BatchTopK cuts a whole batch"
        wanted = self.now.k * self.batch
        blocks = [rows.block for rows in self.rows]
        values = np.concatenate([block.values[: block.number] for block in blocks])
        self.least, self.allowed = 0.0, [0] * len(blocks)
        if len(values) < wanted:
            return False
        self.least = float(np.partition(values, len(values) - wanted)[len(values) - wanted])
        if self.least <= 0:
            # Fewer are positive than are wanted, and only those count.
            self.least, self.allowed = 0.0, [0] * len(blocks)
            return True
        equal = wanted - int((values > np.float32(self.least)).sum())
        for number, block in enumerate(blocks):
            here = largest.count_equal(block.values, block.number, self.least)
            self.allowed[number] = min(here, equal)
            equal -= self.allowed[number]
        return True

    def drop(self, number: int) -> None:
        """Drop what a batch does not keep."""
        block = self.rows[number].block
        block.number = largest.drop_below(
            block.latents, block.values, block.starts, self.least, self.allowed[number]
        )

    # Phase 2

    def arrange(self, rate: float) -> None:
        """Fix where each latent's entries go, what the rows cost and how far to step."""
        arrays = self.arrays
        cpu.lay_out_latents(arrays.counts[: len(self.rows) + len(self.aux_rows)], arrays.begins)
        self.sorted = arrays.sort_room(int(arrays.begins[-1]))
        self.error = sum(rows.block.error for rows in self.rows) / self.batch
        self.mean_l0 = float(arrays.l0.mean(dtype=np.float64))
        self.penalty = Penalty()
        if isinstance(self.chosen, config.JumpReLU):
            self.penalty = penalty_of(
                self.chosen.penalty,
                price=self.now.price,
                target_l0=self.now.target_l0,
                mean_l0=self.mean_l0,
                l0_B=arrays.l0,
            )
        row_weights = arrays.l0 - np.float32(self.now.target_l0) if self.by_row else self.ones
        self.aux_scale, self.aux_loss = self._auxiliary()
        self.rule = self._rule(rate)
        self.data = latents.Batch(
            arrays.inputs.array, arrays.residuals.array, row_weights, arrays.window
        )

    def _auxiliary(self) -> tuple[float, float]:
        """Return what scales the auxiliary residuals' gradient, and the loss they add."""
        if not self.aux_rows:
            return 0.0, 0.0
        sums = self.arrays.sums[: len(self.rows)]
        mean = sums.sum(axis=0, dtype=np.float64) / self.batch
        variance = self.error - float(mean @ mean)
        if variance <= 0:
            return 0.0, 0.0
        weight = float(getattr(self.chosen, "aux_weight", 0.0)) / variance / self.batch
        return 2 * weight, weight * sum(rows.block.error for rows in self.aux_rows)

    def _rule(self, rate: float) -> latents.Rule:
        moments, chosen = self.moments, self.chosen
        weight = scale = 1.0
        if isinstance(chosen, config.JumpReLU):
            weight, scale = chosen.frequency_weight, chosen.frequency_scale
        return latents.Rule(
            main_scale=2 / self.batch,
            aux_scale=self.aux_scale,
            half=self.half,
            bandwidth=2 * self.half,
            step_to_z=self.step_to_z,
            thresholds=self.thresholds,
            as_log=self.as_log,
            frequency_weight=weight / self.batch if self.thresholds else 0.0,
            frequency_scale=scale * self.batch / 2,
            weight_price=self.penalty.weight_price,
            rate=rate,
            threshold_rate=rate * moments.threshold_rate,
            beta2=moments.betas[1],
            step=moments.steps + 1,
            epsilon=moments.epsilon,
        )

    def place(self, rows: Rows, room: Room) -> None:  # noqa: ARG002 (all tasks take it)
        """Sort the entries of a block to their latents."""
        block, entries = rows.block, self.sorted
        assert block.kept is not None, "the block has not been rebuilt"
        cpu.place_entries(
            block.kept,
            block.size,
            block.first,
            rows.counts,
            entries.rows,
            entries.values,
            entries.slopes,
        )

    # Phases 3 and 4

    def update(self, number: int, room: Room) -> None:  # noqa: ARG002
        """Update a range of latents."""
        first, last = self.arrays.ranges[number]
        now = self.now
        latents.update_latents(
            first,
            last,
            self.sorted,
            self.data,
            now.theta,
            now.views.weights,
            now.views.second,
            now.views.touched,
            self.rule,
            self.active,
            self.arrays.centre_parts[number],
        )

    def update_skip(self, room: Room) -> None:  # noqa: ARG002
        """Update the skip connection; latents do not depend on it any more."""
        skip, arrays = self.now.views.skip, self.arrays
        assert skip is not None, "the dictionary has no skip connection"
        slope = (
            arrays.inputs.tensor.T @ arrays.residuals.tensor[: self.batch]
        ) * self.rule.main_scale
        self._step(skip, slope.flatten().numpy())

    def finish(self) -> None:
        """Update b_dec."""
        sums = self.arrays.sums[: len(self.rows)]
        gradient = sums.sum(axis=0) * np.float32(self.rule.main_scale)
        if self.pre_bias:
            gradient += self.arrays.centre_parts.sum(axis=0)
        self._step(self.now.views.b_dec, gradient)

    def _step(self, vector: Vector, gradient: Floats) -> None:
        rule = self.rule
        latents.update_vector(
            vector.weights, vector.second, gradient, rule.rate, rule.beta2, rule.step, rule.epsilon
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
        blocks = [rows.block for rows in self.rows]
        kept = [block.values[: block.number] for block in blocks if block.number]
        return min((float(values.min()) for values in kept), default=float("inf"))
