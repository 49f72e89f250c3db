"""Figures as data: dicts in plotly's JSON form, each with a caption and its numbers as a table.

Nothing is drawn here. `page` hands the dicts to the vendored plotly bundle, `light` draws the
same dicts as SVG. Every function takes `order`, the names in the order of their colours, so
that a method keeps its colour over several figures; by default it is the order of the series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tenfold.engine.report import traces
from tenfold.engine.report.numerals import Cell
from tenfold.engine.report.traces import CATEGORIES, Axis, Numbers
from tenfold.engine.stats import Interval, mean_interval

__all__ = [
    "Axis", "Bins", "Curve", "Effect", "Figure", "Table", "axis", "bars", "box", "curves",
    "effects", "fronts", "heat_map", "histogram", "scatter",
]  # fmt: skip

_TABLE_ROWS = 40  # a series: more would bury the page; the figure itself holds all


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows under named columns; a cell is text, a number or nothing."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure: `data` and `layout` are plotly's, `caption` says what is to be seen."""

    title: str
    caption: str
    data: tuple[Any, ...]
    layout: Any
    table: Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points of one series; `low` and `high` bound `y`, `points` are single seeds' (x, y)."""

    x: Numbers
    y: Numbers
    low: Numbers = ()
    high: Numbers = ()
    points: Sequence[tuple[float, float]] = ()

    def __post_init__(self) -> None:
        lengths = [len(self.x), len(self.y), len(self.low), len(self.high)]
        assert lengths[0] == lengths[1], f"x and y of a curve differ in length: {lengths[:2]}"
        assert lengths[2] == lengths[3], f"bounds of a curve differ in length: {lengths[2:]}"
        assert lengths[2] in (0, lengths[0]), f"{lengths[2]} bounds for {lengths[0]} points"

    @property
    def bounded(self) -> bool:
        """Whether bounds were given."""
        return len(self.low) > 0

    def intervals(self) -> list[Interval]:
        """The bounds around each y, or none."""
        rows = zip(self.y, self.low, self.high, strict=False)
        return [Interval(estimate=y, low=low, high=high) for y, low, high in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bins:
    """A histogram as counted: `edges` has one more value than `counts`."""

    edges: Numbers
    counts: Numbers

    def __post_init__(self) -> None:
        wanted = len(self.counts) + 1
        assert len(self.edges) == wanted, f"{len(self.edges)} edges; the counts need {wanted}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """A measured difference: its interval, each seed's value, and where the decision falls."""

    interval: Interval | None
    values: Numbers = ()
    margins: Numbers = ()


def axis(title: str, *, unit: str = "", log: bool = False, ticks: Numbers = ()) -> Axis:
    """Describe an axis in one line."""
    return Axis(title=title, unit=unit, log=log, ticks=tuple(float(tick) for tick in ticks))


def curves(
    title: str,
    series: Mapping[str, Curve],
    *,
    x: Axis,
    y: Axis,
    caption: str = "",
    order: Sequence[str] = (),
) -> Figure:
    """Draw lines with shaded bands between their bounds."""
    data = []
    for name, curve, slot in traces.coloured(series, order):
        if curve.bounded:
            data.append(traces.band(name, curve.x, (curve.low, curve.high), slot=slot))
        data.append(traces.line(name, (curve.x, curve.y), slot=slot, axes=(x, y)))
    return Figure(
        title=title,
        caption=caption or f"{y.title} against {x.title}.",
        data=tuple(data),
        layout=traces.layout(x, y, legend=len(series) > 1),
        table=_points_table(title, series, axes=(x, y)),
    )


def fronts(
    title: str,
    series: Mapping[str, Curve],
    *,
    x: Axis,
    y: Axis,
    caption: str = "",
    order: Sequence[str] = (),
) -> Figure:
    """Draw trade-off fronts: marks with error bars joined by lines, single seeds as dots."""
    data = []
    for name, curve, slot in traces.coloured(series, order):
        if curve.points:
            data.append(traces.dots(name, curve.points, slot=slot))
        trace = traces.line(name, (curve.x, curve.y), slot=slot, axes=(x, y))
        bars = traces.whiskers(curve.intervals(), slot=slot)
        data.append(
            trace | {"mode": "lines+markers", "marker": traces.mark(slot, size=8), "error_y": bars}
        )
    return Figure(
        title=title,
        caption=caption or f"{y.title} against {x.title}; further down and left is better.",
        data=tuple(data),
        layout=traces.layout(x, y, legend=len(series) > 1),
        table=_points_table(title, series, axes=(x, y)),
    )


def scatter(
    title: str,
    series: Mapping[str, Curve],
    *,
    x: Axis,
    y: Axis,
    caption: str = "",
    order: Sequence[str] = (),
) -> Figure:
    """Draw clouds of points; beyond some 20,000 of them the page becomes slow."""
    data = []
    for name, curve, slot in traces.coloured(series, order):
        trace = traces.line(name, (curve.x, curve.y), slot=slot, axes=(x, y))
        data.append(trace | {"mode": "markers", "marker": traces.mark(slot, size=6, opacity=0.7)})
    return Figure(
        title=title,
        caption=caption or f"{y.title} against {x.title}, a mark a case.",
        data=tuple(data),
        layout=traces.layout(x, y, legend=len(series) > 1),
        table=_points_table(title, series, axes=(x, y)),
    )


def bars(
    title: str,
    values: Mapping[str, Numbers],
    *,
    y: Axis,
    caption: str = "",
    order: Sequence[str] = (),
) -> Figure:
    """Draw a bar a name at the mean of its values, each value as a dot, with t intervals."""
    rows: list[tuple[Cell, ...]] = []
    data = []
    for name, found, slot in traces.coloured(values, order):
        finite = [value for value in traces.clean(found) if value is not None]
        interval = mean_interval(finite) if len(finite) > 1 else None
        mean = sum(finite) / len(finite) if finite else None
        data.append(traces.bar(name, mean, interval, slot=slot))
        data.append(traces.dots(name, [(name, value) for value in finite], slot=slot))
        rows.append((name, mean, *_bounds(interval), len(finite)))
    return Figure(
        title=title,
        caption=caption
        or f"{y.title}: means with 95 % intervals over seeds; dots are single seeds.",
        data=tuple(data),
        layout=traces.layout(CATEGORIES, y) | {"bargap": 0.45},
        table=Table(title=title, columns=("", y.label, "low", "high", "seeds"), rows=tuple(rows)),
    )


def effects(title: str, found: Mapping[str, Effect], *, x: Axis, caption: str = "") -> Figure:
    """Draw each effect's interval on a row of its own, with the margins it is judged by."""
    seeds = [(float(value), name) for name, e in found.items() for value in e.values]
    margins = [(float(margin), name) for name, e in found.items() for margin in e.margins]
    data = (
        traces.dots("single seeds", seeds, slot=6) | {"showlegend": True, "marker": _SEED},
        _effect_trace(found, x),
        traces.dots("margin", margins, slot=1) | {"showlegend": True, "marker": _MARGIN},
    )
    layout = traces.layout(x, CATEGORIES, legend=True) | {"height": 140 + 48 * len(found)}
    layout["yaxis"] |= {"categoryorder": "array", "categoryarray": list(found)[::-1]}
    layout["xaxis"] |= {"zeroline": True}
    rows = tuple(_effect_row(name, effect) for name, effect in found.items())
    return Figure(
        title=title,
        caption=caption or "Effects with 95 % intervals over seeds and the margins they must meet.",
        data=tuple(trace for trace in data if trace["x"]),
        layout=layout,
        table=Table(title=title, columns=("", x.label, "low", "high", "margin"), rows=rows),
    )


_SEED = traces.mark(6, size=6, opacity=0.55) | {"symbol": "circle"}
_MARGIN = {
    "symbol": "line-ns-open",
    "size": 26,
    "color": traces.PALETTE[1],
    "line": {"width": 2, "color": traces.PALETTE[1]},
}


def _effect_trace(found: Mapping[str, Effect], x: Axis) -> traces.Trace:
    measured = {name: e.interval for name, e in found.items() if e.interval is not None}
    places = [interval.estimate for interval in measured.values()]
    trace = traces.line("effect with interval", (places, places), slot=0, axes=(x, CATEGORIES))
    return trace | {
        "mode": "markers",
        "y": list(measured),
        "marker": traces.mark(0, size=9),
        "error_x": traces.whiskers(list(measured.values()), slot=0),
        "hovertemplate": f"%{{y}}<br>{x.title} %{{x:.4g}}<extra></extra>",
    }


def _effect_row(name: str, effect: Effect) -> tuple[Cell, ...]:
    estimate = effect.interval.estimate if effect.interval else None
    margins = ", ".join(f"{margin:g}".replace("-", "−") for margin in effect.margins)
    return (name, estimate, *_bounds(effect.interval), margins)


def heat_map(
    title: str,
    values: Sequence[Sequence[float | None]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    value: Axis,
    caption: str = "",
) -> Figure:
    """Draw a matrix [rows, columns] as shades, the first row on top."""
    matrix = [traces.clean(row) for row in values]
    shape = (len(matrix), sorted({len(row) for row in matrix}))
    assert shape == (len(rows), [len(columns)]), f"{shape} values for {len(rows)} named rows"
    trace = {
        "type": "heatmap",
        "x": list(columns),
        "y": list(rows),
        "z": matrix,
        "colorscale": [list(stop) for stop in traces.SHADES],
        "colorbar": {
            "title": {"text": value.label, "side": "right", "font": {"size": 13}},
            "thickness": 12,
            "outlinewidth": 0,
        },
        "hovertemplate": f"%{{y}}, %{{x}}<br>{value.title} %{{z:.4g}}<extra></extra>",
    }
    layout = traces.layout(CATEGORIES, CATEGORIES)
    layout["yaxis"] |= {"autorange": "reversed"}
    table_rows = tuple((name, *row) for name, row in zip(rows, matrix, strict=True))
    return Figure(
        title=title,
        caption=caption or f"{value.label} as shade.",
        data=(trace,),
        layout=layout,
        table=Table(title=title, columns=("", *columns), rows=table_rows),
    )


def histogram(
    title: str,
    series: Mapping[str, Bins],
    *,
    x: Axis,
    y: Axis,
    caption: str = "",
    order: Sequence[str] = (),
) -> Figure:
    """Draw counted bins as outlines that may overlap; the counting is the caller's."""
    data = []
    rows: list[tuple[Cell, ...]] = []
    for name, bins, slot in traces.coloured(series, order):
        steps = (bins.edges, (*bins.counts, bins.counts[-1]))
        trace = traces.area(traces.line(name, steps, slot=slot, axes=(x, y)), slot=slot)
        trace["line"] |= {"shape": "hv"}
        data.append(trace)
        counts = traces.clean(bins.counts)
        edges = pairwise(traces.clean(bins.edges))
        rows += [(name, *edge, count) for edge, count in zip(edges, counts, strict=True)]
    return Figure(
        title=title,
        caption=caption or f"{y.title} by {x.title}.",
        data=tuple(data),
        layout=traces.layout(x, y, legend=len(series) > 1),
        table=Table(title=title, columns=("", "from", "to", y.label), rows=tuple(rows)),
    )


def box(
    title: str,
    values: Mapping[str, Numbers],
    *,
    y: Axis,
    caption: str = "",
    order: Sequence[str] = (),
) -> Figure:
    """Draw quartiles as boxes with whiskers at the 5th and 95th percentile."""
    data = []
    rows: list[tuple[Cell, ...]] = []
    for name, found, slot in traces.coloured(values, order):
        finite = [value for value in traces.clean(found) if value is not None]
        places = np.quantile(finite, (0.05, 0.25, 0.5, 0.75, 0.95)) if finite else [math.nan] * 5
        five = traces.clean(places)
        data.append(traces.quartile_box(name, five, slot=slot))
        rows.append((name, *five, len(finite)))
    columns = ("", "5 %", "25 %", "median", "75 %", "95 %", "count")
    return Figure(
        title=title,
        caption=caption or f"{y.title}: quartiles, whiskers from the 5th to the 95th percentile.",
        data=tuple(data),
        layout=traces.layout(CATEGORIES, y),
        table=Table(title=title, columns=columns, rows=tuple(rows)),
    )


def _bounds(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)


def _points_table(title: str, series: Mapping[str, Curve], *, axes: tuple[Axis, Axis]) -> Table:
    """List the points, thinned evenly where a series has many, with bounds where there are any."""
    bounded = any(curve.bounded for curve in series.values())
    rows = tuple((name, *row) for name, curve in series.items() for row in _rows(curve, bounded))
    thinned = max((len(curve.x) for curve in series.values()), default=0) > _TABLE_ROWS
    labels = tuple(axis.label for axis in axes)
    return Table(
        title=f"{title}, every n-th point" if thinned else title,
        columns=("", *labels, *(("low", "high") if bounded else ())),
        rows=rows,
    )


def _rows(curve: Curve, bounded: bool) -> list[list[float | None]]:
    picked = np.unique(np.linspace(0, len(curve.x) - 1, min(len(curve.x), _TABLE_ROWS)).round())
    absent = [None] * len(curve.x)
    own = [curve.low, curve.high] if curve.bounded else [absent, absent]
    bounds = own if bounded else []
    columns = [traces.clean(column) for column in (curve.x, curve.y, *bounds)]
    return [[column[int(i)] for column in columns] for i in picked]
