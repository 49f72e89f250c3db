"""One method on one problem, whichever it is: the same budget, the same kind of answer.

All count flips alike: an edge added or removed, also inside tree searches; for cross-entropy, a
pair that was decided. Local searches have one chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tenfold.engine.errors import TenfoldError
from tenfold.parts.search.curriculum import Solved
from tenfold.rooms.extremal.bounds import upper_bound
from tenfold.rooms.extremal.graph import Graph, empty, extend
from tenfold.rooms.extremal.incremental import climb
from tenfold.rooms.extremal.problem import Problem

if TYPE_CHECKING:
    from tenfold.rooms.extremal.alphazero import AlphaZero
    from tenfold.rooms.extremal.cross_entropy import CrossEntropy

Curve = list[list[float]]
"""Flips, seconds, edges at every gain."""


def check_method(method: str, problem: Problem) -> None:
    """Refuse a problem of which a method knows only a part.

    Raises:
        TenfoldError: naming the method and what it cannot keep to.
    """
    asked = problem.family()
    plain = f"forbid {problem.forbid}"
    if method == "ce" and asked != "forbid C3,C4":
        raise TenfoldError(
            f"method ce knows only forbid C3,C4, the problem asks {asked}; choose ils or tabu"
        )
    if (method.startswith("az") or "-" in method) and asked != plain:
        raise TenfoldError(
            f"method {method} works on several sizes and knows only forbidden subgraphs, the "
            f"problem asks {asked}; choose ils or tabu"
        )


def contend(
    method: str, problem: Problem, *, flips: int, seconds: float, seed: int
) -> tuple[Graph, int, Curve]:
    """Run one method; return its best graph, not yet checked, the flips it took, and its curve.

    Args:
        method: of `compare_config.CONTENDERS`.
        problem: what is looked for.
        flips: budget; 0: as `seconds` says.
        seconds: time limit, if `flips` is 0.
        seed: names the random numbers.

    Raises:
        TenfoldError: if the method cannot keep to what the problem asks.
    """
    check_method(method, problem)
    plain, _, curriculum = method.partition("-")
    if plain in ("ce", "az"):
        return learn(method, problem, flips=flips, seconds=seconds, seed=seed)
    if curriculum:
        climbed = climb(
            problem,
            method="ils" if plain == "ils" else "tabu",
            flips=flips,
            seconds=seconds,
            seed=seed,
        )
        return climbed.graph, climbed.flips, [list(moment) for moment in climbed.trace]
    from tenfold.rooms.extremal.search import search

    found = search(
        problem, flips=flips, minutes=seconds / 60, seed=seed, method=plain, chains=1
    )  # fmt: skip
    curve: Curve = [[each.flips, each.seconds, each.edges] for each in found.trace]
    return found.graph, found.flips, curve


def learn(
    method: str,
    problem: Problem,
    *,
    flips: int,
    seconds: float,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
    gpu: bool = False,
) -> tuple[Graph, int, Curve]:
    """Let ce, az or az-curriculum learn until the budget is spent or no more edges are possible.

    Args:
        method: one of the three.
        problem: what is looked for.
        flips: budget; 0: as `seconds` says.
        seconds: time limit by `clock`, if `flips` is 0.
        seed: names the random numbers.
        clock: gives seconds.
        gpu: whether AlphaZero has the sizes of its GPU recipe, and works on the device there is.
    """
    learner = open_learner(method, problem, seed=seed, gpu=gpu)
    began, upper, step = clock(), upper_bound(problem).value, 0
    graph, curve = empty(problem.nodes), list[list[float]]()
    while graph.size < upper and (learner.flips < flips if flips else clock() - began < seconds):
        learner.update(step)
        step += 1
        graph = _best_graph(learner, problem.nodes)
        if not curve or graph.size > curve[-1][2]:
            curve.append([learner.flips, clock() - began, graph.size])
    return graph, learner.flips, curve


def open_learner(
    method: str, problem: Problem, *, seed: int, gpu: bool = False
) -> CrossEntropy | AlphaZero:
    """Return an untrained learner for one number of nodes."""
    from tenfold.engine.device import choose
    from tenfold.rooms.extremal import alphazero_config
    from tenfold.rooms.extremal.alphazero import AlphaZero
    from tenfold.rooms.extremal.cross_entropy import CrossEntropy
    from tenfold.rooms.extremal.cross_entropy_config import CrossEntropyConfig

    nodes = problem.nodes
    if method == "ce":
        return CrossEntropy(CrossEntropyConfig(nodes=nodes, seed=seed))
    curriculum = method == "az-curriculum"
    cfg = alphazero_config.gpu(nodes) if gpu else alphazero_config.AlphaZeroConfig()
    sizes = tuple(range(min(5, nodes), nodes + 1)) if curriculum else (nodes,)
    cfg = replace(cfg, sizes=sizes, forbid=problem.forbid, curriculum=curriculum, seed=seed)
    return AlphaZero(cfg, torch_device=choose().device if gpu else "cpu")


def _best_graph(learner: CrossEntropy | AlphaZero, nodes: int) -> Graph:
    if hasattr(learner, "solutions"):
        return best_reached(learner.solutions, nodes)
    return learner.best


def best_reached(solutions: Solved[Graph], nodes: int) -> Graph:
    """Return a best graph; if the size was not reached in time, one of the largest that was."""
    reached = (found for size in range(nodes, 0, -1) for found in solutions.best(size))
    return extend(next(reached, empty(1)), nodes)
