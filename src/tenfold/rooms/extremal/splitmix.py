"""Random numbers inside compiled loops: splitmix64, a counter and a mixing function.

The state is one number, so a chain's stream is named by its key alone (Steele, Lea and Flood
2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import Whole, bare


@bare
def draw(random: Any) -> Any:
    """Return the next 64 random bits."""
    random[0] += np.uint64(0x9E3779B97F4A7C15)
    z = random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@bare
def below(random: Any, count: Whole) -> Whole:
    """Return a number in 0 .. count - 1; the bias is below count / 2^32."""
    return np.int64(((draw(random) >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@bare
def chance(random: Any) -> float:
    """Return a number in [0, 1)."""
    return np.float64(draw(random) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
