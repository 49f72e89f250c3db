"""Activations of the small language model: trained or taken from the cache, then harvested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tenfold.engine import rng
from tenfold.engine.config import digest
from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import Options, Run
from tenfold.engine.shards import Shards
from tenfold.parts.nn.transformer import Decoder
from tenfold.parts.sae.harvest import Batch, collect
from tenfold.parts.sae.subject import Subject, load_or_train
from tenfold.parts.sae.taps import find_sites
from tenfold.rooms.jumprelu import config

ROWS_PER_SHARD = 65_536
"""What a kill can cost of a harvest."""


def check_site(data: config.Model) -> None:
    """Refuse a site that the model does not have, before the model is trained.

    Raises:
        TenfoldError: with the nearest names, or those that fit if there are several.
    """
    blank = Decoder(data.subject.decoder, generator=rng.torch_stream(0, "blank"))
    found = find_sites(blank, data.site)
    if len(found) != 1:
        raise TenfoldError(
            f"site {data.site!r} names {len(found)} sites: {', '.join(map(str, found))}; choose one"
        )


def harvest_site(data: config.Model, *, run: Run, torch_device: str = "cpu") -> Shards:
    """Return the activations that `data` asks for, below the run's directory.

    Model and harvest go on where a killed run left them.
    """
    subject = load_or_train(data.subject, options=inner_options(run), device=torch_device)
    (store,) = harvest(
        subject, (data.site,), tokens=data.tokens, folder=run.path / "harvest", run=run
    ).values()
    return store


def inner_options(run: Run) -> Options:
    """Return the options of a model trained inside `run`: `stop_after` is not about its steps."""
    return replace(run.options, stop_after=0)


def harvest(
    subject: Subject, sites: tuple[str, ...], *, tokens: int, folder: Path, run: Run
) -> dict[str, Shards]:
    """Write activations of several sites, in one pass over the training text.

    Args:
        subject: the model and its text.
        sites: where to read.
        tokens: rows of each site.
        folder: gets a store for each site.
        run: asked between batches whether to stop.
    """

    def batches(start: int) -> Iterator[Batch]:
        return subject.batches(seed=0, split="train", start=start)

    return collect(
        subject.module,
        sites,
        batches,
        folder=folder,
        max_rows=tokens,
        rows_per_shard=ROWS_PER_SHARD,
        meta={"subject": digest(subject.config), "text": subject.corpus.digest},
        check_stop=run.check_stop,
        quiet=run.options.quiet,
    )


def held_out_windows(subject: Subject, *, tokens: int) -> list[Batch]:
    """Return windows of held-out text, at least `tokens` tokens, always the same."""
    batch = 32
    windows = -(-tokens // subject.config.decoder.context)
    batches = subject.batches(seed=0, split="held_out", batch=batch)
    return list(islice(batches, -(-windows // batch)))
