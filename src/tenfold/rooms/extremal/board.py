"""A board: a graph as arrays, with a number for every pair of nodes and the lists they lie in.

For a pair (u, v) the table holds C(u, v): how many forbidden subgraphs contain the edge uv, or
would if it were added. Pairs of equal gain lie in lists with their positions, so that one of best
gain is drawn in O(1): absent pairs with C = 0, 1, 2 and edges with C = 0, 1, more.

`kernels` makes the moves and is what others import.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import Whole, bare, within
from tenfold.rooms.extremal.graph import Graph

EDGE = 1 << 28
"""Added to the table's entry of an edge; counts stay below it, see `LARGEST_COUNT`."""
BARRED = 1 << 29
"""Added to the entry of a pair that must not be flipped: outside the host, or frozen."""
LARGEST_COUNT = 1 << 20
"""An edge of a start that is in more forbidden subgraphs is left out. No pair of 1024 nodes is in
so many of 3 and 4 edges; longer cycles are counted one by one, hours before C reaches EDGE."""
BLOCK = 16
"""Rows of neighbours are whole blocks, so that loops over them are vectors (16 of 2 bytes)."""

FREE, ONE, TWO, KEPT, CLOSING, CROWDED = range(6)
"""Lists: absent pairs with C = 0, 1, 2; edges with C = 0, 1, and 2 or more."""
NONE = -1

NODES, EDGES, SCORE, FLIPS, LISTED, LENGTHS, CODEGREE, CAP = range(8)
"""Places in `Board.facts`; LISTED is the largest C of absent pairs that have a list, LENGTHS has
a bit for each number of edges of a path that closes a forbidden cycle, CAP the degree limit."""


class Board(NamedTuple):
    """A graph with its table and lists; pairs are numbered row by row, u < v."""

    table: NDArray[np.int32]
    """[pairs]: C, plus EDGE if the pair is an edge, plus BARRED if it must not be flipped."""
    where: NDArray[np.int32]
    """[pairs]: position in its list."""
    lists: NDArray[np.int32]
    """[6, pairs]."""
    sizes: NDArray[np.int64]
    """[6]."""
    low: NDArray[np.int16]
    high: NDArray[np.int16]
    """[pairs]: the two ends."""
    row: NDArray[np.int32]
    """[nodes]: number of the pair (u, v) is row[u] + v."""
    near: NDArray[np.int16]
    """[nodes, whole blocks]: neighbours, the first degree[u] of a row; behind them any nodes."""
    degree: NDArray[np.int64]
    buffer: NDArray[np.int32]
    """Scratch: pairs whose entries change."""
    values: NDArray[np.int32]
    """Scratch: old entries of those that may change lists."""
    codegrees: NDArray[np.int16]
    """[pairs] common neighbours, if a K2,t is forbidden, else [1]."""
    crossings: NDArray[np.int16]
    """[pairs] the part of C that is due to K2,t, or [1]."""
    paths: NDArray[np.int64]
    """Scratch: nodes and places of two searches in depth."""
    marks: NDArray[np.int8]
    """[nodes] scratch: nodes of the path at hand."""
    facts: NDArray[np.int64]
    random: NDArray[np.uint64]


def graph_of(board: Board) -> Graph:
    """Return the graph that lies on a board."""
    return graph_of_table(board, board.table)


def graph_of_table(board: Board, table: NDArray[np.int32]) -> Graph:
    """Return the graph whose edges a copy of the table marks."""
    chosen = table & EDGE != 0
    edges = np.stack([board.low[chosen], board.high[chosen]], axis=1).astype(np.int32)
    return Graph(int(board.facts[NODES]), edges)


@within
def pair_of(board: Any, u: Whole, v: Whole) -> Whole:
    """Return the number of a pair of nodes."""
    return board.row[u] + v if u < v else board.row[v] + u


# Lists


@within
def list_of(value: Whole, listed: Whole) -> Whole:
    """Return the list in which a pair with this entry of the table lies, NONE if in none."""
    if value <= listed:
        return value
    if value < EDGE or value >= BARRED:
        return NONE
    return min(KEPT + value - EDGE, CROWDED)


@within
def put(board: Any, pair: Whole, number: Whole) -> None:
    """Add a pair to the end of a list."""
    size = np.uint64(board.sizes[number])
    board.lists[np.uint64(number), size] = pair
    board.where[np.uint64(pair)] = size
    board.sizes[number] += 1


@within
def take(board: Any, pair: Whole, number: Whole) -> None:
    """Take a pair out of its list; the last one of the list moves to its place."""
    last = np.uint64(board.sizes[number] - 1)
    place = np.uint64(board.where[np.uint64(pair)])
    moved = np.uint64(board.lists[np.uint64(number), last])
    board.lists[np.uint64(number), place] = moved
    board.where[moved] = place
    board.sizes[number] = last


@within
def move(board: Any, pair: Whole, old: Whole, new: Whole) -> None:
    """Move a pair between the lists of its old and new entry of the table."""
    source = list_of(old, board.facts[LISTED])
    target = list_of(new, board.facts[LISTED])
    if source == target:
        return
    if source >= 0:
        take(board, pair, source)
    if target >= 0:
        put(board, pair, target)


@bare
def bump(board: Any, pair: Whole, amount: Whole) -> None:
    """Change C of one pair."""
    value = np.int64(board.table[pair])
    board.table[pair] = value + amount
    move(board, pair, value, value + amount)
