"""A harvest on disk: activations of several sites with what they were taken from.

    store.json                  what is there; written last, so it makes the store finished
    <site>/                     rows of one site: x [D], item, and place and token for texts
    corpus/                     one row an item: tokens with their mask, or a picture
    captions.json               a line of text an item
    vocabulary.json             how each token reads
    unembedding.safetensors     from the last residual stream to scores, [D, V]

Several processes may read one store at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.shards import Shards, open_shards
from tenfold.rooms.scope.places import plain_name

if TYPE_CHECKING:
    from torch import Tensor

STORE, CORPUS, CAPTIONS, VOCABULARY = "store.json", "corpus", "captions.json", "vocabulary.json"
UNEMBEDDING = "unembedding.safetensors"


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """What a store says of one site."""

    folder: str
    width: int
    """D."""
    rows: int
    dtype: Literal["float32", "bfloat16"]
    grid: tuple[int, ...] = ()
    """Shape of the positions of one item: [128] for texts, [4, 4] for a map, [] for one row."""


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """What `store.json` says."""

    model: str
    subject: Json
    """The subject's config, encoded."""
    identity: Json
    """What fixes the model's activations."""
    shows: Literal["text", "picture", "row"]
    context: int
    """Tokens of a window; 0 if items are no texts."""
    batch_size: int
    items: int
    sites: Mapping[str, SiteFacts]
    schema: int = 1


class Store:
    """A finished harvest; made by `open_store`."""

    def __init__(self, *, path: Path, facts: StoreFacts) -> None:
        self.path = path
        self.facts = facts

    @property
    def sites(self) -> Mapping[str, SiteFacts]:
        """What is there, by the plain name of each site."""
        return self.facts.sites

    @property
    def shows(self) -> Literal["text", "picture", "row"]:
        """What an item is."""
        return self.facts.shows

    @property
    def items(self) -> int:
        """Windows, pictures or rows that were read."""
        return self.facts.items

    def site(self, site: str) -> SiteFacts:
        """Return what is known of a site, however it is written.

        Raises:
            TenfoldError: with the nearest names, if it was not harvested.
        """
        name = plain_name(site)
        if name not in self.sites:
            raise unknown_name(f"site of the store {self.path}", name, self.sites)
        return self.sites[name]

    def grid(self, site: str) -> tuple[int, ...]:
        """Return the shape of the positions of one item at a site."""
        return self.site(site).grid

    def rows(self, site: str) -> Shards:
        """Open the rows of a site; their memory maps live as long as what is returned.

        Raises:
            TenfoldError: if the site was not harvested; naming shard and byte, if one of its
                files was cut.
        """
        return open_shards(self.path / self.site(site).folder)

    @property
    def corpus(self) -> Shards | None:
        """What was read, one row an item; None where items are just numbers."""
        return open_shards(self.path / CORPUS) if (self.path / CORPUS).exists() else None

    @property
    def vocabulary(self) -> list[str]:
        """How each token reads; empty if items are no texts."""
        return self._strings(VOCABULARY)

    @property
    def captions(self) -> list[str]:
        """A line of text an item; empty if there are none."""
        return self._strings(CAPTIONS)

    def _strings(self, name: str) -> list[str]:
        path = self.path / name
        return list(files.read_json(path)) if path.exists() else []

    def unembedding(self) -> Tensor | None:
        """Return the matrix [D, V] to scores, float32; None if the model has none."""
        from safetensors.torch import load_file

        path = self.path / UNEMBEDDING
        return load_file(path)["unembedding"] if path.exists() else None


def open_store(path: str | Path) -> Store:
    """Open the finished harvest at `path`.

    Raises:
        TenfoldError: if there is none or it is unfinished; naming shard and byte, if one of
            its files was cut.
    """
    path = Path(path)
    if not (path / STORE).is_file():
        raise TenfoldError(
            f"no finished harvest at {path}: it has no {STORE}; run `scope harvest` with this "
            "folder, it goes on where one was broken off"
        )
    store = Store(path=path, facts=_read_facts(path / STORE))
    for site in store.sites:
        store.rows(site)  # sizes are compared with the index, nothing is read
    return store


def _read_facts(path: Path) -> StoreFacts:
    read = files.read_json(path)
    try:
        sites = {
            name: SiteFacts(**{**facts, "grid": tuple(facts["grid"])})
            for name, facts in read.pop("sites").items()
        }
        return StoreFacts(**read, sites=sites)
    except (TypeError, KeyError, AttributeError) as error:
        raise TenfoldError(
            f"{path} describes no harvest ({type(error).__name__}: {error}); harvest it anew"
        ) from None


def write_facts(folder: Path, facts: StoreFacts) -> None:
    """Write `store.json`, which makes the harvest in `folder` a finished one."""
    files.write_json(folder / STORE, asdict(facts))
