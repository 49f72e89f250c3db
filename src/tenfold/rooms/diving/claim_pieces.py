"""The pieces of the claim: each an instance under one method or rule, kept as it is done.

What is counted (nodes, feasibility) runs on several processes; what is timed runs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine.config import Json
from tenfold.engine.progress import Progress
from tenfold.engine.run import Options, Run
from tenfold.engine.tasks import map_tasks
from tenfold.parts.mip import highs, instances, scip
from tenfold.parts.mip.instance import Mip, change_bounds, drop_fixed
from tenfold.parts.mip.measure import gap
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving import baselines, config, eval, run, shipped
from tenfold.rooms.diving.bench import choose_emphasis
from tenfold.rooms.diving.branch.collecting import collect_instance
from tenfold.rooms.diving.branch.comparing import search
from tenfold.rooms.diving.branch.config import CollectBranch
from tenfold.rooms.diving.claim_config import Branch, Claim, Contest, Feasibility, Joint, Plan
from tenfold.rooms.diving.dive.assign import Partial, Predicted, partial_assignments
from tenfold.rooms.diving.dive.looks import look_at
from tenfold.rooms.diving.dive.loosen import loosen
from tenfold.rooms.diving.dive.store import keys_of, read_labelled
from tenfold.rooms.diving.eval import Kit
from tenfold.rooms.diving.method import branching
from tenfold.rooms.diving.solving import Tools

MANY = 20
"""Candidates from which on five choices are no easy ones."""
KNOWN_BEST = {"presolve": "fast", "heuristics": "default", "separating": "off"}
"""Emphases that were the best of the grid on unit commitment, where a scale does not tune."""
NODES = 50
"""Of each sub-MIP whose feasibility is asked; it ends at its first point."""
NETWORKS = {"dive": "commitment", "dive-hooks": "commitment-hooks"}
"""The network behind the name of a dive."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a piece needs: what it belongs to, and where files lie."""

    part: Feasibility | Contest | Branch | Joint
    file: str
    networks: tuple[tuple[str, str], ...]
    """Name and file of each network."""
    method: str = ""
    store: str = ""
    emphasis: tuple[tuple[str, str], ...] = ()


def name_of(part: Feasibility | Contest | Branch | Joint) -> str:
    """Return the name of a part of the claim, fit for a file."""
    extra = f"-{part.network}" if isinstance(part, Feasibility) else ""
    return f"{type(part).__name__.lower()}-{part.family}-{part.size}{extra}"


def do_all(plan: Plan, claim: Claim, *, run: Run) -> dict[str, list[Json]]:
    """Do every piece that is missing and return the pieces of each part, in a fixed order."""
    networks = _networks(plan, claim, run)
    store = _labels(plan, run)
    emphasis = _tuned(plan, run)
    found: dict[str, list[Json]] = {"emphasis": [dict(emphasis)]}
    parts: list[Feasibility | Contest | Branch | Joint] = [
        *plan.feasibility, *plan.contests, *plan.joint, *plan.branching,
    ]  # fmt: skip
    for part in parts:
        files = shipped.instances_of(
            part.family,
            part.size,
            first=shipped.TEST_SEEDS,
            count=part.count,
            folder=run.path / "instances",
        )
        works = {
            f"{name_of(part)}+{method or 'all'}+{number}": Work(
                part=part,
                file=str(file),
                networks=networks,
                method=method,
                store=store,
                emphasis=tuple(sorted(emphasis.items())),
            )
            for number, file in enumerate(files)
            for method in _methods(part)
        }
        found[name_of(part)] = _do(part, works, claim, run)
    return found


def _methods(part: Feasibility | Contest | Branch | Joint) -> tuple[str, ...]:
    if isinstance(part, Contest):
        return part.methods
    return ("joint", "scip-pair") if isinstance(part, Joint) else ("",)


def _do(
    part: Feasibility | Contest | Branch | Joint, works: Mapping[str, Work], claim: Claim, run: Run
) -> list[Json]:
    timed = isinstance(part, Contest) or (isinstance(part, Branch) and part.timed)
    workers = claim.at_once if timed else claim.workers
    function: Callable[[Work], Json] = {
        Feasibility: do_feasibility, Contest: do_contest, Joint: do_contest, Branch: do_branch,
    }[type(part)]  # fmt: skip
    done = map_tasks(
        function,
        works,
        workers=1 if isinstance(part, Joint) else workers,
        out=run.out / "pieces",
        threads=2 if isinstance(part, Joint) else 1,
        check_stop=run.check_stop,
    )
    pieces: dict[str, Json] = {}
    with Progress(name_of(part), len(works), quiet=run.options.quiet) as progress:
        for key, piece in done:
            pieces[key] = piece
            progress.update(len(pieces))
    return [pieces[key] for key in works]


