"""Level-based foraging in many copies at once: the rules of the package lbforaging 2.0.0.

The task is of Christianos, Schäfer and Albrecht 2020 (arXiv:2006.07169). This is code of our own
for the same rules, held to the package step for step by tests, from any state that both can have.

1. Players and foods have levels and stand on a grid; a food stays where it is until it is loaded.
2. Actions: none, north, south, west, east, load. A move is legal if it stays on the grid and the
   cell ahead has no food (players do not count), a load if there is food in one of the four cells
   beside. An illegal action counts as none.
3. All players move at once. If two or more claim one cell, by moving there or by staying, none of
   them moves. Claims alone decide: two players may swap, and a player may enter the cell of one
   whose own move fails, after which both stand in it.
4. Then each food asks the players beside it that chose load: if their levels sum up to its own,
   it is gone, and each of them is rewarded its own level times the food's, over the sum of their
   levels and over the sum of all foods' levels at the start, so that an episode's rewards sum up
   to 1. If not, each loses `penalty`.
5. An episode ends when no food is left, and is cut after `limit_steps`. (The package reports both
   as the same end; ours are `terminated` and `truncated`.)
6. An observation has three numbers for each food, then for each player: row, column, level. Foods
   come in reading order, players in theirs but oneself first; what is not seen is -1, -1, 0.
   Seen is what is `sight` rows and columns away or less; positions count from the top left corner
   of that window, cut off at the border. Of players the package checks only that these positions
   lie in 0 .. 2 sight, so that near the upper and left borders they are seen from farther away.
7. Spawning: players one after another on cells without one, drawn uniformly, each with a level
   from `player_levels`. Then foods, uniformly on cells that are not on the border, have no player,
   and are three steps or more from every other food. Their levels are from `food_levels`, whose
   upper end is, where none is given, the sum of the three lowest levels of players; with `coop` all
   have the upper one. If no cell is left there are fewer foods. (The package draws until it finds
   such a cell, 1000 times at most, and keeps players off cells where those yet to be placed stood
   in the last episode; we draw from all that are free.)

B copies, N players, F foods.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec, Bools, Ints, State, Step, write_state
from tenfold.rooms.vdn import foraging_kernels as kernels
from tenfold.rooms.vdn.loops import counters

ACTIONS = ("none", "north", "south", "west", "east", "load")
"""By number (rule 2)."""
NAME = re.compile(r"lbf/(\d+)x(\d+)-(\d+)p-(\d+)f(-coop)?(?:-(\d+)s)?(-masked)?")


@dataclass(frozen=True, kw_only=True)
class Foraging:
    """A task; defaults are those of the package's registered ones."""

    rows: int = 8
    """Rows of the grid, at least 3."""
    columns: int = 8
    """Columns of the grid, at least 3."""
    players: int = 2
    """Players, at least 1."""
    foods: int = 3
    """Foods at most, at least 1."""
    coop: bool = False
    """Whether all foods have the highest level that is allowed."""
    sight: int | None = None
    """Rows and columns that a player sees to each side; None: all."""
    player_levels: tuple[int, int] = (1, 2)
    """Lowest and highest level of players."""
    food_levels: tuple[int, int | None] = (1, None)
    """Lowest and highest level of foods; None: the sum of the three lowest players' levels."""
    limit_steps: int = 50
    """Steps after which an episode is cut."""
    normalised: bool = True
    """Whether an episode's rewards sum up to 1; else a food pays its level, times a player's."""
    penalty: float = 0.0
    """What players lose by loading a food that is too much for them."""
    masked: bool = False
    """Whether only actions that do something may be chosen; the package lets all six be, and a
    team that learnt with masks does badly without them."""

    def __post_init__(self) -> None:
        limits = {"rows": 3, "columns": 3, "players": 1, "foods": 1, "limit_steps": 1}
        for name, least in limits.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give {least} or more")
        if self.sight is not None and self.sight < 1:
            raise ValueError(f"sight is {self.sight}; give 1 or more, or None to see all")
        if self.players > self.rows * self.columns - 1:
            raise ValueError(
                f"{self.players} players do not fit on {self.rows} x {self.columns} cells with a "
                "food; give fewer players or a larger grid"
            )
        low, high = self.player_levels
        if not 1 <= low <= high:
            raise ValueError(f"player_levels are {low} to {high}; give 1 or more, lowest first")
        lowest, highest = self.food_levels
        # The least that the highest level can be when it follows from the players' levels.
        most = low * min(3, self.players) if highest is None else highest
        if not 1 <= lowest <= most:
            raise ValueError(
                f"food_levels are {lowest} to {most}; give 1 or more, lowest first (without a "
                "highest one it follows from the levels of players)"
            )

    @property
    def name(self) -> str:
        """Short name; `find_foraging` gives it its meaning back where all else is as usual."""
        coop = "-coop" if self.coop else ""
        sight = f"-{self.sight}s" if self.sight is not None else ""
        masked = "-masked" if self.masked else ""
        size = f"{self.rows}x{self.columns}-{self.players}p-{self.foods}f"
        return f"lbf/{size}{coop}{sight}{masked}"


