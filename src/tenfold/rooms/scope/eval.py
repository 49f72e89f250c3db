"""Every metric of a suite that needs no human rater (Gemma Scope, section 4; arXiv:2408.05147).

| metric | definition |
|---|---|
| L0, FVU, reconstruction bias, firing frequency | as in the room jumprelu |
| delta loss | the model's loss with the reconstruction at the site, minus the clean loss |
| loss recovered | (zero - spliced) / (zero - clean), and with the mean in the place of zero |
| by position, by kind | the same sums, taken apart |
| uniformity | how evenly active latents share in the score of the correct token |
| bfloat16 | delta loss of the dictionary in that precision |
| baselines | mean, zero and principal components in the dictionary's place |

Held-out data only. Masked positions keep their clean value and count nowhere. The costly ones
are taken on a part of the data, the first `part_tokens`; ratios and differences in them compare
the same positions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import safetensors.torch
import torch

from tenfold.engine import files
from tenfold.engine.config import Json, digest
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.progress import Progress
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope.baselines import baseline_metrics, stand_ins
from tenfold.rooms.scope.evaluation import importance, results
from tenfold.rooms.scope.evaluation.passes import clean_pass, count_items, count_kept
from tenfold.rooms.scope.evaluation.pieces import Pieces
from tenfold.rooms.scope.evaluation.plan import METRICS, Plan, prepare, sites_of
from tenfold.rooms.scope.evaluation.sums import (
    Chunk,
    Sums,
    add_up,
    sum_clean,
    sum_dictionary,
    sum_site,
)
from tenfold.rooms.scope.evaluation.tables import csv_text
from tenfold.rooms.scope.suite import Entry, SavedSuite

FOLDER = "evaluation"
"""Where a run keeps its evaluation, below `out/`."""
RESULT, TABLE, ITEMS = "evaluation.json", "evaluation.csv", "items.safetensors"
SCHEMA = 1


def evaluate(
    suite: SavedSuite,
    specimen: Specimen,
    *,
    tokens: int = 131_072,
    part_tokens: int = 0,
    out: Path | None = None,
    metrics: Sequence[str] = METRICS,
    memory: int = 1 << 28,
    check_stop: Callable[[], None] = lambda: None,
    quiet: bool = False,
) -> Json:
    """Measure every dictionary of a suite on held-out data.

    A killed evaluation goes on from the pieces that were done: a piece is one dictionary on
    as many batches as fit into `memory`. A finished one of the same settings is read.

    Args:
        suite: what is measured.
        specimen: the model, which need not be the one that the suite was trained on.
        tokens: kept tokens (or items) of the held-out data, as near as whole batches come; all
            of them if there are fewer.
        part_tokens: of these, how many serve the baselines, bfloat16 and uniformity; 0 is a
            sixteenth.
        out: folder that gets `evaluation.json`, `evaluation.csv` and `items.safetensors`;
            None writes nothing and cannot go on.
        metrics: some of `METRICS`.
        memory: bytes of activations held at a time; those of one batch are held in any case.
        check_stop: called before each piece; may raise to stop.
        quiet: show no progress.

    Returns:
        What `evaluation.json` says.

    Raises:
        TenfoldError: if a metric is not known, there are no dictionaries or no held-out data,
            a site is not in the model, widths differ, or the model is not repeatable.
    """
    for name in metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    if not suite.entries:
        raise TenfoldError(f"the suite {suite.path.name} has no dictionaries; train some first")
    part_tokens = part_tokens or -(-tokens // 16)
    settings = {
        "identity": specimen.identity,
        "model": specimen.name,
        "tokens": tokens,
        "part_tokens": part_tokens,
        "metrics": sorted(metrics),
        "entries": [[entry.name, *sites_of(entry), entry.sha256] for entry in suite.entries],
    }
    key = digest(settings)
    finished = _read_finished(out, key)
    if finished is not None:
        return finished
    plan, left_out = prepare(
        suite, specimen, metrics=metrics, tokens=(tokens, part_tokens), memory=memory
    )
    pieces = Pieces(None if out is None else out / "pieces" / f"{key}-{plan.chunk}")
    _measure(plan, pieces, check_stop=check_stop, quiet=quiet)
    found, items = _conclude(plan, pieces)
    found = {"schema": SCHEMA, "key": key, "model": specimen.name, **found, "left_out": left_out}
    if out is not None:
        files.write_bytes(out / ITEMS, safetensors.torch.save(items))
        files.write_text(out / TABLE, csv_text(found))
        files.write_json(out / RESULT, found)
    pieces.clear()
    return found


def _read_finished(out: Path | None, key: str) -> Json | None:
    if out is None or not (out / RESULT).exists():
        return None
    found: Json = files.read_json(out / RESULT)
    return found if found.get("key") == key else None


def _measure(plan: Plan, pieces: Pieces, *, check_stop: Callable[[], None], quiet: bool) -> None:
    """Do every piece that is not there yet, chunk by chunk."""
    total = len(plan.starts) * len(_jobs(plan, 0))
    done, first = 0, 0
    with Progress("evaluate", total, quiet=quiet) as progress:
        for start in plan.starts:
            jobs = {name: job for name, job in _jobs(plan, start).items() if not pieces.has(name)}
            done += total // len(plan.starts) - len(jobs)
            chunk = None
            for name, job in jobs.items():
                check_stop()
                chunk = chunk or _hold(plan, start, first=first)
                pieces.put(name, job(chunk))
                done += 1
                progress.update(done)
            batches = plan.batches[start : start + plan.chunk]
            first += sum(map(count_items, batches))


def _jobs(plan: Plan, start: int) -> dict[str, Callable[[Chunk], Sums]]:
    """Return every piece of a chunk by name, each site before its dictionaries."""
    jobs: dict[str, Callable[[Chunk], Sums]] = {f"{start}-clean": partial(sum_clean, plan.probe)}
    for site in plan.targets:
        jobs[f"{start}-{digest(site)}"] = partial(_site_piece, plan, site)
        for entry in plan.suite.entries:
            if sites_of(entry)[1] == site:
                jobs[f"{start}-{digest(entry.name)}"] = partial(_entry_piece, plan, entry)
    return jobs


def _site_piece(plan: Plan, site: str, chunk: Chunk) -> Sums:
    found = {}
    if plan.moments:
        found = stand_ins(plan.moments[site], plan.components(site))
    return sum_site(plan.probe, site, found, chunk=chunk)


def _entry_piece(plan: Plan, entry: Entry, chunk: Chunk) -> Sums:
    source, target = sites_of(entry)
    device = str(chunk.cleans[0].sites[target].device)
    dictionary = plan.suite.load(entry, device=device)
    return sum_dictionary(plan.probe, dictionary, source=source, site=target, chunk=chunk)


def _hold(plan: Plan, start: int, *, first: int) -> Chunk:
    """Run the clean passes of a chunk."""
    probe, pairs = plan.probe, [sites_of(entry) for entry in plan.suite.entries]
    sites = dict.fromkeys(site for pair in pairs for site in pair)
    kept = dict.fromkeys(name for names in probe.shortcuts.values() for name in names)
    cleans, attributed = [], []
    began = time.perf_counter()
    for number, batch in enumerate(plan.batches[start : start + plan.chunk], start):
        clean = clean_pass(
            probe.specimen, batch, sites=sites, keep_results=kept, number=number, first=first
        )
        cleans.append(clean)
        first += clean.size
    passed = time.perf_counter()
    if plan.uniform:
        part = [clean for clean in cleans if clean.number < probe.part]
        attributed = [importance.attribute(probe.specimen, pairs, clean) for clean in part]
    seconds = {"clean": passed - began, "uniformity": time.perf_counter() - passed}
    return Chunk(cleans=cleans, attributed=importance.join(attributed), seconds=seconds)


def _conclude(plan: Plan, pieces: Pieces) -> tuple[Json, dict[str, torch.Tensor]]:
    """Turn all pieces into the metrics, and into the sums of single items."""
    began = plan.starts
    clean = add_up(pieces.get(f"{start}-clean") for start in began)
    if plan.probe.specimen.loss is not None and not float(clean["predicted"]):
        raise TenfoldError(
            f"the loss of {plan.probe.specimen.name!r} is NaN wherever the mask keeps anything; "
            "give a loss that predicts something there, or leave out the metric 'loss'"
        )
    sites = {
        site: add_up(pieces.get(f"{start}-{digest(site)}") for start in began)
        for site in plan.targets
    }
    entries = {
        entry.name: add_up(pieces.get(f"{start}-{digest(entry.name)}") for start in began)
        for entry in plan.suite.entries
    }
    found: Json = {"tokens": sum(map(count_kept, plan.batches))}
    found |= results.common_facts(clean, sites, kinds=plan.kinds)
    found["seconds"] = results.stage_seconds([clean, *sites.values(), *entries.values()])
    found["rerun"] = {
        site: results.share_rerun(plan.probe.specimen, names)
        for site, names in plan.probe.shortcuts.items()
    }
    found["entries"] = {
        entry.name: results.entry_metrics(
            entry,
            entries[entry.name],
            site=sites[sites_of(entry)[1]],
            clean=clean,
            kinds=plan.kinds,
        )
        for entry in plan.suite.entries
    }
    found["baselines"] = {
        site: baseline_metrics(
            sums,
            variance=results.variance_of(site, sums),
            predicted=float(clean.get("part/predicted", torch.zeros(()))),
        )
        for site, sums in sites.items()
        if plan.moments
    }
    return found, results.item_tensors(entries, sites, clean)
