"""Verdicts: a rule fixed before the run, the measured effects, and what follows from both.

A verdict is computed, never typed in. A comparison has one paired effect a seed, Student's t
interval over the seeds, and a rule with a margin. An interval on one side of the margin
decides; one that contains it leaves the comparison undecided, and the smallest effect that so
many seeds could have shown says how much that means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tenfold.engine.report.numerals import with_unit
from tenfold.engine.stats import Interval, mean_interval, smallest_effect

Verdict = Literal["holds", "does not hold", "undecided"]
Asks = Literal["at_least", "within"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a comparison is decided; fixed before the run."""

    kind: Asks
    """`at_least`: the effect reaches `margin`. `within`: it stays between -margin and margin."""
    margin: float
    unit: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.margin) or (self.kind == "within" and self.margin <= 0):
            raise ValueError(f"margin {self.margin} of a rule {self.kind!r} decides nothing")

    @property
    def bounds(self) -> tuple[float, ...]:
        """The values of the effect at which the verdict turns."""
        return (self.margin,) if self.kind == "at_least" else (-self.margin, self.margin)

    def __str__(self) -> str:
        margin = with_unit(f"{self.margin:g}".replace("-", "−"), self.unit)
        return f"at least {margin}" if self.kind == "at_least" else f"within ±{margin}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One measured difference: an effect a seed (None where a seed gave none) and its verdict."""

    name: str
    asks: Asks
    """The kind of the rule; a saved dataclass cannot have a field named "kind" itself."""
    margin: float
    unit: str
    effects: tuple[float | None, ...]
    interval: Interval | None
    """None if fewer than two seeds gave an effect."""
    smallest_effect: float | None
    verdict: Verdict
    primary: bool = True
    """Whether the verdict on the claim depends on it."""
    note: str = ""

    @property
    def rule(self) -> Rule:
        """The rule, as it was before the run."""
        return Rule(kind=self.asks, margin=self.margin, unit=self.unit)


def decide(rule: Rule, interval: Interval) -> Verdict:
    """Judge an effect by where its whole interval lies."""
    if rule.kind == "at_least":
        inside, outside = interval.low >= rule.margin, interval.high < rule.margin
    else:
        inside = -rule.margin <= interval.low and interval.high <= rule.margin
        outside = interval.low > rule.margin or interval.high < -rule.margin
    if inside:
        return "holds"
    return "does not hold" if outside else "undecided"


def compare(
    name: str,
    rule: Rule,
    effects: Iterable[float | None],
    *,
    primary: bool = True,
    note: str = "",
) -> Comparison:
    """Judge the effects of one comparison, one a seed; too few of them leave it undecided.

    Effects are paired differences in the rule's unit. A seed whose runs allow none, for
    instance because a curve does not reach the place of comparison, has None or NaN.
    """
    values = [math.nan if effect is None else float(effect) for effect in effects]
    found = [value for value in values if math.isfinite(value)]
    missing = len(values) - len(found)
    if missing:
        note = f"{missing} of {len(values)} seeds gave no effect. {note}".strip()
    interval = mean_interval(found) if len(found) > 1 else None
    return Comparison(
        name=name,
        asks=rule.kind,
        margin=rule.margin,
        unit=rule.unit,
        effects=tuple(value if math.isfinite(value) else None for value in values),
        interval=interval,
        smallest_effect=smallest_effect(found) if interval else None,
        verdict=decide(rule, interval) if interval else "undecided",
        primary=primary,
        note=note,
    )
