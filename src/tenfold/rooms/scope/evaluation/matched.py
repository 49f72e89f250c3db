"""Dictionaries compared at equal L0, with intervals.

A front is the points (L0, measure) of dictionaries that differ in their target only, and in
their seed. It is read at an L0 by straight lines on log-log axes, never beyond its ends. With
several seeds the interval is Student's over seeds; with one it is the bootstrap over items of
the held-out data, which tells nothing about other seeds. Each result says which it is.
"""

# P points of a front, J resamples of the items

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.stats import Interval, log_interpolate, mean_interval
from tenfold.rooms.scope.evaluation.resampling import quantile_interval, resampled_ratio

Floats = NDArray[np.float64]
Over = Literal["seeds", "items", "nothing"]

MEASURES = {"fvu": "error", "delta_loss": "rise"}
"""What is read at equal L0, and the sums of single items behind it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A finished evaluation with the sums of single items."""

    result: Json
    """What `evaluation.json` says."""
    items: Mapping[str, Floats]
    """Sums of each item, by the names in `items.safetensors`; empty if the file is not there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One dictionary on a front."""

    name: str
    seed: int
    l0: float
    value: float
    resampled: tuple[Floats, Floats] | None = None
    """L0 and value in each resample of the items, [J] each."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A front, or the difference of two, at one L0."""

    l0: float
    interval: Interval | None
    """None where the front does not reach that L0, or nothing can be resampled."""
    estimate: float | None
    over: Over
    """What the interval is over."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two fronts at one L0."""

    name: str
    reference: str
    ours: Reading
    theirs: Reading
    lower: Reading
    """By how many percent `name` is lower than `reference`."""


def open_evaluation(path: str | Path) -> Evaluation:
    """Open the evaluation of a run, or the folder that `evaluate` wrote.

    Raises:
        TenfoldError: if there is none, or it is of another schema.
    """
    path = Path(path)
    for folder in (path, path / "out" / "evaluation"):
        if (folder / "evaluation.json").is_file():
            result = files.read_json(folder / "evaluation.json")
            if result.get("schema") != 1:
                raise TenfoldError(
                    f"{folder / 'evaluation.json'} has schema {result.get('schema')}, this version "
                    "reads 1; evaluate anew"
                )
            saved = folder / "items.safetensors"
            return Evaluation(result=result, items=load_file(saved) if saved.is_file() else {})
    raise TenfoldError(
        f"no evaluation at {path}; run `tenfold scope eval` on the suite, or give its folder"
    )


def front(evaluation: Evaluation, measure: str = "fvu", **wanted: Any) -> list[Point]:
    """Return the dictionaries that have all `wanted` facts, such as site="blocks.2", width=512.

    Raises:
        TenfoldError: if the measure is not known, or the evaluation has none.
    """
    if measure not in MEASURES:
        raise unknown_name("measure", measure, MEASURES)
    found = []
    for name, entry in evaluation.result["entries"].items():
        if any(entry[fact] != value for fact, value in wanted.items()):
            continue
        if measure not in entry:
            raise TenfoldError(
                f"the evaluation has no {measure} of {name!r}: the model has no loss"
            )
        found.append(
            Point(
                name=name,
                seed=entry["seed"],
                l0=entry["l0"],
                value=entry[measure],
                resampled=_resampled(evaluation, name, entry, measure),
            )
        )
    return found


def fronts_by(
    evaluation: Evaluation, fact: str, measure: str = "fvu", **wanted: Any
) -> dict[str, list[Point]]:
    """Return one front for each value of `fact`: "site", "width", "kind" or "site_out"."""
    values = dict.fromkeys(entry[fact] for entry in evaluation.result["entries"].values())
    fronts = {str(value): front(evaluation, measure, **{fact: value}, **wanted) for value in values}
    return {name: points for name, points in fronts.items() if points}


def _resampled(
    evaluation: Evaluation, name: str, entry: Json, measure: str
) -> tuple[Floats, Floats] | None:
    site = entry["site_out"] or entry["site"]
    items = evaluation.items
    above = items.get(f"entry/{name}/{MEASURES[measure]}")
    rows, active = items.get(f"site/{site}/rows"), items.get(f"entry/{name}/active")
    below = rows if measure == "fvu" else items.get("predicted")
    if above is None or rows is None or active is None or below is None or len(rows) < 2:
        return None
    scale = evaluation.result["sites"][site]["variance"] if measure == "fvu" else 1.0
    return resampled_ratio(active, rows), resampled_ratio(above, below) / scale


def read_front(points: Sequence[Point], l0: float) -> Reading:
    """Return the measure of a front at an L0."""
    return _reading(l0, [points], lambda values: values[0])


