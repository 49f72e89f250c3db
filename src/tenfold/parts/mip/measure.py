"""How good a solver's run was: gaps, integrals, survival, means, calibrated time.

Rules. A gap is 1 as long as there is no point. Times of runs that did not get there are censored:
they enter a mean as the time limit, and the number of such runs is told beside it. Gaps below
1e-4, what solvers are asked to prove, are not told apart: they enter ratios as 1e-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.solving import Step

Floats = NDArray[np.float64]
TINY = 1e-12
FLOOR = 1e-4
"""Gaps are not told apart below it."""


def gap(value: float, best: float) -> float:
    """Return the gap between two values of an objective, in [0, 1] (Nair et al. 2020, section 7).

    |value - best| / max(|value|, |best|, 1e-12); 1 where a value is missing or infinite or where
    the signs differ.

    >>> gap(110.0, 100.0), gap(float("nan"), 100.0), gap(-1.0, 1.0)
    (0.09090909090909091, 1.0, 1.0)
    """
    if not (np.isfinite(value) and np.isfinite(best)) or value * best < 0:
        return 1.0
    return float(min(abs(value - best) / max(abs(value), abs(best), TINY), 1.0))


@dataclass(frozen=True, slots=True)
class Curve:
    """A gap over time: a step function that holds `values[i]` from `times[i]` on."""

    times: Floats
    """Ascending, the first 0."""
    values: Floats

    def at(self, seconds: Floats | float) -> Floats:
        """Return the gap at some times."""
        place = np.searchsorted(self.times, np.asarray(seconds, dtype=np.float64), side="right")
        return np.asarray(self.values[place - 1])

    def first_below(self, target: float) -> float:
        """Return the first time from which on the gap is `target` or less; infinite if never."""
        above = np.flatnonzero(self.values > target)
        if not len(above):
            return 0.0
        last = int(above[-1])
        return float(self.times[last + 1]) if last + 1 < len(self.times) else float("inf")

    def integral(self, until: float) -> float:
        """Return the integral of the gap over time from 0 to `until` (Berthold 2013), seconds."""
        ends = np.clip(np.append(self.times, until), 0.0, until)
        return float(np.sum(np.maximum(np.diff(ends), 0.0) * self.values))


def _curve(pairs: Sequence[tuple[float, float]]) -> Curve:
    """Build a curve that begins with a gap of 1."""
    times, values = [0.0], [1.0]
    for seconds, value in pairs:
        if value == values[-1]:
            continue
        if seconds <= times[-1]:
            values[-1] = value
        else:
            times.append(seconds)
            values.append(value)
    return Curve(np.array(times), np.array(values))


def primal_curve(trace: Sequence[Step], best: float) -> Curve:
    """Return the gap between a run's points and the best known value over time."""
    return _curve([(step.seconds, gap(step.primal, best)) for step in trace])


def dual_curve(trace: Sequence[Step], best: float) -> Curve:
    """Return the gap between a run's bounds and the best known value over time."""
    return _curve([(step.seconds, gap(step.dual, best)) for step in trace])


def primal_dual_curve(trace: Sequence[Step]) -> Curve:
    """Return the gap between a run's points and its own bounds over time."""
    return _curve([(step.seconds, gap(step.primal, step.dual)) for step in trace])


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean over instances at every time at which one of them changes."""
    times = np.unique(np.concatenate([curve.times for curve in curves]))
    return Curve(times, np.mean([curve.at(times) for curve in curves], axis=0))


def survival(curves: Sequence[Curve], target: float) -> Curve:
    """Return which share of instances is at `target` or below over time."""
    return _share([curve.first_below(target) for curve in curves])


def _share(times: Sequence[float]) -> Curve:
    reached = np.sort([seconds for seconds in times if np.isfinite(seconds)])
    moments, counts = np.unique(reached, return_counts=True)
    shares = np.cumsum(counts) / len(times)
    if len(moments) and moments[0] == 0.0:
        return Curve(moments, shares)
    return Curve(np.append(0.0, moments), np.append(0.0, shares))


def shifted_mean(values: Sequence[float] | Floats, shift: float) -> float:
    """Return the shifted geometric mean, exp(mean(log(value + shift))) - shift.

    Usual shifts are 1 s for times, 100 for nodes; without one, tiny values decide everything.

    >>> round(shifted_mean([1.0, 3.0], 1.0), 4)
    1.8284
    """
    logs = np.log(np.asarray(values, dtype=np.float64) + shift)
    return float(np.exp(logs.mean()) - shift)


@dataclass(frozen=True, slots=True)
class Censored:
    """Times to a target, some of which were not reached within the limit."""

    times: Floats
    """Infinite where the target was not reached."""
    limit: float

    @property
    def missed(self) -> int:
        """How many runs did not get there."""
        return int(np.sum(~(self.times <= self.limit)))

    def mean(self, shift: float = 1.0) -> float:
        """Return the shifted geometric mean, missed runs at the limit: a lower end if any is."""
        return shifted_mean(np.minimum(self.times, self.limit), shift)

    def ratio_to(self, other: Censored, shift: float = 1.0) -> float:
        """Return how many times longer the other took in the mean."""
        return other.mean(shift) / self.mean(shift)


def gap_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return mean gap of theirs over mean gap of ours, each at least 1e-4."""
    return max(float(np.mean(theirs)), FLOOR) / max(float(np.mean(ours)), FLOOR)


@dataclass(frozen=True, slots=True)
class Clock:
    """Calibrated time (Sonnerat et al. 2021, A.5): what a second is worth on this machine now.

    A small MIP is solved again and again beside the work; its mean time tells how fast the
    machine was. Seconds times `speed` are seconds of the reference machine.
    """

    samples: Floats
    """Seconds of one solve each."""
    reference: float
    """Seconds of one solve on the reference machine."""

    @property
    def speed(self) -> float:
        """Seconds of the reference machine that pass in one second here."""
        return self.reference / float(np.mean(self.samples))

    @property
    def error(self) -> float:
        """Half the width of the 95 % interval of `speed`, relative."""
        count = len(self.samples)
        if count < 2:
            return float("inf")
        spread = float(np.std(self.samples, ddof=1) / np.mean(self.samples))
        return 1.96 * spread / float(np.sqrt(count))

    def enough(self, *, least: int = 3, most: int = 30, error: float = 0.05) -> bool:
        """Whether no more samples are needed."""
        count = len(self.samples)
        return count >= most or (count >= least and self.error <= error)
