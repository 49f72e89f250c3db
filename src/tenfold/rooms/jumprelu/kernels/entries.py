"""Entries of a block of rows, and the two ways to choose them while products stream by.

The product of a block with the whole encoder is never stored: one tile of latents at a time is
computed into memory that stays in a core's cache, and only its entries are kept.
"""

# R rows of a block, T latents of a tile, D width of an input, M latents

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from tenfold.rooms.jumprelu.kernels import cpu, largest
from tenfold.rooms.jumprelu.kernels.cpu import Floats, Ints
from tenfold.rooms.jumprelu.kernels.workers import Room

TILE = 1024
"""Latents of a tile: with 256 rows a megabyte of products, about what a core's cache holds."""
MOST_ROWS, LEAST_ROWS, BLOCKS = 256, 64, 8
LEAST_PRODUCTS = 1 << 16
"""Pre-activations of a block below which calling its loops would take as long as running them."""


def rows_of_block(batch: int, width: int = TILE) -> int:
    """Return R: a share of the batch, in a range where products run at full speed.

    It depends on batch and width alone, so that sums are the same for any number of threads.
    """
    share = -(-batch // BLOCKS)
    least = max(LEAST_ROWS, LEAST_PRODUCTS // width)
    return min(MOST_ROWS, max(least, -(-share // 16) * 16))


def columns_of(w_enc_MD: torch.Tensor) -> Sequence[torch.Tensor]:
    """Return the encoder's columns tile by tile, [D, T], in the memory of `w_enc_MD`."""
    return [w_enc_MD[first : first + TILE].T for first in range(0, len(w_enc_MD), TILE)]


class Block:
    """The entries of rows `first` to `last` of a batch.

    Attributes:
        latents: of each entry.
        values: z of each entry.
        starts: where each row of each tile begins.
        number: how many there are.
        chosen: these arrays, as the loops take them.
        kept: what the latents need of them.
        error: sum of the squared errors of its rows.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.size = last - first
        self.number = 0
        self.error = 0.0
        self.starts = self.kept_starts = np.zeros(1, np.int64)
        self._make_room(0)
        self.kept: cpu.Kept | None = None

    @property
    def rows(self) -> slice:
        """Which rows of the batch."""
        return slice(self.first, self.last)

    def __len__(self) -> int:
        return self.size

    def begin(self, *, tiles: int, room: int) -> None:
        """Forget all entries, and make room for so many."""
        self.number = 0
        segments = tiles * self.size + 1
        if len(self.starts) != segments:
            self.starts = np.zeros(segments, np.int64)
            self.kept_starts = np.zeros(segments, np.int64)
            self.kept = None
            self._make_room(max(room, len(self.latents)))
        elif len(self.latents) < room:
            self._make_room(room)

    def _make_room(self, room: int) -> None:
        self.latents = np.empty(room, np.int32)
        self.values = np.empty(room, np.float32)
        self.slopes = np.empty(room, np.float32)
        self.chosen = cpu.Chosen(self.latents, self.values, self.slopes, self.starts)

    def keep(self, counts: Ints, *, everything: bool) -> cpu.Kept:
        """Return room for what the latents need of the entries there are now.

        Args:
            counts: takes the entries of each latent; the same array in every step.
            everything: whether entries that are not active are kept; the same in every step.
        """
        if self.kept is None or len(self.kept.latents) <= self.number:
            room = self.number + self.number // 4 + 1
            self.kept = cpu.Kept(
                everything,
                np.empty(room, np.int32),
                np.empty(room, np.float32),
                np.empty(room, np.float32),
                self.kept_starts,
                counts,
            )
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
    return _multiply(x_RD, columns_of(w_enc_MD), room)


def _multiply(
    x_RD: torch.Tensor, columns: Sequence[torch.Tensor], room: Room
) -> Iterator[tuple[int, Floats]]:
    num_rows = x_RD.shape[0]
    for tile, columns_DT in enumerate(columns):
        product = room.take("product", num_rows, columns_DT.shape[1])
        torch.mm(x_RD, columns_DT, out=product.tensor)
        yield TILE * tile, product.array


def choose_above(
    block: Block,
    x_RD: torch.Tensor,
    columns: Sequence[torch.Tensor],
    b_enc_M: Floats,
    low_M: Floats,
    room: Room,
) -> None:
    """Fill a block with the entries z > theta - half, and what rounding may hide.

    Args:
        block: takes the entries.
        x_RD: encoder inputs.
        columns: encoder, from `columns_of`.
        b_enc_M: its biases.
        low_M: from `cpu.lower_bounds`.
        room: memory of this worker.
    """
    size = block.size
    block.begin(tiles=len(columns), room=size * max(64, len(b_enc_M) // 64) + TILE)
    for tile, (first, product) in enumerate(_multiply(x_RD, columns, room)):
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
                tile * size,
            )
            if fill == cpu.OVERFLOW:
                block.grow()
        block.number = fill


def choose_largest(
    block: Block,
    x_RD: torch.Tensor,
    columns: Sequence[torch.Tensor],
    b_enc_M: Floats,
    k: int,
    names: Ints,
    room: Room,
) -> None:
    """Fill a block with the k largest positive z of each row.

    Args:
        block: takes the entries.
        x_RD: encoder inputs.
        columns: encoder, or some of its latents, from `columns_of`.
        b_enc_M: their biases.
        k: how many of a row are kept.
        names: which latents they are.
        room: memory of this worker.
    """
    size, places = block.size, 2 * k + 32
    block.begin(tiles=1, room=size * k)
    values = room.take("candidates", size, places).array
    latents = room.take("candidate latents", size, places, dtype=torch.int32).array
    scratch = room.take("scratch", places).array
    fill, bound = np.zeros(size, np.int64), np.zeros(size, np.float32)
    for first, product in _multiply(x_RD, columns, room):
        largest.collect_largest(product, first, b_enc_M, k, values, latents, fill, bound, scratch)
    block.number = largest.emit_largest(
        k, values, latents, fill, scratch, names, block.latents, block.values, block.starts
    )
