"""Dives: sub-MIPs of partial assignments one after the other or side by side, then the rest.

A dive never raises over what an instance turns out to be: a sub-MIP that no point fits is tried
again with fewer assignments, and where learning has nothing to say the plain solver goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs, scip
from tenfold.parts.mip.instance import Floats, Mip, Reduced, change_bounds, drop_fixed
from tenfold.parts.mip.solving import Limits, Relaxed, Status
from tenfold.rooms.diving.course import Course, Piece
from tenfold.rooms.diving.dive.assign import Partial, Predicted, partial_assignments
from tenfold.rooms.diving.dive.config import Diving, RootLp
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.looks import look_at, solve_root
from tenfold.rooms.diving.dive.loosen import loosen
from tenfold.rooms.diving.dive.network import NeuralDiving

MANY_COLUMNS = 5_000
"""Sub-MIPs with so many columns go to HiGHS, whose LPs are much faster there."""
LP_COLUMNS = 60_000
"""Up to so many columns the root LP is worth its time."""
TRIES = 12
"""Sub-MIPs without a point, one after the other, after which the whole instance is solved."""
SUB_SETTINGS: Mapping[str, object] = {"presolve": "fast", "separating": "off"}
"""Of SCIP in sub-MIPs: cuts take longer there than they save."""
LAST_GAP = 1e-4
"""Relative gap at which the whole instance is done."""

Propose = Callable[[float, int], list[Partial]]
"""Gives partial assignments, from the coverage and the number of the attempt."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Task:
    """An instance and how it is to be dived into."""

    mip: Mip
    cfg: Diving
    course: Course
    settings: Mapping[str, object] = field(default_factory=dict)
    """SCIP's parameters, by the user."""
    megabytes: float = math.inf
    seed: int = 0


def dive(task: Task, model: NeuralDiving, hooks: Hooks) -> Status:
    """Dive into an instance as a network says; points and bounds go to the task's course.

    Returns:
        `optimal` or `infeasible` if that was proved, else `limit`.
    """
    mip, course = task.mip, task.course
    if not mip.whole.any():
        course.say("no column is whole: this is an LP, which needs no dive")
        return solve_rest(task)
    try:
        predicted = _predict(task, model, hooks)
    except TenfoldError as error:
        course.say(f"no dive: {error}")
        predicted = None
    if predicted is None:
        return solve_rest(task)

    def propose(coverage: float, attempt: int) -> list[Partial]:
        generator = rng.torch_stream(task.seed, "dives", attempt)
        return partial_assignments(
            mip, predicted, coverage=coverage, hooks=hooks, count=task.cfg.dives,
            generator=generator, propagation=task.cfg.propagation,
        )  # fmt: skip

    return follow(task, propose, coverage=task.cfg.coverage or model.coverage)


def follow(task: Task, propose: Propose, *, coverage: float) -> Status:
    """Dive by partial assignments, whoever proposes them, stage after stage."""
    course, first, coverage = task.course, coverage, 1.0
    for factor in task.cfg.stages:
        if course.left <= 0:
            return "limit"
        if factor == 0:
            return solve_rest(task)
        coverage = _stage(task, propose, min(coverage, factor * first))
        if coverage <= 0:
            return solve_rest(task)
    return "limit"


def _predict(task: Task, model: NeuralDiving, hooks: Hooks) -> Predicted | None:
    """Ask the network; `None` if the instance is unlike those of training."""
    course = task.course
    relaxed = _root(task) if wants_root(task.mip, model, task.cfg.root_lp) else None
    look = look_at(
        task.mip, bits=model.told.bits, hooks=hooks, graph=model.sees_graph, relaxed=relaxed
    )
    if not len(look.slots):
        course.say("no column is predicted: all are fixed, continuous or without bounds")
        return None
    mismatch = model.find_mismatch(look)
    if mismatch:
        course.say(f"warning: {task.mip.name} is unlike the instances of training: {mismatch}")
        if not task.cfg.force:
            course.say("no dive: the solver goes on alone; force a dive if you know better")
            return None
    logits, chosen = model.predict(look)
    course.say(f"network asked after {course.now:.3f} s")
    return Predicted(slots=look.slots, logits=logits, chosen=chosen, coverages=model.told.coverages)


def wants_root(mip: Mip, model: NeuralDiving, asked: RootLp) -> bool:
    """Say whether the root LP is solved before the network is asked."""
    if not model.sees_graph or model.told.root_lp == "never":
        return False
    if model.told.root_lp == "always" or asked == "always":
        return True
    return asked == "auto" and len(mip.cost) <= LP_COLUMNS


def _root(task: Task) -> Relaxed | None:
    course = task.course
    relaxed = solve_root(task.mip, seconds=course.left)
    if relaxed is None:
        course.say("the root LP has no best point or took too long; the network goes without")
        return None
    course.learn_bound(relaxed.objective)
    course.say(f"root LP in {relaxed.seconds:.2f} s ({len(task.mip.cost):,} columns)")
    return relaxed


