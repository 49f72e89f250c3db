"""Which entries a batch has on a GPU, and in which order: by row, then by latent.

An entry is a pair of row and latent that is active or inside the window of the pseudo-gradient.
The product of the batch with the encoder is formed tile by tile and never stored. Each row's
entries are written segment by segment, a segment for each group of latents, into room that
the last step showed to be enough; a segment that overflows is counted to its end, and the
pass is repeated with room for all.
"""

# S stack of dictionaries, B rows of a batch, D width, M latents, N entries, G groups of latents,
# C room of a segment

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
from torch import Tensor

from tenfold.rooms.jumprelu.kernels import triton_loops as loops
from tenfold.rooms.jumprelu.model import Dictionary

Precision = Literal["ieee", "tf32x3", "tf32"]
"""How the encoder's products are formed: float32, float32 from three tf32, or tf32 alone."""

LEAST_BLOCK = 16
"""The smallest side of a matrix product in Triton."""
PROGRAMS = 1_024
"""Programs of a launch that fill a large GPU several times over."""
SPARE = 4
"""Room of a segment, as a multiple of what segments of the last step had on average."""
LAUNCH: dict[str, Any] = {"num_warps": 8, "enable_fp_fusion": True}
"""Hardly any registers spill at widths up to 4,096; fusion is named because its default moves."""


@dataclass(frozen=True, kw_only=True)
class Entries:
    """The entries of a batch, row after row, latents in order within a row."""

    latents: Tensor
    """Latent plus lane times M, int32 [N]."""
    rows: Tensor
    """Row plus lane times B, int32 [N]."""
    values: Tensor
    """z, [N]."""
    row_starts: Tensor
    """Where each row of each lane begins, int64 [S B + 1]."""


class EntryFinder:
    """Finds the entries of one batch after another, and remembers what room they need.

    Args:
        dictionary: a stack; its encoder is laid out latent by latent.
        half: half the width of the window, in units of the scaled input.
        precision: how products are formed; thresholds are compared in float32.
    """

    def __init__(self, dictionary: Dictionary, *, half: float, precision: Precision) -> None:
        self.dictionary, self.half = dictionary, half
        self.precision: Precision = precision
        self.num_entries = 0
        """Entries of the last batch, over all dictionaries."""
        self._capacity = LEAST_BLOCK

    def __call__(self, x_SBD: Tensor, theta_SM: Tensor, *, densest: float = 1.0) -> Entries | None:
        """Return the entries that are active or in the window, or None if too many are (k1)."""
        counts, latents, values = self._select(x_SBD, theta_SM)
        total, most = torch.stack([counts.sum(), counts.max()]).tolist()
        if total > densest * x_SBD[..., 0].numel() * self.dictionary.width:
            return None
        if most > self._capacity:
            self._capacity = power(most)
            counts, latents, values = self._select(x_SBD, theta_SM)
        packed = self._pack(counts, latents, values, total=total)
        mean = total / counts.numel()
        self._capacity = max(LEAST_BLOCK, power(max(SPARE * mean, 1.25 * most)))
        self.num_entries = total
        return packed

    def _select(self, x_SBD: Tensor, theta_SM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dictionary = self.dictionary
        num_lanes, num_rows, width_in = x_SBD.shape
        block_rows = min(64, max(LEAST_BLOCK, power(num_rows)))
        block_latents = min(128, max(LEAST_BLOCK, power(dictionary.width)))
        tiles = triton.cdiv(num_rows, block_rows)
        wanted = max(1, PROGRAMS // (tiles * num_lanes))
        blocks = triton.cdiv(dictionary.width, block_latents)
        per_group = triton.cdiv(blocks, min(wanted, blocks)) * block_latents
        groups = triton.cdiv(dictionary.width, per_group)
        new = x_SBD.new_empty
        counts = new(num_lanes, num_rows, groups, dtype=torch.int32)
        latents = new(num_lanes, num_rows, groups, self._capacity, dtype=torch.int32)
        values = new(num_lanes, num_rows, groups, self._capacity)
        assert x_SBD.stride(2) == 1, "rows lie whole in memory"
        loops.select_entries[tiles, groups, num_lanes](
            x_SBD,
            dictionary.b_dec,
            dictionary.w_enc.mT,
            dictionary.b_enc,
            theta_SM,
            latents,
            values,
            counts,
            num_rows,
            width_in,
            dictionary.width,
            per_group,
            self.half,
            self._capacity,
            x_SBD.stride(0),
            x_SBD.stride(1),
            PRE_BIAS=dictionary.pre_bias,
            PRECISION=self.precision,
            BLOCK_B=block_rows,
            BLOCK_M=block_latents,
            BLOCK_D=min(32, max(LEAST_BLOCK, power(width_in))),
            **LAUNCH,
        )
        return counts, latents, values

    def _pack(self, counts: Tensor, latents: Tensor, values: Tensor, *, total: int) -> Entries:
        num_lanes, num_rows, groups = counts.shape
        starts = torch.zeros(counts.numel() + 1, dtype=torch.int64, device=counts.device)
        torch.cumsum(counts.flatten(), dim=0, out=starts[1:])
        entries = Entries(
            latents=latents.new_empty(total),
            rows=latents.new_empty(total),
            values=values.new_empty(total),
            row_starts=starts[::groups].contiguous(),
        )
        loops.pack_entries[num_rows, num_lanes](
            latents,
            values,
            counts,
            starts,
            entries.latents,
            entries.values,
            entries.rows,
            num_rows,
            self.dictionary.width,
            self._capacity,
            GROUPS=groups,
            BLOCK=min(128, self._capacity),
        )
        return entries


def frequencies(entries: Entries, theta_SM: Tensor, *, num_rows: int) -> Tensor:
    """Return on what share of the rows each latent is active, [S, M]."""
    latents = entries.latents.long()
    active = latents[entries.values > theta_SM.flatten()[latents]]
    return torch.bincount(active, minlength=theta_SM.numel()).view_as(theta_SM) / num_rows


def sort_by_latent(latents: Tensor, *, num_latents: int) -> tuple[Tensor, Tensor]:
    """Return the order of entries by latent, rows kept in order, and where each latent begins.

    Args:
        latents: of each entry, int32 [N].
        num_latents: of all lanes together.

    Returns:
        Places of entries, int64 [N], and starts, int64 [num_latents + 1].
    """
    sorted_latents, order = torch.sort(latents, stable=True)
    edges = torch.arange(num_latents + 1, dtype=latents.dtype, device=latents.device)
    return order, torch.searchsorted(sorted_latents, edges)


def power(number: float) -> int:
    """Return the least power of two that is no smaller."""
    return 1 << max(0, math.ceil(number) - 1).bit_length()
