"""Minutes as steps of a run: each step is a slice of time that holds whole rounds of work."""

from __future__ import annotations

import time
from collections.abc import Iterator


class Slices:
    """Cuts time into steps; what one takes too long, the next ones have less."""

    def __init__(self, seconds: float) -> None:
        """Begin, with so many seconds a step; 0: a step is one round, whatever it takes."""
        self.seconds = seconds
        self._until = 0.0

    def rounds(self) -> Iterator[None]:
        """Yield for every round of the next step."""
        if not self.seconds:
            yield
            return
        self._until = (self._until or time.monotonic()) + self.seconds
        while time.monotonic() < self._until:
            yield


def count_steps(minutes: float, *, seconds: float) -> int:
    """Return how many slices of about so many seconds these minutes are."""
    return max(1, round(60 * minutes / seconds))
