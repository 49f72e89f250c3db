"""The room in Python, with short names: collect, train, load, solve."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from tenfold.engine import rng
from tenfold.engine.errors import unknown_name
from tenfold.engine.run import Options, Run
from tenfold.parts.mip import instances
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.solving import Point
from tenfold.rooms.diving import config, run, solving
from tenfold.rooms.diving.branch.config import CollectBranch, TrainBranch
from tenfold.rooms.diving.branch.policy import Policy
from tenfold.rooms.diving.course import Answer
from tenfold.rooms.diving.dive.assign import Predicted, partial_assignments
from tenfold.rooms.diving.dive.config import CollectDive, Diving, TrainDive
from tenfold.rooms.diving.dive.hooks import Hooks, load_hooks
from tenfold.rooms.diving.dive.looks import look_at, solve_root
from tenfold.rooms.diving.dive.network import NeuralDiving
from tenfold.rooms.diving.dive.search import wants_root

Kind = Literal["dive", "branch"]


def mip(path: str | Path) -> Mip:
    """Read an instance (.mps, .lp, .cip, also .gz)."""
    return instances.read(Path(path))


def collect(
    files: str | Path | Sequence[str | Path],
    *,
    kind: Kind = "dive",
    limit: float = 60.0,
    jobs: int = 1,
    seed: int = 0,
    options: Options = Options(),  # noqa: B008 (frozen)
    **settings: Any,
) -> Run:
    """Label instances and return the finished run, whose directory is the store.

    Args:
        files: a folder, or files such as `Family.train`.
        kind: dive or branch.
        limit: wall seconds an instance; infinite with a limit of nodes makes labels repeatable.
        jobs: instances at a time.
        seed: of searches.
        options: where the run lies and whether it shows progress.
        settings: fields of `CollectDive` or `CollectBranch`.
    """
    told: dict[str, Any] = {"seconds": limit, **settings}
    single = isinstance(files, str | Path)
    cfg = config.Collect(
        what=kind,
        folder=str(files) if isinstance(files, str | Path) else _common(files),
        seed=seed,
        jobs=jobs,
        dive=_made(CollectDive, told) if kind == "dive" else CollectDive(seconds=limit),
        branch=_made(CollectBranch, told) if kind == "branch" else CollectBranch(),
    )
    some = None if single else [Path(file) for file in files]  # type: ignore[union-attr]
    return run.collect(cfg, files=some, options=options)


def _common(files: Sequence[str | Path]) -> str:
    """Return the folder that files are in, the first one's if they are in several."""
    return str(Path(files[0]).parent) if files else "."


def train(
    store: str | Path | Run,
    *,
    kind: Kind = "dive",
    seed: int = 0,
    options: Options = Options(),  # noqa: B008 (frozen)
    hooks: Hooks | str | None = None,
    **settings: Any,
) -> NeuralDiving | Policy:
    """Train on what `collect` made and return the network.

    Args:
        store: run of `collect`, or its directory.
        kind: dive or branch.
        seed: of first values and order.
        options: where the run lies and whether it shows progress.
        hooks: of the family, themselves, their name (commitment) or your FILE.py, which is run.
        settings: fields of `TrainDive` or `TrainBranch`; `coverage` stands for `coverages`.
    """
    hooks = load_hooks(hooks) if isinstance(hooks, str) else hooks
    if hooks is not None:
        settings["hooks"] = hooks.name
    if "coverage" in settings:
        settings["coverages"] = tuple(settings.pop("coverage"))
    place = store.path if isinstance(store, Run) else Path(store)
    made: dict[str, Any] = {"what": kind, "store": str(place), "seed": seed}
    made[kind] = _made(TrainDive if kind == "dive" else TrainBranch, settings)
    trained = run.train(config.Train(**made), hooks=hooks, options=options)
    found: NeuralDiving | Policy = run.load_any(trained.path, kind)
    return found


