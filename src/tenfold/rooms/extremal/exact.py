"""Exact optimum over a few hundred free pairs: an integer program whose rows forbid cycles.

A binary variable for every free pair (or orbit of free pairs), and for every forbidden subgraph
of the host a row: not all of its free pairs. For amalgams these are the conflicts of two class
edges that a base path joins on both sides, and the short cycles inside classes. Cycles of length
3 and 4 are rows from the beginning; longer ones and K2,t become rows once a solution has them.
A limit is put on the edges inside each connected piece of the free pairs, a class of an amalgam.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.graph import Graph, from_adjacency
from tenfold.rooms.extremal.groups import Action, pair_orbits
from tenfold.rooms.extremal.orbits import check_invariant
from tenfold.rooms.extremal.problem import Forbidden, Opened, Problem
from tenfold.rooms.extremal.programs import SOLVERS, Limit, Program, Row, Solver, Status

FIXED, BARRED = -1, -2
"""Pairs without a variable: edges of the frozen graph, and pairs that cannot be edges."""
AT_ONCE = 20_000
"""Rows that one solution may add."""
SLACK = 1e-6
"""By so much a bound in floating point may lie beside the integer that it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """The best graph, and how much better one could be."""

    graph: Graph | None
    """A legal graph; None if none was found or there is none."""
    bound: int
    """No legal graph has more edges (that is invariant, if a group was given)."""
    status: Status
    rows: int
    """Forbidden subgraphs that the program had in the end."""
    seconds: float


def solve_exact(
    opened: Opened,
    *,
    seconds: float = 60.0,
    solver: Solver = "cpsat",
    workers: int = 1,
    action: Action | None = None,
    start: Graph | None = None,
    seed: int = 0,
) -> Exact:
    """Find the graph with the most edges between the frozen graph and the host.

    Args:
        opened: the problem; some hundred free pairs are within reach.
        seconds: time limit; what is known by then is returned.
        solver: CP-SAT of OR-tools, the better one here, or HiGHS, which comes with SciPy.
        workers: threads of CP-SAT.
        action: look only at graphs that it leaves as they are, with a variable an orbit.
        start: a graph to begin with, of which CP-SAT makes use.
        seed: of the solver.

    Raises:
        TenfoldError: if the frozen edges alone break the rule, or OR-tools is missing.
    """
    began = time.monotonic()
    variable = number_pairs(opened, action)
    program = build_program(opened, variable)
    hint = None if start is None else _chosen(program, variable, start)
    found = Exact(graph=None, bound=_most(program), status="unknown", rows=0, seconds=0.0)
    while found.status == "unknown" and (left := began + seconds - time.monotonic()) > 0:
        solution = SOLVERS[solver](program, seconds=left, workers=workers, hint=hint, seed=seed)
        found = replace(found, bound=min(found.bound, math.floor(solution.bound + SLACK)))
        if solution.chosen is None:
            found = replace(found, status=solution.status)
            break
        missed = find_missed(solution.chosen, variable, opened.problem.forbidden)
        hint = repair(solution.chosen, variable, opened.problem.forbidden)
        program.rows.update(missed)
        found = _better(found, _graph(hint, variable), opened.problem)
        found = found if missed else replace(found, status=solution.status)
    return _finish(found, opened, rows=len(program.rows), seconds=time.monotonic() - began)


def _better(found: Exact, graph: Graph, problem: Problem) -> Exact:
    if found.graph is not None and found.graph.size >= graph.size:
        return found
    return found if graph.degrees().min() < problem.min_degree else replace(found, graph=graph)


def _finish(found: Exact, opened: Opened, *, rows: int, seconds: float) -> Exact:
    """Add the frozen edges to the bound, and let the status say what is known."""
    status, bound = found.status, found.bound + opened.frozen.size
    if status == "unknown" and found.graph is not None:
        status = "feasible"
    if found.graph is not None and found.graph.size == bound:
        status = "optimal"
    return replace(found, status=status, bound=bound, rows=rows, seconds=seconds)


# Variables


def number_pairs(opened: Opened, action: Action | None = None) -> NDArray[np.int64]:
    """Return the variable of every pair, FIXED or BARRED, [nodes, nodes], symmetric.

    With a group all pairs of an orbit have one variable.

    Raises:
        TenfoldError: if the group moves a frozen edge to a pair that is not frozen.
    """
    nodes = opened.problem.nodes
    trivial = Action("Z1", np.arange(nodes)[None])
    orbits = pair_orbits(action or trivial)
    frozen = check_invariant(opened.frozen, orbits, what="frozen", group=(action or trivial).name)
    barred = orbits.marked(~opened.allowed) > 0
    free = ~frozen & ~barred
    number = np.where(frozen, FIXED, BARRED)
    number[free] = np.arange(free.sum())
    # The diagonal's label is -1, the last place.
    variable: NDArray[np.int64] = np.append(number, BARRED)[orbits.label]
    return variable


def _graph(chosen: NDArray[np.bool_], variable: NDArray[np.int64]) -> Graph:
    """Return the frozen edges and those of the chosen variables."""
    return from_adjacency(np.append(chosen, [False, True])[variable])


