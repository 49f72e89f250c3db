"""How a flip of uv changes C at the ends of all paths through uv.

For forbidden cycles C counts simple paths with one edge less than a forbidden length. With cycles
of 3 and 4 edges forbidden and degrees d these are 3 d^2 + 2 d entries: `_gather` writes their
places into a buffer, `_apply` changes them in one tight loop, and the few that may change lists
are looked at in a third. Longer cycles go by two nested searches.

What makes it fast, measured at 200 nodes of degree 11 (two busy cores): places are computed, not
looked up, for whole blocks of 16 neighbours in vectors, and what is beyond a row's end is
overwritten by the next row (0.3 ns a place; 2.5 ns in a loop that asks for each); unsigned places
spare numba's question whether they count from the end (0.7 ns a change; 1.5 ns).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import Whole, bare, within
from tenfold.rooms.extremal.board import (
    BARRED,
    BLOCK,
    EDGE,
    LENGTHS,
    LISTED,
    NODES,
    bump,
    move,
    pair_of,
)

TRIANGLES, QUADRILATERALS = 4, 8
"""Bits of LENGTHS for paths of 2 and 3 edges."""


@within
def change_paths(board: Any, pair: Whole, sign: Whole) -> None:
    """Change C at the ends of all paths through a pair that is not among the neighbours now."""
    u, v = np.int64(board.low[pair]), np.int64(board.high[pair])
    lengths = board.facts[LENGTHS]
    if lengths >> 4:
        _change_long_paths(board, u, v, sign)
    elif lengths:
        # The pair itself stands for what is no path; its own entry must not change.
        value = board.table[pair]
        board.table[pair] = BARRED
        _apply(board, _gather(board, pair, u, v), sign)
        board.table[pair] = value


@within
def _gather(board: Any, pair: Whole, u: Whole, v: Whole) -> Whole:
    """Write the ends of paths of 2 and 3 edges through uv to the buffer; return how many."""
    near, degree, buffer = board.near, board.degree, board.buffer
    home, twice = np.int32(pair), np.int32(2 * board.facts[NODES] - 3)
    lengths = board.facts[LENGTHS]
    count = np.uint64(0)
    for side in range(2):
        here, there = (np.uint64(u), v) if side == 0 else (np.uint64(v), u)
        if lengths & TRIANGLES:
            count = _write_row(buffer, count, near, here, degree[here], there, home, twice)
        if lengths & QUADRILATERALS:
            for i in range(degree[here]):
                a = np.uint64(near[here, np.uint64(i)])
                count = _write_row(buffer, count, near, a, degree[a], there, home, twice)
    if lengths & QUADRILATERALS:
        for i in range(degree[u]):
            end = np.int64(near[np.uint64(u), np.uint64(i)])
            count = _write_row(buffer, count, near, np.uint64(v), degree[v], end, home, twice)
    return count


@within
def _write_row(
    buffer: Any,
    count: Whole,
    near: Any,
    node: Whole,
    size: Whole,
    other: Whole,
    home: Whole,
    twice: Whole,
) -> Whole:
    """Write the pairs of `other` with the neighbours of `node`; return the count after them.

    `home` is written for a pair of `other` with itself. Whole blocks are written, the next row
    begins behind the last neighbour.
    """
    y = np.int32(other)
    # A fixed number of turns would be unrolled before it could become vectors: 4 times slower.
    for j in range((size + BLOCK - 1) & ~(BLOCK - 1)):
        c = np.int32(near[node, np.uint64(j)])
        low = c if c < y else y
        high = y if c < y else c
        before = np.int32(np.int32(low * np.int32(twice - low)) >> np.int32(1))
        pair = np.int32(before + high - np.int32(1))
        buffer[count + np.uint64(j)] = home if c == y else pair
    return count + np.uint64(size)


@within
def _apply(board: Any, count: Whole, sign: Whole) -> None:
    """Add `sign` to the entries whose places are in the buffer; few of them change lists."""
    table, buffer, values = board.table, board.buffer, board.values
    top = np.int32(max(board.facts[LISTED], 1) + (1 if sign < 0 else 0))
    step, without = np.int32(sign), np.int32(~EDGE)
    found = np.uint64(0)
    for i in range(count):
        pair = np.uint32(buffer[i])
        value = table[pair]
        table[pair] = value + step
        if value & without <= top:
            buffer[found] = pair
            values[found] = value
            found += np.uint64(1)
    for i in range(found):
        value = np.int64(values[i])
        move(board, np.int64(buffer[i]), value, value + sign)


@within
def _longest(lengths: Whole) -> Whole:
    """Return the most edges of a path that closes a forbidden cycle."""
    longest = np.int64(0)
    while lengths >> (longest + 1):
        longest += np.int64(1)
    return longest


@bare
def _change_long_paths(board: Any, u: Whole, v: Whole, sign: Whole) -> None:
    """Change C for forbidden cycles of any length, by two nested searches.

    A path through uv is a path from u that avoids v, then uv, then a path from v that avoids
    all of the former.
    """
    lengths, marks = board.facts[LENGTHS], board.marks
    longest = _longest(lengths)
    nodes, places = board.paths[0], board.paths[1]
    depth, nodes[0], places[0] = np.int64(0), u, 0
    marks[u] = marks[v] = 1
    _change_behind(board, v, u, np.int64(0), longest, sign)
    while depth >= 0:
        node = nodes[depth]
        if depth < longest - 1 and places[depth] < board.degree[node]:
            following = np.int64(board.near[node, places[depth]])
            places[depth] += 1
            if not marks[following]:
                depth += 1
                nodes[depth], places[depth] = following, 0
                marks[following] = 1
                _change_behind(board, v, following, depth, longest, sign)
        else:
            marks[node] = 0
            depth -= 1
    marks[v] = 0


@bare
def _change_behind(
    board: Any, v: Whole, end: Whole, before: Whole, longest: Whole, sign: Whole
) -> None:
    """Change C between `end`, which lies `before` edges from u, and the ends of paths from v."""
    lengths, marks = board.facts[LENGTHS], board.marks
    nodes, places = board.paths[2], board.paths[3]
    depth, nodes[0], places[0] = np.int64(0), v, 0
    if before and (lengths >> (before + 1)) & 1:
        bump(board, pair_of(board, end, v), sign)
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
                    bump(board, pair_of(board, end, following), sign)
        else:
            if depth:
                marks[node] = 0
            depth -= 1


@bare
def path_edges(board: Any, u: Whole, v: Whole) -> Whole:
    """Write the edges of a path that closes a forbidden cycle with uv to the buffer."""
    lengths, marks = board.facts[LENGTHS], board.marks
    longest = _longest(lengths)
    nodes, places = board.paths[0], board.paths[1]
    depth, nodes[0], places[0] = np.int64(0), u, 0
    marks[u] = 1
    found = np.int64(0)
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
