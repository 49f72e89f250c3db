"""The searches that the room's claims rest on, each a task that a worker does alone.

Tabu search is the paper's here: five pairs tabu, no return to the best, no restart. With
curriculum it is told nothing of what is known of a size, so each size spends its share of flips.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from tenfold.engine.config import Json
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.claim_config import Arm, Contest, Exact, Plan, Walk
from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.compare import compare_piece
from tenfold.rooms.extremal.contend import learn
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
    """Let a method learn on processor time, so that other work on the machine takes nothing away.

    On a GPU seconds are of wall time.
    """
    contest, began = task.contest, time.monotonic()
    problem = Problem(nodes=contest.nodes)
    graph, flips, curve = learn(
        task.method, problem, flips=contest.flips, seconds=contest.seconds, seed=task.seed,
        clock=time.monotonic if task.gpu else time.process_time, gpu=task.gpu,
    )  # fmt: skip
    verify(graph, problem)
    return {
        "method": task.method, "seed": task.seed, "edges": graph.size, "flips": flips,
        "seconds": round(time.monotonic() - began, 3), "curve": curve,
        "graph6": encode_graph6(graph),
    }  # fmt: skip


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
