"""The room's verbs: each takes its config and a call; torch is imported when one runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from tenfold.engine.config import Json
from tenfold.engine.verbs import Call, Plain, Verb, open_run
from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.claim_config import Claim

ROOM = "jumprelu"
FormatName = Literal["tenfold", "gemma-scope", "gemma-scope-2", "sae-lens", "sparsify"]


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Write the active latents of a matrix as a sparse file."""

    dictionary: tyro.conf.Positional[str]
    """Folder of a dictionary or of a run."""
    data: tyro.conf.Positional[str]
    """Activations: .npy, .npz or .safetensors."""
    out: str
    """Sparse result, .npz (indptr, indices, data, shape: scipy.sparse.load_npz reads it)."""
    key: str = ""
    """Which array of a file with several."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a dictionary on activations."""

    dictionary: tyro.conf.Positional[str]
    """Folder of a dictionary or of a run."""
    data: config.Data = field(default_factory=config.Matrix)
    """Activations to measure on, all of them."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Write a dictionary in another library's format, with a forward parity check."""

    source: tyro.conf.Positional[str]
    """Folder of a dictionary or of a run."""
    out: tyro.conf.Positional[str]
    """Folder to write; made if it is not there."""
    format: FormatName = "sae-lens"
    """What to write."""
    overwrite: bool = False
    """Replace what is in the folder."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a dictionary file holds."""

    dictionary: tyro.conf.Positional[str]
    """Folder of a dictionary or of a run."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a run's report.html anew."""

    run: tyro.conf.Positional[str]
    """Run: its path or name."""
    light: bool = False
    """Without scripts, for mail and pull requests."""


def _train(cfg: config.Train, call: Call) -> Json:
    from tenfold.engine.files import read_json
    from tenfold.rooms.jumprelu.report import write_report
    from tenfold.rooms.jumprelu.run import check_inputs, train
    from tenfold.rooms.jumprelu.trainer import metric_units

    check_inputs(cfg)
    run = open_run(
        cfg,
        call,
        room=ROOM,
        verb="train",
        seed=cfg.seeds[0],
        schema=config.SCHEMA,
        units=metric_units(cfg),
    )
    train(cfg, run=run)
    write_report(run.path)
    return {"run": str(run.path), "dictionaries": read_json(run.out / "metrics.json")}


def _plan_train(cfg: config.Train) -> Json:
    schedule = config.resolve_schedule(cfg)
    return {
        "dictionaries": len(cfg.lanes),
        "steps": cfg.steps,
        "schedule": schedule.name,
        "latents": cfg.width * len(cfg.lanes),
        "step_buffer_mb": 4 * cfg.batch * cfg.width * len(cfg.lanes) / 1e6,
    }


def _encode(cfg: Encode, call: Plain) -> Json:
    from tenfold.rooms.jumprelu import tools

    return tools.encode_matrix(cfg, quiet=call.quiet)


def _evaluate(cfg: Evaluate, call: Plain) -> Json:
    from tenfold.rooms.jumprelu import tools

    return tools.evaluate(cfg, quiet=call.quiet)


def _convert(cfg: Convert, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.jumprelu import tools

    return tools.convert(cfg)


def _info(cfg: Info, call: Plain) -> Json:  # noqa: ARG001
    from tenfold.rooms.jumprelu import tools

    return tools.describe(cfg)


def _claim(cfg: Claim, call: Call) -> Json:
    from tenfold.engine.claim import summary
    from tenfold.rooms.jumprelu.claim import run_claim

    run = open_run(cfg, call, room=ROOM, verb="claim", schema=config.SCHEMA)
    return summary(run_claim(cfg, run=run)) | {"report": str(run.path / "report.html")}


def _plan_claim(cfg: Claim) -> Any:
    from tenfold.rooms.jumprelu.claim import estimate

    return estimate(cfg)


def _report(cfg: Report, call: Plain) -> Json:
    from tenfold.engine.files import runs_root
    from tenfold.engine.run import find_run
    from tenfold.rooms.jumprelu.report import write_report

    path = find_run(cfg.run, runs_root(call.runs))
    return {"report": str(write_report(Path(path), light=cfg.light))}


VERBS = {
    "train": Verb(
        config=config.Train,
        run=_train,
        help="Train dictionaries on your activations, several side by side.",
        recipes=config.RECIPES,
        plan=_plan_train,
        schema=config.SCHEMA,
    ),
    "encode": Verb(
        config=Encode, run=_encode, help="Turn a matrix into sparse latents.", call=Plain
    ),
    "eval": Verb(config=Evaluate, run=_evaluate, help="Measure a dictionary.", call=Plain),
    "convert": Verb(
        config=Convert, run=_convert, help="Write a dictionary for another library.", call=Plain
    ),
    "info": Verb(config=Info, run=_info, help="Say what a dictionary file holds.", call=Plain),
    "claim": Verb(
        config=Claim,
        run=_claim,
        help="Check the paper's headline at a scale.",
        plan=_plan_claim,
        schema=config.SCHEMA,
    ),
    "report": Verb(config=Report, run=_report, help="Write a run's report.html.", call=Plain),
}
