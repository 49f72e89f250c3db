"""The room's verbs: each takes its config and a call; torch is imported when one runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from tenfold.engine.config import Json
from tenfold.engine.verbs import Call, Plain, Verb, open_run
from tenfold.rooms.diving import config
from tenfold.rooms.diving.claim_config import Claim

ROOM = "diving"


@dataclass(frozen=True, kw_only=True)
class Info:
    """Tell what a folder or file of instances holds."""

    path: tyro.conf.Positional[str]
    """A folder, or one instance (.mps, .lp, .cip, also .gz)."""
    seconds: float = 10.0
    """Wall time of presolve, an instance."""


@dataclass(frozen=True, kw_only=True)
class Gen:
    """Write instances of a family into a folder."""

    family: tyro.conf.Positional[str]
    """One of the nine families (an unknown name lists them), FILE.py:FUNCTION of yours, or a
    folder of pglib-uc days (.json), which are written as they are and then varied."""
    out: str
    """Folder to write into; files that are there already are left as they are."""
    count: int = 100
    """Instances."""
    seed: int = 0
    """Of the first one; the others follow."""
    size: str = ""
    """small, mid or hard (SCIP takes 1 to 5, 10 to 60, more than 60 s), or another named size."""
    numbers: tuple[str, ...] = ()
    """Numbers of your own in place of the size's, such as units=50 hours=24."""
    format: Literal["mps.gz", "mps", "lp.gz", "lp", "cip"] = "mps.gz"
    """How they are written."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count ({self.count}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a run's report.html anew."""

    run: tyro.conf.Positional[str]
    """Run: its path or name."""
    light: bool = False
    """Without scripts, for mail and pull requests."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a trained network as one file."""

    run: tyro.conf.Positional[str]
    """Run of `train`, or a file."""
    out: tyro.conf.Positional[str]
    """The file, .safetensors."""
    overwrite: bool = False
    """Replace what is there."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """Make a run of a network's file."""

    file: tyro.conf.Positional[str]
    """What `export` wrote."""


def _info(cfg: Info, call: Plain) -> Json:
    from tenfold.rooms.diving import tools

    return tools.describe(cfg, quiet=call.quiet)


def _gen(cfg: Gen, call: Plain) -> Json:
    from tenfold.rooms.diving import tools

    return tools.generate(cfg, quiet=call.quiet)


def _place(name: str, call: Call | Plain) -> str:
    """Return the path of a run, which may be given by its name, or of a file or folder."""
    from tenfold.engine.files import runs_root
    from tenfold.engine.run import find_run

    # Of a path that is not there, what reads it says more.
    if not name or Path(name).exists() or Path(name).name != name:
        return name
    return str(find_run(name, runs_root(call.runs)))


