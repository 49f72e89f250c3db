"""SCIP as one of two solver adapters: presolve, solve, relax; `scip_models` has the models."""

from __future__ import annotations

import itertools
import time
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import scip_library
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.scip_models import (
    best_point,
    build,
    extract,
    load_pyscipopt,
    order_of,
    read,
    read_model,
    version,
    write,
)
from tenfold.parts.mip.solving import (
    Limits,
    OnPoint,
    Recorder,
    Relaxed,
    Solved,
    Status,
    Stopping,
    without_point,
)

__all__ = [
    "Presolved",
    "build",
    "extract",
    "presolve",
    "read",
    "read_model",
    "relax",
    "solve",
    "version",
    "write",
]

_ENDS: dict[str, Status] = {
    "optimal": "optimal",
    "infeasible": "infeasible",
    "unbounded": "unbounded",
    "inforunbd": "unclear",
    "userinterrupt": "stopped",
    "terminate": "stopped",
}


# Presolve


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Presolved:
    """What SCIP's presolve left of an instance, and the way back."""

    status: Status
    """`optimal` if nothing is left to do, `limit` if there is; else what presolve found out."""
    mip: Mip | None
    """The smaller instance; objectives are those of the whole one. `None` if presolve ended it."""
    model: Any
    seconds: float

    def restore(self, x: Floats) -> Floats:
        """Return the point of the whole instance, [n], that a point of the smaller one stands for.

        Columns that presolve took out are set as it knew; check the point, as rounding may have
        broken a row that has only continuous columns.
        """
        assert self.mip is not None, "nothing was left of the instance"
        point = self.model.createSol()
        if scip_library.find_obstacle():
            for column, value in zip(self.model.getVars(transformed=True), x, strict=True):
                self.model.setSolVal(point, column, float(value))
            found = [self.model.getSolVal(point, column) for column in self.model.getVars()]
            self.model.freeSol(point)
            return np.array(found)[order_of(self.model)]
        from tenfold.parts.mip import scip_arrays

        scip = scip_library.pointer_of(self.model)
        full = np.zeros(self.model.getNVars(transformed=False))
        code = scip_arrays.restore(scip, np.ascontiguousarray(x, dtype=np.float64), full)
        assert code == 1, f"SCIP refused a point of its own problem (its code {code})"
        return full[order_of(self.model)]

    def best(self) -> Floats | None:
        """Return the best point of the whole instance that presolve itself found, if any."""
        return best_point(self.model)


def presolve(mip: Mip, *, seconds: float = np.inf, seed: int = 0) -> Presolved:
    """Let SCIP presolve an instance, once, so that learning and solving work on what is left.

    Symmetry handling and restarts are off: they would add rows that are not linear, or make what
    is left depend on the search.
    """
    began = time.monotonic()
    model = build(mip)
    # Scaling would give the two objectives different units.
    model.setParams(
        {
            "misc/scaleobj": False,
            "misc/usesymmetry": 0,
            "presolving/maxrestarts": 0,
            "randomization/randomseedshift": seed,
            "limits/time": min(seconds, 1e20),
        }
    )
    model.presolve()
    status = _ENDS.get(model.getStatus(), "limit")
    left = None if status != "limit" else extract(model, name=mip.name, original=False)
    return Presolved(
        status=status, mip=left, model=model, seconds=time.monotonic() - began
    )  # fmt: skip


# Solving


def solve(
    mip: Mip,
    *,
    limits: Limits | None = None,
    start: Floats | None = None,
    settings: dict[str, object] | None = None,
    seed: int = 0,
    keep_points: bool = False,
    on_point: OnPoint | None = None,
    stopping: Stopping | None = None,
    model: Any = None,
) -> Solved:
    """Solve an instance with SCIP, on one thread and without Python's global lock.

    Args:
        mip: the instance.
        limits: when to give up.
        start: a point that fits, [n]; one that does not fit is passed over. The trace begins
            with it.
        settings: SCIP's parameters by name; "presolve", "heuristics" and "separating" take an
            emphasis: default, aggressive, fast or off.
        seed: shift of SCIP's own seeds.
        keep_points: keep every improving point in the answer.
        on_point: called with every improving point; raising `StopIteration` ends the search.
        stopping: asked after every LP whether to end the search.
        model: of the instance, from `build` or `read_model`, perhaps with plugins of one's own.

    Raises:
        TenfoldError: for a parameter that SCIP does not know.
    """
    began = time.monotonic()
    limits = limits or Limits()
    model = model or build(mip)
    _set(model, settings or {}, limits, seed)
    record = Recorder(began=began, keep=keep_points, on_point=on_point, stopping=stopping)
    watch = _Watch(model, limits, record)
    if start is not None:
        _give(model, start)
        record.begin(mip, start)
    model.setParam("limits/time", _left(limits.seconds, began))
    model.optimizeNogil()
    watch.look()
    watch.heard.clear()
    return Solved(
        status="limit" if watch.spent else _ENDS.get(model.getStatus(), "limit"),
        x=best_point(model),
        objective=watch.primal(),
        bound=_plain(model, model.getDualbound()),
        trace=tuple(record.trace),
        points=tuple(record.points),
        nodes=int(model.getNTotalNodes()),
        iterations=int(model.getNLPIterations()),
        seconds=time.monotonic() - began,
        solver=version(),
    )


def _left(seconds: float, began: float) -> float:
    """Return what is left of a time limit: building the model has its part of it."""
    return float(np.clip(seconds - (time.monotonic() - began), 0.0, 1e20))


