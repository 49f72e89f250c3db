"""The run: teams play and learn window by window, log, save; the whole of training on one screen.

One step is `Trainer.step` in `trainer.py`; the equations are in `method.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine import device
from tenfold.engine.config import encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_text
from tenfold.engine.run import Options, Run, decode_saved
from tenfold.rooms.vdn import config, tasks
from tenfold.rooms.vdn.config import arch_of
from tenfold.rooms.vdn.files import save_teams
from tenfold.rooms.vdn.model import count_weights
from tenfold.rooms.vdn.trainer import Trainer

TEAMS = "teams.safetensors"
"""What a finished run has in its out/ folder."""
MAP = "map.txt"
"""What a run on a text map has there from its beginning."""


def train(
    cfg: config.Train,
    *,
    options: Options = Options(),  # noqa: B008 (frozen)
    run: Run | None = None,
    trainer: Trainer | None = None,
    trusted: bool = True,
) -> Run:
    """Train the teams that `cfg` asks for and return the finished run.

    Args:
        cfg: what to train.
        options: run directory, stopping and checkpoint cadence.
        run: a run to go on with; made anew otherwise.
        trainer: what `start` gave; begun here otherwise.
        trusted: whether a file of code that the config names may be run.

    Raises:
        TenfoldError: if the task or the architecture cannot be had.
        RunStopped: if it was asked to stop; the state is saved.
    """
    trainer = trainer or start(cfg, trusted=trusted)
    if run is None:
        run = Run.create(
            cfg,
            room="vdn",
            verb="train",
            seed=cfg.seeds[0],
            schema=config.SCHEMA,
            units=metric_units(),
            options=options,
        )
    with run:
        device.apply(device.choose(cfg.device, threads=cfg.threads))
        _hold_map(run.out / MAP, tasks.map_of(cfg.env, trainer.batch))
        run.introduce(facts(cfg, trainer))
        warning = tasks.find_competition_of(cfg.env, seed=cfg.seeds[0], trusted=trusted)
        if warning:
            run.note(warning)
        curve = Curve(cfg, trainer)
        for step in run.steps(cfg.steps, curve):
            curve.step()
            if (step + 1) % cfg.log_every == 0 or step == cfg.steps - 1:
                run.log(step, curve.read())
        save_teams(run.out / TEAMS, cfg, trainer)
        run.write_json("result.json", curve.result())
    return run


def start(cfg: config.Train, *, trusted: bool = True) -> Trainer:
    """Open the task and draw first weights."""
    compute = device.choose(cfg.device, threads=cfg.threads)
    device.apply(compute)
    batch = tasks.open_task(
        cfg.env, copies=cfg.copies, seeds=cfg.seeds, episode=cfg.episode, trusted=trusted
    )
    arch = arch_of(cfg.arch)
    tasks.check_team(batch, arch)
    trainer = Trainer(
        batch,
        [arch] * len(cfg.seeds),
        cfg.learning,
        seeds=cfg.seeds,
        updates=cfg.updates,
        updates_per_window=cfg.updates_per_window,
        device=compute.device,
    )
    if cfg.init:
        from tenfold.rooms.vdn.files import load_teams

        load_teams(cfg.init).give(trainer.learner)
    return trainer


def _hold_map(path: Path, rows: str) -> None:
    """Keep the map that a run began with.

    Raises:
        TenfoldError: if it is another one now, on which the run cannot go on as it began.
    """
    if rows and not path.exists():
        write_text(path, rows + "\n")
    if rows and path.read_text(encoding="utf-8") != rows + "\n":
        raise TenfoldError(
            f"the map is not the one that this run began with, which lies in {path}; put that "
            "back to go on, or train on the new one by a run of its own"
        )


class Curve:
    """A trainer with the sums since the last row of figures; Checkpointable."""

    def __init__(self, cfg: config.Train, trainer: Trainer) -> None:
        self.cfg, self.trainer = cfg, trainer
        teams = trainer.learner.teams.count
        self.reward = np.zeros(teams)
        self.loss = np.zeros(teams)
        self.windows = self.learnt = 0

    def step(self) -> None:
        """Play a window and learn."""
        told = self.trainer.step()
        self.reward += told["reward"].sum(axis=1)
        self.windows += 1
        if len(told["loss"]):
            self.loss += told["loss"]
            self.learnt += 1

    def read(self) -> dict[str, float]:
        """Return the figures of each team since the last call."""
        values: dict[str, float] = {"updates": float(self.trainer.learner.updates)}
        for team, seed in enumerate(self.cfg.seeds):
            values[f"reward/{seed}"] = 100 * self.reward[team] / max(self.windows, 1)
            values[f"loss/{seed}"] = self.loss[team] / max(self.learnt, 1)
        self.reward[:] = self.loss[:] = 0
        self.windows = self.learnt = 0
        return values

    def result(self) -> dict[str, Any]:
        """Return what each team came to over all of training."""
        trainer, steps = self.trainer, self.trainer.windows
        sums = trainer.sums / max(steps, 1)
        return {
            "teams": [
                {
                    "seed": seed,
                    "arch": self.cfg.arch,
                    "reward_per_100_steps": 100 * float(sums[team, :, 0].sum()),
                    "events_per_100_steps": ", ".join(
                        f"{name} {100 * count:.3g}"
                        for name, count in zip(
                            trainer.batch.spec.events, sums[team, :, 1:].sum(axis=0), strict=True
                        )
                    ),
                    "diverged": bool(trainer.learner.adam.frozen[team]),
                }
                for team, seed in enumerate(self.cfg.seeds)
            ],
            "updates": trainer.learner.updates,
            "steps": trainer.team_steps,
        }

    def state(self) -> Any:
        """Return everything that later steps depend on."""
        tensors, values = self.trainer.state()
        own = {
            "reward": self.reward.tolist(),
            "loss": self.loss.tolist(),
            "windows": self.windows,
            "learnt": self.learnt,
        }
        return tensors, {"trainer": values, "curve": own}

    def load_state(self, tensors: Any, values: Any) -> None:
        """Take over what `state` returned."""
        self.trainer.load_state(tensors, values["trainer"])
        own = values["curve"]
        self.reward[:], self.loss[:] = own["reward"], own["loss"]
        self.windows, self.learnt = own["windows"], own["learnt"]


def metric_units() -> dict[str, str]:
    """Return the unit of each figure that a run logs, by the words before its slash."""
    return {"updates": "updates", "reward": "per 100 steps", "loss": "squared reward"}


def facts(cfg: config.Train, trainer: Trainer) -> dict[str, str]:
    """Return what was chosen, for the block at the start of a run."""
    spec, arch = trainer.batch.spec, arch_of(cfg.arch)
    structure = trainer.learner.teams.structure
    played = cfg.copies * cfg.learning.window
    return {
        "task": f"{spec.name}, {len(spec.agents)} agents, {max(spec.actions)} actions, "
        f"observations {list(spec.shape)}",
        "team": f"{arch.title}, {count_weights(structure, arch):,} weights, rewards of agents are "
        "summed",
        "stack": f"{len(cfg.seeds)} teams, {cfg.copies} copies each",
        "ratio": f"{cfg.updates_per_window} updates a team after {played} steps of play, "
        f"{cfg.learning.batch * cfg.learning.window} steps in each",
        "updates": trainer.learner.way,
        "acts alone": "yes" if arch.alone else "no: it needs messages or all observations",
        "learning": ", ".join(
            f"{name} {value}" for name, value in encode(cfg.learning).items() if name != "kind"
        ),
    }


def resume(path: str | Path, *, options: Options = Options()) -> Run:  # noqa: B008
    """Go on with the run at `path` under its saved config and return it finished."""
    cfg = decode_saved(Path(path), config.Train, schema=config.SCHEMA)
    run = Run.resume(Path(path), cfg, units=metric_units(), options=options)
    return train(cfg, run=run, trusted=False)
