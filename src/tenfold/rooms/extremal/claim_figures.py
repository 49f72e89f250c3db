"""Figures and tables of the room's claims: gaps by method and size, edges over flips and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tenfold.engine.config import Json
from tenfold.engine.report.figures import Axis, Curve, Figure, Table, axis, bars, curves, fronts
from tenfold.engine.stats import Interval, mean_interval
from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.claim_config import ARMS, Contest, Plan, Walk

Pieces = Sequence[Json]
Names = Mapping[str, str]
GAP = axis("gap to the best known value", unit="edges")
NODES = axis("nodes")
_POINTS = 60
"""Moments at which a curve over flips or seconds is drawn."""


def best_known(nodes: int) -> int:
    """Return the best published number of edges without 3- and 4-cycles."""
    return known("C3,C4")[nodes].lower


def claim_figures(pieces: Pieces, plan: Plan, *, names: Names) -> tuple[Figure, ...]:
    """Return what the claim's page draws: gaps first, then how they came about."""
    walks, contests = _of(pieces, part="walk"), _of(pieces, part="contest")
    largest = max(plan.walks, key=lambda walk: walk.nodes)
    last = max(plan.contests, key=lambda contest: contest.nodes)
    return (
        _walk_gaps(walks, plan),
        _walk_curves(_of(walks, nodes=largest.nodes), plan, largest),
        _contest_gaps(contests, plan, names),
        _contest_curves(_of(contests, nodes=last.nodes), last, names),
        _exact_figure(_of(pieces, part="exact"), plan),
    )


def claim_tables(pieces: Pieces, plan: Plan, *, names: Names) -> tuple[Table, ...]:
    """Return every search in numbers."""
    return (
        _walk_table(_of(pieces, part="walk"), plan),
        _contest_table(_of(pieces, part="contest"), plan, names),
        _exact_table(_of(pieces, part="exact")),
    )


def _of(pieces: Pieces, **facts: object) -> list[Json]:
    return [p for p in pieces if all(p.get(name) == value for name, value in facts.items())]


# Gaps


def _front(groups: Mapping[int, list[Json]]) -> Curve:
    """Return mean gaps with intervals over seeds at each number of nodes."""
    gaps = {n: [float(best_known(n) - p["edges"]) for p in group] for n, group in groups.items()}
    intervals = [_interval(values) for values in gaps.values()]
    return Curve(
        x=list(gaps),
        y=[each.estimate for each in intervals],
        low=[each.low for each in intervals],
        high=[each.high for each in intervals],
        points=[(n, value) for n, values in gaps.items() for value in values],
    )


def _interval(values: Sequence[float]) -> Interval:
    if len(values) > 1:
        return mean_interval(values)
    return Interval(estimate=values[0], low=values[0], high=values[0])


def _walk_gaps(walks: Pieces, plan: Plan) -> Figure:
    sizes = sorted(walk.nodes for walk in plan.walks)
    return fronts(
        "Gap at equal flips, with and without curriculum",
        {ARMS[arm]: _front({n: _of(walks, nodes=n, arm=arm) for n in sizes}) for arm in plan.arms},
        x=NODES,
        y=GAP,
        caption="Edges short of the best known value after equal flips; means with 95 % intervals "
        "over seeds, single seeds as dots. Lower is better, below 0 is new.",
    )


def _contest_gaps(contests: Pieces, plan: Plan, names: Names) -> Figure:
    title = "Gap at equal seconds, by method"
    caption = (
        "Edges short of the best known value after equal seconds; means with 95 % intervals over "
        "seeds, single seeds as dots. Lower is better."
    )
    sizes = sorted(contest.nodes for contest in plan.contests)
    methods = list(dict.fromkeys(m for contest in plan.contests for m in contest.methods))
    groups = {
        names[m]: {n: found for n in sizes if (found := _of(contests, nodes=n, method=m))}
        for m in methods
    }
    if len(sizes) > 1:
        series = {name: _front(group) for name, group in groups.items()}
        return fronts(title, series, x=NODES, y=GAP, caption=caption)
    gaps = {
        name: [float(best_known(n) - p["edges"]) for n, found in group.items() for p in found]
        for name, group in groups.items()
    }
    return bars(f"{title}, {sizes[0]} nodes", gaps, y=GAP, caption=caption)


# Curves


def mean_staircase(
    curves_of_seeds: Sequence[Sequence[Sequence[float]]], places: Sequence[float], *, column: int
) -> list[float]:
    """Return the mean over seeds of the edges found by each place; NaN before all have a graph.

    Args:
        curves_of_seeds: for each seed rows of flips, seconds and edges, one at every gain.
        places: flips or seconds, in rising order.
        column: 0 for flips, 1 for seconds.
    """
    rows = []
    for curve in curves_of_seeds:
        moments = [row[column] for row in curve]
        edges = [math.nan, *(row[2] for row in curve)]
        rows.append([edges[i] for i in np.searchsorted(moments, places, side="right")])
    return [float(value) for value in np.mean(rows, axis=0)]


