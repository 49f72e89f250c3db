"""Facts about a tree search, without torch (rooms extremal)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How one move is looked for."""

    rule: Literal["gumbel", "puct"] = "gumbel"
    """Gumbel: sampled actions and sequential halving, for few simulations; puct: AlphaZero's."""
    simulations: int = 16
    """Positions that a tree looks at beyond its root."""
    considered: int = 16
    """Gumbel: actions drawn without replacement at the root."""
    leaves: int = 1
    """Simulations of a tree that run at once, kept apart by virtual losses."""
    width: int = 0
    """Actions kept at a position, those of largest prior; 0: all."""
    adversarial: bool = False
    """Whether the mover changes with every move, so that a value changes sign."""
    least_range: float = 0.0
    """Returns are stretched to [0, 1] over the tree, but by no smaller spread than this."""
    exploration: float = 1.25
    """PUCT: weight of the prior in a small tree."""
    exploration_base: float = 19_652.0
    """PUCT: visits at which that weight has grown by log 2."""
    noise_share: float = 0.25
    """PUCT: share of Dirichlet noise in the prior of the root."""
    noise_total: float = 10.0
    """PUCT: sum of the concentrations of that noise; 10 is about AlphaZero's choice."""
    gumbel_noise: float = 1.0
    """Gumbel: scale of the noise that draws actions; with 0 the best one is taken."""
    return_weight: float = 5.0
    """Gumbel: what the whole range of returns is worth in logits before any visit."""

    def __post_init__(self) -> None:
        for name in ("simulations", "considered", "leaves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        for name in ("width", "least_range", "exploration", "gumbel_noise", "return_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be 0 or more")
        if not 0 <= self.noise_share < 1:
            raise ValueError(f"noise_share ({self.noise_share}) must lie in [0, 1)")
        for name in ("noise_total", "exploration_base"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be above 0")
