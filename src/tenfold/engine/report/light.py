"""Static pictures: the figures' plotly-form dicts as SVG, without script.

They stand in light reports (mail, pull requests) and in pages that are read without script.
Words and rules take the colour of the text around them, so that a picture fits a light and a
dark page; series colours are attributes, which the page's style sheet swaps in the dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from tenfold.engine.report import svg
from tenfold.engine.report.figures import Figure
from tenfold.engine.report.scales import Scale, fit, ticks
from tenfold.engine.report.svg import Point
from tenfold.engine.report.traces import Trace

WIDTH = 720
_LETTER = 6.8  # mean width in pixels of a letter at size 12
_ROW = 22  # height of a line of the legend
_COLOR_BAR = 92


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plot:
    """The two scales of a picture and its height."""

    x: Scale
    y: Scale
    height: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, right, top and bottom of the plotting area."""
        top, bottom = sorted((self.y.start, self.y.stop))
        return self.x.start, self.x.stop, top, bottom

    def at(self, x: Any, y: Any) -> Point | None:
        """Return the pixel of a pair of values, None where it has none."""
        left, top = self.x.place(x), self.y.place(y)
        return None if left is None or top is None else (left, top)

    def floor(self) -> float:
        """Return the height of zero, or the lower edge where zero is not shown."""
        zero = None if self.y.log else self.y.place(0.0)
        return self.y.start if zero is None else min(zero, self.y.start)


