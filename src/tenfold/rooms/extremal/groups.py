"""Small groups as multiplication tables, and how they move the nodes of a graph.

A group of order m moves n = k m nodes in k blocks: node b m + x is element x of block b, and the
element g takes it to b m + g x. So Zm turns every block by one place, and a group moving its own
elements (k = 1) has the Cayley graphs as its invariant graphs.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.problem import MAX_NODES

SPELLINGS = "Z12, D7, Z29:Z7, or several joined by x, as Z3xZ3"

Table = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A finite group with elements 0 .. order - 1, of which 0 is the neutral one."""

    name: str
    product: Table
    """[order, order]: product[a, b] = a b."""

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.product)

    def inverses(self) -> Table:
        """Return the inverse of every element, [order]."""
        found: Table = (self.product == 0).argmax(axis=1)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """Permutations of nodes; the group they generate is what a graph must keep."""

    name: str
    permutations: Table
    """[generators, nodes]: row g has the image of every node."""


def cyclic(order: int) -> Group:
    """Return the integers modulo `order`."""
    elements = np.arange(order)
    return Group(f"Z{order}", (elements[:, None] + elements) % order)


def dihedral(order: int) -> Group:
    """Return the symmetries of a polygon with `order` corners: 2 order elements."""
    return Group(f"D{order}", _semidirect(order, 2, order - 1))


def semidirect(normal: int, acting: int) -> Group:
    """Return Zm:Zk, elements j m + a for the pairs (a, j), with (a, i)(b, j) = (a + r^i b, i + j).

    The multiplier r is the least one of order k modulo m.

    Raises:
        TenfoldError: if no multiplier has that order.
    """
    for multiplier in range(1, normal):
        powers = [pow(multiplier, i, normal) for i in range(1, acting + 1)]
        if powers[-1] == 1 and 1 not in powers[:-1]:
            return Group(f"Z{normal}:Z{acting}", _semidirect(normal, acting, multiplier))
    raise TenfoldError(
        f"Z{normal}:Z{acting} has no multiplier of order {acting} modulo {normal}; take a divisor "
        f"of an element's order, or Z{normal}xZ{acting}"
    )


def _semidirect(normal: int, acting: int, multiplier: int) -> Table:
    power = np.array([pow(multiplier, i, normal) for i in range(acting)])
    i, a = np.divmod(np.arange(normal * acting), normal)
    low = (a[:, None] + power[i][:, None] * a) % normal
    product: Table = (i[:, None] + i) % acting * normal + low
    return product


def direct(left: Group, right: Group) -> Group:
    """Return the direct product; (x, y) is element x * right.order + y."""
    x, y = np.divmod(np.arange(left.order * right.order), right.order)
    product = left.product[x[:, None], x] * right.order + right.product[y[:, None], y]
    return Group(f"{left.name}x{right.name}", product)


def read_group(text: str) -> Group:
    """Build the group that "Z12", "D7", "Z29:Z7" or a product such as "Z3xZ3" names.

    Raises:
        TenfoldError: if it names none, or one with more elements than a graph has nodes.
    """
    factors = [_factor(word, text) for word in text.replace(" ", "").split("x")]
    return functools.reduce(direct, factors)


def _factor(word: str, text: str) -> Group:
    match = re.fullmatch(r"([ZD])(\d{1,4})(?::Z(\d{1,4}))?", word)
    if match is None or (match[1] == "D" and match[3]) or not _fits(text):
        raise TenfoldError(
            f"group {text!r} is none of 1 to {MAX_NODES} elements; give {SPELLINGS}, or a file "
            "with a permutation a line"
        )
    order = int(match[2])
    if match[3]:
        return semidirect(order, int(match[3]))
    return cyclic(order) if match[1] == "Z" else dihedral(order)


def _fits(text: str) -> bool:
    orders = [int(number) for number in re.findall(r"\d{1,4}", text)]
    return 0 < math.prod(orders) << text.count("D") <= MAX_NODES


