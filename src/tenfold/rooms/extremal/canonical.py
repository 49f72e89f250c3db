"""One form for all graphs that differ by their numbering only, and the automorphisms of a graph.

Colour refinement splits the nodes into cells that no property of neighbours tells apart. Where
cells with several nodes remain, one node is put in a cell of its own, and so on: a tree whose
leaves are numberings of the nodes. Of all leaves the one with the greatest marks (invariants of
the refinements on the way), and among those the greatest list of edges, is the canonical form.
Two leaves with the same list of edges give an automorphism; where it maps a branch to one that
was searched before, the rest of the branch is left out. The order of the group is the product,
along the first path, of the orbits under the automorphisms that fix the path so far.

The ideas are those of McKay 1981 and McKay and Piperno 2014, arXiv 1301.1493.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.rooms.extremal import refinement
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.refinement import CELL, CELLS, MARKS, ORDER, SAME, SIZE, VERSUS

Nodes = NDArray[np.int32]
Marks = NDArray[np.int64]

INVARIANT = "invariant-"
"""What the digest begins with where time did not suffice for the canonical form."""
_NOTHING = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Canon:
    """The canonical form of a graph and its automorphisms."""

    order: NDArray[np.intp]
    """[nodes]: node i of the form is node order[i] of the graph (as in `graph.relabel`)."""
    graph: Graph
    """The form: equal for isomorphic graphs, if `exact`."""
    group_order: int
    """Number of automorphisms; 0: not known."""
    generators: tuple[Nodes, ...]
    """Automorphisms, images of all nodes, that generate the group if `exact`."""
    orbits: Nodes
    """[nodes]: the least node that the generators map to each node."""
    digest: str
    """SHA-256 of the form in hexadecimal; if not `exact`, of an invariant, after `INVARIANT`."""
    exact: bool
    """Whether the search came to its end."""


def canonical_form(graph: Graph, *, seconds: float = 10.0) -> Canon:
    """Find the canonical form and the automorphisms of a graph.

    Past `seconds` the search stops: the digest is then the same for isomorphic graphs, but
    others may share it, and the form is one of many.
    """
    assert graph.nodes > 0, "a graph without nodes has no numbering"
    _load_loops()
    return _find_form(graph, seconds=seconds)


@functools.cache
def _load_loops() -> None:
    """Compile or load the loops by a first use, which is no part of anyone's time."""
    pentagon = np.array([[0, 1], [0, 4], [1, 2], [2, 3], [3, 4]], dtype=np.int32)
    _find_form(Graph(5, pentagon), seconds=math.inf)


def _find_form(graph: Graph, *, seconds: float) -> Canon:
    starts, near = neighbour_lists(graph)
    search = _Search(
        starts=starts,
        near=near,
        deadline=time.monotonic() + seconds,
        table=np.empty((8, graph.nodes), dtype=np.int32),
    )
    for node, twin in enumerate(refinement.find_twins(starts, near)):
        if twin >= 0:
            _keep_automorphism(search, _exchange(graph.nodes, node, twin))
    exact = _explore(search)
    leaf = search.best or search.first
    assert leaf is not None, "the first path always reaches a leaf"
    edges = _form_edges(search, leaf)
    generators = search.table[: search.count].copy()
    orbits = np.arange(graph.nodes, dtype=np.int32)
    refinement.join_orbits(orbits, generators, orbits[:0])
    return Canon(
        order=leaf.order.astype(np.intp),
        graph=Graph(graph.nodes, edges),
        group_order=search.group_order if exact else 0,
        generators=tuple(generators),
        orbits=orbits,
        digest=_digest(graph.nodes, edges) if exact else INVARIANT + _invariant(search),
        exact=exact,
    )


def neighbour_lists(graph: Graph) -> tuple[Nodes, Nodes]:
    """Return (starts, near): sorted neighbours of u are near[starts[u] : starts[u + 1]]."""
    u, v = graph.edges.T
    ends = np.concatenate([u, v]).astype(np.int64) * graph.nodes + np.concatenate([v, u])
    ends.sort()
    starts = np.searchsorted(ends, np.arange(graph.nodes + 1) * graph.nodes)
    return starts.astype(np.int32), (ends % max(graph.nodes, 1)).astype(np.int32)


def _exchange(nodes: int, u: int, v: int) -> Nodes:
    permutation = np.arange(nodes, dtype=np.int32)
    permutation[[u, v]] = v, u
    return permutation