def draw(figure: Figure) -> str:
    """Return the figure as an SVG element, 720 units wide and scaled by its surroundings."""
    shown = [trace for trace in figure.data if trace.get("showlegend", True)]
    legend = list(_legend_places(shown)) if figure.layout["showlegend"] else []
    plot = _plot(figure, top=14 + max((at[1] for _, at in legend), default=0))
    parts = [*_frame(plot, figure.layout)]
    for trace in figure.data:
        parts += _DRAWN[trace["type"]](trace, plot)
    for trace, at in legend:
        parts += _legend_entry(trace, at)
    return (
        f'<svg class="still" viewBox="0 0 {WIDTH} {plot.height:g}" role="img" '
        f'aria-label="{escape(figure.title)}" font-size="12" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )


def _plot(figure: Figure, *, top: float) -> _Plot:
    layout, height = figure.layout, float(figure.layout["height"])
    bottom = height - (44 if layout["xaxis"]["title"]["text"] else 26)
    y = fit(figure.data, layout, letter="y", pixels=(bottom, top))
    names = max((len(name) for name in y.names), default=0)
    left = min(20 + names * _LETTER, WIDTH / 2.5) if names else 66
    colors = _COLOR_BAR if any(trace["type"] == "heatmap" for trace in figure.data) else 14
    x = fit(figure.data, layout, letter="x", pixels=(left, WIDTH - colors))
    return _Plot(x=x, y=y, height=height)


def _frame(plot: _Plot, layout: Trace) -> Iterator[str]:
    """Draw grid lines, tick labels and axis titles."""
    left, right, top, bottom = plot.box
    for value, label in ticks(plot.x, layout["xaxis"]):
        place = plot.x.place(value)
        if place is not None and left <= place <= right:
            yield "" if plot.x.names else svg.rule((place, top), (place, bottom))
            yield svg.text((place, bottom + 17), label)
    for value, label in ticks(plot.y, layout["yaxis"]):
        place = plot.y.place(value)
        if place is not None and top <= place <= bottom:
            yield "" if plot.y.names else svg.rule((left, place), (right, place))
            yield svg.text((left - 8, place + 4), label, anchor="end")
    yield svg.rule((left, bottom), (right, bottom), opacity=0.5)
    yield svg.text(((left + right) / 2, plot.height - 6), layout["xaxis"]["title"]["text"])
    yield svg.text((14, (top + bottom) / 2), layout["yaxis"]["title"]["text"], turned=True)


def _draw_scatter(trace: Trace, plot: _Plot) -> Iterator[str]:
    points = [plot.at(x, y) for x, y in zip(trace["x"], trace["y"], strict=True)]
    line = trace.get("line", {})
    if line.get("shape") == "hv":
        points = _stairs(points)
    if "fill" in trace:
        yield _filled(trace, [point for point in points if point], plot.floor())
    if "lines" in trace["mode"] and line["width"]:
        yield svg.stroke(points, line["color"], width=line["width"])
    yield from _whiskers(trace, plot)
    if "markers" in trace["mode"]:
        yield from (svg.mark(point, trace["marker"]) for point in points if point)


def _stairs(points: Sequence[Point | None]) -> list[Point | None]:
    """Insert the corners of a line that keeps each value until the next."""
    steps: list[Point | None] = []
    for point, after in pairwise(points):
        steps += [point, (after[0], point[1]) if point and after else None]
    return [*steps, *points[-1:]]


def _filled(trace: Trace, points: list[Point], floor: float) -> str:
    if trace["fill"] == "tozeroy" and points:
        points = [(points[0][0], floor), *points, (points[-1][0], floor)]
    return svg.area(points, trace["fillcolor"])


def _whiskers(trace: Trace, plot: _Plot) -> Iterator[str]:
    """Draw error bars along either axis."""
    for letter in "xy":
        bars = trace.get(f"error_{letter}", {})
        lengths = (bars.get("arrayminus", ()), bars.get("array", ()))
        for x, y, down, up in zip(trace["x"], trace["y"], *lengths, strict=False):
            if None in (x, y, down, up):
                continue
            ends = ((x - down, y), (x + up, y)) if letter == "x" else ((x, y - down), (x, y + up))
            yield svg.whisker(plot.at(*ends[0]), plot.at(*ends[1]), bars["color"])


def _draw_bar(trace: Trace, plot: _Plot) -> Iterator[str]:
    half, marker = 0.28 * _pitch(plot.x), trace["marker"]
    for name, value in zip(trace["x"], trace["y"], strict=True):
        if point := plot.at(name, value):
            corners = (point[0] - half, plot.floor()), (point[0] + half, point[1])
            yield svg.rectangle(*corners, marker["color"], edge=marker["line"]["color"])
    yield from _whiskers(trace, plot)


def _draw_box(trace: Trace, plot: _Plot) -> Iterator[str]:
    half, color = 0.2 * _pitch(plot.x), trace["line"]["color"]
    names = ("lowerfence", "q1", "median", "q3", "upperfence")
    low, q1, median, q3, high = (plot.at(trace["x"][0], trace[name][0]) for name in names)
    if q1 is None or q3 is None or median is None:
        return
    yield svg.whisker(low, q1, color) + svg.whisker(q3, high, color)
    left, right = q1[0] - half, q1[0] + half
    yield svg.rectangle((left, q1[1]), (right, q3[1]), trace["fillcolor"], edge=color)
    yield svg.stroke([(left, median[1]), (right, median[1])], color, width=2)


def _pitch(scale: Scale) -> float:
    """Return the distance in pixels between two names."""
    return abs(scale.stop - scale.start) / len(scale.names)


def _draw_heat_map(trace: Trace, plot: _Plot) -> Iterator[str]:
    found = [value for row in trace["z"] for value in row if value is not None]
    low, high = min(found, default=0.0), max(found, default=1.0)
    width, height = _pitch(plot.x) / 2, _pitch(plot.y) / 2
    for name, row in zip(trace["y"], trace["z"], strict=True):
        for column, value in zip(trace["x"], row, strict=True):
            if value is not None and (point := plot.at(column, name)):
                color = svg.shade((value - low) / ((high - low) or 1.0))
                (x, y) = point
                yield svg.rectangle((x - width, y - height), (x + width, y + height), color)
    title = trace["colorbar"]["title"]["text"]
    yield from _color_bar(plot, low=low, high=high if high > low else low + 1.0, title=title)


def _color_bar(plot: _Plot, *, low: float, high: float, title: str) -> Iterator[str]:
    _, right, top, bottom = plot.box
    left, steps = right + 14, 48
    height = (bottom - top) / steps
    for step in range(steps):
        y = bottom - step * height
        yield svg.rectangle((left, y), (left + 12, y - height), svg.shade((step + 0.5) / steps))
    scale = Scale(low=low, high=high, start=bottom, stop=top)
    for value, label in ticks(scale, {}):
        yield svg.text((left + 17, (scale.place(value) or top) + 4), label, anchor="start")
    yield svg.text((WIDTH - 8, (top + bottom) / 2), title, turned=True)


def _legend_places(shown: Sequence[Trace]) -> Iterator[tuple[Trace, Point]]:
    """Set the entries in rows from the left, each as wide as its name."""
    x, y = 66.0, 16.0
    for trace in shown:
        width = 44 + _LETTER * len(trace["name"])
        if x + width > WIDTH and x > 66:
            x, y = 66.0, y + _ROW
        yield trace, (x, y)
        x += width


def _legend_entry(trace: Trace, at: Point) -> Iterator[str]:
    x, y = at
    if "lines" in trace["mode"]:
        yield svg.stroke([(x, y - 4), (x + 20, y - 4)], trace["line"]["color"], width=2)
    if "markers" in trace["mode"]:
        yield svg.mark(
            (x + 10, y - 4), trace["marker"] | {"size": min(trace["marker"]["size"], 12)}
        )
    yield svg.text((x + 26, y), trace["name"], anchor="start")


_DRAWN = {
    "scatter": _draw_scatter,
    "bar": _draw_bar,
    "box": _draw_box,
    "heatmap": _draw_heat_map,
}
