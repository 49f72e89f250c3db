"""Observations shifted and scaled by what has been seen so far (rooms triad, vdn, ctf)."""

# K lanes, M observations of a batch

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]


class RunningNorm:
    """Means and variances of each lane's observations, number by number.

    Batches are merged as in Chan, Golub and LeVeque 1979, so that what comes out depends on the
    observations and not on how they are cut into batches, up to rounding. It stands beside an
    environment and not around it: call `update` with what was seen, `apply` before the network.

    Args:
        lanes: K.
        shape: of one observation.
        limit: results are clipped to [-limit, limit].
    """

    def __init__(self, *, lanes: int, shape: tuple[int, ...], limit: float = 10.0) -> None:
        self.limit = limit
        self.frozen = False
        """Whether `update` leaves everything as it is."""
        self.count: Float64s = np.zeros(lanes)
        self.mean: Float64s = np.zeros((lanes, *shape))
        self._squares: Float64s = np.zeros((lanes, *shape))

    @property
    def variance(self) -> Float64s:
        """[K, *shape], of all that was seen, biased."""
        return self._squares / self._wide(np.maximum(self.count, 1.0))

    def update(self, observations: NDArray[Any], *, mask: NDArray[np.bool_] | None = None) -> None:
        """Take note of observations [K, M, *shape], or only of those of a mask [K, M]."""
        if self.frozen:
            return
        seen = observations.astype(np.float64)
        given = np.ones(seen.shape[:2]) if mask is None else mask.astype(np.float64)
        share = given.reshape(*given.shape, *(1,) * (seen.ndim - 2))
        amount = given.sum(axis=1)
        mean = (seen * share).sum(axis=1) / self._wide(np.maximum(amount, 1.0))
        squares = (share * (seen - mean[:, None]) ** 2).sum(axis=1)
        total = np.maximum(self.count + amount, 1.0)
        away = mean - self.mean
        self._squares += squares + away**2 * self._wide(self.count * amount / total)
        self.mean += away * self._wide(amount / total)
        self.count += amount

    def apply(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Return observations [K, M, *shape], or [K, .., *shape], shifted and scaled.

        Numbers that never changed are shifted only.
        """
        variance = self.variance
        scale = 1 / np.sqrt(np.where(variance > 1e-12, variance, 1.0))
        between = (1,) * (observations.ndim - self.mean.ndim)
        shape = (len(self.mean), *between, *self.mean.shape[1:])
        moved = (observations - self.mean.reshape(shape)) * scale.reshape(shape)
        return moved.clip(-self.limit, self.limit).astype(np.float32)

    def _wide(self, numbers: Float64s) -> Float64s:
        """Return [K] so that it goes with [K, *shape]."""
        return numbers.reshape(-1, *(1,) * (self.mean.ndim - 1))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything, copied."""
        return {
            "count": self.count.copy(),
            "mean": self.mean.copy(),
            "squares": self._squares.copy(),
            "frozen": np.array(self.frozen),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state."""
        self.count, self.mean = state["count"].copy(), state["mean"].copy()
        self._squares, self.frozen = state["squares"].copy(), bool(state["frozen"].item())
