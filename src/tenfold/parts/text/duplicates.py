"""Near-duplicate documents, found by the passages they share (rooms jumprelu, scope).

A passage is 64 bytes of text with runs of white space made one blank. Its hash is kept when it
is divisible by 16, which depends on the passage alone, so two documents that share a passage
keep or drop it alike (sampling "0 mod p", Manber 1994).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.text.documents import Document

DOUBLINGS = 6
"""A passage has 2 ** DOUBLINGS bytes."""

SAMPLE = np.uint64(16)
_BASE = 0x9E3779B97F4A7C15


def fingerprint(text: str) -> NDArray[np.uint64]:
    """Return the sampled hashes of the passages of `text`, sorted, each once."""
    normal = " ".join(text.split()).encode()
    if len(normal) < 1 << DOUBLINGS:
        return np.empty(0, dtype=np.uint64)
    hashes = np.frombuffer(normal, dtype=np.uint8).astype(np.uint64)
    for doubling in range(DOUBLINGS):
        length = 1 << doubling
        power = np.uint64(pow(_BASE, length, 1 << 64))
        hashes = hashes[:-length] * power + hashes[length:]
    # The low bits of a polynomial hash modulo 2 ** 64 are poor: mix the high ones in.
    hashes = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(32)
    return np.unique(hashes[hashes % SAMPLE == 0])


def without_near_duplicates(
    documents: Iterable[Document], *, shared: float = 0.5
) -> list[Document]:
    """Drop documents of which more than `shared` is in longer ones that are kept.

    The result is in order of names and does not depend on the order given.
    """
    seen: set[int] = set()
    kept = []
    for document in sorted(documents, key=lambda d: (-len(d.text), d.name)):
        passages = fingerprint(document.text).tolist()
        if len(seen.intersection(passages)) > shared * len(passages):
            continue
        seen.update(passages)
        kept.append(document)
    return sorted(kept, key=lambda d: d.name)
