"""What a search and a ladder are told: the problem, where to begin, how much to spend.

Nothing here imports torch, numba or SciPy. Budgets are counted in flips (an edge added or
removed), which is exact and repeatable, or in minutes, which depend on the machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

import tyro

from tenfold.engine.config import free
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.problem import MAX_NODES, Problem
from tenfold.rooms.extremal.slices import count_steps

SCHEMA = 1

MethodName = Literal["auto", "ils", "tabu", "anneal", "greedy"]
FIRST_ROUND = 2_000
"""Flips of a chain in the first round; each further one is twice as long, up to `round_flips`."""
SLICE_SECONDS = 1.0
"""A step of a search that is told minutes takes whole rounds for about so long."""
LADDER_SLICE_SECONDS = 5.0
"""A step of a ladder that is told minutes takes pieces for about so long."""

Asked = Annotated[Problem, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a graph must keep to, whatever its number of nodes."""

    forbid: str = "C3,C4"
    """C3 to C8, girth5 (all shorter cycles), K2_t; several with commas."""
    girth: int = 0
    """Shorthand: forbid all cycles shorter than this, and nothing else; 0: as `forbid` says."""
    host: str = ""
    """Pairs that may be edges: bipartite:M,N, hypercube:D, a graph file, or g6:...; empty: all."""
    frozen: str = ""
    """Edges that must stay: a graph file or g6:...; empty: none."""
    max_degree: int = 0
    """Largest degree; 0: any."""
    min_degree: int = 0
    """Least degree."""
    regular: int = 0
    """Shorthand: this degree at every node; 0: as the other two say."""
    group: str = ""
    """Automorphisms to keep: Zm, Zm:Zk, or a file of permutations; empty: none."""

    def problem(self, nodes: int) -> Problem:
        """Return the problem on a number of nodes.

        Raises:
            TenfoldError: if there is none, saying why.
        """
        try:
            return Problem(nodes=nodes, **asdict(self))
        except ValueError as error:
            raise TenfoldError(str(error)) from None


