"""The engine of moves: one edge is added or removed, and every pair knows what a flip would cost.

For a pair (u, v) the table holds C(u, v): how many forbidden subgraphs contain the edge uv, or
would if it were added; for cycles, the simple paths between u and v with one edge less than a
forbidden length. So the change of s = edges - forbidden subgraphs by a flip is read off,

    adding uv: 1 - C(u, v)        removing uv: C(u, v) - 1,

also in graphs that break the rule. A flip changes C only at the ends of the paths through uv.
With degrees d and cycles of length 3 and 4 forbidden these are 3 d^2 + O(d) entries: `gather`
writes their places into a buffer, `apply` changes them in one tight loop.

Pairs of equal gain lie in lists with their positions, so that one of best gain is drawn in O(1):
absent pairs with C = 0, 1, 2 and edges with C = 0, 1, more.

Everything is arrays (`Board`), so that loops over chains run without Python's lock. The plain
twin of all this is in `tests/rooms/extremal/plain.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.problem import Forbidden, Opened

EDGE = 8192
"""Added to the table's entry of an edge; counts stay below it."""
BARRED = 16384
"""Added to the entry of a pair that must not be flipped: outside the host, or frozen."""
LARGEST_COUNT = 8000
"""A start with more forbidden subgraphs at one pair is repaired on the way in."""

FREE, ONE, TWO, KEPT, CLOSING, CROWDED = range(6)
"""Lists: absent pairs with C = 0, 1, 2; edges with C = 0, 1, and 2 or more."""
NONE = -1

NODES, EDGES, SCORE, FLIPS, LISTED, LENGTHS, CODEGREE, CAP = range(8)
"""Places in `Board.facts`; LISTED is the largest C of absent pairs that have a list, LENGTHS has
a bit for each number of edges of a path that closes a forbidden cycle, CAP the degree limit."""


class Board(NamedTuple):
    """A graph with its table and lists; pairs are numbered row by row, u < v."""

    table: NDArray[np.int16]
    """[pairs]: C, plus EDGE if the pair is an edge, plus BARRED if it must not be flipped."""
    where: NDArray[np.int32]
    """[pairs]: position in its list."""
    lists: NDArray[np.int32]
    """[6, pairs]."""
    sizes: NDArray[np.int64]
    """[6]."""
    low: NDArray[np.int16]
    high: NDArray[np.int16]
    """[pairs]: the two ends."""
    row: NDArray[np.int32]
    """[nodes]: number of the pair (u, v) is row[u] + v."""
    near: NDArray[np.int16]
    """[nodes, nodes]: neighbours, the first degree[u] of a row."""
    degree: NDArray[np.int64]
    buffer: NDArray[np.int32]
    codegrees: NDArray[np.int16]
    """[pairs] common neighbours, if a K2,t is forbidden, else [1]."""
    crossings: NDArray[np.int16]
    """[pairs] the part of C that is due to K2,t, or [1]."""
    marks: NDArray[np.int8]
    """[nodes] scratch: nodes of the path at hand."""
    facts: NDArray[np.int64]
    random: NDArray[np.uint64]


