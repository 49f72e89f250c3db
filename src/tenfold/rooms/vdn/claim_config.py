"""The sizes of the claim: architectures, tasks, seeds and updates at each scale. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tenfold.engine.config import free
from tenfold.rooms.vdn.compare_config import Compare

Scale = Literal["quick", "laptop", "full", "gpu"]
SEVEN = ("fetch", "switch", "checkers")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Check the paper's headline: adding values beats independent and combinatorial teams."""

    scale: Scale = "quick"
    """Size of the set of runs: about a minute, 10 minutes, hours on two cores; or one GPU."""
    results: str = free("")
    """Folder of committed results, such as claims, whose <room>.json gets this one too."""
    workers: int | Literal["ray"] = free(2)
    """Processes that train stacks, or a Ray cluster; it does not alter results."""

    def __post_init__(self) -> None:
        if isinstance(self.workers, int) and self.workers < 1:
            raise ValueError(f"workers ({self.workers}) must be at least 1, or ray")


def make_plan(claim: Claim) -> Compare:
    """Return the comparison of a claim's scale."""
    plans = {
        "quick": Compare(
            preset="", archs=("ind", "v", "v.s", "v.s.id"), seeds=(0, 1, 2), updates=2_000,
            stack=6,
        ),
        "laptop": Compare(
            tasks=("fetch/open", "switch/corridor", "checkers/board"), seeds=(0, 1, 2, 3, 4),
            updates=6_000, stack=20,
        ),
        "full": Compare(
            preset="paper", archs=("ind.s",), tasks=SEVEN, seeds=tuple(range(10)),
            updates=12_000, stack=20,
        ),
        "gpu": Compare(
            preset="paper", archs=("ind.s",), tasks=SEVEN, seeds=tuple(range(10)),
            updates=30_000, stack=280,
        ),
    }  # fmt: skip
    return replace(plans[claim.scale], workers=1 if claim.scale == "gpu" else claim.workers)
