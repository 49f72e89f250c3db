"""What collecting, network, training and branching rule are told. Nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

SCHEMA = 1

Expert = Literal["exact", "admm"]
Cuts = Literal["root", "default"]


@dataclass(frozen=True, kw_only=True)
class CollectBranch:
    """How nodes are met and the expert is asked at some of them."""

    expert: Expert = "exact"
    """Full strong branching by SCIP's own LPs, or by approximate LPs all at once."""
    asked_share: float = 0.05
    """Probability that the expert is asked at a node. Without a policy its answer is followed;
    with one (DAgger) it is only written down, and the policy goes on."""
    samples: int = 20
    """Nodes of one instance at which the expert is asked, at most."""
    nodes: int = 1_000
    """Nodes of one search; 0: no limit."""
    iterations: int = 0
    """Simplex iterations of one search, the expert's not counted; 0: no limit."""
    child_iterations: int = 0
    """Simplex iterations of one child's LP; 0: to its end. Children that were cut short count
    with the bound they had reached. For the exact expert."""
    admm_iterations: int = 200
    """Of the approximate expert."""
    seconds: float = math.inf
    """Wall time of one search. A collection that ends by it cannot be made again exactly."""
    cuts: Cuts = "root"
    """Where SCIP separates: at the root only, with restarts off, or as it does by default."""

    def __post_init__(self) -> None:
        if not 0 < self.asked_share <= 1:
            raise ValueError(f"asked_share ({self.asked_share}) must lie in (0, 1]")
        counts = ("samples", "admm_iterations")
        for name in (*counts, "nodes", "iterations", "child_iterations"):
            least = int(name in counts)
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")
        if not self.seconds > 0:
            raise ValueError(f"seconds ({self.seconds}) must be positive, or infinite for no limit")


@dataclass(frozen=True, kw_only=True)
class GraphConvolution:
    """The paper's network: coefficients as adjacency, each layer sees all earlier ones."""

    width: int = 32
    """Of each layer."""
    depth: int = 2
    """Layers; a candidate sees as many edges far."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"width ({self.width}) and depth ({self.depth}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class HalfConvolutions:
    """The network of Gasse et al. 2019: columns to rows and back, a message for each edge."""

    width: int = 64
    """Of each embedding."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width ({self.width}) must be at least 1")


Network = GraphConvolution | HalfConvolutions


@dataclass(frozen=True, kw_only=True)
class TrainBranch:
    """How a network learns the expert's answers; the recipe of learn2branch."""

    seed: int = 0
    """Of first values and the order of samples."""
    network: Network = field(default_factory=GraphConvolution)
    """What the policy is."""
    steps: int = 20_000
    """Steps at most; training ends before if it no longer helps."""
    batch: int = 32
    """Nodes in a step."""
    learning_rate: float = 1e-3
    """Of Adam, at the beginning."""
    epoch_steps: int = 0
    """Steps between two looks at the validation nodes; 0: once through the training nodes."""
    patience: int = 10
    """Epochs without a better validation loss after which the learning rate falls."""
    fall: float = 0.2
    """By what the learning rate is multiplied then."""
    stop_after: int = 20
    """Epochs without a better validation loss after which training ends."""
    target_power: float = 1.0
    """The expert's distribution is its scores to this power; 1 is the paper's."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "patience", "stop_after"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.epoch_steps < 0:
            raise ValueError(f"epoch_steps ({self.epoch_steps}) must be positive, or 0 for all")
        for name in ("learning_rate", "fall", "target_power"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be positive")


@dataclass(frozen=True, kw_only=True)
class Branching:
    """When the learnt rule branches, and when it leaves a node to SCIP's own rules."""

    deepest: int = -1
    """Nodes deeper than this are left to SCIP; -1: none."""
    flatness: float = 1.0
    """Nodes at which the policy's entropy is more than this share of a blind choice's are left to
    SCIP; 1: none."""
    fewest: int = 2
    """Nodes with fewer candidates are left to SCIP."""

    def __post_init__(self) -> None:
        if self.deepest < -1:
            raise ValueError(f"deepest ({self.deepest}) must be at least 0, or -1 for no limit")
        if not 0 <= self.flatness <= 1:
            raise ValueError(f"flatness ({self.flatness}) must lie in [0, 1]")
        if self.fewest < 1:
            raise ValueError(f"fewest ({self.fewest}) must be at least 1")
