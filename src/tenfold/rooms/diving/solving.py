"""Solving one instance: read, dive, branch or both on two threads, check, tell.

Joint solving is the paper's protocol (Nair et al. 2020, section 8): the dive gives points to the
search, which injects them at its next node, and the search gives the dive its own points and the
bound. Each has a thread of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs, instances, scip
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.repair import repair_point
from tenfold.parts.mip.scip_models import load_pyscipopt, order_of
from tenfold.parts.mip.solving import Limits, Point, Status
from tenfold.rooms.diving.branch.config import Branching
from tenfold.rooms.diving.branch.policy import Policy
from tenfold.rooms.diving.branch.rule import include, search_settings
from tenfold.rooms.diving.course import Answer, Course
from tenfold.rooms.diving.dive.config import Diving
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.network import NeuralDiving
from tenfold.rooms.diving.dive.search import LAST_GAP, Task, dive, solve_rest

How = Literal["auto", "dive", "branch", "joint", "solver"]
PROVED = ("optimal", "infeasible")
"""Ends after which nothing is left to find."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tools:
    """What a solve may use."""

    dive: NeuralDiving | None = None
    branch: Policy | None = None
    hooks: Hooks | None = None
    """`None`: those that the network was trained with, if they ship with the room."""
    diving: Diving = field(default_factory=Diving)
    branching: Branching = field(default_factory=Branching)


def solve(
    instance: Mip | str | Path,
    *,
    tools: Tools | None = None,
    how: How = "auto",
    seconds: float = 60.0,
    nodes: int = 0,
    megabytes: float = math.inf,
    start: Floats | None = None,
    settings: Mapping[str, object] | None = None,
    seed: int = 0,
    on_point: Callable[[Point], None] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Answer:
    """Solve an instance as well as the time allows, reading and networks counted.

    Args:
        instance: itself, or its file.
        tools: networks and how they are used; none: the plain solver.
        how: dive, branch, joint or solver; auto: by the tools that are there.
        seconds: wall time.
        nodes: of each search, for runs that repeat; 0: no limit.
        megabytes: of memory, for SCIP.
        start: a point to begin with, [n].
        settings: SCIP's parameters by name.
        seed: of solvers and samples.
        on_point: called with every better point; raising `StopIteration` ends the solve.
        stopping: asked now and then whether to end the solve with what there is.

    Raises:
        TenfoldError: if the file cannot be read, a parameter is unknown, or `how` needs a tool
            that is not there.
    """
    tools = tools or Tools()
    began = time.monotonic()
    mip = instance if isinstance(instance, Mip) else instances.read(Path(instance))
    course = Course(mip, seconds=seconds, began=began, on_point=on_point, stopping=stopping)
    if start is not None and not course.begin(start):
        course.say("warning: the given start does not fit the instance; it is not used")
    task = Task(
        mip=mip,
        cfg=replace(tools.diving, nodes=nodes) if nodes else tools.diving,
        course=course,
        settings=settings or {},
        megabytes=megabytes,
        seed=seed,
    )
    status = _run(task, tools, _choose(how, tools, mip))
    mend(course)
    return course.answer("stopped" if course.stopped and status == "limit" else status)


def _choose(how: How, tools: Tools, mip: Mip) -> How:
    for needs, tool, what in (
        (("dive", "joint"), tools.dive, "a diving network"),
        (("branch", "joint"), tools.branch, "a branching policy"),
    ):
        if how in needs and tool is None:
            raise TenfoldError(
                f"{how} needs {what}, which is not given; give one, or solve by auto"
            )
    if how != "auto":
        return how
    if not mip.whole.any():
        return "solver"
    if tools.dive and tools.branch:
        return "joint"
    return "dive" if tools.dive else "branch" if tools.branch else "solver"


def _run(task: Task, tools: Tools, how: How) -> Status:
    if how == "solver":
        return solve_rest(task)
    if how == "branch":
        return search(task, tools)
    if how == "joint":
        return join(task, tools)
    assert tools.dive is not None, "a dive needs a network"
    return dive(task, tools.dive, tools.hooks or tools.dive.hooks)


def join(task: Task, tools: Tools) -> Status:
    """Dive on one thread and search on another, with one course."""
    assert tools.dive is not None, "a dive needs a network"
    hooks = tools.hooks or tools.dive.hooks
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(_until_proved, task.course, search, task, tools, True),
            pool.submit(_until_proved, task.course, dive, task, tools.dive, hooks),
        ]
        try:
            first, second = (one.result() for one in both)
        except BaseException:
            task.course.stopped = True
            raise
    return second if second in PROVED and first not in PROVED else first


