"""The loop that assembles n-step returns from a ring of steps (rooms triad, vdn).

Its plain twin in tests/parts/rl follows the definition in `targets.n_step`.
"""

# K lanes, S slots of a ring, B returns of each lane, M rewards of a step

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2
"""What became of the episode at a step."""


class Assembled(NamedTuple):
    """Returns, to be written by `assemble`."""

    reward: NDArray[np.float64]
    """[K, B, M]."""
    discount: NDArray[np.float64]
    """[K, B], gamma^length, 0 where the episode terminated."""
    length: NDArray[np.int64]
    """[K, B]."""
    last: NDArray[np.int64]
    """[K, B], slot of the last step taken."""


def new_assembled(lanes: int, *, batch: int, rewards: int) -> Assembled:
    """Return arrays for `assemble` to write to."""
    return Assembled(
        reward=np.empty((lanes, batch, rewards)),
        discount=np.empty((lanes, batch)),
        length=np.empty((lanes, batch), np.int64),
        last=np.empty((lanes, batch), np.int64),
    )


@jit
def assemble(
    out: Any, reward: Any, ended: Any, slots: Any, stride: int, steps: Any, gamma: Any
) -> None:
    """Write the return that begins at each of `slots`.

    Args:
        out: `Assembled`.
        reward: [K, S, M].
        ended: [K, S] RUNNING, TERMINATED or TRUNCATED.
        slots: [K, B].
        stride: from a step to the next one of the same copy, in a circle.
        steps: [K], n, of which as many follow each of `slots` unless its episode ends before.
        gamma: [K].
    """
    size = reward.shape[1]
    for k in range(slots.shape[0]):
        for j in range(slots.shape[1]):
            for m in range(reward.shape[2]):
                out.reward[k, j, m] = 0.0
            slot, factor, length = slots[k, j], 1.0, 0
            while True:
                for m in range(reward.shape[2]):
                    out.reward[k, j, m] += factor * reward[k, slot, m]
                factor *= gamma[k]
                length += 1
                if ended[k, slot] != RUNNING or length == steps[k]:
                    break
                slot = (slot + stride) % size
            out.discount[k, j] = 0.0 if ended[k, slot] == TERMINATED else factor
            out.length[k, j] = length
            out.last[k, j] = slot
