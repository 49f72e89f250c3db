"""Search among the graphs that a group leaves as they are: whole orbits of pairs are flipped.

A move forces a random orbit in, throws out orbits on forbidden subgraphs until none is left, then
adds whatever fits; it is undone unless there are as many edges as before (iterated local search).
The group takes any edge of an orbit to any other, so an orbit is legal if one of its edges is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.graph import Graph, empty, from_edges
from tenfold.rooms.extremal.groups import Action, Orbits, pair_orbits
from tenfold.rooms.extremal.orbit_kernels import (
    ABSENT,
    BARRED,
    FROZEN,
    TARGET,
    new_facts,
    new_state,
    walk,
)
from tenfold.rooms.extremal.problem import Opened


def check_invariant(graph: Graph, orbits: Orbits, *, what: str, group: str) -> NDArray[np.bool_]:
    """Return which orbits a graph has.

    Raises:
        TenfoldError: if it has a part of an orbit, naming a pair that is there.
    """
    matrix = graph.adjacency()
    counts, sizes = orbits.marked(matrix), np.diff(orbits.starts)
    part = (counts > 0) & (counts < sizes)
    if part.any():
        first = part.argmax()
        pairs = orbits.pairs[orbits.starts[first] : orbits.starts[first + 1]]
        u, v = next((u, v) for u, v in pairs if matrix[u, v])
        raise TenfoldError(
            f"{what} has the edge {u} - {v} but not all its images under {group}; add them, or "
            "choose another group"
        )
    found: NDArray[np.bool_] = counts > 0
    return found


def search_orbits(
    opened: Opened,
    action: Action,
    *,
    flips: int,
    seed: int,
    target: int = 0,
    start: Graph | None = None,
) -> Graph:
    """Look for a graph with many edges that a group leaves as it is.

    One without the least degree of the problem is returned only if no other was met.

    Args:
        opened: the problem; its frozen edges must be invariant, and of its host the orbits
            count that are wholly in it.
        action: permutations of the nodes.
        flips: orbits to add or remove before it stops.
        seed: of the random choices.
        target: stop at this many edges; 0 never does.
        start: an invariant graph to begin with; parts of it that are not legal stay out.

    Raises:
        TenfoldError: if frozen edges or start are not invariant.
    """
    orbits = pair_orbits(action)
    frozen = check_invariant(opened.frozen, orbits, what="frozen", group=action.name)
    barred = orbits.marked(~opened.allowed) > 0
    role = np.where(frozen, FROZEN, np.where(barred, BARRED, ABSENT)).astype(np.int8)
    begin = start or empty(opened.problem.nodes)
    first = check_invariant(begin, orbits, what="start", group=action.name)
    asked = opened.problem
    facts = new_facts(asked.forbidden, cap=asked.max_degree, flips=flips, least=asked.min_degree)
    facts[TARGET] = target
    state = new_state(orbits, role=role, facts=facts, key=rng.key(seed, "orbits") % 2**64)
    chosen = walk(state, np.flatnonzero(first).astype(np.int64))
    return graph_of(orbits, chosen)


def graph_of(orbits: Orbits, chosen: NDArray[np.bool_]) -> Graph:
    """Return the graph that consists of some orbits, [orbits]."""
    nodes = len(orbits.label)
    return from_edges(nodes, orbits.pairs[np.repeat(chosen, np.diff(orbits.starts))])
