"""`bench`: does learning beat what people use, on the user's own family? It says so either way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from tenfold.engine.config import Json, decode, encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.progress import Progress
from tenfold.engine.run import Run
from tenfold.engine.stats import Interval
from tenfold.engine.tasks import map_tasks
from tenfold.parts.mip import instances, measure
from tenfold.rooms.diving import baselines, config, eval
from tenfold.rooms.diving.dive.hooks import load_hooks
from tenfold.rooms.diving.dive.store import keys_of, read_labelled, store_folder
from tenfold.rooms.diving.eval import Kit
from tenfold.rooms.diving.run import key_of, load_any
from tenfold.rooms.diving.solving import Tools

TUNED_ON = 5
"""Instances on which emphases are compared."""
LEARNT = ("dive", "dive-scip", "branch", "joint")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of one method."""

    cfg: config.Bench
    method: str
    file: str
    seed: int
    emphasis: Mapping[str, object]


def run_bench(cfg: config.Bench, *, run: Run) -> Json:
    """Compare methods on a folder and write out/bench.json and report.html.

    Runs go one after the other, each on its own; what is done is kept, and a stopped comparison
    goes on with the next run.
    """
    files = instances.files_in(Path(cfg.folder))
    with run:
        emphasis = tune(cfg, run) if "scip-tuned" in cfg.methods else {}
        kit = kit_of(encode(cfg), encode(dict(emphasis)))
        left_out: dict[str, str] = {
            m: eval.lacking(m, kit) for m in cfg.methods if eval.lacking(m, kit)
        }
        for method, why in left_out.items():
            run.note(f"{method} is left out: it needs {why}")
        methods = [method for method in cfg.methods if method not in left_out]
        jobs = {
            f"{key_of(file, Path(cfg.folder))}+{method}+{seed}": Job(
                cfg=cfg, method=method, file=str(file), seed=seed, emphasis=emphasis
            )
            for file in files
            for seed in cfg.seeds
            for method in methods
        }
        if not jobs:
            raise TenfoldError("no method can run; give a model, a policy or other methods")
        run.introduce(
            {
                "runs": f"{len(jobs)}: {len(files)} instances, {len(methods)} methods, "
                f"{len(cfg.seeds)} seeds",
                "time": f"at most {len(jobs) * cfg.time / 60:.0f} minutes",
            }
        )
        trials = []
        done = map_tasks(
            _run_job, jobs, out=run.out / "trials", threads=1, check_stop=run.check_stop
        )
        with Progress("runs", len(jobs), quiet=run.options.quiet) as progress:
            for key, trial in done:
                trials.append(trial)
                progress.update(len(trials))
                progress.note(f"{key}: {trial['objective']}")
        told = conclude(cfg, trials, emphasis=emphasis, left_out=left_out)
        run.write_json("bench.json", told)
        from tenfold.rooms.diving.report import bench_page

        bench_page(told, trials, cfg, run.path / "report.html")
    return told


def _run_job(job: Job) -> Json:
    kit = kit_of(encode(job.cfg), encode(dict(job.emphasis)))
    _warm(kit, job.method, job.file)
    told = eval.run_method(job.method, job.file, kit=kit, seconds=job.cfg.time, seed=job.seed)
    return told | {"seed": job.seed}


_warmed: set[str] = set()


def _warm(kit: Kit, method: str, file: str) -> None:
    """Load what a first call loads (libraries, compiled loops), which no later one does."""
    if method not in _warmed:
        eval.run_method(method, file, kit=kit, seconds=1.0)
        _warmed.add(method)


@lru_cache(maxsize=4)
def _kit_of(cfg: str, emphasis: str) -> Kit:
    import json

    return _make_kit(decode(config.Bench, json.loads(cfg), path="bench"), json.loads(emphasis))


def kit_of(cfg: Json, emphasis: Json) -> Kit:
    """Return the tools of a comparison, loaded once a process."""
    import json

    return _kit_of(json.dumps(cfg), json.dumps(emphasis))


def _make_kit(cfg: config.Bench, emphasis: Mapping[str, object]) -> Kit:
    model = load_any(Path(cfg.model), "dive") if cfg.model else None
    policy = load_any(Path(cfg.policy), "branch") if cfg.policy else None
    tools = Tools(
        dive=model,
        branch=policy,
        hooks=load_hooks(cfg.hooks) if cfg.hooks else None,
        diving=cfg.diving,
        branching=cfg.branching,
    )
    memory = None
    store = _store_of(cfg)
    if store is not None:
        entries = [read_labelled(store, key) for key in keys_of(store)]
        entries = [entry for entry in entries if len(entry.pool.objectives)]
        memory = baselines.remember(entries) if entries else None
    return Kit(tools=tools, memory=memory, emphasis=emphasis)


