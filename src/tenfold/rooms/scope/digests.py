"""What fixes the activations of a network: hashes of its weights and of what it is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.parts.sae.rows import Batch


def weights_digest(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that identify all parameters and buffers of a module."""
    hashed = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            _add(hashed, name, value)
    return hashed.hexdigest()[:16]


def batch_digest(batch: Batch) -> str:
    """Return 16 hexadecimal digits that identify the tensors of a batch."""
    hashed = hashlib.sha256()
    named: Mapping[str, Any] = {
        **{f"input {i}": value for i, value in enumerate(batch.inputs)},
        **{f"keyword {name}": value for name, value in batch.keywords.items()},
        "mask": batch.mask,
    }
    for name, value in named.items():
        if isinstance(value, Tensor):
            _add(hashed, name, value)
    return hashed.hexdigest()[:16]


def _add(hashed: Any, name: str, value: Tensor) -> None:
    hashed.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
    plain = value.detach().cpu().contiguous()
    # As bytes, because NumPy has no bfloat16.
    hashed.update(plain.reshape(-1).view(torch.uint8).numpy())
