"""Training the dictionaries of a suite, in this process or spread over several.

What a site becomes depends neither on the other sites nor on the process that trains it: both
ways end with the same bits, at the same number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

from torch import Tensor

from tenfold.engine import files
from tenfold.engine.config import Json, encode
from tenfold.engine.metrics import read_rows
from tenfold.engine.progress import Progress
from tenfold.engine.run import Options, Run
from tenfold.engine.tasks import Workers, map_tasks
from tenfold.rooms.jumprelu import files as dictionaries
from tenfold.rooms.jumprelu.eval import measure
from tenfold.rooms.scope import config
from tenfold.rooms.scope.data import StoreData, SuiteData, bucket_rows, refuse_unpaired
from tenfold.rooms.scope.places import Place
from tenfold.rooms.scope.store import Store, open_store
from tenfold.rooms.scope.suite import Entry
from tenfold.rooms.scope.trainer import UNITS, Lane, Stack, SuiteTrainer, start

PIECES = "pieces"
"""Where a run keeps the runs and results of its worker processes."""


def fit(
    cfg: config.Suite,
    places: Sequence[Place],
    data: SuiteData,
    *,
    run: Run,
    folder: Path,
    torch_device: str = "cpu",
) -> list[Entry]:
    """Train all dictionaries of these places, write them below `folder`, and list them.

    Args:
        cfg: what is trained.
        places: where.
        data: their activations.
        run: entered; takes checkpoints and metrics.
        folder: of the suite.
        torch_device: as torch names it.

    Raises:
        RunStopped: if a stop was asked for; the state is saved.
    """
    trainer = start(cfg, places, data, torch_device=torch_device)
    run.note(f"kernels: {trainer.stacks[0].trainer.kernel}")
    run.write_json("schedule.json", _constants(trainer))
    for step in run.steps(trainer.steps, trainer):
        terms = trainer.update(step)
        if step % cfg.log_every == 0 or step == trainer.steps - 1:
            values, warnings = trainer.watch(terms, step)
            run.log(step, values)
            for warning in warnings:
                run.note(warning)
    return list(_save(trainer, data, folder=folder, run=run))


def _constants(trainer: SuiteTrainer) -> Json:
    return {
        lane.name: encode(stack.trainer.schedule)
        for stack in trainer.stacks
        for lane in stack.lanes
    }


def _save(trainer: SuiteTrainer, data: SuiteData, *, folder: Path, run: Run) -> Iterator[Entry]:
    """Write each dictionary, folded, and measure it on held-out rows of the harvest."""
    held_out: tuple[Place, list[tuple[Tensor, Tensor]] | list[Tensor]] | None = None
    for stack in trainer.stacks:
        for lane, dictionary in stack.dictionaries():
            run.check_stop()
            if held_out is None or held_out[0] != lane.place:
                held_out = (lane.place, _held_out(data, lane.place))
            folded = dictionary.fold()
            measures = measure(folded, held_out[1])
            path = f"saes/{lane.name}"
            file = dictionaries.save(folded, folder / path, values=_facts(lane), overwrite=True)
            yield _entry(
                stack,
                lane,
                scale=dictionary.scale,
                path=path,
                sha256=files.sha256(file),
                metrics=measures.summary() | measures.histogram(),
            )


def _held_out(data: SuiteData, place: Place) -> list[tuple[Tensor, Tensor]] | list[Tensor]:
    inputs = data.held_out(place.site)
    if not place.site_out:
        return list(inputs)
    return list(zip(inputs, data.held_out(place.site_out), strict=True))


def _facts(lane: Lane) -> Json:
    sites = {"site": lane.place.site, "site_out": lane.place.site_out}
    return {name: site for name, site in sites.items() if site} | {
        "target_l0": lane.target_l0,
        "seed": lane.seed,
    }


def _entry(
    stack: Stack, lane: Lane, *, scale: float, path: str, sha256: str, metrics: Json
) -> Entry:
    dictionary, train = stack.trainer.dictionary, stack.trainer.cfg
    return Entry(
        name=lane.name,
        site=lane.place.site,
        site_out=lane.place.site_out,
        kind=dictionary.kind,
        width=lane.width,
        input_width=dictionary.input_width,
        output_width=dictionary.output_width,
        target_l0=lane.target_l0,
        seed=lane.seed,
        rows=train.steps * train.batch,
        scale=scale,
        schedule=stack.trainer.schedule.name,
        path=path,
        sha256=sha256,
        metrics=metrics,
    )


def store_data(
    cfg: config.Suite, store: Store, places: Sequence[Place], *, bucket: int = 0
) -> StoreData:
    """Open a store for training.

    Args:
        cfg: batch, seeds and share held out.
        store: the harvest.
        places: what is trained here.
        bucket: rows of a bucket; 0 takes it from these places.

    Raises:
        TenfoldError: for sites that are not in the store, or pairs that do not fit together.
    """
    for place in places:
        if place.site_out:
            refuse_unpaired(store, place.site, place.site_out)
    sites = list(dict.fromkeys(site for place in places for site in place.sites))
    return StoreData(
        store,
        sites,
        batch=cfg.batch,
        seeds=cfg.seeds,
        held_out=cfg.held_out,
        bucket=bucket or bucket_rows(sum(_row_bytes(store, site) for site in sites)),
    )


def _row_bytes(store: Store, site: str) -> int:
    facts = store.site(site)
    return facts.width * (2 if facts.dtype == "bfloat16" else 4)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one worker process is told: a place of a suite, and where everything lies."""

    cfg: config.Suite
    place: Place
    bucket: int
    store: str
    path: str
    """Directory of the piece's own run."""
    folder: str
    """Of the suite."""
    device: str
    options: Options


