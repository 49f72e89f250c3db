"""All graphs without the forbidden subgraphs, up to isomorphism: proofs for small sizes.

Graphs grow node by node. Taking a node of least degree from a graph leaves one of the same kind,
with at most floor(2 e / n) edges less; so whoever wants all graphs with e edges on n nodes needs
only those with e - floor(2 e / n) on n - 1, and so on down. Degrees tell early that a graph cannot
become one that is wanted: every later node has least degree when it comes. Of several nodes of
least degree one of greatest weight (an invariant) is taken, which most candidates fail before
their canonical form is asked for.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Iterator
from operator import or_

import numpy as np

from tenfold.rooms.extremal.canonical import canonical_form
from tenfold.rooms.extremal.graph import Graph, empty
from tenfold.rooms.extremal.problem import Forbidden, read_forbidden

Rows = list[int]
"""Bit v of row u: u and v are neighbours."""

_ROUNDS = 3
_MODULUS = (1 << 61) - 1


def enumerate_graphs(nodes: int, forbid: str, *, least: int = 0) -> list[Graph]:
    """Return one graph of each class with at least `least` edges, most edges first.

    >>> [graph.size for graph in enumerate_graphs(5, "C3,C4", least=4)]
    [5, 4, 4, 4]
    """
    rules = read_forbidden(forbid)
    needed = [least]
    for size in range(nodes, 1, -1):
        needed.append(needed[-1] - 2 * needed[-1] // size)
    found = [empty(1)]
    for size in range(2, nodes + 1):
        found = _grow(found, rules, goal=tuple(needed[nodes - size :: -1]))
    return sorted(found, key=lambda graph: -graph.size)


def _grow(graphs: list[Graph], rules: Forbidden, *, goal: tuple[int, ...]) -> list[Graph]:
    """Return the graphs with one node more that may reach the goal.

    The goal is the least number of edges after this node, the next, .., the last.
    """
    found: dict[str, Graph] = {}
    for graph in graphs:
        rows = _rows(graph)
        for taken in _extensions(rows, rules, least=goal[0] - graph.size):
            if _can_reach(_degrees(rows, taken), goal) and _is_chosen([*rows, 0], taken):
                larger = _join(graph, taken)
                canon = canonical_form(larger, seconds=math.inf)
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
    ends = np.array([[u, new] for u in _bits(taken)], dtype=np.int32).reshape(-1, 2)
    edges = np.concatenate([graph.edges, ends])
    # The new node is the largest, so its edges come last in their rows.
    return Graph(new + 1, edges[np.argsort(edges[:, 0], kind="stable")])


# Which graphs are of use


def _degrees(rows: Rows, taken: int) -> tuple[int, ...]:
    """Return the degrees, in order, once a node with these neighbours is added."""
    old = [row.bit_count() + (taken >> u & 1) for u, row in enumerate(rows)]
    return tuple(sorted([*old, taken.bit_count()]))


@functools.cache
def _can_reach(degrees: tuple[int, ...], goal: tuple[int, ...]) -> bool:
    """Say whether nodes that are of least degree when they come could add edges enough.

    Such a node of degree d is joined to all nodes below d, so these are d at most and of degree
    d - 1. Its other neighbours are taken here to be the lowest that are left, forbidden subgraphs
    or not: that leaves, for every t, the least sum of max(0, t - degree), and so the most ways on.
    """
    if sum(degrees) < 2 * goal[0]:
        return False
    if len(goal) == 1:
        return True
    return any(
        _can_reach(_raise(degrees, degree), goal[1:])
        for degree in range(min(degrees[0] + 1, len(degrees)), -1, -1)
        if bisect_left(degrees, degree) <= degree
    )


def _raise(degrees: tuple[int, ...], degree: int) -> tuple[int, ...]:
    raised = [each + 1 for each in degrees[:degree]]
    return tuple(sorted([*raised, *degrees[degree:], degree]))


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
    """Return the ends of the paths from `start` with these numbers of edges, perhaps `start`."""
    longest, ends = max(lengths, default=0), 0
    if longest <= 2:
        if 1 in lengths:
            ends = rows[start]
        if 2 in lengths:
            ends = functools.reduce(or_, (rows[v] for v in _bits(rows[start])), ends)
        return ends
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
