"""The passes over the stored activations of a site: counting, and the colours of examples.

All dictionaries of the site share the reading. Rows go in segments that threads work on, each
with matrix products of one thread; segments are added up in their order, so that the result
does not depend on the number of threads.
"""

# R rows of a piece, D width, M latents, E entries, X examples

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.engine.shards import Shards
from tenfold.rooms.scope.dash import kernels, show_kernels
from tenfold.rooms.scope.dash.encoder import Encoder, largest_left_out
from tenfold.rooms.scope.dash.examples import Examples
from tenfold.rooms.scope.dash.kernels import Counts, Floats, Ints, Longs
from tenfold.rooms.scope.dash.layout import Layout

PRODUCTS = 1 << 19
"""Pre-activations computed together, which stay in a core's cache."""
MOST_SAMPLED = 200_000
"""Rows on which firing together is counted, at the most."""
_WAIT_SECONDS = 0.2

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What is known of one dictionary after a pass over its site."""

    counts: Counts
    sampled: Ints
    """Active latents of the sampled rows, row after row."""
    sampled_starts: Longs
    """Where each sampled row begins, and the end."""
    cut: Floats | None
    """What active latents exceed on each row, for TopK, [N]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Team:
    """Threads that work on one site."""

    threads: int
    check_stop: Callable[[], None] = lambda: None
    """Called in the main thread again and again; may raise to stop."""
    advance: Callable[[int], None] = lambda _: None
    """Told the rows that were done."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def work(
        self, parts: Sequence[Sequence[tuple[int, int]]], call: Callable[..., Result]
    ) -> Iterator[Result]:
        """Yield `call(part)` of each part in order, with few parts at hand at a time."""
        with _one_thread_a_product(), ThreadPoolExecutor(self.threads, "dash") as pool:
            coming = iter(parts)
            waiting: list[tuple[Future[Result], int]] = []
            try:
                while True:
                    for part in coming:
                        rows = part[-1][1] - part[0][0]
                        waiting.append((pool.submit(_alone, call, part), rows))
                        if len(waiting) > self.threads:
                            break
                    if not waiting:
                        return
                    yield self._first(waiting)
            except BaseException:
                self.stopped.set()
                for future, _ in waiting:
                    future.cancel()
                raise

    def _first(self, waiting: list[tuple[Future[Result], int]]) -> Result:
        future, rows = waiting[0]
        while not future.done():
            self.check_stop()
            wait([future], timeout=_WAIT_SECONDS, return_when=FIRST_COMPLETED)
        self.check_stop()
        result = future.result()
        del waiting[0]
        self.advance(rows)
        return result


@contextmanager
def _one_thread_a_product() -> Iterator[None]:
    """Keep matrix products to the thread that calls them; threads of two kinds would fight."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _alone(call: Callable[..., Result], part: Sequence[tuple[int, int]]) -> Result:
    torch.set_num_threads(1)  # the count belongs to the thread, with some builds of torch
    with torch.inference_mode():
        return call(part)


