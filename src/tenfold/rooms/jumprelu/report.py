"""Figures, tables and pages of this room: of the claim, and of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine.claim import ClaimResult, claim_page, from_json
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.metrics import read_metrics
from tenfold.engine.report.figures import (
    Bins,
    Curve,
    Figure,
    Table,
    axis,
    curves,
    fronts,
    histogram,
)
from tenfold.engine.report.page import Page, Section, write_page
from tenfold.engine.run import saved_config
from tenfold.engine.stats import Interval, mean_interval
from tenfold.rooms.jumprelu.claim_config import Plan

L0 = axis("L0", unit="active latents a row", log=True)
MEASURES = {
    "fvu": axis("FVU", unit="share of the variance", log=True),
    "delta_loss": axis("delta loss", unit="nats a token"),
}
LABELS = {"fvu": "FVU", "delta_loss": "delta loss"}


def claim_figures(pieces: Sequence[Json], plan: Plan) -> tuple[Figure, ...]:
    """Return the fronts of every site, then frequencies and training curves of the first."""
    found: list[Figure] = []
    for site in plan.sites:
        here = [piece for piece in pieces if piece["site"] == site]
        found += [front_figure(here, measure, site=site) for measure in MEASURES]
    first = [piece for piece in pieces if piece["site"] == plan.sites[0]]
    found.append(frequency_figure(first, plan))
    found += [training_figure(first, metric, plan) for metric in ("fvu", "l0")]
    return tuple(found)


def front_figure(pieces: Sequence[Json], measure: str, *, site: str) -> Figure:
    """Draw L0 against a measure for each kind, means with 95 % intervals over seeds."""
    return fronts(
        f"L0 against {LABELS[measure]} at {site}",
        {piece["arm"]: _front(piece["lanes"], measure) for piece in pieces},
        x=L0,
        y=MEASURES[measure],
        caption=f"{LABELS[measure]} on held-out text against L0; means and 95 % intervals over "
        "seeds, single seeds as dots. Lower left is better.",
    )


def _front(lanes: Sequence[Json], measure: str) -> Curve:
    targets = sorted({lane["target_l0"] for lane in lanes})
    groups = [[lane for lane in lanes if lane["target_l0"] == target] for target in targets]
    intervals = [_interval([lane[measure] for lane in group]) for group in groups]
    return Curve(
        x=[float(np.mean([lane["l0"] for lane in group])) for group in groups],
        y=[interval.estimate for interval in intervals],
        low=[interval.low for interval in intervals],
        high=[interval.high for interval in intervals],
        points=[(lane["l0"], lane[measure]) for lane in lanes],
    )


def _interval(values: Sequence[float]) -> Interval:
    if len(values) > 1:
        return mean_interval(values)
    return Interval(estimate=values[0], low=values[0], high=values[0])


def front_tables(pieces: Sequence[Json], plan: Plan) -> tuple[Table, ...]:
    """Return a table for each site: every kind and target with intervals over seeds."""
    columns: tuple[str, ...] = ("kind", "target L0", "L0", "FVU", "± FVU", "delta loss")
    columns += ("± delta loss", "reconstruction bias", "dead", "above 10 %")
    tables = []
    for site in plan.sites:
        rows = []
        for piece in pieces:
            if piece["site"] != site:
                continue
            for target in sorted({lane["target_l0"] for lane in piece["lanes"]}):
                group = [lane for lane in piece["lanes"] if lane["target_l0"] == target]
                rows.append((piece["arm"], target, *_table_cells(group)))
        tables.append(
            Table(
                title=f"Dictionaries at {site}, means over seeds", columns=columns, rows=tuple(rows)
            )
        )
    return tuple(tables)


def _table_cells(group: Sequence[Json]) -> tuple[float, ...]:
    def mean(name: str) -> float:
        return float(np.mean([lane[name] for lane in group]))

    def half(name: str) -> float:
        interval = _interval([lane[name] for lane in group])
        return (interval.high - interval.low) / 2

    return (
        mean("l0"),
        mean("fvu"),
        half("fvu"),
        mean("delta_loss"),
        half("delta_loss"),
        mean("reconstruction_bias"),
        mean("dead"),
        mean("above_10_percent"),
    )


def subject_table(subject: Json) -> Table:
    """Return how well the model predicts held-out text, beside a trigram model."""
    rows = [
        (kind, subject[f"bits_per_byte{key}"], subject[f"trigram_bits_per_byte{key}"])
        for kind, key in (("all", ""), ("code", "_code"), ("prose", "_prose"))
        if subject.get(f"bits_per_byte{key}") is not None
    ]
    return Table(
        title="The model: bits a byte of held-out text",
        columns=("text", "model", "trigram"),
        rows=tuple(rows),
    )


def frequency_figure(pieces: Sequence[Json], plan: Plan) -> Figure:
    """Draw how often latents fire, for the middle target and the first seed of each kind."""
    target = sorted(plan.target_l0)[len(plan.target_l0) // 2]
    lanes = {
        piece["arm"]: lane
        for piece in pieces
        for lane in piece["lanes"]
        if lane["target_l0"] == target and lane["seed"] == plan.seeds[0]
    }
    return frequency_histogram(lanes, about=f", target L0 {target:g}")


def frequency_histogram(lanes: Mapping[str, Json], *, about: str = "") -> Figure:
    """Draw the numbers of latents by how often they fire, for dictionaries by name."""
    return histogram(
        f"How often latents fire{about}",
        {
            name: Bins(edges=lane["frequency_edges"], counts=lane["frequency_counts"])
            for name, lane in lanes.items()
        },
        x=axis("firing frequency", unit="log10 of the share of rows"),
        y=axis("latents"),
        caption="Number of latents by how often they fire; the leftmost bin holds those that "
        "never did.",
    )


def training_figure(pieces: Sequence[Json], metric: str, plan: Plan) -> Figure:
    """Draw a held-out metric over steps, mean over seeds, for the middle target."""
    target = f"{sorted(plan.target_l0)[len(plan.target_l0) // 2]:g}"
    series = {
        piece["arm"]: Curve(x=found["step"], y=found[metric])
        for piece in pieces
        if (found := piece["curves"].get(target))
    }
    unit = {"fvu": "share of the variance", "l0": "active latents a row"}[metric]
    label = {"fvu": "FVU", "l0": "L0"}[metric]
    return curves(
        f"{label} while training, target L0 {target}",
        series,
        x=axis("step"),
        y=axis(label, unit=unit, log=True),
        caption=f"Held-out {label} over training steps, mean over seeds.",
    )


def claim_report(result: ClaimResult, pieces: Sequence[Json]) -> Page:
    """Return the claim's page with a sentence on how many dictionaries it rests on."""
    count = sum(len(piece["lanes"]) for piece in pieces)
    page = claim_page(result)
    return replace(page, facts=(*page.facts, ("Dictionaries", f"{count:,}")))


