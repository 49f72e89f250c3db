"""The paper's protocol: methods on instances, gaps over time, who is sooner and by how much.

Rules are those of `parts.mip.measure`: no point is a gap of 1, times that were not reached count
as the limit, gaps below 1e-4 are not told apart. Time runs from reading the file on. The best
known value of an instance is the best of all its runs.

I instances, K times.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.engine.stats import Interval
from tenfold.parts.mip import highs, instances, measure, scip
from tenfold.parts.mip.instance import Mip
from tenfold.parts.mip.measure import Curve
from tenfold.parts.mip.solving import Status, Step
from tenfold.rooms.diving import baselines
from tenfold.rooms.diving.course import Course
from tenfold.rooms.diving.dive.search import Task, dive, solve_whole
from tenfold.rooms.diving.solving import Tools, join, mend, search

RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Kit:
    """Everything that methods may need."""

    tools: Tools
    memory: baselines.Memory | None = None
    emphasis: Mapping[str, object] = field(default_factory=dict)
    """What tuned SCIP was tuned to."""


def lacking(method: str, kit: Kit) -> str:
    """Return what a method needs that is not there; empty if it can run."""
    if method in ("dive", "dive-scip", "joint") and kit.tools.dive is None:
        return "a diving network"
    if method in ("branch", "joint") and kit.tools.branch is None:
        return "a branching policy"
    if method.split("-")[0] in ("majority", "knn") and kit.memory is None:
        return "labels of training instances"
    if method == "scip-tuned" and not kit.emphasis:
        return "instances to tune on"
    return ""


# One run


def run_method(
    method: str, file: str | Path | Mip, *, kit: Kit, seconds: float, seed: int = 0
) -> Json:
    """Solve an instance by a method; return its trace and what it came to.

    The keys are: method, instance, sense, status, objective, bound, seconds, feasible, trace
    (rows of seconds, primal, dual; None for what was not known), notes.
    """
    began = time.monotonic()
    mip = file if isinstance(file, Mip) else instances.read(Path(file))
    course = Course(mip, seconds=seconds, began=began)
    task = Task(mip=mip, cfg=kit.tools.diving, course=course, seed=seed)
    status = _METHODS[method.removesuffix("-scip")](_with_solver(task, method), kit)
    mend(course)
    answer = course.answer(status)
    return {
        "method": method,
        "instance": mip.name,
        "sense": mip.sense,
        "status": answer.status,
        "objective": _plain(answer.objective),
        "bound": _plain(answer.bound),
        "seconds": answer.seconds,
        "feasible": bool(answer.certificate and answer.certificate.feasible),
        "trace": [[step.seconds, _plain(step.primal), _plain(step.dual)] for step in answer.trace],
        "notes": list(answer.notes),
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _with_solver(task: Task, method: str) -> Task:
    solver: Any = "scip" if method.endswith("-scip") else task.cfg.sub_solver
    if solver == "auto" and method in ("rens", "majority", "knn", "dive"):
        solver = "highs"
    return replace(task, cfg=replace(task.cfg, sub_solver=solver))


def _dive(task: Task, kit: Kit) -> Status:
    assert kit.tools.dive is not None, "a dive needs a network"
    return dive(task, kit.tools.dive, kit.tools.hooks or kit.tools.dive.hooks)


def _vote(nearest: int) -> Callable[[Task, Kit], Status]:
    def run(task: Task, kit: Kit) -> Status:
        assert kit.memory is not None, "a vote needs training instances"
        return baselines.vote(task, kit.memory, nearest=nearest)

    return run


def _branching(rule: str) -> Callable[[Task, Kit], Status]:
    settings = {f"branching/{rule}/priority": 10_000_000}
    return lambda task, _kit: solve_whole(replace(task, settings=settings), scip)


def _pair(task: Task, _kit: Kit) -> Status:
    """Two seeds of SCIP on two threads, the best of both at every time."""
    with ThreadPoolExecutor(2) as pool:
        ends = pool.map(
            lambda number: solve_whole(replace(task, seed=task.seed + 1000 * number), scip), (0, 1)
        )
        return next(iter(sorted(ends, key=lambda status: status != "optimal")))


_METHODS: dict[str, Callable[[Task, Kit], Status]] = {
    "scip": lambda task, _kit: solve_whole(task, scip),
    "scip-tuned": lambda task, kit: solve_whole(replace(task, settings=kit.emphasis), scip),
    "highs": lambda task, _kit: solve_whole(task, highs),
    "rens": lambda task, _kit: baselines.rens(task),
    "majority": _vote(0),
    "knn": _vote(baselines.NEIGHBOURS),
    "dive": _dive,
    "branch": lambda task, kit: search(task, kit.tools),
    "branch-random": _branching("random"),
    "branch-pscost": _branching("pscost"),
    "joint": lambda task, kit: join(task, kit.tools),
    "scip-pair": _pair,
}


# Curves


def trace_of(trial: Json) -> list[Step]:
    """Return the trace of a trial."""
    return [
        Step(seconds=row[0], primal=_number(row[1]), dual=_number(row[2])) for row in trial["trace"]
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def best_known(trials: Sequence[Json]) -> dict[str, float]:
    """Return the best checked value of each instance over all its trials; NaN if none has any."""
    best: dict[str, float] = {}
    for trial in trials:
        value = _number(trial["objective"]) if trial["feasible"] else math.nan
        known = best.setdefault(trial["instance"], math.nan)
        better = value > known if trial["sense"] == "maximize" else value < known
        if better or math.isnan(known):
            best[trial["instance"]] = value
    return best


def primal_curves(trials: Sequence[Json], best: Mapping[str, float]) -> list[Curve]:
    """Return the primal gap of each trial over time."""
    return [measure.primal_curve(trace_of(t), best[t["instance"]]) for t in trials]


def primal_dual_curves(trials: Sequence[Json]) -> list[Curve]:
    """Return the gap between point and bound of each trial over time."""
    return [measure.primal_dual_curve(trace_of(trial)) for trial in trials]


def bootstrap_rows(count: int, *, seed: int = 0) -> Any:
    """Return which instances each resample holds, [RESAMPLES, count]."""
    draw = rng.stream(seed, "bootstrap over instances")
    return draw.integers(count, size=(RESAMPLES, count))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """When a mean gap came down to a target for good."""

    seconds: float
    """Infinite if it never did."""
    limit: float

    @property
    def at_most(self) -> float:
        """The time, or the limit if it was not reached."""
        return min(self.seconds, self.limit)


def time_to_mean_gap(curves: Sequence[Curve], target: float, *, limit: float) -> Reached:
    """Return the time from which on the mean gap over instances is at most `target`."""
    return Reached(seconds=measure.mean_curve(curves).first_below(target), limit=limit)


def ratio_of_times(
    ours: Sequence[Curve],
    theirs: Sequence[Curve],
    target: float,
    *,
    limit: float,
    their_limit: float | None = None,
    seed: int = 0,
) -> Interval:
    """Return how many times later theirs has a mean gap of `target`, by bootstrap over instances.

    Pairs of curves of one instance are drawn together. A mean that never comes down counts as
    the limit (theirs as `their_limit`, where it is another one), so that a ratio against a method
    that does not get there is a lower end.
    """
    assert len(ours) == len(theirs), "curves are compared in pairs"
    rows = bootstrap_rows(len(ours), seed=seed)
    tables = [_table(curves) for curves in (ours, theirs)]

    def ratio(chosen: Any) -> Any:
        first, second = (
            _first_below(*table, chosen, target, own)
            for table, own in zip(tables, (limit, their_limit or limit), strict=True)
        )
        return second / np.maximum(first, 1e-3)

    found = ratio(rows)
    low, high = np.quantile(found, [0.025, 0.975])
    whole = ratio(np.arange(len(ours))[None])
    return Interval(estimate=float(whole[0]), low=float(low), high=float(high))


def _table(curves: Sequence[Curve]) -> tuple[Any, Any]:
    times = np.unique(np.concatenate([curve.times for curve in curves]))
    return times, np.array([curve.at(times) for curve in curves])


def _first_below(times: Any, values: Any, rows: Any, target: float, limit: float) -> Any:
    """Return for each row of instances when their mean is at most the target for good."""
    found = np.full(len(rows), limit)
    for number, chosen in enumerate(rows):
        above = np.flatnonzero(values[chosen].mean(axis=0) > target)
        last = above[-1] + 1 if len(above) else 0
        if last < len(times):
            found[number] = min(times[last], limit)
    return found


def mean_gap_ratio(
    ours: Sequence[Curve], theirs: Sequence[Curve], at: float, *, seed: int = 0
) -> Interval:
    """Return mean gap of theirs over mean gap of ours at a time, by bootstrap over instances."""
    mine, other = (np.array([float(c.at(at)) for c in cs]) for cs in (ours, theirs))
    rows = bootstrap_rows(len(mine), seed=seed)
    floor = measure.FLOOR

    def ratio(chosen: Any) -> Any:
        top = np.maximum(other[chosen].mean(axis=-1), floor)
        return top / np.maximum(mine[chosen].mean(axis=-1), floor)

    low, high = np.quantile(ratio(rows), [0.025, 0.975])
    return Interval(estimate=float(ratio(np.arange(len(mine)))), low=float(low), high=float(high))


# Summaries


def summarise(
    trials: Sequence[Json],
    *,
    target: float,
    limit: float,
    longer: Mapping[str, float] | None = None,
) -> list[Json]:
    """Return a row of figures for each method, in the order in which methods first appear.

    Args:
        trials: of all methods.
        target: mean gap whose time is told.
        limit: of each run, s.
        longer: methods that had another limit.
    """
    best, usual = best_known(trials), limit
    rows = []
    for method, some in by_method(trials).items():
        limit = (longer or {}).get(method, usual)
        known = [trial for trial in some if math.isfinite(best[trial["instance"]])]
        if not known:
            continue
        curves = primal_curves(known, best)
        times = [curve.first_below(target) for curve in curves]
        rows.append(
            {
                "method": method,
                "trials": len(known),
                "time_to_mean_gap": _plain(time_to_mean_gap(curves, target, limit=limit).seconds),
                "reached": int(np.sum(np.isfinite(times))),
                "time": measure.Censored(np.array(times), limit).mean(),
                "primal_integral": float(np.mean([c.integral(limit) for c in curves])) / limit,
                "final_gap": float(np.mean([float(c.at(limit)) for c in curves])),
                "infeasible_points": sum(
                    not trial["feasible"] and trial["objective"] is not None for trial in known
                ),
            }
        )
    return rows


def by_method(trials: Sequence[Json]) -> dict[str, list[Json]]:
    """Return trials by method, each method's sorted by instance and seed."""
    found: dict[str, list[Json]] = {}
    for trial in trials:
        found.setdefault(trial["method"], []).append(trial)
    return {
        method: sorted(some, key=lambda t: (t["instance"], t.get("seed", 0)))
        for method, some in found.items()
    }
