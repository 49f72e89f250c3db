"""Bytes as tokens (rooms jumprelu, scope, omni)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint16]
"""A run of token numbers, each below `VOCAB`."""

BOUNDARY = 256
"""The token before each document; every other token is a byte of UTF-8."""

VOCAB = 257


def encode(text: str) -> Tokens:
    """Return the UTF-8 bytes of `text` as tokens."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint16)


def decode(tokens: Sequence[int] | NDArray[Any], *, boundary: str = "\u241e") -> str:
    """Return the text of `tokens`, with `boundary` shown where a document starts.

    Bytes that are no complete character, as at the ends of a cut, become U+FFFD.
    """
    values = np.asarray(tokens, dtype=np.int64)
    pieces = np.split(values, np.flatnonzero(values == BOUNDARY))
    texts = [piece[piece != BOUNDARY].astype(np.uint8).tobytes() for piece in pieces]
    return boundary.join(text.decode(errors="replace") for text in texts)
