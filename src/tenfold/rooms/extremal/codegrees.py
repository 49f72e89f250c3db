"""Forbidden K2,t: pairs of nodes with t common neighbours.

A pair with c > t - 1 common neighbours is c - t + 1 forbidden subgraphs here: so many edges must
go. An edge xy makes x a common neighbour of y and of every other neighbour of x, and y likewise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import Whole, bare
from tenfold.rooms.extremal.board import CODEGREE, EDGE, NODES, NONE, bump, pair_of


@bare
def change_codegrees(board: Any, u: Whole, v: Whole, sign: Whole) -> None:
    """Count common neighbours anew after a flip of uv, and C wherever they matter."""
    for i in range(board.degree[u]):
        a = np.int64(board.near[u, i])
        if a != v:
            board.codegrees[pair_of(board, a, v)] += sign
    for i in range(board.degree[v]):
        b = np.int64(board.near[v, i])
        if b != u:
            board.codegrees[pair_of(board, u, b)] += sign
    for x in range(board.facts[NODES]):
        if x != u:
            _count_crossings(board, u, x)
        if x != v:
            _count_crossings(board, v, x)
    for i in range(board.degree[u]):
        a = np.int64(board.near[u, i])
        for j in range(board.degree[v]):
            b = np.int64(board.near[v, j])
            if a != b:
                _count_crossings(board, a, b)


@bare
def _count_crossings(board: Any, x: Whole, y: Whole) -> None:
    """Count the pairs that have, or would have, too many common neighbours because of xy.

    A pair with c > t - 1 common neighbours is c - t + 1 forbidden subgraphs here: so many
    edges must go.
    """
    pair = pair_of(board, x, y)
    has = 1 if board.table[pair] & EDGE else 0
    most = board.facts[CODEGREE] - 1
    found = 0
    for i in range(board.degree[x]):
        a = np.int64(board.near[x, i])
        if a != y and board.codegrees[pair_of(board, a, y)] - has >= most:
            found += 1
    for i in range(board.degree[y]):
        b = np.int64(board.near[y, i])
        if b != x and board.codegrees[pair_of(board, b, x)] - has >= most:
            found += 1
    if found != board.crossings[pair]:
        bump(board, pair, found - board.crossings[pair])
        board.crossings[pair] = found


@bare
def star_edges(board: Any, x: Whole, y: Whole) -> Whole:
    """Write the edges of the K2,t that xy would close, with x a new common neighbour of y."""
    for i in range(board.degree[x]):
        a = np.int64(board.near[x, i])
        if a != y and board.codegrees[pair_of(board, a, y)] >= board.facts[CODEGREE] - 1:
            board.buffer[0] = pair_of(board, x, a)
            count = 1
            for j in range(board.degree[a]):
                middle = np.int64(board.near[a, j])
                between = pair_of(board, middle, y) if middle != y else NONE
                if between >= 0 and board.table[between] & EDGE:
                    board.buffer[count] = pair_of(board, a, middle)
                    board.buffer[count + 1] = between
                    count += 2
            return count
    return 0
