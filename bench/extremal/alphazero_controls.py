"""AlphaZero's network against the same search untrained and against random flips, equal flips.

    python bench/extremal/alphazero_controls.py [NODES] [SEEDS] [MINUTES]

For each seed a network learns on the sizes up to NODES, with the curriculum and without, until
the largest size meets its upper bound or MINUTES of one core are over; the curve of the largest
size is printed. Then three searches on NODES begin from no edges, with as many flips each: with
the network that the curriculum trained, with one that learned nothing, and none at all.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np

from tenfold.rooms.extremal import alphazero, trials
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig, Budget, laptop
from tenfold.rooms.extremal.bounds import known

BATCHES = 6
"""Of games in each search."""


def learn(cfg: AlphaZeroConfig, *, seconds: float) -> alphazero.AlphaZero:
    """Train, and print when the best graph of the largest size became better."""
    nodes = cfg.sizes[-1]
    learner, curve = alphazero.train(cfg, Budget(seconds=seconds), threads=1)
    best, told = -1, []
    for point in curve:
        if point.nodes == nodes and point.edges > best:
            best = point.edges
            told.append(f"{best} at {point.flips / 1e3:.0f}k flips, {point.cpu_seconds:.0f} s")
    name = "with curriculum" if cfg.curriculum else "without"
    print(f"  {name}: {'; '.join(told) or 'the size was not reached'}", flush=True)
    return learner


def main(nodes: int = 16, seeds: int = 3, minutes: float = 4.0) -> None:
    """Print curves and controls for each seed."""
    print(f"{nodes} nodes, exact value {known('C3,C4')[nodes].lower}")
    for seed in range(seeds):
        print(f"seed {seed}", flush=True)
        cfg = dataclasses.replace(laptop(nodes), seed=seed)
        learner = learn(cfg, seconds=60 * minutes)
        alone = dataclasses.replace(cfg, curriculum=False, sizes=(nodes,))
        learn(alone, seconds=60 * minutes)
        fresh = alphazero.AlphaZero(dataclasses.replace(cfg, seed=1_000 + seed), threads=1)
        budget = Budget(flips=BATCHES * 3_000)
        for name, network in (("trained", learner.network), ("untrained", fresh.network)):
            found = trials.search_with(network, cfg, budget, nodes=nodes, seed=seed, threads=1)
            _tell(name, found)
            budget = Budget(flips=found.flips) if name == "trained" else budget
        _tell("random flips", trials.random_flips(cfg, budget, nodes=nodes, seed=seed))


def _tell(name: str, found: trials.Outcome) -> None:
    print(
        f"  {name}: {found.graph.size} edges, mean of games {found.mean_best:.1f}, "
        f"{found.flips:,} flips",
        flush=True,
    )


if __name__ == "__main__":
    words = [float(word) for word in sys.argv[1:]]
    main(*(int(np.rint(word)) if place < 2 else word for place, word in enumerate(words)))
