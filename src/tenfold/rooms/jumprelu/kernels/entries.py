"""Entries of a block of rows, and the two ways to choose them while products stream by.

The product of a block with the whole encoder is never stored: one tile of latents at a time is
computed into memory that stays in a core's cache, and only its entries are kept.
"""

# R rows of a block, T latents of a tile, D width of an input, M latents

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from tenfold.rooms.jumprelu.kernels import cpu, largest
from tenfold.rooms.jumprelu.kernels.cpu import Floats, Ints
from tenfold.rooms.jumprelu.kernels.workers import Room

TILE = 1024
"""Latents of a tile: with 256 rows a megabyte of products, about what a core's cache holds."""
MOST_ROWS, LEAST_ROWS, BLOCKS = 256, 64, 8


def rows_of_block(batch: int) -> int:
    """Return R: a share of the batch, in a range where products run at full speed.

    It depends on the batch alone, so that sums are the same for any number of threads.
    """
    share = -(-batch // BLOCKS)
    return min(MOST_ROWS, max(LEAST_ROWS, -(-share // 16) * 16))


class Block:
    """The entries of rows `first` to `last` of a batch.

    Attributes:
        latents: of each entry.
        values: z of each entry.
        starts: where each row of each tile begins.
        number: how many there are.
        error: sum of the squared errors of its rows.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.number = 0
        self.error = 0.0
        self.starts = np.zeros(1, np.int64)
        self._make_room(0)
        self.kept_latents = np.empty(0, np.int32)
        self.kept_values = self.kept_slopes = np.empty(0, np.float32)
        self.kept_starts = np.zeros(1, np.int64)

    @property
    def rows(self) -> slice:
        """Which rows of the batch."""
        return slice(self.first, self.last)

    def __len__(self) -> int:
        return self.last - self.first

    def begin(self, *, tiles: int, room: int) -> None:
        """Forget all entries, and make room for so many."""
        self.number = 0
        segments = tiles * len(self) + 1
        if len(self.starts) != segments:
            self.starts = np.zeros(segments, np.int64)
            self.kept_starts = np.zeros(segments, np.int64)
        if len(self.latents) < room:
            self._make_room(room)

    def _make_room(self, room: int) -> None:
        self.latents = np.empty(room, np.int32)
        self.values = np.empty(room, np.float32)
        self.slopes = np.empty(room, np.float32)

    @property
    def chosen(self) -> cpu.Chosen:
        """The entries."""
        return cpu.Chosen(self.latents, self.values, self.slopes, self.starts)

    def keep(self, counts: Ints, *, everything: bool) -> cpu.Kept:
        """Return room for what the latents need of the entries there are now."""
        if len(self.kept_latents) <= self.number:
            room = self.number + self.number // 4 + 1
            self.kept_latents = np.empty(room, np.int32)
            self.kept_values = np.empty(room, np.float32)
            self.kept_slopes = np.empty(room, np.float32)
        arrays = self.kept_latents, self.kept_values, self.kept_slopes, self.kept_starts
        self.kept = cpu.Kept(everything, *arrays, counts)
        return self.kept

    def grow(self) -> None:
        """Double the room and keep what is there."""
        latents, values = self.latents, self.values
        self._make_room(2 * len(latents) + 1)
        self.latents[: len(latents)] = latents
        self.values[: len(values)] = values


def tiles_of(
    x_RD: torch.Tensor, w_enc_MD: torch.Tensor, room: Room
) -> Iterator[tuple[int, Floats]]:
    """Yield the first latent of each tile and the products of its columns [R, T]."""
    width = len(w_enc_MD)
    for first in range(0, width, TILE):
        columns = w_enc_MD[first : first + TILE]
        product = room.take("product", len(x_RD), len(columns))
        torch.mm(x_RD, columns.T, out=product)
        yield first, product.numpy()


def choose_above(
    block: Block,
    x_RD: torch.Tensor,
    w_enc_MD: torch.Tensor,
    b_enc_M: Floats,
    theta_M: Floats,
    half: float,
    room: Room,
) -> None:
    """Fill a block with the entries z > theta - half, and what rounding may hide."""
    width = len(b_enc_M)
    block.begin(tiles=-(-width // TILE), room=len(block) * max(64, width // 64) + TILE)
    low_M = room.take("low", width).numpy()
    cpu.lower_bounds(b_enc_M, theta_M, half, low_M)
    for first, product in tiles_of(x_RD, w_enc_MD, room):
        segment = first // TILE * len(block)
        fill = cpu.OVERFLOW
        while fill == cpu.OVERFLOW:
            fill = cpu.select_above(
                product,
                first,
                b_enc_M,
                low_M,
                block.latents,
                block.values,
                block.starts,
                segment,
            )
            if fill == cpu.OVERFLOW:
                block.grow()
        block.number = fill


def choose_largest(
    block: Block,
    x_RD: torch.Tensor,
    w_enc_MD: torch.Tensor,
    b_enc_M: Floats,
    k: int,
    names: Ints,
    room: Room,
) -> None:
    """Fill a block with the k largest positive z of each row.

    Args:
        block: takes the entries.
        x_RD: encoder inputs.
        w_enc_MD: encoder, or some of its latents.
        b_enc_M: their biases.
        k: how many of a row are kept.
        names: which latents they are.
        room: memory of this worker.
    """
    block.begin(tiles=1, room=len(block) * k)
    shape = (len(block), 2 * k + 32)
    values = room.take("candidates", *shape).numpy()
    latents = room.take("candidate latents", *shape, dtype=torch.int32).numpy()
    scratch = room.take("scratch", shape[1]).numpy()
    fill, bound = np.zeros(len(block), np.int64), np.zeros(len(block), np.float32)
    for first, product in tiles_of(x_RD, w_enc_MD, room):
        largest.collect_largest(product, first, b_enc_M, k, values, latents, fill, bound, scratch)
    block.number = largest.emit_largest(
        k, values, latents, fill, scratch, names, block.latents, block.values, block.starts
    )
