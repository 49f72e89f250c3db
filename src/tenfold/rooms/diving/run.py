"""The runs: collect labels instance by instance, train step by step.

A step of diving is `Trainer.update` in `dive/training.py`, one of branching that in
`branch/training.py`; the losses are in `method/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.engine import device
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.progress import Progress
from tenfold.engine.run import Options, Run
from tenfold.engine.tasks import map_tasks
from tenfold.parts.mip import highs, instances, scip
from tenfold.rooms.diving import config
from tenfold.rooms.diving.branch import training as branch_training
from tenfold.rooms.diving.branch.collecting import collect_shard
from tenfold.rooms.diving.branch.policy import load_policy, save_policy
from tenfold.rooms.diving.branch.samples import Sample, read_samples
from tenfold.rooms.diving.dive import training as dive_training
from tenfold.rooms.diving.dive.calibrating import calibrate
from tenfold.rooms.diving.dive.collecting import label
from tenfold.rooms.diving.dive.hooks import Hooks, load_hooks
from tenfold.rooms.diving.dive.network import NeuralDiving, save_network
from tenfold.rooms.diving.dive.store import keys_of, read_labelled, store_folder, write_labelled

STORE = "store"
SHARDS = "shards"
POLICY = "branch.safetensors"
NETWORK = "dive.safetensors"
COVERAGE = 0.7
"""Of a network that was not calibrated."""


def metric_units(cfg: config.Train) -> dict[str, str]:
    """Return the unit of each metric that a run of `cfg` logs."""
    return dive_training.UNITS if cfg.what == "dive" else branch_training.UNITS


# Collecting


@dataclass(frozen=True, kw_only=True)
class Job:
    """One instance to label: what a worker needs."""

    file: str
    key: str
    folder: str
    cfg: config.Collect
    begin: int
    """Place among the instances, part of the seed."""


def collect(
    cfg: config.Collect,
    *,
    files: Sequence[Path] | None = None,
    run: Run | None = None,
    options: Options = Options(),  # noqa: B008
) -> Run:
    """Label every instance of a folder and return the finished run.

    Instances that are done are kept, however the run ends; a second call goes on with the rest.

    Raises:
        TenfoldError: if there is no instance, or some could not be labelled.
    """
    files = instances.files_in(Path(cfg.folder)) if files is None else files
    files = files[: cfg.first or None]
    if cfg.policy:
        load_policy(_policy_file(Path(cfg.policy)))
    run = run or Run.create(
        cfg, room="diving", verb="collect", seed=cfg.seed, schema=config.SCHEMA, options=options
    )
    with run:
        run.introduce(_facts(cfg, files))
        root = Path(cfg.folder)
        jobs = {
            key_of(file, root): Job(
                file=str(file), key=key_of(file, root), folder=str(run.out), cfg=cfg, begin=number
            )
            for number, file in enumerate(files)
        }
        work = _label_job if cfg.what == "dive" else _branch_job
        done = map_tasks(
            work, jobs, workers=cfg.jobs, out=run.out / "pieces", threads=1,
            check_stop=run.check_stop,
        )  # fmt: skip
        told = {}
        title = f"instances labelled ({cfg.what})"
        with Progress(title, len(jobs), quiet=run.options.quiet) as progress:
            for key, piece in done:
                told[key] = piece
                progress.update(len(told))
                progress.note(f"{key}: {piece['said']}")
        run.write_json("labels.json", {key: told[key] for key in sorted(told)})
    return run


def _facts(cfg: config.Collect, files: Sequence[Path]) -> dict[str, str]:
    limits = cfg.dive if cfg.what == "dive" else cfg.branch
    timed = limits.seconds != float("inf")
    return {
        "instances": f"{len(files)} in {cfg.folder}",
        "solvers": f"{scip.version()}, {highs.version()}",
        "budget": "by time: another run will find other labels"
        if timed
        else "counted: another run will find the same labels",
        "jobs": f"{cfg.jobs}, a thread each",
    }


def key_of(file: Path, root: Path) -> str:
    """Return the name of an instance within its folder, fit for a file name."""
    place = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    name = str(place).removesuffix(".gz")
    return "".join(c if c.isalnum() or c in "-_+=" else "_" for c in name)[-150:]


def _label_job(job: Job) -> Json:
    mip = instances.read(Path(job.file))
    made = label(mip, key=job.key, cfg=replace(job.cfg.dive, seed=job.cfg.seed + job.cfg.dive.seed))
    write_labelled(made, Path(job.folder) / STORE)
    pool = made.pool
    count = len(pool.objectives)
    best = float(pool.objectives[0]) if count else None
    return {
        "digest": pool.digest,
        "points": count,
        "best": best,
        "bound": pool.bound,
        "source": pool.source,
        "said": f"{count} points" + (f", best {best:.8g}" if count else ": no point found"),
    }


def _branch_job(job: Job) -> Json:
    cfg = job.cfg
    policy = load_policy(_policy_file(Path(cfg.policy))) if cfg.policy else None
    mip = instances.read(Path(job.file))
    left = scip.presolve(mip, seed=cfg.seed).mip
    if left is None:
        return {"samples": 0, "said": "solved by presolve"}
    told = collect_shard(
        Path(job.folder) / SHARDS / job.key, left, cfg=cfg.branch, seed=cfg.seed + job.begin,
        policy=policy,
    )  # fmt: skip
    return {**told, "said": f"{told['samples']} nodes"}


def _policy_file(path: Path) -> Path:
    return path / "out" / POLICY if path.is_dir() else path


# Training


def train(
    cfg: config.Train,
    *,
    hooks: Hooks | None = None,
    run: Run | None = None,
    options: Options = Options(),  # noqa: B008
) -> Run:
    """Train what `cfg` asks for and return the finished run.

    Args:
        cfg: what to train, on which store.
        hooks: of the family; `None`: those that `cfg` names, if they ship with the room.
        run: a run to go on with; made anew otherwise.
        options: run directory, stopping and checkpoints.

    Raises:
        TenfoldError: if the store holds nothing to learn from.
    """
    check_inputs(cfg)
    run = run or Run.create(
        cfg, room="diving", verb="train", seed=cfg.seed, schema=config.SCHEMA,
        units=metric_units(cfg), options=options,
    )  # fmt: skip
    with run:
        compute = device.choose("cpu", threads=cfg.threads)
        device.apply(compute)
        if cfg.what == "dive":
            # Decision 12: a FILE.py that only the config names is not run from here.
            _train_dive(cfg, run, hooks or load_hooks(cfg.dive.hooks, trusted=False))
        else:
            _train_branch(cfg, run)
    return run


def check_inputs(cfg: config.Train) -> None:
    """Refuse a store that is not there before a run directory is made.

    Raises:
        TenfoldError: saying what is missing.
    """
    if not cfg.store:
        raise TenfoldError("no store is given; name a run of `tenfold diving collect`")
    for store in (cfg.store, *cfg.more):
        if cfg.what == "dive":
            store_folder(Path(store))
        else:
            shard_folder(Path(store))


def _train_dive(cfg: config.Train, run: Run, hooks: Hooks) -> None:
    folders = [store_folder(Path(store)) for store in (cfg.store, *cfg.more)]
    # Of an instance that several stores have, the first one's labels count.
    place = {key: folder for folder in reversed(folders) for key in keys_of(folder)}
    learn, held = split(list(place), share=cfg.dive.valid)
    lessons = {}
    with Progress("instances read", len(learn) + len(held), quiet=run.options.quiet) as progress:
        for key in (*learn, *held):
            run.check_stop()
            entry = read_labelled(place[key], key)
            lesson = dive_training.lesson_of(entry, told=cfg.dive, hooks=hooks)
            if lesson is not None:
                lessons[key] = lesson
            progress.update(progress.done + 1)
    trainer = dive_training.Trainer(
        cfg.dive,
        [lessons[key] for key in learn if key in lessons],
        [lessons[key] for key in held if key in lessons],
        seed=cfg.seed,
    )
    slots = [len(lesson.targets) for lesson in lessons.values()]
    run.introduce(
        {
            "instances": f"{len(lessons)} of {len(learn) + len(held)} have something to learn from",
            "held out": f"{sum(key in lessons for key in held)}",
            "slots": f"{min(slots):,} to {max(slots):,} an instance",
            "weights": f"{sum(p.numel() for p in trainer.net.parameters()):,}",
            "hooks": cfg.dive.hooks or "none",
        }
    )
    for step in run.steps(cfg.dive.steps, trainer):
        loss = trainer.update(step)
        if step % cfg.log_every == 0 or step == cfg.dive.steps - 1:
            run.log(step, {"loss": loss, **trainer.watch()})
    model = NeuralDiving(
        net=trainer.net, told=cfg.dive, extra=trainer.extra, coverage=COVERAGE, means=trainer.means
    )
    chosen = [read_labelled(place[key], key) for key in held if key in lessons][: cfg.calibrate]
    coverage, tried = calibrate(model, chosen, hooks=hooks, check_stop=run.check_stop)
    report: Json = {
        "instances": len(lessons),
        "held_out": sorted(key for key in held if key in lessons),
        "seed": cfg.seed,
        "steps": cfg.dive.steps,
        "measures": trainer.watch(),
        "calibration": tried,
        "store": Path(cfg.store).name,
    }
    model = replace(model, coverage=coverage, report=report)
    save_network(model, run.out / NETWORK)
    run.write_json("report.json", report | {"coverage": coverage})
    run.note(f"first dives assign {100 * coverage:.0f} % of the slots")


def split(keys: Sequence[str], *, share: float) -> tuple[list[str], list[str]]:
    """Return keys to learn from and keys held out, spread evenly over the sorted keys.

    With two keys or more at least one is held out, unless `share` is 0.
    """
    ordered = sorted(keys)
    count = round(share * len(ordered))
    if share and len(ordered) > 1:
        count = max(count, 1)
    every = len(ordered) / count if count else 0
    held = {ordered[min(int((k + 0.5) * every), len(ordered) - 1)] for k in range(count)}
    return [key for key in ordered if key not in held], [key for key in ordered if key in held]


def shard_folder(path: Path) -> Path:
    """Return the folder of branching samples that a path names: itself or a run of `collect`.

    Raises:
        TenfoldError: if there is none.
    """
    for folder in (path / "out" / SHARDS, path):
        if any(folder.glob("*.safetensors")):
            return folder
    raise TenfoldError(
        f"{path} holds no branching samples; make some with `tenfold diving collect branch`"
    )


def read_nodes(folders: Sequence[Path], keys: Sequence[str]) -> list[Sample]:
    """Return the nodes of some instances in all stores that have them."""
    return [
        sample
        for key in keys
        for folder in folders
        if (folder / f"{key}.json").exists()
        for sample in read_samples(folder / key).samples
    ]


def _train_branch(cfg: config.Train, run: Run) -> None:
    folders = [shard_folder(Path(store)) for store in (cfg.store, *cfg.more)]
    # An instance is learnt from or held out in all stores alike.
    keys = {file.stem for folder in folders for file in folder.glob("*.json")}
    learn, held = split(sorted(keys), share=cfg.dive.valid)
    told = replace(cfg.branch, seed=cfg.seed)
    trainer = branch_training.Trainer(
        told, training=read_nodes(folders, learn), validation=read_nodes(folders, held)
    )
    run.introduce(
        {
            "nodes": f"{len(trainer.training):,} to learn from, {len(trainer.validation):,} held "
            "out, of other instances",
            "weights": f"{sum(p.numel() for p in trainer.net.parameters()):,}",
        }
    )
    for step in run.steps(told.steps, trainer):
        if trainer.finished:
            continue
        values = trainer.update(step)
        if step % cfg.log_every == 0 or step == told.steps - 1 or len(values) > 2:
            run.log(step, values)
    measured = branch_training.evaluate(trainer.policy().net, trainer.validation)
    report: Json = {
        "seed": cfg.seed,
        "instances": len(learn) + len(held),
        "nodes": len(trainer.training),
        "held_out_nodes": len(trainer.validation),
        "accuracy": measured,
        "store": Path(cfg.store).name,
    }
    save_policy(trainer.policy(report), run.out / POLICY)
    run.write_json("report.json", report)


def load_any(path: Path, kind: str) -> Any:
    """Return the network or policy of a run directory or file."""
    from tenfold.rooms.diving.dive.network import load_network

    return load_network(path) if kind == "dive" else load_policy(_policy_file(path))


def resume(path: str | Path, *, options: Options = Options()) -> Run:  # noqa: B008
    """Go on with a run of `train` or `collect` under its saved config and return it finished."""
    from tenfold.engine.run import decode_saved

    place = Path(path)
    verbs: dict[str, tuple[type, Callable[..., Run]]] = {
        "train": (config.Train, train),
        "collect": (config.Collect, collect),
    }
    verb = read_json(place / "config.json")["verb"]
    if verb not in verbs:
        raise TenfoldError(f"{place} is a run of {verb!r}; only train and collect are gone on with")
    kind, go_on = verbs[verb]
    cfg: Any = decode_saved(place, kind, schema=config.SCHEMA)
    units = metric_units(cfg) if verb == "train" else {}
    return go_on(cfg, run=Run.resume(place, cfg, units=units, options=options))
