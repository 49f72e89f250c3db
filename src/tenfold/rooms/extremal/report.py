"""Pages about what this room does: a search, a ladder, an archive, a comparison, a claim.

A page is made from what lies in the run directory alone, so it can be made anew at any time, also
while the run is going on.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tenfold.engine.claim import claim_page, from_json
from tenfold.engine.config import Json, decode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, runs_root, write_text
from tenfold.engine.metrics import read_rows
from tenfold.engine.report.figures import Curve, Figure, Table, axis, bars, curves
from tenfold.engine.report.numerals import format_seconds
from tenfold.engine.report.page import Block, Page, Section, render
from tenfold.engine.run import find_run, saved_config
from tenfold.rooms.extremal.archive import PROBLEM, Archive
from tenfold.rooms.extremal.archive_report import archive_page, record_graph
from tenfold.rooms.extremal.canonical import Canon, canonical_form
from tenfold.rooms.extremal.claim_figures import mean_staircase
from tenfold.rooms.extremal.codecs import decode_graph, read_graphs
from tenfold.rooms.extremal.draw import graph_facts, graph_sections, insert_picture
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults, verify

Moment = tuple[float, float, float]
"""Flips, seconds (NaN if they were not noted), edges."""


def find_place(name: str, *, runs: str = "") -> Path:
    """Return the folder of an archive or of a run that is meant by a path or a name.

    Raises:
        TenfoldError: naming the runs that fit or are near.
    """
    if (Path(name) / PROBLEM).is_file():
        return Path(name)
    return Path(find_run(name, runs_root(runs)))


def write_report(path: Path, *, light: bool = False) -> Path:
    """Write report.html into the directory of a run or an archive and return its path.

    Args:
        path: the directory.
        light: leave out every script.

    Raises:
        TenfoldError: if there is nothing to tell yet.
    """
    page, shown = read_page(path)
    html = render(page, light=light)
    target = path / "report.html"
    write_text(target, insert_picture(html, *shown) if shown else html)
    return target


Told = tuple[Page, Graph | None, Problem | None]
"""A page, and the graph that it shows with the problem that it solves, if there is one."""
Shown = tuple[Graph, Canon]


def read_page(path: Path) -> tuple[Page, Shown | None]:
    """Return the page of a run or an archive, and the graph whose picture is to be put into it.

    Raises:
        TenfoldError: if there is nothing to tell yet.
    """
    page, graph, problem = _told(path)
    if graph is None:
        return page, None
    canon = canonical_form(graph)
    fits = problem is not None and not find_faults(graph, problem)
    certificate = verify(graph, problem) if fits and problem is not None else None
    drawn, *others = graph_sections(graph, canon, certificate=certificate)
    drawn = replace(drawn, facts=graph_facts(graph, canon))
    sections = (*page.sections[:-1], drawn, *others, page.sections[-1])
    return replace(page, sections=sections), (graph, canon)


def _told(path: Path) -> Told:
    if (path / PROBLEM).is_file():
        return _archive_told(Archive(path), archive_page(Archive(path), name=path.name))
    saved = saved_config(path)
    if saved["verb"] == "claim":
        return _claim_page(path), None, None
    if saved["verb"] == "compare":
        return _compare_page(path, saved), None, None
    if (folder := _archive_folder(path, saved)) is not None:
        return _hunt_told(path, saved, Archive(folder))
    return _search_told(path, saved)


# Claims and comparisons


def _claim_page(path: Path) -> Page:
    if not (path / "out" / "claim.json").exists():
        raise TenfoldError(f"claim {path.name} is unfinished; `tenfold runs resume {path.name}`")
    return claim_page(from_json(read_json(path / "out" / "claim.json")))


def _compare_page(path: Path, saved: Json) -> Page:
    file = path / "out" / "compare.json"
    if not file.exists():
        raise TenfoldError(f"comparison {path.name} is unfinished; resume it")
    found, cfg = read_json(file), saved["config"]
    edges = {row["method"]: [float(value) for value in row["edges"]] for row in found["methods"]}
    counted = bool(cfg["flips"])
    budget = f"{cfg['flips']:,} flips" if counted else f"{cfg['seconds']:g} s"
    rows = tuple(
        (row["method"], " ".join(map(str, row["edges"])), row["mean"], row["gap"], row["flips"],
         row["seconds"])
        for row in found["methods"]
    )  # fmt: skip
    columns = ("method", "edges by seed", "mean", "mean gap", "flips", "seconds")
    return Page(
        title=f"Comparison {path.name}",
        kicker="extremal",
        subtitle=f"Methods on {cfg['problem']['nodes']} nodes, {budget} each.",
        sections=(
            Section(
                title="Results",
                figures=(
                    bars("Edges by method", edges, y=axis("edges")),
                    _compare_curves(found["pieces"], column=0 if counted else 1),
                ),
                tables=(Table(title="Methods", columns=columns, rows=rows),),
            ),
            _repeat_section(saved),
        ),
    )


def _compare_curves(pieces: Sequence[Json], *, column: int) -> Figure:
    """Draw the mean over seeds of the edges found by each gain of any seed."""
    series = {}
    for method in dict.fromkeys(piece["method"] for piece in pieces):
        found = [piece["curve"] for piece in pieces if piece["method"] == method]
        places = sorted({row[column] for curve in found for row in curve if row[column] > 0})
        means = mean_staircase(found, places, column=column)
        series[method] = Curve(x=places, y=means)
    return curves(
        "Edges over flips" if column == 0 else "Edges over time",
        series,
        x=axis("flips", log=True) if column == 0 else axis("time", unit="s", log=True),
        y=axis("edges"),
        caption="Mean over seeds of the most edges by then.",
    )


# Searches, also those of a network


def _search_told(path: Path, saved: Json) -> Told:
    result = _result_of(path)
    graph = _graph_of(path, result)
    moments = _moments(path, result)
    if not result and not moments:
        raise TenfoldError(f"run {path.name} has found no graph yet; let it go on for a while")
    problem = _problem_of(saved["config"], graph)
    page = Page(
        title=f"{saved['verb'].capitalize()} {path.name}",
        kicker="extremal",
        subtitle=_headline(result, moments),
        facts=_search_facts(result, saved),
        sections=(
            Section(
                title="Search",
                figures=(*_edge_figures(moments, result), *_metric_figures(path, saved)),
            ),
            _repeat_section(saved),
        ),
    )
    return page, graph, problem


def _result_of(path: Path) -> Json:
    """Return the result of a search, or the best so far of one that is not at its end."""
    for name in ("result.json", "best.json"):
        if (path / "out" / name).exists():
            found: Json = read_json(path / "out" / name)
            return found
    return {}


def _graph_of(path: Path, result: Json) -> Graph | None:
    if (path / "out" / "best.s6").exists():
        return read_graphs(path / "out" / "best.s6")[0]
    return decode_graph(result["graph6"]) if result.get("graph6") else None


def _problem_of(cfg: Json, graph: Graph | None) -> Problem | None:
    if graph is None:
        return None
    if isinstance(cfg.get("problem"), dict):
        return decode(Problem, cfg["problem"])
    return Problem(nodes=graph.nodes)


def _headline(result: Json, moments: Sequence[Moment]) -> str:
    edges = result.get("edges", round(moments[-1][2]) if moments else None)
    if edges is None:
        return "No graph that fits the problem was met."
    nodes = f" on {result['nodes']} nodes" if "nodes" in result else ""
    if result.get("optimal") or edges == result.get("upper"):
        return f"{edges} edges{nodes}, which no graph exceeds."
    lower = result.get("known_lower")
    known = f"; the best known value is {lower}" if lower is not None else ""
    return f"{edges} edges{nodes}{known}."


def _search_facts(result: Json, saved: Json) -> tuple[tuple[str, str], ...]:
    flips = result.get("total_flips", result.get("flips"))
    seconds = result.get("total_seconds", result.get("seconds"))
    rate = result.get("flips_per_second")
    upper = f"{result['upper']} ({result['rule']})" if "rule" in result else result.get("upper")
    facts = {
        "Edges": result.get("edges"),
        "Best known": result.get("known_lower"),
        "Upper bound": upper,
        "Start": result.get("start"),
        "Flips": f"{flips:,}" if flips is not None else None,
        "Time": format_seconds(seconds) if seconds is not None else None,
        "Flips a second": f"{rate:,}" if rate else None,
        "Version": saved.get("version"),
        "Commit": (saved.get("commit") or "")[:12] or "not from a checkout",
    }
    return tuple((name, str(value)) for name, value in facts.items() if value is not None)


def _moments(path: Path, result: Json) -> list[Moment]:
    """Return flips, seconds and edges at every gain, else after every step."""
    if result.get("trace"):
        gains = [(float(f), float(s), float(e)) for f, s, e in result["trace"]]
        end = (float(result["total_flips"]), float(result["total_seconds"]), gains[-1][2])
        return [*gains, end]
    if result.get("curve"):
        return [(float(flips), math.nan, float(edges)) for flips, edges in result["curve"]]
    steps: dict[int, dict[str, float]] = {}
    for row in read_rows(path / "metrics.jsonl"):
        steps.setdefault(row.step, {"seconds": row.seconds})[row.name] = row.value
    return [
        (found["flips"], found["seconds"], found["edges"])
        for found in steps.values()
        if found.get("edges", -1) >= 0 and "flips" in found
    ]


def _edge_figures(moments: Sequence[Moment], result: Json) -> tuple[Figure, ...]:
    if not moments:
        return ()
    return tuple(
        _edge_figure(moments, result, column=column, title=title, unit=unit)
        for column, title, unit in ((0, "flips", ""), (1, "time", "s"))
        if math.isfinite(moments[0][column])
    )


def _edge_figure(
    moments: Sequence[Moment], result: Json, *, column: int, title: str, unit: str
) -> Figure:
    """Draw edges as a staircase, with what is known as level lines."""
    x, y = staircase([max(moment[column], 1e-3) for moment in moments], [m[2] for m in moments])
    series = {"found": Curve(x=x, y=y)}
    for name, key in (("best known", "known_lower"), ("upper bound", "upper")):
        if result.get(key) is not None:
            series[name] = Curve(x=[x[0], x[-1]], y=[float(result[key])] * 2)
    return curves(
        f"Edges over {title}",
        series,
        x=axis(title, unit=unit, log=True),
        y=axis("edges"),
        caption=f"Most edges by then; {title} on a logarithmic axis.",
    )


def staircase(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the corners of a line that keeps each value until the next place.

    >>> staircase([1.0, 3.0], [5.0, 7.0])
    ([1.0, 3.0, 3.0], [5.0, 5.0, 7.0])
    """
    places, values = [x[0]], [y[0]]
    for at, before, after in zip(x[1:], y, y[1:], strict=False):
        places += [at, at] if after != before else [at]
        values += [before, after] if after != before else [before]
    return places, values


