"""What a comparison of architectures is told. Nothing here imports torch or numba."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tenfold.engine.config import free
from tenfold.rooms.vdn.config import PAPER, Learning, arch_of

SCHEMA = 1
UNITS = {"done": "stacks"}

PRESETS: dict[str, tuple[str, ...]] = {
    "paper": PAPER,
    "alone": ("ind", "ind.s", "v", "v.s", "v.s.id"),
    "claim": ("ind", "v", "v.s", "v.s.id", "c", "v.c"),
}
"""Named sets of architectures: the paper's nine, those that act alone, those of the claim."""
TASKS: dict[str, tuple[str, ...]] = {
    "fetch": ("fetch/open", "fetch/corridor", "fetch/corridors"),
    "switch": ("switch/open", "switch/corridor", "switch/corridors"),
    "checkers": ("checkers/board",),
}
"""A game's name stands for all of its maps."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Train architectures on tasks with several seeds and compare them."""

    preset: Literal["paper", "alone", "claim", ""] = "claim"
    """Named set of architectures; empty: those of archs."""
    archs: tuple[str, ...] = ()
    """Architectures besides or in place of the preset's."""
    tasks: tuple[str, ...] = ("fetch/open",)
    """Tasks; fetch, switch and checkers stand for all of a game's maps."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One team each of every architecture and task; equal seeds are compared in pairs."""
    updates: int = 6_000
    """Of each team."""
    copies: int = 16
    """Environments of each team."""
    updates_per_window: int = 1
    """Updates after each window of steps of all copies."""
    episode: int = 5_000
    """Steps after which the room's own tasks cut an episode."""
    learning: Learning = field(default_factory=Learning)
    """How values are learnt."""
    points: int = 60
    """Points of each curve."""
    stack: int = 24
    """Teams trained as one stack, at most; it does not alter results."""
    device: str = "auto"
    """cpu, cuda or auto."""
    workers: int | Literal["ray"] = free(2)
    """Processes that train stacks, or a Ray cluster; it does not alter results."""

    def __post_init__(self) -> None:
        for name in self.names:
            arch_of(name)
        if not self.names:
            raise ValueError("no architecture is named; give a preset or archs")
        if not self.tasks or not self.seeds:
            raise ValueError("give at least one task and one seed")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} must be given once each")
        for name in ("updates", "copies", "updates_per_window", "episode", "points", "stack"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if isinstance(self.workers, int) and self.workers < 1:
            raise ValueError(f"workers ({self.workers}) must be at least 1, or ray")

    @property
    def names(self) -> tuple[str, ...]:
        """Short names of all architectures, each once, in order."""
        named = (*PRESETS.get(self.preset, ()), *(arch_of(name).name for name in self.archs))
        return tuple(dict.fromkeys(named))

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """Tasks, games written out, each once."""
        found = [task for name in self.tasks for task in TASKS.get(name, (name,))]
        return tuple(dict.fromkeys(found))


def tiny() -> Compare:
    """Return a comparison of about a second."""
    return Compare(
        archs=("ind", "v.s"), preset="", seeds=(0, 1), updates=16, copies=4, points=4,
        learning=Learning(units=8, batch=8, capacity=64, warm_up=16, copy_every=8),
    )  # fmt: skip


def laptop() -> Compare:
    """Return six architectures on three tasks in about ten minutes on two cores."""
    return Compare(tasks=("fetch/open", "switch/corridor", "checkers/board"), seeds=(0, 1, 2, 3, 4))


def gpu() -> Compare:
    """Return the paper's nine architectures on its seven tasks on one GPU."""
    return Compare(
        preset="paper", tasks=("fetch", "switch", "checkers"), seeds=tuple(range(10)),
        updates=30_000, stack=210, workers=1,
    )  # fmt: skip


def paper() -> Compare:
    """Return the paper's own size as far as it is known."""
    return Compare(
        preset="paper", tasks=("fetch", "switch", "checkers"), seeds=tuple(range(10)),
        updates=1_000_000, stack=210,
    )  # fmt: skip
