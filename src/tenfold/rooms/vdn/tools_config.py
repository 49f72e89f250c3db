"""What the room's smaller commands are told. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

Team = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True, kw_only=True)
class Play:
    """Let a trained team play and write the replay as one HTML page."""

    team: Team
    """Run directory or file of teams."""
    html: str = "team.html"
    """The page."""
    steps: int = 300
    """Steps of the episode, at most."""
    seed: int = 0
    """Of the episode."""
    which: int = 0
    """Number of the team in the file, from 0."""
    epsilon: float = 0.0
    """Share of random actions."""
    env: str = ""
    """Another task; empty: the one it was trained on."""

    def __post_init__(self) -> None:
        _check(self.steps, self.epsilon, self.which)


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Say who does the work in a team: credit, laziness, what each agent's absence costs."""

    team: Team
    """Run directory or file of teams."""
    html: str = "team-explained.html"
    """The page."""
    steps: int = 1_000
    """Steps of each copy."""
    copies: int = 20
    """Test episodes side by side."""
    seed: int = 0
    """Of the episodes."""
    epsilon: float = 0.0
    """Share of random actions."""
    env: str = ""
    """Another task; empty: the one it was trained on."""

    def __post_init__(self) -> None:
        _check(self.steps, self.epsilon, 0)
        if self.copies < 2:
            raise ValueError(f"copies ({self.copies}) must be at least 2, or there is no interval")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Test before training whether a sum of the agents' values is enough for a task."""

    env: str = "matrix"
    """A task; matrix and two-step are the two games whose answers are known."""
    steps: int = 20_000
    """Steps of random play in all copies together."""
    copies: int = 64
    """Environments side by side."""
    gamma: float = 0.99
    """Discount of a step."""
    seed: int = 0
    """Of the play."""

    def __post_init__(self) -> None:
        _check(self.steps, 0.0, 0)
        if not 0 <= self.gamma <= 1 or self.copies < 1:
            raise ValueError(
                f"gamma ({self.gamma}) must lie in [0, 1], copies ({self.copies}) be at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write each agent of a team as a file that acts alone, without torch."""

    team: Team
    """Run directory or file of teams."""
    out: str = "agents"
    """Folder of the files."""
    which: int = 0
    """Number of the team in the file, from 0."""

    def __post_init__(self) -> None:
        _check(1, 0.0, self.which)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the page of a run."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Its name or directory."""


def _check(steps: int, epsilon: float, which: int) -> None:
    if steps < 1:
        raise ValueError(f"steps ({steps}) must be at least 1")
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon ({epsilon}) must lie in [0, 1]")
    if which < 0:
        raise ValueError(f"which ({which}) must be 0 or more")