def spread(
    cfg: config.Suite,
    places: Sequence[Place],
    store: Store,
    *,
    run: Run,
    folder: Path,
    torch_device: str = "cpu",
) -> list[Entry]:
    """Do as `fit` does, each place in a process of `cfg.workers`.

    Every place has a run of its own below `pieces/`, from which it goes on.

    Raises:
        RunStopped: if a stop was asked for; the states are saved.
        TenfoldError: naming each place that failed, once the others are done.
    """
    workers = cast(Workers, cfg.workers if cfg.workers == "ray" else int(cfg.workers))
    threads = cfg.threads or 1
    bucket = store_data(cfg, store, places).bucket
    pieces = {
        f"{number:03d}": Piece(
            cfg=replace(cfg, threads=threads),
            place=place,
            bucket=bucket,
            store=str(store.path.absolute()),
            path=str((run.path / PIECES / f"{number:03d}").absolute()),
            folder=str(folder.absolute()),
            device=torch_device,
            options=replace(run.options, quiet=True),
        )
        for number, place in enumerate(places)
    }
    found = {}
    with Progress("sites", len(pieces), quiet=run.options.quiet) as progress:
        results = map_tasks(
            train_piece,
            pieces,
            workers=workers,
            out=run.path / PIECES,
            threads=threads,
            check_stop=run.check_stop,
        )
        for key, result in results:
            found[key] = result["entries"]
            progress.update(len(found))
    _take_metrics(run, [Path(piece.path) for piece in pieces.values()])
    return [Entry(**entry) for key in pieces for entry in found[key]]


def train_piece(piece: Piece) -> Json:
    """Train the dictionaries of one place in a run of its own and list them."""
    path = Path(piece.path)
    own = replace(piece.cfg, sites=(str(piece.place),), store=piece.store, workers="1", live=False)
    if (path / "config.json").exists():
        run = Run.resume(path, own, units=UNITS, options=piece.options)
    else:
        run = Run.create(
            own,
            room="scope",
            verb="suite",
            seed=own.seeds[0],
            schema=config.SCHEMA,
            units=UNITS,
            options=piece.options,
            path=path,
        )
    with run:
        data = store_data(own, open_store(piece.store), [piece.place], bucket=piece.bucket)
        entries = fit(
            own,
            [piece.place],
            data,
            run=run,
            folder=Path(piece.folder),
            torch_device=piece.device,
        )
    return {"entries": [asdict(entry) for entry in entries]}


def _take_metrics(run: Run, pieces: Sequence[Path]) -> None:
    """Put what the pieces logged into the metrics of the whole run, with the suite's means."""
    steps: dict[int, dict[str, list[float]]] = {}
    for path in pieces:
        for row in read_rows(path / "metrics.jsonl"):
            steps.setdefault(row.step, {}).setdefault(row.name, []).append(row.value)
    (run.path / "metrics.jsonl").unlink(missing_ok=True)  # of a session that was killed here
    for step, values in sorted(steps.items()):
        run.log(step, {name: sum(found) / len(found) for name, found in values.items()})
