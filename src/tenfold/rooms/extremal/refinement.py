"""Compiled loops of the canonical form: ordered partitions of nodes, and how they are refined.

A partition is an int32 array [4, nodes] with the rows below. Its cells are runs of `order`, named
by where they start; the order of the nodes inside a cell means nothing. All that decides where a
cell goes (numbers of neighbours, sizes, places, the turn of the queue) is the same for isomorphic
graphs, so their partitions correspond cell by cell.

A step of `refine` takes one cell from the queue and splits all cells by how many neighbours a
node has in it. Its mark, one number, sums up what has happened so far; the marks of a node of the
search tree are its invariant (the trace of Junttila and Kaski 2007, and of McKay and Piperno 2014,
arXiv 1301.1493). They are compared while they arise, so that a branch that is behind stops at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import jit

ORDER, PLACE, CELL, SIZE = range(4)
"""Rows: nodes cell by cell; each node's place therein; its cell; the size of the cell that starts
at a place."""
CELLS, MARKS, SAME, VERSUS = range(4)
"""What `refine` reports: cells, marks written, whether all marks are those of the first path,
and how they compare with the best path: -1, 0, 1."""
_QUEUE, _QUEUED, _COUNT, _HITS, _TOUCHED, _MEMBERS, _BUCKET = range(7)
_PRIME = 0x2545F4914F6CDD1D
_BITS = 0xFFFFFFFFFF


@jit
def unit_partition(nodes: int) -> Any:
    """Return the partition with one cell."""
    state = np.zeros((4, nodes), dtype=np.int32)
    for node in range(nodes):
        state[ORDER, node] = state[PLACE, node] = node
    state[SIZE, 0] = nodes
    return state


@jit
def individualise(state: Any, node: int) -> int:
    """Put a node in a cell of its own, in front of the rest of its cell; return that cell."""
    cell = int(state[CELL, node])
    _swap(state, state[PLACE, node], cell)
    size = state[SIZE, cell]
    state[SIZE, cell], state[SIZE, cell + 1] = 1, size - 1
    for place in range(cell + 1, cell + size):
        state[CELL, state[ORDER, place]] = cell + 1
    return cell


@jit
def refine(
    starts: Any, near: Any, state: Any, cell: int, first: Any, best: Any, marks: Any, report: Any
) -> None:
    """Split cells until all nodes of a cell have as many neighbours in every cell, in place.

    Args:
        starts: [nodes + 1].
        near: neighbours of node u are near[starts[u] : starts[u + 1]], sorted.
        state: the partition.
        cell: the cell that is new; all others are even towards each other already.
        first: marks of the first path at this depth.
        best: marks of the best path at this depth.
        marks: [2 nodes], written.
        report: the places CELLS to VERSUS; the last two hold the parent's values on entry. If
            the node is behind the best path and unlike the first, the partition is left unfinished.
    """
    nodes = state.shape[1]
    work = np.zeros((7, nodes + 1), dtype=np.int32)
    work[_QUEUE, 0], work[_QUEUED, cell] = cell, 1
    head, waiting, mark, step = 0, 1, 0, 0
    while waiting and report[CELLS] < nodes and (report[SAME] or report[VERSUS] >= 0):
        cell = work[_QUEUE, head]
        head, waiting = (head + 1) % nodes, waiting - 1
        work[_QUEUED, cell] = 0
        mark = _mix(mark, cell)
        touched, mark = _count(starts, near, state, work, cell, mark)
        for i in range(touched):
            old = work[_TOUCHED, i]
            stop = old + state[SIZE, old]
            mark = _split(state, work, old, mark, report)
            waiting = _enqueue(state, work, old, stop, head, waiting)
        mark = _mix(mark, report[CELLS])
        marks[step] = (int(report[CELLS]) << 40) | (mark & _BITS)
        _compare(first, best, marks, step, report)
        step += 1
    report[MARKS] = step
    if step != len(first):
        report[SAME] = 0
    if report[VERSUS] == 0 and step < len(best):
        report[VERSUS] = -1


@jit
def _compare(first: Any, best: Any, marks: Any, step: int, report: Any) -> None:
    """Compare the mark of a step with those of the first and the best path."""
    if report[SAME] and (step >= len(first) or first[step] != marks[step]):
        report[SAME] = 0
    if report[VERSUS] == 0:
        if step >= len(best) or marks[step] > best[step]:
            report[VERSUS] = 1
        elif marks[step] < best[step]:
            report[VERSUS] = -1


@jit
def _mix(mark: int, value: int) -> int:
    """Stir a number into a mark; 63 bits, which wrap alike with and without a compiler."""
    mark = ((int(mark) ^ int(value)) * _PRIME) & 0x7FFFFFFFFFFFFFFF
    return mark ^ (mark >> 29)


@jit
def choose_cell(state: Any) -> int:
    """Return the first of the largest cells, whose nodes are told apart next.

    On incidence graphs of planes this is a thousand times faster than the first or the smallest
    cell with several nodes.
    """
    chosen, cell = 0, 0
    while cell < state.shape[1]:
        if state[SIZE, cell] > state[SIZE, chosen]:
            chosen = cell
        cell += state[SIZE, cell]
    return chosen


@jit
def _swap(state: Any, place: int, other: int) -> None:
    u, v = state[ORDER, place], state[ORDER, other]
    state[ORDER, place], state[ORDER, other] = v, u
    state[PLACE, u], state[PLACE, v] = other, place


@jit
def _count(starts: Any, near: Any, state: Any, work: Any, cell: int, mark: int) -> Any:
    """Count every node's neighbours in a cell; list the cells met, their nodes met at the end.

    Cells of one node cannot split and are only mixed into the mark, by a sum that has no order.
    """
    size = state[SIZE, cell]
    # The order changes on the way. A copy by slices would compile for five seconds, a sort too.
    for i in range(size):
        work[_MEMBERS, i] = state[ORDER, cell + i]
    touched, single = 0, 0
    for i in range(size):
        node = work[_MEMBERS, i]
        for j in range(starts[node], starts[node + 1]):
            other = near[j]
            old = state[CELL, other]
            if state[SIZE, old] == 1:
                single += _mix(old, 1)
                continue
            if work[_COUNT, other] == 0:
                if work[_HITS, old] == 0:
                    work[_TOUCHED, touched] = old
                    touched += 1
                work[_HITS, old] += 1
                _swap(state, state[PLACE, other], old + state[SIZE, old] - work[_HITS, old])
            work[_COUNT, other] += 1
    _sort(work[_TOUCHED], touched)
    return touched, _mix(mark, single)


@jit
def _sort(numbers: Any, count: int) -> None:
    """Sort the first numbers, in place, by insertion: they are few and mostly in order."""
    for i in range(1, count):
        number, place = numbers[i], i
        while place and numbers[place - 1] > number:
            numbers[place] = numbers[place - 1]
            place -= 1
        numbers[place] = number


@jit
def _split(state: Any, work: Any, cell: int, mark: int, report: Any) -> int:
    """Split a cell by the counts of its nodes, smaller counts first; clear the counts."""
    size, hits = state[SIZE, cell], work[_HITS, cell]
    stop = cell + size
    begin = stop - hits
    _sort_by_count(state, work, begin, stop)
    work[_HITS, cell] = 0
    start, last = cell, 0 if hits < size else work[_COUNT, state[ORDER, begin]]
    mark = _mix(_mix(mark, cell), last)
    for place in range(begin, stop):
        node = state[ORDER, place]
        count = work[_COUNT, node]
        work[_COUNT, node] = 0
        if count != last:
            state[SIZE, start] = place - start
            mark = _mix(_mix(mark, place), count)
            start, last = place, count
            report[CELLS] += 1
        state[CELL, node] = start
    state[SIZE, start] = stop - start
    return mark


@jit
def _sort_by_count(state: Any, work: Any, begin: int, stop: int) -> None:
    """Sort a run of nodes by count (counting sort)."""
    low = high = work[_COUNT, state[ORDER, begin]]
    for place in range(begin + 1, stop):
        count = work[_COUNT, state[ORDER, place]]
        low, high = min(low, count), max(high, count)
    if low == high:
        return
    work[_BUCKET, : high - low + 1] = 0
    for place in range(begin, stop):
        node = state[ORDER, place]
        work[_MEMBERS, place] = node
        work[_BUCKET, work[_COUNT, node] - low] += 1
    total = begin
    for count in range(high - low + 1):
        work[_BUCKET, count], total = total, total + work[_BUCKET, count]
    for i in range(begin, stop):
        node = work[_MEMBERS, i]
        place = work[_BUCKET, work[_COUNT, node] - low]
        work[_BUCKET, work[_COUNT, node] - low] = place + 1
        state[ORDER, place], state[PLACE, node] = node, place


@jit
def _enqueue(state: Any, work: Any, cell: int, stop: int, head: int, waiting: int) -> int:
    """Queue the parts of a cell, all but the first largest if the cell was not queued itself."""
    nodes = state.shape[1]
    spared, part = cell, cell
    while part < stop and not work[_QUEUED, cell]:
        if state[SIZE, part] > state[SIZE, spared]:
            spared = part
        part += state[SIZE, part]
    part = cell
    while part < stop:
        if part != spared:
            work[_QUEUE, (head + waiting) % nodes] = part
            work[_QUEUED, part] = 1
            waiting += 1
        part += state[SIZE, part]
    return waiting


# Leaves and permutations


@jit
def write_form(starts: Any, near: Any, state: Any) -> Any:
    """Return the neighbours' places of the node at every place, one row after another, sorted."""
    nodes = state.shape[1]
    form = np.empty(len(near), dtype=np.int32)
    ends = np.zeros(nodes + 1, dtype=np.int32)
    for place in range(nodes):
        node = state[ORDER, place]
        ends[place + 1] = ends[place] + starts[node + 1] - starts[node]
    for place in range(nodes):
        node = state[ORDER, place]
        for i in range(starts[node], starts[node + 1]):
            other = state[PLACE, near[i]]
            form[ends[other]] = place
            ends[other] += 1
    return form


