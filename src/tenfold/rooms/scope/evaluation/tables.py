"""An evaluation as rows: for files of comma-separated values, and for tables of a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from tenfold.engine.config import Json
from tenfold.engine.report.figures import Table
from tenfold.engine.report.numerals import Cell
from tenfold.rooms.scope.evaluation.figures import Entries, site_of
from tenfold.rooms.scope.evaluation.matched import (
    Evaluation,
    Reading,
    front,
    read_front,
    shared_l0,
)

COLUMNS = (
    "name",
    "site",
    "site_out",
    "kind",
    "width",
    "target_l0",
    "seed",
    "rows",
    "l0",
    "fvu",
    "reconstruction_bias",
    "dead",
    "above_1_percent",
    "above_10_percent",
    "delta_loss",
    "loss_recovered_zero",
    "loss_recovered_mean",
    "uniformity",
    "delta_loss_part",
    "delta_loss_bfloat16",
)


def csv_text(evaluation: Json) -> str:
    """Return an evaluation as comma-separated values, a line a dictionary; absent ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, metrics in evaluation["entries"].items():
        writer.writerow({"name": name} | metrics)
    return text.getvalue()


def dictionary_table(entries: Entries) -> Table:
    """Return a row for each dictionary; columns that none has are left out."""
    columns = {
        "target_l0": "target L0",
        "l0": "L0",
        "fvu": "FVU",
        "delta_loss": "delta loss",
        "loss_recovered_zero": "loss recovered, zero",
        "loss_recovered_mean": "loss recovered, mean",
        "uniformity": "uniformity",
        "delta_loss_part": "delta loss, part",
        "delta_loss_bfloat16": "the same in bfloat16",
        "reconstruction_bias": "reconstruction bias",
        "dead": "dead",
        "above_10_percent": "above 10 %",
    }
    shown = [key for key in columns if any(key in entry for entry in entries.values())]
    return Table(
        title="Dictionaries on held-out data",
        columns=("dictionary", *(columns[key] for key in shown)),
        rows=tuple((name, *(entry.get(key) for key in shown)) for name, entry in entries.items()),
    )


def site_table(result: Json) -> Table:
    """Return a row for each site: dictionaries, rows, variance, share of the model rerun."""
    rows: list[tuple[Cell, ...]] = []
    for site, facts in result["sites"].items():
        here = [entry for entry in result["entries"].values() if site_of(entry) == site]
        rerun = result.get("rerun", {}).get(site)
        rows.append((site, len(here), facts["rows"], facts["variance"], rerun))
    columns = ("site", "dictionaries", "rows", "variance a row", "share of the model run again")
    return Table(title="Sites", columns=columns, rows=tuple(rows))


def kind_table(result: Json) -> Table:
    """Return the clean loss on each kind of data, and each dictionary's delta loss there."""
    kinds = list(result["kinds"])
    clean = ("clean loss", *(result["kinds"][kind]["clean_loss"] for kind in kinds))
    rows = [
        (name, *(entry.get("by_kind", {}).get(kind) for kind in kinds))
        for name, entry in result["entries"].items()
    ]
    return Table(
        title="Delta loss by kind of data", columns=("dictionary", *kinds), rows=(clean, *rows)
    )


def baseline_table(baselines: Mapping[str, Json]) -> Table:
    """Return FVU and delta loss of every stand-in at every site."""
    rows: list[tuple[Cell, ...]] = []
    for site, found in baselines.items():
        named: list[tuple[str, Json]] = [
            (name, found[name]) for name in ("mean", "zero") if name in found
        ]
        named += [(f"{row['components']} components", row) for row in found["pca"]]
        rows += [(site, name, row["fvu"], row.get("delta_loss")) for name, row in named]
    columns = ("site", "stand-in", "FVU", "delta loss")
    return Table(title="Simple stand-ins on held-out data", columns=columns, rows=tuple(rows))


def matched_table(evaluation: Evaluation, measure: str) -> Table:
    """Return every front read at equal L0s, with intervals.

    At those that all fronts reach; where there are none, at those that all seeds of one reach.
    """
    entries = evaluation.result["entries"].values()
    keys = dict.fromkeys(
        (entry["site"], entry["site_out"], entry["kind"], entry["width"]) for entry in entries
    )
    facts = ("site", "site_out", "kind", "width")
    fronts = {key: front(evaluation, measure, **dict(zip(facts, key, strict=True))) for key in keys}
    common = shared_l0(list(fronts.values()))
    rows: list[tuple[Cell, ...]] = []
    for (site, site_out, kind, width), points in fronts.items():
        place = f"{site} to {site_out}" if site_out else site
        for l0 in common or shared_l0([points]):
            read = read_front(points, l0)
            rows.append((place, kind, width, l0, read.estimate, *_bounds(read), read.over))
    label = {"fvu": "FVU", "delta_loss": "delta loss"}[measure]
    columns = ("site", "kind", "latents", "L0", label, "low", "high", "interval over")
    return Table(title=f"{label} at equal L0, 95 % intervals", columns=columns, rows=tuple(rows))


def _bounds(read: Reading) -> tuple[float | None, float | None]:
    return (read.interval.low, read.interval.high) if read.interval else (None, None)