# What comes before


def _networks(plan: Plan, claim: Claim, run: Run) -> tuple[tuple[str, str], ...]:
    """Return the file of each network that the plan needs, trained anew if that is asked for."""
    needed = {part.network for part in plan.feasibility}
    needed |= {part.network for part in plan.branching}
    if plan.contests or plan.joint:
        methods = {method for contest in plan.contests for method in contest.methods}
        bare = {method.removesuffix("-scip") for method in methods}
        needed |= {NETWORKS[name] for name in bare if name in NETWORKS}
        needed |= {"commitment-hooks"} if plan.joint else set()
    return tuple(
        (
            name,
            str(
                shipped.make(name, run.path / "networks", jobs=claim.workers,
                             quiet=run.options.quiet)
                if claim.retrain
                else shipped.path_of(name)
            ),
        )
        for name in sorted(needed)
    )  # fmt: skip


def _labels(plan: Plan, claim_run: Run) -> str:
    """Label the training instances that voting baselines know; return the store."""
    if not plan.labels:
        return ""
    recipe = shipped.RECIPES["commitment-hooks"]
    files = shipped.instances_of(
        recipe.family,
        recipe.size,
        first=shipped.TRAIN_SEEDS,
        count=plan.labels,
        folder=claim_run.path / "training",
    )
    place = claim_run.path / "labels"
    cfg = replace(
        recipe.collect,
        folder=str(files[0].parent),
        first=plan.labels,
        dive=replace(recipe.collect.dive, rounds=5, seconds=10.0),
    )
    options = Options(quiet=claim_run.options.quiet)
    if (place / "config.json").exists():
        run.resume(place, options=options)
    else:
        made = Run.create(
            cfg, room="diving", verb="collect", schema=config.SCHEMA, options=options, path=place
        )
        run.collect(cfg, run=made)
    return str(place / "out" / run.STORE)


def _tuned(plan: Plan, claim_run: Run) -> dict[str, str]:
    """Return SCIP's emphases: the best of the grid on tuning instances, or those known before."""
    if not plan.tuned_on:
        return dict(KNOWN_BEST)
    files = shipped.instances_of(
        "unit_commitment",
        "50x24",
        first=shipped.TUNE_SEEDS,
        count=plan.tuned_on,
        folder=claim_run.path / "tuning",
    )
    jobs = {
        f"tuning+{number}+{k}": (number, str(file), plan.tuning_seconds)
        for number in range(len(baselines.EMPHASES))
        for k, file in enumerate(files)
    }
    found: dict[str, Json] = {}
    done = map_tasks(
        _do_tuning, jobs, out=claim_run.out / "pieces", threads=1, check_stop=claim_run.check_stop
    )
    with Progress("emphases of SCIP", len(jobs), quiet=claim_run.options.quiet) as progress:
        for key, told in done:
            found[key] = told
            progress.update(len(found))
    return {name: str(value) for name, value in choose_emphasis(found).items()}


def _do_tuning(job: tuple[int, str, float]) -> Json:
    number, file, seconds = job
    kit = Kit(tools=Tools(), emphasis=baselines.EMPHASES[number])
    told = eval.run_method("scip-tuned", file, kit=kit, seconds=seconds)
    return told | {"emphasis": number, "limit": seconds}


# The pieces


@lru_cache(maxsize=8)
def _network(file: str, kind: str) -> Any:
    return run.load_any(Path(file), kind)


def do_feasibility(work: Work) -> Json:
    """Solve the sub-MIPs of one instance at every coverage; gaps are to the best of them.

    As in a dive, an elastic LP frees what stands in the way where a sub-MIP has no point.
    """
    part = work.part
    assert isinstance(part, Feasibility), "this piece is about feasibility"
    model = _network(dict(work.networks)[part.network], "dive")
    mip, hooks = instances.read(Path(work.file)), model.hooks
    relaxed = highs.relax(mip) if model.told.root_lp != "never" and model.sees_graph else None
    look = look_at(mip, bits=model.told.bits, hooks=hooks, graph=model.sees_graph, relaxed=relaxed)
    logits, chosen = model.predict(look)
    predicted = Predicted(
        slots=look.slots, logits=logits, chosen=chosen, coverages=model.told.coverages
    )
    values: list[float] = []
    first: list[bool] = []
    coverages = [factor * model.coverage for factor in part.factors]
    for coverage in coverages:
        partial = partial_assignments(mip, predicted, coverage=coverage, hooks=hooks)[0]
        value = _first_value(mip, partial)
        first.append(bool(np.isfinite(value)))
        looser = None if first[-1] else loosen(mip, partial)
        values.append(value if looser is None else _first_value(mip, looser))
    best = np.nanmin(values) if np.isfinite(values).any() else np.nan
    return {
        "instance": mip.name,
        "coverages": coverages,
        "gaps": [gap(value, float(best)) for value in values],
        "as_assigned": first,
    }


