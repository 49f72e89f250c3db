"""How this room's loops over copies are compiled, and random numbers inside them.

Random numbers are splitmix64 (Steele, Lea and Flood 2014): a counter and a mixing function. Each
copy has a counter of its own in an array, so that a state is saved exactly and a copy draws the
same whatever the other copies do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import Whole, bare, within
from tenfold.engine.rng import stream


def counters(seed: int | Sequence[int], *path: str | int, copies: int) -> NDArray[np.uint64]:
    """Return the counters [copies] with which copies begin; one's does not depend on how many.

    Args:
        seed: of all copies, or one for each of several groups of equally many, in order; what
            begins in a group depends on its own seed alone.
        path: name of the stream, see `tenfold.engine.rng`.
        copies: how many.
    """
    seeds = [seed] if isinstance(seed, int) else list(seed)
    assert copies % len(seeds) == 0, f"{copies} copies cannot be shared by {len(seeds)} seeds"
    drawn = [
        stream(each, *path).integers(0, 2**64, size=copies // len(seeds), dtype=np.uint64)
        for each in seeds
    ]
    return np.concatenate(drawn)


@bare
def turn_bytes(seen: Any, out: Any, scale: Any) -> None:
    """Write bytes as scaled numbers in the order of lanes, in one pass.

    Args:
        seen: [K, R, T, d, n] bytes.
        out: is written, [K, d, T, R, n] float32.
        scale: what bytes are multiplied by.
    """
    for team in range(seen.shape[0]):
        for agent in range(seen.shape[3]):
            for step in range(seen.shape[2]):
                for row in range(seen.shape[1]):
                    line, goal = seen[team, row, step, agent], out[team, agent, step, row]
                    for k in range(len(line)):
                        goal[k] = np.float32(line[k]) * scale


@within
def draw(random: Any, copy: Whole) -> Any:
    """Return the next 64 random bits of a copy; `random` [copies] holds the counters."""
    random[copy] += np.uint64(0x9E3779B97F4A7C15)
    z = random[copy]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@within
def below(random: Any, copy: Whole, count: Whole) -> Whole:
    """Return a number in 0 .. count - 1; the bias is below count / 2^32."""
    return np.int64(((draw(random, copy) >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))