def _chosen(program: Program, variable: NDArray[np.int64], graph: Graph) -> NDArray[np.bool_]:
    """Return the variables all of whose pairs a graph has."""
    here = variable[tuple(graph.edges.T)]
    counts = np.bincount(here[here >= 0], minlength=len(program.weights))
    complete: NDArray[np.bool_] = counts == program.weights
    return complete


def _most(program: Program) -> int:
    return int(program.weights.sum())


# Rows


def build_program(opened: Opened, variable: NDArray[np.int64]) -> Program:
    """Write down all that can be said before anything is solved.

    Raises:
        TenfoldError: if the frozen edges alone have a forbidden cycle of length 3 or 4.
    """
    forbidden = opened.problem.forbidden
    short = Forbidden(tuple(n for n in forbidden.lengths if n <= 4))
    if forbidden.codegree == 2:
        short = Forbidden(tuple(sorted({*short.lengths, 4})))
    upper = variable[np.triu_indices(len(variable), 1)]
    return Program(
        weights=np.bincount(upper[upper >= 0]),
        rows=set(_rows(variable >= FIXED, variable, short)),
        limits=[*_degree_limits(opened.problem, variable), *_piece_limits(opened, variable)],
    )


def find_missed(
    chosen: NDArray[np.bool_], variable: NDArray[np.int64], forbidden: Forbidden
) -> set[Row]:
    """Return rows that a choice breaks, at most AT_ONCE of them."""
    matrix = _graph(chosen, variable).adjacency()
    return set(itertools.islice(_rows(matrix, variable, forbidden), AT_ONCE))


def repair(
    chosen: NDArray[np.bool_], variable: NDArray[np.int64], forbidden: Forbidden
) -> NDArray[np.bool_]:
    """Leave out variables until no forbidden subgraph is left."""
    left = chosen.copy()
    while missed := find_missed(left, variable, forbidden):
        for row in missed:
            if all(left[i] for i in row):
                left[max(row)] = False
    return left


def _rows(
    matrix: NDArray[np.bool_], variable: NDArray[np.int64], forbidden: Forbidden
) -> Iterator[Row]:
    """Yield the variables of every forbidden subgraph in a graph."""
    near = [np.flatnonzero(row).tolist() for row in matrix]
    for length in forbidden.lengths:
        for nodes in cycles(near, length):
            yield _row(variable, zip(nodes, (*nodes[1:], nodes[0]), strict=True), f"C{length}")
    if forbidden.codegree:
        for pair, middles in bicliques(matrix, forbidden.codegree):
            edges = itertools.product(pair, middles)
            yield _row(variable, edges, f"K2_{forbidden.codegree}")


def _row(variable: NDArray[np.int64], edges: Iterable[tuple[int, int]], name: str) -> Row:
    listed = list(edges)
    row = frozenset(int(variable[edge]) for edge in listed) - {FIXED}
    if not row:
        shown = ", ".join(f"{u} - {v}" for u, v in listed)
        raise TenfoldError(f"the frozen edges {shown} alone make a {name}; leave one of them out")
    return row


def cycles(near: list[list[int]], length: int) -> Iterator[tuple[int, ...]]:
    """Yield the nodes of every cycle of a length, each once: from its least node, smaller way."""

    def extend(path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for node in near[path[-1]]:
            if node <= path[0] or node in path:
                continue
            if len(path) + 1 < length:
                yield from extend((*path, node))
            elif path[1] < node and path[0] in near[node]:
                yield (*path, node)

    for first in range(len(near)):
        yield from extend((first,))


def bicliques(
    matrix: NDArray[np.bool_], size: int
) -> Iterator[tuple[tuple[int, int], tuple[int, ...]]]:
    """Yield every K2,size: two nodes and as many common neighbours."""
    common = matrix.astype(np.int64) @ matrix
    for u, w in np.argwhere(np.triu(common >= size, 1)).tolist():
        shared = np.flatnonzero(matrix[u] & matrix[w]).tolist()
        for middles in itertools.combinations(shared, size):
            yield (u, w), middles


# Limits


def _degree_limits(problem: Problem, variable: NDArray[np.int64]) -> Iterator[Limit]:
    """Yield the least and largest degree of every node, if there are such limits."""
    if not problem.min_degree and not problem.max_degree:
        return
    for row in variable:
        fixed = int((row == FIXED).sum())
        most = (problem.max_degree or problem.nodes) - fixed
        yield Limit(np.bincount(row[row >= 0]), problem.min_degree - fixed, most)


def _piece_limits(opened: Opened, variable: NDArray[np.int64]) -> Iterator[Limit]:
    """Yield a limit for each connected piece of free pairs: no graph on its nodes has more."""
    from scipy.sparse.csgraph import connected_components

    from tenfold.rooms.extremal.bounds import upper_bound

    _, piece = connected_components(variable >= 0, directed=False)
    for number in np.unique(piece):
        nodes = np.flatnonzero(piece == number)
        inside = variable[np.ix_(nodes, nodes)][np.triu_indices(len(nodes), 1)]
        if len(nodes) > 1:
            problem = Problem(nodes=len(nodes), forbid=opened.problem.forbid)
            most = upper_bound(problem).value - int((inside == FIXED).sum())
            yield Limit(np.bincount(inside[inside >= 0]), 0, most)
