"""What the model read, for pages: windows of tokens, pictures, captions, in bundles of items."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.config import Json
from tenfold.rooms.scope.dash.bundles import smallest, write_bundle

if TYPE_CHECKING:
    from tenfold.engine.shards import Shards
    from tenfold.rooms.scope.store import Store

FOLDER = "items"
_BYTES, _FEWEST, _MOST = 1 << 18, 16, 1_024


def items_per_bundle(store: Store) -> int:
    """Return how many items a bundle holds, so that it is quick to load."""
    corpus = store.corpus
    if corpus is None:
        return _MOST
    size = sum(
        math.prod(column.shape) for column in corpus.columns if column.name in ("token", "picture")
    )
    return min(max(_BYTES // max(size, 1), _FEWEST), _MOST)


def write_items(folder: Path, store: Store, *, used: NDArray[np.bool_]) -> Json:
    """Write the items that examples show, and return what the page has to know of them.

    Args:
        folder: gets a folder `items`.
        store: with a corpus, captions, or neither.
        used: whether an item is shown, [items].
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    per, corpus, captions = items_per_bundle(store), store.corpus, store.captions
    facts: Json = {"per": per, "corpus": corpus is not None, "captions": bool(captions)}
    if corpus is None and not captions:
        return facts
    for first in range(0, len(used), per):
        numbers = first + np.flatnonzero(used[first : first + per])
        if len(numbers):
            arrays = {"number": smallest(numbers - first)} | _read(corpus, numbers)
            said = {"captions": [captions[number] for number in numbers]} if captions else {}
            write_bundle(folder, f"{FOLDER}/{first // per}", facts=said, arrays=arrays)
    return facts


def _read(corpus: Shards | None, numbers: NDArray[np.int64]) -> dict[str, np.ndarray]:
    if corpus is None:
        return {}
    names = {column.name for column in corpus.columns}
    if "picture" in names:
        return {"picture": corpus.gather("picture", numbers).numpy()}
    found = {"token": smallest(corpus.gather("token", numbers).numpy())}
    if "kept" in names:
        found["kept"] = corpus.gather("kept", numbers).numpy().astype(np.uint8)
    return found