def _collect(cfg: config.Collect, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.parts.mip.instances import files_in
    from tenfold.rooms.diving.report import write_report
    from tenfold.rooms.diving.run import collect

    # What is not there is said before a run directory is made.
    files_in(Path(cfg.folder))
    cfg = replace(cfg, policy=_place(cfg.policy, call))
    run = open_run(cfg, call, room=ROOM, verb="collect", seed=cfg.seed, schema=config.SCHEMA)
    collect(cfg, run=run)
    write_report(run.path)
    told = read_json(run.out / "labels.json")
    return {"run": str(run.path), "instances": len(told)}


def _hooks(name: str, call: Call, *, option: str = "--hooks") -> Any:
    """Load hooks; a file only if it was typed now (decision 12)."""
    from tenfold.engine.errors import TenfoldError
    from tenfold.rooms.diving.dive.hooks import load_hooks

    if name.endswith(".py") and not call.trusts(option):
        raise TenfoldError(
            f"the hooks of this run are code, {name}, which is not run unless you name it: "
            f"add {option} {name}, or --trust-code to `tenfold runs resume`"
        )
    return load_hooks(name) if name else None


def _train(cfg: config.Train, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.diving.report import write_report
    from tenfold.rooms.diving.run import check_inputs, metric_units, train

    more = tuple(_place(store, call) for store in cfg.more)
    cfg = replace(cfg, store=_place(cfg.store, call), more=more)
    check_inputs(cfg)
    hooks = _hooks(cfg.dive.hooks, call, option="--dive.hooks")
    run = open_run(
        cfg,
        call,
        room=ROOM,
        verb="train",
        seed=cfg.seed,
        schema=config.SCHEMA,
        units=metric_units(cfg),
    )
    train(cfg, hooks=hooks, run=run)
    write_report(run.path)
    return {"run": str(run.path), "report": read_json(run.out / "report.json")}


def _plan_train(cfg: config.Train) -> Json:
    told = cfg.dive if cfg.what == "dive" else cfg.branch
    return {"what": cfg.what, "steps": told.steps, "network": str(told.network)}


def _solve(cfg: config.Solve, call: Call) -> Json:
    from tenfold.rooms.diving import tools

    cfg = replace(cfg, model=_place(cfg.model, call), policy=_place(cfg.policy, call))
    kit = tools.tools_of(cfg, hooks=_hooks(cfg.hooks, call))
    run = open_run(cfg, call, room=ROOM, verb="solve", seed=cfg.seed, schema=config.SCHEMA)
    return tools.solve_file(cfg, tools=kit, run=run)


def _bench(cfg: config.Bench, call: Call) -> Json:
    from tenfold.rooms.diving.bench import run_bench

    _hooks(cfg.hooks, call)
    cfg = replace(
        cfg,
        model=_place(cfg.model, call),
        policy=_place(cfg.policy, call),
        store=_place(cfg.store, call),
    )
    run = open_run(cfg, call, room=ROOM, verb="bench", seed=cfg.seeds[0], schema=config.SCHEMA)
    told = run_bench(cfg, run=run)
    return {
        "said": told["said"],
        "methods": told["methods"],
        "left_out": told["left_out"],
        "report": str(run.path / "report.html"),
    }


def _plan_bench(cfg: config.Bench) -> Json:
    from tenfold.parts.mip.instances import files_in

    runs = len(files_in(Path(cfg.folder))) * len(cfg.methods) * len(cfg.seeds)
    return {"runs": runs, "minutes_at_most": math.ceil(runs * cfg.time / 60)}


def _claim(cfg: Claim, call: Call) -> Json:
    from tenfold.engine.claim import summary
    from tenfold.rooms.diving.claim import run_claim

    run = open_run(cfg, call, room=ROOM, verb="claim", schema=config.SCHEMA)
    return summary(run_claim(cfg, run=run)) | {"report": str(run.path / "report.html")}


def _plan_claim(cfg: Claim) -> Any:
    from tenfold.rooms.diving.claim import estimate

    return estimate(cfg)


def _report(cfg: Report, call: Plain) -> Json:
    from tenfold.engine.files import runs_root
    from tenfold.engine.run import find_run
    from tenfold.rooms.diving.report import write_report

    path = find_run(cfg.run, runs_root(call.runs))
    return {"report": str(write_report(Path(path), light=cfg.light))}


def _export(cfg: Export, call: Plain) -> Json:
    from tenfold.rooms.diving import tools

    return tools.export(replace(cfg, run=_place(cfg.run, call)))


def _import(cfg: Import, call: Call) -> Json:
    from tenfold.rooms.diving import tools

    tools.kind_of(Path(cfg.file))
    run = open_run(cfg, call, room=ROOM, verb="import", schema=config.SCHEMA)
    return tools.import_(cfg, run=run)


VERBS = {
    "info": Verb(config=Info, run=_info, help="Tell what a folder of instances holds.", call=Plain),
    "gen": Verb(config=Gen, run=_gen, help="Write instances of a family.", call=Plain),
    "collect": Verb(
        config=config.Collect,
        run=_collect,
        help="Label instances: good points, or strong-branching scores.",
        schema=config.SCHEMA,
    ),
    "train": Verb(
        config=config.Train,
        run=_train,
        help="Train a network on labels.",
        recipes=config.RECIPES,
        plan=_plan_train,
        schema=config.SCHEMA,
    ),
    "solve": Verb(
        config=config.Solve, run=_solve, help="Solve one instance.", schema=config.SCHEMA
    ),
    "bench": Verb(
        config=config.Bench,
        run=_bench,
        help="Compare learning with solvers and simpler baselines.",
        plan=_plan_bench,
        schema=config.SCHEMA,
    ),
    "claim": Verb(
        config=Claim,
        run=_claim,
        help="Check the paper's headline at a scale.",
        plan=_plan_claim,
        schema=config.SCHEMA,
    ),
    "report": Verb(config=Report, run=_report, help="Write a run's report.html.", call=Plain),
    "export": Verb(
        config=Export, run=_export, help="Write a trained network as one file.", call=Plain
    ),
    "import": Verb(
        config=Import, run=_import, help="Make a run of a network's file.", schema=config.SCHEMA
    ),
}