def _digest(nodes: int, edges: NDArray[np.int32]) -> str:
    return hashlib.sha256(b"graph %d:" % nodes + edges.astype("<i4").tobytes()).hexdigest()


# The search tree


@dataclass(frozen=True, slots=True, eq=False)
class _Leaf:
    """A numbering of the nodes, and how it was reached."""

    path: Nodes
    marks: list[Marks]
    """One row for each step of the path."""
    order: Nodes
    form: Nodes


@dataclass(slots=True, eq=False)
class _Branch:
    """A node of the tree."""

    path: Nodes
    """Nodes that were put in cells of their own."""
    state: Nodes
    cells: int
    marks: Marks
    same: bool
    """Whether all marks so far are those of the first leaf."""
    versus: int
    """How the marks so far compare with those of the best path: -1, 0 or 1."""
    leading: bool
    """Whether it is on the way to the first leaf."""
    orbits: Nodes
    """[nodes], of the known automorphisms that fix the path."""
    joined: int = 0
    """How many of the automorphisms are in `orbits`."""
    children: list[int] = field(default_factory=list)
    """Nodes still to be put in a cell of their own, the next one last."""
    tried: list[int] = field(default_factory=list)
    pending: list[_Branch] = field(default_factory=list)
    """Children that are as good as the best path, to be searched once all have been compared."""
    searched: list[int] = field(default_factory=list)
    """The last nodes of the paths of children that were searched."""


@dataclass(slots=True, eq=False)
class _Search:
    """What the search has found."""

    starts: Nodes
    near: Nodes
    deadline: float
    table: Nodes
    """[at least count, nodes]: automorphisms."""
    count: int = 0
    group_order: int = 1
    first: _Leaf | None = None
    best: _Leaf | None = None
    """Missing while the best path does not reach a leaf yet."""
    lead: list[Marks] = field(default_factory=list)
    """Marks of the best path."""

    @property
    def nodes(self) -> int:
        return len(self.starts) - 1


def _explore(search: _Search) -> bool:
    """Search the tree; return whether time sufficed. The first path is always finished."""
    root = _root(search)
    stack = [root]
    if root.cells == search.nodes:
        _visit_leaf(search, [], root)
        return True
    while stack:
        if search.first and time.monotonic() > search.deadline:
            return False
        child = _next_branch(search, stack[-1])
        if child is None:
            _leave(search, stack.pop())
        elif child.cells < search.nodes:
            stack.append(child)
        else:
            del stack[_visit_leaf(search, stack, child) + 1 :]
    return True


def _next_branch(search: _Search, branch: _Branch) -> _Branch | None:
    """Return the child to search next, nothing if none is left.

    A child that is ahead of the best path becomes the best path, but is not searched before its
    siblings have been compared: otherwise every record on every level would be searched in full.
    Children like the first path are searched at once, as they may give automorphisms.
    """
    while (node := _next_child(search, branch)) >= 0:
        child = _descend(search, branch, node)
        if child is None:
            continue
        if search.first is None or child.same or (child.versus == 0 and search.best):
            return child
        if child.versus > 0:
            search.lead[len(branch.path) :] = [child.marks]
            search.best = None
            branch.pending.clear()
            child.versus = 0
        branch.pending.append(child)
    searched = {branch.orbits[node] for node in branch.searched}
    while branch.pending:
        child = branch.pending.pop()
        if branch.orbits[child.path[-1]] not in searched:
            branch.searched.append(int(child.path[-1]))
            return child
    return None


def _next_child(search: _Search, branch: _Branch) -> int:
    """Return the next node that no known automorphism maps to one that was tried; -1 if none."""
    if branch.joined < search.count:
        new = search.table[branch.joined : search.count]
        refinement.join_orbits(branch.orbits, new, branch.path)
        branch.joined = search.count
    tried = {branch.orbits[node] for node in branch.tried}
    while branch.children:
        node = branch.children.pop()
        if branch.orbits[node] not in tried:
            branch.tried.append(node)
            return node
    return -1


def _leave(search: _Search, branch: _Branch) -> None:
    """Count the orbit of the first child, if the branch is on the first path."""
    if branch.leading:
        size = np.count_nonzero(branch.orbits == branch.orbits[branch.tried[0]])
        search.group_order *= int(size)


