"""Local searches on a board: the paper's tabu search and its plain rivals.

    tabu     the paper's: flip a pair of largest gain that is not among the last h flipped
             (h = 5), whatever short cycles arise; the best state seen is repaired in the end.
    ils      stays legal: kick (remove a few edges, strip a node, or force a pair in), fill, then
 X
    anneal   Metropolis on s with a falling temperature, restarted when it is cold.
    greedy   adds free pairs until none is left, mostly those of largest degree sum, and begins
             again.

All are `run(chain, flips)`: they go on from where the chain is, and what they do depends only on
the chain, not on how its flips are shared out over calls. Everything is arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.kernels import (
    BARRED,
    CAP,
    CLOSING,
    CODEGREE,
    CROWDED,
    EDGE,
    EDGES,
    FLIPS,
    FREE,
    KEPT,
    LENGTHS,
    NODES,
    NONE,
    ONE,
    SCORE,
    TWO,
    Board,
    add,
    bare,
    below,
    chance,
    find_obstacle,
    flip,
    graph_of_table,
    new_board,
    pair_of,
    remove,
    repair,
    within,
)
from tenfold.rooms.extremal.problem import Opened

Method = Literal["ils", "tabu", "anneal", "greedy"]
METHODS: tuple[Method, ...] = get_args(Method)

LOG = 8_192
"""Flips that one kick and its walk may log; a walk that is longer is undone."""
PHASE = 17
"""2 to this many flips ILS goes on strictly, from states no worse; in the next as many it may be one
edge below its best, which helps from rough starts (n = 100 from nothing: 420 against 416 edges
after 4 million flips) and hurts near good ones (668 against 670), so it does both in turn."""
TRIES = 16
"""Draws from a list before it counts as having nothing that may be flipped."""

BEST, TARGET, STEP, LOGGED, TENURE, WALK, IDLE, PATIENCE, LEAST, NOW = range(10)
"""Places in `Chain.facts`: best score, score at which it stops, steps so far, length of the log,
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
    """Return the best graph of a chain, repaired: it has `best_score` edges or more."""
    found = graph_of_table(chain.board, chain.best)
    if not len(np.flatnonzero(chain.best[chain.best >= EDGE] & (EDGE - 1))):
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


# What all of them do


@within
def _lacking(chain: Any) -> int:
    """Return by how much degrees fall short of the least degree, summed over nodes."""
    total = 0
    if chain.facts[LEAST]:
        for node in range(len(chain.board.degree)):
            total += max(0, chain.facts[LEAST] - chain.board.degree[node])
    return total


@within
def value_of(chain: Any) -> int:
    """Return the score less twice what degrees lack."""
    return chain.board.facts[SCORE] - 2 * _lacking(chain)


@bare
def note_best(chain: Any) -> bool:
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


@within
def _fits(board: Any, pair: int) -> bool:
    """Say whether the degrees allow this absent pair."""
    cap = board.facts[CAP]
    return board.degree[board.low[pair]] < cap and board.degree[board.high[pair]] < cap


@within
def _any_free(board: Any) -> int:
    """Draw an absent pair that closes nothing, NONE if there is none."""
    size = board.sizes[FREE]
    for _ in range(min(size, TRIES)):
        pair = np.int64(board.lists[FREE, below(board.random, size)])
        if _fits(board, pair):
            return pair
    return NONE


# Iterated local search


@within
def _do(chain: Any, pair: int) -> None:
    """Flip and log."""
    flip(chain.board, pair)
    place = chain.facts[LOGGED]
    if place < LOG:
        chain.log[place] = pair
    chain.facts[LOGGED] = place + 1


@bare
def _undo(chain: Any) -> None:
    for i in range(chain.facts[LOGGED] - 1, -1, -1):
        flip(chain.board, np.int64(chain.log[i]))
    chain.facts[LOGGED] = 0


@bare
def _fill(chain: Any) -> None:
    """Add free pairs in random order until none fits."""
    pair = _any_free(chain.board)
    while pair >= 0:
        _do(chain, pair)
        pair = _any_free(chain.board)


