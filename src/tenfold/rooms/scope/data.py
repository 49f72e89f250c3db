"""Activations of all sites of a suite to train on, every site in the same order of rows.

A step's rows are a pure function of seed and step: a resumed run, and one that trains only
some of the sites, sees the rows that an undisturbed one sees. Rows are shuffled within buckets
that fit into memory (GS 3.3); buckets come in an order of their own, one for all seeds, so that
each is read once. Held out are whole items, the same ones at every site.
"""

# N rows, B rows of a batch, D width of a site

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.shards import Shards
from tenfold.rooms.jumprelu.rows import BLOCK_ROWS, checked
from tenfold.rooms.scope.store import Store

Batch = Mapping[str, Mapping[int, Tensor]]
"""For each site and seed the rows [B, D], float32."""

BUCKET_BYTES = 1 << 29
LEAST_BUCKET_ROWS, MOST_BUCKET_ROWS = 1 << 14, 1 << 20
SAMPLE_ROWS = 16_384
"""Rows from which scale, centre and thresholds are taken."""
HELD_OUT_ROWS = 65_536
"""At most so many held-out rows are measured on; all held-out rows are kept from training."""
READ_ROWS = 1 << 22
CHUNK_ROWS = 4_096


class SuiteData(Protocol):
    """Where the rows of a suite come from."""

    @property
    def rows(self) -> int:
        """Rows of one pass: those that the site with most of them is trained on."""

    def batch(self, step: int) -> Batch:
        """Return the rows of a step at every site."""

    def sample(self, site: str) -> Tensor:
        """Return some training rows [n, D], the same ones at every site with as many."""

    def held_out(self, site: str) -> Iterator[Tensor]:
        """Yield rows [n, D] that `batch` never returns, in the same order at every site."""

    def describe(self) -> Json:
        """Return what the run's record says of the data."""

    def state(self) -> Json:
        """Return what `batch` depends on beside the step."""

    def load_state(self, values: Json) -> None:
        """Put back what `state` returned."""


