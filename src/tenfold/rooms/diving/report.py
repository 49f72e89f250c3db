"""Figures, tables and pages: of collections, training runs, comparisons, solves and the claim."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine.claim import claim_page, from_json
from tenfold.engine.config import Json, decode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.metrics import read_metrics
from tenfold.engine.report.figures import Curve, Figure, Table, axis, bars, curves, scatter
from tenfold.engine.report.page import Page, Section, write_page
from tenfold.engine.run import saved_config
from tenfold.parts.mip import measure
from tenfold.rooms.diving import config, eval

SECONDS = axis("time from reading on", unit="s", log=True)
GAP = axis("mean primal gap", log=True)
FIRST_SECOND = 0.01
"""Where axes of time begin."""


# Curves over time


def gap_figure(trials: Sequence[Json], *, title: str = "Mean primal gap", limit: float) -> Figure:
    """Draw each method's mean primal gap over time, both axes logarithmic."""
    best = eval.best_known(trials)
    series = {}
    for method, some in eval.by_method(trials).items():
        known = [trial for trial in some if math.isfinite(best[trial["instance"]])]
        if known:
            series[method] = _sampled(measure.mean_curve(eval.primal_curves(known, best)), limit)
    return curves(
        title,
        series,
        x=SECONDS,
        y=GAP,
        caption="Gap to the best known value, mean over instances; 1 as long as a run has no "
        "point. Lower and further left is better.",
    )


def primal_dual_figure(trials: Sequence[Json], *, limit: float) -> Figure:
    """Draw each method's mean gap between its own point and bound."""
    series = {
        method: _sampled(measure.mean_curve(eval.primal_dual_curves(some)), limit)
        for method, some in eval.by_method(trials).items()
    }
    return curves(
        "Mean primal-dual gap",
        series,
        x=SECONDS,
        y=axis("mean primal-dual gap", log=True),
        caption="Gap between a run's own point and bound, mean over instances.",
    )


def survival_figure(trials: Sequence[Json], *, target: float, limit: float) -> Figure:
    """Draw the share of instances that have a gap of at most `target`, over time."""
    best = eval.best_known(trials)
    series = {}
    for method, some in eval.by_method(trials).items():
        known = [trial for trial in some if math.isfinite(best[trial["instance"]])]
        if known:
            found = measure.survival(eval.primal_curves(known, best), target)
            series[method] = _sampled(found, limit)
    return curves(
        f"Instances within {100 * target:g} % of the best known value",
        series,
        x=SECONDS,
        y=axis("share of instances"),
        caption="Higher and further left is better.",
    )


def _sampled(curve: measure.Curve, limit: float, points: int = 160) -> Curve:
    times = np.geomspace(FIRST_SECOND, limit, points)
    return Curve(x=times.tolist(), y=np.maximum(curve.at(times), measure.FLOOR).tolist())


def method_table(rows: Sequence[Json], *, target: float, limit: float) -> Table:
    """Return the figures of each method."""
    return Table(
        title=f"Methods, limit {limit:g} s",
        columns=(
            "method",
            f"s to mean gap {100 * target:g} %",
            "instances there",
            "mean s, missed as limit",
            "primal integral / limit",
            "gap at the end",
            "runs",
        ),
        rows=tuple(
            (
                row["method"],
                row["time_to_mean_gap"],
                row["reached"],
                row["time"],
                row["primal_integral"],
                row["final_gap"],
                row["trials"],
            )
            for row in rows
        ),
    )


def instance_figure(trials: Sequence[Json], *, limit: float) -> Figure:
    """Draw every run's primal integral, a mark an instance."""
    best = eval.best_known(trials)
    values = {
        method: [
            measure.primal_curve(eval.trace_of(t), best[t["instance"]]).integral(limit) / limit
            for t in some
            if math.isfinite(best[t["instance"]])
        ]
        for method, some in eval.by_method(trials).items()
    }
    return bars(
        "Primal integral of each instance",
        values,
        y=axis("primal integral / limit"),
        caption="Mean gap over the whole time; means with 95 % intervals over instances.",
    )


def bench_page(told: Json, trials: Sequence[Json], cfg: config.Bench, path: Path) -> None:
    """Write the page of a comparison."""
    limit, target = cfg.time, cfg.target
    left_out = [f"{name} was left out: it needs {why}." for name, why in told["left_out"].items()]
    tuned = told["emphasis"]
    facts = [("Tuned SCIP", ", ".join(f"{k} {v}" for k, v in tuned.items()))] if tuned else []
    page = Page(
        title=f"Comparison on {Path(cfg.folder).name}",
        kicker="diving",
        subtitle="Every run on one thread, from reading the file on; best known value of an "
        "instance: the best of all runs.",
        facts=tuple(facts),
        sections=(
            Section(
                title="What came out",
                paragraphs=tuple(told["said"] + left_out) or ("No learnt method was compared.",),
                tables=(method_table(told["methods"], target=target, limit=limit),),
            ),
            Section(
                title="Over time",
                figures=(
                    gap_figure(trials, limit=limit),
                    survival_figure(trials, target=target, limit=limit),
                    primal_dual_figure(trials, limit=limit),
                ),
            ),
            Section(title="Instance by instance", figures=(instance_figure(trials, limit=limit),)),
        ),
    )
    write_page(path, page)


# Runs


