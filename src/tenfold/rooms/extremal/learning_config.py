"""What the runs with a network are told; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from tenfold.engine.config import free
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig
from tenfold.rooms.extremal.cross_entropy_config import CrossEntropyConfig
from tenfold.rooms.extremal.slices import count_steps

SLICE_SECONDS = 10.0
"""A step of a run that is told minutes holds whole updates for about so long."""


@dataclass(frozen=True, kw_only=True)
class CrossEntropyRun:
    """Wagner's deep cross-entropy method on one number of nodes."""

    method: Annotated[CrossEntropyConfig, tyro.conf.arg(name="")] = field(
        default_factory=CrossEntropyConfig
    )
    """The method's constants."""
    iterations: int = 0
    """Iterations; 0: as `minutes` says."""
    minutes: float = 5.0
    """Time limit, if `iterations` is 0."""
    archive: str = ""
    """Folder that gets every improvement; empty: none."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def __post_init__(self) -> None:
        _check_budget(self.iterations, self.minutes)

    @property
    def steps(self) -> int:
        """Iterations, where they are counted; else slices of time."""
        return self.iterations or count_steps(self.minutes, seconds=SLICE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class AzTrain:
    """Learn by self-play over growing sizes, from nothing."""

    game: Annotated[AlphaZeroConfig, tyro.conf.arg(name="")] = field(
        default_factory=AlphaZeroConfig
    )
    """Sizes, games, network, search and learning."""
    iterations: int = 0
    """Batches of games; 0: as `minutes` says."""
    minutes: float = 10.0
    """Time limit, if `iterations` is 0."""
    archive: str = ""
    """Folder that gets every improvement; empty: out/archive of the run."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of the network; 0 takes what the machine has."""

    def __post_init__(self) -> None:
        _check_budget(self.iterations, self.minutes)

    @property
    def steps(self) -> int:
        """Batches of games, where they are counted; else slices of time."""
        return self.iterations or count_steps(self.minutes, seconds=SLICE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class AzSearch:
    """Search one size with the network of a training run, without learning."""

    run_name: Annotated[str, tyro.conf.arg(name="run")] = ""
    """Training run (path or name); empty: a network that has learned nothing."""
    nodes: int = 16
    """Number of nodes."""
    flips: int = 0
    """Flips, those in tree searches included; 0: as `minutes` says."""
    minutes: float = 1.0
    """Time limit, if `flips` is 0."""
    curriculum: bool = True
    """Begin from the training run's graphs of fewer nodes, not from no edges."""
    random: bool = False
    """Flip pairs at random in place of a search: the control."""
    seed: int = 0
    """Of starts and draws."""
    archive: str = ""
    """Folder that gets the best graph; empty: none."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = free(0)
    """CPU threads of the network; 0 takes what the machine has."""

    def __post_init__(self) -> None:
        _check_budget(self.flips, self.minutes)
        if self.nodes < 3:
            raise ValueError(f"nodes ({self.nodes}) must be at least 3")


@dataclass(frozen=True, kw_only=True)
class Az:
    """AlphaZero with a curriculum over sizes."""

    do: Annotated[
        Annotated[AzTrain, tyro.conf.subcommand("train")]
        | Annotated[AzSearch, tyro.conf.subcommand("search")],
        tyro.conf.arg(name=""),
    ] = field(default_factory=AzTrain)
    """What to do."""


CE_UNITS = {
    "edges": "edges",
    "score": "edges less short cycles",
    "mean": "edges less short cycles",
    "loss": "nats a decision",
    "flips": "flips",
}
AZ_UNITS = {
    "nodes": "nodes",
    "edges": "edges",
    "mean_best": "edges less short cycles",
    "policy_loss": "nats",
    "value_loss": "squared share of the value's scale",
    "flips": "flips",
    "finished": "sizes",
}
"""Units of metrics; `edges` are the most on `nodes`, `finished` sizes meet their upper bound."""


def _check_budget(counted: int, minutes: float) -> None:
    if counted < 0 or (not counted and minutes <= 0):
        raise ValueError(f"a budget of {counted} or {minutes} minutes is none; give one above 0")