def _stage(task: Task, propose: Propose, coverage: float) -> float:
    """Dive until a point is found.

    Where no point fits, fewer columns are assigned; where the time did not do, more are.

    Returns:
        The coverage that gave a point; 0 if none did.
    """
    course, most = task.course, 1.0
    for attempt in range(TRIES):
        if course.left <= 0:
            return 0.0
        partials = propose(coverage, attempt)
        if all(partial.tightened == 0 for partial in partials):
            return 0.0
        pieces = _told(task, _run_all(task, partials))
        if task.cfg.elastic and not any(piece.found for piece in pieces):
            looser = _loosened(task, partials, pieces)
            pieces += _told(task, _run_all(task, looser)) if looser else []
        if any(piece.found for piece in pieces):
            return coverage
        if any(piece.status == "infeasible" for piece in pieces):
            most = coverage
            coverage *= task.cfg.shrink
        else:
            coverage = (coverage + most) / 2
    return 0.0


def _loosened(task: Task, partials: list[Partial], pieces: list[Piece]) -> list[Partial]:
    """Return the assignments that no point fitted without those that stand in the way."""
    course, found = task.course, []
    for partial, piece in zip(partials, pieces, strict=True):
        if piece.status != "infeasible" or course.left <= 0:
            continue
        began = course.now
        looser = loosen(task.mip, partial, seconds=task.cfg.share * course.left)
        if looser is None:
            continue
        course.say(
            f"an elastic LP freed {partial.tightened - looser.tightened:,} of "
            f"{partial.tightened:,} columns, {course.now - began:.2f} s"
        )
        found.append(looser)
    return found


def _told(task: Task, pieces: list[Piece]) -> list[Piece]:
    for piece in pieces:
        task.course.say(
            f"dive at coverage {piece.coverage:.2f}: {piece.status}, {piece.columns:,} columns "
            f"left, {piece.seconds:.2f} s"
        )
    return pieces


def _run_all(task: Task, partials: list[Partial]) -> list[Piece]:
    if len(partials) == 1:
        return [_run(task, partials[0])]
    with ThreadPoolExecutor(len(partials)) as pool:
        return list(pool.map(lambda partial: _run(task, partial), partials))


def _run(task: Task, partial: Partial) -> Piece:
    """Solve one sub-MIP."""
    course, cfg, mip = task.course, task.cfg, task.mip
    began = course.now
    reduced = drop_fixed(change_bounds(mip, partial.lower, partial.upper))
    if reduced is None:
        seconds = course.now - began
        return Piece(
            status="infeasible", coverage=partial.coverage, columns=0, seconds=seconds, found=False
        )
    columns = len(reduced.kept)
    if not columns:
        found = course.offer(reduced.fixed) or course.x is not None
        return Piece(
            status="optimal", coverage=partial.coverage, columns=0, seconds=course.now - began,
            found=found,
        )  # fmt: skip
    solver = sub_solver(cfg, columns)
    solved = solver.solve(
        reduced.mip,
        limits=Limits(
            seconds=max(cfg.share * course.left, min(course.left, 0.2)),
            nodes=cfg.nodes,
            gap=cfg.gap,
            megabytes=task.megabytes,
        ),
        start=_start(reduced, course.x, mip),
        settings=({**SUB_SETTINGS, **task.settings} if solver is scip else {}),
        seed=task.seed,
        on_point=course.listener(reduced.lift),
        stopping=course.is_ended,
    )
    if solved.x is not None:
        course.offer(reduced.lift(solved.x))
    return Piece(
        status=solved.status,
        coverage=partial.coverage,
        columns=columns,
        seconds=course.now - began,
        found=solved.x is not None,
    )


def sub_solver(cfg: Diving, columns: int) -> ModuleType:
    """Return the solver of a sub-MIP with so many columns."""
    if cfg.sub_solver == "auto":
        return highs if columns >= MANY_COLUMNS else scip
    return highs if cfg.sub_solver == "highs" else scip


def _start(reduced: Reduced, x: Floats | None, mip: Mip) -> Floats | None:
    """Return the best point so far if it lies in the sub-MIP."""
    if x is None:
        return None
    away = np.abs(reduced.fixed - x)
    away[reduced.kept] = 0.0
    return x[reduced.kept] if np.all(away[mip.whole] < 0.5) else None


def solve_rest(task: Task) -> Status:
    """Let the plain solver go on with the whole instance, from the best point so far."""
    course = task.course
    solver = sub_solver(task.cfg, len(task.mip.cost))
    course.say(f"{solver.version()} goes on with the whole instance")
    return solve_whole(task, solver)


def solve_whole(task: Task, solver: ModuleType) -> Status:
    """Solve the whole instance with a solver, from the best point so far."""
    course, began = task.course, task.course.now
    solved = solver.solve(
        task.mip,
        limits=Limits(
            seconds=course.left, nodes=task.cfg.nodes, megabytes=task.megabytes, gap=LAST_GAP
        ),
        start=course.x,
        settings=dict(task.settings) if solver is scip else {},
        seed=task.seed,
        on_point=course.listener(),
        stopping=course.is_ended,
    )
    if solved.x is not None:
        course.offer(solved.x)
    course.learn_trace(solved.trace, began=began)
    course.learn_bound(solved.bound)
    status: Status = solved.status
    return status