def bucket_rows(row_bytes: int) -> int:
    """Return how many rows of all sites together are shuffled in memory.

    A power of two, so that batches seldom straddle two buckets.

    Args:
        row_bytes: of one row of all sites of the suite, also of those trained elsewhere: the
            order of rows must not depend on which sites a process trains.

    >>> bucket_rows(12 * 256)
    131072
    """
    fitting = max(1, BUCKET_BYTES // row_bytes)
    power = 1 << (fitting.bit_length() - 1)
    return min(MOST_BUCKET_ROWS, max(LEAST_BUCKET_ROWS, power))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of one bucket's shuffled rows."""

    epoch: int
    bucket: int
    start: int
    stop: int


class Order:
    """In which order `count` rows are seen, epoch after epoch, without keeping it.

    Args:
        count: rows.
        bucket: rows of a bucket.
    """

    def __init__(self, count: int, *, bucket: int) -> None:
        self.count = count
        self.bucket = bucket
        self._buckets = lru_cache(maxsize=2)(self._make_buckets)
        self._within = lru_cache(maxsize=16)(self._make_within)

    def parts(self, start: int, size: int) -> Iterator[Part]:
        """Yield where places start..start + size of the endless order lie."""
        while size > 0:
            epoch, place = divmod(start, self.count)
            buckets, ends = self._buckets(epoch)
            turn = int(np.searchsorted(ends, place, side="right"))
            first = int(ends[turn - 1]) if turn else 0
            stop = min(place + size, int(ends[turn]))
            yield Part(
                epoch=epoch, bucket=int(buckets[turn]), start=place - first, stop=stop - first
            )
            start, size = start + stop - place, size - (stop - place)

    def take(self, part: Part, *, seed: int) -> np.ndarray:
        """Return the numbers within their bucket of the rows of `part`, in the order of `seed`."""
        order: np.ndarray = self._within(seed, part.epoch, part.bucket)
        return order[part.start : part.stop]

    def span(self, bucket: int) -> np.ndarray:
        """Return the numbers of a bucket's rows, in order."""
        first = bucket * self.bucket
        return np.arange(first, min(first + self.bucket, self.count))

    def _make_buckets(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        number = -(-self.count // self.bucket)
        buckets = rng.stream(0, "scope", "buckets", epoch).permutation(number)
        sizes = np.minimum(self.bucket, self.count - buckets * self.bucket)
        return buckets, np.cumsum(sizes)

    def _make_within(self, seed: int, epoch: int, bucket: int) -> np.ndarray:
        size = len(self.span(bucket))
        return rng.stream(seed, "scope", "rows", epoch, bucket).permutation(size)


class Spans:
    """Rows of a file, listed as stretches without gaps.

    Args:
        bounds: [n, 2], first row and end of each stretch, in order.
    """

    def __init__(self, bounds: np.ndarray) -> None:
        self._bounds = bounds
        self._ends = np.cumsum(bounds[:, 1] - bounds[:, 0])

    @property
    def count(self) -> int:
        """Rows in all stretches."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Return the file rows of places counted along the stretches."""
        stretch = np.searchsorted(self._ends, places, side="right")
        found: np.ndarray = self._bounds[stretch, 1] - (self._ends[stretch] - places)
        return found

    def spread(self, most: int) -> np.ndarray:
        """Return up to `most` file rows from all over the stretches, in order."""
        even = np.linspace(0, self.count - 1, min(most, self.count)).astype(np.int64)
        return self.rows(np.unique(even))


@dataclass(frozen=True, kw_only=True, eq=False)
class Parting:
    """Which rows of a site are trained on and which are held out."""

    training: Spans
    held_out: Spans


def part_rows(shards: Shards, *, items: int, block: int, share: float) -> Parting:
    """Split a site's rows by items: blocks of them are held out, the same ones at every site.

    Args:
        shards: with the column `item`, which never falls.
        items: of the whole harvest.
        block: items of a block; neighbours resemble each other.
        share: of the blocks that are held out.

    Raises:
        TenfoldError: if nothing is left to train on or to hold out.
    """
    number = -(-items // block)
    aside = np.zeros(number, dtype=bool)
    chosen = max(1, min(number - 1, round(share * number)))
    aside[rng.stream(0, "scope", "held-out", number).permutation(number)[:chosen]] = True
    counts = np.zeros(number, dtype=np.int64)
    for start in range(0, shards.num_rows, READ_ROWS):
        item = shards.read("item", start, min(start + READ_ROWS, shards.num_rows)).numpy()
        counts += np.bincount(item // block, minlength=number)
    ends = np.cumsum(counts)
    bounds = np.stack([ends - counts, ends], axis=1)[counts > 0]
    parting = Parting(
        training=Spans(bounds[~aside[counts > 0]]), held_out=Spans(bounds[aside[counts > 0]])
    )
    if not parting.training.count or not parting.held_out.count:
        raise TenfoldError(
            f"{shards.path} has {shards.num_rows} rows of {items} items, of which "
            f"{parting.held_out.count} rows would be held out; harvest more"
        )
    return parting


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stretch:
    """A part of a site's file in memory, and the bucket's rows in it."""

    x: Tensor
    """As stored, [n, D]."""
    first: int
    """The file row that comes first."""
    rows: np.ndarray
    """File rows of the bucket, in order."""

    def take(self, chosen: np.ndarray, *, site: str) -> Tensor:
        """Return the rows with these numbers in the bucket, float32."""
        rows = self.rows[chosen]
        x_BD = self.x[torch.from_numpy(rows - self.first)].float()
        return checked(x_BD, rows, where=f"site {site!r}, ")


class StoreData:
    """`SuiteData` read from a finished store.

    Args:
        store: the harvest.
        sites: those that are needed here.
        batch: B.
        seeds: orders of rows that are asked for.
        held_out: share of the items that is kept from training.
        bucket: rows of a bucket, from `bucket_rows`.
    """

    def __init__(
        self,
        store: Store,
        sites: Sequence[str],
        *,
        batch: int,
        seeds: Sequence[int],
        held_out: float,
        bucket: int,
    ) -> None:
        self.store = store
        self.bucket = bucket
        self._batch, self._seeds = batch, tuple(seeds)
        self._partings = _part_sites(store, sites, share=held_out)
        self._orders = {
            count: Order(count, bucket=bucket)
            for count in {parting.training.count for parting in self._partings.values()}
        }
        self._loaded: dict[int, tuple[int, dict[str, _Stretch]]] = {}

    @property
    def rows(self) -> int:
        """Rows of one pass: those that the site with most of them is trained on."""
        return max(self._orders)

    def batch(self, step: int) -> Batch:
        """Return the rows of a step at every site."""
        found: dict[str, Mapping[int, Tensor]] = {}
        for order in self._orders.values():
            found |= self._batch_in(order, step)
        return found

    def _batch_in(self, order: Order, step: int) -> dict[str, Mapping[int, Tensor]]:
        """Return the rows of the sites that have as many rows as `order`."""
        sites = [
            s for s, parting in self._partings.items() if parting.training.count == order.count
        ]
        pieces: dict[str, dict[int, list[Tensor]]] = {
            site: {seed: [] for seed in self._seeds} for site in sites
        }
        for part in order.parts(step * self._batch, self._batch):
            bucket = self._bucket(order, part.bucket, sites)
            for seed in self._seeds:
                chosen = order.take(part, seed=seed)
                for site in sites:
                    pieces[site][seed].append(bucket[site].take(chosen, site=site))
        return {
            site: {seed: torch.cat(rows) for seed, rows in of_site.items()}
            for site, of_site in pieces.items()
        }

    def _bucket(self, order: Order, bucket: int, sites: Sequence[str]) -> dict[str, _Stretch]:
        """Return each site's stretch of its file that holds a bucket.

        A stretch is read into memory as a whole: through memory maps the touched pages of all
        files would count as this process's memory before long.
        """
        found = self._loaded.get(order.count)
        if found is None or found[0] != bucket:
            self._loaded.pop(order.count, None)  # two buckets at once might not fit
            loaded = {site: self._stretch(site, order.span(bucket)) for site in sites}
            found = self._loaded[order.count] = (bucket, loaded)
        return found[1]

    def _stretch(self, site: str, places: np.ndarray) -> _Stretch:
        rows = self._partings[site].training.rows(places)
        first = int(rows[0])
        x = self.store.rows(site).read("x", first, int(rows[-1]) + 1)
        return _Stretch(x=x, first=first, rows=rows)

    def sample(self, site: str) -> Tensor:
        """Return up to `SAMPLE_ROWS` training rows [n, D] from all over the file, mixed."""
        rows = self._partings[site].training.spread(SAMPLE_ROWS)
        x_ND = self.store.rows(site).gather("x", rows).float()
        mixed = rng.stream(0, "scope", "sample").permutation(len(rows))
        return checked(x_ND, rows, where=f"site {site!r}, ")[torch.from_numpy(mixed)]

    def held_out(self, site: str) -> Iterator[Tensor]:
        """Yield the held-out rows, at most `HELD_OUT_ROWS`, mixed: many look at the first only."""
        rows = self._partings[site].held_out.spread(HELD_OUT_ROWS)
        rows = rows[rng.stream(0, "scope", "held-out rows").permutation(len(rows))]
        shards = self.store.rows(site)
        for start in range(0, len(rows), CHUNK_ROWS):
            chosen = rows[start : start + CHUNK_ROWS]
            yield checked(shards.gather("x", chosen).float(), chosen, where=f"site {site!r}, ")

    def describe(self) -> Json:
        """Return what was harvested and how it is split."""
        facts = self.store.facts
        sites = {
            site: {
                "rows": self.store.site(site).rows,
                "width": self.store.site(site).width,
                "training_rows": parting.training.count,
                "held_out_rows": parting.held_out.count,
            }
            for site, parting in self._partings.items()
        }
        return {"model": facts.model, "identity": facts.identity, "sites": sites}

    def state(self) -> Json:
        """Return nothing: a batch depends on the step alone."""
        return {}

    def load_state(self, values: Json) -> None:
        """Take nothing."""


def _part_sites(store: Store, sites: Sequence[str], *, share: float) -> dict[str, Parting]:
    # Over all sites of the store, so that no two processes hold out different items.
    fewest = min(facts.rows for facts in store.sites.values()) / store.items
    block = max(1, min(round(BLOCK_ROWS / fewest), store.items // 40))
    return {
        site: part_rows(store.rows(site), items=store.items, block=block, share=share)
        for site in dict.fromkeys(sites)
    }


def refuse_unpaired(store: Store, first: str, second: str) -> None:
    """Refuse two sites whose rows do not belong together one by one.

    Raises:
        TenfoldError: naming both shapes, or the norm limit that dropped other rows at each.
    """
    ends = [store.site(site) for site in (first, second)]
    shapes = [[facts.rows, *facts.grid] for facts in ends]
    if shapes[0] != shapes[1]:
        raise TenfoldError(
            f"{first} has rows and positions {shapes[0]}, {second} {shapes[1]}; a transcoder "
            "needs sites with the same positions"
        )
    limit = store.rows(first).meta["norm_limit"]
    if limit:
        raise TenfoldError(
            f"the store {store.path} was harvested with norm_limit {limit}, which drops other rows "
            "at each site; harvest for transcoders with 0"
        )
