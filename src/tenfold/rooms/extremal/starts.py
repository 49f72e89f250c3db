"""Where a search begins: structured graphs cut to size, and neighbours in number of nodes.

The structured start that wins is a semiplane (amalgam.py) with some classes left out and some
nodes of the last one deleted: first its edges stay and only pairs that close no short cycle with
them are free (`open_around`), which are few hundred instead of thousands; then all pairs are free.
Leaving out line classes leaves points of different classes without a joining line, so that pairs
between classes become free as well as those inside.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.amalgam import (
    Amalgam,
    Family,
    Plan,
    amalgam,
    amalgams_near,
    plan,
    truncate,
)
from tenfold.rooms.extremal.graph import Graph, induced
from tenfold.rooms.extremal.kernels import EDGE, new_board
from tenfold.rooms.extremal.problem import Opened

UNEVEN = 3
"""Most point classes beyond the line classes; more uneven amalgams have far fewer edges."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An amalgam from which nodes of its last classes are deleted."""

    plan: Plan
    nodes: int
    """Nodes that stay."""
    points_first: bool = False
    """Whether nodes of the point classes are deleted, not of the line classes."""

    @property
    def name(self) -> str:
        """The plan, the nodes that stay, and which side is cut."""
        side = "points" if self.points_first else "lines"
        cut = f"; {self.nodes} nodes, {side} cut" if self.nodes < self.plan.nodes else ""
        return self.plan.name + cut

    @property
    def reach(self) -> float:
        """Edges that it would have if every class were full: a guess, for sorting only."""
        missing = self.plan.nodes - self.nodes
        return self.plan.limit * (1 - 2 * missing / self.plan.nodes)


@functools.cache
def cuts(nodes: int, *, above: int = 24) -> tuple[Cut, ...]:
    """Return the cut amalgams on `nodes` nodes, those that reach farthest first.

    Args:
        nodes: how many stay.
        above: most nodes that are deleted.
    """
    found = []
    for source in amalgams_near(nodes, above=above):
        if source.lines >= 2 and source.points - source.lines <= UNEVEN:
            sides = (False, True) if source.nodes > nodes else (False,)
            found += [Cut(source, nodes, side) for side in sides]
    return tuple(sorted(found, key=lambda cut: (-cut.reach, cut.name)))


def build(cut: Cut) -> Amalgam:
    """Build a cut amalgam."""
    source = cut.plan
    whole = amalgam(source.family, q=source.q, points=source.points, lines=source.lines)
    missing = whole.nodes - cut.nodes
    if not missing:
        return whole
    classes = whole.classes[: source.points] if cut.points_first else whole.classes[source.points :]
    gone = np.concatenate(classes[::-1])[:missing]
    return truncate(whole, keep=np.setdiff1d(np.arange(whole.nodes), gone))


_CUT = re.compile(r"amalgam:([CLD]),q=(\d+),k=(\d+),l=(\d+)(?:; (\d+) nodes, (points|lines) cut)?")


def read_cut(text: str) -> Cut:
    """Read the name of a cut amalgam.

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
    return Cut(source, nodes, match[6] == "points")


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
