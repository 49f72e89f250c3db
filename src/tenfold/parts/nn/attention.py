"""Causal self-attention with grouped heads and an optional soft cap (rooms jumprelu, omni).

B sequences, T positions, D width, N query heads, K key and value heads, H head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.nn.linear import linear
from tenfold.parts.nn.rope import rotate


def soft_cap(x: Tensor, *, cap: float) -> Tensor:
    """Squash `x` smoothly into (-cap, cap); a cap of 0 leaves it alone (Gemma 2)."""
    return torch.tanh(x / cap) * cap if cap else x


def attend(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor, *, cap: float = 0.0) -> Tensor:
    """Average the values of the past and present by softmax of `q k / sqrt(H)` [B, N, T, H]."""
    groups = q_BNTH.shape[1] // k_BKTH.shape[1]
    k_BNTH = k_BKTH.repeat_interleave(groups, dim=1) if groups > 1 else k_BKTH
    v_BNTH = v_BKTH.repeat_interleave(groups, dim=1) if groups > 1 else v_BKTH
    if not cap:
        return F.scaled_dot_product_attention(q_BNTH, k_BNTH, v_BNTH, is_causal=True)
    scores_BNTT = q_BNTH @ k_BNTH.mT * q_BNTH.shape[-1] ** -0.5
    future_TT = torch.ones_like(scores_BNTT[0, 0], dtype=torch.bool).triu(1)
    scores_BNTT = soft_cap(scores_BNTT, cap=cap).masked_fill(future_TT, float("-inf"))
    return scores_BNTT.softmax(dim=-1) @ v_BNTH


class Attention(nn.Module):
    """Project, rotate, attend, project back; `out` takes the heads side by side."""

    def __init__(self, config: DecoderConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        inner = config.heads * config.head_width
        shared = config.kv_heads * config.head_width
        self.query = linear(config.width, inner, generator=generator)
        self.key = linear(config.width, shared, generator=generator)
        self.value = linear(config.width, shared, generator=generator)
        self.out = linear(inner, config.width, generator=generator)
        self.head_width = config.head_width
        self.cap = config.attention_cap

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Mix the positions of `x_BTD`; `rotation` is what `rotation_tables` returned."""
        cos_TH, sin_TH = rotation
        q_BNTH = rotate(self._heads(self.query(x_BTD)), cos_TH=cos_TH, sin_TH=sin_TH)
        k_BKTH = rotate(self._heads(self.key(x_BTD)), cos_TH=cos_TH, sin_TH=sin_TH)
        mixed_BNTH = attend(q_BNTH, k_BKTH, self._heads(self.value(x_BTD)), cap=self.cap)
        out: Tensor = self.out(mixed_BNTH.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_width).transpose(1, 2)
