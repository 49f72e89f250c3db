"""Traces and layouts in plotly's JSON form, the pieces of which `figures` are made.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; marks
differ as well, so that no figure needs its colours. Numbers that are not finite become null,
which leaves a gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.engine.stats import Interval

Trace = dict[str, Any]
Numbers = Sequence[float]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B")
"""Colours on a light ground, in the order in which series take them."""

DARK_PALETTE = ("#4FA8DF", "#F0803C", "#35C79A", "#E29BC2", "#F0B73E", "#8CCDF2", "#A8A8A8")
"""The same hues on a dark ground; pages swap one for the other."""

SHADES = ((0.0, "#EDF4FA"), (0.35, "#9ECAE1"), (0.7, "#2F7FBC"), (1.0, "#08306B"))
"""Stops of the heat map's scale, light to dark."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "x")
_GREY = 6
_BAND = "29"  # two hexadecimal digits of opacity: 16 %


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What an axis shows; `ticks` fixes the labelled places, else they are chosen."""

    title: str
    unit: str = ""
    log: bool = False
    ticks: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The title with its unit in brackets."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


CATEGORIES = Axis(title="")
"""An axis of names, which need no title."""


def clean(values: Iterable[float | None]) -> list[float | None]:
    """Turn numbers of any type into floats, and what is not finite into None."""
    numbers = [math.nan if value is None else float(value) for value in values]
    return [number if math.isfinite(number) else None for number in numbers]


def line(name: str, xy: tuple[Numbers, Numbers], *, slot: int, axes: tuple[Axis, Axis]) -> Trace:
    """Return the line through (x, y), with a hover text that names its axes."""
    x, y = axes
    return {
        "type": "scatter",
        "name": name,
        "mode": "lines",
        "x": clean(xy[0]),
        "y": clean(xy[1]),
        "line": {"color": PALETTE[slot], "width": 2},
        "hovertemplate": f"{name}<br>{x.title} %{{x:.4g}}<br>{y.title} %{{y:.4g}}<extra></extra>",
    }


def mark(slot: int, *, size: int, opacity: float = 1.0) -> Trace:
    """Return a series' mark: its colour and its own shape."""
    return {"color": PALETTE[slot], "size": size, "symbol": SYMBOLS[slot], "opacity": opacity}


def band(name: str, x: Numbers, bounds: tuple[Numbers, Numbers], *, slot: int) -> Trace:
    """Return the shaded area between (low, high) as one closed outline."""
    rows = [row for row in zip(clean(x), *map(clean, bounds), strict=True) if None not in row]
    return {
        "type": "scatter",
        "name": f"{name}, interval",
        "mode": "lines",
        "x": [row[0] for row in rows] + [row[0] for row in reversed(rows)],
        "y": [row[1] for row in rows] + [row[2] for row in reversed(rows)],
        "fill": "toself",
        "fillcolor": PALETTE[slot] + _BAND,
        "line": {"width": 0, "color": PALETTE[slot]},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def dots(name: str, points: Sequence[tuple[Any, Any]], *, slot: int) -> Trace:
    """Return single seeds' values as small pale marks."""
    return {
        "type": "scatter",
        "name": name,
        "mode": "markers",
        "x": [_name_or_number(point[0]) for point in points],
        "y": [_name_or_number(point[1]) for point in points],
        "marker": mark(slot, size=6, opacity=0.55),
        "hoverinfo": "x+y",
        "showlegend": False,
    }


def _name_or_number(value: Any) -> str | float | None:
    return value if isinstance(value, str) else clean([value])[0]


def area(trace: Trace, *, slot: int) -> Trace:
    """Fill the area between a line and zero."""
    return trace | {"fill": "tozeroy", "fillcolor": PALETTE[slot] + _BAND}


def bar(name: str, mean: float | None, interval: Interval | None, *, slot: int) -> Trace:
    """Return one pale bar with its interval as a whisker."""
    found = [interval] if interval else []
    return {
        "type": "bar",
        "name": name,
        "x": [name],
        "y": clean([mean]),
        "marker": {"color": PALETTE[slot] + "66", "line": {"color": PALETTE[slot], "width": 1.5}},
        "error_y": whiskers(found, slot=_GREY),
        "hovertemplate": f"{name} %{{y:.4g}}<extra></extra>",
        "showlegend": False,
    }


def whiskers(intervals: Sequence[Interval], *, slot: int) -> Trace:
    """Return error bars that end at the intervals' bounds."""
    return {
        "type": "data",
        "symmetric": False,
        "array": clean(found.high - found.estimate for found in intervals),
        "arrayminus": clean(found.estimate - found.low for found in intervals),
        "color": PALETTE[slot],
        "thickness": 1.5,
        "width": 5,
        "visible": bool(intervals),
    }


def quartile_box(name: str, five: Sequence[float | None], *, slot: int) -> Trace:
    """Return a box from (lower whisker, quartile, median, quartile, upper whisker)."""
    names = ("lowerfence", "q1", "median", "q3", "upperfence")
    places = {place: clean([value]) for place, value in zip(names, five, strict=True)}
    return {
        "type": "box",
        "name": name,
        "x": [name],
        **places,
        "fillcolor": PALETTE[slot] + _BAND,
        "line": {"color": PALETTE[slot], "width": 1.5},
        "showlegend": False,
    }


def layout(x: Axis, y: Axis, *, legend: bool = False) -> Trace:
    """Return a layout without colours of its own: the page gives those, light or dark."""
    return {
        "xaxis": _axis_layout(x),
        "yaxis": _axis_layout(y),
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "margin": {"l": 64, "r": 16, "t": 16, "b": 56 if x.title else 32},
        "height": 400,
    }


def _axis_layout(axis: Axis) -> Trace:
    if axis is CATEGORIES:
        named = {"title": {"text": ""}, "automargin": True}
        return named | {"type": "category", "showgrid": False}
    shown: Trace = {
        "title": {"text": axis.label, "standoff": 12, "font": {"size": 13}},
        "automargin": True,
        "type": "log" if axis.log else "linear",
        "zeroline": False,
    }
    if axis.ticks:
        return shown | {"tickvals": list(axis.ticks), "ticktext": [f"{t:g}" for t in axis.ticks]}
    return shown


def coloured(series: Mapping[str, Any], order: Sequence[str]) -> list[tuple[str, Any, int]]:
    """List (name, value, colour slot), the slots given out by `order`, then as they come."""
    names = [*order, *(name for name in series if name not in order)]
    return [(name, value, names.index(name) % len(PALETTE)) for name, value in series.items()]
