"""The run of a suite: harvest, train, evaluate, pages, report; each stage once.

A stage that is finished is not done again, and one that was broken off goes on: a run killed
at any point and resumed ends with the same bits.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from tenfold.engine import device, files
from tenfold.engine.config import encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import Options, Run, decode_saved
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.jumprelu.config import resolve_schedule
from tenfold.rooms.scope import config
from tenfold.rooms.scope.data import SuiteData, bucket_rows
from tenfold.rooms.scope.harvest import Look, harvest, look, row_bytes
from tenfold.rooms.scope.live import LiveData
from tenfold.rooms.scope.places import Place, find_places
from tenfold.rooms.scope.store import STORE, Store, open_store
from tenfold.rooms.scope.suite import FOLDER, Manifest, open_suite, write_manifest
from tenfold.rooms.scope.trainer import UNITS
from tenfold.rooms.scope.training import fit, spread, store_data

HARVEST, DONE = "harvest", "stages"
EVALUATION, PAGES = "evaluation", "dash"


def train(
    cfg: config.Suite,
    specimen: Specimen | None = None,
    *,
    options: Options = Options(),  # noqa: B008 (frozen)
    run: Run | None = None,
    trusted: bool = True,
) -> Run:
    """Make the suite that `cfg` asks for, from the model to its pages; return the finished run.

    Args:
        cfg: what to make.
        specimen: the model with its data, if not the one that `cfg.subject` names.
        options: run directory, stopping and checkpoint cadence.
        run: a run to go on with; made anew otherwise.
        trusted: whether a FILE.py:FUNCTION in `cfg.subject` may be run; not if it was only
            read from a saved run.

    Raises:
        TenfoldError: if config, model or data are unusable.
        RunStopped: if it was asked to stop; the state is saved.
    """
    if run is None:
        run = create_run(cfg, verb="suite", options=options)
    with run:
        left = [stage for stage in stages_of(cfg) if not _marker(run, stage).exists()]
        if left:
            work = open_work(cfg, specimen, run, trusted=trusted)
            run.introduce(work.facts())
        for stage in left:
            run.check_stop()
            began = time.monotonic()
            STAGES[stage](work)
            files.write_json(_marker(run, stage), {"seconds": time.monotonic() - began})
        if not cfg.keep_store and not cfg.store:
            shutil.rmtree(run.path / HARVEST, ignore_errors=True)
    return run


def create_run(cfg: config.Suite | config.Harvest, *, verb: str, options: Options) -> Run:
    """Make the directory of a new run of this room."""
    return Run.create(
        cfg,
        room="scope",
        verb=verb,
        seed=cfg.seeds[0] if isinstance(cfg, config.Suite) else 0,
        schema=config.SCHEMA,
        units=UNITS,
        options=options,
    )


def resume(
    path: str | Path,
    specimen: Specimen | None = None,
    *,
    options: Options = Options(),  # noqa: B008
    trusted: bool = False,
) -> Run:
    """Go on with the suite at `path` under its saved config and return the run finished.

    Args:
        path: directory of a run that was stopped, killed or lost; a finished one is only read.
        specimen: what `train` was given, if anything.
        options: stopping and checkpoint cadence.
        trusted: whether the saved FILE.py:FUNCTION may be run.
    """
    cfg = decode_saved(Path(path), config.Suite, schema=config.SCHEMA)
    run = Run.resume(Path(path), cfg, units=UNITS, options=options)
    return train(cfg, specimen, run=run, trusted=trusted)


def fill_store(
    cfg: config.Harvest,
    specimen: Specimen | None = None,
    *,
    options: Options = Options(),  # noqa: B008
    run: Run | None = None,
    trusted: bool = True,
) -> Run:
    """Harvest into a run of its own, whose folder `harvest` serves as `store` of suites.

    Arguments and errors are those of `train`.
    """
    if run is None:
        run = create_run(cfg, verb="harvest", options=options)
    with run:
        compute = device.choose(cfg.device, threads=cfg.threads)
        device.apply(compute)
        specimen = specimen or _open_subject(cfg.subject, run, compute, trusted=trusted)
        harvest(
            specimen,
            cfg,
            folder=run.path / HARVEST,
            check_stop=run.check_stop,
            quiet=run.options.quiet,
        )
    return run


def _open_subject(
    subject: config.Subject, run: Run, compute: device.Compute, *, trusted: bool
) -> Specimen:
    from tenfold.rooms.scope.subjects import open_subject

    # The model's own training has steps too, and `stop_after` is not about those.
    options = replace(run.options, stop_after=0)
    return open_subject(subject, options=options, device=compute.device, trusted=trusted)


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What all stages of a run work on."""

    cfg: config.Suite
    run: Run
    specimen: Specimen
    places: tuple[Place, ...]
    looks: Mapping[str, Look]
    """What each needed site is like."""
    compute: device.Compute

    @property
    def suite_folder(self) -> Path:
        """Where the dictionaries go."""
        return self.run.out / FOLDER

    @cached_property
    def store(self) -> Store:
        """The harvest: the one that was named, or this run's own, made now if it is not there."""
        wanted = replace(self.cfg.harvest, sites=tuple(self.looks))
        folder = self.run.path / HARVEST
        if self.cfg.store:
            folder = find_store(Path(self.cfg.store))
            held = open_store(folder).site(wanted.sites[0])
            wanted = replace(wanted, dtype=held.dtype)
        return harvest(
            self.specimen,
            wanted,
            folder=folder,
            check_stop=self.run.check_stop,
            quiet=self.run.options.quiet,
        )

    def data(self) -> SuiteData:
        """Return the rows to train on, which must be those of earlier sessions."""
        data = self._live() if self.cfg.live else store_data(self.cfg, self.store, self.places)
        described = data.describe()
        if self.run.data_changed(described):
            raise TenfoldError(
                f"the activations are not those that {self.run.path.name} began with; put the old "
                "model, data or store back, or start a new run"
            )
        self.run.write_data(described)
        return data

    def _live(self) -> LiveData:
        cfg = self.cfg
        size = 2 if cfg.dtype == "bfloat16" else 4
        return LiveData(
            self.specimen,
            tuple(self.looks),
            batch=cfg.batch,
            seeds=cfg.seeds,
            rows=cfg.rows or cfg.tokens,
            bucket=bucket_rows(sum(seen.width * size for seen in self.looks.values())),
            dtype=torch.bfloat16 if cfg.dtype == "bfloat16" else torch.float32,
        )

    def facts(self) -> dict[str, str]:
        """Return what was chosen and why, for the block at the start of a run."""
        cfg, compute = self.cfg, self.compute
        train = cfg.train(width=cfg.widths[0], rows=cfg.tokens)
        schedule = resolve_schedule(train, input_width=min(s.width for s in self.looks.values()))
        why = "as asked" if cfg.schedule != "auto" else f"auto, for about {train.steps:,} steps"
        lanes = len(train.lanes) * len(cfg.widths)
        sites = (f"{site} {list(seen.grid)} x {seen.width}" for site, seen in self.looks.items())
        return {
            "model": self.specimen.name,
            "sites": f"{len(self.looks)}: {', '.join(sites)}",
            "store": self._store_facts(),
            "dictionaries": f"{lanes * len(self.places)} = {len(self.places)} places x widths "
            f"{list(cfg.widths)} x L0 {[f'{target:g}' for target in cfg.target_l0]} x seeds "
            f"{list(cfg.seeds)}",
            "method": str(cfg.method),
            "schedule": f"{schedule.name} ({why})",
            "device": compute.reasons[0],
            "dtype": "float32, because active sets are decided in it",
            "threads": compute.reasons[-1]
            if cfg.workers == "1"
            else f"{cfg.threads or 1} in each of the worker processes ({cfg.workers})",
        }

    def _store_facts(self) -> str:
        cfg = self.cfg
        if cfg.live:
            return "none: the model runs while the dictionaries are trained; no pages then"
        if cfg.store:
            return f"{cfg.store}, harvested before"
        shows = self.specimen.shows
        per_row = sum(row_bytes(cfg.harvest, s, shows=shows) for s in self.looks.values())
        size = min(cfg.max_gb or float("inf"), cfg.tokens * per_row / 1e9)
        return f"{cfg.tokens:,} rows a site in {cfg.dtype}, {size:.3g} GB at most"


