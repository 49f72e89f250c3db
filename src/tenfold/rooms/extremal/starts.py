"""Where a search begins: structured graphs cut to size, and neighbours in number of nodes.

The structured start that wins is a semiplane (amalgam.py) with some classes left out and some
nodes of the last one deleted, or some nodes added: first its edges stay and only pairs that close
no short cycle with them are free (`open_around`), which are few; then all pairs are free.
Leaving out line classes leaves points of different classes without a joining line, so that pairs
between classes become free as well as those inside.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass

import numpy as np

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.amalgam import (
    Family,
    Plan,
    amalgam,
    amalgams_near,
    plan,
    truncate,
)
from tenfold.rooms.extremal.graph import Graph, extend, induced
from tenfold.rooms.extremal.kernels import EDGE, new_board
from tenfold.rooms.extremal.problem import Opened

UNEVEN = 3
"""Most point classes beyond the line classes; more uneven amalgams have far fewer edges."""
GROWN_FROM = 100
"""Fewest nodes on which amalgams with added nodes are worth a try: below they only cost flips."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An amalgam brought to a number of nodes: nodes of its last classes deleted, or more added."""

    plan: Plan
    nodes: int
    """Nodes that it has then."""
    points_first: bool = False
    """Whether nodes of the point classes are deleted, not of the line classes."""

    @property
    def name(self) -> str:
        """The plan, the number of nodes, and which side is cut."""
        if self.nodes == self.plan.nodes:
            return self.plan.name
        side = "points" if self.points_first else "lines"
        change = "grown" if self.nodes > self.plan.nodes else f"{side} cut"
        return f"{self.plan.name}; {self.nodes} nodes, {change}"

    @property
    def reach(self) -> float:
        """Edges that it would have if every class were full: a guess, for sorting only.

        A deleted node takes the mean degree with it. An added one gets about sqrt(n) / 2, half of
        the degree that the largest graphs have.
        """
        more = self.nodes - self.plan.nodes
        mean = 2 * self.plan.limit / self.plan.nodes
        return self.plan.limit + more * (mean if more < 0 else math.sqrt(self.nodes) / 2)


@functools.cache
def cuts(nodes: int, *, above: int = 24) -> tuple[Cut, ...]:
    """Return the amalgams brought to `nodes` nodes, those that reach farthest first.

    Args:
        nodes: how many they have then; from `GROWN_FROM` on up to a fifth of them is added. Far
            from the next amalgam above, this is what wins: 36 nodes added to 144 give 1050 edges
            on 180.
        above: most nodes that are deleted.
    """
    found = []
    below = nodes // 5 if nodes >= GROWN_FROM else 0
    for source in amalgams_near(nodes, below=below, above=above):
        if source.lines >= 2 and source.points - source.lines <= UNEVEN:
            sides = (False, True) if source.nodes > nodes else (False,)
            found += [Cut(source, nodes, side) for side in sides]
    return tuple(sorted(found, key=lambda cut: (-cut.reach, cut.name)))


def build(cut: Cut) -> Graph:
    """Build an amalgam on as many nodes as it is to have; added nodes are isolated."""
    source = cut.plan
    whole = amalgam(source.family, q=source.q, points=source.points, lines=source.lines)
    missing = whole.nodes - cut.nodes
    if missing <= 0:
        return extend(whole.base, cut.nodes)
    classes = whole.classes[: source.points] if cut.points_first else whole.classes[source.points :]
    gone = np.concatenate(classes[::-1])[:missing]
    return truncate(whole, keep=np.setdiff1d(np.arange(whole.nodes), gone)).base


_CUT = re.compile(
    r"amalgam:([CLD]),q=(\d+),k=(\d+),l=(\d+)(?:; (\d+) nodes, (points cut|lines cut|grown))?"
)


def read_cut(text: str) -> Cut:
    """Read the name of an amalgam brought to a number of nodes.

    Raises:
        TenfoldError: if it is none.
    """
    match = _CUT.fullmatch(text)
    if match is None:
        raise TenfoldError(
            f"{text!r} names no cut amalgam; give for example "
            "'amalgam:C,q=9,k=9,l=8; 150 nodes, lines cut'"
        )
    family: Family = match[1]  # type: ignore[assignment]
    source = plan(family, q=int(match[2]), points=int(match[3]), lines=int(match[4]))
    nodes = int(match[5]) if match[5] else source.nodes
    cut = Cut(source, nodes, match[6] == "points cut")
    if cut.name != text:
        raise TenfoldError(
            f"{text!r} does not fit: {source.name} has {source.nodes} nodes, so fewer are 'points "
            "cut' or 'lines cut', more are 'grown', and as many stand alone"
        )
    classes = source.points if cut.points_first else source.lines
    side = classes * source.nodes // (source.points + source.lines)
    if source.nodes - nodes >= side:
        raise TenfoldError(
            f"{text!r} deletes {source.nodes - nodes} of {side} nodes; keep one of each side, or "
            "take an amalgam with fewer classes"
        )
    return cut


def open_around(base: Graph, opened: Opened) -> Opened:
    """Freeze a graph and bar every pair that closes a forbidden subgraph with it alone.

    What is left free is few, and all that a search with the base kept can use.
    """
    board = new_board(opened, base, key=0, listed=1)
    usable = (board.table == 0) | (board.table >= EDGE)
    allowed = np.zeros_like(opened.allowed)
    allowed[board.low[usable], board.high[usable]] = True
    return Opened(opened.problem, (allowed | allowed.T) & opened.allowed, base)


# Neighbours in number of nodes


def shrink_from(graph: Graph, nodes: int, *, generator: np.random.Generator) -> Graph:
    """Delete nodes, one after the other, each of least or nearly least degree."""
    keep = np.arange(graph.nodes)
    while len(keep) > nodes:
        degrees = induced(graph, keep).degrees() + generator.uniform(0, 1.5, size=len(keep))
        keep = np.delete(keep, degrees.argmin())
    return induced(graph, keep)
