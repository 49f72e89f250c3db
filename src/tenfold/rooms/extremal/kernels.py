"""The engine of moves: one edge is added or removed, and every pair knows what a flip would cost.

For a pair (u, v) the table holds C(u, v): how many forbidden subgraphs contain the edge uv, or
would if it were added; for cycles, the simple paths between u and v with one edge less than a
forbidden length. So the change of s = edges - forbidden subgraphs by a flip is read off,

    adding uv: 1 - C(u, v)        removing uv: C(u, v) - 1,

also in graphs that break the rule. A flip changes C only at the ends of the paths through uv
(`paths`) and around nodes with common neighbours (`codegrees`). Everything is arrays (`board`), so
that loops over chains run without Python's lock. The plain twin of all this is in
`tests/rooms/extremal/plain.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import Whole, bare, within
from tenfold.rooms.extremal.board import (
    BARRED,
    BLOCK,
    CAP,
    CLOSING,
    CODEGREE,
    CROWDED,
    EDGE,
    EDGES,
    FLIPS,
    FREE,
    KEPT,
    LARGEST_COUNT,
    LENGTHS,
    LISTED,
    NODES,
    NONE,
    ONE,
    SCORE,
    TWO,
    Board,
    graph_of,
    graph_of_table,
    list_of,
    move,
    pair_of,
    put,
)
from tenfold.rooms.extremal.codegrees import change_codegrees, star_edges
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.paths import change_paths, path_edges
from tenfold.rooms.extremal.problem import LONGEST, Forbidden, Opened
from tenfold.rooms.extremal.splitmix import below, chance, draw

__all__ = [
    "BARRED",
    "CAP",
    "CLOSING",
    "CODEGREE",
    "CROWDED",
    "EDGE",
    "EDGES",
    "FLIPS",
    "FREE",
    "KEPT",
    "LENGTHS",
    "LISTED",
    "NODES",
    "NONE",
    "ONE",
    "SCORE",
    "TWO",
    "Board",
    "add",
    "bare",
    "below",
    "chance",
    "draw",
    "fill",
    "find_obstacle",
    "flip",
    "graph_of",
    "graph_of_table",
    "list_of",
    "new_board",
    "pair_of",
    "remove",
    "repair",
    "within",
]


def new_board(opened: Opened, start: Graph, *, key: int, listed: int) -> Board:
    """Lay a graph out on a board.

    Args:
        opened: the problem.
        start: a graph on its nodes; frozen edges are added, pairs outside the host left out.
        key: seed of the board's random numbers.
        listed: largest C of absent pairs that are listed, 1 or 2.
    """
    n = opened.problem.nodes
    forbidden = opened.problem.forbidden
    low, high = np.triu_indices(n, 1)
    pairs = len(low)
    with_codegrees = pairs if forbidden.codegree else 1
    row = np.array([u * n - u * (u + 1) // 2 - u - 1 for u in range(n)], dtype=np.int32)
    changes = 3 * n * n + 2 * n + BLOCK
    board = Board(
        table=np.where(opened.allowed[low, high], 0, BARRED).astype(np.int32),
        where=np.zeros(pairs, dtype=np.int32),
        lists=np.empty((6, pairs), dtype=np.int32),
        sizes=np.zeros(6, dtype=np.int64),
        low=low.astype(np.int16),
        high=high.astype(np.int16),
        row=row,
        near=np.zeros((n, -(-n // BLOCK) * BLOCK), dtype=np.int16),
        degree=np.zeros(n, dtype=np.int64),
        buffer=np.empty(changes, dtype=np.int32),
        values=np.empty(changes, dtype=np.int32),
        codegrees=np.zeros(with_codegrees, dtype=np.int16),
        crossings=np.zeros(with_codegrees, dtype=np.int16),
        paths=np.zeros((4, LONGEST + 1), dtype=np.int64),
        marks=np.zeros(n, dtype=np.int8),
        facts=_facts(n, forbidden, listed=listed, cap=opened.problem.max_degree),
        random=np.array([key], dtype=np.uint64),
    )
    frozen = _numbers(board, opened.frozen)
    fill(board, frozen, np.setdiff1d(_numbers(board, start), frozen))
    return board


def _facts(nodes: int, forbidden: Forbidden, *, listed: int, cap: int) -> NDArray[np.int64]:
    facts = np.zeros(8, dtype=np.int64)
    facts[NODES], facts[LISTED] = nodes, listed
    facts[LENGTHS] = sum(1 << (length - 1) for length in forbidden.lengths)
    facts[CODEGREE], facts[CAP] = forbidden.codegree, cap or nodes
    return facts


def _numbers(board: Board, graph: Graph) -> NDArray[np.int32]:
    u, v = graph.edges.T
    numbers: NDArray[np.int32] = board.row[u] + v.astype(np.int32)
    return numbers


@bare
def fill(board: Any, frozen: Any, others: Any) -> None:
    """List all pairs of an empty board, then add edges; barred and over the cap stay out."""
    for place in range(len(board.table)):
        if board.table[place] == 0:
            put(board, place, FREE)
    for number in frozen:
        pair = np.int64(number)
        add(board, pair)
        value = np.int64(board.table[pair])
        move(board, pair, value, value + BARRED)
        board.table[pair] = value + BARRED
    for number in others:
        pair = np.int64(number)
        cap = board.facts[CAP]
        full = board.degree[board.low[pair]] >= cap or board.degree[board.high[pair]] >= cap
        if board.table[pair] <= LARGEST_COUNT and not full:
            add(board, pair)


# Flips


@within
def add(board: Any, pair: Whole) -> None:
    """Add an edge."""
    u, v = np.uint64(board.low[pair]), np.uint64(board.high[pair])
    change_paths(board, pair, 1)
    board.near[u, np.uint64(board.degree[u])] = v
    board.near[v, np.uint64(board.degree[v])] = u
    board.degree[u] += 1
    board.degree[v] += 1
    value = np.int64(board.table[pair])
    board.table[pair] = value + EDGE
    move(board, pair, value, value + EDGE)
    board.facts[EDGES] += 1
    board.facts[FLIPS] += 1
    board.facts[SCORE] += 1 - (value & (EDGE - 1))
    if board.facts[CODEGREE]:
        change_codegrees(board, np.int64(u), np.int64(v), 1)


@within
def remove(board: Any, pair: Whole) -> None:
    """Remove an edge."""
    u, v = np.int64(board.low[pair]), np.int64(board.high[pair])
    _forget(board, u, v)
    _forget(board, v, u)
    change_paths(board, pair, -1)
    value = np.int64(board.table[pair])
    board.table[pair] = value - EDGE
    move(board, pair, value, value - EDGE)
    board.facts[EDGES] -= 1
    board.facts[FLIPS] += 1
    board.facts[SCORE] += (value & (EDGE - 1)) - 1
    if board.facts[CODEGREE]:
        change_codegrees(board, u, v, -1)


@bare
def flip(board: Any, pair: Whole) -> None:
    """Add the edge if it is absent, else remove it."""
    if board.table[pair] & EDGE:
        remove(board, pair)
    else:
        add(board, pair)


@within
def _forget(board: Any, u: Whole, v: Whole) -> None:
    """Take v out of the neighbours of u; a loop without a way out is never mispredicted."""
    last = np.uint64(board.degree[u] - 1)
    found = last
    for i in range(last):
        place = np.uint64(i)
        found = place if board.near[u, place] == v else found
    board.near[u, found] = board.near[u, last]
    board.degree[u] = last


@bare
def find_obstacle(board: Any, pair: Whole) -> Whole:
    """Return an edge, drawn at random, of the subgraph that the absent `pair` would close.

    Of several subgraphs it is of the first that is met; with K2,t forbidden only legal graphs make
    sense. NONE if that subgraph has no edge that may be removed.
    """
    u, v = np.int64(board.low[pair]), np.int64(board.high[pair])
    count: Whole = np.int64(0)
    if board.facts[LENGTHS]:
        count = path_edges(board, u, v)
    if count == 0 and board.facts[CODEGREE]:
        count = star_edges(board, u, v)
        if count == 0:
            count = star_edges(board, v, u)
    return draw_removable(board, count)


@bare
def draw_removable(board: Any, count: Whole) -> Whole:
    """Draw one of the first edges in the buffer that may be removed, NONE if none may."""
    usable = 0
    for i in range(count):
        if board.table[board.buffer[i]] < BARRED:
            board.buffer[usable] = board.buffer[i]
            usable += 1
    return np.int64(board.buffer[below(board.random, usable)]) if usable else NONE


@bare
def repair(board: Any) -> None:
    """Remove edges until nothing forbidden is left, those in most forbidden subgraphs first.

    The score does not fall (the paper's lemma: delete one edge of every short cycle); edges
    that are frozen stay.
    """
    while board.sizes[CROWDED] + board.sizes[CLOSING]:
        number = CROWDED if board.sizes[CROWDED] else CLOSING
        best, chosen, ties = np.int64(-1), np.int64(-1), 0
        for i in range(board.sizes[number]):
            pair = np.int64(board.lists[number, i])
            value = np.int64(board.table[pair])
            if value > best:
                best, chosen, ties = value, pair, 1
            elif value == best:
                ties += 1
                if below(board.random, ties) == 0:
                    chosen = pair
        remove(board, chosen)