def _until_proved(course: Course, work: Callable[..., Status], *values: Any) -> Status:
    """Do one side's work; if it proves the end, the other side stops at its next chance."""
    try:
        status = work(*values)
    except BaseException:
        course.stopped = True
        raise
    course.finished = course.finished or status in PROVED
    return status


def search(task: Task, tools: Tools, listening: bool = False) -> Status:
    """Search the whole instance with SCIP, branching by the policy if there is one.

    Args:
        task: the instance.
        tools: with the policy.
        listening: take points from the course at every node.
    """
    course = task.course
    model = scip.build(task.mip)
    settings: dict[str, object] = {}
    tally = None
    if tools.branch is not None:
        tally = include(model, tools.branch, cfg=tools.branching)
        settings |= search_settings("root")
        # That is for presolved instances; this one is not.
        del settings["presolving/maxrounds"]
    if listening:
        _include_listener(model, course)
    began = course.now
    solved = scip.solve(
        task.mip,
        limits=Limits(
            seconds=course.left, nodes=task.cfg.nodes, megabytes=task.megabytes, gap=LAST_GAP
        ),
        start=course.x,
        settings=settings | dict(task.settings),
        seed=task.seed,
        on_point=course.listener(),
        stopping=course.is_ended,
        model=model,
    )
    if tally is not None:
        tally.check()
        course.say(
            f"policy branched {tally.calls} times, {1e3 * tally.seconds_per_call:.2f} ms each"
        )
    if solved.x is not None:
        course.offer(solved.x)
    course.learn_trace(solved.trace, began=began)
    course.learn_bound(solved.bound)
    # SCIP holds plugins that hold the model; freeing it here ends the circle.
    model.freeProb()
    return solved.status


def _include_listener(model: Any, course: Course) -> None:
    """Let a search take better points from a course at its nodes."""
    pyscipopt = load_pyscipopt()
    taken = [np.inf]
    sign = 1.0 if course.mip.sense == "minimize" else -1.0

    class Listener(pyscipopt.Heur):  # type: ignore[misc,name-defined]
        """Injects the course's best point."""

        def heurexec(self, heurtiming: Any, nodeinfeasible: bool) -> dict[str, Any]:  # noqa: ARG002
            results = pyscipopt.SCIP_RESULT
            x, value = course.x, course.objective
            if x is None or sign * value >= taken[0]:
                return {"result": results.DIDNOTRUN}
            taken[0] = sign * value
            point = self.model.createOrigSol(self)
            columns = self.model.getVars()
            for place, number in zip(order_of(self.model), x.tolist(), strict=True):
                if number:
                    self.model.setSolVal(point, columns[place], number)
            took = self.model.trySol(point, printreason=False, completely=False, free=True)
            return {"result": results.FOUNDSOL if took else results.DIDNOTFIND}

    timing = pyscipopt.SCIP_HEURTIMING
    model.includeHeur(
        Listener(), "tenfold listener", "takes points from a dive", "T", priority=100_000, freq=1,
        timingmask=timing.BEFORENODE | timing.DURINGLPLOOP | timing.AFTERLPNODE,
    )  # fmt: skip


def mend(course: Course) -> None:
    """Repair the best point where rounding broke a row, by an LP with the integers fixed."""
    if course.x is None:
        return
    repaired = repair_point(course.mip, course.x, solver=highs, seconds=10.0)
    if repaired is None:
        course.say("warning: the best point does not fit the instance exactly, see certificate")
    elif repaired is not course.x:
        course.say("rounding had broken the best point; an LP repaired it")
        course.replace(repaired)