def find_foraging(name: str) -> Foraging:
    """Return the task of a name such as "lbf/8x8-2p-3f", "lbf/8x8-2p-2f-coop" or "...-2s-masked".

    The last of these has a sight of 2, and only actions that do something may be chosen.

    Raises:
        TenfoldError: if the name is of another form.
        ValueError: if a number in it is out of its range.
    """
    found = NAME.fullmatch(name)
    if not found:
        raise TenfoldError(
            f"{name!r} is no task of level-based foraging; write rows, columns, players and foods "
            "as in lbf/8x8-2p-3f, then -coop if foods need all players, -2s for a sight of 2, "
            "-masked if only actions that do something may be chosen"
        )
    rows, columns, players, foods = (int(word) for word in found.groups()[:4])
    return Foraging(
        rows=rows,
        columns=columns,
        players=players,
        foods=foods,
        coop=bool(found[5]),
        sight=int(found[6]) if found[6] else None,
        masked=bool(found[7]),
    )


class ForagingBatch:
    """Copies of one task, stepped by compiled loops; a copy never depends on the others.

    All copies have begun an episode when a batch is made.
    """

    def __init__(self, task: Foraging, *, copies: int, seed: int | Sequence[int]) -> None:
        """Make copies.

        Args:
            task: from `find_foraging`, or one of your own.
            copies: B, at least 1.
            seed: of the spawns; copy b draws the same for every B.

        Raises:
            TenfoldError: if there is no copy.
        """
        if copies < 1:
            raise TenfoldError(f"copies is {copies}; give a number of at least 1")
        self.task = task
        self._facts = kernels.lay_facts(task)
        random = counters(seed, "vdn", "foraging", copies=copies)
        self._field = kernels.new_field(self._facts, copies=copies, random=random)
        size = self._field.seen.shape[2]
        self._spec = BatchSpec(
            name=task.name,
            copies=copies,
            agents=tuple(f"player_{i}" for i in range(task.players)),
            actions=(len(ACTIONS),) * task.players,
            shape=(size,),
            dtype="float32",
            sizes=(size,) * task.players,
            events=("load",),
            action_names=ACTIONS,
        )
        self._always = np.ones((copies, task.players), dtype=np.bool_)
        self.reset()

    @property
    def spec(self) -> BatchSpec:
        """What the batch looks like."""
        return self._spec

    def reset(self, mask: Bools | None = None) -> NDArray[Any]:
        """Begin new episodes in the copies of a mask [B], None: in all.

        Returns:
            Observations of all copies, [B, N, 3 F + 3 N], written over by the next step.
        """
        chosen = np.ones(self._spec.copies, dtype=np.bool_) if mask is None else mask
        assert chosen.shape == (self._spec.copies,), f"a mask of shape {chosen.shape}"
        kernels.begin_episodes(self._facts, self._field, np.ascontiguousarray(chosen, np.bool_))
        return self._field.seen

    def legal(self) -> Bools | None:
        """Return which actions may be chosen now, [B, N, 6]; None if the task is not masked."""
        return self._field.legal if self.task.masked else None

    def step(self, actions: Ints) -> Step:
        """Take one action a player, [B, N] within 0..5; the next step writes over what it gives."""
        field = self._field
        assert actions.shape == field.cell.shape, f"actions of shape {actions.shape}"
        kernels.step(self._facts, field, np.ascontiguousarray(actions, dtype=np.int64))
        return Step(
            observation=field.seen,
            reward=field.reward,
            terminated=field.terminated,
            truncated=field.truncated,
            alive=self._always,
            legal=self.legal(),
            events=field.events,
        )

    def state(self) -> State:
        """Return all that the future depends on, copied."""
        return {name: getattr(self._field, name).copy() for name in kernels.STATE}

    def restore(self, state: State) -> None:
        """Go back to a state of a batch of the same task and number of copies.

        Raises:
            TenfoldError: if a field is missing or has another shape.
        """
        write_state(self._field, state, kernels.STATE, spec=self._spec)
        kernels.look_all(self._facts, self._field)

    def load(self, copy: int, *, positions: Ints, levels: Ints, foods: Ints) -> None:
        """Set the state of a copy, at the beginning of an episode.

        Args:
            copy: which one.
            positions: [N, 2], row and column of players; some may share a cell (rule 3).
            levels: [N], of players.
            foods: [rows, columns], levels of foods, 0 where there is none.

        Raises:
            TenfoldError: if it is none that the rules could lead to.
        """
        task, field = self.task, self._field
        size = np.array([task.rows, task.columns])
        if foods.shape != tuple(size):
            raise TenfoldError(
                f"foods of shape {foods.shape}, but {task.name} has {task.rows} rows and "
                f"{task.columns} columns; give a level for each cell"
            )
        if positions.shape != (task.players, 2) or levels.shape != (task.players,):
            raise TenfoldError(
                f"positions of shape {positions.shape} and levels of shape {levels.shape}; give "
                f"row and column, and a level, for each of {task.players} players"
            )
        where = np.argwhere(foods)
        _check_foods(where, size, task)
        for row, column in positions.tolist():
            inside = 0 <= row < task.rows and 0 <= column < task.columns
            if not inside or foods[row, column]:
                raise TenfoldError(
                    f"a player in row {row}, column {column} (from 0), off the grid or on a food; "
                    "name a free cell"
                )
        if levels.min() < 1 or foods.min() < 0:
            raise TenfoldError(
                f"levels of players {levels.tolist()}, of foods from {foods.min()}; players' are 1 "
                "or more, foods' 0 for none or more"
            )
        count = len(where)
        field.cell[copy] = positions @ [task.columns, 1]
        field.level[copy] = levels
        field.food_cell[copy], field.food_level[copy] = 0, 0
        field.food_cell[copy, :count] = where @ [task.columns, 1]
        field.food_level[copy, :count] = foods[foods > 0]
        field.spawned[copy] = foods.sum()
        field.steps[copy] = 0
        kernels.look_all(self._facts, field)

    def grid(self, copy: int) -> NDArray[np.int64]:
        """Return the levels of the foods of a copy, [rows, columns], 0 where there is none."""
        levels = np.zeros(self.task.rows * self.task.columns, dtype=np.int64)
        there = self._field.food_level[copy] > 0
        levels[self._field.food_cell[copy][there]] = self._field.food_level[copy][there]
        return levels.reshape(self.task.rows, self.task.columns)

    def positions(self, copy: int) -> NDArray[np.int64]:
        """Return row and column of the players of a copy, [N, 2], from 0."""
        cell = self._field.cell[copy].astype(np.int64)
        return np.stack(np.divmod(cell, self.task.columns), axis=1)


def _check_foods(where: NDArray[np.int64], size: NDArray[np.int64], task: Foraging) -> None:
    """Check that foods [count, 2] lie as they can be spawned (rule 7)."""
    if len(where) > task.foods:
        raise TenfoldError(
            f"{len(where)} foods, but {task.name} has {task.foods} at most; leave some out"
        )
    for number, (row, column) in enumerate(where.tolist()):
        if ((where[number] < 1) | (where[number] > size - 2)).any():
            raise TenfoldError(
                f"a food in row {row}, column {column} (from 0), on the border of the grid; move "
                "it inwards"
            )
        for other in where[:number]:
            if np.abs(where[number] - other).sum() < 3:
                raise TenfoldError(
                    f"foods in {other.tolist()} and {[row, column]} are less than 3 steps apart, "
                    "so that one player could be beside both; move one away"
                )
