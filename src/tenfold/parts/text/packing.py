"""Documents in one row of tokens, and windows cut from it (rooms jumprelu, scope).

B windows of a batch, T tokens that are predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.rng import stream
from tenfold.parts.text.documents import Document
from tenfold.parts.text.tokens import BOUNDARY, Tokens, encode

KINDS = ("code", "prose")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """Documents one after another, each behind a boundary token."""

    tokens: Tokens
    """All tokens [N]."""
    starts: NDArray[np.int64]
    """Where each document's boundary token stands [documents]."""
    kinds: NDArray[np.uint8]
    """Index of each document's kind in `KINDS` [documents]."""
    names: tuple[str, ...]

    def document_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of the document that holds each of `positions`."""
        return np.searchsorted(self.starts, positions, side="right") - 1


def pack(documents: Sequence[Document]) -> Packed:
    """Put `documents` into one row, in the order given."""
    pieces = [np.append(np.uint16(BOUNDARY), encode(d.text)) for d in documents]
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    return Packed(
        tokens=np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint16),
        starts=np.cumsum(lengths) - lengths,
        kinds=np.array([KINDS.index(d.kind) for d in documents], dtype=np.uint8),
        names=tuple(d.name for d in documents),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """Batches of windows of one row, in random order, each window once an epoch.

    A batch is a pure function of these fields and its index.
    """

    size: int
    """Tokens in the row; a few at its ends fall out of each epoch."""
    length: int
    """Tokens in a window."""
    batch: int
    """Windows in a batch."""
    seed: int
    name: str
    """Which random stream of the seed is used."""

    def __post_init__(self) -> None:
        if self.per_epoch < 1:
            raise ValueError(
                f"{self.size} tokens do not hold {self.batch} windows of {self.length}; "
                "take more text, or fewer or shorter windows"
            )

    @property
    def per_epoch(self) -> int:
        """Number of batches in which no window comes twice."""
        # One window is given up so that each epoch can start at another offset.
        return (self.size // self.length - 1) // self.batch

    def starts(self, index: int) -> NDArray[np.int64]:
        """Return where the windows of batch `index` begin [B]."""
        epoch, place = divmod(index, self.per_epoch)
        starts = _epoch_starts(self, epoch)
        return starts[place * self.batch : (place + 1) * self.batch]


@lru_cache(maxsize=4)  # else each batch would shuffle its whole epoch anew
def _epoch_starts(windows: Windows, epoch: int) -> NDArray[np.int64]:
    rng = stream(windows.seed, windows.name, "epoch", epoch)
    offset = rng.integers(windows.length)
    order = rng.permutation(windows.size // windows.length - 1)
    return np.asarray(order * windows.length + offset, dtype=np.int64)


def spread_starts(size: int, *, length: int, count: int) -> NDArray[np.int64]:
    """Place up to `count` windows of `length` evenly over a row, without overlap."""
    count = min(count, size // length)
    stride = size // max(count, 1)
    return np.arange(count, dtype=np.int64) * stride


def cut(tokens: Tokens, starts: NDArray[np.int64], *, length: int) -> NDArray[np.int64]:
    """Return the windows [B, length] that begin at `starts` [B]."""
    positions = starts[:, None] + np.arange(length)
    return np.asarray(tokens[positions], dtype=np.int64)
