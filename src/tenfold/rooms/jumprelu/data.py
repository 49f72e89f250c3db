"""Activations to train on, drawn in an order that a resumed run takes up exactly.

Every source gives batches as a pure function of (seed, step), so that a resumed run sees the
rows an undisturbed one would have seen, and sets aside a held-out part that is never trained
on. Rows are drawn by a bucket shuffle (GS 3.3): buckets of about a million rows in random
order, rows shuffled within each, so that a file larger than memory is read nearly in order.
"""

# N rows, T positions, D width, B rows of a batch

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu.rows import Rows, checked, open_rows

BUCKET_ROWS = 1 << 20
SAMPLE_ROWS = 65_536
"""Rows from which scale and centre are taken."""
CHECKED_ROWS = 1 << 22
"""Rows looked at before training; later ones are checked as they come."""
READ_ROWS = 16_384
HELD_OUT_ROWS = 262_144
"""At most so many held-out rows are evaluated; all held-out rows are kept from training."""
FINGERPRINT_ROWS = 1_024
HELD_OUT_BATCHES = 8
"""Batches set aside from a stream, whose length is not known."""


class Source(Protocol):
    """Where a training run's activations come from."""

    @property
    def width(self) -> int:
        """D."""

    @property
    def resumable(self) -> bool:
        """Whether batch `step` can be had again after a restart."""

    def batch(self, step: int, *, size: int, seed: int) -> Tensor:
        """Return training rows [B, D], float32: a pure function of its arguments."""

    def held_out(self) -> Iterator[Tensor]:
        """Yield rows [n, D] that `batch` never returns."""

    def sample(self) -> Tensor:
        """Return some training rows [n, D] for scale and centre."""

    def describe(self) -> Json:
        """Return what the run's record says of the data."""


class Dataset:
    """A `Source` over rows with random access; made by `dataset`."""

    resumable = True

    def __init__(self, rows: Rows, *, training: np.ndarray, held_out: np.ndarray) -> None:
        self.rows = rows
        self._training = training
        self._held_out = held_out
        self._shuffles: dict[int, Shuffle] = {}

    @property
    def width(self) -> int:
        """D."""
        return self.rows.width

    @property
    def num_training_rows(self) -> int:
        """Rows that may be trained on."""
        return int((self._training[:, 1] - self._training[:, 0]).sum())

    def batch(self, step: int, *, size: int, seed: int) -> Tensor:
        """Return the rows of batch `step` in the order of `seed`, [B, D]."""
        shuffle = self._shuffles.setdefault(seed, Shuffle(self.num_training_rows, seed=seed))
        rows = _places(self._training, shuffle.take(step * size, size))
        return checked(self.rows.gather(rows), rows)

    def held_out(self) -> Iterator[Tensor]:
        """Yield the held-out rows, at most `HELD_OUT_ROWS`, in blocks from all over the file."""
        blocks = rng.stream(0, "held-out order").permutation(len(self._held_out))
        left = HELD_OUT_ROWS
        for start, stop in self._held_out[blocks]:
            if left <= 0:
                return
            rows = np.arange(start, min(stop, start + left))
            left -= len(rows)
            yield checked(self.rows.gather(rows), rows)

    def sample(self) -> Tensor:
        """Return up to `SAMPLE_ROWS` training rows from all over the file, always the same."""
        count = self.num_training_rows
        spread = np.unique(np.linspace(0, count - 1, min(SAMPLE_ROWS, count)).astype(np.int64))
        rows = _places(self._training, spread)
        # Read in the file's order, but handed out mixed: users of a sample take its first rows.
        order = rng.stream(0, "sample").permutation(len(rows))
        return checked(self.rows.gather(rows), rows)[torch.from_numpy(order)]

    def describe(self) -> Json:
        """Return the rows' description and how they are split."""
        held_out = int((self._held_out[:, 1] - self._held_out[:, 0]).sum())
        return self.rows.describe() | {
            "training_rows": self.num_training_rows,
            "held_out_rows": held_out,
            "sample_sha256": fingerprint(self.rows),
        }


