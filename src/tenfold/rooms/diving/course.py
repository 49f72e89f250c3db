"""The way of one solve: best point, bound and trace, offered to by any number of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.parts.mip.check import Checked, check_point
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.solving import Point, Status, Step


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answer:
    """What a solve of an instance came to; values in the instance's own sense."""

    status: Status
    x: Floats | None
    """Best point, [n]; `None` if there is none."""
    objective: float
    """Of the best point, NaN if there is none."""
    bound: float
    """What no point is better than; infinite or NaN if nothing is known."""
    trace: tuple[Step, ...]
    certificate: Checked | None
    """The best point checked against the original instance by our own exact arithmetic."""
    notes: tuple[str, ...] = ()
    """What was done and why, a sentence each."""
    seconds: float = 0.0

    @property
    def obj(self) -> float:
        """The objective, under its short name."""
        return self.objective


class Course:
    """Collects points and bounds of one instance on the way; safe to use from several threads."""

    def __init__(
        self,
        mip: Mip,
        *,
        seconds: float,
        began: float | None = None,
        on_point: Callable[[Point], None] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin.

        Args:
            mip: the instance.
            seconds: that it may take.
            began: by `time.monotonic`, if reading the instance counts; `None`: now.
            on_point: called with every better point; raising `StopIteration` asks to stop.
            stopping: says whether somebody asked to stop.
        """
        self.stopping = stopping
        self.mip, self.seconds = mip, seconds
        self.began = time.monotonic() if began is None else began
        self.x: Floats | None = None
        self.objective = np.nan
        worst = np.inf if mip.sense == "minimize" else -np.inf
        self.bound = -worst
        self._told: list[Step] = []
        self.notes: list[str] = []
        self.on_point = on_point
        self.stopped = False
        """Whether somebody asked to stop."""
        self.finished = False
        """Whether nothing is left to find."""
        self._sign = 1.0 if mip.sense == "minimize" else -1.0
        self._lock = threading.Lock()

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds that are left, 0 once it is to end."""
        return 0.0 if self.ended else max(self.seconds - self.now, 0.0)

    @property
    def ended(self) -> bool:
        """Whether it is to end before its time."""
        self.stopped = self.stopped or self.stopping()
        return self.stopped or self.finished

    def is_ended(self) -> bool:
        """Say the same, for solvers that ask."""
        return self.ended

    def offer(self, x: Floats, objective: float | None = None) -> bool:
        """Take a point if it is the best so far; say whether it is.

        Points come from solvers and are checked at the end, the best one exactly.
        """
        value = self.mip.objective(x) if objective is None else objective
        with self._lock:
            if self.x is not None and self._sign * value >= self._sign * self.objective - 1e-12:
                return False
            self.x, self.objective = x, value
            self._note()
            point = Point(seconds=self.now, objective=value, x=x)
        if self.on_point is not None:
            try:
                self.on_point(point)
            except StopIteration:
                self.stopped = True
        return True

    def begin(self, start: Floats) -> bool:
        """Take a user's point to begin with, if it fits; say whether it does."""
        checked = check_point(self.mip, start)
        return checked.feasible and self.offer(start, checked.objective)

    def replace(self, x: Floats) -> None:
        """Put another point in the place of the best one, at the end."""
        with self._lock:
            self.x, self.objective = x, self.mip.objective(x)

    def learn_bound(self, bound: float) -> None:
        """Take a valid bound of the whole instance if it is better than the one known."""
        with self._lock:
            if np.isfinite(bound) and self._sign * bound > self._sign * self.bound:
                self.bound = bound
                self._note()

    def learn_trace(self, trace: Sequence[Step], *, began: float) -> None:
        """Take the bounds that a search of the whole instance told as it went.

        Args:
            trace: of the search, its seconds counted from its own beginning.
            began: when that was, in seconds of this course.
        """
        with self._lock:
            self._told += [
                Step(seconds=began + step.seconds, primal=np.nan, dual=step.dual)
                for step in trace
                if np.isfinite(step.dual)
            ]
            for step in trace:
                if np.isfinite(step.dual) and self._sign * step.dual > self._sign * self.bound:
                    self.bound = step.dual

    @property
    def trace(self) -> tuple[Step, ...]:
        """What was known when: best point and best bound so far, by time."""
        primal, dual, known = np.nan, np.nan, []
        for step in sorted(self._told, key=lambda told: told.seconds):
            if np.isfinite(step.primal) and not self._sign * step.primal >= self._sign * primal:
                primal = step.primal
            if np.isfinite(step.dual) and not self._sign * step.dual <= self._sign * dual:
                dual = step.dual
            known.append(Step(seconds=step.seconds, primal=primal, dual=dual))
        return tuple(known)

    def say(self, text: str) -> None:
        """Add a note."""
        with self._lock:
            self.notes.append(text)

    def listener(self, lift: Callable[[Floats], Floats] | None = None) -> Callable[[Point], None]:
        """Return what a solver tells its points to; raising from it asks that solver to stop."""

        def heard(point: Point) -> None:
            self.offer(point.x if lift is None else lift(point.x))
            if self.ended:
                raise StopIteration

        return heard

    def _note(self) -> None:
        self._told.append(Step(seconds=self.now, primal=self.objective, dual=self.bound))

    def answer(self, status: Status) -> Answer:
        """Return what the course came to; the best point is checked exactly."""
        checked = None if self.x is None else check_point(self.mip, self.x)
        with self._lock:
            self._note()
            return Answer(
                status=status,
                x=self.x,
                objective=self.objective,
                bound=self.bound,
                trace=self.trace,
                certificate=checked,
                notes=tuple(self.notes),
                seconds=self.now,
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What one sub-MIP came to."""

    status: Status
    coverage: float
    columns: int
    """Columns that were left."""
    seconds: float
    found: bool
    """Whether it has a point."""
