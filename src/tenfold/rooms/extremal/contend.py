"""One method on one problem, whichever it is: the same budget, the same kind of answer.

All count flips alike: an edge added or removed, also inside tree searches; for cross-entropy, a
pair that was decided. Local searches have one chain.
"""

from __future__ import annotations

from tenfold.engine.errors import TenfoldError
from tenfold.parts.search.curriculum import Solved
from tenfold.rooms.extremal.graph import Graph, empty, extend
from tenfold.rooms.extremal.incremental import climb
from tenfold.rooms.extremal.problem import Problem

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
    if plain == "ce":
        return _cross_entropy(problem, flips=flips, seconds=seconds, seed=seed)
    if plain == "az":
        return _alphazero(
            problem, flips=flips, seconds=seconds, seed=seed, curriculum=bool(curriculum)
        )
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


def _cross_entropy(
    problem: Problem, *, flips: int, seconds: float, seed: int
) -> tuple[Graph, int, Curve]:
    from tenfold.rooms.extremal.cross_entropy import CrossEntropy
    from tenfold.rooms.extremal.cross_entropy_config import CrossEntropyConfig

    learner = CrossEntropy(CrossEntropyConfig(nodes=problem.nodes, seed=seed))
    curve: Curve = []
    step = 0
    while learner.flips < flips if flips else learner.seconds < seconds:
        learner.update(step)
        step += 1
        if not curve or learner.best.size > curve[-1][2]:
            curve.append([learner.flips, learner.seconds, learner.best.size])
    return learner.best, learner.flips, curve


def _alphazero(
    problem: Problem, *, flips: int, seconds: float, seed: int, curriculum: bool
) -> tuple[Graph, int, Curve]:
    from tenfold.rooms.extremal.alphazero import train
    from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig, Budget

    n = problem.nodes
    sizes = tuple(range(min(5, n), n + 1)) if curriculum else (n,)
    cfg = AlphaZeroConfig(sizes=sizes, forbid=problem.forbid, curriculum=curriculum, seed=seed)
    budget = Budget(flips=flips) if flips else Budget(seconds=seconds)
    learner, iterations = train(cfg, budget)
    curve: Curve = []
    for each in iterations:
        if each.nodes == n and (not curve or each.edges > curve[-1][2]):
            curve.append([each.flips, each.seconds, each.edges])
    return best_reached(learner.solutions, n), learner.flips, curve


def best_reached(solutions: Solved[Graph], nodes: int) -> Graph:
    """Return a best graph; if the size was not reached in time, one of the largest that was."""
    reached = (found for size in range(nodes, 0, -1) for found in solutions.best(size))
    return extend(next(reached, empty(1)), nodes)
