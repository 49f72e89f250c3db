"""The run: read a batch, take a step, log, save; the whole of training on one screen.

One step is `Trainer.update` in `trainer.py`; the losses are in `method.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tenfold.engine import device
from tenfold.engine.config import encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import Options, Run, decode_saved
from tenfold.rooms.jumprelu import config, eval, files
from tenfold.rooms.jumprelu.activations import check_site, harvest_site
from tenfold.rooms.jumprelu.data import Source, as_source
from tenfold.rooms.jumprelu.rows import open_rows
from tenfold.rooms.jumprelu.trainer import Trainer, metric_units, start


def train(
    cfg: config.Train,
    data: Any = None,
    *,
    options: Options = Options(),  # noqa: B008 (frozen)
    run: Run | None = None,
) -> Run:
    """Train the dictionaries that `cfg` asks for and return the finished run.

    Args:
        cfg: what to train.
        data: activations, if not those of `cfg.data`: a path, an array, shards, a factory
            `batches(cursor)` or an iterator of [B, D] tensors.
        options: run directory, stopping and checkpoint cadence.
        run: a run to go on with; made anew otherwise.

    Raises:
        TenfoldError: if config or data are unusable.
        RunStopped: if it was asked to stop; the state is saved.
    """
    if run is None:
        check_inputs(cfg, data)
        run = Run.create(
            cfg,
            room="jumprelu",
            verb="train",
            seed=cfg.seeds[0],
            schema=config.SCHEMA,
            units=metric_units(cfg),
            options=options,
        )
    with run:
        compute = device.choose(cfg.device, threads=cfg.threads)
        device.apply(compute)
        source = open_source(cfg, data, run)
        trainer = start(cfg, source, torch_device=compute.device)
        run.introduce(facts(trainer, source, compute))
        used = {"schedule": encode(trainer.schedule), "method": encode(trainer.method)}
        run.write_json("schedule.json", used)
        for step in run.steps(cfg.steps, trainer):
            terms = trainer.update(read_batch(cfg, source, step), step)
            if step % cfg.log_every == 0 or step == cfg.steps - 1:
                values, warnings = trainer.watch(terms, step)
                run.log(step, values)
                for warning in warnings:
                    run.note(warning)
        finish(cfg, trainer, source, run)
    return run


def check_inputs(cfg: config.Train, data: Any = None) -> None:
    """Refuse what cannot be opened before a run directory is made for it.

    Raises:
        TenfoldError: naming what is wrong with data, site, device or warm start.
    """
    device.choose(cfg.device, threads=cfg.threads)
    if cfg.warm_start:
        files.load(cfg.warm_start)
    if data is not None or not isinstance(cfg.data, config.Model):
        open_rows(cfg.data if data is None else data)
    else:
        check_site(cfg.data)


def facts(trainer: Trainer, source: Source, compute: device.Compute) -> dict[str, str]:
    """Return what was chosen and why, for the block at the start of a run."""
    cfg, schedule = trainer.cfg, trainer.schedule
    why = "as asked" if cfg.schedule != "auto" else f"auto, for {cfg.steps:,} steps"
    return {
        "data": str(source.describe()),
        "dictionaries": f"{len(cfg.lanes)} {trainer.dictionary.kind}, D {source.width} x M "
        f"{cfg.width}: {', '.join(lane.name for lane in cfg.lanes)}",
        "schedule": f"{schedule.name} ({why}), step size {schedule.learning_rate:.3g}",
        "method": str(trainer.method),
        "scale": f"inputs are divided by {trainer.dictionary.scale:.4g}",
        "device": compute.reasons[0],
        "dtype": "float32, because active sets are decided in it",
        "threads": compute.reasons[-1],
        "kernels": str(trainer.kernel),
    }


def resume(path: str | Path, data: Any = None, *, options: Options = Options()) -> Run:  # noqa: B008
    """Go on with the run at `path` under its saved config and return it finished.

    Args:
        path: directory of a run that was stopped, killed or lost; a finished one is only read.
        data: what `train` was given as `data`, if anything.
        options: stopping and checkpoint cadence.
    """
    cfg = decode_saved(Path(path), config.Train, schema=config.SCHEMA)
    units = metric_units(cfg)
    return train(cfg, data, run=Run.resume(Path(path), cfg, units=units, options=options))


def read_batch(cfg: config.Train, source: Source, step: int) -> Tensor:
    """Return each dictionary's rows [S, B, D] of one step; equal seeds see equal rows."""
    rows = {seed: source.batch(step, size=cfg.batch, seed=seed) for seed in cfg.seeds}
    return torch.stack([rows[lane.seed] for lane in cfg.lanes])


def open_source(cfg: config.Train, data: Any, run: Run) -> Source:
    """Open the activations of a run, harvesting them first where a model gives them."""
    if data is None and isinstance(cfg.data, config.Model):
        data = harvest_site(cfg.data, run=run, torch_device=device.choose(cfg.device).device)
    source, warnings = as_source(cfg.data if data is None else data, held_out=cfg.held_out)
    for warning in warnings:
        run.note(f"warning: {warning}")
    if not source.resumable:
        run.note("warning: a plain iterator cannot be taken up again, so this run cannot resume")
    described = source.describe()
    if run.data_changed(described):
        raise TenfoldError(
            f"the activations are not those that {run.path.name} began with; "
            "put the old file back or start a new run"
        )
    run.write_data(described)
    return source


def finish(cfg: config.Train, trainer: Trainer, source: Source, run: Run) -> None:
    """Write each dictionary, folded, with its metrics on the held-out rows."""
    results = {}
    for index, lane in enumerate(cfg.lanes):
        dictionary = trainer.dictionary.lane(index).fold()
        measures = eval.measure(dictionary, source.held_out())
        files.save(dictionary, run.out / lane.name, format="tenfold", overwrite=True)
        results[lane.name] = encode(lane) | measures.summary() | measures.histogram()
    run.write_json("metrics.json", results)
