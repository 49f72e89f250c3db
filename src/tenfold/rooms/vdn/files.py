"""Trained teams as files: one safetensors file that says in its header what it is.

Arrays are those of slots, [S, *size] each, by the names of `model.Structure.layout`; mixing
networks of QMIX have names that begin with `mixing/`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_bytes
from tenfold.parts.rl.batch import EnvBatch
from tenfold.rooms.vdn.config import Train, arch_of
from tenfold.rooms.vdn.learner import Learner
from tenfold.rooms.vdn.model import Structure, Teams
from tenfold.rooms.vdn.tasks import map_of
from tenfold.rooms.vdn.trainer import Trainer

KEY = "tenfold.vdn"
SCHEMA = 1
TEAMS_FOLDER = "teams"
"""Name of the folder in a comparison's out/ folder, with a file for each architecture and task."""
TEAMS = "teams.safetensors"
"""Name of the file in a run's out/ folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """Teams of one architecture on one task."""

    env: str
    """Name of the task."""
    arch: str
    """Short name of the architecture."""
    seeds: tuple[int, ...]
    """Of the teams, [K]."""
    structure: Structure
    agents: tuple[str, ...]
    """Names of the agents."""
    actions: tuple[int, ...]
    """Actions of each agent."""
    shape: tuple[int, ...]
    """Of one observation."""
    sizes: tuple[int, ...]
    """Numbers in each agent's own observation."""
    dtype: str
    """Of observations."""
    episode: int
    """Steps of an episode of the room's own tasks."""
    rows: str
    """Of the map, if the task is a text file."""
    arrays: dict[str, Tensor]
    """Of all slots."""
    mixing: dict[str, Tensor]
    """Of all teams; empty but for QMIX."""
    shift: Tensor
    """Taken from observations, [K, n]."""
    factor: Tensor
    """And what they are multiplied by then, [K, n]."""

    @property
    def teams(self) -> Teams:
        """The networks, without weights."""
        return Teams.of(self.structure, [arch_of(self.arch)] * len(self.seeds))

    def give(self, learner: Learner) -> None:
        """Write the weights into teams of the same structure: its first weights and frozen copy.

        Raises:
            TenfoldError: if they do not fit.
        """
        if learner.teams.structure != self.structure:
            raise TenfoldError(
                f"saved teams have another structure ({self.structure}) than those to train "
                f"({learner.teams.structure}); name the same task, architecture and width"
            )
        views = self.structure.layout.views(learner.weights)
        for name, array in self.arrays.items():
            if len(views[name]) != len(array):
                raise TenfoldError(
                    f"{len(self.seeds)} saved teams cannot begin {learner.teams.count}; give as "
                    "many seeds"
                )
            views[name].copy_(array)
        for name, array in self.mixing.items():
            self.structure.mixing.views(learner.mixing)[name].copy_(array)
        learner.shift.copy_(self.shift)
        learner.factor.copy_(self.factor)
        learner.frozen.copy_(learner.weights)
        learner.frozen_mixing.copy_(learner.mixing)
        learner.forget()

    def learner(self, cfg: Train | None = None) -> Learner:
        """Return a learner with these weights, to act with or to train on."""
        learning = (cfg or Train()).learning
        made = Learner(self.teams, learning, seeds=list(self.seeds), actions=self.actions)
        self.give(made)
        return made


def save_teams(
    path: Path, cfg: Train, trainer: Trainer, which: Sequence[int] | None = None
) -> None:
    """Write the trained weights of teams.

    Args:
        path: of the file.
        cfg: says of which task, architecture and seeds they are.
        trainer: that has them.
        which: numbers of the teams; None: all.
    """
    learner = trainer.learner
    layout, mixing = learner.teams.structure.layout, learner.teams.structure.mixing
    own = list(range(learner.teams.count)) if which is None else list(which)
    slots = [s for s, team in enumerate(learner.teams.slots.groups.tolist()) if team in own]

    def chosen(array: Tensor, numbers: list[int]) -> Tensor:
        return array.detach()[numbers].cpu().contiguous()

    tensors = {name: chosen(array, slots) for name, array in layout.views(learner.weights).items()}
    tensors |= {
        f"mixing/{name}": chosen(array, own) for name, array in mixing.views(learner.mixing).items()
    }
    tensors |= {f"seen/{k}": chosen(v, own) for k, v in _seen(learner).items()}
    write_bytes(path, save(tensors, metadata={KEY: json.dumps(_told(cfg, learner, trainer.batch))}))