def new_board(opened: Opened, start: Graph, *, key: int, listed: int) -> Board:
    """Lay a graph out on a board.

    Args:
        opened: the problem.
        start: a graph on its nodes; frozen edges are added, pairs outside the host left out.
        key: seed of the board's random numbers.
        listed: largest C of absent pairs that are listed, 1 or 2.
    """
    n = opened.problem.nodes
    forbidden = opened.problem.forbidden
    low, high = np.triu_indices(n, 1)
    pairs = len(low)
    with_codegrees = pairs if forbidden.codegree else 1
    row = np.array([u * n - u * (u + 1) // 2 - u - 1 for u in range(n)], dtype=np.int32)
    board = Board(
        table=np.where(opened.allowed[low, high], 0, BARRED).astype(np.int16),
        where=np.zeros(pairs, dtype=np.int32),
        lists=np.empty((6, pairs), dtype=np.int32),
        sizes=np.zeros(6, dtype=np.int64),
        low=low.astype(np.int16),
        high=high.astype(np.int16),
        row=row,
        near=np.empty((n, n), dtype=np.int16),
        degree=np.zeros(n, dtype=np.int64),
        buffer=np.empty(3 * n * n + 2 * n, dtype=np.int32),
        codegrees=np.zeros(with_codegrees, dtype=np.int16),
        crossings=np.zeros(with_codegrees, dtype=np.int16),
        marks=np.zeros(n, dtype=np.int8),
        facts=_facts(n, forbidden, listed=listed, cap=opened.problem.max_degree),
        random=np.array([key], dtype=np.uint64),
    )
    frozen = _numbers(board, opened.frozen)
    fill(board, frozen, np.setdiff1d(_numbers(board, start), frozen))
    return board


def _facts(nodes: int, forbidden: Forbidden, *, listed: int, cap: int) -> NDArray[np.int64]:
    facts = np.zeros(8, dtype=np.int64)
    facts[NODES], facts[LISTED] = nodes, listed
    facts[LENGTHS] = sum(1 << (length - 1) for length in forbidden.lengths)
    facts[CODEGREE], facts[CAP] = forbidden.codegree, cap or nodes
    return facts


def _numbers(board: Board, graph: Graph) -> NDArray[np.int32]:
    u, v = graph.edges.T
    numbers: NDArray[np.int32] = board.row[u] + v.astype(np.int32)
    return numbers


def graph_of(board: Board) -> Graph:
    """Return the graph that lies on a board."""
    return graph_of_table(board, board.table)


def graph_of_table(board: Board, table: NDArray[np.int16]) -> Graph:
    """Return the graph whose edges a copy of the table marks."""
    chosen = table & EDGE != 0
    edges = np.stack([board.low[chosen], board.high[chosen]], axis=1).astype(np.int32)
    return Graph(int(board.facts[NODES]), edges)


@jit
def fill(board: Any, frozen: Any, others: Any) -> None:
    """List all pairs of an empty board, then add edges; pairs that are barred stay out."""
    for pair in range(len(board.table)):
        if board.table[pair] == 0:
            _push(board, pair, FREE)
    for pair in frozen:
        add(board, pair)
        value = board.table[pair]
        _move(board, pair, value, value + BARRED)
        board.table[pair] = value + BARRED
    for pair in others:
        if board.table[pair] < EDGE:
            if board.table[pair] > LARGEST_COUNT:
                continue
            add(board, pair)


# Random numbers


@jit
def draw(random: Any) -> Any:
    """Return the next 64 random bits (splitmix64: a counter and a mixing function)."""
    random[0] += np.uint64(0x9E3779B97F4A7C15)
    z = random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@jit
def below(random: Any, count: int) -> int:
    """Return a number in 0 .. count - 1; the bias is below count / 2^32."""
    return np.int64(((draw(random) >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@jit
def chance(random: Any) -> float:
    """Return a number in [0, 1)."""
    return np.float64(draw(random) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


# Lists


@jit
def list_of(value: int, listed: int) -> int:
    """Return the list in which a pair with this entry of the table lies, NONE if in none."""
    if value <= listed:
        return value
    if value < EDGE or value >= BARRED:
        return NONE
    return min(KEPT + value - EDGE, CROWDED)


@jit
def _push(board: Any, pair: int, number: int) -> None:
    size = board.sizes[number]
    board.lists[number, size] = pair
    board.where[pair] = size
    board.sizes[number] = size + 1


@jit
def _move(board: Any, pair: int, old: int, new: int) -> None:
    """Move a pair between the lists of its old and new entry of the table."""
    source = list_of(old, board.facts[LISTED])
    target = list_of(new, board.facts[LISTED])
    if source == target:
        return
    if source >= 0:
        last = board.sizes[source] - 1
        place, moved = board.where[pair], board.lists[source, last]
        board.lists[source, place] = moved
        board.where[moved] = place
        board.sizes[source] = last
    if target >= 0:
        _push(board, pair, target)


# Flips


@jit
def pair_of(board: Any, u: int, v: int) -> int:
    """Return the number of a pair of nodes."""
    return board.row[u] + v if u < v else board.row[v] + u


@jit
def add(board: Any, pair: int) -> None:
    """Add an edge."""
    u, v = np.int64(board.low[pair]), np.int64(board.high[pair])
    value = board.table[pair]
    _change_paths(board, u, v, 1)
    board.near[u, board.degree[u]] = v
    board.near[v, board.degree[v]] = u
    board.degree[u] += 1
    board.degree[v] += 1
    board.table[pair] = value + EDGE
    _move(board, pair, value, value + EDGE)
    board.facts[EDGES] += 1
    board.facts[FLIPS] += 1
    board.facts[SCORE] += 1 - (value & (EDGE - 1))
    if board.facts[CODEGREE]:
        _change_codegrees(board, u, v, 1)


@jit
def remove(board: Any, pair: int) -> None:
    """Remove an edge."""
    u, v = np.int64(board.low[pair]), np.int64(board.high[pair])
    _forget(board, u, v)
    _forget(board, v, u)
    _change_paths(board, u, v, -1)
    value = board.table[pair]
    board.table[pair] = value - EDGE
    _move(board, pair, value, value - EDGE)
    board.facts[EDGES] -= 1
    board.facts[FLIPS] += 1
    board.facts[SCORE] += (value & (EDGE - 1)) - 1
    if board.facts[CODEGREE]:
        _change_codegrees(board, u, v, -1)


@jit
def flip(board: Any, pair: int) -> None:
    """Add the edge if it is absent, else remove it."""
    if board.table[pair] & EDGE:
        remove(board, pair)
    else:
        add(board, pair)


@jit
def _forget(board: Any, u: int, v: int) -> None:
    last = board.degree[u] - 1
    for place in range(last):
        if board.near[u, place] == v:
            board.near[u, place] = board.near[u, last]
            break
    board.degree[u] = last


@jit
def _change_paths(board: Any, u: int, v: int, sign: int) -> None:
    """Change C at the ends of all paths through uv, which is not among the neighbours now."""
    lengths = board.facts[LENGTHS]
    if lengths >> 4:
        _change_long_paths(board, u, v, sign)
    elif lengths:
        apply(board, _gather(board, u, v), sign)


@jit
def _gather(board: Any, u: int, v: int) -> int:
    """Write the ends of paths of 2 and 3 edges through uv to the buffer; return how many."""
    row, near, degree, buffer = board.row, board.near, board.degree, board.buffer
    count = 0
    if board.facts[LENGTHS] & 4:  # forbidden triangles
        for i in range(degree[u]):
            a = np.int64(near[u, i])
            buffer[count] = row[a] + v if a < v else row[v] + a
            count += 1
        for i in range(degree[v]):
            b = np.int64(near[v, i])
            buffer[count] = row[b] + u if b < u else row[u] + b
            count += 1
    if not board.facts[LENGTHS] & 8:
        return count
    for i in range(degree[u]):  # a - u - v - b, and c - a - u - v
        a = np.int64(near[u, i])
        for j in range(degree[v]):
            b = np.int64(near[v, j])
            if a != b:
                buffer[count] = row[a] + b if a < b else row[b] + a
                count += 1
        for j in range(degree[a]):
            c = np.int64(near[a, j])
            if c != u and c != v:
                buffer[count] = row[c] + v if c < v else row[v] + c
                count += 1
    for i in range(degree[v]):  # u - v - b - c
        b = np.int64(near[v, i])
        for j in range(degree[b]):
            c = np.int64(near[b, j])
            if c != u and c != v:
                buffer[count] = row[c] + u if c < u else row[u] + c
                count += 1
    return count


@jit
def apply(board: Any, count: int, sign: int) -> None:
    """Add `sign` to the entries whose places are in the buffer; few of them change lists."""
    table, buffer = board.table, board.buffer
    top = board.facts[LISTED] + (1 if sign < 0 else 0)
    for i in range(count):
        pair = buffer[i]
        value = np.int64(table[pair])
        table[pair] = value + sign
        if value <= top or value >= EDGE:
            _move(board, pair, value, value + sign)


@jit
def _bump(board: Any, pair: int, amount: int) -> None:
    value = np.int64(board.table[pair])
    board.table[pair] = value + amount
    _move(board, pair, value, value + amount)


@jit
def _change_long_paths(board: Any, u: int, v: int, sign: int) -> None:
    """As `_gather` and `apply` for forbidden cycles of any length, by two nested searches.

    A path through uv is a path from u that avoids v, then uv, then a path from v that avoids
    all of the former.
    """
    lengths, marks = board.facts[LENGTHS], board.marks
    longest = 0
    while lengths >> (longest + 1):
        longest += 1
    nodes, places = np.empty(longest, np.int64), np.empty(longest, np.int64)
    depth, nodes[0], places[0] = 0, u, 0
    marks[u] = marks[v] = 1
    _change_behind(board, u, v, u, 0, longest, sign)
    while depth >= 0:
        node = nodes[depth]
        if depth < longest - 1 and places[depth] < board.degree[node]:
            following = np.int64(board.near[node, places[depth]])
            places[depth] += 1
            if not marks[following]:
                depth += 1
                nodes[depth], places[depth] = following, 0
                marks[following] = 1
                _change_behind(board, u, v, following, depth, longest, sign)
        else:
            marks[node] = 0
            depth -= 1
    marks[v] = 0


@jit
def _change_behind(
    board: Any, u: int, v: int, end: int, before: int, longest: int, sign: int
) -> None:
    """Change C between `end`, which lies `before` edges from u, and the ends of paths from v."""
    lengths, marks = board.facts[LENGTHS], board.marks
    nodes, places = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    depth, nodes[0], places[0] = 0, v, 0
    if before and (lengths >> (before + 1)) & 1:
        _bump(board, pair_of(board, end, v), sign)
    while depth >= 0:
        node = nodes[depth]
        if before + depth + 1 < longest and places[depth] < board.degree[node]:
            following = np.int64(board.near[node, places[depth]])
            places[depth] += 1
            if not marks[following]:
                depth += 1
                nodes[depth], places[depth] = following, 0
                marks[following] = 1
                if (lengths >> (before + depth + 1)) & 1:
                    _bump(board, pair_of(board, end, following), sign)
        else:
            if depth:
                marks[node] = 0
            depth -= 1


# Forbidden K2,t: a pair of nodes with t common neighbours


@jit
def _change_codegrees(board: Any, u: int, v: int, sign: int) -> None:
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


@jit
def _count_crossings(board: Any, x: int, y: int) -> None:
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
        _bump(board, pair, found - board.crossings[pair])
        board.crossings[pair] = found


# What stands in the way of an absent pair


@jit
def find_obstacle(board: Any, pair: int) -> int:
    """Return an edge, drawn at random, of the one subgraph that the absent `pair` would close.

    Only for C = 1. NONE if that subgraph has no edge that may be removed.
    """
    u, v = np.int64(board.low[pair]), np.int64(board.high[pair])
    count = 0
    if board.facts[LENGTHS]:
        count = _path_edges(board, u, v)
    if count == 0 and board.facts[CODEGREE]:
        count = _star_edges(board, u, v)
        if count == 0:
            count = _star_edges(board, v, u)
    usable = 0
    for i in range(count):
        if board.table[board.buffer[i]] < BARRED:
            board.buffer[usable] = board.buffer[i]
            usable += 1
    return np.int64(board.buffer[below(board.random, usable)]) if usable else NONE


@jit
def _path_edges(board: Any, u: int, v: int) -> int:
    """Write the edges of a path that closes a forbidden cycle with uv to the buffer."""
    lengths, marks = board.facts[LENGTHS], board.marks
    longest = 0
    while lengths >> (longest + 1):
        longest += 1
    nodes, places = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    depth, nodes[0], places[0] = 0, u, 0
    marks[u] = 1
    found = 0
    while depth >= 0:
        node = nodes[depth]
        if found == 0 and depth < longest and places[depth] < board.degree[node]:
            following = np.int64(board.near[node, places[depth]])
            places[depth] += 1
            if following == v:
                if (lengths >> (depth + 1)) & 1:
                    for i in range(depth):
                        board.buffer[i] = pair_of(board, nodes[i], nodes[i + 1])
                    board.buffer[depth] = pair_of(board, node, v)
                    found = depth + 1
            elif depth < longest - 1 and not marks[following]:
                depth += 1
                nodes[depth], places[depth] = following, 0
                marks[following] = 1
        else:
            marks[node] = 0
            depth -= 1
    return found


@jit
def _star_edges(board: Any, x: int, y: int) -> int:
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


@jit
def repair(board: Any) -> None:
    """Remove edges until nothing forbidden is left, those in most forbidden subgraphs first.

    The score does not fall (the paper's lemma: delete one edge of every short cycle); edges
    that are frozen stay.
    """
    while board.sizes[CROWDED] + board.sizes[CLOSING]:
        number = CROWDED if board.sizes[CROWDED] else CLOSING
        best, chosen, ties = np.int64(-1), np.int64(-1), 0
        for i in range(board.sizes[number]):
            pair = np.int64(board.lists[number, i])
            value = np.int64(board.table[pair])
            if value > best:
                best, chosen, ties = value, pair, 1
            elif value == best:
                ties += 1
                if below(board.random, ties) == 0:
                    chosen = pair
        remove(board, chosen)