def _first_value(mip: Mip, partial: Partial) -> float:
    """Return the objective of the first point of a sub-MIP; NaN if it has none."""
    reduced = drop_fixed(change_bounds(mip, partial.lower, partial.upper))
    if reduced is None:
        return float("nan")
    if not len(reduced.kept):
        return mip.objective(reduced.fixed)
    solved = highs.solve(reduced.mip, limits=Limits(nodes=NODES, points=1))
    return solved.objective if solved.x is not None else float("nan")


_warmed: set[str] = set()


def do_contest(work: Work) -> Json:
    """Run one method on one instance, from reading the file on."""
    part = work.part
    assert isinstance(part, Contest | Joint), "this piece is a timed run"
    kit = _kit(work)
    method = work.method
    inner = {"dive-hooks": "dive", "dive-hooks-scip": "dive-scip"}.get(method, method)
    if method not in _warmed:
        # Libraries and compiled loops are loaded once; no later call pays for that.
        eval.run_method(inner, work.file, kit=kit, seconds=2.0)
        _warmed.add(method)
    seconds = part.limit(method) if isinstance(part, Contest) else part.seconds
    told = eval.run_method(inner, work.file, kit=kit, seconds=seconds)
    return told | {"method": method}


@lru_cache(maxsize=16)
def _kit(work: Work) -> Kit:
    return _make_kit(work.networks, work.method.removesuffix("-scip"), work.store, work.emphasis)


@lru_cache(maxsize=16)
def _make_kit(
    networks: tuple[tuple[str, str], ...],
    method: str,
    store: str,
    emphasis: tuple[tuple[str, str], ...],
) -> Kit:
    files = dict(networks)
    name = NETWORKS.get(method, "commitment-hooks" if method == "joint" else "")
    model = _network(files[name], "dive") if name else None
    memory = None
    if store and method in ("majority", "knn"):
        folder = Path(store)
        entries = [read_labelled(folder, key) for key in keys_of(folder)]
        memory = baselines.remember([entry for entry in entries if len(entry.pool.objectives)])
    return Kit(tools=Tools(dive=model), memory=memory, emphasis=dict(emphasis))


def do_branch(work: Work) -> Json:
    """Search one presolved instance under every rule, and judge choices at some of its nodes."""
    part = work.part
    assert isinstance(part, Branch), "this piece is about branching"
    policy = _network(dict(work.networks)[part.network], "branch")
    left = scip.presolve(instances.read(Path(work.file))).mip
    assert left is not None, "presolve left nothing of an instance of the claim"
    if part.network not in _warmed:
        # Compiled loops are loaded once; no later search pays for that.
        search(left, "learnt", policy=policy, limits=Limits(nodes=20, seconds=5.0))
        _warmed.add(part.network)
    told: Json = {"instance": left.name}
    for rule in part.rules:
        found = search(left, rule, policy=policy, limits=Limits(seconds=part.seconds))
        told[rule] = {
            "nodes": found.solved.nodes,
            "fair_nodes": found.fair_nodes,
            "seconds": found.processor_seconds,
            "solved": found.solved.status == "optimal",
            "objective": found.solved.objective if np.isfinite(found.solved.objective) else None,
            "overhead_ms": 1e3 * found.tally.seconds_per_call if found.tally else 0.0,
        }
    if part.states:
        told["states"] = _judge(left, policy, part)
    return told


def _judge(mip: Mip, policy: Any, part: Branch) -> list[Json]:
    """Ask strong branching and the policy at the same nodes of a search."""
    cfg = CollectBranch(samples=part.states, nodes=400, asked_share=0.3)
    rows = []
    for sample in collect_instance(mip, cfg=cfg, seed=1).samples:
        logits = policy.logits(sample.graph, sample.candidates)
        rows.append(
            {
                "candidates": len(sample.candidates),
                **{f"top{k}": bool(branching.hit(logits, sample.scores, k)) for k in (1, 5)},
                **{f"chance{k}": branching.chance(sample.scores, k) for k in (1, 5)},
            }
        )
    return rows