def _set(model: Any, settings: dict[str, object], limits: Limits, seed: int) -> None:
    known = load_pyscipopt().SCIP_PARAMSETTING
    emphases = {
        "presolve": model.setPresolve,
        "heuristics": model.setHeuristics,
        "separating": model.setSeparating,
    }
    for name, value in settings.items():
        if name in emphases:
            emphases[name](getattr(known, str(value).upper()))
    plain = {name: value for name, value in settings.items() if name not in emphases}
    plain |= {"randomization/randomseedshift": seed, "limits/gap": limits.gap}
    if limits.nodes:
        plain["limits/totalnodes"] = limits.nodes
    if limits.points:
        plain["limits/bestsol"] = limits.points
    if np.isfinite(limits.megabytes):
        plain["limits/memory"] = limits.megabytes
    for name, value in plain.items():
        try:
            model.setParam(name, value)
        except KeyError:
            raise TenfoldError(
                f"SCIP has no parameter {name!r}; its list stands in SCIP's documentation"
            ) from None


def _give(model: Any, start: Floats) -> None:
    point = model.createOrigSol()
    columns = model.getVars()
    for place, value in zip(order_of(model), start.tolist(), strict=True):
        if value:
            model.setSolVal(point, columns[place], value)
    model.addSol(point)


def _plain(model: Any, value: float) -> float:
    return float(np.copysign(np.inf, value)) if model.isInfinity(abs(value)) else float(value)


class _Watch:
    """Tells a recorder of points and bounds as SCIP finds them, and ends a spent budget."""

    def __init__(self, model: Any, limits: Limits, record: Recorder) -> None:
        scip = load_pyscipopt()
        self.record, self.iterations, self.spent = record, limits.iterations, False
        # SCIP owns the handler, and the handler must not own SCIP.
        self.model = weakref.proxy(model)
        types = scip.SCIP_EVENTTYPE
        # Emptied at the end: SCIP also tells of what happens while it is taken down.
        self.heard = heard = {types.BESTSOLFOUND: self.found, types.DUALBOUNDIMPROVED: self.look}
        if limits.iterations or record.stopping is not None:
            heard |= {types.FIRSTLPSOLVED: self.count, types.LPSOLVED: self.count}

        class Ear(scip.Eventhdlr):  # type: ignore[misc,name-defined]
            """Hears SCIP's events."""

            def eventinit(self) -> None:
                for kind in heard:
                    self.model.catchEvent(kind, self)

            def eventexec(self, event: Any) -> None:
                if heard:
                    heard[event.getType()]()

        model.includeEventhdlr(Ear(), "tenfold watch", "notes points and bounds")

    def primal(self) -> float:
        """Return the objective of the best point; inside an event, SCIP's own bound is late."""
        if self.model.getNSols() == 0:
            return np.nan
        return float(self.model.getSolObjVal(self.model.getBestSol()))

    def look(self) -> None:
        """Note what is known now."""
        self.record.note(self.primal(), _plain(self.model, self.model.getDualbound()))

    def found(self) -> None:
        """Note a new best point."""
        self.look()
        if self.record.wants_points:
            x = best_point(self.model)
            assert x is not None, "a point was found and is not there"
            self.record.found(self.record.trace[-1].primal, x)
        if self.record.stopped:
            self.model.interruptSolve()

    def count(self) -> None:
        """End the search after an LP if iterations are spent or somebody asks to stop."""
        if self.iterations and self.model.getNLPIterations() >= self.iterations:
            self.spent = True
        if self.spent or self.record.stopped:
            self.model.interruptSolve()


# The LP relaxation


def relax(mip: Mip, *, seconds: float = np.inf) -> Relaxed:
    """Solve the LP relaxation with SoPlex, SCIP's own LP solver, without presolve."""
    began = time.monotonic()
    lp = load_pyscipopt().LP(mip.name, mip.sense)
    if np.isfinite(seconds):
        lp.setRealParam(load_pyscipopt().SCIP_LPPARAM.LPTILIM, seconds)
    empty: list[list[tuple[int, float]]] = [[] for _ in mip.columns]
    lp.addCols(
        empty, objs=mip.cost.tolist(), lbs=_within(mip.lower, lp), ubs=_within(mip.upper, lp)
    )
    pairs = list(zip(mip.matrix.indices.tolist(), mip.matrix.data.tolist(), strict=True))
    ends = mip.matrix.indptr.tolist()
    rows = [pairs[low:high] for low, high in itertools.pairwise(ends)]
    if rows:
        lp.addRows(rows, lhss=_within(mip.left, lp), rhss=_within(mip.right, lp))
    lp.solve()
    if not lp.isOptimal():
        return without_point(mip, _fault(lp), seconds=time.monotonic() - began)
    states, _ = lp.getBase()
    return Relaxed(
        status="optimal",
        x=np.array(lp.getPrimal()),
        duals=np.array(lp.getDual()),
        reduced=np.array(lp.getRedcost()),
        # SCIP numbers the states as we do: lower, basic, upper, zero.
        basis=np.array(states, dtype=np.uint8),
        objective=lp.getObjVal() + mip.offset,
        iterations=lp.getNIterations(),
        seconds=time.monotonic() - began,
    )


def _within(values: Floats, lp: Any) -> list[float]:
    infinite = lp.infinity()
    return [float(value) for value in np.clip(values, -infinite, infinite)]


def _fault(lp: Any) -> Status:
    if lp.getDualRay() is not None:
        return "infeasible"
    return "unbounded" if lp.getPrimalRay() is not None else "limit"
