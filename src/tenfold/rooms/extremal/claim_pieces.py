"""The searches that the room's claims rest on, each a task that a worker does alone.

Tabu search is the paper's here: five pairs tabu, no return to the best, no restart. With
curriculum it is told nothing of what is known of a size, so each size spends its share of flips.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace

from tenfold.engine.config import Json
from tenfold.engine.device import choose
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.alphazero import AlphaZero
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig, gpu
from tenfold.rooms.extremal.bounds import upper_bound
from tenfold.rooms.extremal.claim_config import Arm, Contest, Exact, Plan, Walk
from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.compare import compare_piece
from tenfold.rooms.extremal.contend import best_reached
from tenfold.rooms.extremal.cross_entropy import CrossEntropy
from tenfold.rooms.extremal.cross_entropy_config import CrossEntropyConfig
from tenfold.rooms.extremal.graph import Graph, empty
from tenfold.rooms.extremal.incremental import climb
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.search import Found, open_searcher
from tenfold.rooms.extremal.verify import verify

NEVER_RETURN, OWN_PATIENCE = -1, 0
"""`patience` of a search: never; the method's own, after which tabu goes back to its best."""


@dataclass(frozen=True, kw_only=True)
class WalkTask:
    """Tabu search on one number of nodes."""

    walk: Walk
    arm: Arm
    seed: int


@dataclass(frozen=True, kw_only=True)
class ContestTask:
    """One method on one number of nodes."""

    contest: Contest
    method: str
    seed: int
    gpu: bool = False


@dataclass(frozen=True, kw_only=True)
class ExactTask:
    """The default search on all sizes whose value is known."""

    exact: Exact
    seed: int


Task = WalkTask | ContestTask | ExactTask


def make_tasks(plan: Plan) -> dict[str, Task]:
    """Return all searches of a plan under the names of their files, the longest first."""
    tasks: dict[str, Task] = {}
    for contest in plan.contests:
        for method in contest.methods:
            for seed in plan.seeds[: plan.contest_seeds]:
                tasks[f"contest-{contest.nodes}-{method}-s{seed}"] = ContestTask(
                    contest=contest, method=method, seed=seed, gpu=plan.gpu
                )
    for walk in sorted(plan.walks, key=lambda walk: -walk.flips):
        for arm in plan.arms:
            for seed in plan.seeds:
                tasks[f"walk-{walk.nodes}-{arm}-s{seed}"] = WalkTask(walk=walk, arm=arm, seed=seed)
    for seed in plan.seeds[: plan.exact_seeds]:
        tasks[f"exact-s{seed}"] = ExactTask(exact=plan.exact, seed=seed)
    return tasks


def do_task(task: Task) -> Json:
    """Do one search and return what it found; graphs are checked independently."""
    if isinstance(task, WalkTask):
        return _walk(task)
    if isinstance(task, ContestTask):
        return _compete(task)
    return _reach(task)


def _walk(task: WalkTask) -> Json:
    nodes, flips, seed = task.walk.nodes, task.walk.flips, task.seed
    problem = Problem(nodes=nodes)
    if task.arm == "curriculum":
        climbed = climb(problem, flips=flips, seed=seed, patience=0, informed=False)
        graph, spent, seconds = climbed.graph, climbed.flips, climbed.seconds
        curve = [list(moment) for moment in climbed.trace]
    else:
        patience = NEVER_RETURN if task.arm == "scratch" else OWN_PATIENCE
        found = _search(
            config.Search(
                problem=problem, method="tabu", flips=flips, seed=seed, patience=patience,
                chains=1, threads=1,
            )
        )  # fmt: skip
        graph, spent, seconds = found.graph, found.flips, found.seconds
        curve = [[each.flips, each.seconds, each.edges] for each in found.trace]
    verify(graph, problem)
    return {
        "part": "walk", "nodes": nodes, "arm": task.arm, "seed": seed, "edges": graph.size,
        "flips": spent, "seconds": round(seconds, 3), "curve": curve,
        "graph6": encode_graph6(graph),
    }  # fmt: skip


def _search(cfg: config.Search) -> Found:
    searcher = open_searcher(cfg)
    try:
        while not searcher.done:
            searcher.update()
    finally:
        searcher.close()
    return searcher.found()


def _compete(task: ContestTask) -> Json:
    contest, began = task.contest, time.process_time()
    if task.method in ("ce", "az", "az-curriculum"):
        piece = _learn(task)
    else:
        piece = compare_piece(
            {
                "method": task.method, "seed": task.seed, "flips": contest.flips,
                "seconds": contest.seconds, "problem": asdict(Problem(nodes=contest.nodes)),
            }
        )  # fmt: skip
    processor = round(time.process_time() - began, 3)
    return piece | {"part": "contest", "nodes": contest.nodes, "processor_seconds": processor}


def _learn(task: ContestTask) -> Json:
    """Let a method learn until its budget is spent or no more edges are possible.

    Seconds are of processor time, so that other work on the machine takes nothing away; on a GPU
    they are of wall time.
    """
    contest, problem = task.contest, Problem(nodes=task.contest.nodes)
    learner, began = _open_learner(task), time.monotonic()
    clock = time.monotonic if task.gpu else time.process_time
    first, upper, step = clock(), upper_bound(problem).value, 0
    graph, curve = empty(contest.nodes), list[list[float]]()
    while graph.size < upper and (
        learner.flips < contest.flips if contest.flips else clock() - first < contest.seconds
    ):
        learner.update(step)
        step += 1
        graph = _best_graph(learner, contest.nodes)
        if not curve or graph.size > curve[-1][2]:
            curve.append([learner.flips, clock() - first, graph.size])
    verify(graph, problem)
    return {
        "method": task.method, "seed": task.seed, "edges": graph.size, "flips": learner.flips,
        "seconds": round(time.monotonic() - began, 3), "curve": curve,
        "graph6": encode_graph6(graph),
    }  # fmt: skip


def _open_learner(task: ContestTask) -> CrossEntropy | AlphaZero:
    nodes = task.contest.nodes
    if task.method == "ce":
        return CrossEntropy(CrossEntropyConfig(nodes=nodes, seed=task.seed))
    curriculum = task.method == "az-curriculum"
    cfg = gpu(nodes) if task.gpu else AlphaZeroConfig()
    sizes = tuple(range(min(5, nodes), nodes + 1)) if curriculum else (nodes,)
    cfg = replace(cfg, sizes=sizes, curriculum=curriculum, seed=task.seed)
    return AlphaZero(cfg, torch_device=choose().device if task.gpu else "cpu")


def _best_graph(learner: CrossEntropy | AlphaZero, nodes: int) -> Graph:
    if isinstance(learner, CrossEntropy):
        return learner.best
    return best_reached(learner.solutions, nodes)


def _reach(task: ExactTask) -> Json:
    rows = []
    for nodes in task.exact.sizes:
        found = _search(
            config.Search(
                problem=Problem(nodes=nodes), flips=task.exact.flips, seed=task.seed, threads=1
            )
        )
        rows.append(
            {"nodes": nodes, "edges": found.edges, "exact": found.upper.value,
             "flips": found.flips, "seconds": round(found.seconds, 4)}
        )  # fmt: skip
    seconds = round(sum(row["seconds"] for row in rows), 3)
    return {"part": "exact", "seed": task.seed, "rows": rows, "seconds": seconds}
