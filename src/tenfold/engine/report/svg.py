"""Strokes, areas, marks and words as SVG text; coordinates in pixels, y downwards."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tenfold.engine.report.traces import SHADES, Trace

Point = tuple[float, float]

# Outlines of marks within a square from -1 to 1; whatever is not here is a circle.
_PLUS = ((-0.35, -1.0), (0.35, -1.0), (0.35, -0.35), (1.0, -0.35), (1.0, 0.35), (0.35, 0.35))
_CROSS = (*_PLUS, *((-x, -y) for x, y in _PLUS))
_OUTLINES: dict[str, tuple[Point, ...]] = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "diamond": ((0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)),
    "triangle-up": ((0.0, -1.15), (1.15, 0.9), (-1.15, 0.9)),
    "triangle-down": ((0.0, 1.15), (1.15, -0.9), (-1.15, -0.9)),
    "cross": _CROSS,
    "x": tuple((0.75 * (x - y), 0.75 * (x + y)) for x, y in _CROSS),
    "line-ns-open": ((0.0, -1.0), (0.0, 1.0)),
}


def text(at: Point, words: str, *, anchor: str = "middle", turned: bool = False) -> str:
    """Write words at a point, turned to read upwards if asked."""
    if not words:
        return ""
    x, y = at
    turn = f' transform="rotate(-90 {x:g} {y:g})"' if turned else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{turn}>{escape(words)}</text>'


def rule(start: Point, stop: Point, *, opacity: float = 0.14) -> str:
    """Draw a grid line in the colour of the text."""
    return f'<path d="{_path([start, stop])}" stroke="currentColor" stroke-opacity="{opacity:g}"/>'


def stroke(points: Sequence[Point | None], color: str, *, width: float = 1.5) -> str:
    """Draw a line through the points; it breaks at each None."""
    return (
        f'<path d="{_path(points)}" fill="none" stroke="{color}" stroke-width="{width:g}" '
        'stroke-linejoin="round"/>'
    )


def _path(points: Sequence[Point | None]) -> str:
    steps, pen = [], "M"
    for point in points:
        if point is not None:
            steps.append(f"{pen}{point[0]:g} {point[1]:g}")
        pen = "M" if point is None else "L"
    return "".join(steps)


def whisker(start: Point | None, stop: Point | None, color: str) -> str:
    """Draw a line between two points with a short bar across each end; None leaves an end off."""
    ends = [point for point in (start, stop) if point is not None]
    upright = len(ends) < 2 or ends[0][0] == ends[1][0]
    dx, dy = (4, 0) if upright else (0, 4)
    points: list[Point | None] = [*ends, None]
    for x, y in ends:
        points += [(x - dx, y - dy), (x + dx, y + dy), None]
    return stroke(points, color)


def area(points: Sequence[Point], color: str, *, edge: str = "") -> str:
    """Fill the outline through the points; `color` may end in two digits of opacity."""
    places = " ".join(f"{x:g},{y:g}" for x, y in points)
    fill, opacity = color[:7], int(color[7:] or "ff", 16) / 255
    # Without an edge the fill keeps to whole pixels, so that neighbours leave no seam.
    line = f' stroke="{edge}" stroke-width="1.5"' if edge else ' shape-rendering="crispEdges"'
    return f'<polygon points="{places}" fill="{fill}" fill-opacity="{opacity:.2g}"{line}/>'


def rectangle(corner: Point, opposite: Point, color: str, *, edge: str = "") -> str:
    """Fill the rectangle between two opposite corners."""
    (x0, y0), (x1, y1) = corner, opposite
    return area([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color, edge=edge)


def mark(at: Point, marker: Trace) -> str:
    """Draw a plotly marker: its symbol, size, colour and opacity."""
    (x, y), radius, color = at, marker["size"] / 2, marker["color"]
    pale = f' opacity="{marker["opacity"]:g}"' if marker.get("opacity", 1) < 1 else ""
    if marker["symbol"] not in _OUTLINES:
        return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{color}"{pale}/>'
    outline = [(x + radius * dx, y + radius * dy) for dx, dy in _OUTLINES[marker["symbol"]]]
    if marker["symbol"].endswith("-open"):
        return stroke(list(outline), color, width=2)
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in outline)
    return f'<polygon points="{places}" fill="{color}"{pale}/>'


def shade(share: float) -> str:
    """Return the heat map's colour at a share from 0 to 1 of its scale."""
    upper = next(i for i in range(1, len(SHADES)) if share <= SHADES[i][0] or i == len(SHADES) - 1)
    (low, dark), (high, light) = SHADES[upper - 1], SHADES[upper]
    weight = min(max((share - low) / (high - low), 0.0), 1.0)
    channels = [
        round((1 - weight) * int(dark[i : i + 2], 16) + weight * int(light[i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{channel:02X}" for channel in channels)