def generators(group: Group) -> list[int]:
    """Return elements that generate the group, few but not always fewest."""
    reached = np.zeros(group.order, dtype=bool)
    reached[0] = True
    chosen: list[int] = []
    while not reached.all():
        chosen.append(int(reached.argmin()))
        size = 0
        while size < reached.sum():
            size = int(reached.sum())
            reached[group.product[np.ix_(np.flatnonzero(reached), np.array(chosen))]] = True
    return chosen


def act(group: Group, nodes: int) -> Action:
    """Let a group move `nodes` nodes in blocks of its order.

    Raises:
        TenfoldError: if the order does not divide the number of nodes.
    """
    if nodes % group.order:
        raise TenfoldError(
            f"group {group.name} of order {group.order} does not divide {nodes} nodes into blocks; "
            f"take a multiple of {group.order}, or another group"
        )
    first = np.arange(nodes) // group.order * group.order
    blocks = nodes // group.order
    rows = [first + np.tile(group.product[g], blocks) for g in generators(group)]
    return Action(group.name, np.array(rows, dtype=np.int64).reshape(-1, nodes))


def read_action(text: str, nodes: int) -> Action:
    """Read a group that moves `nodes` nodes: one that `read_group` names, or a file.

    A file has a permutation a line: the images of nodes 0, 1, .., separated by blanks.

    Raises:
        TenfoldError: if a line of the file is no permutation, naming it.
    """
    path = Path(text)
    if not path.is_file():
        return act(read_group(text), nodes)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [
        _permutation(line, nodes, place=f"{text} line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not rows:
        raise TenfoldError(f"{text} has no permutation; write the images of all nodes in a line")
    return Action(text, np.array(rows))


def _permutation(line: str, nodes: int, *, place: str) -> list[int]:
    words = line.replace(",", " ").split()
    images = [int(word) if word.isdecimal() else -1 for word in words]
    if sorted(images) != list(range(nodes)):
        raise TenfoldError(
            f"{place} has {len(words)} images that are no permutation of 0 .. {nodes - 1}; "
            "write every node once"
        )
    return images


# Pairs of nodes


@dataclass(frozen=True, slots=True, eq=False)
class Orbits:
    """The orbits of a group on pairs of nodes."""

    label: NDArray[np.int32]
    """[nodes, nodes], symmetric: number of a pair's orbit; -1 on the diagonal."""
    starts: NDArray[np.int64]
    """[orbits + 1]: orbit i has the pairs starts[i] .. starts[i + 1] - 1."""
    pairs: NDArray[np.int32]
    """[pairs, 2], u < v, orbit after orbit."""

    @property
    def count(self) -> int:
        """Number of orbits."""
        return len(self.starts) - 1

    def marked(self, matrix: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many pairs of each orbit a matrix marks, [orbits]."""
        u, v = self.pairs.T
        counts: NDArray[np.int64] = np.add.reduceat(matrix[u, v], self.starts[:-1], dtype=np.int64)
        return counts


def pair_orbits(action: Action) -> Orbits:
    """Return the orbits of a group on pairs, numbered by their first pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = action.permutations.shape[1]
    u, v = np.triu_indices(nodes, 1)
    place = np.zeros((nodes, nodes), dtype=np.int64)
    place[u, v] = place[v, u] = np.arange(len(u))
    moved = place[action.permutations[:, u], action.permutations[:, v]].ravel()
    here = np.tile(np.arange(len(u)), len(action.permutations))
    links = coo_array((np.ones(len(here), dtype=np.int8), (here, moved)), shape=(len(u), len(u)))
    count, number = connected_components(links, directed=False)
    order = np.argsort(number, kind="stable")
    label = np.full((nodes, nodes), -1, dtype=np.int32)
    label[u, v] = label[v, u] = number
    return Orbits(
        label=label,
        starts=np.append(0, np.cumsum(np.bincount(number, minlength=count))),
        pairs=np.stack([u, v], axis=1)[order].astype(np.int32),
    )