@bare
def _obstacle(board: Any, pair: int) -> int:
    """Return an edge that may go of a short cycle that `pair` closes, NONE if none may.

    As `find_obstacle`, which is slower but knows all forbidden subgraphs.
    """
    if board.facts[LENGTHS] != 12 or board.facts[CODEGREE]:
        return find_obstacle(board, pair)
    u, v = np.int64(board.low[pair]), np.int64(board.high[pair])
    row, table, near = board.row, board.table, board.near
    count = 0
    for i in range(board.degree[u]):
        a = np.int64(near[u, i])
        last = row[a] + v if a < v else row[v] + a
        if table[last] & EDGE:
            board.buffer[0] = row[u] + a if u < a else row[a] + u
            board.buffer[1] = last
            count = 2
            break
        for j in range(board.degree[v]):
            b = np.int64(near[v, j])
            middle = row[a] + b if a < b else row[b] + a
            if a != b and table[middle] & EDGE:
                board.buffer[0] = row[u] + a if u < a else row[a] + u
                board.buffer[1] = middle
                board.buffer[2] = row[v] + b if v < b else row[b] + v
                count = 3
                break
        if count:
            break
    usable = 0
    for i in range(count):
        if table[board.buffer[i]] < BARRED:
            board.buffer[usable] = board.buffer[i]
            usable += 1
    return np.int64(board.buffer[below(board.random, usable)]) if usable else NONE


@bare
def _swap(chain: Any) -> bool:
    """Put in a pair that one short cycle bars, take out an edge of that; say whether it was."""
    board = chain.board
    size = board.sizes[ONE]
    for _ in range(min(size, TRIES)):
        pair = np.int64(board.lists[ONE, below(board.random, size)])
        if chain.until[pair] > chain.facts[STEP]:
            continue
        edge = _obstacle(board, pair)
        if edge < 0 or chain.until[edge] > chain.facts[STEP]:
            continue
        _do(chain, edge)
        if not _fits(board, pair):
            _do(chain, edge)
            continue
        _do(chain, pair)
        chain.until[edge] = chain.facts[STEP] + chain.facts[TENURE] + below(board.random, 4)
        return True
    return False


@bare
def _turn(chain: Any) -> bool:
    """Put in a free pair that a degree limit bars, take out an edge at each full end."""
    board = chain.board
    size = board.sizes[FREE]
    if not size:
        return False
    pair = np.int64(board.lists[FREE, below(board.random, size)])
    for side in range(2):
        end = np.int64(board.low[pair] if side else board.high[pair])
        if board.degree[end] >= board.facts[CAP]:
            other = np.int64(board.near[end, below(board.random, board.degree[end])])
            edge = pair_of(board, end, other)
            if board.table[edge] >= BARRED:
                return False
            _do(chain, edge)
    if board.table[pair] == 0 and _fits(board, pair):
        _do(chain, pair)
    return True


@bare
def _strip(chain: Any, node: int) -> None:
    """Remove all edges of a node that may go."""
    board = chain.board
    place = board.degree[node] - 1
    while place >= 0:
        edge = pair_of(board, node, np.int64(board.near[node, place]))
        if board.table[edge] < BARRED:
            _do(chain, edge)
        place = min(place, board.degree[node]) - 1


@bare
def _strip_around(chain: Any, node: int, edges: int) -> None:
    """Remove edges that may go along a random walk from a node."""
    board = chain.board
    for _ in range(4 * edges):
        if not board.degree[node] or not edges:
            return
        other = np.int64(board.near[node, below(board.random, board.degree[node])])
        edge = pair_of(board, node, other)
        if board.table[edge] < BARRED:
            _do(chain, edge)
            edges -= 1
        node = other


@bare
def _force(chain: Any) -> None:
    """Put in a random absent pair, and take out an edge of each short cycle that it closes."""
    board = chain.board
    for _ in range(TRIES):
        pair = below(board.random, len(board.table))
        if board.table[pair] >= EDGE:
            continue
        while board.table[pair] > 0:
            edge = _obstacle(board, pair)
            if edge < 0:
                return
            _do(chain, edge)
        if _fits(board, pair):
            _do(chain, pair)
        chain.until[pair] = 0
        return


@bare
def _kick(chain: Any) -> None:
    board = chain.board
    kind = below(board.random, 16)
    if kind == 0:
        _strip_around(chain, below(board.random, board.facts[NODES]), 2 + below(board.random, 10))
    elif kind == 1:
        _strip(chain, below(board.random, board.facts[NODES]))
    elif kind <= 7:
        for _ in range(1 + below(board.random, 2)):
            _force(chain)
    else:
        for _ in range(1 + below(board.random, 4)):
            if board.sizes[KEPT]:
                edge = np.int64(board.lists[KEPT, below(board.random, board.sizes[KEPT])])
                _do(chain, edge)
                chain.until[edge] = chain.facts[STEP] + chain.facts[TENURE]


