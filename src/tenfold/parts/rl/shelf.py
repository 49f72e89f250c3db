"""Rows kept beside a ring because few of its slots need one (rooms triad, vdn).

Final observations of episodes that a time limit cut are such rows: one in hundreds of steps has
one, so room for each would double a replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
NOWHERE = -1
"""Of a slot without a row."""


class Shelf:
    """Rows of several arrays, numbered, with room that grows as it is needed.

    Args:
        rows: by name, shape and type of one row.
    """

    def __init__(self, rows: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        self.arrays = {name: np.empty((0, *shape), kind) for name, (shape, kind) in rows.items()}
        self._free = np.empty(0, np.int64)

    def put(self, rows: Arrays) -> NDArray[np.int64]:
        """Keep rows [F, ...] and return their numbers [F]."""
        amount = len(next(iter(rows.values())))
        self._make_room(amount)
        numbers, self._free = self._free[:amount], self._free[amount:]
        for name, array in self.arrays.items():
            array[numbers] = rows[name]
        return numbers

    def drop(self, numbers: NDArray[np.int64]) -> None:
        """Give up rows; those NOWHERE are passed over."""
        self._free = np.concatenate([self._free, numbers[numbers != NOWHERE].ravel()])

    def _make_room(self, amount: int) -> None:
        size = len(next(iter(self.arrays.values())))
        more = max(size, amount, 16) if amount > len(self._free) else 0
        if more:
            self._free = np.concatenate([self._free, np.arange(size, size + more)])
            for name, array in self.arrays.items():
                self.arrays[name] = np.concatenate(
                    [array, np.zeros_like(array, shape=(more, *array.shape[1:]))]
                )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything, copied."""
        return {name: array.copy() for name, array in self.arrays.items()} | {
            "free": self._free.copy()
        }

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        self.arrays = {name: state[name].copy() for name in self.arrays}
        self._free = state["free"].copy()
