"""All graphs with so many edges, up to isomorphism, as far as searches meet them.

A search from nothing reaches the number of edges again and again; around every such graph it
walks on among graphs with as many edges. Each one met is put into its canonical form. This finds
classes but proves nothing: that there are no more needs `exhaustive.enumerate_graphs`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tenfold.rooms.extremal import local
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.canonical import Canon, canonical_form
from tenfold.rooms.extremal.graph import Graph, empty
from tenfold.rooms.extremal.kernels import EDGES, graph_of
from tenfold.rooms.extremal.problem import Problem, open_problem
from tenfold.rooms.extremal.verify import verify

WALK = 40
"""Graphs looked at around each one that a search from nothing came to."""
STRIDE = 60
"""Flips between two of them."""
LIMIT = 3_000_000
"""Flips from nothing after which a search begins again under the next seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """The classes that were met."""

    graphs: tuple[Graph, ...]
    """One of each, checked."""
    orders: tuple[int, ...]
    """Orders of their automorphism groups."""
    visits: int
    """Graphs with so many edges that were looked at, most of them of known classes."""
    last_new: int
    """Visit at which the last new class came: far below `visits`, all are likely found."""
    seconds: float

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.graphs)


def gather(
    problem: Problem,
    *,
    edges: int,
    minutes: float = 1.0,
    visits: int = 0,
    seed: int = 0,
    archive: Archive | None = None,
) -> Gathered:
    """Look for graphs of all classes with exactly `edges` edges.

    Args:
        problem: what they keep to.
        edges: how many.
        minutes: time limit, if `visits` is 0.
        visits: graphs to look at; then the result depends on the arguments alone.
        seed: names the random numbers.
        archive: gets one of each class, as far as it keeps so many.
    """
    opened = open_problem(problem)
    found: dict[str, tuple[Graph, Canon]] = {}
    began, seen, last, number = time.monotonic(), 0, 0, 0
    while seen < visits if visits else time.monotonic() - began < 60 * minutes:
        chain = local.new_chain(
            opened, empty(problem.nodes), seed=seed, number=number, patience=20_000, target=edges
        )
        number += 1
        local.run("ils", chain, LIMIT)
        if chain.facts[local.BEST] < edges:
            continue
        for graph in _around(chain, edges):
            seen += 1
            canon = canonical_form(graph)
            if canon.digest not in found:
                verify(graph, problem)
                found[canon.digest], last = (graph, canon), seen
                if archive is not None:
                    archive.put(graph, method="gather", seed=seed)
    return Gathered(
        graphs=tuple(graph for graph, _ in found.values()),
        orders=tuple(canon.group_order for _, canon in found.values()),
        visits=seen,
        last_new=last,
        seconds=time.monotonic() - began,
    )


def _around(chain: local.Chain, edges: int) -> list[Graph]:
    """Return the graph that a chain has reached and those that it walks on to, all different."""
    graphs = {graph_of(chain.board)} if chain.board.facts[EDGES] == edges else set()
    chain.facts[local.TARGET] = edges + 1
    chain.facts[local.PATIENCE] = 0
    for _ in range(WALK):
        local.run("ils", chain, STRIDE)
        if chain.board.facts[EDGES] == edges:
            graphs.add(graph_of(chain.board))
    return sorted(graphs, key=lambda graph: graph.edges.tobytes())