@bare
def _run_ils(chain: Any, flips: int) -> None:
    board, facts = chain.board, chain.facts
    stop = board.facts[FLIPS] + flips
    while board.facts[FLIPS] < stop and facts[BEST] < facts[TARGET]:
        if facts[PATIENCE] and board.facts[FLIPS] - facts[IDLE] > facts[PATIENCE]:
            clear(board)
            grow(board)
            facts[NOW] = -len(board.table)
            note_best(chain)
        before = value_of(chain)
        least = min(before, facts[NOW] - ((board.facts[FLIPS] >> PHASE) & 1))
        _kick(chain)
        _fill(chain)
        length = 8 + below(board.random, facts[WALK])
        for _ in range(length):
            facts[STEP] += 1
            if value_of(chain) > before or facts[LOGGED] > LOG - 256:
                break
            if not _swap(chain) and not _turn(chain):
                break
            _fill(chain)
        if facts[LOGGED] > LOG or value_of(chain) < least:
            _undo(chain)
        else:
            facts[LOGGED] = 0
            note_best(chain)


# The paper's tabu search


@bare
def _draw_of_gain(chain: Any, first: int, second: int) -> int:
    """Draw one of the pairs of two lists that is not tabu; NONE if none was met."""
    board = chain.board
    ones, both = board.sizes[first], board.sizes[first] + board.sizes[second]
    for _ in range(min(both, TRIES)):
        place = below(board.random, both)
        if place < ones:
            pair = np.int64(board.lists[first, place])
        else:
            pair = np.int64(board.lists[second, place - ones])
        if chain.until[pair] > chain.facts[STEP]:
            continue
        if board.table[pair] & EDGE or _fits(board, pair):
            return pair
    return NONE


@bare
def _most_crowded(chain: Any) -> int:
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
def _best_move(chain: Any) -> int:
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
def _return_to_best(chain: Any) -> None:
    """Flip every pair in which the board differs from the best state."""
    board = chain.board
    for pair in range(len(board.table)):
        if (board.table[pair] ^ chain.best[pair]) & EDGE:
            flip(board, pair)


@bare
def _run_tabu(chain: Any, flips: int) -> None:
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
        if board.facts[SCORE] > facts[BEST]:
            note_best(chain)
        elif facts[PATIENCE] and board.facts[FLIPS] - facts[IDLE] > facts[PATIENCE]:
            _return_to_best(chain)
            facts[IDLE] = board.facts[FLIPS]


# Annealing


@bare
def _run_anneal(chain: Any, flips: int) -> None:
    """Metropolis with all pairs as proposals; a proposal that is refused counts a tenth."""
    board, facts, heat = chain.board, chain.facts, chain.heat
    stop = board.facts[FLIPS] + flips
    proposals = 0
    while board.facts[FLIPS] + proposals // 10 < stop and facts[BEST] < facts[TARGET]:
        pair = below(board.random, len(board.table))
        heat[0] *= heat[3]
        if heat[0] < heat[2]:
            heat[0] = heat[1]
        value = np.int64(board.table[pair])
        if value >= BARRED:
            proposals += 1
            continue
        cost = (value & (EDGE - 1)) - 1
        gain = cost if value & EDGE else -cost
        if gain < 0 and chance(board.random) >= np.exp(gain / heat[0]):
            proposals += 1
            continue
        if not value & EDGE and not _fits(board, pair):
            proposals += 1
            continue
        flip(board, pair)
        if board.facts[SCORE] > facts[BEST]:
            note_best(chain)
    board.facts[FLIPS] += proposals // 10


# Greedy restarts


@bare
def _heaviest_free(board: Any) -> int:
    """Return the free pair of largest degree sum among some that are drawn."""
    best, chosen = np.int64(-1), np.int64(NONE)
    size = board.sizes[FREE]
    for _ in range(min(size, TRIES)):
        pair = np.int64(board.lists[FREE, below(board.random, size)])
        weight = board.degree[board.low[pair]] + board.degree[board.high[pair]]
        if _fits(board, pair) and weight > best:
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
    """Add free pairs until none is left, three in four times of largest degree sum."""
    while True:
        heavy = below(board.random, 4)
        pair = _heaviest_free(board) if heavy else _any_free(board)
        if pair < 0:
            return
        add(board, pair)


@bare
def _run_greedy(chain: Any, flips: int) -> None:
    board, facts = chain.board, chain.facts
    stop = board.facts[FLIPS] + flips
    while board.facts[FLIPS] < stop and facts[BEST] < facts[TARGET]:
        before = board.facts[FLIPS]
        grow(board)
        note_best(chain)
        if board.facts[FLIPS] < stop and facts[BEST] < facts[TARGET]:
            clear(board)
        board.facts[FLIPS] = max(board.facts[FLIPS], before + 1)


RUNS: dict[Method, Callable[[Chain, int], None]] = {
    "ils": _run_ils,
    "tabu": _run_tabu,
    "anneal": _run_anneal,
    "greedy": _run_greedy,
}
