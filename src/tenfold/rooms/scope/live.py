"""Activations to train on straight from the running model, without a store.

The model reads ahead one bucket of batches; its rows are shuffled and trained on, then the next
one is read. The place in the data is the number of the bucket, so a resumed run reads one
bucket again and goes on exactly.
"""

# B rows of a batch, D width of a site

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.harvest import stream
from tenfold.parts.sae.rows import Reading
from tenfold.parts.sae.specimen import Specimen, Split
from tenfold.rooms.scope.data import SAMPLE_ROWS, Batch

HELD_OUT_ROWS = 16_384
"""Rows of held-out data that are kept to measure on."""


class LiveData:
    """`SuiteData` from a model that runs meanwhile.

    Args:
        specimen: the model and its data.
        sites: where to read.
        batch: B.
        seeds: orders of rows that are asked for.
        rows: of the whole training; no more are read ahead.
        bucket: rows of a bucket at the most, from `data.bucket_rows`.
        dtype: in which rows are kept, as in a store.
    """

    def __init__(
        self,
        specimen: Specimen,
        sites: Sequence[str],
        *,
        batch: int,
        seeds: Sequence[int],
        rows: int,
        bucket: int,
        dtype: torch.dtype,
    ) -> None:
        self.specimen = specimen
        self.sites = tuple(dict.fromkeys(sites))
        self.rows = rows
        self._batch, self._seeds, self._dtype = batch, tuple(seeds), dtype
        self._samples = self._first_rows("train", SAMPLE_ROWS)
        self._aside = self._first_rows("held_out", HELD_OUT_ROWS)
        first = next(self._read("train", 0))
        self._batches = -(-min(bucket, rows) // max(1, len(first[self.sites[0]])))
        self._number, self._before = -1, 0
        self._bucket: dict[str, Tensor] = {}
        self._orders: dict[int, Tensor] = {}
        self._stream: Iterator[dict[str, Tensor]] = iter(())

    def _read(self, split: Split, start: int) -> Iterator[dict[str, Tensor]]:
        specimen = self.specimen
        batches = specimen.batches(split, start)
        reading = Reading(forward=specimen.run)
        for rows in stream(specimen.module, self.sites, batches, reading=reading):
            counts = {site: len(x) for site, x in rows.items()}
            if len(set(counts.values())) > 1:
                raise TenfoldError(
                    f"sites give different numbers of rows, {counts}; without a store only sites "
                    "with the same positions can be trained together: leave out --live"
                )
            yield {site: x.to(device="cpu", dtype=self._dtype) for site, x in rows.items()}

    def _first_rows(self, split: Split, most: int) -> dict[str, Tensor]:
        pieces, count = [], 0
        for rows in self._read(split, 0):
            pieces.append(rows)
            count += len(rows[self.sites[0]])
            if count >= most:
                break
        if not count:
            raise TenfoldError(f"{self.specimen.name} gives 0 rows of its split {split!r}")
        return {site: torch.cat([rows[site] for rows in pieces])[:most] for site in self.sites}

    def batch(self, step: int) -> Batch:
        """Return the rows of a step at every site.

        Raises:
            TenfoldError: if the data ended.
        """
        pieces: dict[str, dict[int, list[Tensor]]] = {
            site: {seed: [] for seed in self._seeds} for site in self.sites
        }
        start, end = step * self._batch, (step + 1) * self._batch
        while start < end:
            self._seek(start)
            first = start - self._before
            stop = min(first + end - start, self._length)
            for seed in self._seeds:
                chosen = self._order(seed)[first:stop]
                for site, x in self._bucket.items():
                    pieces[site][seed].append(x[chosen].float())
            start += stop - first
        return {
            site: {seed: torch.cat(rows) for seed, rows in of_site.items()}
            for site, of_site in pieces.items()
        }

    def _order(self, seed: int) -> Tensor:
        if seed not in self._orders:
            order = rng.stream(seed, "scope", "live", self._number).permutation(self._length)
            self._orders[seed] = torch.from_numpy(order)
        return self._orders[seed]

    @property
    def _length(self) -> int:
        return len(self._bucket[self.sites[0]]) if self._bucket else 0

    def _seek(self, place: int) -> None:
        """Load the bucket that holds a place of the endless order."""
        if place < self._before:
            self.load_state({"bucket": 0, "before": 0})
        while not self._bucket or place >= self._before + self._length:
            self._before += self._length
            self._load_next()

    def _load_next(self) -> None:
        self._number += 1
        if not self._bucket:
            self._stream = self._read("train", self._number * self._batches)
        self._bucket, self._orders = {}, {}  # two buckets at once might not fit
        pieces = [rows for _, rows in zip(range(self._batches), self._stream, strict=False)]
        if not pieces:
            raise TenfoldError(
                f"the data of {self.specimen.name} ended after {self._before} rows; train on fewer "
                "or harvest a store, which can be read more than once"
            )
        self._bucket = {site: torch.cat([rows[site] for rows in pieces]) for site in self.sites}

    def sample(self, site: str) -> Tensor:
        """Return the first training rows [n, D], at most `SAMPLE_ROWS`."""
        return self._samples[site].float()

    def held_out(self, site: str) -> Iterator[Tensor]:
        """Yield rows [n, D] of the held-out split, at most `HELD_OUT_ROWS`."""
        yield self._aside[site].float()

    def describe(self) -> Json:
        """Return what is read."""
        return {"model": self.specimen.name, "identity": self.specimen.identity, "live": True} | {
            "sites": {site: {"width": self._samples[site].shape[1]} for site in self.sites}
        }

    def state(self) -> Json:
        """Return the number of the bucket and the rows before it."""
        number = self._number if self._bucket else self._number + 1
        return {"bucket": number, "before": self._before}

    def load_state(self, values: Json) -> None:
        """Go to a bucket; its rows are read when they are asked for."""
        self._number = int(values["bucket"]) - 1
        self._before = int(values["before"])
        self._bucket = {}
