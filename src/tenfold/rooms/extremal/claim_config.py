"""The sizes of the room's claims: what is searched and compared at each scale. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tenfold.engine.config import free

Scale = Literal["quick", "laptop", "full", "gpu"]
Arm = Literal["curriculum", "scratch", "returning"]
ARMS: dict[Arm, str] = {
    "curriculum": "tabu with curriculum",
    "scratch": "tabu from scratch",
    "returning": "tabu from scratch, back to its best when idle",
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Check the paper's headline: what the curriculum gives, and how the methods compare."""

    scale: Scale = "quick"
    """Size of the set of runs: about 90 s, 12 minutes, hours on two cores; or one GPU."""
    results: str = free("")
    """Folder of committed results, such as claims, whose <room>.json gets this one too."""
    workers: int = free(2)
    """Searches side by side; more than there are cores take seconds from one another."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers ({self.workers}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Tabu search with and without curriculum at equal flips, on one number of nodes."""

    nodes: int
    flips: int
    """Of each search: with curriculum all its sizes share them evenly."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Methods at equal seconds on one number of nodes."""

    nodes: int
    seconds: float
    methods: tuple[str, ...]
    """Names as in `compare_config.CONTENDERS`."""
    flips: int = 0
    """If not 0, flips are counted in place of seconds: then the result is repeatable."""


@dataclass(frozen=True, kw_only=True)
class Exact:
    """The default search on every size whose value is known."""

    first: int = 3
    last: int = 53
    flips: int = 20_000_000
    """Limit on each size; a search ends when it meets the proven upper bound."""

    @property
    def sizes(self) -> range:
        """The numbers of nodes."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a scale fixes."""

    seeds: tuple[int, ...]
    """Of the first claim; the others take as many of them as they have."""
    walks: tuple[Walk, ...]
    arms: tuple[Arm, ...]
    contests: tuple[Contest, ...]
    contest_seeds: int
    exact: Exact
    exact_seeds: int
    gpu: bool = False
    """Whether AlphaZero has the sizes of its GPU recipe."""


PAIR = ("tabu-curriculum", "ce")
FIVE = ("tabu-curriculum", "tabu", "az-curriculum", "az", "ce")
SIX = (*FIVE, "ils")


def make_plan(claim: Claim) -> Plan:
    """Return the plan of a claim's scale."""
    return {"quick": _quick, "laptop": _laptop, "full": _full, "gpu": _gpu}[claim.scale]()


def _quick() -> Plan:
    return Plan(
        seeds=(0, 1, 2, 3, 4),
        walks=(
            Walk(nodes=40, flips=2_000_000),
            Walk(nodes=64, flips=5_000_000),
            Walk(nodes=100, flips=1_000_000),
        ),
        arms=("curriculum", "scratch"),
        contests=(Contest(nodes=20, seconds=20.0, methods=PAIR),),
        contest_seeds=3,
        exact=Exact(),
        exact_seeds=3,
    )


def _laptop() -> Plan:
    flips = {40: 4_000_000, 50: 5_000_000, 64: 8_000_000, 80: 8_000_000, 100: 10_000_000}
    return Plan(
        seeds=(0, 1, 2, 3, 4),
        walks=tuple(Walk(nodes=nodes, flips=budget) for nodes, budget in flips.items()),
        arms=("curriculum", "scratch"),
        contests=(
            Contest(nodes=12, seconds=15.0, methods=FIVE),
            Contest(nodes=16, seconds=45.0, methods=FIVE),
            Contest(nodes=20, seconds=30.0, methods=PAIR),
        ),
        contest_seeds=5,
        exact=Exact(),
        exact_seeds=5,
    )


def _full() -> Plan:
    """Lines 5 and 6 of the sheet's acceptance."""
    seconds = {12: 60.0, 16: 240.0, 20: 600.0, 24: 600.0, 30: 600.0}
    return Plan(
        seeds=tuple(range(10)),
        walks=tuple(Walk(nodes=nodes, flips=400_000 * nodes) for nodes in (40, 50, 64, 80, 100)),
        arms=("curriculum", "scratch", "returning"),
        contests=tuple(
            Contest(nodes=nodes, seconds=limit, methods=SIX) for nodes, limit in seconds.items()
        ),
        contest_seeds=5,
        exact=Exact(),
        exact_seeds=5,
    )


def _gpu() -> Plan:
    """AlphaZero on one GPU against tabu search on one core."""
    return Plan(
        seeds=(0, 1, 2, 3, 4),
        walks=(Walk(nodes=40, flips=2_000_000), Walk(nodes=64, flips=5_000_000)),
        arms=("curriculum", "scratch"),
        contests=tuple(
            Contest(nodes=nodes, seconds=600.0, methods=("tabu-curriculum", "az-curriculum", "ce"))
            for nodes in (30, 40, 64)
        ),
        contest_seeds=3,
        exact=Exact(),
        exact_seeds=3,
        gpu=True,
    )
