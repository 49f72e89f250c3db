"""One training step that touches only active entries and those inside the window, on CPUs.

    1. each block of rows: products tile by tile, entries, reconstruction, errors (`LaneStep.rows`)
    2. entries are sorted by latent (counting sort)
    3. each range of latents: gradients, projection, Adam, norms (`latents.update_latents`);
       the skip connection beside them
    4. b_dec, from parts summed in a fixed order

It equals the dense step `method.loss` + Adam with beta1 = 0 up to the order of sums: a latent
without an entry has no gradient, and Adam without a first moment leaves it where it is. Blocks
and ranges do not depend on the number of threads, so neither do the results.
"""

# S stack of dictionaries, B rows of a batch, R rows of a block, D width of an input, O of an
# output, M latents

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels.cpu import Floats
from tenfold.rooms.jumprelu.kernels.entries import Block
from tenfold.rooms.jumprelu.kernels.lane_arrays import Views, memory_of, view_lane
from tenfold.rooms.jumprelu.kernels.lane_step import LaneStep, Now
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.workers import Room, Task, pool_of, single_threaded
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, JumpReLU, TopK

GUESS = 0.8
"""BatchTopK looks at entries above this share of its running threshold first."""


class SparseStep:
    """The sparse step of a stack of dictionaries.

    Args:
        dictionary: a stack in training form, float32 on the CPU; `lay_out` has been called.
        chosen: the loss, with its options resolved.
        moments: Adam's state.
        threads: how many workers.
    """

    def __init__(
        self, dictionary: Dictionary, chosen: config.Method, moments: Moments, *, threads: int
    ) -> None:
        self.dictionary, self.moments, self.threads = dictionary, moments, threads
        self.has_aux = bool(getattr(chosen, "aux_weight", 0.0))
        self.active = np.zeros(dictionary.b_enc.shape, np.int32)
        """On how many rows of the batch each latent was active, [S, M]."""
        self.lanes = [LaneStep(dictionary, chosen, moments, active) for active in self.active]
        self._no_thresholds = np.zeros(dictionary.b_enc.shape, np.float32)
        self._memory: tuple[int, ...] = ()
        self._views: list[Views] = []

    @torch.no_grad()
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
            x_SBD: raw inputs.
            y_SBO: raw targets of transcoders; None rebuilds the inputs.
            setting: prices, targets and what is dead.
            rate: Adam's step size.
            densest: share of entries above which nothing is done.

        Returns:
            The terms, or None if more than `densest` of the first rows' pre-activations are
            entries, so that the dense step is faster.
        """
        # Products outside the tasks too are then the same for any number of threads.
        with single_threaded():
            self._begin(x_SBD, y_SBO, setting)
            if not self._choose(densest):
                return None
            self._move(rate)
            self.moments.sparse_step_taken()
            return self._terms()

    def _begin(self, x_SBD: Tensor, y_SBO: Tensor | None, setting: method.Setting) -> None:
        dictionary, lanes = self.dictionary, range(len(self.lanes))
        self._look()
        unit = dictionary.unit
        theta = self._no_thresholds
        if isinstance(unit, JumpReLU):
            # A copy: thresholds move in the step, and its entries were chosen by those before.
            theta = unit.threshold.detach().clone().numpy()
        ks = unit.k.tolist() if isinstance(unit, TopK | BatchTopK) else [0 for _ in lanes]
        dead = setting.dead.numpy() if self.has_aux else [None for _ in lanes]
        prices, targets = setting.price.tolist(), setting.target_l0.tolist()
        xs = _arrays(x_SBD)
        ys = [None for _ in lanes] if y_SBO is None else _arrays(y_SBO)
        for lane in lanes:
            now = Now(
                views=self._views[lane],
                theta=theta[lane],
                price=prices[lane],
                target_l0=targets[lane],
                k=ks[lane],
                dead=dead[lane],
            )
            self.lanes[lane].begin(xs[lane], ys[lane], dictionary.scale, now)

    def _look(self) -> None:
        """Look at parameters and moments anew if any of them was replaced."""
        memory = memory_of(self.dictionary, self.moments)
        if memory != self._memory:
            lanes = range(len(self.lanes))
            self._views = [view_lane(self.dictionary, self.moments, lane) for lane in lanes]
            self._memory = memory

    def _move(self, rate: float) -> None:
        """Update everything from the entries that were found."""
        for lane in self.lanes:
            lane.arrange(rate)
        self._run(
            functools.partial(lane.place, rows)
            for lane in self.lanes
            for rows in (*lane.rows, *lane.aux_rows)
        )
        tasks: list[Task] = []
        if self.dictionary.w_skip is not None:
            tasks += [lane.update_skip for lane in self.lanes]
        tasks += [
            functools.partial(lane.update, number)
            for lane in self.lanes
            for number in range(len(lane.arrays.ranges))
        ]
        self._run(tasks)
        for lane in self.lanes:
            lane.finish()

    def _run(self, tasks: Iterable[Task]) -> None:
        pool_of(self.threads).run(tasks)

    def _choose(self, densest: float) -> bool:
        """Find entries and rebuild all rows; False if the first blocks are too dense."""
        if isinstance(self.dictionary.unit, BatchTopK):
            return self._choose_of_batch(densest)
        first = [lane.rows[0].block for lane in self.lanes]
        done: list[Block] = []
        dense: list[bool] = []

        def task(lane: LaneStep, number: int, room: Room) -> None:
            if dense:
                return
            lane.choose(lane.rows[number], room)
            if number == 0:
                done.append(first[0])
                if len(done) == len(first) and self._share(first) > densest:
                    dense.append(True)
                    return
            lane.rebuild(number, room)

        blocks = range(len(self.lanes[0].rows))
        tasks = [functools.partial(task, lane, 0) for lane in self.lanes]
        tasks += [
            functools.partial(task, lane, number) for lane in self.lanes for number in blocks[1:]
        ]
        self._run(tasks)
        return not dense

    def _share(self, blocks: list[Block]) -> float:
        rows = sum(len(block) for block in blocks)
        return sum(block.number for block in blocks) / rows / self.dictionary.width

    def _choose_of_batch(self, densest: float) -> bool:
        unit = self.dictionary.unit
        assert isinstance(unit, BatchTopK), "only BatchTopK cuts a whole batch"
        if float(unit.k.float().mean()) / self.dictionary.width > densest:
            return False
        thresholds = unit.threshold.tolist()
        wanting = [
            (lane, GUESS * least) for lane, least in zip(self.lanes, thresholds, strict=True)
        ]
        while wanting:
            for lane, least in wanting:
                lane.look_above(least)
            self._run(
                functools.partial(lane.choose, rows) for lane, _ in wanting for rows in lane.rows
            )
            # Without a guess there are no more candidates to be had.
            wanting = [(lane, 0.0) for lane, least in wanting if not lane.cut() and least > 0]

        def task(lane: LaneStep, number: int, room: Room) -> None:
            lane.drop(number)
            lane.rebuild(number, room)

        self._run(
            functools.partial(task, lane, number)
            for lane in self.lanes
            for number in range(len(lane.rows))
        )
        return True

    def _terms(self) -> method.Terms:
        lanes = self.lanes
        extra = {}
        if isinstance(self.dictionary.unit, BatchTopK):
            extra["smallest"] = torch.tensor([lane.smallest for lane in lanes])
        return method.Terms(
            loss=torch.tensor([lane.loss for lane in lanes], dtype=torch.float32),
            error=torch.tensor([lane.error for lane in lanes], dtype=torch.float32),
            l0=torch.tensor([lane.mean_l0 for lane in lanes], dtype=torch.float32),
            fired=torch.from_numpy(self.active > 0),
            extra=extra,
        )


def _arrays(rows: Tensor) -> list[Floats]:
    """Return the rows of each lane; no copy is made of what is laid out plainly."""
    return [np.ascontiguousarray(lane) for lane in rows.detach().float().numpy()]
