"""What collecting, network, training and diving are told. Nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

SCHEMA = 1

Solver = Literal["scip", "highs"]
RootLp = Literal["auto", "always", "never"]
Improve = Literal["solver", "rens"]


@dataclass(frozen=True, kw_only=True)
class CollectDive:
    """How pools of good points are made, which a network is to imitate."""

    solver: Solver = "scip"
    """Who solves: SCIP or HiGHS."""
    improve: Improve = "solver"
    """Points of one plain run; or LP-RENS (columns that the root LP leaves whole are fixed) and
    then neighbourhoods of the best point, which finds good points of large instances sooner."""
    seconds: float = math.inf
    """Wall time an instance; a collection that ends by it cannot be made again exactly."""
    nodes: int = 0
    """Nodes an instance, with rens of each sub-MIP; 0: no limit."""
    rounds: int = 20
    """Neighbourhoods an instance; for rens."""
    points: int = 0
    """Keep the best so many points; 0: all."""
    gap: float = 1e-4
    """Relative gap at which an instance is done."""
    seed: int = 0
    """Of the solver and of neighbourhoods."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds ({self.seconds}) must be positive, or infinite for no limit")
        for name, least in (("nodes", 0), ("rounds", 1), ("points", 0), ("gap", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")
        if self.improve == "solver" and math.isinf(self.seconds) and not self.nodes:
            raise ValueError("neither seconds nor nodes limit the search; give one of them")


@dataclass(frozen=True, kw_only=True)
class GraphConvolution:
    """The paper's network: coefficients as adjacency, each layer sees all earlier ones."""

    width: int = 64
    """Of each layer."""
    depth: int = 4
    """Layers; a column sees as many edges far."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"width ({self.width}) and depth ({self.depth}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """Columns one by one, by the features that a family's hook gives them; no graph is built."""

    width: int = 96
    """Of the first hidden layer."""
    hidden: int = 64
    """Of the second."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.hidden < 1:
            raise ValueError(f"width ({self.width}) and hidden ({self.hidden}) must be at least 1")


Network = (
    Annotated[GraphConvolution, tyro.conf.subcommand("gcn")]
    | Annotated[Perceptron, tyro.conf.subcommand("perceptron")]
)


@dataclass(frozen=True, kw_only=True)
class TrainDive:
    """How a network learns from pools."""

    network: Network = field(default_factory=GraphConvolution)
    """What predicts."""
    hooks: str = ""
    """Functions that know the family: a name (commitment) or FILE.py, see the room's README."""
    coverages: tuple[float, ...] = (0.5, 0.7, 0.9)
    """Share of slots that each coverage head is to assign."""
    penalty: float = 32.0
    """Lambda, price of assigning less than that (SelectiveNet's)."""
    auxiliary: float = 0.5
    """Weight of the likelihood of all slots (SelectiveNet's)."""
    temperature: float = 0.002
    """A point worse by this share of the objective has 1/e of the best one's weight."""
    bits: int = 6
    """Most bits of a general integer that are predicted."""
    root_lp: RootLp = "auto"
    """Whether the network sees the root LP; auto: trained with and without, chosen by size."""
    steps: int = 2_000
    """Instances looked at, one a step."""
    learning_rate: float = 1e-3
    """Of AdamW; it falls to 0 by a cosine."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    dropout: float = 0.1
    """Share of the last hidden units switched off while training."""
    valid: float = 0.15
    """Share of the instances that is held out to choose coverages."""

    def __post_init__(self) -> None:
        if not self.coverages or any(not 0 < c <= 1 for c in self.coverages):
            raise ValueError(f"coverages {list(self.coverages)} must lie in (0, 1]")
        if list(self.coverages) != sorted(set(self.coverages)):
            raise ValueError(f"coverages {list(self.coverages)} must increase")
        for name, least in (("steps", 1), ("bits", 1), ("penalty", 0), ("auxiliary", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")
        for name in ("temperature", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be positive")
        for name in ("dropout", "valid"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie in [0, 1)")
        if isinstance(self.network, Perceptron) and not self.hooks:
            raise ValueError("a perceptron sees nothing but a hook's features; give hooks, or gcn")


@dataclass(frozen=True, kw_only=True)
class Diving:
    """How a trained network is used on an instance."""

    sub_solver: Solver | Literal["auto"] = "auto"
    """Who solves sub-MIPs; auto: HiGHS from 5,000 columns on, SCIP below."""
    coverage: float = 0.0
    """Share of slots that the first dive assigns; 0: the one that training chose."""
    dives: int = 1
    """Dives side by side, each on its own thread: the likeliest assignment, then samples."""
    shrink: float = 0.93
    """Factor of the coverage after a sub-MIP that no point fits."""
    elastic: bool = True
    """Where no point fits an assignment, ask an LP which columns stand in the way and free those,
    before fewer are assigned."""
    stages: tuple[float, ...] = (1.05, 1.0, 0.85, 0.5, 0.0)
    """Factors of the coverage of the dives one after the other; 0 is the whole instance, begun
    with the best point so far. The first one may assign more than training found safe: its small
    sub-MIP takes little time."""
    gap: float = 1e-3
    """Relative gap at which a sub-MIP is done, but for the last stage."""
    share: float = 0.3
    """Share of the time left that a stage may take, but for the last one."""
    nodes: int = 0
    """Nodes of each sub-MIP, for dives that can be repeated; 0: no limit."""
    propagation: bool = True
    """Assign the surest columns first and leave out assignments that rows rule out after that."""
    root_lp: RootLp = "auto"
    """Whether the network sees the root LP; auto: below 60,000 columns, if it was trained so."""
    force: bool = False
    """Dive although the instance looks unlike those of training."""

    def __post_init__(self) -> None:
        if not 0 <= self.coverage <= 1:
            raise ValueError(f"coverage ({self.coverage}) must lie in [0, 1]")
        if self.dives < 1 or self.nodes < 0:
            raise ValueError(f"dives ({self.dives}) must be at least 1, nodes ({self.nodes}) 0")
        for name in ("shrink", "share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie in (0, 1)")
        if not self.stages or any(not 0 <= stage <= 2 for stage in self.stages):
            raise ValueError(f"stages {list(self.stages)} must lie in [0, 2]")
        if list(self.stages) != sorted(self.stages, reverse=True):
            raise ValueError(f"stages {list(self.stages)} must fall")
        if self.gap < 0:
            raise ValueError(f"gap ({self.gap}) must be at least 0")
