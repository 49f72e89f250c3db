"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864; rooms jumprelu, omni).

B sequences, N heads, T positions, H head width. Dimension i is paired with i + H/2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_angles(length: int, *, head_width: int, base: float) -> Tensor:
    """Return the angle of each position and pair [T, H/2]: t * base ** (-2i / H)."""
    frequencies = base ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    return torch.arange(length, dtype=torch.float64)[:, None] * frequencies


def rotate(x_BNTH: Tensor, *, cos_TH: Tensor, sin_TH: Tensor) -> Tensor:
    """Turn each pair of `x_BNTH` by its position's angle.

    Args:
        x_BNTH: queries or keys.
        cos_TH: cosines of the angles, once for each half.
        sin_TH: sines of the angles, negative in the first half.
    """
    half = x_BNTH.shape[-1] // 2
    return x_BNTH * cos_TH + x_BNTH.roll(half, dims=-1) * sin_TH


def rotation_tables(length: int, *, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Return the cosines and signed sines [T, H] that `rotate` takes."""
    angles = rotation_angles(length, head_width=head_width, base=base)
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)
