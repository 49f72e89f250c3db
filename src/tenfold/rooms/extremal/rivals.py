"""Plain rivals of tabu search: annealing over all flips, and greedy filling again and again."""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import Whole
from tenfold.rooms.extremal.chain import BEST, STEP, TARGET, clear, fits, grow, note_best
from tenfold.rooms.extremal.kernels import (
    BARRED,
    EDGE,
    FLIPS,
    SCORE,
    bare,
    below,
    chance,
    flip,
)


@bare
def _is_taken(chain: Any, pair: Whole) -> Any:
    """Say whether a proposal is taken at the present temperature (Metropolis et al. 1953)."""
    board = chain.board
    value = np.int64(board.table[pair])
    if value >= BARRED:
        return False
    cost = (value & (EDGE - 1)) - 1
    gain = cost if value & EDGE else -cost
    if gain < 0 and chance(board.random) >= np.exp(gain / chain.heat[0]):
        return False
    return value & EDGE or fits(board, pair)


@bare
def run_anneal(chain: Any, flips: Whole) -> None:
    """Propose random pairs while it cools, then heat up again; ten refusals count as a flip."""
    board, facts, heat = chain.board, chain.facts, chain.heat
    stop = board.facts[FLIPS] + flips
    while board.facts[FLIPS] < stop and facts[BEST] < facts[TARGET]:
        pair = below(board.random, len(board.table))
        heat[0] *= heat[3]
        if heat[0] < heat[2]:
            heat[0] = heat[1]
        if _is_taken(chain, pair):
            flip(board, pair)
            if board.facts[SCORE] > facts[BEST]:
                note_best(chain)
            continue
        facts[STEP] += 1
        if facts[STEP] % 10 == 0:
            board.facts[FLIPS] += 1


@bare
def run_greedy(chain: Any, flips: Whole) -> None:
    """Empty the board, fill it, keep it if it is the best, and so on."""
    board, facts = chain.board, chain.facts
    stop = board.facts[FLIPS] + flips
    while board.facts[FLIPS] < stop and facts[BEST] < facts[TARGET]:
        before = board.facts[FLIPS]
        clear(board)
        grow(board)
        note_best(chain)
        board.facts[FLIPS] = max(board.facts[FLIPS], before + 1)
