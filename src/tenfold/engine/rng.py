"""Randomness as an argument: independent streams named by where they are used.

A stream is a pure function of (seed, path). Nothing has to be saved for a stream that is
named by its step, and drawing from one stream never moves another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Name = str | int


def key(seed: int, *path: Name) -> int:
    """Return the 128-bit key of the stream `path` under `seed`.

    >>> key(7, "data", 3) == key(7, "data", 3)
    True
    >>> key(7, "data", 3) == key(7, "data", "3")
    False
    """
    words = repr((int(seed), path)).encode()
    return int.from_bytes(hashlib.sha256(words).digest()[:16], "little")


def stream(seed: int, *path: Name) -> np.random.Generator:
    """Return the NumPy generator named `path`, e.g. `stream(7, "data", "epoch", 3)`.

    Counter-based (Philox), so that streams of different names do not overlap.
    """
    return np.random.Generator(np.random.Philox(key=key(seed, *path)))


def torch_stream(seed: int, *path: Name, device: str = "cpu") -> torch.Generator:
    """Return the torch generator named `path` on `device`."""
    import torch

    generator = torch.Generator(device=device)
    generator.manual_seed(key(seed, *path) % (1 << 63))
    return generator


def generator_state(generator: torch.Generator) -> torch.Tensor:
    """Return the state of a generator that is carried from step to step, for a checkpoint."""
    return generator.get_state().clone()


def restore_generator(generator: torch.Generator, state: torch.Tensor) -> None:
    """Put `generator` back to a state taken by `generator_state`."""
    generator.set_state(state.cpu().to(dtype=state.dtype))
