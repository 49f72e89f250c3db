"""Numbers drawn in proportion to their size, for many lanes at once (rooms triad, vdn).

A tree with room for P leaves, P a power of two, is a row of an array: leaf i is node P + i, and
node j lies above nodes 2 j and 2 j + 1; node 1 is the root. A node is at all times the sum of the
two below it and never moved by differences. So nothing drifts, and a tree that is built anew from
its leaves is equal to the last bit. In tests/parts/rl the loops are held to plain sums.
"""

# K lanes, S slots in a circle, P leaves of a tree (S or more), B numbers drawn in each lane

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit


class Trees(NamedTuple):
    """A leaf that holds nothing is 0, and counts in none of the three."""

    total: NDArray[np.float64]
    """[K, 2 P], sum of the leaves below."""
    least: NDArray[np.float64]
    """[K, 2 P], smallest leaf below, infinite if there is none."""
    most: NDArray[np.float64]
    """[K, 2 P], largest leaf below, 0 if there is none."""


def new_trees(lanes: int, *, slots: int) -> Trees:
    """Return trees whose leaves all hold nothing."""
    leaves = 1 << max(0, slots - 1).bit_length()
    shape = (lanes, 2 * leaves)
    return Trees(total=np.zeros(shape), least=np.full(shape, np.inf), most=np.zeros(shape))


@jit
def place(trees: Any, k: int, slot: int, value: float) -> None:
    """Set a leaf of lane `k`, with 0 to nothing, and all nodes above it."""
    total, least, most = trees.total[k], trees.least[k], trees.most[k]
    leaf = slot + len(total) // 2
    total[leaf] = value
    node = leaf // 2
    while node > 0:
        total[node] = total[2 * node] + total[2 * node + 1]
        node //= 2
    # Few leaves are the largest or smallest for more than a few nodes up; then nothing changes.
    least[leaf] = value if value > 0.0 else np.inf
    node = leaf // 2
    while node > 0:
        found = min(least[2 * node], least[2 * node + 1])
        if found == least[node]:
            break
        least[node] = found
        node //= 2
    most[leaf] = value
    node = leaf // 2
    while node > 0:
        found = max(most[2 * node], most[2 * node + 1])
        if found == most[node]:
            break
        most[node] = found
        node //= 2


@jit
def enter(trees: Any, first: Any, amount: Any, slots: int) -> None:
    """Fill `amount` [K] leaves from `first` [K] on in the circle.

    Each becomes as large as the largest one there was in its lane, 1 if there was none.
    """
    for k in range(len(first)):
        value = trees.most[k, 1]
        if value == 0.0:
            value = 1.0
        for i in range(amount[k]):
            place(trees, k, (first[k] + i) % slots, value)


@jit
def leave(trees: Any, first: Any, amount: Any, slots: int) -> None:
    """Take away `amount` [K] leaves from `first` [K] on in the circle."""
    for k in range(len(first)):
        for i in range(amount[k]):
            place(trees, k, (first[k] + i) % slots, 0.0)


@jit
def revise(trees: Any, slot: Any, value: Any) -> None:
    """Set the leaves `slot` [K, B] to `value` [K, B] where they hold something; the last wins."""
    half = trees.total.shape[1] // 2
    for k in range(slot.shape[0]):
        for j in range(slot.shape[1]):
            if trees.total[k, half + slot[k, j]] > 0.0:
                place(trees, k, slot[k, j], value[k, j])


@jit
def find(trees: Any, wanted: Any, slot: Any) -> None:
    """Write to `slot` [K, B] the leaves in which running sums pass `wanted` [K, B].

    Wanted numbers lie in [0, total) of their lane, which must hold something. A leaf that holds
    nothing is never found, however sums are rounded.
    """
    half = trees.total.shape[1] // 2
    for k in range(slot.shape[0]):
        for j in range(slot.shape[1]):
            node, rest = 1, wanted[k, j]
            while node < half:
                node *= 2
                left = trees.total[k, node]
                if rest >= left and trees.total[k, node + 1] > 0.0:
                    rest -= left
                    node += 1
            slot[k, j] = node - half


@jit
def rebuild(trees: Any) -> None:
    """Set everything anew from the sums at the leaves."""
    half = trees.total.shape[1] // 2
    for k in range(trees.total.shape[0]):
        for node in range(half, 2 * half):
            value = trees.total[k, node]
            trees.most[k, node] = value
            trees.least[k, node] = value if value > 0.0 else np.inf
        for node in range(half - 1, 0, -1):
            left, right = 2 * node, 2 * node + 1
            trees.total[k, node] = trees.total[k, left] + trees.total[k, right]
            trees.most[k, node] = max(trees.most[k, left], trees.most[k, right])
            trees.least[k, node] = min(trees.least[k, left], trees.least[k, right])
