"""The plain twin of the engine of moves: forbidden subgraphs counted by their definition.

Sets of pairs and nothing kept between calls. A graph is `nodes` and a set of pairs u < v.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from tenfold.rooms.extremal import kernels
from tenfold.rooms.extremal.kernels import BARRED, EDGE, Board
from tenfold.rooms.extremal.problem import Forbidden, Opened

Pair = tuple[int, int]


def pairs_of(nodes: int) -> list[Pair]:
    return list(combinations(range(nodes), 2))


def rows_of(nodes: int, edges: set[Pair]) -> list[set[int]]:
    rows: list[set[int]] = [set() for _ in range(nodes)]
    for u, v in edges:
        rows[u].add(v)
        rows[v].add(u)
    return rows


def simple_paths(rows: list[set[int]], *, start: int, longest: int) -> Iterator[list[int]]:
    """Yield every path from `start` with 1 to `longest` edges and no node twice."""
    paths = [[start]]
    while paths:
        path = paths.pop()
        for node in rows[path[-1]]:
            if node not in path:
                yield [*path, node]
                if len(path) < longest:
                    paths.append([*path, node])


def excess(nodes: int, edges: set[Pair], codegree: int) -> int:
    """Count what K2,t costs: a pair with c > t - 1 common neighbours counts c - t + 1."""
    rows = rows_of(nodes, edges)
    common = [len(rows[u] & rows[v]) for u, v in pairs_of(nodes)]
    return sum(max(0, count - codegree + 1) for count in common) if codegree else 0


def subgraphs(nodes: int, edges: set[Pair], forbidden: Forbidden) -> int:
    """Count the forbidden subgraphs of a graph; a cycle of length k is met 2 k times."""
    rows = rows_of(nodes, edges)
    cycles = 0
    for length in forbidden.lengths:
        found = 0
        for start in range(nodes):
            paths = simple_paths(rows, start=start, longest=length - 1)
            found += sum(len(path) == length and start in rows[path[-1]] for path in paths)
        cycles += found // (2 * length)
    return cycles + excess(nodes, edges, forbidden.codegree)


def counts(nodes: int, edges: set[Pair], forbidden: Forbidden) -> dict[Pair, int]:
    """Return for every pair how many forbidden subgraphs have, or would have, it as an edge."""
    rows = rows_of(nodes, edges)
    found = dict.fromkeys(pairs_of(nodes), 0)
    longest = max(forbidden.lengths, default=1) - 1
    for start in range(nodes if longest else 0):
        for path in simple_paths(rows, start=start, longest=longest):
            if start < path[-1] and len(path) in forbidden.lengths:
                found[start, path[-1]] += 1
    for pair in found:
        found[pair] += excess(nodes, edges | {pair}, forbidden.codegree)
        found[pair] -= excess(nodes, edges - {pair}, forbidden.codegree)
    return found


def list_of(count: int, *, edge: bool, barred: bool, listed: int) -> int:
    """Return the list that a pair belongs to."""
    if barred:
        return kernels.NONE
    if not edge:
        return count if count <= listed else kernels.NONE
    return [kernels.KEPT, kernels.CLOSING][count] if count < 2 else kernels.CROWDED


def check(board: Board, edges: set[Pair], opened: Opened) -> None:
    """Hold a whole board, place for place, to what its edges say."""
    nodes, forbidden = opened.problem.nodes, opened.problem.forbidden
    frozen = {(u, v) for u, v in opened.frozen.edges.tolist()}
    pairs = pairs_of(nodes)
    assert [*zip(board.low.tolist(), board.high.tolist(), strict=True)] == pairs
    assert [int(board.row[u]) + v for u, v in pairs] == list(range(len(pairs)))

    found = counts(nodes, edges, forbidden)
    barred = {pair: not opened.allowed[pair] or pair in frozen for pair in pairs}
    expected = [found[p] + EDGE * (p in edges) + BARRED * barred[p] for p in pairs]
    assert board.table.tolist() == expected

    members: list[set[int]] = [set() for _ in range(len(board.sizes))]
    for number, pair in enumerate(pairs):
        place = list_of(
            found[pair],
            edge=pair in edges,
            barred=barred[pair],
            listed=int(board.facts[kernels.LISTED]),
        )
        if place != kernels.NONE:
            members[place].add(number)
    for number, wanted in enumerate(members):
        row = board.lists[number, : board.sizes[number]]
        assert len(row) == len(wanted)
        assert set(row.tolist()) == wanted
        assert np.array_equal(board.where[row], np.arange(len(row)))

    rows = rows_of(nodes, edges)
    assert board.degree.tolist() == [len(row) for row in rows]
    assert [set(board.near[u, : len(rows[u])].tolist()) for u in range(nodes)] == rows
    assert board.facts[kernels.EDGES] == len(edges)
    assert board.facts[kernels.SCORE] == len(edges) - subgraphs(nodes, edges, forbidden)
    assert not board.marks.any()
    if forbidden.codegree:
        assert board.codegrees.tolist() == [len(rows[u] & rows[v]) for u, v in pairs]
