"""Compiled walk of the search over orbits of pairs; see `orbits` for what it does and why."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.rooms.extremal.groups import Orbits
from tenfold.rooms.extremal.kernels import below
from tenfold.rooms.extremal.problem import LONGEST, Forbidden

ABSENT, PRESENT, FROZEN, BARRED = range(4)
"""What an orbit can be; the last two are never flipped."""
LENGTHS, CODEGREE, CAP, EDGES, FLIPS, BUDGET, TARGET, LEAST = range(8)
"""Places in `State.facts`; LENGTHS has a bit for each forbidden cycle length."""
NONE, HOPELESS = -1, -2
PATIENCE = 300
"""Moves without a gain after which the search takes a worse graph and goes on from there."""


class State(NamedTuple):
    """A graph made of orbits, as arrays."""

    label: NDArray[np.int32]
    starts: NDArray[np.int64]
    pairs: NDArray[np.int32]
    role: NDArray[np.int8]
    """[orbits]: ABSENT, PRESENT, FROZEN or BARRED."""
    slot: NDArray[np.int32]
    """[orbits]: each orbit takes one place of its slot."""
    room: NDArray[np.int64]
    """[slots]: places left."""
    near: NDArray[np.int16]
    """[nodes, nodes]: neighbours, the first degree[u] of a row."""
    degree: NDArray[np.int64]
    marks: NDArray[np.bool_]
    """[nodes]: nodes on the path at hand."""
    path: NDArray[np.int64]
    """[LONGEST + 1]: the nodes of the path found last."""
    facts: NDArray[np.int64]
    random: NDArray[np.uint64]


def new_facts(forbidden: Forbidden, *, cap: int, flips: int, least: int = 0) -> NDArray[np.int64]:
    """Return the numbers that steer a walk: what is forbidden, degrees (cap 0: any), budget."""
    facts = np.zeros(8, dtype=np.int64)
    facts[LEAST] = least
    facts[LENGTHS] = sum(1 << length for length in forbidden.lengths)
    facts[CODEGREE] = forbidden.codegree
    facts[CAP] = cap or np.iinfo(np.int16).max
    facts[BUDGET] = flips
    return facts


def new_state(
    orbits: Orbits,
    *,
    role: NDArray[np.int8],
    facts: NDArray[np.int64],
    key: int,
    slot: NDArray[np.int32] | None = None,
    room: NDArray[np.int64] | None = None,
) -> State:
    """Lay out the frozen orbits; without slots any number of orbits may be taken."""
    nodes = len(orbits.label)
    state = State(
        label=orbits.label,
        starts=orbits.starts,
        pairs=orbits.pairs,
        role=np.where(role == FROZEN, ABSENT, role).astype(np.int8),
        slot=np.zeros(len(role), dtype=np.int32) if slot is None else slot,
        room=np.array([len(role)]) if room is None else room,
        near=np.zeros((nodes, nodes), dtype=np.int16),
        degree=np.zeros(nodes, dtype=np.int64),
        marks=np.zeros(nodes, dtype=bool),
        path=np.zeros(LONGEST + 1, dtype=np.int64),
        facts=facts,
        random=np.array([key], dtype=np.uint64),
    )
    for orbit in np.flatnonzero(role == FROZEN).tolist():
        insert(state, orbit)
        state.role[orbit] = FROZEN
    return state


@jit
def insert(state: Any, orbit: int) -> None:
    """Add the edges of an absent orbit."""
    for place in range(state.starts[orbit], state.starts[orbit + 1]):
        u, v = state.pairs[place, 0], state.pairs[place, 1]
        state.near[u, state.degree[u]] = v
        state.near[v, state.degree[v]] = u
        state.degree[u] += 1
        state.degree[v] += 1
    state.role[orbit] = PRESENT
    state.room[state.slot[orbit]] -= 1
    state.facts[EDGES] += state.starts[orbit + 1] - state.starts[orbit]
    state.facts[FLIPS] += 1


@jit
def remove(state: Any, orbit: int) -> None:
    """Remove the edges of a present orbit."""
    for place in range(state.starts[orbit], state.starts[orbit + 1]):
        _forget(state, state.pairs[place, 0], state.pairs[place, 1])
        _forget(state, state.pairs[place, 1], state.pairs[place, 0])
    state.role[orbit] = ABSENT
    state.room[state.slot[orbit]] += 1
    state.facts[EDGES] -= state.starts[orbit + 1] - state.starts[orbit]
    state.facts[FLIPS] += 1


@jit
def _forget(state: Any, node: int, neighbour: int) -> None:
    last = state.degree[node] - 1
    for place in range(last):
        if state.near[node, place] == neighbour:
            state.near[node, place] = state.near[node, last]
            break
    state.degree[node] = last


@jit
def joined(state: Any, u: int, v: int) -> bool:
    """Tell whether two nodes are adjacent."""
    if u == v:
        return False
    role = state.role[state.label[u, v]]
    return bool(role in (PRESENT, FROZEN))


@jit
def find_path(state: Any, u: int, v: int) -> int:
    """Find a path that an edge uv closes to a forbidden cycle; return how many edges it has.

    Its nodes are left in `state.path`; 0 if there is none. A depth-first search, whose cost is
    degree ^ (length - 2): the last node is looked up, not looked for.
    """
    lengths = state.facts[LENGTHS]
    path, marks = state.path, state.marks
    choice = np.zeros(LONGEST + 1, dtype=np.int64)
    deepest = 0
    while lengths >> (deepest + 3):
        deepest += 1
    path[0], marks[u], depth, found = u, True, 0, 0
    while depth >= 0 and found == 0:
        node = path[depth]
        if depth and choice[depth] == 0 and lengths >> (depth + 2) & 1 and joined(state, node, v):
            found = depth + 1
            path[found] = v
        elif depth < deepest and choice[depth] < state.degree[node]:
            child = int(state.near[node, choice[depth]])
            choice[depth] += 1
            if child != v and not marks[child]:
                depth += 1
                path[depth], marks[child], choice[depth] = child, True, 0
        else:
            marks[node] = False
            depth -= 1
    for place in range(depth + 1):
        marks[path[place]] = False
    return found


@jit
def find_biclique(state: Any, u: int, v: int) -> int:
    """Find a neighbour w of v with too many neighbours in common with u; NONE if none has."""
    if state.facts[CODEGREE] == 0:
        return NONE
    for place in range(state.degree[v]):
        w = int(state.near[v, place])
        common = 0
        for other in range(state.degree[u]):
            common += joined(state, int(state.near[u, other]), w)
        if w != u and common >= state.facts[CODEGREE]:
            return w
    return NONE


@jit
def find_blocker(state: Any, orbit: int) -> int:
    """Return an orbit whose removal helps an orbit that was added to be legal.

    NONE if it is legal; HOPELESS if nothing that may be removed stands in its way.
    """
    u = int(state.pairs[state.starts[orbit], 0])
    v = int(state.pairs[state.starts[orbit], 1])
    if state.room[state.slot[orbit]] < 0:
        return _pick_in_slot(state, orbit)
    for node in (u, v):
        if state.degree[node] > state.facts[CAP]:
            return _pick_at(state, orbit, node)
    edges = find_path(state, u, v)
    if edges:
        return _pick_on_path(state, orbit, edges)
    for near, far in ((u, v), (v, u)):
        other = find_biclique(state, near, far)
        if other >= 0:
            return _pick_between(state, orbit, near, other)
    return NONE


@jit
def _draw(state: Any, chosen: int, seen: int, orbit: int, candidate: int) -> tuple[int, int]:
    """Take one of the candidates seen so far, each all with one chance; fixed ones do not count."""
    if candidate == orbit or state.role[candidate] != PRESENT:
        return chosen, seen
    if below(state.random, seen + 1) == 0:
        chosen = candidate
    return chosen, seen + 1


@jit
def _pick_on_path(state: Any, orbit: int, edges: int) -> int:
    chosen, seen = HOPELESS, 0
    for place in range(edges):
        candidate = state.label[state.path[place], state.path[place + 1]]
        chosen, seen = _draw(state, chosen, seen, orbit, candidate)
    return chosen


@jit
def _pick_at(state: Any, orbit: int, node: int) -> int:
    chosen, seen = HOPELESS, 0
    for place in range(state.degree[node]):
        candidate = state.label[node, state.near[node, place]]
        chosen, seen = _draw(state, chosen, seen, orbit, candidate)
    return chosen


@jit
def _pick_between(state: Any, orbit: int, u: int, w: int) -> int:
    chosen, seen = HOPELESS, 0
    for place in range(state.degree[u]):
        middle = int(state.near[u, place])
        if joined(state, middle, w):
            chosen, seen = _draw(state, chosen, seen, orbit, state.label[u, middle])
            chosen, seen = _draw(state, chosen, seen, orbit, state.label[middle, w])
    return chosen


@jit
def _pick_in_slot(state: Any, orbit: int) -> int:
    chosen, seen = HOPELESS, 0
    for candidate in range(len(state.role)):
        if state.slot[candidate] == state.slot[orbit]:
            chosen, seen = _draw(state, chosen, seen, orbit, candidate)
    return chosen


@jit
def force(state: Any, orbit: int) -> None:
    """Add an orbit and remove what stands in its way; bar it for good if that cannot be."""
    insert(state, orbit)
    blocker = find_blocker(state, orbit)
    while blocker >= 0:
        remove(state, blocker)
        blocker = find_blocker(state, orbit)
    if blocker == HOPELESS:
        remove(state, orbit)
        state.role[orbit] = BARRED


@jit
def fill(state: Any, order: Any) -> None:
    """Add the orbits of a list that fit, one after the other."""
    for orbit in order:
        if state.role[orbit] == ABSENT and state.room[state.slot[orbit]] > 0:
            first = state.starts[orbit]
            if find_path(state, int(state.pairs[first, 0]), int(state.pairs[first, 1])) == 0:
                insert(state, orbit)
                if find_blocker(state, orbit) != NONE:
                    remove(state, orbit)


@jit
def shuffle(random: Any, order: Any) -> None:
    """Bring a list into a random order (Fisher and Yates)."""
    for place in range(len(order) - 1, 0, -1):
        other = below(random, place + 1)
        order[place], order[other] = order[other], order[place]


@jit
def restore(state: Any, kept: Any) -> None:
    """Bring the present orbits back to those marked in `kept`."""
    for orbit in range(len(kept)):
        if state.role[orbit] == PRESENT and not kept[orbit]:
            remove(state, orbit)
    for orbit in range(len(kept)):
        if state.role[orbit] == ABSENT and kept[orbit]:
            insert(state, orbit)


@jit
def fits(state: Any) -> bool:
    """Tell whether every node has the least degree."""
    return bool(state.degree.min() >= state.facts[LEAST])


@jit
def walk(state: Any, first: Any) -> Any:
    """Search until the budget is used up; return which orbits the best graph has.

    A graph in which every node has the least degree is better than any other.
    """
    facts, role = state.facts, state.role
    order = np.flatnonzero(role == ABSENT)
    fill(state, first)
    shuffle(state.random, order)
    fill(state, order)
    kept = (role == PRESENT) | (role == FROZEN)
    best = kept.copy()
    kept_edges = best_edges = most = facts[EDGES]
    best_fits = fits(state)
    idle = 0
    while facts[FLIPS] < facts[BUDGET] and not (best_fits and 0 < facts[TARGET] <= best_edges):
        absent = order[role[order] == ABSENT]
        if len(absent) == 0:
            break
        force(state, absent[below(state.random, len(absent))])
        shuffle(state.random, order)
        fill(state, order)
        idle += 1
        if facts[EDGES] >= kept_edges or idle % PATIENCE == 0:
            kept = (role == PRESENT) | (role == FROZEN)
            kept_edges = facts[EDGES]
            if kept_edges > most:
                most, idle = kept_edges, 0
            if kept_edges > best_edges or not best_fits:
                here = fits(state)
                if (here and not best_fits) or (here == best_fits and kept_edges > best_edges):
                    best, best_edges, best_fits = kept.copy(), kept_edges, here
        else:
            restore(state, kept)
    return best