Kept = Annotated[Rule, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search: some chains side by side on one problem."""

    problem: Asked = field(default_factory=Problem)
    """What is looked for."""
    method: MethodName = "auto"
    """Local search; auto is iterated local search (ils) with restarts."""
    start: str = "empty"
    """empty, structured, archive, a graph file, g6:..., amalgam:C,q=9,k=9,l=9, a graph's name."""
    minutes: float = 5.0
    """Time limit, if `flips` is 0; how many rounds fit into it depends on the machine."""
    flips: int = 0
    """Flips of all chains together; then the result depends on the options alone."""
    target: int = 0
    """Edges at which it stops; the proven upper bound always does."""
    chains: int = 2
    """Searches side by side, each with random numbers of its own."""
    seed: int = 0
    """Names the random numbers of all chains."""
    archive: str = ""
    """Folder that gets every improvement and that `start=archive` reads; empty: none."""
    patience: int = 0
    """Flips without gain before a chain begins anew; 0: by the number of nodes, -1: never."""
    tenure: int = 0
    """Steps that a flipped pair stays tabu; 0: the method's own (tabu: 5, the paper's)."""
    round_flips: int = 50_000
    """Flips of each chain between two looks at what was found."""
    threads: int = free(0)
    """Threads that the chains share; 0: one for each, as far as there are cores."""

    def __post_init__(self) -> None:
        for name, least in (("chains", 1), ("round_flips", 1), ("patience", -1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")
        for name in ("flips", "target", "tenure", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be 0 or more")
        if not self.flips and self.minutes <= 0:
            raise ValueError(f"minutes ({self.minutes}) must be above 0, or give flips")
        if self.start == "archive" and not self.archive:
            raise ValueError("start is 'archive' but no archive is named; give --archive FOLDER")

    @property
    def steps(self) -> int:
        """Rounds, where flips are counted; else slices of time."""
        if self.flips:
            return len(round_sizes(-(-self.flips // self.chains), most=self.round_flips))
        return count_steps(self.minutes, seconds=SLICE_SECONDS)


def round_size(number: int, *, most: int) -> int:
    """Return the flips of a chain in round `number`, from 0."""
    return min(most, FIRST_ROUND << min(number, 40))


def round_sizes(flips: int, *, most: int) -> list[int]:
    """Return the flips of a chain in each of the rounds that a budget pays for."""
    sizes: list[int] = []
    left = flips
    while left > 0:
        sizes.append(min(left, round_size(len(sizes), most=most)))
        left -= sizes[-1]
    return sizes


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """A hunt over many numbers of nodes at once, from and into one archive."""

    first: Annotated[int, tyro.conf.arg(name="from")] = 54
    """Fewest nodes."""
    last: Annotated[int, tyro.conf.arg(name="to")] = 64
    """Most nodes."""
    forbid: str = "C3,C4"
    """C3 to C8, girth5 (all shorter cycles), K2_t; several with commas."""
    max_degree: int = 0
    """Largest degree; 0: any."""
    min_degree: int = 0
    """Least degree."""
    minutes: float = 60.0
    """Time limit, if `pieces` is 0; then other processes' finds in the archive are used too."""
    pieces: int = 0
    """Searches that it consists of; then the result depends on the options alone."""
    piece_flips: int = 400_000
    """Flips of a short piece; some are 2, 4 and 8 times as long."""
    piece_seconds: float = 0.0
    """Time limit of a piece, for slow machines; 0: none, and pieces are repeatable."""
    window: int = 16
    """Pieces under way at any time: each is chosen knowing all but the last so many results."""
    seed: int = 0
    """Of all choices and searches."""
    archive: str = ""
    """Folder that is read and written; empty: out/archive of the run."""
    workers: str = free("2")
    """Threads of this process that work on pieces, or ray for a cluster."""

    def __post_init__(self) -> None:
        if not 3 <= self.first <= self.last <= MAX_NODES:
            raise ValueError(
                f"from {self.first} to {self.last} nodes is no ladder; give 3 <= from <= to <= "
                f"{MAX_NODES}"
            )
        for name in ("piece_flips", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.pieces < 0 or self.piece_seconds < 0:
            raise ValueError(
                f"pieces ({self.pieces}) and piece_seconds ({self.piece_seconds}) must be 0 or more"
            )
        if not self.pieces and self.minutes <= 0:
            raise ValueError(f"minutes ({self.minutes}) must be above 0, or give pieces")
        if self.workers != "ray" and not (self.workers.isdecimal() and int(self.workers) >= 1):
            raise ValueError(f"workers ({self.workers!r}) must be a number from 1 on, or ray")
        object.__setattr__(self, "forbid", self.problem.forbid)  # refuses, and spells it one way
        for nodes in range(self.first, self.last + 1):  # refuses degrees that a size cannot have
            Problem(nodes=nodes, forbid=self.forbid, max_degree=self.max_degree,
                    min_degree=self.min_degree)  # fmt: skip

    @property
    def problem(self) -> Problem:
        """The problem on the most nodes."""
        return Problem(
            nodes=self.last,
            forbid=self.forbid,
            max_degree=self.max_degree,
            min_degree=self.min_degree,
        )

    @property
    def steps(self) -> int:
        """Pieces, where they are counted; else slices of time."""
        return self.pieces or count_steps(self.minutes, seconds=LADDER_SLICE_SECONDS)


SEARCH_UNITS = {
    "edges": "edges",
    "gap_upper": "edges",
    "gap_known": "edges",
    "flips": "flips",
    "flips_per_second": "flips a second",
}
"""Units of a search's metrics; `gap_known` is published less found, below 0 where it is passed."""

LADDER_UNITS = {
    "at_known": "sizes",
    "above_known": "sizes",
    "last_gain": "nodes",
    "gained": "edges",
    "sizes": "sizes",
    "flips": "flips",
}
"""Units of a ladder's metrics; `last_gain` is the number of nodes that was improved last."""


# Recipes


def tiny() -> Search:
    """Return the unit-test size: a second on two cores."""
    return Search(problem=Problem(nodes=60), flips=120_000, round_flips=6_000)


def laptop() -> Search:
    """Return five minutes on two cores."""
    return Search()


def gpu() -> Search:
    """Return what a server with one GPU has beside it: sixteen chains on as many cores."""
    return Search(problem=Problem(nodes=128), chains=16, minutes=10.0, round_flips=200_000)


def paper() -> Search:
    """Return the paper's method at the paper's smallest open size."""
    return Search(problem=Problem(nodes=64), method="tabu", flips=400_000_000, patience=-1)


RECIPES = {"tiny": tiny, "laptop": laptop, "gpu": gpu, "paper": paper}
