"""One training step that touches only active entries and those inside the window, on CPUs.

    1. each block of rows: products tile by tile, entries, reconstruction, errors (`LaneStep.rows`)
    2. entries are sorted by latent (counting sort)
    3. each range of latents: gradients, projection, Adam, norms (`latents.update_latents`)
    4. b_dec and the skip connection, from parts summed in a fixed order

It equals the dense step `method.loss` + Adam with beta1 = 0 up to the order of sums: a latent
without an entry has no gradient, and Adam without a first moment leaves it where it is. Blocks
and ranges do not depend on the number of threads, so neither do the results.
"""

# S stack of dictionaries, B rows of a batch, R rows of a block, D width of an input, O of an
# output, M latents

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels.entries import Block
from tenfold.rooms.jumprelu.kernels.lane_step import LaneStep
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.workers import Room, Task, pool_of
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary

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
        self.dictionary, self.chosen, self.moments = dictionary, chosen, moments
        self.threads = threads
        self.lanes = [LaneStep(dictionary, chosen, lane) for lane in range(len(dictionary.b_enc))]

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
        for index, lane in enumerate(self.lanes):
            target = None if y_SBO is None else y_SBO[index].float().contiguous()
            lane.begin(x_SBD[index].float().contiguous(), target, self.moments, setting)
        if not self._choose(densest):
            return None
        for lane in self.lanes:
            lane.arrange()
        self._run("place")
        rules = [lane.rule(rate=rate) for lane in self.lanes]
        pool_of(self.threads).run(
            [
                functools.partial(lane.update, number, rule=rule)
                for lane, rule in zip(self.lanes, rules, strict=True)
                for number in range(len(lane.ranges))
            ]
        )
        for lane, rule in zip(self.lanes, rules, strict=True):
            lane.finish(rule)
        self.moments.sparse_step_taken()
        return self._terms()

    def _choose(self, densest: float) -> bool:
        """Find entries and rebuild all rows; False if the first blocks are too dense."""
        if isinstance(self.dictionary.unit, BatchTopK):
            return self._choose_of_batch(densest)
        first: list[Block] = [lane.blocks[0] for lane in self.lanes]
        done: list[Block] = []
        dense: list[bool] = []

        def task(lane: LaneStep, number: int, room: Room) -> None:
            if dense:
                return
            lane.choose(number, room)
            if number == 0:
                done.append(first[0])
                if len(done) == len(first) and self._share(first) > densest:
                    dense.append(True)
                    return
            lane.rebuild(number, room)

        blocks = range(len(self.lanes[0].blocks))
        tasks: list[Task] = [
            functools.partial(task, lane, number) for number in blocks[:1] for lane in self.lanes
        ]
        tasks += [
            functools.partial(task, lane, number) for lane in self.lanes for number in blocks[1:]
        ]
        pool_of(self.threads).run(tasks)
        return not dense

    def _share(self, blocks: list[Block]) -> float:
        rows = sum(len(block) for block in blocks)
        return sum(block.number for block in blocks) / rows / self.dictionary.width

    def _choose_of_batch(self, densest: float) -> bool:
        unit = self.dictionary.unit
        assert isinstance(unit, BatchTopK), "only BatchTopK cuts a whole batch"
        if float(unit.k.float().mean()) / self.dictionary.width > densest:
            return False
        wanting = [(lane, GUESS * float(unit.threshold[lane.lane])) for lane in self.lanes]
        while wanting:
            pool_of(self.threads).run(
                [
                    functools.partial(lane.choose, number, least=least)
                    for lane, least in wanting
                    for number in range(len(lane.blocks))
                ]
            )
            # Without a guess there are no more candidates to be had.
            wanting = [(lane, 0.0) for lane, least in wanting if not lane.cut() and least > 0]

        def task(lane: LaneStep, number: int, room: Room) -> None:
            lane.drop(number)
            lane.rebuild(number, room)

        pool_of(self.threads).run(
            [
                functools.partial(task, lane, number)
                for lane in self.lanes
                for number in range(len(lane.blocks))
            ]
        )
        return True

    def _run(self, phase: str) -> None:
        pool_of(self.threads).run(
            [
                functools.partial(getattr(lane, phase), number)
                for lane in self.lanes
                for number in range(len(lane.blocks) + len(lane.used_aux))
            ]
        )

    def _terms(self) -> method.Terms:
        lanes = self.lanes
        extra = {}
        if isinstance(self.dictionary.unit, BatchTopK):
            extra["smallest"] = torch.tensor([lane.smallest for lane in lanes])
        return method.Terms(
            loss=torch.tensor([lane.loss for lane in lanes], dtype=torch.float32),
            error=torch.tensor([lane.error for lane in lanes], dtype=torch.float32),
            l0=torch.tensor([float(lane.l0.mean(dtype=np.float64)) for lane in lanes]),
            fired=torch.from_numpy(np.stack([lane.active > 0 for lane in lanes])),
            extra=extra,
        )
