"""Our search on one core for a number of CPU seconds, looked at on the way.

What `tenfold extremal search --threads 1` does, but by the clock of this thread's processor time,
so that what else the machine does changes little.
"""

import time
from dataclasses import dataclass, field

from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.search import Searcher, open_searcher, play_round

CHAINS = {"empty": 1, "structured": 8}
"""Chains by start: one from nothing; one for each of the first eight amalgams cut to size."""
ROUND = 20_000
"""Flips of a chain between two looks at the clock."""


@dataclass
class OwnSearch:
    """A search that can be continued; opening it counts as its time."""

    nodes: int
    start: str
    seed: int
    seconds: float = 0.0
    searcher: Searcher = field(init=False)

    def __post_init__(self) -> None:
        begun = time.thread_time()
        asked = config.Search(
            problem=Problem(nodes=self.nodes),
            start=self.start,
            seed=self.seed,
            chains=CHAINS[self.start],
            round_flips=ROUND,
            threads=1,
        )
        self.searcher = open_searcher(asked)
        self.seconds += time.thread_time() - begun

    @property
    def edges(self) -> int:
        return self.searcher.edges

    @property
    def flips(self) -> int:
        return self.searcher.flips

    def go_on(self, until: float) -> None:
        """Search until so many CPU seconds are spent in all."""
        begun, before = time.thread_time(), self.seconds
        while self.seconds < until and not self.searcher.done:
            play_round(self.searcher)
            self.seconds = before + time.thread_time() - begun


def warm_up() -> None:
    """Compile, or read what is compiled, before any clock runs."""
    for start in CHAINS:
        OwnSearch(20, start, seed=0).go_on(until=0.1)
