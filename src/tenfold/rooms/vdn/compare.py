"""Architectures side by side: stacks of teams, their curves, areas under them, who is ahead.

The curve of a team is its reward per 100 steps while it trains, exploration included. Its area
(AUC) is the mean of that over all of training, its final value the mean over the last tenth.
Normalised values are (x - worst) / (best - worst) over the architectures' means on a task, as the
paper shows; what its own normaliser was is not known, so raw numbers stand beside.

Teams of equal structure train as one stack; results do not depend on how they are packed.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import device
from tenfold.engine.config import Json
from tenfold.engine.progress import Progress
from tenfold.engine.run import Options, Run
from tenfold.engine.tasks import map_tasks
from tenfold.rooms.vdn import eval, tasks
from tenfold.rooms.vdn.compare_config import SCHEMA, Compare
from tenfold.rooms.vdn.config import Arch, Train, arch_of
from tenfold.rooms.vdn.files import TEAMS_FOLDER, save_teams
from tenfold.rooms.vdn.trainer import Trainer

LAST = 0.1
"""Share of training whose mean is the final value."""
STACKS = "stacks"
"""Folder of a run with the runs of stacks that are not finished."""
TEST_STEPS = 1_000
"""Steps of each copy in test play."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Teams that train as one stack on one task."""

    cfg: Compare
    task: str
    teams: tuple[tuple[str, int], ...]
    """Architecture and seed of each."""
    path: str = ""
    """Directory of the stack's own run, from which it goes on."""
    out: str = ""
    """Folder of the trained teams."""
    options: Options = field(default_factory=Options)


def compare_run(cfg: Compare, *, run: Run) -> Run:
    """Train every stack that is missing; write out/compare.json and report.html."""
    from tenfold.rooms.vdn.report import write_compare

    check_tasks(cfg)
    with run:
        train_all(cfg, run)
        write_compare(run.path)
    return run


def check_tasks(cfg: Compare) -> None:
    """Refuse what cannot be trained, before anything is.

    Raises:
        TenfoldError: if a task cannot be opened, or an architecture cannot play it.
    """
    for task in cfg.all_tasks:
        batch = tasks.open_task(task, copies=1, seeds=(0,), episode=cfg.episode)
        for name in cfg.names:
            tasks.check_team(batch, arch_of(name))


def train_all(cfg: Compare, run: Run) -> None:
    """Train every stack that is missing, inside a run that has begun; write out/compare.json."""
    planned = dict(plan_stacks(cfg))
    # The largest first, so that no process ends long after the others.
    stacks = dict(sorted(planned.items(), key=lambda item: -len(item[1].teams)))
    teams = len(cfg.names) * len(cfg.all_tasks) * len(cfg.seeds)
    run.introduce(
        {
            "teams": f"{teams}: {len(cfg.names)} architectures, {len(cfg.all_tasks)} tasks, "
            f"{len(cfg.seeds)} seeds",
            "stacks": f"{len(stacks)} of at most {cfg.stack} teams",
            "updates": f"{cfg.updates:,} of each team, {teams * cfg.updates:,} in all",
        }
    )
    own = run.path / STACKS
    stacks = {
        key: replace(
            stack,
            path=str((own / key).absolute()),
            out=str((run.out / TEAMS_FOLDER).absolute()),
            options=replace(run.options, quiet=True, stop_after=0),
        )
        for key, stack in stacks.items()
    }
    found: dict[str, Json] = {}
    done = map_tasks(
        train_stack, stacks, workers=cfg.workers, out=run.out / "stacks", threads=1,
        check_stop=run.check_stop,
    )  # fmt: skip
    with Progress("stacks", len(stacks), quiet=run.options.quiet) as progress:
        for key, told in done:
            found[key] = told
            # Its result is kept, so that the replays in its checkpoints are no longer needed.
            shutil.rmtree(own / key, ignore_errors=True)
            progress.update(len(found))
    rows = [row for key in planned for row in found[key]["teams"]]
    run.write_json("compare.json", conclude(cfg, rows))


def plan_stacks(cfg: Compare) -> Iterator[tuple[str, Stack]]:
    """Yield the stacks of a comparison by their keys, teams of equal structure together."""
    for task in cfg.all_tasks:
        groups: dict[str, list[tuple[str, int]]] = {}
        for name in cfg.names:
            own = groups.setdefault(_family(arch_of(name)), [])
            own += [(name, seed) for seed in cfg.seeds]
        for family, teams in groups.items():
            for start in range(0, len(teams), cfg.stack):
                key = f"{_as_file(task)}+{family}+{start}"
                some = tuple(teams[start : start + cfg.stack])
                yield key, Stack(cfg=cfg, task=task, teams=some)


def _family(arch: Arch) -> str:
    """Return what architectures of one structure have in common."""
    if arch.central:
        return "joint" if arch.mixer == "joint" else "central"
    words = [word for word, on in (("l", arch.low), ("h", arch.high), ("q", arch.qmix)) if on]
    return ".".join(["agents", *words])


