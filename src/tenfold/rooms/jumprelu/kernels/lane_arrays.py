"""What the sparse step of one dictionary reads and writes, as arrays that are made once.

A view of a tensor costs as much as a loop over a few thousand numbers, so views are made when
memory changes and not with every step.
"""

# S stack of dictionaries, B rows of a batch, R rows of a block, N blocks, D width of an input,
# O of an output, M latents, T latents of a tile

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tenfold.rooms.jumprelu.kernels import latents
from tenfold.rooms.jumprelu.kernels.cpu import Floats, Ints, Longs
from tenfold.rooms.jumprelu.kernels.entries import Block, columns_of, rows_of_block
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.workers import Memory
from tenfold.rooms.jumprelu.model import Dictionary, JumpReLU

RANGES, LEAST_LATENTS = 32, 256
"""Parts of the latents that are updated independently: at most so many, none much smaller."""


def ranges_of(width: int) -> list[tuple[int, int]]:
    """Return the first latent and one past the last of each part; of the width alone."""
    step = max(LEAST_LATENTS, -(-width // RANGES))
    return [(first, min(first + step, width)) for first in range(0, width, step)]


class Vector(NamedTuple):
    """A parameter that all rows share, and its second moments; flat."""

    weights: Floats
    second: Floats


@dataclass(frozen=True, kw_only=True)
class Views:
    """One dictionary of a stack and Adam's state of it, in the tensors' own memory."""

    weights: latents.Parameters
    second: latents.Parameters
    touched: Longs
    w_enc: Tensor
    """[M, D]."""
    columns: Sequence[Tensor]
    """Of `columns_of`."""
    b_dec: Vector
    skip: Vector | None
    w_skip: Tensor | None
    """[D, O]."""


def memory_of(dictionary: Dictionary, moments: Moments) -> tuple[int, ...]:
    """Return where everything is that `view_lane` looks at."""
    parameters = list(dictionary.parameters())
    tensors = [*parameters, *(moments.second(one) for one in parameters), moments.touched]
    return tuple(tensor.data_ptr() for tensor in tensors)


def view_lane(dictionary: Dictionary, moments: Moments, lane: int) -> Views:
    """Return the arrays of one dictionary, valid while `memory_of` stays the same."""
    w_skip = dictionary.w_skip
    per_latent: list[Tensor] = [dictionary.w_enc, dictionary.w_dec, dictionary.b_enc]
    if isinstance(dictionary.unit, JumpReLU):
        per_latent.append(dictionary.unit.raw)
    w_enc = dictionary.w_enc.detach()[lane].mT
    return Views(
        weights=_arrays([one.detach()[lane] for one in per_latent]),
        second=_arrays([moments.second(one)[lane] for one in per_latent]),
        touched=moments.touched[lane].numpy(),
        w_enc=w_enc,
        columns=columns_of(w_enc),
        b_dec=_vector(dictionary.b_dec, moments, lane),
        skip=None if w_skip is None else _vector(w_skip, moments, lane),
        w_skip=None if w_skip is None else w_skip.detach()[lane],
    )


def _arrays(tensors: list[Tensor]) -> latents.Parameters:
    w_enc, w_dec, *vectors = tensors
    assert w_enc.mT.is_contiguous(), "the encoder is not laid out latent by latent"
    arrays = [vector.numpy() for vector in vectors]
    if len(arrays) < 2:
        arrays.append(np.zeros(len(w_dec), np.float32))
    return latents.Parameters(w_enc.mT.numpy(), w_dec.numpy(), *arrays)


def _vector(parameter: Tensor, moments: Moments, lane: int) -> Vector:
    second = moments.second(parameter)[lane]
    return Vector(parameter.detach()[lane].view(-1).numpy(), second.view(-1).numpy())


class Rows(NamedTuple):
    """What the task of one block of rows writes to."""

    block: Block
    x: Memory
    """Encoder inputs [R, D], of an auxiliary block those of its rows."""
    e: Memory
    """Residuals [R, O]."""
    l0: Floats
    sums: Floats
    """Sum of the residuals, [O]."""
    counts: Ints
    """Kept entries of each latent, [M]."""
    window: Floats
    """Sums of `cpu.Window`, [M, 3]."""


class Arrays:
    """What a step writes besides parameters; of one batch size.

    Attributes:
        rows: of each block.
        aux_rows: of each block once more, for its most active dead latents; their residuals
            are rows B..2B.
        inputs: encoder inputs [B, D].
        residuals: [2B, O].
        l0: [B].
        sums: [2N, O], see `Rows`.
        counts: [2N, M], see `Rows`.
        window: [N, M, 3].
        begins: where each latent's entries begin when sorted, [M + 1].
        ranges: from `ranges_of`.
        centre_parts: each range's part of the gradient of b_dec through the encoder.
    """

    def __init__(self, batch: int, *, inner: int, outer: int, width: int) -> None:
        self.batch, self.width = batch, width
        size = rows_of_block(batch, width)
        spans = [(first, min(first + size, batch)) for first in range(0, batch, size)]
        number = len(spans)
        self.inputs = _memory(torch.empty(batch, inner))
        self.residuals = _memory(torch.empty(2 * batch, outer))
        self.l0, self._aux_l0 = np.zeros((2, batch), np.float32)
        self.sums = np.zeros((2 * number, outer), np.float32)
        self.counts = np.zeros((2 * number, width), np.int32)
        self.window = np.zeros((number, width, 3), np.float32)
        self.rows = [self._rows(index, *span) for index, span in enumerate(spans)]
        self.aux_rows = [
            self._aux_rows(number + index, rows) for index, rows in enumerate(self.rows)
        ]
        self.begins = np.zeros(width + 1, np.int64)
        self.ranges = ranges_of(width)
        self.centre_parts = np.zeros((len(self.ranges), inner), np.float32)
        self.sorted = self._room_for(0)

    def _rows(self, index: int, first: int, last: int) -> Rows:
        return Rows(
            block=Block(first, last),
            x=_memory(self.inputs.tensor[first:last]),
            e=_memory(self.residuals.tensor[first:last]),
            l0=self.l0[first:last],
            sums=self.sums[index],
            counts=self.counts[index],
            window=self.window[index],
        )

    def _aux_rows(self, index: int, main: Rows) -> Rows:
        first, last = main.block.first + self.batch, main.block.last + self.batch
        return Rows(
            block=Block(first, last),
            x=main.x,
            e=_memory(self.residuals.tensor[first:last]),
            l0=self._aux_l0[main.block.rows],
            sums=self.sums[index],
            counts=self.counts[index],
            window=np.zeros((0, 3), np.float32),
        )

    def sort_room(self, number: int) -> latents.Sorted:
        """Return room for so many sorted entries; what it held is lost."""
        if len(self.sorted.rows) < number:
            self.sorted = self._room_for(number + number // 4)
        return self.sorted

    def _room_for(self, room: int) -> latents.Sorted:
        return latents.Sorted(
            self.begins,
            np.empty(room, np.int32),
            np.empty(room, np.float32),
            np.empty(room, np.float32),
        )


def _memory(tensor: Tensor) -> Memory:
    return Memory(tensor, tensor.numpy())
