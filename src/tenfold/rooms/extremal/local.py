"""Local searches on a board: the paper's tabu search and its plain rivals.

    tabu     the paper's: flip a pair of largest gain that is not among the last h flipped
             (h = 5), whatever short cycles arise; the best state seen is repaired in the end.
    ils      stays legal: kick (remove a few edges, strip a node, or force a pair in), fill, walk
             along swaps that keep the number of edges; undone if that leaves too few edges.
    anneal   Metropolis on s with a falling temperature, restarted when it is cold.
    greedy   adds free pairs until none is left, mostly those of largest degree sum, and begins
             again.

All are `run(chain, flips)`: they go on from where the chain is, and what they do depends only on
the chain, not on how its flips are shared out over calls. Everything is arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from tenfold.engine import rng
from tenfold.rooms.extremal.chain import (
    BEST,
    LEAST,
    NOW,
    PATIENCE,
    TARGET,
    TENURE,
    WALK,
    Chain,
    note_best,
)
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.ils import LOG, run_ils
from tenfold.rooms.extremal.kernels import EDGE, FLIPS, graph_of_table, new_board, repair
from tenfold.rooms.extremal.problem import Opened
from tenfold.rooms.extremal.rivals import run_anneal, run_greedy
from tenfold.rooms.extremal.tabu import run_tabu

__all__ = [
    "BEST", "METHODS", "PATIENCE", "TARGET", "Chain", "Method", "best_graph", "flips_of",
    "new_chain", "run",
]  # fmt: skip

Method = Literal["ils", "tabu", "anneal", "greedy"]
METHODS: tuple[Method, ...] = get_args(Method)


def new_chain(
    opened: Opened,
    start: Graph,
    *,
    seed: int,
    number: int = 0,
    method: Method = "ils",
    tenure: int = 0,
    walk: int = 0,
    patience: int = 0,
    target: int = 0,
) -> Chain:
    """Lay out a chain; a start that breaks the rule is repaired, except for tabu and annealing.

    Args:
        opened: the problem.
        start: a graph on its nodes.
        seed: with `number`, names the stream of random numbers.
        number: of the chain.
        method: what will run on it.
        tenure: steps that a flipped pair stays tabu; 0 is the method's own.
        walk: longest walk of ILS; 0 is its own.
        patience: flips without gain before ILS begins anew from what is frozen, and tabu goes
            back to its best; 0 never.
        target: score at which it stops; 0 never.
    """
    key = rng.key(seed, "extremal", method, number) % 2**64
    board = new_board(opened, start, key=key, listed=1 if method == "ils" else 2)
    if method in ("ils", "greedy"):
        repair(board)
    pairs = len(board.table)
    facts = np.zeros(10, dtype=np.int64)
    facts[BEST] = facts[NOW] = -pairs
    facts[TARGET] = target or pairs + 1
    facts[TENURE] = tenure or _TENURES[method]
    facts[WALK], facts[PATIENCE] = walk or _WALK, patience
    facts[LEAST] = opened.problem.min_degree
    chain = Chain(
        board=board,
        until=np.zeros(pairs, dtype=np.int64),
        log=np.zeros(LOG, dtype=np.int32),
        best=board.table.copy(),
        facts=facts,
        heat=np.array([_HOT, _HOT, _COLD, (_COLD / _HOT) ** (1 / _COOLING)]),
    )
    note_best(chain)
    return chain


_TENURES = {"ils": 8, "tabu": 5, "anneal": 0, "greedy": 0}
_WALK = 200
_HOT, _COLD = 0.6, 0.12
_COOLING = 2_000_000
"""Proposals from hot to cold."""


def best_graph(chain: Chain, opened: Opened) -> Graph:
    """Return the best graph of a chain, repaired: as many edges as its best score, or more."""
    found = graph_of_table(chain.board, chain.best)
    edges = chain.best[chain.best & EDGE != 0]
    if not (edges & (EDGE - 1)).any():
        return found
    board = new_board(opened, found, key=0, listed=1)
    repair(board)
    return graph_of_table(board, board.table)


def flips_of(chain: Chain) -> int:
    """Return how many flips were made on a chain's board since it was laid out."""
    return int(chain.board.facts[FLIPS])


def run(method: Method, chain: Chain, flips: int) -> None:
    """Let a chain make some more flips, until its target is reached."""
    RUNS[method](chain, flips)


RUNS: dict[Method, Callable[[Chain, int], None]] = {
    "ils": run_ils,
    "tabu": run_tabu,
    "anneal": run_anneal,
    "greedy": run_greedy,
}
