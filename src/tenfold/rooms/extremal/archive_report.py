"""Pages about many sizes: what an archive has beside what is known, and where it came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tenfold.engine.config import Json
from tenfold.engine.metrics import Row
from tenfold.engine.report.figures import Curve, Figure, Table, axis, curves, scatter
from tenfold.engine.report.page import Block, Page, Section
from tenfold.rooms.extremal.archive import Archive, Find
from tenfold.rooms.extremal.codecs import encode_sparse6
from tenfold.rooms.extremal.draw import spell_count
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.records import count_rows, record_rows

NODES = axis("nodes")
DENSITY = axis("edges / nodes^1.5")
_PLANES, _COUNTING = 1 / (2 * math.sqrt(2)), 0.5
"""Limits of edges / nodes^1.5 without 3- and 4-cycles: incidence graphs of planes, and counting."""


def archive_page(
    archive: Archive,
    *,
    name: str,
    title: str = "",
    first: int = 0,
    last: int = 0,
    metrics: Sequence[Row] = (),
) -> Page:
    """Return the page of an archive.

    Args:
        archive: whose best graphs count.
        name: how it is called.
        title: heading; empty: by the name.
        first: fewest nodes; 0: as in the archive.
        last: most nodes; 0: as in the archive.
        metrics: rows of the run that filled it.
    """
    rows = [row for row in record_rows(archive, first=first, last=last) if row["edges"] is not None]
    found = [archive.best(row["nodes"]) for row in rows]
    return Page(
        title=title or f"Archive {name}",
        kicker="extremal",
        subtitle=_headline(archive, rows),
        facts=_facts(archive, rows),
        sections=(
            Section(
                title="Edges",
                figures=_edge_figures(rows, planes=archive.problem.forbid == "C3,C4"),
                tables=(_record_table(rows, found),),
            ),
            Section(title="Where they came from", figures=_origin_figures(rows, found)),
            *_time_sections(metrics),
            Section(title="All graphs", blocks=(_all_graphs(found),)),
        ),
    )


def record_graph(archive: Archive, *, first: int = 0, last: int = 0) -> Graph | None:
    """Return the graph that is shown: farthest above what is known, else the densest."""
    rows = [row for row in record_rows(archive, first=first, last=last) if row["edges"] is not None]
    if not rows:
        return None
    shown = max(
        rows, key=lambda row: (max(row["over"] or 0, 0), row["edges"] / row["nodes"] ** 1.5)
    )
    return archive.best(shown["nodes"])[0].graph


def _headline(archive: Archive, rows: Sequence[Json]) -> str:
    if not rows:
        return f"No graph so far, {archive.family}."
    return (
        f"Best graphs on {rows[0]['nodes']} to {rows[-1]['nodes']} nodes, {archive.family}, each "
        "checked by code that shares nothing with the search."
    )


def _facts(archive: Archive, rows: Sequence[Json]) -> tuple[tuple[str, str], ...]:
    counts = count_rows(list(rows))
    proven = sum(row["edges"] == row["upper"] for row in rows)
    facts = {
        "Archive": str(archive.path),
        "Sizes": str(counts["sizes"]),
        "Classes": str(sum(row["classes"] for row in rows)),
        "At the best known value": str(counts["at_known"]),
        "Above it": str(counts["above_known"]),
        "Below it": str(counts["below_known"]),
        "At the upper bound": str(proven),
        "Lines that cannot be read": str(len(archive.problems) or ""),
    }
    return tuple((name, text) for name, text in facts.items() if text)


# Edges


def _edge_figures(rows: Sequence[Json], *, planes: bool) -> tuple[Figure, ...]:
    if not rows:
        return ()
    distance = [_distance_figure(rows, "over", "Edges above the best known value"),
                _distance_figure(rows, "upper", "Distance to the proven upper bound")]  # fmt: skip
    return (_density_figure(rows, planes=planes), *(each for each in distance if each is not None))


def _density_figure(rows: Sequence[Json], *, planes: bool) -> Figure:
    series = {
        name: curve
        for name, key in (("found", "edges"), ("best known", "known"), ("upper bound", "upper"))
        if (curve := _curve(rows, lambda row, key=key: _density(row, key))).x  # type: ignore[misc]
    }
    if planes:
        ends = [rows[0]["nodes"], rows[-1]["nodes"]]
        series["limit of planes"] = Curve(x=ends, y=[_PLANES] * 2)
        series["limit of counting"] = Curve(x=ends, y=[_COUNTING] * 2)
    return curves(
        "Edges over nodes^1.5",
        series,
        x=NODES,
        y=DENSITY,
        caption="Whether extremal graphs without 3- and 4-cycles come near the limit of planes, "
        "0.354, or that of counting, 0.5, is open (Erdos 1975)."
        if planes
        else "Edges in units of nodes^1.5, beside what is known.",
    )


def _density(row: Json, key: str) -> float | None:
    return None if row[key] is None else row[key] / row["nodes"] ** 1.5


def _curve(rows: Sequence[Json], value: Callable[[Json], float | None]) -> Curve:
    points = [(row["nodes"], found) for row in rows if (found := value(row)) is not None]
    return Curve(x=[x for x, _ in points], y=[y for _, y in points])


def _distance_figure(rows: Sequence[Json], key: str, title: str) -> Figure | None:
    def distance(row: Json) -> float | None:
        if row[key] is None:
            return None
        return float(row["over"] if key == "over" else row["upper"] - row["edges"])

    curve = _curve(rows, distance)
    if not curve.x:
        return None
    caption = (
        "Above 0 is new, below 0 falls short of what is published."
        if key == "over"
        else "At 0 no graph has more edges. Far up, the bound is as likely to be weak."
    )
    series = {title.lower(): curve}
    return scatter(title, series, x=NODES, y=axis("edges"), caption=caption)


def _record_table(rows: Sequence[Json], found: Sequence[Sequence[Find]]) -> Table:
    columns = ("nodes", "edges", "best known", "over", "upper bound", "classes", "largest group")
    return Table(
        title="Every size",
        columns=(*columns, "start", "method", "found"),
        rows=tuple(
            (row["nodes"], row["edges"], row["known"], row["over"], row["upper"], row["classes"],
             _largest_group(finds), finds[0].start, finds[0].method, finds[0].time[:16])
            for row, finds in zip(rows, found, strict=True)
        ),
    )  # fmt: skip


def _largest_group(finds: Sequence[Find]) -> str | None:
    order = max(find.group_order for find in finds)
    return spell_count(order) if order else None


# Origins


def _origin_figures(rows: Sequence[Json], found: Sequence[Sequence[Find]]) -> tuple[Figure, ...]:
    if not rows:
        return ()
    return (_start_figure(rows, found), _group_figure(found))


def start_kind(find: Find) -> str:
    """Say in few words what kind of start a graph came from.

    A ladder's pieces say it in their method; other searches in their start.
    """
    kinds = {
        "cut": "cut amalgam",
        "up": "fewer nodes",
        "down": "more nodes",
        "polish": "the same size",
        "anew": "nothing",
    }
    word = find.method.removeprefix("ladder ")
    if word in kinds:
        return kinds[word]
    if find.start.startswith("amalgam"):
        return "cut amalgam"
    return {"empty": "nothing", "curriculum": "fewer nodes"}.get(find.start, "other")


def _start_figure(rows: Sequence[Json], found: Sequence[Sequence[Find]]) -> Figure:
    groups: dict[str, list[tuple[int, float]]] = {}
    for row, finds in zip(rows, found, strict=True):
        place = (row["nodes"], row["edges"] / row["nodes"] ** 1.5)
        groups.setdefault(start_kind(finds[0]), []).append(place)
    return scatter(
        "Which start won each size",
        {name: Curve(x=[x for x, _ in p], y=[y for _, y in p]) for name, p in groups.items()},
        x=NODES,
        y=DENSITY,
        caption="The start of the search that first found a graph with the most edges of its size.",
    )


def _group_figure(found: Sequence[Sequence[Find]]) -> Figure:
    points = [(f.graph.nodes, f.group_order) for finds in found for f in finds if f.group_order]
    return scatter(
        "Orders of automorphism groups",
        {"a class": Curve(x=[n for n, _ in points], y=[float(order) for _, order in points])},
        x=NODES,
        y=axis("automorphisms", log=True),
        caption="One mark for each kept class of graphs with the most edges; 1 has no symmetry.",
    )


# Over time


def _time_sections(metrics: Sequence[Row]) -> tuple[Section, ...]:
    """Draw how many sizes are at or above what is known, and the edges gained, over time."""
    sizes = {name: curve for name, key in (("with a graph", "sizes"), ("at best known", "at_known"),
             ("above it", "above_known")) if (curve := _over_time(metrics, key)).x}  # fmt: skip
    gained = _over_time(metrics, "gained")
    time = axis("time", unit="s")
    figures = []
    if sizes:
        figures.append(curves("Sizes over time", sizes, x=time, y=axis("sizes")))
    if gained.x:
        figures.append(
            curves(
                "Edges gained over time",
                {"edges": gained},
                x=time,
                y=axis("edges"),
                caption="Sum over all sizes of the edges gained after the first graph of a size.",
            )
        )
    return (Section(title="Over time", figures=tuple(figures)),) if figures else ()


def _over_time(metrics: Sequence[Row], name: str) -> Curve:
    rows = [row for row in metrics if row.name == name]
    return Curve(x=[row.seconds for row in rows], y=[row.value for row in rows])


def _all_graphs(found: Sequence[Sequence[Find]]) -> Block:
    lines = [encode_sparse6(finds[0].graph) for finds in found]
    return Block(
        title="The first best graph of each size, sparse6", text="\n".join(lines), folded=True
    )
