"""Feed-forward layers, plain or gated as in arXiv:2002.05202 (rooms jumprelu, omni)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.nn.linear import linear


class FeedForward(nn.Module):
    """`down(gelu(gate x) * up x)`, or `down(gelu(gate x))` without the gating."""

    def __init__(self, config: DecoderConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        gated = config.feedforward == "geglu"
        self.gate = linear(config.width, config.hidden, generator=generator)
        self.up = linear(config.width, config.hidden, generator=generator) if gated else None
        self.down = linear(config.hidden, config.width, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to the last dimension of `x`."""
        inside = F.gelu(self.gate(x), approximate="tanh")
        if self.up is not None:
            inside = inside * self.up(x)
        out: Tensor = self.down(inside)
        return out
