"""What a solver is asked and what it answers, the same for SCIP and HiGHS.

Both adapters, `scip` and `highs`, have the same five calls: `read`, `write`, `solve`, `relax`,
`version`; `scip` can also presolve an instance once and for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.instance import Floats, Mip

Status = Literal["optimal", "infeasible", "unbounded", "unclear", "limit", "stopped"]
"""`unclear`: infeasible or unbounded, the solver did not tell which; `limit`: a limit was hit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When a solver gives up; infinite or 0 means never."""

    seconds: float = np.inf
    """Wall time. A run that ends by it is not repeatable; nodes and iterations are."""
    nodes: int = 0
    iterations: int = 0
    """Of the simplex method, looked at after each LP; HiGHS has no such limit and refuses it."""
    points: int = 0
    """Points found, each better than the last."""
    gap: float = 0.0
    """Relative gap between bound and best point."""
    megabytes: float = np.inf
    """Memory of the solver's own data; HiGHS has no such limit and ignores it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One line of a trace: what was known from this moment on."""

    seconds: float
    """Wall time since the call, everything counted."""
    primal: float
    """Objective of the best point, NaN before the first."""
    dual: float
    """Bound, infinite or NaN before the first."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Point:
    """A point that a solver found on its way."""

    seconds: float
    objective: float
    x: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Solved:
    """The answer of a solver; values in the sense of the instance that was given."""

    status: Status
    x: Floats | None
    """Best point, [n]; `None` if there is none. It was not checked, see `check`."""
    objective: float
    """Of the best point, NaN if there is none."""
    bound: float
    """What no point is better than, by the solver's own arithmetic."""
    trace: tuple[Step, ...]
    points: tuple[Point, ...]
    """Improving points in the order in which they were found, if they were asked for."""
    nodes: int
    iterations: int
    seconds: float
    solver: str
    """Name and version."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Relaxed:
    """The LP relaxation, solved."""

    status: Status
    x: Floats
    """[n]."""
    duals: Floats
    """[m], by how much the objective grows with a row's sides, in the instance's own sense."""
    reduced: Floats
    """[n], cost - A'duals."""
    basis: NDArray[np.uint8]
    """[n]: 0 at lower, 1 basic, 2 at upper, 3 free at zero."""
    objective: float
    iterations: int
    seconds: float


OnPoint = Callable[[Point], None]
Stopping = Callable[[], bool]
"""Asked now and then whether to end a search, for instance because somebody pressed Ctrl-C."""


class Recorder:
    """Keeps what a solver tells on its way: bounds, points, and whether it is to stop."""

    def __init__(
        self,
        *,
        began: float,
        keep: bool,
        on_point: OnPoint | None,
        stopping: Stopping | None = None,
    ) -> None:
        """Begin a record.

        Args:
            began: when the call began, by `time.monotonic`.
            keep: keep every point.
            on_point: called with every point; raising `StopIteration` asks to stop.
            stopping: says whether somebody asked to stop.
        """
        self.began, self.keep, self.on_point = began, keep, on_point
        self.stopping = stopping
        self.trace: list[Step] = []
        self.points: list[Point] = []
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether the search is to end."""
        self._stopped = self._stopped or (self.stopping is not None and self.stopping())
        return self._stopped

    @property
    def wants_points(self) -> bool:
        """Whether points themselves are of use, not only their objectives."""
        return self.keep or self.on_point is not None

    def note(self, primal: float, dual: float) -> None:
        """Note what is known now."""
        now = time.monotonic() - self.began
        self.trace.append(Step(seconds=now, primal=primal, dual=dual))

    def begin(self, mip: Mip, start: Floats) -> None:
        """Note a start that fits, of which solvers themselves tell nothing."""
        checked = check_point(mip, start)
        if not checked.feasible:
            return
        self.note(checked.objective, np.nan)
        if self.keep:
            self.points.append(self._point(checked.objective, start.copy()))

    def found(self, objective: float, x: Floats) -> None:
        """Note a new best point."""
        point = self._point(objective, x)
        if self.keep:
            self.points.append(point)
        if self.on_point:
            try:
                self.on_point(point)
            except StopIteration:
                self._stopped = True

    def _point(self, objective: float, x: Floats) -> Point:
        return Point(seconds=time.monotonic() - self.began, objective=objective, x=x)


def without_point(mip: Mip, status: Status, *, seconds: float) -> Relaxed:
    """Return the answer for an LP that has no best point, or whose best point was not found."""
    m, n = mip.shape
    return Relaxed(
        status=status, x=np.full(n, np.nan), duals=np.full(m, np.nan), reduced=np.full(n, np.nan),
        basis=np.zeros(n, dtype=np.uint8), objective=np.nan, iterations=0, seconds=seconds,
    )  # fmt: skip
