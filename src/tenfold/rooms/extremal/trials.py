"""Searches without learning, at a budget of flips: a network as it is, and random flips.

The controls of AlphaZero: the same games, starts and lengths, so that what differs is what the
network has learned, or that there is a search at all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tenfold.engine import rng
from tenfold.rooms.extremal import model
from tenfold.rooms.extremal.actors import (
    Crew,
    Judge,
    Mover,
    Solutions,
    draw_starts,
    flipping,
    new_games,
    play,
    promising,
    searching,
)
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig, Budget
from tenfold.rooms.extremal.bounds import upper_bound
from tenfold.rooms.extremal.graph import Graph, empty
from tenfold.rooms.extremal.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search without learning found."""

    graph: Graph
    """The best graph, repaired and checked."""
    mean_best: float
    """Mean over all games of the best score that moves reached."""
    flips: int
    seconds: float
    curve: tuple[tuple[int, int], ...]
    """(flips, most edges) after each batch of games."""


def search_with(
    network: model.Network,
    cfg: AlphaZeroConfig,
    budget: Budget,
    *,
    nodes: int,
    solutions: Solutions | None = None,
    seed: int = 0,
    torch_device: str = "cpu",
    threads: int = 0,
) -> Outcome:
    """Search one size with a network as it is; nothing is learned.

    Args:
        network: trained or not.
        cfg: rules of the games and the search.
        budget: when to stop; batches of games are played to their end.
        nodes: the size.
        solutions: where games begin (curriculum); None: from no edges.
        seed: of starts and noise.
        torch_device: where the network is.
        threads: of the network on a CPU; 0: as many as torch has.
    """
    judge = Judge(network, crew=Crew(torch_device=torch_device, threads=threads))
    mover = searching(judge, cfg.search, seed=seed)
    return _repeat(mover, cfg, budget, nodes=nodes, solutions=solutions, seed=seed)


def random_flips(
    cfg: AlphaZeroConfig,
    budget: Budget,
    *,
    nodes: int,
    solutions: Solutions | None = None,
    seed: int = 0,
) -> Outcome:
    """Flip pairs at random in games of the same starts and lengths: the control."""
    return _repeat(flipping(seed=seed), cfg, budget, nodes=nodes, solutions=solutions, seed=seed)


def _repeat(
    mover: Mover,
    cfg: AlphaZeroConfig,
    budget: Budget,
    *,
    nodes: int,
    solutions: Solutions | None,
    seed: int,
) -> Outcome:
    """Play batch after batch of games and keep the best graph."""
    began = time.monotonic()
    found = Solutions(Problem(nodes=nodes, forbid=cfg.forbid), keep=1)
    found.put(empty(nodes))
    upper, flips = upper_bound(found.problem).value, 0
    curve: list[tuple[int, int]] = []
    reached: list[int] = []
    while (
        found.edges(nodes) < upper
        and flips < budget.flips
        and time.monotonic() - began < budget.seconds
    ):
        generator = rng.stream(seed, "alphazero", "starts", len(curve))
        starts = draw_starts(solutions, nodes=nodes, games=cfg.games, generator=generator)
        games = new_games(cfg, starts)
        play(games, mover, name=f"search {len(curve)}", remember=False)
        flips += int(games.state.flips.sum())
        reached += games.bests.tolist()
        for graph in promising(games, found):
            found.put(graph)
        curve.append((flips, found.edges(nodes)))
    seconds = time.monotonic() - began
    return Outcome(
        graph=found.best(nodes)[0],
        mean_best=float(np.mean(reached)),
        flips=flips,
        seconds=seconds,
        curve=tuple(curve),
    )
