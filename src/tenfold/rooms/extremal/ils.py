"""Iterated local search that stays legal: kick, fill, walk, and back if that left too few edges.

A kick removes a few edges, strips a node, or forces a pair in. A walk puts in a pair that exactly
one forbidden subgraph bars and takes out another of its edges, so that the number of edges stays
until a pair becomes free. Everything is undone by a log of flips unless it was good enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import Whole
from tenfold.rooms.extremal.chain import (
    BEST,
    IDLE,
    LOGGED,
    NOW,
    PATIENCE,
    STEP,
    TARGET,
    TENURE,
    TRIES,
    WALK,
    any_free,
    clear,
    fits,
    grow,
    note_best,
    return_to_best,
    value_of,
)
from tenfold.rooms.extremal.kernels import (
    BARRED,
    CAP,
    CODEGREE,
    EDGE,
    FLIPS,
    FREE,
    KEPT,
    LENGTHS,
    NODES,
    ONE,
    add,
    bare,
    below,
    draw_removable,
    find_obstacle,
    flip,
    pair_of,
)

LOG = 8_192
"""Flips that one kick and its walk may log; after more the best state is come back to."""
PHASE = 17
"""For 2 to this many flips only states no worse are kept; for the next as many they may be an edge
below the best, which helps from rough starts (n = 100 from nothing: 420 edges against 416 after
4 million flips) and hurts near good ones (668 against 670): so both, in turn."""


@bare
def _do(chain: Any, pair: Whole) -> None:
    """Flip and log; a call, because the code of a flip in twelve places took 80 s to compile."""
    flip(chain.board, pair)
    place = chain.facts[LOGGED]
    if place < LOG:
        chain.log[place] = pair
    chain.facts[LOGGED] = place + 1


@bare
def _undo(chain: Any) -> None:
    """Flip back what was logged; if the log was too short, go to the best state instead."""
    if chain.facts[LOGGED] > LOG:
        return_to_best(chain)
        chain.facts[NOW] = max(chain.facts[NOW], chain.facts[BEST])
        chain.facts[LOGGED] = 0
        return
    for i in range(chain.facts[LOGGED] - 1, -1, -1):
        flip(chain.board, np.int64(chain.log[i]))
    chain.facts[LOGGED] = 0


@bare
def _fill(chain: Any) -> None:
    """Add free pairs in random order until none is found that fits."""
    pair = any_free(chain.board)
    while pair >= 0:
        _do(chain, pair)
        pair = any_free(chain.board)


@bare
def _obstacle(board: Any, pair: Whole) -> Whole:
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
    return draw_removable(board, count)


@bare
def _swap(chain: Any) -> Any:
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
        if not fits(board, pair):
            _do(chain, edge)
            continue
        _do(chain, pair)
        chain.until[edge] = chain.facts[STEP] + chain.facts[TENURE] + below(board.random, 4)
        return True
    return False


@bare
def _turn(chain: Any) -> Any:
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
    if board.table[pair] == 0 and fits(board, pair):
        _do(chain, pair)
    return True


@bare
def _strip(chain: Any, node: Whole) -> None:
    """Remove all edges of a node that may go."""
    board = chain.board
    place = board.degree[node] - 1
    while place >= 0:
        edge = pair_of(board, node, np.int64(board.near[node, place]))
        if board.table[edge] < BARRED:
            _do(chain, edge)
        place = min(place, board.degree[node]) - 1


@bare
def _strip_around(chain: Any, node: Whole, edges: Whole) -> None:
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
        if fits(board, pair):
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
def _settle(chain: Any) -> None:
    """Fill a board that has room, as at the start; nobody will want to undo that."""
    pair = any_free(chain.board)
    if pair < 0:
        return
    while pair >= 0:
        add(chain.board, pair)
        pair = any_free(chain.board)
    note_best(chain)


@bare
def run_ils(chain: Any, flips: Whole) -> None:
    """Kick, fill, walk, and keep or undo; begin anew after too many flips without gain."""
    board, facts = chain.board, chain.facts
    stop = board.facts[FLIPS] + flips
    while board.facts[FLIPS] < stop and facts[BEST] < facts[TARGET]:
        if facts[PATIENCE] and board.facts[FLIPS] - facts[IDLE] > facts[PATIENCE]:
            clear(board)
            grow(board)
            facts[NOW] = -len(board.table)
            note_best(chain)
        flips_before = board.facts[FLIPS]
        _settle(chain)
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
        # Where nothing may be flipped a budget ends all the same.
        board.facts[FLIPS] = max(board.facts[FLIPS], flips_before + 1)