def _seen(learner: Learner) -> dict[str, Tensor]:
    return {"shift": learner.shift, "factor": learner.factor}


def _told(cfg: Train, learner: Learner, batch: EnvBatch) -> Json:
    spec = batch.spec
    return {
        "schema": SCHEMA,
        "env": cfg.env,
        "arch": cfg.arch,
        "seeds": list(cfg.seeds),
        "structure": asdict(learner.teams.structure),
        "agents": list(spec.agents),
        "actions": list(spec.actions),
        "shape": list(spec.shape),
        "sizes": list(spec.sizes),
        "dtype": spec.dtype,
        "episode": cfg.episode,
        "map": map_of(cfg.env, batch),
    }


def load_teams(path: str | Path) -> Saved:
    """Read teams from a file, or from the run directory that made it.

    Raises:
        TenfoldError: if there are none, or of another version.
    """
    place = Path(path)
    file = place / "out" / TEAMS if place.is_dir() else place
    several = sorted((place / "out" / TEAMS_FOLDER).glob("*.safetensors"))
    if several:
        raise TenfoldError(
            f"{place} is a comparison with {len(several)} files of teams; name one of them, such "
            f"as {several[0]}"
        )
    if place.is_dir() and (place / "config.json").exists() and not file.exists():
        raise TenfoldError(
            f"{place} is a run without trained teams: it is not finished, or trains none; go on "
            f"with tenfold runs resume {place}"
        )
    told, tensors = read_arrays(file)
    if told.get("schema") != SCHEMA:
        raise TenfoldError(
            f"{file} has schema {told.get('schema')}, this version {SCHEMA}; train it again"
        )
    return Saved(
        env=told["env"],
        arch=told["arch"],
        seeds=tuple(told["seeds"]),
        structure=Structure(**told["structure"]),
        agents=tuple(told["agents"]),
        actions=tuple(told["actions"]),
        shape=tuple(told["shape"]),
        sizes=tuple(told["sizes"]),
        dtype=told["dtype"],
        episode=told["episode"],
        rows=told.get("map", ""),
        arrays={k: v for k, v in tensors.items() if "/" not in k},
        mixing={k.removeprefix("mixing/"): v for k, v in tensors.items() if "mixing/" in k},
        shift=tensors["seen/shift"],
        factor=tensors["seen/factor"],
    )


def read_arrays(file: Path) -> tuple[Any, dict[str, Tensor]]:
    """Return the header and the arrays of a file of teams.

    Raises:
        TenfoldError: if it is none.
    """
    try:
        with safe_open(file, framework="pt") as held:
            header = (held.metadata() or {}).get(KEY)
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TenfoldError(f"{file} cannot be read as a team ({error}); train one") from None
    if header is None:
        raise TenfoldError(f"{file} is no team of this room; train one")
    return json.loads(header), tensors


def team_arrays(saved: Saved, team: int) -> list[dict[str, Tensor]]:
    """Return the arrays of each lane of one team."""
    teams = saved.teams
    lanes = teams.structure.lanes
    own = teams.slots.lanes[team * lanes : (team + 1) * lanes].tolist()
    return [{name: array[slot] for name, array in saved.arrays.items()} for slot in own]


def stacked(saved: Saved) -> dict[str, Tensor]:
    """Return the arrays of all lanes, [L, *size]."""
    teams = saved.teams
    with torch.no_grad():
        return teams.slots.gather(saved.arrays)
