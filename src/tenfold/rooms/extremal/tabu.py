"""The paper's tabu search: the pair of largest gain that was not flipped lately is flipped.

Graphs on the way may break the rule; the score s = e - t - q counts that against them, and the
best state is repaired in the end (Mehrabian et al., arXiv:2311.03583; h = 5, actions are tabu).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import Whole
from tenfold.rooms.extremal.chain import (
    BEST,
    IDLE,
    PATIENCE,
    STEP,
    TARGET,
    TENURE,
    TRIES,
    fits,
    note_best,
    return_to_best,
)
from tenfold.rooms.extremal.kernels import (
    CLOSING,
    CROWDED,
    EDGE,
    FLIPS,
    FREE,
    KEPT,
    NONE,
    ONE,
    SCORE,
    TWO,
    bare,
    below,
    flip,
)


@bare
def _may_flip(chain: Any, pair: Whole) -> Any:
    """Say whether a pair is neither tabu nor barred by degrees."""
    if chain.until[pair] > chain.facts[STEP]:
        return False
    return chain.board.table[pair] & EDGE or fits(chain.board, pair)


@bare
def _draw_of_gain(chain: Any, first: Whole, second: Whole) -> Whole:
    """Draw one of the pairs of two lists that may be flipped; NONE if none may."""
    board = chain.board
    ones, both = board.sizes[first], board.sizes[first] + board.sizes[second]
    for _ in range(min(both, TRIES)):
        pair = _at_place(board, first, second, ones, below(board.random, both))
        if _may_flip(chain, pair):
            return pair
    # Nearly all are tabu, or none may be flipped: look at each.
    chosen, seen = np.int64(NONE), 0
    for place in range(both):
        pair = _at_place(board, first, second, ones, place)
        if _may_flip(chain, pair):
            seen += 1
            if below(board.random, seen) == 0:
                chosen = pair
    return chosen


@bare
def _at_place(board: Any, first: Whole, second: Whole, ones: Whole, place: Whole) -> Whole:
    """Return a pair of two lists laid end to end."""
    if place < ones:
        return np.int64(board.lists[first, place])
    return np.int64(board.lists[second, place - ones])


@bare
def _most_crowded(chain: Any) -> Whole:
    """Return an edge in most forbidden subgraphs, two at least, that is not tabu."""
    board = chain.board
    best, chosen, ties = np.int64(-1), np.int64(NONE), 0
    for i in range(board.sizes[CROWDED]):
        pair = np.int64(board.lists[CROWDED, i])
        if chain.until[pair] > chain.facts[STEP]:
            continue
        value = np.int64(board.table[pair])
        if value > best:
            best, chosen, ties = value, pair, 1
        elif value == best:
            ties += 1
            if below(board.random, ties) == 0:
                chosen = pair
    return chosen


@bare
def _best_move(chain: Any) -> Whole:
    """Return a pair of largest gain among those not tabu, ties at random."""
    board = chain.board
    crowded = _most_crowded(chain) if board.sizes[CROWDED] else NONE
    if crowded >= 0:
        gain = (np.int64(board.table[crowded]) & (EDGE - 1)) - 1
        free = board.sizes[FREE]
        # A crowded edge of gain 1 ties with the free pairs.
        if gain > 1 or below(board.random, free + 1) == 0:
            return crowded
    pair = _draw_of_gain(chain, FREE, FREE)
    if pair >= 0:
        return pair
    if crowded >= 0:
        return crowded
    pair = _draw_of_gain(chain, ONE, CLOSING)
    if pair >= 0:
        return pair
    return _draw_of_gain(chain, TWO, KEPT)


@bare
def run_tabu(chain: Any, flips: Whole) -> None:
    """Flip the best pair that is not tabu, step by step; a start may break the rule."""
    board, facts = chain.board, chain.facts
    stop = board.facts[FLIPS] + flips
    while board.facts[FLIPS] < stop and facts[BEST] < facts[TARGET]:
        facts[STEP] += 1
        pair = _best_move(chain)
        if pair < 0:
            board.facts[FLIPS] += 1  # nothing may be flipped in this step
            continue
        flip(board, pair)
        chain.until[pair] = facts[STEP] + facts[TENURE] + 1
        if board.facts[SCORE] > facts[BEST] and note_best(chain):
            continue
        if facts[PATIENCE] and board.facts[FLIPS] - facts[IDLE] > facts[PATIENCE]:
            return_to_best(chain)
            facts[IDLE] = board.facts[FLIPS]
