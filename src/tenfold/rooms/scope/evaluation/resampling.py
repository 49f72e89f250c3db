"""Intervals over items of held-out data, by the bootstrap.

They show how far a number depends on the data it was measured on, not on the seed a dictionary
was trained with; where there are several seeds, intervals over seeds say more.
"""

# I groups of items, J resamples

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.rng import stream
from tenfold.engine.stats import Interval

Floats = NDArray[np.float64]

RESAMPLES = 1_000
MOST_GROUPS = 1_024
"""More items are taken together with their neighbours."""


@lru_cache(maxsize=2)
def draws(groups: int, *, seed: int = 0) -> Floats:
    """Return how often each group is in each resample, [J, I]; the same for equal arguments."""
    generator = stream(seed, "bootstrap over items")
    counts = generator.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    return counts.astype(np.float64)


def grouped(values: Floats) -> Floats:
    """Return sums over at most `MOST_GROUPS` runs of neighbouring items."""
    if len(values) <= MOST_GROUPS:
        return values
    starts = np.linspace(0, len(values), MOST_GROUPS, endpoint=False).astype(np.int64)
    sums: Floats = np.add.reduceat(values, starts)
    return sums


def resampled_ratio(above: Floats, below: Floats) -> Floats:
    """Return sum(above) / sum(below) in each resample of the items, [J]."""
    weights_JI = draws(len(grouped(above)))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios: Floats = (weights_JI @ grouped(above)) / (weights_JI @ grouped(below))
    return ratios


def quantile_interval(values: Floats, estimate: float) -> Interval | None:
    """Return the percentile interval of resamples; None if a tenth of them has no value."""
    known = values[np.isfinite(values)]
    if len(known) < 0.9 * len(values):
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return Interval(estimate=estimate, low=float(low), high=float(high))


def ratio_interval(above: Floats, below: Floats) -> Interval | None:
    """Return sum(above) / sum(below) with its interval over items; None for fewer than two."""
    if len(above) < 2 or not below.sum():
        return None
    estimate = float(above.sum() / below.sum())
    return quantile_interval(resampled_ratio(above, below), estimate)
