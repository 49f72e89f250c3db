"""Numbers from a few seeds: estimates with intervals, paired tests, what could be shown.

With three to ten seeds the honest interval of a mean is Student's t (`mean_interval`,
`paired_interval`): it is wide because the spread itself is hardly known. The bootstrap cannot
see beyond the values it resamples and covers too rarely below some ten of them; it serves
many scores, as in Agarwal et al. 2021 (arXiv:2108.13264), from which the interquartile mean
comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Any]
"""Reduces the last axis of an array [..., n]."""

_EXACT_UP_TO = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate and the interval that covers the true value with `confidence`."""

    estimate: float
    low: float
    high: float
    confidence: float = 0.95


def interquartile_mean(values: ArrayLike) -> Any:
    """Return the mean of the middle half along the last axis.

    floor(n / 4) values are left out at each end, so fewer than four are simply averaged.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def bootstrap_interval(
    values: ArrayLike,
    *,
    statistic: Statistic = interquartile_mean,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """Return the percentile bootstrap interval of `statistic`; for ten values or more.

    Raises:
        TenfoldError: if there are fewer than two values or one is not finite.
    """
    sample = _finite(values)
    rows = stream(seed, "bootstrap").integers(len(sample), size=(resamples, len(sample)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(sample[rows]), [tail, 1 - tail])
    return Interval(
        estimate=float(statistic(sample)), low=float(low), high=float(high), confidence=confidence
    )


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the mean with Student's t interval; the one to use for a few seeds.

    Raises:
        TenfoldError: if there are fewer than two values or one is not finite.
    """
    sample = _finite(values)
    mean = float(sample.mean())
    half = _critical(len(sample), confidence) * _standard_error(sample)
    return Interval(estimate=mean, low=mean - half, high=mean + half, confidence=confidence)


def paired_interval(ours: ArrayLike, theirs: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the mean of `ours - theirs`, seed by seed, with Student's t interval.

    Raises:
        TenfoldError: if the two differ in number, or as `mean_interval` does.
    """
    return mean_interval(_differences(ours, theirs), confidence=confidence)


def paired_test(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Return the two-sided p value of "the differences are centred on zero".

    Up to 16 pairs all sign flips are counted, which is exact without any normality; above,
    Student's t. The smallest p that n pairs can give is 2 / 2**n: with three seeds 0.25.

    Raises:
        TenfoldError: if the two differ in number, are fewer than two or not finite.
    """
    differences = _differences(ours, theirs)
    if len(differences) <= _EXACT_UP_TO:
        return _sign_flip_test(differences)
    error = _standard_error(differences)
    if error == 0:
        return float(differences[0] == 0)
    return float(2 * special.stdtr(len(differences) - 1, -abs(differences.mean()) / error))


def smallest_effect(
    differences: ArrayLike, *, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Return the mean difference that so many seeds of this spread would have shown.

    The true effect at which a two-sided paired t test of level 1 - `confidence` rejects with
    probability `power`, the spread taken as measured. In the unit of `differences`.

    Raises:
        TenfoldError: if there are fewer than two differences or one is not finite.
    """
    sample = _finite(differences)
    freedom, critical = len(sample) - 1, _critical(len(sample), confidence)

    def missing_power(shift: float) -> float:
        # The square of a noncentral t is a noncentral F; scipy's `nct` (1.17) has gaps of NaN.
        return 1 - float(special.ncfdtr(1, freedom, shift**2, critical**2)) - power

    high = critical
    while missing_power(high) < 0:
        high *= 2
    return float(optimize.brentq(missing_power, 0.0, high)) * _standard_error(sample)


def log_interpolate(x: ArrayLike, y: ArrayLike, at: float) -> float | None:
    """Read the curve y(x) at x = `at`, straight between points on log-log axes.

    Points may come in any order; those of equal x count as one, with their geometric mean.
    Returns None outside the measured x: nothing is extrapolated.

    Raises:
        TenfoldError: if x and y differ in number, or a value is not positive and finite.
    """
    points = _positive_pairs(x, y)
    if points.shape[1] == 0 or not points[0].min() <= at <= points[0].max():
        return None
    places, group = np.unique(points[0], return_inverse=True)
    heights = np.bincount(group, weights=np.log(points[1])) / np.bincount(group)
    return float(np.exp(np.interp(math.log(at), np.log(places), heights)))


def _sign_flip_test(differences: Floats) -> float:
    count = len(differences)
    signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    sums = np.abs(signs @ differences)
    # Sums that are equal on paper differ by rounding; they must count as equal.
    slack = 1e-12 * np.abs(differences).sum()
    return float(np.mean(sums >= sums[0] - slack))


def _critical(count: int, confidence: float) -> float:
    return float(special.stdtrit(count - 1, (1 + confidence) / 2))


def _standard_error(sample: Floats) -> float:
    return float(sample.std(ddof=1)) / math.sqrt(len(sample))


def _differences(ours: ArrayLike, theirs: ArrayLike) -> Floats:
    left, right = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if left.shape != right.shape:
        raise TenfoldError(
            f"paired values need the same seeds on both sides, got {left.size} and {right.size}"
        )
    return _finite(left - right)


def _finite(values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    assert sample.ndim == 1, f"one value a seed, not an array of shape {sample.shape}"
    if len(sample) < 2:
        raise TenfoldError(f"an interval needs two values or more, got {len(sample)}: add seeds")
    if not np.isfinite(sample).all():
        raise TenfoldError(f"values {sample.tolist()} are not all finite; look at that seed's run")
    return sample


def _positive_pairs(x: ArrayLike, y: ArrayLike) -> Floats:
    left, right = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if left.shape != right.shape:
        raise TenfoldError(f"a curve needs one y for each x, got {left.size} x and {right.size} y")
    points = np.stack([left, right])
    wrong = points[~(np.isfinite(points) & (points > 0))]
    if wrong.size:
        raise TenfoldError(
            f"logarithmic axes take positive finite values, got {wrong[0]:g}; leave that point out"
        )
    return points