def dataset(rows: Rows, *, held_out: float) -> Dataset:
    """Split rows into blocks, some of them held out, the same ones for every run.

    Args:
        rows: what to split.
        held_out: share held out, in (0, 1).

    Raises:
        TenfoldError: if there are too few rows.
    """
    count = rows.num_rows
    if count < 2:
        raise TenfoldError(f"{count} row is too few: one to train on and one to hold out")
    # Small files get smaller blocks, so that there are some forty to choose from.
    block = min(rows.block, max(1, count // 40 // rows.unit) * rows.unit)
    if count < 2 * block:
        raise TenfoldError(
            f"{count} rows are one sequence of {rows.unit}; give at least two, one to hold out"
        )
    starts = np.arange(0, count, block)
    spans = np.stack([starts, np.minimum(starts + block, count)], axis=1)
    chosen = max(1, min(len(spans) - 1, round(held_out * len(spans))))
    order = rng.stream(0, "held-out", count).permutation(len(spans))
    aside = np.zeros(len(spans), dtype=bool)
    aside[order[:chosen]] = True
    return Dataset(rows, training=spans[~aside], held_out=spans[aside])


def fingerprint(rows: Rows) -> str:
    """Return the SHA-256 of evenly spread rows, by which changed data are noticed on resume."""
    spread = np.linspace(0, rows.num_rows - 1, FINGERPRINT_ROWS).astype(np.int64)
    return hashlib.sha256(rows.gather(np.unique(spread)).numpy().tobytes()).hexdigest()


def _places(spans: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the file rows of positions counted along `spans` [blocks, 2]."""
    ends = np.cumsum(spans[:, 1] - spans[:, 0])
    block = np.searchsorted(ends, positions, side="right")
    rows: np.ndarray = spans[block, 1] - (ends[block] - positions)
    return rows


class Shuffle:
    """The order in which `count` rows are seen, epoch after epoch, without keeping it."""

    def __init__(self, count: int, *, seed: int, bucket: int = BUCKET_ROWS) -> None:
        self.count = count
        self.seed = seed
        self.bucket = bucket
        self._bounds = lru_cache(maxsize=2)(self._make_bounds)
        self._within = lru_cache(maxsize=2)(self._make_within)

    def take(self, start: int, size: int) -> np.ndarray:
        """Return the rows at places start..start + size of the endless order, int64 [size]."""
        parts = []
        while size > 0:
            epoch, place = divmod(start, self.count)
            buckets, ends = self._bounds(epoch)
            turn = int(np.searchsorted(ends, place, side="right"))
            first = int(ends[turn - 1]) if turn else 0
            stop = min(place + size, int(ends[turn]))
            rows = self._within(epoch, int(buckets[turn]))
            parts.append(rows[place - first : stop - first])
            start, size = start + stop - place, size - (stop - place)
        return np.concatenate(parts)

    def _make_bounds(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        number = -(-self.count // self.bucket)
        buckets = rng.stream(self.seed, "buckets", epoch).permutation(number)
        sizes = np.minimum(self.bucket, self.count - buckets * self.bucket)
        return buckets, np.cumsum(sizes)

    def _make_within(self, epoch: int, bucket: int) -> np.ndarray:
        first = bucket * self.bucket
        size = min(self.bucket, self.count - first)
        order = rng.stream(self.seed, "rows", epoch, bucket).permutation(size)
        return order + first


def examine(rows: Rows) -> list[str]:
    """Look over the first `CHECKED_ROWS` rows and return warnings.

    Raises:
        TenfoldError: if a row is not finite, or no column varies.
    """
    low = torch.full((rows.width,), math.inf)
    high = torch.full((rows.width,), -math.inf)
    stop = min(rows.num_rows, CHECKED_ROWS)
    for start in range(0, stop, READ_ROWS):
        end = min(start + READ_ROWS, stop)
        x_ND = checked(rows.read(start, end), np.arange(start, end))
        low = torch.minimum(low, x_ND.amin(dim=0))
        high = torch.maximum(high, x_ND.amax(dim=0))
    constant = int((low == high).sum())
    if constant == rows.width:
        raise TenfoldError(f"all {constant} columns are constant; there is nothing to learn")
    if constant:
        return [f"{constant} of {rows.width} columns are constant"]
    return []


class Stream:
    """A `Source` over a Python factory of batches, or a bare iterator of them.

    Args:
        batches: `batches(cursor)` returns an iterator over [B, D] tensors that goes on after
            `cursor` batches; or an iterator, which cannot be taken up again.
    """

    def __init__(self, batches: Callable[[int], Iterator[Tensor]] | Iterator[Tensor]) -> None:
        self._factory = batches if callable(batches) else None
        self.resumable = self._factory is not None
        self._iterator = self._factory(0) if self._factory else iter(batches)  # type: ignore[arg-type]
        self._taken = 0
        self._last = torch.empty(0)
        self.width = 0
        self._aside = [self._next() for _ in range(HELD_OUT_BATCHES)]

    def _next(self) -> Tensor:
        given = next(self._iterator, None)
        if given is None:
            raise TenfoldError(
                f"the stream ended after {self._taken} batches; make it longer or train on fewer "
                "rows"
            )
        x_BD = torch.as_tensor(given).detach().to(device="cpu", dtype=torch.float32)
        width = self.width or x_BD.shape[-1]
        if x_BD.dim() != 2 or x_BD.shape[-1] != width:
            raise TenfoldError(
                f"batch {self._taken} has shape {list(x_BD.shape)}; wanted [B, {width}]"
            )
        self.width = width
        self._taken += 1
        self._last = checked(x_BD, np.arange(len(x_BD)), where=f"batch {self._taken - 1}, ")
        return self._last

    def batch(self, step: int, *, size: int, seed: int) -> Tensor:  # noqa: ARG002
        """Return batch `step` as the stream gives it; the stream's order serves every seed.

        Raises:
            TenfoldError: if the stream ended, gives other sizes, or cannot go back.
        """
        x_BD = self._at(step)
        if len(x_BD) != size:
            raise TenfoldError(
                f"batch {step} of the stream has {len(x_BD)} rows and the config's batch is "
                f"{size}; make them equal"
            )
        return x_BD

    def _at(self, step: int) -> Tensor:
        wanted = HELD_OUT_BATCHES + step
        if wanted == self._taken - 1:
            return self._last
        if wanted != self._taken:
            if self._factory is None:
                raise TenfoldError(
                    f"batch {step} was asked for but a plain iterator stands at "
                    f"{self._taken - HELD_OUT_BATCHES}; pass a factory batches(cursor) to resume"
                )
            self._iterator, self._taken = self._factory(wanted), wanted
        return self._next()

    def held_out(self) -> Iterator[Tensor]:
        """Yield the batches set aside at the start."""
        yield from self._aside

    def sample(self) -> Tensor:
        """Return the batches set aside: nothing else can be looked at without using it up."""
        return torch.cat(self._aside)[:SAMPLE_ROWS]

    def describe(self) -> Json:
        """Return what is known of a stream."""
        digest = hashlib.sha256(torch.cat(self._aside).numpy().tobytes()).hexdigest()
        return {"name": "stream", "width": self.width, "sample_sha256": digest}


def as_source(data: Any, *, held_out: float) -> tuple[Source, list[str]]:
    """Take whatever `open_rows` takes as a source, with warnings about it.

    Args:
        data: what to train on.
        held_out: share of rows to hold out, where rows can be counted.

    Raises:
        TenfoldError: if it cannot be opened, or its contents are unusable.
    """
    rows = open_rows(data)
    if rows is None:
        return Stream(data), []
    return dataset(rows, held_out=held_out), examine(rows)
