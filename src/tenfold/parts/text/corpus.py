"""A corpus: documents without near-duplicates, in two splits (rooms jumprelu, scope)."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from tenfold.engine.config import Json, digest
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import cache_root, write_bytes
from tenfold.parts.text.documents import (
    Document,
    folder_documents,
    library_documents,
    library_files,
)
from tenfold.parts.text.duplicates import without_near_duplicates
from tenfold.parts.text.packing import KINDS, Packed, pack

Split = Literal["train", "held_out"]

RULES = 1
"""Raised when what is read, dropped or held out changes, so that caches are made anew."""

HELD_OUT = 0.1
"""Share of the text, at most, that is held out."""

SHORTEST_DOCUMENT = 200
"""Characters below which a document is dropped: it says nothing of its own."""

SHORTEST_SPLIT = 20_000
"""Tokens below which a split is too small to learn from or to measure on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Text in two splits that share no document."""

    digest: str
    """Identifies the text: equal digests, equal tokens."""
    splits: Mapping[Split, Packed]


def load_corpus(text: str = "") -> Corpus:
    """Read the corpus of a folder of text, or of the standard library if none is named.

    The result is kept under the cache root, named by the digest of what it was made from.

    Raises:
        TenfoldError: if there is too little text for two splits.
    """
    documents = list(folder_documents(Path(text).expanduser())) if text else None
    name = _library_digest() if documents is None else _documents_digest(documents)
    path = cache_root() / "corpora" / f"{name}.safetensors"
    if not path.exists():
        chosen = list(library_documents()) if documents is None else documents
        write_bytes(path, _to_bytes(build_splits(chosen, origin=text or "the standard library")))
    return Corpus(digest=name, splits=_read_splits(path))


def build_splits(documents: Sequence[Document], *, origin: str) -> dict[Split, Packed]:
    """Drop short documents and near-duplicates, then pack what is left in two splits.

    Raises:
        TenfoldError: if a split comes out too small, naming `origin`.
    """
    long_enough = [d for d in documents if len(d.text.strip()) >= SHORTEST_DOCUMENT]
    kept = without_near_duplicates(long_enough)
    held_out = held_out_groups(kept)
    splits: dict[Split, Packed] = {
        "train": pack([d for d in kept if d.group not in held_out]),
        "held_out": pack([d for d in kept if d.group in held_out]),
    }
    for split, packed in splits.items():
        if len(packed.tokens) < SHORTEST_SPLIT:
            raise TenfoldError(
                f"{origin}: {len(packed.tokens)} bytes in {len(packed.names)} documents are left "
                f"for the split {split!r}, at least {SHORTEST_SPLIT} are needed; "
                "name a folder with more UTF-8 files of text by --text DIR"
            )
    return splits


def held_out_groups(documents: Sequence[Document], *, share: float = HELD_OUT) -> set[str]:
    """Choose the groups to hold out by the hash of their name, up to `share` of the text."""
    sizes: Counter[str] = Counter()
    for document in documents:
        sizes[document.group] += len(document.text)
    left = share * sum(sizes.values())
    chosen = set()
    for group in sorted(sizes, key=lambda g: hashlib.sha256(g.encode()).digest()):
        if sizes[group] <= left:
            chosen.add(group)
            left -= sizes[group]
    return chosen


def describe(corpus: Corpus) -> Json:
    """Count the documents and bytes of each split and kind."""
    rows: Json = {"digest": corpus.digest}
    for split, packed in corpus.splits.items():
        lengths = np.diff(packed.starts, append=len(packed.tokens)) - 1
        for index, kind in enumerate(KINDS):
            chosen = lengths[packed.kinds == index]
            rows[f"{split}_{kind}_documents"] = len(chosen)
            rows[f"{split}_{kind}_bytes"] = int(chosen.sum())
    return rows


def _library_digest() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    files = [[name, path.stat().st_size] for name, path in library_files()]
    return digest(["library", RULES, sys.implementation.name, version, files])


def _documents_digest(documents: Sequence[Document]) -> str:
    contents = [[d.name, hashlib.sha256(d.text.encode()).hexdigest()] for d in documents]
    return digest(["folder", RULES, contents])


def _to_bytes(splits: Mapping[Split, Packed]) -> bytes:
    arrays = {
        f"{split}.{field}": getattr(packed, field)
        for split, packed in splits.items()
        for field in ("tokens", "starts", "kinds")
    }
    names = {str(split): json.dumps(packed.names) for split, packed in splits.items()}
    return bytes(save(arrays, metadata=names))


def _read_splits(path: Path) -> dict[Split, Packed]:
    with safe_open(path, framework="numpy") as file:
        splits: tuple[Split, ...] = ("train", "held_out")
        return {
            split: Packed(
                tokens=file.get_tensor(f"{split}.tokens"),
                starts=file.get_tensor(f"{split}.starts"),
                kinds=file.get_tensor(f"{split}.kinds"),
                names=tuple(json.loads(file.metadata()[split])),
            )
            for split in splits
        }
