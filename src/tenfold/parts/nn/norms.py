"""Root-mean-square norm in the form of Gemma (rooms jumprelu, omni)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Divide by the root mean square and multiply by `1 + weight` (Zhang and Sennrich 2019).

    The weight starts at zero, so that decay pulls the gain towards one (Gemma).
    """

    def __init__(self, width: int, *, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of `x`."""
        return F.rms_norm(x, self.weight.shape, 1 + self.weight, self.epsilon)