_SHOWN = {"edges", "flips", "gap_upper", "gap_known", "flips_per_second"}
"""Metrics that the figures of a search show already, or that are no curves."""


def _metric_figures(path: Path, saved: Json) -> list[Figure]:
    """Draw every other metric over steps: losses, scores."""
    series: dict[str, Curve] = {}
    points: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(path / "metrics.jsonl"):
        if row.name not in _SHOWN:
            points.setdefault(row.name, []).append((row.step, row.value))
    series = {
        name: Curve(x=[p[0] for p in found], y=[p[1] for p in found])
        for name, found in points.items()
    }
    units = saved.get("units", {})
    return [
        curves(
            name.replace("_", " ").capitalize(),
            {name.replace("_", " "): curve},
            x=axis("step"),
            y=axis(name.replace("_", " "), unit=units.get(name, "")),
        )
        for name, curve in series.items()
    ]


# Hunts over sizes


def _archive_folder(path: Path, saved: Json) -> Path | None:
    """Return the archive of a run over many sizes; None if it has one size only."""
    cfg = saved["config"]
    inner = cfg.get("do", {}) if isinstance(cfg.get("do", {}), dict) else {}
    many = saved["verb"] == "ladder" or "game" in inner
    if not many:
        return None
    named = str((cfg if saved["verb"] == "ladder" else inner).get("archive") or "")
    return Path(named) if named else path / "out" / "archive"


