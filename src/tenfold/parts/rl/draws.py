"""Uniform numbers for many lanes at once, each lane's from its own streams (rooms triad, vdn, ctf).

A lane's numbers are a function of its seed, the name and the step: they do not depend on which
lanes share its stack, and nothing has to be saved.
"""

# K lanes

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng

CHUNK = 64
"""Steps for which a stream is drawn at once; making one costs more than its numbers."""


class Draws:
    """Numbers in [0, 1) of each step.

    Args:
        seeds: of the lanes, K of them.
        path: name of the streams, for instance "replay".
        shape: of one lane's numbers at one step; another shape gives other numbers.
    """

    def __init__(self, seeds: Sequence[int], *path: rng.Name, shape: tuple[int, ...]) -> None:
        self.seeds, self.path, self.shape = tuple(seeds), path, shape
        self._chunk = -1
        self._numbers = np.empty((0, len(self.seeds), *shape))

    def at(self, step: int) -> NDArray[np.float64]:
        """Return the numbers of a step, [K, *shape]; they belong to this object."""
        chunk, place = divmod(step, CHUNK)
        if chunk != self._chunk:
            drawn = [self._draw(seed, chunk) for seed in self.seeds]
            self._numbers, self._chunk = np.stack(drawn, axis=1), chunk
        numbers: NDArray[np.float64] = self._numbers[place]
        return numbers

    def _draw(self, seed: int, chunk: int) -> NDArray[np.float64]:
        return rng.stream(seed, *self.path, chunk).random((CHUNK, *self.shape))