def scan_site(
    shards: Shards,
    layout: Layout,
    encoders: Sequence[Encoder],
    *,
    seed: int,
    cofiring_share: float,
    team: Team,
) -> list[Scan]:
    """Count every active latent of all dictionaries of a site, in one pass.

    Args:
        shards: the rows, column "x" [N, D].
        layout: how they lie.
        encoders: of the dictionaries.
        seed: of the examples and the rows that are drawn.
        cofiring_share: of the rows on which firing together is counted, at most
            `MOST_SAMPLED` rows.
        team: who works.

    Raises:
        TenfoldError: if a width does not fit, or a value is not finite.
    """
    width = shards.read("x", 0, 0).shape[1]
    for encoder in encoders:
        if encoder.w_enc.shape[0] != width:
            raise TenfoldError(
                f"activations [N, {width}] at {shards.path} do not fit a dictionary of "
                f"{encoder.w_enc.shape[0]} x {encoder.width}; they come from different sites"
            )
    cuts = [np.empty(layout.rows, np.float32) if encoder.k else None for encoder in encoders]
    share = min(cofiring_share, MOST_SAMPLED / layout.rows)
    draws = Draws(seed=rng.key(seed, "dash", "examples") >> 65, share=share)

    def count(blocks: Sequence[tuple[int, int]]) -> list[_Tally]:
        tallies = [
            _Tally(encoder=encoder, layout=layout, cut=cut, draws=draws)
            for encoder, cut in zip(encoders, cuts, strict=True)
        ]
        for first, end in blocks:
            if team.stopped.is_set():
                break
            x_RD = shards.read("x", first, end).float()
            for tally in tallies:
                tally.add(x_RD, first)
        return tallies

    merged: list[_Tally] = []
    for tallies in team.work(layout.segments(), count):
        if not merged:
            merged = tallies
            continue
        for whole, part in zip(merged, tallies, strict=True):
            whole.absorb(part)
    return [tally.finish() for tally in merged]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What decides which entries and rows are drawn."""

    seed: int
    share: float

    @property
    def limit(self) -> np.uint64:
        """Hash below which a row is sampled."""
        return np.uint64(min(int(self.share * 2.0**64), (1 << 64) - 1))


class _Tally:
    """One dictionary on some rows."""

    def __init__(
        self, *, encoder: Encoder, layout: Layout, cut: Floats | None, draws: Draws
    ) -> None:
        self.counts = kernels.empty_counts(encoder.width, layout.places.number)
        self._encoder, self._layout, self._cut, self._draws = encoder, layout, cut, draws
        self._low = encoder.low
        self._rows = max(16, PRODUCTS // encoder.width)
        room = self._rows * encoder.width + kernels.CHUNK
        self._product = torch.empty(self._rows, encoder.width)
        self._marks = np.zeros(-(-encoder.width // kernels.CHUNK) * kernels.CHUNK, np.uint8)
        self._latents, self._kept = np.empty(room, np.int32), np.empty(room, np.int32)
        self._values = np.empty(room, np.float32)
        self._starts = np.zeros(self._rows + 1, np.int64)
        self._kept_starts = np.zeros(self._rows + 1, np.int64)
        self._nothing = np.zeros(self._rows, np.float32)
        self._sampled: list[Ints] = []
        self._lengths: list[Longs] = []

    def add(self, x_RD: Tensor, first: int) -> None:
        """Add rows of the site from row `first` on."""
        for begin in range(0, len(x_RD), self._rows):
            self._add_piece(x_RD[begin : begin + self._rows], first + begin)

    def _add_piece(self, x_RD: Tensor, first: int) -> None:
        encoder, layout, number = self._encoder, self._layout, len(x_RD)
        product_RM = self._product[:number]
        torch.mm(x_RD, encoder.w_enc, out=product_RM)
        cut_R = self._nothing[:number]
        if self._cut is not None:
            cut_R, self._cut[first : first + number] = largest_left_out(product_RM, encoder)
        starts = self._starts[: number + 1]
        broken = kernels.select_active(
            product_RM.numpy(), encoder.bias, encoder.theta, self._low, cut_R,
            encoder.gain, encoder.shift, self._marks, self._latents, self._values, starts,
        )  # fmt: skip
        if broken >= 0:
            raise TenfoldError(
                f"row {first + broken} gives a latent that is not finite; look at the dictionary "
                "and at this row of the store"
            )
        rows = slice(first, first + number)
        kernels.count_entries(
            self.counts, self._latents, self._values, starts, first, layout.item[rows],
            layout.places.class_of[layout.place[rows]], self._draws.seed,
        )  # fmt: skip
        self._sample(starts, first)

    def _sample(self, starts: Longs, first: int) -> None:
        found = kernels.sample_rows(
            self._latents, starts, first, self._draws.limit, self._draws.seed,
            self._kept, self._kept_starts,
        )  # fmt: skip
        self._lengths.append(np.diff(self._kept_starts[: found + 1]))
        self._sampled.append(self._kept[: self._kept_starts[found]].copy())

    def absorb(self, other: _Tally) -> None:
        """Add the rows of another segment, which come after these."""
        kernels.absorb(self.counts, other.counts)
        self._sampled += other._sampled
        self._lengths += other._lengths

    def finish(self) -> Scan:
        """Return what was found."""
        starts = np.concatenate([np.zeros(1, np.int64), *self._lengths]).cumsum()
        return Scan(
            counts=self.counts,
            sampled=np.concatenate(self._sampled),
            sampled_starts=starts,
            cut=self._cut,
        )


def colour_examples(
    shards: Shards,
    layout: Layout,
    encoders: Sequence[Encoder],
    scans: Sequence[Scan],
    examples: Sequence[Examples],
    *,
    team: Team,
) -> None:
    """Fill in the colours of all examples of a site, in one pass over its rows."""
    works = [
        _Colouring(encoder=encoder, layout=layout, scan=scan, examples=chosen)
        for encoder, scan, chosen in zip(encoders, scans, examples, strict=True)
    ]

    def colour(blocks: Sequence[tuple[int, int]]) -> None:
        for first, end in blocks:
            if team.stopped.is_set():
                break
            wanted = [work for work in works if work.wants(first, end)]
            if wanted:
                x_RD = shards.read("x", first, end).float().numpy()
                for work in wanted:
                    work.colour(x_RD, first, end)

    for _ in team.work(layout.segments(), colour):
        pass


class _Colouring:
    """The examples of one dictionary in the order of their rows."""

    def __init__(self, *, encoder: Encoder, layout: Layout, scan: Scan, examples: Examples) -> None:
        self._layout, self._examples = layout, examples
        self._w_enc_MD = np.ascontiguousarray(encoder.w_enc.numpy().T)
        self._affine = encoder.affine
        self._cut = np.zeros(layout.rows, np.float32) if scan.cut is None else scan.cut
        rows = examples.row.ravel()
        order = np.argsort(rows, kind="stable")
        self._places = order[np.searchsorted(rows[order], 0) :]
        self._sorted = rows[self._places]

    def wants(self, first: int, end: int) -> bool:
        """Say whether a block holds an example."""
        low, high = np.searchsorted(self._sorted, (first, end))
        return bool(low < high)

    def colour(self, x_RD: Floats, first: int, end: int) -> None:
        """Fill in the colours of the examples of one block."""
        low, high = np.searchsorted(self._sorted, (first, end))
        chosen = self._places[low:high]
        number = self._examples.row.shape[1]
        latents = (chosen // number).astype(np.int32)
        found = np.zeros((len(chosen), self._layout.window), np.uint8)
        show_kernels.colour_windows(
            x_RD, first, self._layout.item[first:end], self._layout.place[first:end],
            self._cut[first:end], self._w_enc_MD, self._affine, self._sorted[low:high], latents,
            self._examples.window.ravel()[chosen], self._examples.scale[latents], found,
        )  # fmt: skip
        self._examples.colour.reshape(-1, self._layout.window)[chosen] = found