@jit
def compare_forms(one: Any, other: Any) -> int:
    """Compare two forms of one graph: -1, 0 or 1 as the first is less, equal or greater."""
    for i in range(len(one)):
        if one[i] != other[i]:
            return -1 if one[i] < other[i] else 1
    return 0


@jit
def join_orbits(orbits: Any, generators: Any, fixed: Any) -> None:
    """Join orbits, in place, by those permutations that fix the given nodes.

    Args:
        orbits: [nodes], the least node of every node's orbit.
        generators: [any number, nodes], images of all nodes.
        fixed: nodes.
    """
    nodes = len(orbits)
    for row in range(len(generators)):
        if not _fixes(generators[row], fixed):
            continue
        for node in range(nodes):
            u, v = _root(orbits, node), _root(orbits, generators[row, node])
            orbits[max(u, v)] = min(u, v)
    for node in range(nodes):
        orbits[node] = orbits[orbits[node]]


@jit
def _fixes(permutation: Any, fixed: Any) -> bool:
    for node in fixed:  # noqa: SIM110 - compiled
        if permutation[node] != node:
            return False
    return True


@jit
def _root(orbits: Any, node: int) -> int:
    while orbits[node] != node:
        node = orbits[node]
    return node


@jit
def find_twins(starts: Any, near: Any) -> Any:
    """Return for every node the last node before it with the same other neighbours, -1 if none.

    Rows of `near` are sorted.
    """
    nodes = len(starts) - 1
    twins = np.full(nodes, -1, dtype=np.int32)
    for node in range(nodes):
        for other in range(node):
            if _are_twins(starts, near, node, other):
                twins[node] = other
    return twins


@jit
def _are_twins(starts: Any, near: Any, u: int, v: int) -> bool:
    """Compare the neighbours of two nodes, leaving out the nodes themselves."""
    i, j = starts[u], starts[v]
    if starts[u + 1] - i != starts[v + 1] - j:
        return False
    while i < starts[u + 1] and j < starts[v + 1]:
        if near[i] == v:
            i += 1
        elif near[j] == u:
            j += 1
        elif near[i] != near[j]:
            return False
        else:
            i, j = i + 1, j + 1
    return True
