"""What a comparison of methods is told; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenfold.engine.config import free
from tenfold.rooms.extremal.config import Asked
from tenfold.rooms.extremal.problem import Problem

CONTENDERS = (
    "ils",
    "tabu",
    "anneal",
    "greedy",
    "ils-curriculum",
    "tabu-curriculum",
    "ce",
    "az",
    "az-curriculum",
)
"""Local searches alone and with the paper's curriculum, cross-entropy, AlphaZero."""

UNITS = {"edges": "edges", "flips": "flips", "seconds": "seconds"}


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Methods at the same budget on one problem, for several seeds."""

    methods: tuple[str, ...] = ("ils", "tabu", "tabu-curriculum", "anneal", "greedy")
    """Of ils, tabu, anneal, greedy, ils-curriculum, tabu-curriculum, ce, az, az-curriculum."""
    problem: Asked = field(default_factory=Problem)
    """What is looked for."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One search of each method for each seed."""
    flips: int = 0
    """Budget of each search; 0: as `seconds` says."""
    seconds: float = 10.0
    """Time limit of each search, if `flips` is 0."""
    workers: int = free(1)
    """Searches side by side; with a time limit more than one disturb each other."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in CONTENDERS]
        if unknown or len(set(self.methods)) != len(self.methods) or not self.methods:
            raise ValueError(
                f"methods {list(self.methods)} must be of {', '.join(CONTENDERS)}, each once"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} must be at least one, each once")
        if self.flips < 0 or (not self.flips and self.seconds <= 0):
            raise ValueError(f"flips ({self.flips}) or seconds ({self.seconds}) must be above 0")
        if self.workers < 1:
            raise ValueError(f"workers ({self.workers}) must be at least 1")
