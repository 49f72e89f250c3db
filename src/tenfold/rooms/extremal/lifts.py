"""Cayley graphs, and voltage lifts of small multigraphs, by random greedy search with restarts.

A Cayley graph joins x to x s for every s of an inverse-closed set. A lift of a base multigraph
over a group puts a copy of the group above every base node, and above a base edge from a to b
with voltage s the edges (a, x) - (b, x s); a Cayley graph is the lift of a bouquet of loops. Both
are invariant under the group, so choosing set or voltages is choosing orbits of pairs.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.groups import Group, Orbits, act, pair_orbits
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.orbit_kernels import ABSENT, BARRED, TARGET, new_facts, new_state, walk
from tenfold.rooms.extremal.orbits import graph_of
from tenfold.rooms.extremal.problem import MAX_NODES, Forbidden, read_forbidden

FLIPS_PER_TRY = 1000
"""After a greedy filling a try goes on with so many flips of orbits."""


@dataclass(frozen=True, slots=True)
class Lift:
    """A graph and the choice that makes it."""

    graph: Graph
    text: str


@dataclass(frozen=True, slots=True)
class Multigraph:
    """A base: loops and parallel edges are allowed."""

    name: str
    nodes: int
    edges: tuple[tuple[int, int], ...]


def read_base(text: str) -> Multigraph:
    """Read a base: bouquet:R (R loops), dipole:R (R parallel edges), dumbbell:R, or a graph's name.

    A dumbbell is an edge with R loops at both ends.

    Raises:
        TenfoldError: if it is none of these.
    """
    match = re.fullmatch(r"(bouquet|dipole|dumbbell):(\d{1,3})", text)
    if match is None:
        graph = construct(text)
        return Multigraph(text, graph.nodes, tuple((int(u), int(v)) for u, v in graph.edges))
    count = int(match[2])
    if match[1] == "bouquet":
        return Multigraph(text, 1, ((0, 0),) * count)
    if match[1] == "dipole":
        return Multigraph(text, 2, ((0, 1),) * count)
    return Multigraph(text, 2, ((0, 1), *((0, 0),) * count, *((1, 1),) * count))


def search_cayley(
    group: Group, *, forbid: str = "C3,C4", degree: int = 0, tries: int = 100, seed: int = 0
) -> Lift:
    """Look for a Cayley graph of large degree without the forbidden subgraphs.

    Args:
        group: whose elements are the nodes.
        forbid: as `Problem.forbid`.
        degree: largest degree, at which the search stops; 0: no limit.
        tries: restarts.
        seed: of the random choices.
    """
    orbits = pair_orbits(act(group, group.order))
    chosen = _search(
        orbits,
        read_forbidden(forbid),
        role=np.full(orbits.count, ABSENT, dtype=np.int8),
        cap=degree,
        target=group.order * degree // 2,
        budget=(tries, seed),
    )
    members = np.flatnonzero(np.append(chosen, False)[orbits.label[0]])
    text = f"Cayley graph of {group.name} with the connection set {_listed(members)}"
    return Lift(graph_of(orbits, chosen), text)


def search_lift(
    base: Multigraph, group: Group, *, forbid: str = "C3,C4", tries: int = 100, seed: int = 0
) -> Lift:
    """Look for voltages on a base under which its lift has no forbidden subgraph.

    Base edges that cannot be lifted as well are left out, and counted in the text.

    Raises:
        TenfoldError: if the lift has too many nodes.
    """
    nodes = base.nodes * group.order
    if not 2 <= nodes <= MAX_NODES:
        raise TenfoldError(
            f"the lift of {base.name} over {group.name} has {nodes} nodes; make it 2 to {MAX_NODES}"
        )
    orbits = pair_orbits(act(group, nodes))
    low, high = (orbits.pairs[orbits.starts[:-1]] // group.order).T
    slot = (low * base.nodes + high).astype(np.int32)
    room = np.zeros(base.nodes**2, dtype=np.int64)
    for (tail, head), count in Counter(tuple(sorted(edge)) for edge in base.edges).items():
        room[tail * base.nodes + head] = count
    chosen = _search(
        orbits,
        read_forbidden(forbid),
        role=np.where(room[slot] > 0, ABSENT, BARRED).astype(np.int8),
        places=(slot, room),
        target=len(base.edges) * group.order,
        budget=(tries, seed),
    )
    return Lift(graph_of(orbits, chosen), _describe(base, group, orbits, chosen))


def _search(
    orbits: Orbits,
    forbidden: Forbidden,
    *,
    role: NDArray[np.int8],
    target: int,
    budget: tuple[int, int],
    cap: int = 0,
    places: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None,
) -> NDArray[np.bool_]:
    """Return the orbits of the best of some tries; `budget` is how many, and their seed."""
    tries, seed = budget
    slot, room = places or (None, None)
    sizes = np.diff(orbits.starts)
    best = np.zeros(orbits.count, dtype=bool)
    for attempt in range(tries):
        facts = new_facts(forbidden, cap=cap, flips=FLIPS_PER_TRY)
        facts[TARGET] = target
        key = rng.key(seed, "lift", attempt) % 2**64
        free = None if room is None else room.copy()
        state = new_state(orbits, role=role, facts=facts, key=key, slot=slot, room=free)
        chosen = walk(state, np.zeros(0, dtype=np.int64))
        if sizes @ chosen > sizes @ best:
            best = chosen
        if 0 < target <= sizes @ best:
            break
    return best


def _describe(base: Multigraph, group: Group, orbits: Orbits, chosen: NDArray[np.bool_]) -> str:
    """Name the voltages above every pair of base nodes, and how many edges lack one."""
    order = group.order
    words = []
    for tail, head in sorted({tuple(sorted(edge)) for edge in base.edges}):
        above = orbits.label[tail * order, head * order : (head + 1) * order]
        voltages = np.flatnonzero(np.append(chosen, False)[above])
        words.append(f"{tail}-{head} {_listed(voltages)}")
    missing = len(base.edges) - int(chosen.sum())
    tail_text = f"; {missing} of {len(base.edges)} edges left out" if missing else ""
    return f"lift of {base.name} over {group.name}, voltages {', '.join(words)}{tail_text}"


def _listed(elements: NDArray[np.int64]) -> str:
    return "{" + " ".join(str(element) for element in elements) + "}"
