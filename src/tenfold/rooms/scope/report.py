"""The page of a suite's run: dictionaries, fronts, curves, baselines, limits."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tenfold.engine.claim import claim_page, from_json
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.progress import format_seconds
from tenfold.engine.report.figures import Table
from tenfold.engine.report.page import Block, Page, Section, write_page
from tenfold.engine.run import saved_config
from tenfold.rooms.scope.eval import FOLDER as EVALUATION
from tenfold.rooms.scope.eval import RESULT
from tenfold.rooms.scope.evaluation import figures
from tenfold.rooms.scope.evaluation.matched import Evaluation, open_evaluation
from tenfold.rooms.scope.evaluation.tables import (
    baseline_table,
    dictionary_table,
    kind_table,
    matched_table,
    site_table,
)
from tenfold.rooms.scope.suite import FOLDER, MANIFEST, Manifest, open_suite

METRICS_WITHOUT_EVALUATION = (
    "The suite has not been evaluated: L0, FVU and frequencies are those on held-out rows of the "
    "harvest, and there is nothing about the model's loss. `tenfold scope eval` adds it."
)


def write_report(path: Path, *, light: bool = False) -> Path:
    """Write report.html into the run directory `path` and return its path.

    Args:
        path: a run of a suite, evaluated or not, or of a claim.
        light: leave out every script.

    Raises:
        TenfoldError: if the run is unfinished or of another kind.
    """
    saved = saved_config(path)
    if saved["verb"] == "claim":
        page = _saved_claim(path)
    elif (path / "out" / FOLDER / MANIFEST).exists():
        page = suite_page(path, saved)
    else:
        raise TenfoldError(
            f"the run {path.name} of {saved['verb']!r} has no suite to report on; resume it until "
            "its dictionaries are trained"
        )
    target = path / "report.html"
    write_page(target, page, light=light)
    return target


def _saved_claim(path: Path) -> Page:
    if not (path / "out" / "claim.json").exists():
        raise TenfoldError(f"claim {path.name} is unfinished; `tenfold runs resume {path.name}`")
    return claim_page(from_json(read_json(path / "out" / "claim.json")))


def suite_page(path: Path, saved: Json) -> Page:
    """Return the page of a suite's run.

    Args:
        path: the run directory.
        saved: all of its `config.json`.
    """
    manifest = open_suite(path).manifest
    evaluated = (path / "out" / EVALUATION / RESULT).exists()
    evaluation = open_evaluation(path) if evaluated else trained_only(manifest)
    sections = _evaluated_sections(evaluation) if evaluated else _trained_sections(evaluation)
    return Page(
        title=f"Suite {path.name}",
        kicker="scope",
        subtitle=f"{len(manifest.entries)} sparse dictionaries of {manifest.model}, "
        + ("measured on held-out data." if evaluated else "not yet evaluated."),
        facts=_facts(manifest, evaluation.result, saved),
        sections=(*sections, _run_section(evaluation.result), _repeat_section(saved)),
    )


def trained_only(manifest: Manifest) -> Evaluation:
    """Return the metrics of training in the form of an evaluation."""
    entries = {
        entry.name: {
            "site": entry.site,
            "site_out": entry.site_out,
            "kind": entry.kind,
            "width": entry.width,
            "target_l0": entry.target_l0,
            "seed": entry.seed,
        }
        | entry.metrics
        for entry in manifest.entries
    }
    return Evaluation(result={"entries": entries, "baselines": {}}, items={})


def _trained_sections(evaluation: Evaluation) -> list[Section]:
    entries = evaluation.result["entries"]
    measured = {name: entry for name, entry in entries.items() if "fvu" in entry}
    return [
        Section(
            title="Dictionaries",
            paragraphs=(METRICS_WITHOUT_EVALUATION,),
            tables=(dictionary_table(entries),),
        ),
        Section(
            title="L0 against error",
            figures=(
                *figures.front_figures(measured, "fvu"),
                *figures.frequency_figures(measured),
            ),
        ),
    ]


def _evaluated_sections(evaluation: Evaluation) -> list[Section]:
    result = evaluation.result
    entries, baselines = result["entries"], result["baselines"]
    has_loss = any("delta_loss" in entry for entry in entries.values())
    measures = ("fvu", "delta_loss") if has_loss else ("fvu",)
    fronts = [figure for measure in measures for figure in figures.front_figures(entries, measure)]
    sections = [
        Section(
            title="Dictionaries",
            tables=(site_table(result), dictionary_table(entries)),
        ),
        Section(title="L0 against error and loss", figures=tuple(fronts)),
        Section(
            title="At equal L0",
            paragraphs=(
                "Fronts are read at the same L0 by straight lines on log-log axes, never beyond "
                "their ends. Intervals are over seeds where there are several, else over items of "
                "the held-out data, which tells nothing about other seeds.",
            ),
            tables=tuple(matched_table(evaluation, measure) for measure in measures),
        ),
        Section(title="How often latents fire", figures=figures.frequency_figures(entries)),
    ]
    curves = figures.position_figures(entries)
    if curves:
        sections.append(Section(title="By position", figures=curves))
    if any("by_kind" in entry for entry in entries.values()):
        sections.append(
            Section(
                title="By kind of data",
                figures=(figures.kind_figure(entries),),
                tables=(kind_table(result),),
            )
        )
    if baselines:
        sections.append(
            Section(
                title="Baselines",
                paragraphs=(
                    "Principal components and means are fitted to training data. Their delta loss "
                    f"is taken on {_part(result)} of the predicted tokens or items.",
                ),
                figures=figures.baseline_figures(entries, baselines),
                tables=(baseline_table(baselines),),
            )
        )
    return sections


def _part(result: Json) -> str:
    return f"{result.get('part', {}).get('predicted', 0):,}"


def _facts(manifest: Manifest, result: Json, saved: Json) -> tuple[tuple[str, str], ...]:
    sites = dict.fromkeys(entry.site for entry in manifest.entries)
    facts = {
        "Model": manifest.model,
        "Dictionaries": f"{len(manifest.entries)} at {len(sites)} sites",
        "Latents": f"{sum(entry.width for entry in manifest.entries):,}",
        "Evaluated on": f"{result['tokens']:,} tokens or items" if "tokens" in result else "",
        "Clean loss": f"{result['clean_loss']:.4f}" if "clean_loss" in result else "",
        "Licence": manifest.licence,
        "Version": saved.get("version", ""),
        "Commit": (saved.get("commit") or "")[:12] or "not from a checkout",
    }
    return tuple((name, text) for name, text in facts.items() if text)


def _run_section(result: Json) -> Section:
    limits = [f"Left out: {reason}." for reason in result.get("left_out", ())]
    if "uniformity" in str(result["entries"]):
        limits.append(
            "Uniformity is taken on a few positions drawn from each window of the part, with the "
            "gradients of the untouched model."
        )
    return Section(
        title="Limits", paragraphs=(*limits, *_seed_notes(result)), tables=_times(result)
    )


def _seed_notes(result: Json) -> tuple[str, ...]:
    seeds = {entry["seed"] for entry in result["entries"].values()}
    if len(seeds) > 1:
        return ()
    return ("One seed was trained: no interval on this page shows how seeds differ.",)


def _times(result: Json) -> tuple[Table, ...]:
    if "seconds" not in result:
        return ()
    rows = tuple((stage, seconds) for stage, seconds in result["seconds"].items())
    total = format_seconds(sum(result["seconds"].values()))
    title = f"What the evaluation took, {total} in all"
    return (Table(title=title, columns=("stage", "seconds"), rows=rows),)


def _repeat_section(saved: Json) -> Section:
    config = json.dumps(saved["config"], indent=1, ensure_ascii=False)
    words = ["tenfold", "scope", saved["verb"], *([saved["recipe"]] if saved["recipe"] else [])]
    return Section(
        title="How to repeat",
        paragraphs=(
            "The config below decides everything; give it as `--from RUN`, or its fields as "
            "options.",
        ),
        blocks=(
            Block(title="Command", text=shlex.join(words)),
            Block(title="Config of the run", text=config, folded=True),
        ),
    )
