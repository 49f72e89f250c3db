"""Settings of AlphaZero for extremal graphs; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from tenfold.parts.search.config import SearchConfig
from tenfold.rooms.extremal.model_config import NetworkConfig, preset
from tenfold.rooms.extremal.problem import read_forbidden

Objective = Literal["final", "best"]
LARGEST = 200
"""Nodes; on more, the counts of paths in a crowded graph might leave their table."""


@dataclass(frozen=True, kw_only=True)
class LearnConfig:
    """How the network learns from the games."""

    steps: int = 24
    """Steps of AdamW after each batch of games."""
    batch: int = 64
    """Positions of a step, all of one size."""
    learning_rate: float = 2e-3
    """Step size of AdamW."""
    weight_decay: float = 1e-4
    """Decay of AdamW."""
    value_weight: float = 4.0
    """Of the squared error of the value, beside the policy's cross-entropy in nats."""
    positions: int = 20_000
    """Positions kept for replay, newest first; batches of games stay whole."""

    def __post_init__(self) -> None:
        for name in ("batch", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        for name in ("steps", "weight_decay", "value_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be 0 or more")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate ({self.learning_rate}) must be above 0")


@dataclass(frozen=True, kw_only=True)
class AlphaZeroConfig:
    """Self-play over growing sizes and the network that learns from it."""

    sizes: tuple[int, ...] = tuple(range(5, 21))
    """Numbers of nodes, worked on from small to large."""
    forbid: str = "C3,C4"
    """C3 to C8, girth5 (all shorter cycles), K2_t; several with commas."""
    objective: Objective = "best"
    """Reward of a flip: what the score gains (final, the paper's), or the best score so far."""
    curriculum: bool = True
    """Whether games begin from the best graphs of 1 to 4 nodes less, or from no edges."""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(blocks=1))
    """Which network judges positions."""
    search: SearchConfig = field(default_factory=lambda: SearchConfig(least_range=1.0))
    """How a flip is looked for; returns are in edges."""
    learn: LearnConfig = field(default_factory=LearnConfig)
    """How the network learns."""
    games: int = 32
    """Games played side by side."""
    tenure: int = 5
    """Last flips of a game that must not be repeated."""
    patience: int = 3
    """Batches of games in a row on a size that has not met its upper bound."""
    keep: int = 64
    """Best graphs kept of each size, all of different classes."""
    seed: int = 0
    """Of the first network, all games and all draws."""

    def __post_init__(self) -> None:
        read_forbidden(self.forbid)
        if not self.sizes or min(self.sizes) < 3 or max(self.sizes) > LARGEST:
            raise ValueError(f"sizes ({self.sizes}) must name numbers of nodes from 3 to {LARGEST}")
        if list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"sizes ({self.sizes}) must increase")
        for name in ("games", "patience", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        _check_tenure(self.tenure, smallest=min(self.sizes))


def _check_tenure(tenure: int, *, smallest: int) -> None:
    pairs = smallest * (smallest - 1) // 2
    if not 1 <= tenure < pairs:
        raise ValueError(
            f"tenure ({tenure}) must lie from 1 to {pairs - 1}: of the {pairs} pairs of "
            f"{smallest} nodes one must stay free"
        )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When to stop: at the first of these."""

    seconds: float = float("inf")
    """Wall time."""
    flips: float = float("inf")
    """Flips, those in searches included."""


# Recipes


def tiny() -> AlphaZeroConfig:
    """A few seconds: the smallest sizes."""
    return AlphaZeroConfig(
        sizes=(5, 6, 7, 8),
        games=8,
        network=NetworkConfig(width=8, blocks=1),
        search=SearchConfig(simulations=8, considered=8, least_range=1.0),
        learn=LearnConfig(steps=4, batch=32),
    )


def laptop(largest: int = 16) -> AlphaZeroConfig:
    """A few minutes on two cores up to 16 nodes."""
    return AlphaZeroConfig(sizes=tuple(range(5, largest + 1)))


def gpu(largest: int = 64) -> AlphaZeroConfig:
    """Many games with a larger network."""
    return replace(
        laptop(largest),
        network=preset("pairnet", "gpu"),
        search=SearchConfig(simulations=32, considered=16, width=64, least_range=1.0),
        learn=LearnConfig(steps=64, batch=256, learning_rate=1e-3, positions=200_000),
        games=512,
    )
