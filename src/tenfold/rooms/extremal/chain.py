"""What a local search keeps beside its board, and what all of them do with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import Whole
from tenfold.rooms.extremal.kernels import (
    CAP,
    CLOSING,
    CROWDED,
    EDGE,
    FLIPS,
    FREE,
    KEPT,
    NONE,
    SCORE,
    Board,
    add,
    bare,
    below,
    flip,
    remove,
    within,
)

TRIES = 16
"""Draws from a list before it counts as having nothing that may be flipped."""

BEST, TARGET, STEP, LOGGED, TENURE, WALK, IDLE, PATIENCE, LEAST, NOW = range(10)
"""Places in `Chain.facts`: best score, score at which it stops, steps so far (of annealing: refused
proposals), length of the log,
tabu tenure, longest walk, flips at the last gain, flips without gain before a restart (0: never),
least degree, best score since the last restart."""


class Chain(NamedTuple):
    """A board and what a local search remembers."""

    board: Board
    until: NDArray[np.int64]
    """[pairs]: step until which a pair is tabu."""
    log: NDArray[np.int32]
    best: NDArray[np.int32]
    """[pairs]: the table when the score was best."""
    facts: NDArray[np.int64]
    heat: NDArray[np.float64]
    """Temperature now, first, last, and its factor a flip; for annealing."""


@within
def _lacking(chain: Any) -> Whole:
    """Return by how much degrees fall short of the least degree, summed over nodes."""
    total = 0
    if chain.facts[LEAST]:
        for node in range(len(chain.board.degree)):
            total += max(0, chain.facts[LEAST] - chain.board.degree[node])
    return total


@within
def value_of(chain: Any) -> Whole:
    """Return the score, less the number of pairs for each degree that is lacking.

    So a graph that has the least degree everywhere is above every one that has not.
    """
    return chain.board.facts[SCORE] - len(chain.best) * _lacking(chain)


@bare
def note_best(chain: Any) -> Any:
    """Keep the state if it is the best; say whether it is."""
    value = value_of(chain)
    if value > chain.facts[NOW]:
        chain.facts[NOW] = value
        chain.facts[IDLE] = chain.board.facts[FLIPS]
    if value <= chain.facts[BEST]:
        return False
    chain.facts[BEST] = value
    for pair in range(len(chain.best)):
        chain.best[pair] = chain.board.table[pair]
    return True


@bare
def return_to_best(chain: Any) -> None:
    """Flip every pair in which the board differs from the best state."""
    board = chain.board
    for pair in range(len(board.table)):
        if (board.table[pair] ^ chain.best[pair]) & EDGE:
            flip(board, pair)


@within
def fits(board: Any, pair: Whole) -> Any:
    """Say whether the degrees allow this absent pair."""
    cap = board.facts[CAP]
    return board.degree[board.low[pair]] < cap and board.degree[board.high[pair]] < cap


@within
def any_free(board: Any) -> Whole:
    """Draw an absent pair that closes nothing and fits, NONE if some draws meet none."""
    size = board.sizes[FREE]
    for _ in range(min(size, TRIES)):
        pair = np.int64(board.lists[FREE, below(board.random, size)])
        if fits(board, pair):
            return pair
    return NONE


# Filling a board


@bare
def _heaviest_free(board: Any) -> Whole:
    """Return the free pair of largest degree sum among some that are drawn."""
    best, chosen = np.int64(-1), np.int64(NONE)
    size = board.sizes[FREE]
    for _ in range(min(size, TRIES)):
        pair = np.int64(board.lists[FREE, below(board.random, size)])
        weight = board.degree[board.low[pair]] + board.degree[board.high[pair]]
        if fits(board, pair) and weight > best:
            best, chosen = weight, pair
    return chosen


@bare
def clear(board: Any) -> None:
    """Remove all edges that may go."""
    for number in (KEPT, CLOSING, CROWDED):
        while board.sizes[number]:
            remove(board, np.int64(board.lists[number, board.sizes[number] - 1]))


@bare
def grow(board: Any) -> None:
    """Add free pairs until none is found that fits, three in four of large degree sum."""
    while True:
        heavy = below(board.random, 4)
        pair = _heaviest_free(board) if heavy else any_free(board)
        if pair < 0:
            return
        add(board, pair)