def _store_of(cfg: config.Bench) -> Path | None:
    """Return the labels that baselines learn from: those named, or those of the network."""
    if cfg.store:
        return store_folder(Path(cfg.store))
    if cfg.model and Path(cfg.model).is_dir():
        told = read_json(Path(cfg.model) / "config.json")["config"]
        place = Path(told.get("store", ""))
        if told.get("store") and place.exists():
            return store_folder(place)
    return None


# Tuning


def tune(cfg: config.Bench, run: Run) -> Mapping[str, object]:
    """Return the emphases of SCIP with the least mean primal integral on tuning instances."""
    if cfg.tune:
        files = [str(file) for file in instances.files_in(Path(cfg.tune))][:TUNED_ON]
        jobs = {f"t{n}+{k}": (n, file, cfg.time) for n in range(len(baselines.EMPHASES))
                for k, file in enumerate(files)}  # fmt: skip
    else:
        store = _store_of(cfg)
        if store is None:
            return {}
        keys = keys_of(store)[:TUNED_ON]
        jobs = {f"t{n}+{k}": (n, f"{store}::{key}", cfg.time)
                for n in range(len(baselines.EMPHASES)) for k, key in enumerate(keys)}  # fmt: skip
    found: dict[str, Json] = {}
    with Progress("emphases of SCIP tried", len(jobs), quiet=run.options.quiet) as progress:
        for key, told in map_tasks(
            _tune_job, jobs, out=run.out / "tuning", threads=1, check_stop=run.check_stop
        ):
            found[key] = told
            progress.update(len(found))
    chosen = choose_emphasis(found)
    run.write_json("emphasis.json", chosen)
    return chosen


def _tune_job(job: tuple[int, str, float]) -> Json:
    number, place, seconds = job
    store, _, key = place.partition("::")
    file = read_labelled(Path(store), key).mip if key else place
    kit = Kit(tools=Tools(), emphasis=baselines.EMPHASES[number])
    told = eval.run_method("scip-tuned", file, kit=kit, seconds=seconds)
    return told | {"emphasis": number, "limit": seconds}


def choose_emphasis(found: Mapping[str, Json]) -> Mapping[str, object]:
    """Return the emphases whose runs have the least mean primal integral."""
    trials = list(found.values())
    best = eval.best_known(trials)
    scores: dict[int, list[float]] = {}
    for trial in trials:
        known = best[trial["instance"]]
        if math.isfinite(known):
            curve = measure.primal_curve(eval.trace_of(trial), known)
            scores.setdefault(trial["emphasis"], []).append(curve.integral(trial["limit"]))
    if not scores:
        return dict(baselines.EMPHASES[0])
    return dict(baselines.best_emphasis({n: float(np.mean(v)) for n, v in scores.items()}))


# What is said


def conclude(
    cfg: config.Bench,
    trials: Sequence[Json],
    *,
    emphasis: Mapping[str, object],
    left_out: Mapping[str, str],
) -> Json:
    """Return the summary of a comparison, with a plain sentence for every rival of learning."""
    rows = eval.summarise(trials, target=cfg.target, limit=cfg.time)
    best, groups = eval.best_known(trials), eval.by_method(trials)
    said, ratios = [], []
    for ours in (method for method in groups if method in LEARNT):
        for rival in (method for method in groups if method not in LEARNT):
            pairs = [
                (one, two)
                for one, two in zip(groups[ours], groups[rival], strict=True)
                if math.isfinite(best[one["instance"]])
            ]
            if not pairs:
                continue
            mine, theirs = (eval.primal_curves(side, best) for side in zip(*pairs, strict=True))
            interval = eval.ratio_of_times(mine, theirs, cfg.target, limit=cfg.time)
            ratios.append({"ours": ours, "rival": rival, **_bounds(interval)})
            said.append(_sentence(ours, rival, interval, cfg.target))
    return {
        "methods": rows,
        "ratios": ratios,
        "said": said,
        "emphasis": dict(emphasis),
        "left_out": dict(left_out),
        "target": cfg.target,
        "seconds": cfg.time,
        "best_known": {
            name: value if math.isfinite(value) else None for name, value in best.items()
        },
    }


def _bounds(interval: Interval) -> Json:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _sentence(ours: str, rival: str, interval: Interval, target: float) -> str:
    told = f"{interval.estimate:.2g} [{interval.low:.2g}, {interval.high:.2g}]"
    head = f"mean gap of {100 * target:g} %: {rival} takes {told} times as long as {ours}"
    if interval.low > 1:
        return f"{head}; learning is sooner"
    if interval.high < 1:
        return f"{head}; learning is LATER"
    return f"{head}; no difference can be told"
