"""What teams play: a task by its name, copies for several teams side by side.

fetch/open, switch/corridor, checkers/board, ...   the paper's games on our maps
fetch:my-map.txt                                   the same on a map of yours
lbf/8x8-2p-3f                                      level-based foraging, compiled
spread/3                                           covering landmarks, compiled
mpe2:NAME, pettingzoo:MODULE:FUNCTION, gym:NAME    other people's environments
FILE.py:FUNCTION                                   yours, see `parts.rl.adapters.opening`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.parts.rl.adapters.opening import SOURCES, open_environment
from tenfold.parts.rl.batch import EnvBatch
from tenfold.parts.rl.spaces import find_competition
from tenfold.rooms.vdn import matrix
from tenfold.rooms.vdn.config import MOST_JOINT, Arch
from tenfold.rooms.vdn.foraging import ForagingBatch, find_foraging
from tenfold.rooms.vdn.games.batch import GameBatch
from tenfold.rooms.vdn.games.maps import Game, GameMap, find_task, list_tasks
from tenfold.rooms.vdn.spread import SpreadBatch, find_spread

GAMES: tuple[Game, ...] = get_args(Game)
TRIED = 64
"""Steps of random play that tell what rewards are like."""


def open_task(
    name: str,
    *,
    copies: int,
    seeds: Sequence[int],
    episode: int = 0,
    trusted: bool = True,
    rows: str = "",
) -> EnvBatch:
    """Open a task for several teams.

    Args:
        name: of the task.
        copies: of each team.
        seeds: of each team; what happens in its copies depends on nothing else.
        episode: steps after which an episode is cut; 0: as the task has it.
        trusted: whether a file of code may be run.
        rows: of the map where the name is that of a text file; empty: those in the file.

    Raises:
        TenfoldError: if there is no such task, or it cannot be opened.
    """
    if name in matrix.GAMES:
        return matrix.TwoStepBatch(name, copies=copies * len(seeds))
    if name.startswith("lbf/"):
        return ForagingBatch(find_foraging(name), copies=copies * len(seeds), seed=tuple(seeds))
    if name.startswith("spread/"):
        return SpreadBatch(find_spread(name), copies=copies * len(seeds), seed=tuple(seeds))
    found = find_map(name, rows=rows)
    if found is not None:
        return GameBatch(
            found, copies=copies * len(seeds), seed=tuple(seeds), limit_steps=episode or 5_000
        )
    if name.partition(":")[0].endswith(".py") and not trusted:
        raise TenfoldError(
            f"the task is code, {name}, which is not run unless you say so: give --env {name} to "
            "play or explain, --trust-code to resume"
        )
    source = name.partition(":")[0]
    if source not in SOURCES and ".py" not in name:
        raise unknown_name("task", name, known_tasks())
    return open_environment(name, copies=copies, seed=tuple(seeds), time_limit=0)


def known_tasks() -> list[str]:
    """Return the names of tasks, and forms of those that stand for many."""
    return [
        *list_tasks(), *matrix.GAMES, "lbf/8x8-2p-3f", "spread/3",
        *(f"{game}:FILE" for game in GAMES), *(f"{source}:NAME" for source in SOURCES),
        "FILE.py:FUNCTION",
    ]  # fmt: skip


def map_of(name: str, batch: EnvBatch) -> str:
    """Return the rows of the map that a task was opened with; empty if it is from no text file."""
    if isinstance(batch, GameBatch) and name.partition(":")[0] in GAMES:
        return "\n".join(batch.game_map.rows)
    return ""


def find_map(name: str, *, rows: str = "") -> GameMap | None:
    """Return the map of a game's task or of a text file; `None` if the name is of another kind.

    Args:
        name: of the task.
        rows: of the map, in place of those in the file.

    Raises:
        TenfoldError: if the map is not there or cannot be played.
    """
    word, _, file = name.partition(":")
    game = next((game for game in GAMES if game == word), None)
    if game is not None and file:
        path = Path(file)
        if rows:
            return GameMap.from_text(rows, game, name=path.stem)
        if not path.is_file():
            raise TenfoldError(
                f"there is no map {file} (from {Path.cwd()}); write {game}:FILE with a text file "
                "of rows"
            )
        return GameMap.from_text(path.read_text(encoding="utf-8"), game, name=path.stem)
    if name.partition("/")[0] in GAMES or name in list_tasks():
        return find_task(name)
    return None


def check_team(batch: EnvBatch, arch: Arch) -> None:
    """Refuse what a team cannot be trained on.

    Raises:
        TenfoldError: if joint actions are too many, or agents too few for what is asked.
    """
    spec = batch.spec
    if arch.mixer == "joint":
        joint = max(spec.actions) ** len(spec.agents)
        if joint > MOST_JOINT:
            raise TenfoldError(
                f"{spec.name} has {max(spec.actions)} actions and {len(spec.agents)} agents, which "
                f"is {joint:,} joint actions; a combinatorial team takes {MOST_JOINT:,} at most, "
                "so choose v.c, or agents with networks of their own"
            )
        if len(set(spec.actions)) > 1 or batch.legal() is not None:
            raise TenfoldError(
                f"agents of {spec.name} do not all have the same actions at all times, which a "
                "combinatorial team needs; choose v.c, or agents with networks of their own"
            )


def find_competition_of(name: str, *, seed: int, trusted: bool = True) -> str:
    """Return a warning if agents of a task compete; the room's own tasks never do."""
    own = name in matrix.GAMES or name.startswith(("lbf/", "spread/"))
    if own or find_map(name) is not None:
        return ""
    return try_rewards(open_task(name, copies=1, seeds=(seed,), trusted=trusted), seed=seed)


def try_rewards(batch: EnvBatch, *, seed: int = 0) -> str:
    """Play at random and return a warning if a team value is meaningless; the batch moves on."""
    spec = batch.spec
    draw = rng.stream(seed, "vdn", "rewards tried")
    observed = []
    batch.reset()
    for _ in range(TRIED):
        legal = batch.legal()
        limits = np.asarray(spec.actions)
        actions = draw.integers(0, limits, size=(spec.copies, len(limits)))
        if legal is not None:
            weights = draw.random(legal.shape) * legal
            actions = weights.argmax(axis=-1)
        step = batch.step(actions)
        observed.append(step.reward.copy())
        ended = step.terminated | step.truncated
        if ended.any():
            batch.reset(ended)
    rewards = np.concatenate(observed)
    if not np.isfinite(rewards).all():
        agent = spec.agents[int(np.argwhere(~np.isfinite(rewards))[0, 1])]
        raise TenfoldError(
            f"a reward of {agent} in {spec.name} is not finite ({rewards[~np.isfinite(rewards)][0]}"
            "); mend the environment"
        )
    return find_competition(rewards)