def compare(
    fronts: Mapping[str, Sequence[Point]], *, reference: str, l0: Sequence[float] = ()
) -> list[Match]:
    """Compare every front with the reference at equal L0s.

    Fronts may come from one evaluation (`fronts_by`) or from several (`front` of each). Over
    seeds, equal seeds are paired; over items, equal resamples, so evaluations that are compared
    without seeds must have been made on the same held-out data.

    Args:
        fronts: by name.
        reference: the name that the others are compared with.
        l0: where; empty takes `shared_l0`.

    Raises:
        TenfoldError: if the reference is not among the fronts.
    """
    if reference not in fronts:
        raise unknown_name("front", reference, fronts)
    theirs = fronts[reference]
    return [
        Match(
            name=name,
            reference=reference,
            ours=read_front(ours, at),
            theirs=read_front(theirs, at),
            lower=_reading(at, [ours, theirs], _percent_lower),
        )
        for name, ours in fronts.items()
        if name != reference
        for at in l0 or shared_l0([ours, theirs])
    ]


def shared_l0(fronts: Sequence[Sequence[Point]], *, count: int = 3) -> tuple[float, ...]:
    """Return L0s that all fronts reach, evenly spaced in logarithms, to two digits."""
    spans = [
        (min(found), max(found))
        for points in fronts
        for seed in {point.seed for point in points}
        if (found := [point.l0 for point in points if point.seed == seed and point.l0 > 0])
    ]
    low = max((span[0] for span in spans), default=0.0)
    high = min((span[1] for span in spans), default=0.0)
    if not 0 < low <= high:
        return ()
    places = (float(f"{place:.2g}") for place in np.geomspace(low, high, count))
    return tuple(dict.fromkeys(place for place in places if low <= place <= high))


def _percent_lower(values: Sequence[float]) -> float:
    ours, theirs = values
    return 100 * (1 - ours / theirs)


Combine = Callable[[Sequence[float]], float]


def _reading(l0: float, fronts: Sequence[Sequence[Point]], combine: Combine) -> Reading:
    """Read all fronts at an L0, seed by seed, and combine what they say."""
    seeds = sorted(set.intersection(*({point.seed for point in points} for points in fronts)))
    found = []
    for seed in seeds:
        values = [_at(_of_seed(points, seed), l0) for points in fronts]
        known = [value for value in values if value is not None]
        if len(known) == len(fronts):
            found.append(combine(known))
    if not found:
        return Reading(l0=l0, interval=None, estimate=None, over="nothing")
    estimate = float(np.mean(found))
    if len(found) > 1:
        return Reading(l0=l0, interval=mean_interval(found), estimate=estimate, over="seeds")
    interval = None
    if len(seeds) == 1:
        drawn = [_resampled_at(_of_seed(points, seeds[0]), l0) for points in fronts]
        arrays = [values for values in drawn if values is not None]
        if len(arrays) == len(fronts):
            combined = [combine(values) for values in zip(*arrays, strict=True)]
            interval = quantile_interval(np.array(combined), estimate)
    over: Over = "items" if interval else "nothing"
    return Reading(l0=l0, interval=interval, estimate=estimate, over=over)


def _of_seed(points: Sequence[Point], seed: int) -> list[Point]:
    return [point for point in points if point.seed == seed]


def _at(points: Sequence[Point], l0: float) -> float | None:
    """Return a front's value at an L0; None beyond its ends or where a value has no logarithm."""
    if any(not (point.l0 > 0 and point.value > 0) for point in points):
        return None
    return log_interpolate([p.l0 for p in points], [p.value for p in points], l0)


def _resampled_at(points: Sequence[Point], l0: float) -> Floats | None:
    """Return a front's value at an L0 in each resample [J], NaN where it has none."""
    pairs = [point.resampled for point in points if point.resampled is not None]
    if len(pairs) < len(points):
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        x_PJ, y_PJ = (np.log(np.stack(column)) for column in zip(*pairs, strict=True))
    order = np.argsort(x_PJ, axis=0)
    x_PJ, y_PJ = np.take_along_axis(x_PJ, order, 0), np.take_along_axis(y_PJ, order, 0)
    if len(points) == 1:
        # A single point has no slope: its value stands for the L0 it was read at.
        return np.asarray(np.exp(y_PJ[0]))
    columns = zip(x_PJ.T, y_PJ.T, strict=True)
    # A resample moves the ends of a front a little; just beyond them the end itself is taken.
    return np.array([math.exp(np.interp(math.log(l0), x, y)) for x, y in columns])