def _walk_curves(walks: Pieces, plan: Plan, walk: Walk) -> Figure:
    places = [walk.flips * (i + 1) / _POINTS for i in range(_POINTS)]
    series = {
        ARMS[arm]: Curve(
            x=places,
            y=mean_staircase([p["curve"] for p in _of(walks, arm=arm)], places, column=0),
        )
        for arm in plan.arms
    }
    return curves(
        f"Edges over flips, {walk.nodes} nodes",
        series,
        x=axis("flips"),
        y=axis("edges"),
        caption=f"Most edges on {walk.nodes} nodes after so many flips, mean over seeds. With "
        "curriculum the first flips go to smaller sizes, so the line begins late.",
    )


def _contest_curves(contests: Pieces, contest: Contest, names: Names) -> Figure:
    column, limit, x = _clock(contest)
    places = np.geomspace(limit / 1_000, limit, _POINTS).tolist()
    series = {
        names[m]: Curve(
            x=places,
            y=mean_staircase([p["curve"] for p in _of(contests, method=m)], places, column=column),
        )
        for m in contest.methods
    }
    return curves(
        f"Edges over time, {contest.nodes} nodes",
        series,
        x=x,
        y=axis("edges"),
        caption=f"Most edges on {contest.nodes} nodes by then, mean over seeds; a line begins when "
        "every seed has a graph.",
    )


def _clock(contest: Contest) -> tuple[int, float, Axis]:
    if contest.flips:
        return 0, float(contest.flips), axis("flips", log=True)
    return 1, contest.seconds, axis("time", unit="s", log=True)


def _exact_figure(exact: Pieces, plan: Plan) -> Figure:
    sizes = list(plan.exact.sizes)
    flips = np.array([[row["flips"] for row in piece["rows"]] for piece in exact], dtype=float)
    return curves(
        "Flips until the exact value",
        {
            "default search": Curve(
                x=sizes, y=np.median(flips, axis=0), low=flips.min(axis=0), high=flips.max(axis=0)
            )
        },
        x=NODES,
        y=axis("flips", log=True),
        caption="Median over seeds, the band from the least to the most. A search that misses the "
        f"value ends at {plan.exact.flips:,} flips.",
    )


# Tables


def _walk_table(walks: Pieces, plan: Plan) -> Table:
    rows = []
    for walk in plan.walks:
        for arm in plan.arms:
            group = _of(walks, nodes=walk.nodes, arm=arm)
            edges = [p["edges"] for p in group]
            rows.append(
                (walk.nodes, ARMS[arm], best_known(walk.nodes), _listed(edges),
                 best_known(walk.nodes) - _mean(edges), round(_mean([p["flips"] for p in group])),
                 _mean([p["seconds"] for p in group]))
            )  # fmt: skip
    return Table(
        title="Tabu search at equal flips",
        columns=("nodes", "method", "best known", "edges by seed", "mean gap", "flips", "seconds"),
        rows=tuple(rows),
    )


def _contest_table(contests: Pieces, plan: Plan, names: Names) -> Table:
    rows = []
    for contest in plan.contests:
        for method in contest.methods:
            group = _of(contests, nodes=contest.nodes, method=method)
            edges = [p["edges"] for p in group]
            rows.append(
                (contest.nodes, names[method], best_known(contest.nodes), _listed(edges),
                 best_known(contest.nodes) - _mean(edges),
                 round(_mean([p["flips"] for p in group])),
                 _mean([p["seconds"] for p in group]),
                 _mean([p["processor_seconds"] for p in group]))
            )  # fmt: skip
    columns = ("nodes", "method", "best known", "edges by seed", "mean gap", "flips", "seconds")
    return Table(
        title="Methods at equal seconds",
        columns=(*columns, "processor seconds"),
        rows=tuple(rows),
    )


def _exact_table(exact: Pieces) -> Table:
    rows = []
    for piece in exact:
        short = [row for row in piece["rows"] if row["edges"] < row["exact"]]
        slowest = max(piece["rows"], key=lambda row: row["flips"])
        rows.append(
            (f"seed {piece['seed']}", len(piece["rows"]) - len(short),
             ", ".join(f"{row['nodes']} ({row['edges'] - row['exact']})" for row in short) or None,
             sum(row["flips"] for row in piece["rows"]), piece["seconds"], slowest["nodes"],
             slowest["flips"])
        )  # fmt: skip
    columns = ("", "sizes at the exact value", "short by", "flips in all", "seconds in all")
    return Table(
        title="The default search on sizes of known value",
        columns=(*columns, "hardest size", "its flips"),
        rows=tuple(rows),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _listed(edges: Sequence[int]) -> str:
    return " ".join(map(str, edges))
