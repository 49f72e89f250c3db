"""Figures of a suite: fronts, frequencies, positions, kinds, baselines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tenfold.engine.config import Json
from tenfold.engine.report.figures import (
    Bins,
    Curve,
    Figure,
    axis,
    bars,
    curves,
    fronts,
    histogram,
)

SERIES = 7
"""Most series of a figure: beyond these, colours and marks repeat."""

L0 = axis("L0", unit="active latents a row", log=True)
AXES = {
    "fvu": axis("FVU", unit="share of the variance", log=True),
    "delta_loss": axis("delta loss", unit="unit of the model's loss"),
}
LABELS = {"fvu": "FVU", "delta_loss": "delta loss"}
STARTS = {"fvu": "FVU", "delta_loss": "Delta loss"}

Entries = Mapping[str, Json]
"""Metrics of each dictionary, by name."""


def groups_of_sites(sites: Sequence[str]) -> dict[str, list[str]]:
    """Return sites that differ in their numbers only, under one name.

    >>> groups_of_sites(["blocks.0", "blocks.1", "blocks.0.mlp"])
    {'blocks.*': ['blocks.0', 'blocks.1'], 'blocks.*.mlp': ['blocks.0.mlp']}
    """
    groups: dict[str, list[str]] = {}
    for site in sites:
        groups.setdefault(re.sub(r"\d+", "*", site), []).append(site)
    return groups


def site_of(entry: Json) -> str:
    """Return the site of a dictionary; of a transcoder, the site that it replaces."""
    return str(entry["site_out"] or entry["site"])


def front_figures(entries: Entries, measure: str) -> tuple[Figure, ...]:
    """Draw L0 against a measure, a figure for each kind of site, a line for each front."""
    found = []
    for group, sites in groups_of_sites(_sites(entries.values())).items():
        here = [entry for entry in entries.values() if site_of(entry) in sites]
        for part, lines in _parted(_fronts(here, measure)):
            found.append(
                fronts(
                    f"L0 against {LABELS[measure]}: {group}{part}",
                    lines,
                    x=L0,
                    y=AXES[measure],
                    caption=f"{STARTS[measure]} on held-out data against L0, each dictionary a "
                    "dot, lines through the means over seeds. Lower left is better.",
                )
            )
    return tuple(found)


def _sites(entries: Iterable[Json]) -> list[str]:
    return list(dict.fromkeys(site_of(entry) for entry in entries))


def _fronts(entries: Sequence[Json], measure: str) -> dict[str, Curve]:
    """Return a curve for each site, width and kind, through the means over seeds."""
    several = {fact: len({entry[fact] for entry in entries}) > 1 for fact in ("width", "kind")}
    lines: dict[str, dict[float, list[tuple[float, float]]]] = {}
    for entry in entries:
        words = [site_of(entry)]
        words += [f"{entry['width']} latents"] if several["width"] else []
        words += [entry["kind"]] if several["kind"] else []
        if entry.get(measure) is not None:
            targets = lines.setdefault(", ".join(words), {})
            targets.setdefault(entry["target_l0"], []).append((entry["l0"], entry[measure]))
    return {
        name: _through([targets[target] for target in sorted(targets)])
        for name, targets in lines.items()
    }


def _through(groups: Sequence[Sequence[tuple[float, float]]]) -> Curve:
    means = [[sum(column) / len(group) for column in zip(*group, strict=True)] for group in groups]
    return Curve(
        x=[mean[0] for mean in means],
        y=[mean[1] for mean in means],
        points=[point for group in groups for point in group]
        if any(len(group) > 1 for group in groups)
        else (),
    )


def _parted(lines: Mapping[str, Curve]) -> list[tuple[str, dict[str, Curve]]]:
    """Return the lines in parts that one figure holds, each with words for its title."""
    names = list(lines)
    parts = [names[start : start + SERIES] for start in range(0, len(names), SERIES)]
    return [
        (
            f", part {number} of {len(parts)}" if len(parts) > 1 else "",
            {name: lines[name] for name in part},
        )
        for number, part in enumerate(parts, 1)
    ]


def middle(entries: Entries) -> dict[str, Json]:
    """Return for each kind of site the dictionaries of its middle site, width by width.

    At each width it is the one with the middle target and the first seed. Names say what they
    are.
    """
    found: dict[str, Json] = {}
    for sites in groups_of_sites(_sites(entries.values())).values():
        site = sites[len(sites) // 2]
        here = [entry for entry in entries.values() if site_of(entry) == site]
        for kind, width in dict.fromkeys((entry["kind"], entry["width"]) for entry in here):
            alike = [entry for entry in here if (entry["kind"], entry["width"]) == (kind, width)]
            seed = min(entry["seed"] for entry in alike)
            ordered = sorted(
                (entry for entry in alike if entry["seed"] == seed), key=lambda e: e["target_l0"]
            )
            chosen = ordered[len(ordered) // 2]
            found[f"{site}, {kind} {width}, L0 {chosen['l0']:.3g}"] = chosen
    return found


def frequency_figures(entries: Entries) -> tuple[Figure, ...]:
    """Draw how many latents fire how often, by site and width."""
    shown = {
        name: Bins(edges=entry["frequency_edges"], counts=entry["frequency_counts"])
        for name, entry in middle(entries).items()
        if "frequency_counts" in entry
    }
    names = list(shown)
    return tuple(
        histogram(
            "How often latents fire" + (f", part {start // SERIES + 1}" if start else ""),
            {name: shown[name] for name in names[start : start + SERIES]},
            x=axis("firing frequency", unit="log10 of the share of rows"),
            y=axis("latents"),
            caption="Number of latents by how often they fire; the leftmost bin holds those that "
            "never did. For each kind of site its middle one, at its middle target.",
        )
        for start in range(0, len(names), SERIES)
    )


def position_figures(entries: Entries) -> tuple[Figure, ...]:
    """Draw error and delta loss by the position of a token in its window."""
    shown = {name: entry for name, entry in middle(entries).items() if "by_position" in entry}
    names = list(shown)[:SERIES]
    found = []
    for key, label in (("error", "share of the mean variance"), ("delta_loss", "delta loss")):
        lines = {
            name: _known(shown[name]["by_position"]["place"], shown[name]["by_position"][key])
            for name in names
            if key in shown[name]["by_position"]
        }
        if lines:
            title = {"error": "Error by position", "delta_loss": "Delta loss by position"}[key]
            found.append(
                curves(
                    title,
                    lines,
                    x=axis("position in the window"),
                    y=axis(label),
                    caption=f"{title} on held-out data; for each kind of site its middle one, at "
                    "its middle target.",
                )
            )
    return tuple(found)


def _known(x: Sequence[float], y: Sequence[float | None]) -> Curve:
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    return Curve(x=[a for a, _ in pairs], y=[b for _, b in pairs])


def kind_figure(entries: Entries) -> Figure:
    """Draw the delta loss on each kind of data, over all dictionaries."""
    values: dict[str, list[float]] = {}
    for entry in entries.values():
        for kind, rise in entry.get("by_kind", {}).items():
            if rise is not None:
                values.setdefault(kind, []).append(rise)
    return bars(
        "Delta loss by kind of data",
        values,
        y=AXES["delta_loss"],
        caption="Delta loss on each kind of held-out data: the bar is the mean over dictionaries, "
        "each a dot; the interval is over dictionaries, which differ in site and target.",
    )


def baseline_figures(entries: Entries, baselines: Mapping[str, Json]) -> tuple[Figure, ...]:
    """Draw dictionaries beside principal components, at the middle site of each kind."""
    found = []
    for sites in groups_of_sites(
        [site for site in _sites(entries.values()) if site in baselines]
    ).values():
        site = sites[len(sites) // 2]
        here = [entry for entry in entries.values() if site_of(entry) == site]
        for measure in AXES:
            pca = [row for row in baselines[site]["pca"] if row.get(measure) is not None]
            lines = _fronts(here, measure)
            if lines and pca:
                components = Curve(
                    x=[row["components"] for row in pca], y=[row[measure] for row in pca]
                )
                names = list(lines)[: SERIES - 1]
                found.append(
                    fronts(
                        f"Dictionaries and principal components: {LABELS[measure]} at {site}",
                        {name: lines[name] for name in names} | {"components": components},
                        x=L0,
                        y=AXES[measure],
                        caption="Dictionaries by L0, principal components by their number, which "
                        "is as many numbers a row.",
                    )
                )
    return tuple(found)
