"""How latents relate: to each other by direction and firing, and to tokens by scores."""

# M latents, D width, V vocabulary, N neighbours

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tenfold.rooms.scope.dash import show_kernels
from tenfold.rooms.scope.dash.kernels import Floats, Ints, Longs
from tenfold.rooms.scope.dash.scan import Scan

NEAREST = 8
"""Latents and tokens that are named in each list."""
_PIECE = 512
# Heads before their output projection live in another space, even if it is as wide.
_HEADS = re.compile(r"(attn|attention).*:in(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """For each latent some others or tokens, the first the nearest; both [M, N]."""

    ids: Ints
    values: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Companions:
    """For each latent those that fire on the same rows."""

    ids: Ints
    """[M, N]; -1 where there is none."""
    together: Longs
    """Sampled rows with both, [M, N]."""
    fired: Longs
    """Sampled rows with the latent, [M]."""
    rows: int
    """Sampled rows."""

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """Rows with both over rows with either, [M, N]; 0 where there is none."""
        either = self.fired[:, None] + self.fired[self.ids] - self.together
        return np.where(self.ids >= 0, self.together / np.maximum(either, 1), 0.0)

    @property
    def information(self) -> NDArray[np.float64]:
        """Pointwise mutual information in bits, [M, N]; 0 where there is none."""
        expected = self.fired[:, None] * self.fired[self.ids] / max(self.rows, 1)
        seen = self.ids >= 0
        ratio = np.where(seen, self.together, 1) / np.where(seen, expected, 1)
        return np.log2(ratio)


def find_companions(scan: Scan) -> Companions:
    """Find the latents that fire together most, by Jaccard's index on the sampled rows."""
    width = len(scan.counts.fired)
    number = min(NEAREST, max(width - 1, 1))
    ids, together = np.full((width, number), -1, np.int32), np.zeros((width, number), np.int64)
    fired = np.zeros(width, np.int64)
    show_kernels.find_companions(
        scan.sampled, scan.sampled_starts, width, number, ids, together, fired
    )
    rows = len(scan.sampled_starts) - 1
    return Companions(ids=ids, together=together, fired=fired, rows=rows)


def nearest(directions_MD: Tensor) -> Ranked:
    """Return the latents whose directions are most alike, by cosine; never a latent itself."""
    unit_MD = F.normalize(directions_MD.float(), dim=1)
    number = min(NEAREST, max(len(unit_MD) - 1, 1))
    ids, values = [], []
    for first in range(0, len(unit_MD), _PIECE):
        cosine = unit_MD[first : first + _PIECE] @ unit_MD.T
        own = torch.arange(len(cosine))
        cosine[own, first + own] = -torch.inf
        found = cosine.topk(min(number, cosine.shape[1]), dim=1)
        ids.append(found.indices)
        values.append(found.values.clamp_min(-1))
    return _ranked(torch.cat(ids), torch.cat(values))


def promoted(w_dec_MD: Tensor, unembedding_DV: Tensor) -> tuple[Ranked, Ranked]:
    """Return the tokens whose scores each latent raises most, and lowers most.

    A score's change is d_i . u_v less its mean over the vocabulary, for one unit of the latent;
    norms and layers between the site and the scores are left out.
    """
    number = min(NEAREST, unembedding_DV.shape[1])
    parts = []
    for first in range(0, len(w_dec_MD), _PIECE):
        effect = w_dec_MD[first : first + _PIECE].float() @ unembedding_DV.float()
        effect -= effect.mean(dim=1, keepdim=True)
        up, down = effect.topk(number, dim=1), (-effect).topk(number, dim=1)
        parts.append((up.indices, up.values, down.indices, -down.values))
    up_ids, up_values, down_ids, down_values = map(torch.cat, zip(*parts, strict=True))
    return _ranked(up_ids, up_values), _ranked(down_ids, down_values)


def reaches_scores(site: str, width: int, unembedding_DV: Tensor | None) -> bool:
    """Say whether a site's directions can be read in the unembedding's space."""
    return (
        unembedding_DV is not None
        and unembedding_DV.shape[0] == width
        and _HEADS.search(site) is None
    )


def _ranked(ids: Tensor, values: Tensor) -> Ranked:
    return Ranked(
        ids=ids.numpy().astype(np.int32), values=values.float().numpy().astype(np.float32)
    )
