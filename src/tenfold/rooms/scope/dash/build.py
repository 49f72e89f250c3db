"""Write the pages of a suite: a folder that opens from disk and needs no network."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import device, files
from tenfold.engine.config import Json, digest
from tenfold.engine.errors import TenfoldError
from tenfold.engine.progress import Progress
from tenfold.rooms.scope.dash.bundles import write_bundle
from tenfold.rooms.scope.dash.encoder import read_encoder
from tenfold.rooms.scope.dash.examples import GROUPS, Examples, choose
from tenfold.rooms.scope.dash.items import write_items
from tenfold.rooms.scope.dash.layout import read_layout
from tenfold.rooms.scope.dash.scan import Team, colour_examples, scan_site
from tenfold.rooms.scope.dash.shell import write_shell
from tenfold.rooms.scope.dash.tables import Findings, write_tables

if TYPE_CHECKING:
    from tenfold.engine.shards import Shards
    from tenfold.rooms.scope.store import Store
    from tenfold.rooms.scope.suite import Entry, SavedSuite

SCHEMA = 1
"""Grows when the data of the pages change their form; finished sites of before are made anew."""
DATA, FINISHED = "data", "finished"
_PASSED = (
    "l0", "fvu", "delta_loss", "loss_recovered_zero", "loss_recovered_mean", "dead",
    "reconstruction_bias", "above_1_percent", "above_10_percent", "uniformity",
    "delta_loss_bfloat16", "by_position", "by_kind",
)  # fmt: skip
"""What the pages take from the evaluation of an entry."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The dictionaries of one site, and where their pages go."""

    number: int
    site: str
    entries: tuple[tuple[str, Entry], ...]
    """Each with the folder of its bundles."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Builder:
    """What all sites share."""

    suite: SavedSuite
    store: Store
    out: Path
    rows: int
    cofiring_share: float
    seed: int
    threads: int
    check_stop: Callable[[], None]

    def key(self, job: _Job) -> str:
        """Return what the pages of a site depend on."""
        index = self.store.rows(job.site).path / "index.json"
        entries = [(folder, entry.name, entry.sha256) for folder, entry in job.entries]
        settings = [SCHEMA, self.rows, self.cofiring_share, self.seed]
        return digest([settings, job.site, entries, files.sha256(index)])

    def finished(self, job: _Job) -> Json | None:
        """Return what was found of a site whose bundles are there, None if they are not."""
        path = self._marker(job)
        if not path.exists():
            return None
        read: Json = files.read_json(path)
        return read if read.get("key") == self.key(job) else None

    def make(self, job: _Job, advance: Callable[[int], None]) -> Json:
        """Write the bundles of one site, then the marker that says so."""
        store, shards = self.store, self.store.rows(job.site)
        layout = read_layout(store, job.site, rows=self.rows)
        team = Team(threads=self.threads, check_stop=self.check_stop, advance=advance)
        dictionaries = [self.suite.load(entry) for _, entry in job.entries]
        encoders = [read_encoder(dictionary) for dictionary in dictionaries]
        scans = scan_site(
            shards, layout, encoders,
            seed=self.seed, cofiring_share=self.cofiring_share, team=team,
        )  # fmt: skip
        examples = [choose(scan.counts, layout) for scan in scans]
        colours = Team(threads=self.threads, check_stop=self.check_stop)
        colour_examples(shards, layout, encoders, scans, examples, team=colours)
        summaries, captions, unembedding = {}, store.captions, store.unembedding()
        for number, (folder, entry) in enumerate(job.entries):
            self.check_stop()
            found = Findings(
                dictionary=dictionaries[number],
                encoder=encoders[number],
                scan=scans[number],
                examples=examples[number],
                layout=layout,
                site_out=entry.site_out or entry.site,
                unembedding=unembedding,
                tokens=_tokens(shards, examples[number]),
                captions=captions,
            )
            summaries[entry.name] = write_tables(self.out / DATA, folder, found)
        marker = {"key": self.key(job), "entries": summaries}
        marker["items"] = _pack_flags(_used(examples, store.items))
        files.write_json(self._marker(job), marker)
        return marker

    def _marker(self, job: _Job) -> Path:
        return self.out / FINISHED / f"{job.number}.json"


def write_dash(
    suite: SavedSuite,
    store: Store,
    out: Path,
    *,
    evaluation: Json | None = None,
    rows: int = 0,
    cofiring_share: float = 0.1,
    seed: int = 0,
    threads: int = 0,
    check_stop: Callable[[], None] = lambda: None,
    quiet: bool = False,
) -> Path:
    """Write a static site with a page for every latent of a suite, and return its index.html.

    The folder can be moved and opens from disk. Sites that a killed or stopped call has
    finished are not made again; equal inputs give equal bytes for any number of threads.

    Args:
        suite: the dictionaries.
        store: the harvest whose rows are read; it must have every site of the suite.
        out: folder, made if it is not there.
        evaluation: what `evaluation.json` holds, for curves of loss; None leaves them out.
        rows: rows of each site that are read; 0 is all.
        cofiring_share: of the rows on which firing together is counted, 200,000 at the most.
        seed: of the examples that are drawn.
        threads: that work side by side; 0 by rule.
        check_stop: called again and again; may raise to stop.
        quiet: show no progress.

    Raises:
        TenfoldError: if the suite is empty, a site is not in the store, widths differ, or a
            latent is not finite.
    """
    if not suite.entries:
        raise TenfoldError(f"the suite at {suite.path} has no dictionary; train one first")
    if not 0 < cofiring_share <= 1 or rows < 0:
        raise TenfoldError(
            f"cofiring_share ({cofiring_share}) must lie in (0, 1], rows ({rows}) from 0 on"
        )
    builder = _Builder(
        suite=suite,
        store=store,
        out=out,
        rows=rows,
        cofiring_share=cofiring_share,
        seed=seed,
        threads=device.choose("cpu", threads=threads).threads,
        check_stop=check_stop,
    )
    found = _make_all(builder, _jobs(suite), quiet=quiet)
    items = write_items(out / DATA, store, used=_all_used(found, store.items))
    if store.vocabulary:
        write_bundle(out / DATA, "vocabulary", facts={"strings": store.vocabulary}, arrays={})
    facts = _suite_facts(builder, found, evaluation or {}) | {"items": items}
    write_bundle(out / DATA, "suite", facts=facts, arrays={})
    return write_shell(out, title=f"Dictionaries of {suite.manifest.model}")


def _jobs(suite: SavedSuite) -> list[_Job]:
    named = [(f"d{number}", entry) for number, entry in enumerate(suite.entries)]
    return [
        _Job(
            number=number,
            site=site,
            entries=tuple((name, entry) for name, entry in named if entry.site == site),
        )
        for number, site in enumerate(suite.sites)
    ]


def _make_all(builder: _Builder, jobs: Sequence[_Job], *, quiet: bool) -> list[Json]:
    def rows(job: _Job) -> int:
        there = builder.store.rows(job.site).num_rows
        return min(builder.rows or there, there)

    done, found = 0, []
    with Progress("dash", sum(map(rows, jobs)), quiet=quiet) as progress:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress.update(done)

        for job in jobs:
            builder.check_stop()
            before = builder.finished(job)
            found.append(before or builder.make(job, advance))
            if before:
                advance(rows(job))
    return found


def _tokens(shards: Shards, examples: Examples) -> NDArray[np.int64] | None:
    if all(column.name != "token" for column in shards.columns):
        return None
    rows = np.maximum(examples.row, 0)
    return shards.gather("token", rows.ravel()).numpy().astype(np.int64).reshape(rows.shape)


def _used(examples: Sequence[Examples], items: int) -> NDArray[np.bool_]:
    used = np.zeros(items, np.bool_)
    for chosen in examples:
        used[chosen.item[chosen.item >= 0]] = True
    return used


def _pack_flags(flags: NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(flags).tobytes())).decode()


def _all_used(found: Sequence[Json], items: int) -> NDArray[np.bool_]:
    used = np.zeros(items, np.bool_)
    for marker in found:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(marker["items"])), np.uint8)
        used |= np.unpackbits(bits, count=items).astype(np.bool_)
    return used


def _suite_facts(builder: _Builder, found: Sequence[Json], evaluation: Json) -> Json:
    manifest, store = builder.suite.manifest, builder.store
    summaries = {name: summary for marker in found for name, summary in marker["entries"].items()}
    measured = evaluation.get("entries", {})
    entries = [
        {
            "name": entry.name,
            "data": f"d{number}",
            "site": entry.site,
            "site_out": entry.site_out,
            "kind": entry.kind,
            "width": entry.width,
            "target_l0": entry.target_l0,
            "seed": entry.seed,
            "trained_rows": entry.rows,
            "harvest": entry.metrics,
            "evaluation": {
                key: value for key, value in measured.get(entry.name, {}).items() if key in _PASSED
            },
            "found": summaries[entry.name],
        }
        for number, entry in enumerate(manifest.entries)
    ]
    facts = {
        "model": manifest.model,
        "licence": manifest.licence,
        "shows": store.shows,
        "cofiring_share": builder.cofiring_share,
        "groups": GROUPS,
        "entries": entries,
        "evaluated_tokens": evaluation.get("tokens"),
        "baselines": evaluation.get("baselines", {}),
        "left_out": evaluation.get("left_out", []),
        "vocabulary": bool(store.vocabulary),
    }
    cleaned: Json = _finite(facts)
    return cleaned


def _finite(data: Any) -> Any:
    """Turn numbers that are not finite into None, as JSON has none."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