def write_report(path: Path, *, light: bool = False) -> Path:
    """Write report.html into the run directory `path` and return its path.

    Raises:
        TenfoldError: if the run is unfinished or of another kind.
    """
    saved = saved_config(path)
    makers: dict[str, Any] = {
        "claim": claim_run_page,
        "train": training_page,
        "collect": collect_page,
        "solve": solve_page,
    }
    target = path / "report.html"
    if saved["verb"] == "bench":
        told, trials = _finished(path, "bench.json"), _pieces(path / "out" / "trials")
        cfg = decode(config.Bench, saved["config"], path="config")
        bench_page(told, trials, cfg, target)
    elif saved["verb"] in makers:
        write_page(target, makers[saved["verb"]](path), light=light)
    else:
        raise TenfoldError(f"a run of {saved['verb']!r} has no report; give one of this room's")
    return target


def _finished(path: Path, name: str) -> Json:
    file = path / "out" / name
    if not file.exists():
        raise TenfoldError(f"run {path.name} is unfinished; `tenfold runs resume {path.name}`")
    told: Json = read_json(file)
    return told


def _pieces(folder: Path) -> list[Json]:
    return [read_json(piece) for piece in sorted(folder.glob("*.json"))]


def claim_run_page(path: Path) -> Page:
    """Return the page of a claim's run."""
    return claim_page(from_json(_finished(path, "claim.json")))


def training_page(path: Path) -> Page:
    """Return a training run's page: curves, and which coverage is good for what."""
    metrics = read_metrics(path / "metrics.jsonl")
    kind = saved_config(path)["config"]["what"]
    units = _units(kind)
    figures = tuple(
        curves(
            f"{name} while training",
            {name: _curve(points)},
            x=axis("step"),
            y=axis(name, unit=units.get(name, "")),
        )
        for name, points in metrics.items()
        if points
    )
    file = path / "out" / "report.json"
    sections = [Section(title="Training", figures=figures)]
    if file.exists():
        report = read_json(file)
        sections.insert(0, _branch_section(report) if kind == "branch" else _dive_section(report))
    return Page(
        title=f"Training run {path.name}",
        kicker="diving",
        subtitle="Everything but the loss is measured on instances that were held out.",
        sections=tuple(sections),
    )


def _units(kind: str) -> Mapping[str, str]:
    # The modules with the units need torch, which a page of a finished run has at hand.
    if kind == "branch":
        from tenfold.rooms.diving.branch.training import UNITS as BRANCH_UNITS

        return BRANCH_UNITS
    from tenfold.rooms.diving.dive.training import UNITS

    return UNITS


def _curve(points: Sequence[tuple[int, float]]) -> Curve:
    steps, values = zip(*points, strict=True)
    return Curve(x=list(steps), y=list(values))


def _dive_section(report: Json) -> Section:
    tried = report["calibration"]["tried"]
    rows = tuple((row["coverage"], row["feasible"], row["mean_gap"]) for row in tried)
    figures: tuple[Figure, ...] = ()
    if tried:
        series = {
            "feasible sub-MIPs": Curve(x=[r[0] for r in rows], y=[r[1] for r in rows]),
            "mean gap": Curve(x=[r[0] for r in rows], y=[r[2] for r in rows]),
        }
        figures = (
            scatter(
                "Coverage against feasibility and gap",
                series,
                x=axis("coverage", unit="share of slots assigned"),
                y=axis("share, gap"),
                caption="On held-out instances: share of sub-MIPs that have a point, and mean gap "
                "to the best known point, infeasible ones as 1.",
            ),
        )
    return Section(
        title="Coverage",
        paragraphs=(f"First dives assign {100 * report['coverage']:.0f} % of the slots.",),
        figures=figures,
        tables=(
            Table(
                title="Sub-MIPs of held-out instances",
                columns=("coverage", "feasible", "mean gap"),
                rows=rows,
            ),
        )
        if rows
        else (),
    )


def _branch_section(report: Json) -> Section:
    rows = tuple(report["accuracy"].items())
    return Section(
        title="Accuracy",
        paragraphs=(
            f"{report['held_out_nodes']:,} nodes of instances that were held out; a choice is "
            "right if it has the best strong-branching score, ties included.",
        ),
        tables=(Table(title="Against full strong branching", columns=("", "value"), rows=rows),),
    )


def collect_page(path: Path) -> Page:
    """Return a collection's page: what each instance gave."""
    told = _finished(path, "labels.json")
    rows = tuple((key, piece["said"]) for key, piece in told.items())
    return Page(
        title=f"Labels of {path.name}",
        kicker="diving",
        sections=(
            Section(
                title="Instances",
                tables=(Table(title="Labels", columns=("instance", "labels"), rows=rows),),
            ),
        ),
    )


def solve_page(path: Path) -> Page:
    """Return a solve's page: point and bound over time, and what was done."""
    told = _finished(path, "answer.json")
    trace = [row for row in told["trace"] if row[1] is not None or row[2] is not None]
    primal = [(max(row[0], FIRST_SECOND), row[1]) for row in trace if row[1] is not None]
    dual = [(max(row[0], FIRST_SECOND), row[2]) for row in trace if row[2] is not None]
    series = {
        name: Curve(x=[t for t, _ in points], y=[v for _, v in points])
        for name, points in (("best point", primal), ("bound", dual))
        if points
    }
    figures = (
        (curves("Best point and bound", series, x=SECONDS, y=axis("objective")),) if series else ()
    )
    return Page(
        title=f"Solve of {told['instance']}",
        kicker="diving",
        subtitle=told["certificate"] or "No point was found.",
        facts=(
            ("Status", told["status"]),
            ("Objective", str(told["objective"])),
            ("Bound", str(told["bound"])),
        ),
        sections=(
            Section(title="Over time", figures=figures),
            Section(title="What was done", paragraphs=tuple(told["notes"])),
        ),
    )
