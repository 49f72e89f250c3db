"""Matrices without bias, drawn from a given generator (rooms jumprelu, omni, diving)."""

from __future__ import annotations

import torch
from torch import nn


def linear(
    inputs: int, outputs: int, *, generator: torch.Generator, gain: float = 1.0
) -> nn.Linear:
    """Build a linear map whose outputs have variance `gain ** 2` for inputs of variance one."""
    # Made without values first: the default ones would be drawn from the global generator.
    layer = nn.Linear(inputs, outputs, bias=False, device="meta").to_empty(device="cpu")
    nn.init.normal_(layer.weight, std=gain * inputs**-0.5, generator=generator)
    return layer


def embedding(count: int, width: int, *, generator: torch.Generator) -> nn.Embedding:
    """Build an embedding whose rows have length one on average."""
    layer = nn.Embedding(count, width, device="meta").to_empty(device="cpu")
    nn.init.normal_(layer.weight, std=width**-0.5, generator=generator)
    return layer
