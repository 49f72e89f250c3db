"""Settings of the deep cross-entropy method; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig:
    """Wagner's method with the constants of his published template."""

    nodes: int = 20
    """Nodes of the graphs."""
    sessions: int = 1_000
    """Graphs drawn in an iteration."""
    elite_percentile: float = 93.0
    """Graphs of a score at or above this percentile are imitated."""
    survivor_percentile: float = 94.0
    """Graphs at or above it compete again in the next iteration."""
    hidden: tuple[int, ...] = (128, 64, 4)
    """Widths of the layers between input and the probability of an edge."""
    learning_rate: float = 1e-4
    """Step size of Adam."""
    batch: int = 32
    """Decisions in a step of Adam; each decision of an elite graph is imitated once."""
    seed: int = 0
    """Of the first policy and of all draws."""

    def __post_init__(self) -> None:
        for name, least in (("nodes", 2), ("sessions", 2), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {least}")
        for name in ("elite_percentile", "survivor_percentile"):
            if not 0 <= getattr(self, name) < 100:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie in [0, 100)")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden ({self.hidden}) must name a width of 1 or more")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate ({self.learning_rate}) must be above 0")

    @property
    def pairs(self) -> int:
        """Decisions that make one graph."""
        return self.nodes * (self.nodes - 1) // 2
