"""The paper's curriculum for a local search: solve small sizes first, begin from their best graphs.

Best[m] is filled from few nodes upward. To work on m, a graph of Best[m - k] with k isolated nodes
is drawn, k uniform in 1 .. 4, and searched from; what comes of it is put into Best[m]. Nothing
else is known: no archive, no structured start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tenfold.engine import rng
from tenfold.parts.search.curriculum import draw_start
from tenfold.rooms.extremal import local
from tenfold.rooms.extremal.bounds import upper_bound
from tenfold.rooms.extremal.graph import Graph, empty, extend
from tenfold.rooms.extremal.problem import MAX_NODES, Problem, open_problem, resize

SMALLEST = 5
RESTARTS = 4
"""Starts drawn for each size."""
CHUNK = 10_000
"""Flips between looks at the clock."""
TABU_PATIENCE = 20_000
"""A tabu chain goes back to its best after so many flips without gain."""
NEVER = MAX_NODES**2
"""More edges than any graph has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Climbed:
    """What a curriculum came to."""

    graph: Graph
    """The best graph on the most nodes."""
    flips: int
    """Of all sizes."""
    seconds: float
    trace: tuple[tuple[int, float, int], ...]
    """Flips, seconds and edges at every gain on the most nodes."""
    edges: dict[int, int]
    """Most edges on every size."""


class _Budget:
    """Flips or seconds, shared out evenly over the pieces that are left."""

    def __init__(self, *, flips: int, seconds: float, pieces: int) -> None:
        self.limit = float(flips or seconds)
        self.by_flips = bool(flips)
        self.pieces = pieces
        self.flips = 0
        self.began = time.monotonic()

    @property
    def spent(self) -> float:
        """Flips or seconds so far."""
        return float(self.flips) if self.by_flips else time.monotonic() - self.began

    def share(self) -> float:
        """Return what the next piece may spend."""
        self.pieces -= 1
        return max(0.0, self.limit - self.spent) / (self.pieces + 1)


def climb(
    problem: Problem,
    *,
    method: local.Method = "tabu",
    flips: int = 0,
    seconds: float = 10.0,
    seed: int = 0,
    smallest: int = SMALLEST,
    patience: int = -1,
    informed: bool = True,
) -> Climbed:
    """Search from small sizes up to `problem.nodes`.

    Args:
        problem: on the most nodes.
        method: local search on every size.
        flips: in all; if 0, `seconds` counts.
        seconds: in all.
        seed: names the random numbers.
        smallest: size to begin with, from no edges.
        patience: as of `local.new_chain`; -1 is the method's own.
        informed: whether a size is left when it meets its proven upper bound, so that what it has
            left over goes to the others; else each size spends its share.
    """
    if patience < 0:
        patience = TABU_PATIENCE if method == "tabu" else 0
    _search_nothing(problem, method)
    sizes = range(min(smallest, problem.nodes), problem.nodes + 1)
    budget = _Budget(flips=flips, seconds=seconds, pieces=RESTARTS * len(sizes))
    solved = _Solved()
    best = solved.graphs
    trace: list[tuple[int, float, int]] = []
    for nodes in sizes:
        best[nodes] = [empty(nodes)]
        upper = upper_bound(resize(problem, nodes)).value if informed else NEVER
        for attempt in range(RESTARTS):
            share = budget.share()
            if best[nodes][0].size >= upper:
                continue
            generator = rng.stream(seed, "incremental", nodes, attempt)
            smaller = draw_start(solved, nodes, generator=generator)
            start = extend(smaller or empty(nodes), nodes)
            graph = _search(problem, start, budget, share, method=method, seed=seed,
                            number=nodes * RESTARTS + attempt, upper=upper,
                            patience=patience)  # fmt: skip
            if nodes == problem.nodes and graph.size > best[nodes][0].size:
                trace.append((budget.flips, time.monotonic() - budget.began, graph.size))
            best[nodes] = _kept(best[nodes], graph)
    return Climbed(
        graph=best[problem.nodes][0],
        flips=budget.flips,
        seconds=time.monotonic() - budget.began,
        trace=tuple(trace),
        edges={nodes: found[0].size for nodes, found in best.items()},
    )


def _search_nothing(problem: Problem, method: local.Method) -> None:
    """Compile, before a clock runs."""
    opened = open_problem(problem)
    local.run(method, local.new_chain(opened, empty(problem.nodes), seed=0, method=method), 0)


class _Solved:
    """The best graphs of each size, as the curriculum asks for them."""

    def __init__(self) -> None:
        self.graphs: dict[int, list[Graph]] = {}

    def best(self, size: int) -> list[Graph]:
        """Return the graphs of a size, none if it was not worked on."""
        return self.graphs.get(size, [])


def _search(
    problem: Problem,
    start: Graph,
    budget: _Budget,
    share: float,
    *,
    method: local.Method,
    seed: int,
    number: int,
    upper: int,
    patience: int,
) -> Graph:
    opened = open_problem(resize(problem, start.nodes))
    chain = local.new_chain(
        opened, start, seed=seed, number=number, method=method, patience=patience, target=upper
    )
    first, before = budget.flips, local.flips_of(chain)
    stop = budget.spent + share
    while budget.spent < stop and chain.facts[local.BEST] < upper:
        left = int(stop - budget.spent) if budget.by_flips else CHUNK
        local.run(method, chain, max(1, min(CHUNK, left)))
        budget.flips = first + local.flips_of(chain) - before
    return local.best_graph(chain, opened)


def _kept(graphs: list[Graph], graph: Graph) -> list[Graph]:
    """Keep all labelled graphs of most edges."""
    if graph.size > graphs[0].size:
        return [graph]
    if graph.size == graphs[0].size and graph not in graphs:
        return [*graphs, graph]
    return graphs
