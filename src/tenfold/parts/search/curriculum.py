"""Growing problem sizes with warm starts: what is solved begins what is larger (rooms extremal).

Mehrabian et al. (arXiv:2311.03583): to work on size n draw k uniformly from 1..K, K = 4, and
begin from a random best solution of size n - k, padded. In their account this decides whether
large sizes are reached at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

Solution = TypeVar("Solution", covariant=True)

LARGEST_STEP = 4
"""K of the paper."""


class Solved(Protocol[Solution]):
    """Whatever holds the best solutions by size: an archive, or a dictionary's keeper."""

    def best(self, size: int) -> Sequence[Solution]:
        """Return the best solutions of a size; empty if there is none."""


def draw_start(
    solved: Solved[Solution],
    size: int,
    *,
    generator: np.random.Generator,
    largest_step: int = LARGEST_STEP,
) -> Solution | None:
    """Return a random best solution of size n - k, k uniform among those of 1..K that have one.

    None if no size has: then the problem begins from nothing.
    """
    shelves = [solved.best(size - k) for k in range(1, min(largest_step, size - 1) + 1)]
    filled = [shelf for shelf in shelves if len(shelf)]
    if not filled:
        return None
    shelf = filled[generator.integers(len(filled))]
    return shelf[int(generator.integers(len(shelf)))]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Which size is worked on, and for how long already."""

    size: int = 0
    """0: none yet."""
    spent: int = 0
    """Turns in a row on this size."""


def next_turn(turn: Turn, *, sizes: Sequence[int], finished: Sequence[int], patience: int) -> Turn:
    """Return what to work on next: the smallest open size, or after `patience` turns the next.

    After the largest comes the smallest open one again; when all are finished, all take turns.
    """
    open_sizes = [size for size in sorted(sizes) if size not in finished] or sorted(sizes)
    closed_here = turn.size not in open_sizes
    if not closed_here and turn.spent < patience:
        return Turn(size=turn.size, spent=turn.spent + 1)
    later = [size for size in open_sizes if size > turn.size]
    return Turn(size=(later or open_sizes)[0], spent=1)