def find_store(path: Path) -> Path:
    """Return the folder of a store: `path`, or what a run there has harvested."""
    return path if (path / STORE).exists() else path / HARVEST


def open_work(cfg: config.Suite, specimen: Specimen | None, run: Run, *, trusted: bool) -> Work:
    """Open the model and find the sites.

    Raises:
        TenfoldError: as `train`.
    """
    if cfg.live and cfg.workers != "1":
        raise TenfoldError(
            f"live training runs the model in this process, workers is {cfg.workers}; use 1, or "
            "harvest a store"
        )
    compute = device.choose(cfg.device, threads=cfg.threads)
    device.apply(compute)
    specimen = specimen or _open_subject(cfg.subject, run, compute, trusted=trusted)
    places = find_places(specimen, cfg.sites)
    sites = list(dict.fromkeys(site for place in places for site in place.sites))
    return Work(
        cfg=cfg,
        run=run,
        specimen=specimen,
        places=places,
        looks=look(specimen, sites),
        compute=compute,
    )


def stages_of(cfg: config.Suite) -> tuple[str, ...]:
    """Return the stages of a run in order."""
    wanted = {"evaluate": cfg.evaluate, "dash": cfg.dash and not cfg.live}
    return tuple(stage for stage in STAGES if wanted.get(stage, True))


def _marker(run: Run, stage: str) -> Path:
    return run.path / DONE / f"{stage}.json"


def _train(work: Work) -> None:
    folder, where = work.suite_folder, {"torch_device": work.compute.device}
    data = work.data()
    if work.cfg.workers == "1":
        entries = fit(work.cfg, work.places, data, run=work.run, folder=folder, **where)
    else:
        entries = spread(work.cfg, work.places, work.store, run=work.run, folder=folder, **where)
    manifest = Manifest(
        subject=encode(work.cfg.subject),
        model=work.specimen.name,
        identity=work.specimen.identity,
        entries=tuple(entries),
        licence=work.specimen.licence,
    )
    write_manifest(folder, manifest)


def _evaluate(work: Work) -> None:
    from tenfold.rooms.scope.eval import evaluate

    evaluate(
        open_suite(work.suite_folder),
        work.specimen,
        tokens=work.cfg.evaluation_tokens,
        out=work.run.out / EVALUATION,
        check_stop=work.run.check_stop,
        quiet=work.run.options.quiet,
    )


def _show(work: Work) -> None:
    from tenfold.rooms.scope.dash import write_dash

    evaluation = work.run.out / EVALUATION / "evaluation.json"
    write_dash(
        open_suite(work.suite_folder),
        work.store,
        work.run.out / PAGES,
        evaluation=files.read_json(evaluation) if evaluation.exists() else None,
        threads=work.compute.threads,
        check_stop=work.run.check_stop,
        quiet=work.run.options.quiet,
    )


def _report(work: Work) -> None:
    from tenfold.rooms.scope.report import write_report

    write_report(work.run.path)


STAGES: dict[str, Callable[[Work], Any]] = {
    "train": _train,
    "evaluate": _evaluate,
    "dash": _show,
    "report": _report,
}