def _made(kind: type, settings: Mapping[str, Any]) -> Any:
    names = [field.name for field in fields(kind)]
    for name in settings:
        if name not in names:
            raise unknown_name(f"setting of {kind.__name__}", name, names)
    return kind(**settings)


def load(path: str | Path, *, kind: Kind = "dive") -> NeuralDiving | Policy:
    """Return the network of a run or file."""
    found: NeuralDiving | Policy = run.load_any(Path(path), kind)
    return found


def solve(
    instance: Mip | str | Path,
    *,
    dive: NeuralDiving | None = None,
    branch: Policy | None = None,
    time: float = 60.0,
    threads: int = 1,
    nodes: int = 0,
    megabytes: float = math.inf,
    start: Floats | None = None,
    settings: Mapping[str, object] | None = None,
    hooks: Hooks | str | None = None,
    diving: Diving | None = None,
    seed: int = 0,
    on_point: Callable[[Point], None] | None = None,
) -> Answer:
    """Solve an instance with what has been learnt, or with the plain solver.

    Args:
        instance: itself, or its file.
        dive: a diving network.
        branch: a branching policy; with both and two threads they work jointly.
        time: wall seconds, reading and networks counted.
        threads: dives side by side, or one dive and one search if there is a policy too.
        nodes: of each search, for runs that repeat; 0: no limit.
        megabytes: of memory, for SCIP.
        start: a point to begin with, [n].
        settings: SCIP's parameters by name.
        hooks: of the family, if they are your own: themselves, or your FILE.py, which is run.
        diving: how dives go.
        seed: of solvers and samples.
        on_point: called with every better point; raising `StopIteration` ends the solve.
    """
    cfg = diving or Diving()
    if dive is not None and branch is None and threads > 1:
        cfg = replace(cfg, dives=threads)
    how: solving.How = "auto"
    if dive is not None and branch is not None and threads < 2:
        how = "dive"
    return solving.solve(
        instance,
        tools=solving.Tools(
            dive=dive,
            branch=branch,
            diving=cfg,
            hooks=load_hooks(hooks) if isinstance(hooks, str) else hooks,
        ),
        how=how,
        seconds=time,
        nodes=nodes,
        megabytes=megabytes,
        start=start,
        settings=settings,
        seed=seed,
        on_point=on_point,
    )


def assignments(
    model: NeuralDiving, instance: Mip, *, k: int = 1, coverage: float = 0.0, seed: int = 0
) -> list[dict[str, tuple[float, float]]]:
    """Return k partial assignments as {column: (lower, upper)}; only bounds that moved are told."""
    root = solve_root(instance) if wants_root(instance, model, "auto") else None
    look = look_at(
        instance, bits=model.told.bits, hooks=model.hooks, graph=model.sees_graph, relaxed=root
    )
    logits, chosen = model.predict(look)
    predicted = Predicted(
        slots=look.slots, logits=logits, chosen=chosen, coverages=model.told.coverages
    )
    found = partial_assignments(
        instance, predicted, coverage=coverage or model.coverage, hooks=model.hooks, count=k,
        generator=rng.torch_stream(seed, "assignments"),
    )  # fmt: skip
    return [
        {
            instance.columns[j]: (float(one.lower[j]), float(one.upper[j]))
            for j in range(len(instance.cost))
            if one.lower[j] != instance.lower[j] or one.upper[j] != instance.upper[j]
        }
        for one in found
    ]


def bench(folder: str | Path, *, options: Options = Options(), **settings: Any) -> dict[str, Any]:  # noqa: B008
    """Compare methods on a folder; settings are those of the verb `bench`."""
    from tenfold.rooms.diving.bench import run_bench

    cfg = _made(config.Bench, {"folder": str(folder), **settings})
    made = Run.create(cfg, room="diving", verb="bench", schema=config.SCHEMA, options=options)
    told: dict[str, Any] = run_bench(cfg, run=made)
    return told