def _hunt_told(path: Path, saved: Json, archive: Archive) -> Told:
    cfg = saved["config"]
    page = archive_page(
        archive,
        name=path.name,
        title=f"{saved['verb'].capitalize()} {path.name}",
        first=int(cfg.get("first", 0)),
        last=int(cfg.get("last", 0)),
        metrics=list(read_rows(path / "metrics.jsonl")),
    )
    page = replace(page, sections=(*page.sections, _repeat_section(saved)))
    return _archive_told(
        archive, page, first=int(cfg.get("first", 0)), last=int(cfg.get("last", 0))
    )


def _archive_told(archive: Archive, page: Page, *, first: int = 0, last: int = 0) -> Told:
    graph = record_graph(archive, first=first, last=last)
    problem = replace(archive.problem, nodes=graph.nodes) if graph else None
    return page, graph, problem


def _repeat_section(saved: Json) -> Section:
    words = ["tenfold", "extremal", saved["verb"], *([saved["recipe"]] if saved["recipe"] else [])]
    config = json.dumps(saved["config"], indent=1, ensure_ascii=False)
    return Section(
        title="How to repeat",
        paragraphs=("The config below decides; give it as --from RUN, or its fields as options.",),
        blocks=(
            Block(title="Command", text=shlex.join(words)),
            Block(title="Config of the run", text=config, folded=True),
        ),
    )
