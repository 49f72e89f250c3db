"""Scales of a figure drawn by ourselves: from values to pixels, and the labelled ticks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tenfold.engine.report.traces import Trace

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_AIR = 0.05  # share of the extent left free beyond the outermost values


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """One axis: values from `low` to `high` (decades if `log`) lie on pixels `start` to `stop`.

    With `names`, values are names and stand at 0, 1, 2, ...
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False
    names: tuple[str, ...] = ()

    def place(self, value: Any) -> float | None:
        """Return the pixel of a value, None where it has none."""
        number = self._number(value)
        if number is None:
            return None
        share = (number - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 2)

    def _number(self, value: Any) -> float | None:
        if value is None or (self.names and value not in self.names):
            return None
        if self.names:
            return float(self.names.index(value))
        if self.log:
            return math.log10(value) if value > 0 else None
        return float(value)


def fit(figure_data: Any, layout: Trace, *, letter: str, pixels: tuple[float, float]) -> Scale:
    """Return the scale of axis `letter` ("x" or "y") that shows all traces."""
    axis = layout[f"{letter}axis"]
    if axis["type"] == "category":
        return _category_scale(figure_data, axis, letter, pixels)
    log = axis["type"] == "log"
    found = [value for trace in figure_data for value in _values(trace, letter)]
    numbers = [math.log10(value) if log else value for value in found if value > 0 or not log]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    air = _AIR * (high - low)
    # Bars and areas stand on zero, so no air lies below it.
    floor = low if low == 0 and not log else low - air
    return Scale(low=floor, high=high + air, start=pixels[0], stop=pixels[1], log=log)


def _category_scale(data: Any, axis: Trace, letter: str, pixels: tuple[float, float]) -> Scale:
    found = chain.from_iterable(trace[letter] for trace in data)
    names = tuple(dict.fromkeys(axis.get("categoryarray") or found))
    start, stop = pixels[::-1] if axis.get("autorange") == "reversed" else pixels
    return Scale(low=-0.5, high=max(len(names), 1) - 0.5, start=start, stop=stop, names=names)


def _values(trace: Trace, letter: str) -> Iterator[float]:
    """Give every number of a trace that its axis has to show."""
    values = trace.get(letter, ())
    fences = ("lowerfence", "upperfence") if letter == "y" else ()
    shown = chain(values, *(trace.get(name, ()) for name in fences))
    yield from (value for value in shown if isinstance(value, int | float))
    if letter == "y" and (trace["type"] == "bar" or trace.get("fill") == "tozeroy"):
        yield 0.0
    bars = trace.get(f"error_{letter}", {})
    lengths = (bars.get("arrayminus", ()), bars.get("array", ()))
    for value, down, up in zip(values, *lengths, strict=False):
        if None not in (value, down, up):
            yield from (value - down, value + up)


def ticks(scale: Scale, axis: Trace, *, count: int = 6) -> list[tuple[Any, str]]:
    """Return the labelled places of a scale as (value, text)."""
    if axis.get("type") == "category":
        return [(name, name) for name in scale.names]
    if "tickvals" in axis:
        return list(zip(axis["tickvals"], axis["ticktext"], strict=True))
    low, high = scale.low, scale.high
    if scale.log:
        places = [(value, f"{value:g}") for value in _log_places(scale)]
        if len(places) > 2:
            return places
        low, high = 10**low, 10**high  # so short a stretch is nearly straight
    return list(_even_ticks(low, high, count))


def _even_ticks(low: float, high: float, count: int) -> Iterator[tuple[float, str]]:
    """Give multiples of a round step, written with the decimals that the step has."""
    rough = (high - low) / count
    power = math.floor(math.log10(rough))
    factor = next(factor for factor in _STEPS if factor * 10.0**power >= rough * 0.999)
    step = factor * 10.0**power
    decimals = max(0, -math.floor(math.log10(step)) + (factor == 2.5))
    for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield number * step, f"{number * step:,.{decimals}f}".replace("-", "−")


def _log_places(scale: Scale) -> list[float]:
    """Return decades if there are many, else multiples of them too, until there are four."""
    powers = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    decades = [10.0**power for power in powers if scale.low <= power <= scale.high]
    for factors in ((1, 2, 5), range(1, 10)):
        if len(decades) > 3:
            break
        fine = (factor * 10.0**power for power in powers for factor in factors)
        decades = [value for value in fine if scale.low <= math.log10(value) <= scale.high]
    return decades
