"""All graphs without the forbidden subgraphs, up to isomorphism: proofs for small sizes.

Graphs grow node by node. Taking a node of least degree from a graph leaves one of the same kind,
with at most floor(2 e / n) edges less; so whoever wants all graphs with e edges on n nodes needs
only those with e - floor(2 e / n) on n - 1, and so on down. Of several nodes of least degree one
of greatest weight (an invariant) is taken, which most candidates fail before their canonical form
is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tenfold.rooms.extremal.canonical import canonical_form
from tenfold.rooms.extremal.graph import Graph, empty, from_edges
from tenfold.rooms.extremal.problem import Forbidden, read_forbidden

Rows = list[int]
"""Bit v of row u: u and v are neighbours."""

_ROUNDS = 3
_MODULUS = (1 << 61) - 1


def enumerate_graphs(nodes: int, forbid: str, *, least: int = 0) -> list[Graph]:
    """Return one graph of each class with at least `least` edges, most edges first.

    >>> [graph.size for graph in enumerate_graphs(5, "C3,C4", least=4)]
    [5, 4, 4, 4, 4]
    """
    rules = read_forbidden(forbid)
    needed = [least]
    for size in range(nodes, 1, -1):
        needed.append(needed[-1] - 2 * needed[-1] // size)
    found = [empty(1)]
    for size in range(2, nodes + 1):
        found = _grow(found, rules, least=needed[nodes - size])
    return sorted(found, key=lambda graph: -graph.size)


def _grow(graphs: list[Graph], rules: Forbidden, *, least: int) -> list[Graph]:
    """Return the graphs with one node more and at least `least` edges."""
    found: dict[str, Graph] = {}
    for graph in graphs:
        rows = _rows(graph)
        for taken in _extensions(rows, rules, least=least - graph.size):
            if _is_chosen([*rows, 0], taken):
                larger = _join(graph, taken)
                canon = canonical_form(larger)
                found.setdefault(canon.digest, canon.graph)
    return list(found.values())


def _rows(graph: Graph) -> Rows:
    rows = [0] * graph.nodes
    for u, v in graph.edges.tolist():
        rows[u] |= 1 << v
        rows[v] |= 1 << u
    return rows


def _join(graph: Graph, taken: int) -> Graph:
    """Add a node with these neighbours."""
    new = graph.nodes
    ends = [[u, new] for u in range(new) if taken >> u & 1]
    return from_edges(new + 1, np.concatenate([graph.edges, np.reshape(ends, (-1, 2))]))


# Neighbours of a new node


def _extensions(rows: Rows, rules: Forbidden, *, least: int) -> Iterator[int]:
    """Yield the sets, `least` nodes or more, that may be the neighbours of a new least node."""
    nodes = len(rows)
    degrees = [row.bit_count() for row in rows]
    friends = _friends(rows, rules)
    for degree in range(max(least, 0), min(min(degrees) + 1, nodes) + 1):
        must = sum(1 << u for u in range(nodes) if degrees[u] < degree)
        if must.bit_count() <= degree:
            yield from _choose(rows, rules, friends, must=must, degree=degree)


def _choose(
    rows: Rows, rules: Forbidden, friends: Rows, *, must: int, degree: int
) -> Iterator[int]:
    """Yield the sets of `degree` nodes around `must` that are friends and share no crowd."""
    allowed = (1 << len(rows)) - 1
    for u in _bits(must):
        if must & ~friends[u] & ~(1 << u):
            return
        allowed &= friends[u]
    stack = [(must, allowed & ~must)]
    while stack:
        taken, allowed = stack.pop()
        if rules.codegree and any((taken & row).bit_count() >= rules.codegree for row in rows):
            continue
        missing = degree - taken.bit_count()
        if not missing:
            yield taken
        elif allowed.bit_count() >= missing:
            u = allowed.bit_length() - 1
            rest = allowed & ~(1 << u)
            stack += [(taken, rest), (taken | 1 << u, rest & friends[u])]


def _friends(rows: Rows, rules: Forbidden) -> Rows:
    """Return for every node those that a new node may have as neighbours together with it.

    A path of l - 2 edges between two neighbours of the new node closes a cycle of length l.
    """
    lengths = {length - 2 for length in rules.lengths}
    every = (1 << len(rows)) - 1
    friends = []
    for u, row in enumerate(rows):
        reached = 1 << u | _ends(rows, u, lengths)
        if rules.codegree:
            limit = rules.codegree - 1
            crowded = (v for v, other in enumerate(rows) if (row & other).bit_count() >= limit)
            reached |= sum(1 << v for v in crowded if v != u)
        friends.append(every & ~reached)
    return friends


def _ends(rows: Rows, start: int, lengths: set[int]) -> int:
    """Return the ends of the paths from `start` with these numbers of edges."""
    longest, ends = max(lengths, default=0), 0
    stack = [(start, 1 << start, 0)]
    while stack:
        node, seen, length = stack.pop()
        if length in lengths:
            ends |= 1 << node
        if length < longest:
            stack += [(v, seen | 1 << v, length + 1) for v in _bits(rows[node] & ~seen)]
    return ends


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


# Which node is taken away


def _is_chosen(rows: Rows, taken: int) -> bool:
    """Say whether the last node, given these neighbours, is the one that would be taken away."""
    new = len(rows) - 1
    rows = [row | 1 << new if taken >> u & 1 else row for u, row in enumerate(rows)]
    rows[new] = taken
    near = [list(_bits(row)) for row in rows]
    degree = len(near[new])
    rivals = [u for u, row in enumerate(near) if len(row) == degree]
    weights = [len(row) for row in near]
    for _ in range(_ROUNDS):
        weights = [
            (weights[u] * 31 + sum(weights[v] * weights[v] for v in row) + 7) % _MODULUS
            for u, row in enumerate(near)
        ]
        if any(weights[u] > weights[new] for u in rivals):
            return False
        rivals = [u for u in rivals if weights[u] == weights[new]]
    return True