class Course:
    """A stack that trains, and what it earned in each window; Checkpointable."""

    def __init__(self, stack: Stack) -> None:
        cfg = stack.cfg
        compute = device.choose(cfg.device, threads=1)
        device.apply(compute)
        archs = [arch_of(name) for name, _ in stack.teams]
        seeds = [seed for _, seed in stack.teams]
        batch = tasks.open_task(stack.task, copies=cfg.copies, seeds=seeds, episode=cfg.episode)
        self.trainer = Trainer(
            batch, archs, cfg.learning, seeds=seeds, updates=cfg.updates,
            updates_per_window=cfg.updates_per_window, device=compute.device,
        )  # fmt: skip
        waiting = -(-cfg.learning.warm_up // cfg.copies)
        self.windows = waiting + -(-cfg.updates // cfg.updates_per_window)
        self.rewards = np.zeros((self.windows, len(seeds)))
        self.events = np.zeros((self.windows, len(seeds), len(batch.spec.agents)))

    def step(self) -> None:
        """Play a window and learn."""
        number = self.trainer.windows
        told = self.trainer.step()
        self.rewards[number] = told["reward"].sum(axis=1)
        self.events[number] = told["events"].sum(axis=2)

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything that later steps depend on, and what was earned so far."""
        tensors, values = self.trainer.state()
        earned = {"rewards": self.rewards, "events": self.events}
        return tensors | {k: torch.from_numpy(v.copy()) for k, v in earned.items()}, values

    def load_state(self, tensors: Mapping[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        own = {"rewards": self.rewards, "events": self.events}
        self.trainer.load_state({k: v for k, v in tensors.items() if k not in own}, values)
        for name, array in own.items():
            array[:] = tensors[name].numpy()


def train_stack(stack: Stack) -> Json:
    """Train the teams of a stack in a run of its own and return their curves and figures.

    Raises:
        RunStopped: if a stop was asked for; the state is saved.
    """
    cfg, course = stack.cfg, Course(stack)
    with _run_of(stack) as run:
        for _ in run.steps(course.windows, course):
            course.step()
        for name in dict.fromkeys(name for name, _ in stack.teams):
            which = [team for team, (other, _) in enumerate(stack.teams) if other == name]
            own = tuple(stack.teams[team][1] for team in which)
            told = Train(env=stack.task, arch=name, seeds=own, episode=cfg.episode)
            save_teams(Path(stack.out) / _file_of(stack, name, own), told, course.trainer, which)
    seeds = [seed for _, seed in stack.teams]
    trainer, windows = course.trainer, course.windows
    rewards, events = course.rewards, course.events
    tested = eval.play(
        trainer.learner,
        tasks.open_task(
            stack.task, copies=cfg.copies, seeds=[seed + eval.TEST_SEEDS for seed in seeds],
            episode=cfg.episode,
        ),
        seeds=[seed + eval.TEST_SEEDS for seed in seeds],
        steps=TEST_STEPS,
    )  # fmt: skip
    last = max(1, round(LAST * windows))
    edges = np.linspace(0, windows, cfg.points + 1).round().astype(int)
    rows = []
    for team, (name, seed) in enumerate(stack.teams):
        late = events[-last:, team].sum(axis=0)
        rows.append(
            {
                "task": stack.task,
                "arch": name,
                "seed": seed,
                "auc": 100 * float(rewards[:, team].mean()),
                "final": 100 * float(rewards[-last:, team].mean()),
                "test": 100 * float(tested.team[team].mean()),
                "busiest": float(late.max() / late.sum()) if late.sum() > 0 else None,
                "test_busiest": eval.share_or_none(tested.busiest[team]),
                "returns": tested.returns[team].tolist(),
                "curve": [
                    100 * float(rewards[a:b, team].mean()) if b > a else None
                    for a, b in itertools.pairwise(edges)
                ],
                "diverged": bool(trainer.learner.adam.frozen[team]),
            }
        )
    return {"teams": rows, "steps": trainer.team_steps, "windows": windows}


def _run_of(stack: Stack) -> Run:
    path = Path(stack.path)
    own = replace(stack.cfg, workers=1)
    if (path / "config.json").exists():
        return Run.resume(path, own, options=stack.options)
    return Run.create(
        own, room="vdn", verb="compare", seed=own.seeds[0], schema=SCHEMA, options=stack.options,
        path=path,
    )  # fmt: skip


def _file_of(stack: Stack, name: str, seeds: Sequence[int]) -> str:
    """Return the name of a file of teams; with the seeds if the others are in another stack."""
    whole = len(seeds) == len(stack.cfg.seeds)
    seen = "" if whole else "+" + "_".join(map(str, seeds))
    return f"{_as_file(stack.task)}+{name}{seen}.safetensors"


def _as_file(task: str) -> str:
    return task.replace("/", "-").replace(":", "-")


def conclude(cfg: Compare, rows: Sequence[Json]) -> Json:
    """Return rows, means over seeds, and the two normalised tables."""
    means = {
        measure: {
            task: {name: _mean(rows, task, name, measure) for name in cfg.names}
            for task in cfg.all_tasks
        }
        for measure in ("auc", "final", "test", "busiest", "test_busiest")
    }
    return {
        "archs": list(cfg.names),
        "tasks": list(cfg.all_tasks),
        "seeds": list(cfg.seeds),
        "rows": list(rows),
        "means": means,
        "normalised": {
            measure: {task: normalise(means[measure][task]) for task in cfg.all_tasks}
            for measure in ("auc", "final")
        },
    }


def _mean(rows: Sequence[Json], task: str, name: str, measure: str) -> float | None:
    values = [row[measure] for row in rows if row["task"] == task and row["arch"] == name]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def normalise(means: Mapping[str, Any]) -> dict[str, float]:
    """Return (x - worst) / (best - worst) of each architecture; 0 for all if they are equal."""
    values = np.array([means[name] for name in means], dtype=float)
    spread = np.nanmax(values) - np.nanmin(values)
    scaled = (values - np.nanmin(values)) / spread if spread > 0 else np.zeros_like(values)
    return dict(zip(means, scaled.tolist(), strict=True))