def _root(search: _Search) -> _Branch:
    """Refine the partition with one cell."""
    state = refinement.unit_partition(search.nodes)
    report = np.array([min(search.nodes, 1), 0, 0, 1])
    return _refine(search, state, 0, np.zeros(0, dtype=np.int32), report)


def _descend(search: _Search, branch: _Branch, node: int) -> _Branch | None:
    """Put a node in a cell of its own and refine; nothing if that leads nowhere."""
    state = branch.state.copy()
    cell = refinement.individualise(state, node)
    versus = branch.versus if search.first else 1
    report = np.array([branch.cells + 1, 0, branch.same, versus])
    child = _refine(search, state, cell, np.append(branch.path, np.int32(node)), report)
    return child if child.versus >= 0 or child.same else None


def _refine(search: _Search, state: Nodes, cell: int, path: Nodes, report: NDArray[Any]) -> _Branch:
    depth = len(path) - 1
    first = _at(search.first.marks, depth) if search.first else _NOTHING
    lead = _at(search.lead, depth)
    marks = np.empty(2 * search.nodes, dtype=np.int64)
    refinement.refine(search.starts, search.near, state, cell, first, lead, marks, report)
    chosen = refinement.choose_cell(state)
    return _Branch(
        path=path,
        state=state,
        cells=int(report[CELLS]),
        marks=marks[: report[MARKS]].copy(),
        same=bool(report[SAME]),
        versus=int(report[VERSUS]),
        leading=search.first is None,
        orbits=np.arange(search.nodes, dtype=np.int32),
        children=state[ORDER, chosen : chosen + state[SIZE, chosen]].tolist(),
    )


def _at(marks: list[Marks], depth: int) -> Marks:
    return marks[depth] if 0 <= depth < len(marks) else _NOTHING


# Leaves


def _visit_leaf(search: _Search, stack: list[_Branch], branch: _Branch) -> int:
    """Compare a leaf with the first and the best; return the depth to go back to."""
    leaf = _Leaf(
        path=branch.path,
        marks=[above.marks for above in [*stack, branch][1:]],
        order=branch.state[ORDER],
        form=refinement.write_form(search.starts, search.near, branch.state),
    )
    if search.first is None:
        search.first = search.best = leaf
        search.lead = list(leaf.marks)
        for above in stack:
            above.same, above.versus = True, 0
    elif branch.same and refinement.compare_forms(leaf.form, search.first.form) == 0:
        return _match(search, leaf, search.first)
    elif branch.versus == 0:
        order = refinement.compare_forms(leaf.form, search.best.form) if search.best else 1
        if search.best and order == 0:
            return _match(search, leaf, search.best)
        search.best = leaf if order > 0 else search.best
    return len(stack)


def _match(search: _Search, leaf: _Leaf, other: _Leaf) -> int:
    """Keep the automorphism between two equal leaves; return the depth where they part."""
    permutation = np.empty_like(leaf.order)
    permutation[other.order] = leaf.order
    _keep_automorphism(search, permutation)
    return int((leaf.path != other.path).argmax())


def _keep_automorphism(search: _Search, permutation: Nodes) -> None:
    if search.count == len(search.table):
        search.table = np.concatenate([search.table, np.empty_like(search.table)])
    search.table[search.count] = permutation
    search.count += 1


def _form_edges(search: _Search, leaf: _Leaf) -> NDArray[np.int32]:
    """Return the edges of a leaf's form, in order."""
    degrees = np.diff(search.starts)[leaf.order]
    rows = np.repeat(np.arange(len(degrees), dtype=np.int32), degrees)
    upper = rows < leaf.form
    return np.stack([rows[upper], leaf.form[upper]], axis=1)


def _invariant(search: _Search) -> str:
    """Return a digest of what one step below the root shows, which needs no long search."""
    search.first, search.lead = None, []
    root = _root(search)
    ends = sorted(_last_mark(search, root, node) for node in range(search.nodes))
    text = f"{search.nodes} {len(search.near)} {root.marks.tolist()} {ends}"
    return hashlib.sha256(text.encode()).hexdigest()


def _last_mark(search: _Search, root: _Branch, node: int) -> int:
    cell = int(root.state[CELL, node])
    if root.state[SIZE, cell] == 1:
        return cell
    child = _descend(search, root, node)
    assert child is not None, "without a best path no branch is behind"
    # Where the partition was all but complete, nothing was left to be refined.
    return int(child.marks[-1]) if len(child.marks) else cell