def write_report(path: Path, *, light: bool = False) -> Path:
    """Write report.html into the run directory `path` and return its path.

    Raises:
        TenfoldError: if the run is unfinished or of another kind.
    """
    saved = saved_config(path)
    if saved["verb"] == "claim":
        page = _saved_claim(path)
    elif saved["verb"] == "train":
        page = training_page(path)
    else:
        raise TenfoldError(f"a run of {saved['verb']!r} has no report; give one of train or claim")
    target = path / "report.html"
    write_page(target, page, light=light)
    return target


def _saved_claim(path: Path) -> Page:
    if not (path / "out" / "claim.json").exists():
        raise TenfoldError(f"claim {path.name} is unfinished; `tenfold runs resume {path.name}`")
    result = from_json(read_json(path / "out" / "claim.json"))
    pieces = [read_json(piece) for piece in sorted((path / "out" / "pieces").glob("*.json"))]
    return claim_report(result, pieces)


def training_page(path: Path) -> Page:
    """Return a training run's page: results of each dictionary and curves over steps."""
    metrics = read_metrics(path / "metrics.jsonl")
    results: dict[str, Any] = {}
    if (path / "out" / "metrics.json").exists():
        results = read_json(path / "out" / "metrics.json")
    names = list(results) or sorted({name.split("/")[1] for name in metrics})
    figures = [
        curves(
            f"{label} while training",
            {name: _curve(metrics[f"{metric}/{name}"]) for name in names},
            x=axis("step"),
            y=axis(label, unit=unit, log=log),
        )
        for metric, label, unit, log in (
            ("fvu", "FVU", "share of the variance", True),
            ("l0", "L0", "active latents a row", True),
            ("dead", "dead latents", "", False),
        )
    ]
    columns = ("dictionary", "L0", "FVU", "reconstruction bias", "dead", "above 10 %")
    keys = ("l0", "fvu", "reconstruction_bias", "dead", "above_10_percent")
    rows = tuple((name, *(entry[key] for key in keys)) for name, entry in results.items())
    table = Table(title="Dictionaries on held-out rows", columns=columns, rows=rows)
    return Page(
        title=f"Training run {path.name}",
        kicker="jumprelu",
        subtitle="L0 and FVU are measured on rows that were held out.",
        sections=(
            Section(
                title="Results",
                tables=(table,) if rows else (),
                figures=(frequency_histogram(results),) if rows else (),
            ),
            Section(title="Training", figures=tuple(figures)),
        ),
    )


def _curve(points: Sequence[tuple[int, float]]) -> Curve:
    steps, values = zip(*points, strict=True)
    return Curve(x=list(steps), y=list(values))
