"""A search for graphs that are extremal by a measure of the user's own, told as a gain a flip.

    def gain(adjacency, near, degree, u, v):        # edges less triangles
        change = 1.0
        for i in range(degree[u]):
            if adjacency[near[u, i], v]:
                change -= 1.0
        return -change if adjacency[u, v] else change

    search_own(gain, nodes=12, minutes=0.1).graph

`gain` is compiled by numba together with the loop that calls it: Metropolis over all pairs with a
temperature that falls again and again. It must be the change of one measure, not depend on the
way to a graph; `value`, the measure itself in plain Python, checks that it is.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.engine.kernel import find_obstacle
from tenfold.rooms.extremal.graph import Graph, empty, from_adjacency
from tenfold.rooms.extremal.problem import MAX_NODES
from tenfold.rooms.extremal.splitmix import below, chance

Gain = Callable[..., float]
"""(adjacency [n, n], near [n, n], degree [n], u, v) -> change of the measure by flipping uv.

The first degree[u] numbers of near[u] are the neighbours of u, in no order."""
Value = Callable[[NDArray[np.bool_]], float]

CHUNK = 100_000
"""Proposals between looks at the clock and checks of the measure."""
COOLING = 1_000_000
"""Proposals from hot to cold."""
TOLERANCE = 1e-6
"""Sums of gains may differ from the measure by so much, as a share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnFound:
    """The graph of the largest measure that was met."""

    graph: Graph
    score: float
    """Its measure; without `value`, the measure less that of the start."""
    flips: int
    """Flips tried, refused ones too."""
    seconds: float
    trace: tuple[tuple[int, float], ...]
    """Flips and score after each chunk that gained."""


def search_own(
    gain: Gain,
    *,
    nodes: int,
    minutes: float = 1.0,
    flips: int = 0,
    seed: int = 0,
    start: Graph | None = None,
    value: Value | None = None,
    target: float = math.inf,
    hot: float = 1.0,
    cold: float = 0.1,
) -> OwnFound:
    """Look for a graph of large measure by annealing.

    Args:
        gain: change of the measure by a flip; a plain function, which numba compiles.
        nodes: of the graph.
        minutes: time limit, if `flips` is 0.
        flips: to try; then the result depends on the arguments alone.
        seed: of the random choices.
        start: the first graph; without one, no edges.
        value: the measure of an adjacency matrix, to check the sum of gains against.
        target: measure at which it stops.
        hot: temperature at first, in units of the measure.
        cold: temperature at last, after which it is hot again.

    Raises:
        TenfoldError: if gain and value disagree, an argument makes no sense, or numba is missing.
    """
    _check(nodes, minutes, flips, hot=hot, cold=cold, start=start)
    state = _new_state(start or empty(nodes), seed=seed, hot=hot, cold=cold)
    if value is not None:
        state.scores[:] = value(state.adjacency.copy())
    walk = _compiled(gain)
    began, tried, chunk, trace = time.monotonic(), 0, 100, [(0, float(state.scores[BEST]))]
    while state.scores[BEST] < target and (tried < flips if flips else True):
        size = min(chunk, flips - tried) if flips else chunk
        walk(state.adjacency, state.near, state.degree, state.best, state.scores, state.heat,
             state.random, size)  # fmt: skip
        tried, chunk = tried + size, min(2 * chunk, CHUNK)
        _check_sum(state, value, tried=tried)
        if state.scores[BEST] > trace[-1][1]:
            trace.append((tried, float(state.scores[BEST])))
        if not flips and time.monotonic() - began >= 60 * minutes:
            break
    return OwnFound(
        graph=from_adjacency(state.best),
        score=float(state.scores[BEST]),
        flips=tried,
        seconds=time.monotonic() - began,
        trace=tuple(trace),
    )


NOW, BEST = range(2)
"""Places in `_State.scores`."""


@dataclass(frozen=True, slots=True)
class _State:
    adjacency: NDArray[np.bool_]
    near: NDArray[np.int32]
    degree: NDArray[np.int64]
    best: NDArray[np.bool_]
    scores: NDArray[np.float64]
    heat: NDArray[np.float64]
    """Temperature now, first, last, and its factor a proposal."""
    random: NDArray[np.uint64]


def _new_state(start: Graph, *, seed: int, hot: float, cold: float) -> _State:
    matrix = start.adjacency()
    near = np.zeros((start.nodes, start.nodes), dtype=np.int32)
    for node, row in enumerate(matrix):
        found = np.flatnonzero(row)
        near[node, : len(found)] = found
    return _State(
        adjacency=matrix,
        near=near,
        degree=start.degrees().astype(np.int64),
        best=matrix.copy(),
        scores=np.zeros(2),
        heat=np.array([hot, hot, cold, (cold / hot) ** (1 / COOLING)]),
        random=np.array([rng.key(seed, "own") % 2**64], dtype=np.uint64),
    )


def _check(
    nodes: int, minutes: float, flips: int, *, hot: float, cold: float, start: Graph | None
) -> None:
    if obstacle := find_obstacle():
        raise TenfoldError(f"a measure of your own needs compiled loops, but {obstacle}")
    if not 2 <= nodes <= MAX_NODES:
        raise TenfoldError(f"nodes is {nodes}; give 2 to {MAX_NODES}")
    if flips < 0 or (not flips and minutes <= 0):
        raise TenfoldError(f"flips is {flips} and minutes {minutes}; give one of them above 0")
    if not 0 < cold <= hot:
        raise TenfoldError(f"cold is {cold} and hot {hot}; give 0 < cold <= hot")
    if start is not None and start.nodes != nodes:
        raise TenfoldError(f"start has {start.nodes} nodes, nodes is {nodes}; make them equal")


def _check_sum(state: _State, value: Value | None, *, tried: int) -> None:
    if value is None:
        return
    told, summed = float(value(state.adjacency.copy())), float(state.scores[NOW])
    if not abs(told - summed) <= TOLERANCE * max(1.0, abs(told)):
        raise TenfoldError(
            f"after {tried} flips the gains add up to {summed:g}, but value says {told:g}; "
            "gain must be the change of value by a flip, so correct one of them"
        )


@functools.cache
def _compiled(gain: Gain) -> Any:
    """Compile the loop for a gain; not kept on the disk, for the gain is only known here."""
    import numba

    change_of: Any = gain if hasattr(gain, "py_func") else numba.njit(gain, nogil=True)

    def walk(
        adjacency: Any, near: Any, degree: Any, best: Any, scores: Any, heat: Any, random: Any,
        flips: int,
    ) -> None:  # fmt: skip
        nodes = len(degree)
        for _ in range(flips):
            heat[0] *= heat[3]
            if heat[0] < heat[2]:
                heat[0] = heat[1]
            u = below(random, nodes)
            v = below(random, nodes - 1)
            if v >= u:
                v += 1
            change = change_of(adjacency, near, degree, u, v)
            if change < 0 and chance(random) >= math.exp(change / heat[0]):
                continue
            present = adjacency[u, v]
            for a, b in ((u, v), (v, u)):
                adjacency[a, b] = not present
                if present:
                    last = degree[a] - 1
                    for place in range(last):
                        if near[a, place] == b:
                            near[a, place] = near[a, last]
                            break
                    degree[a] = last
                else:
                    near[a, degree[a]] = b
                    degree[a] += 1
            scores[NOW] += change
            if scores[NOW] > scores[BEST] + 1e-9:
                scores[BEST] = scores[NOW]
                best[:] = adjacency

    return numba.njit(walk, nogil=True)
