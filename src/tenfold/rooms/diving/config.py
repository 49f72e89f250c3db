"""What each verb is told. Nothing here imports torch.

Times are wall seconds on one thread; budgets of nodes and LP iterations can be repeated exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from tenfold.engine.config import free
from tenfold.rooms.diving.branch.config import Branching, CollectBranch, TrainBranch
from tenfold.rooms.diving.branch.config import GraphConvolution as BranchConvolution
from tenfold.rooms.diving.dive.config import CollectDive, Diving, GraphConvolution, TrainDive

SCHEMA = 1
Kind = Literal["dive", "branch"]
With = Literal["dive", "branch", "joint", "solver"]
Method = Literal[
    "scip", "scip-tuned", "highs", "rens", "rens-scip", "majority", "majority-scip", "knn",
    "knn-scip", "dive", "dive-scip", "branch", "branch-random", "branch-pscost", "joint",
    "scip-pair",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Make labels: pools of good points for diving, strong-branching scores for branching."""

    what: tyro.conf.Positional[Kind]
    """dive or branch."""
    folder: tyro.conf.Positional[str]
    """Folder of instances (.mps, .lp, .cip, also .gz)."""
    dive: CollectDive = field(default_factory=lambda: CollectDive(seconds=60.0))
    """How points are found."""
    branch: CollectBranch = field(default_factory=CollectBranch)
    """How nodes are met and the expert is asked."""
    policy: str = ""
    """A branching policy (run or file) that drives while the expert only labels: DAgger."""
    seed: int = 0
    """Of searches."""
    first: int = 0
    """Only the first so many instances; 0: all."""
    jobs: int = free(1)
    """Instances at a time, a process and a thread each."""

    def __post_init__(self) -> None:
        if self.first < 0 or self.jobs < 1:
            raise ValueError(f"first ({self.first}) must be at least 0, jobs ({self.jobs}) 1")


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a network on what was collected."""

    what: tyro.conf.Positional[Kind] = "dive"
    """dive or branch."""
    store: tyro.conf.Positional[str] = ""
    """Run of `collect`, or a folder of labels."""
    more: tuple[str, ...] = ()
    """Further stores, such as those of DAgger rounds, which `collect branch --policy` makes."""
    dive: TrainDive = field(default_factory=TrainDive)
    """Network and training of diving."""
    branch: TrainBranch = field(default_factory=TrainBranch)
    """Network and training of branching."""
    seed: int = 0
    """Of first values and the order of instances."""
    calibrate: int = 6
    """Held-out instances that are dived into to choose the coverage; 0: none."""
    threads: int = 0
    """CPU threads; 0 takes what the machine has."""
    log_every: int = free(50)
    """Steps between two lines of metrics."""

    def __post_init__(self) -> None:
        for name, least in (("calibrate", 0), ("threads", 0), ("log_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")


@dataclass(frozen=True, kw_only=True)
class Solve:
    """Solve one instance."""

    file: tyro.conf.Positional[str]
    """The instance (.mps, .lp, .cip, also .gz)."""
    model: str = ""
    """Diving network: run of `train dive` or its file."""
    policy: str = ""
    """Branching policy: run of `train branch` or its file."""
    with_: Annotated[With | Literal["auto"], tyro.conf.arg(name="with")] = "auto"
    """dive, branch, joint (both, on two threads), solver (neither), or by what is given."""
    time: float = 60.0
    """Wall seconds, reading and network counted."""
    nodes: int = 0
    """Nodes of each search, to make runs repeatable; 0: no limit."""
    memory: float = math.inf
    """Megabytes that SCIP may take."""
    seed: int = 0
    """Of solvers and samples."""
    start: str = ""
    """A point to start from (MIPLIB's or SCIP's .sol)."""
    settings: str = ""
    """SCIP's parameters: a .set file of SCIP."""
    sol: str = free("")
    """Where the best point is written, in MIPLIB's dialect (SCIP and HiGHS read it)."""
    log: str = free("")
    """Where the trace is written, a JSON line each: seconds, primal, dual."""
    hooks: str = ""
    """A FILE.py with the hooks that the network was trained with, if they are your own."""
    diving: Diving = field(default_factory=Diving)
    """How dives go."""
    branching: Branching = field(default_factory=Branching)
    """When the policy branches."""

    def __post_init__(self) -> None:
        if not self.time > 0:
            raise ValueError(f"time ({self.time}) must be positive")
        if self.nodes < 0:
            raise ValueError(f"nodes ({self.nodes}) must be at least 0")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Compare methods on a folder of instances."""

    folder: tyro.conf.Positional[str]
    """Instances to test on; none of them should have been trained on."""
    model: str = ""
    """Diving network."""
    policy: str = ""
    """Branching policy."""
    store: str = ""
    """Labels for the majority-vote and nearest-neighbour baselines; empty: the network's own."""
    methods: tuple[Method, ...] = (
        "scip", "scip-tuned", "highs", "rens", "majority", "knn", "dive",
    )  # fmt: skip
    """What is compared; those that need what is not given are left out, and that is said."""
    tune: str = ""
    """Folder of instances on which the emphases of scip-tuned are chosen; empty: the store's."""
    time: float = 60.0
    """Wall seconds each."""
    target: float = 0.01
    """Primal gap whose time is compared."""
    seeds: tuple[int, ...] = (0,)
    """Of solvers."""
    hooks: str = ""
    """A FILE.py with the hooks that the network was trained with, if they are your own."""
    diving: Diving = field(default_factory=Diving)
    """How dives go."""
    branching: Branching = field(default_factory=Branching)
    """When the policy branches."""

    def __post_init__(self) -> None:
        if not self.time > 0 or not 0 < self.target < 1:
            raise ValueError(f"time ({self.time}) and target ({self.target}) must be positive")
        if not self.seeds or not self.methods:
            raise ValueError("seeds and methods must be at least one each")


def tiny() -> Train:
    """A network of a thousand weights for a few steps: for tests."""
    return Train(
        dive=TrainDive(network=GraphConvolution(width=8, depth=2), steps=12, coverages=(0.5,)),
        branch=TrainBranch(network=BranchConvolution(width=8, depth=1), steps=12, batch=4),
        calibrate=0,
        log_every=4,
        threads=1,
    )


def laptop() -> Train:
    """Minutes on two cores."""
    return Train(dive=TrainDive(steps=1_500), branch=TrainBranch(steps=4_000))


def gpu() -> Train:
    """Larger networks, for families of instances with 100,000 columns."""
    return Train(
        dive=TrainDive(network=GraphConvolution(width=64, depth=8), steps=20_000),
        branch=TrainBranch(network=BranchConvolution(width=64, depth=3), steps=40_000, batch=64),
    )


def paper() -> Train:
    """Sizes of the paper: 64 wide, ten layers (Electric grid), 400,000 steps."""
    return Train(
        dive=TrainDive(
            network=GraphConvolution(width=64, depth=10), steps=400_000, learning_rate=5e-4
        ),
        branch=TrainBranch(network=BranchConvolution(width=64, depth=10), steps=400_000),
    )


RECIPES = {"tiny": tiny, "laptop": laptop, "gpu": gpu, "paper": paper}
