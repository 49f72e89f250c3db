"""Many copies of one game as an `EnvBatch` (`tenfold.parts.rl.batch`); rules in `games`.

B copies, N players, E kinds of events; H x W is the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec, Bools, Ints, State, Step, write_state
from tenfold.rooms.vdn.games import kernels
from tenfold.rooms.vdn.games.looks import Colours, Window, colours_of
from tenfold.rooms.vdn.games.maps import SPAWNS, GameMap
from tenfold.rooms.vdn.games.tables import (
    EVENTS,
    STATE,
    lay_ground,
    mark_items,
    new_boards,
    paint,
    ringed,
)
from tenfold.rooms.vdn.loops import counters

ACTIONS = (
    "forward",
    "backward",
    "left",
    "right",
    "rotate left",
    "rotate right",
    "use beam",
    "stand still",
)
"""By number (rule 2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """What one copy looks like, seen by nobody in particular."""

    image: NDArray[np.uint8]
    """[height, width, 3], one pixel a cell; player 0 has the colour of one's own, all others have
    that of other players."""
    positions: NDArray[np.int64]
    """[N, 2], row and column, from 0."""
    headings: NDArray[np.int64]
    """[N], 0 north, 1 east, 2 south, 3 west."""
    flags: Bools
    """[N]: Switch, who has scored in this level; Fetch, who carries; Checkers, nobody."""


class GameBatch:
    """Copies of one game, stepped by compiled loops; a copy never depends on the others.

    All copies have begun an episode when a batch is made.
    """

    def __init__(
        self,
        game_map: GameMap,
        *,
        copies: int,
        seed: int | Sequence[int],
        limit_steps: int = 5_000,
        fixed_start: bool = False,
        spawn_heading: int | None = None,
        colours: Colours | None = None,
        window: Window | None = None,
    ) -> None:
        """Lay a map out in copies.

        Args:
            game_map: from `find_task` or `GameMap.from_text`.
            copies: B, at least 1.
            seed: of the spawns; copy b draws the same for every B.
            limit_steps: steps after which an episode is truncated, at least 1.
            fixed_start: whether players always begin alike (rule 14).
            spawn_heading: 0 to 3, None: drawn, with `fixed_start` north.
            colours: None: those of the game.
            window: None: 3 cells ahead, 1 behind, 2 to each side.

        Raises:
            TenfoldError: if a number is out of its range.
        """
        self.game_map = game_map
        _check_range("copies", copies, 1, None)
        _check_range("limit_steps", limit_steps, 1, 2**31 - 1)
        _check_range("spawn_heading", spawn_heading or 0, 0, 3)
        self.game_map = game_map
        self.colours = colours or colours_of(game_map.game)
        self.window = window or Window()
        self._ground = lay_ground(
            game_map,
            window=self.window,
            colours=self.colours,
            limit_steps=limit_steps,
            fixed_start=fixed_start,
            spawn_heading=spawn_heading,
        )
        random = counters(seed, "vdn", "spawns", copies=copies)
        self._boards = new_boards(self._ground, copies=copies, random=random)
        shape = (3, self.window.height, self.window.width)
        self._views = self._boards.views.reshape(copies, game_map.players, *shape)
        self._spec = BatchSpec(
            name=game_map.name,
            copies=copies,
            agents=tuple(SPAWNS[: game_map.players]),
            actions=(len(ACTIONS),) * game_map.players,
            shape=shape,
            dtype="uint8",
            sizes=(int(np.prod(shape)),) * game_map.players,
            events=EVENTS[game_map.game],
            action_names=ACTIONS,
        )
        self._never = np.zeros(copies, dtype=np.bool_)
        self._always = np.ones((copies, game_map.players), dtype=np.bool_)
        self.reset()

    @property
    def spec(self) -> BatchSpec:
        """What the batch looks like."""
        return self._spec

    def reset(self, mask: Bools | None = None) -> NDArray[Any]:
        """Begin new episodes in the copies of a mask [B], None: in all.

        Returns:
            Windows of all copies, bytes [B, N, 3, H, W], written over by the next step.
        """
        chosen = np.ones(self._spec.copies, dtype=np.bool_) if mask is None else mask
        assert chosen.shape == (self._spec.copies,), f"a mask of shape {chosen.shape}"
        kernels.begin_episodes(self._ground, self._boards, np.ascontiguousarray(chosen, np.bool_))
        return self._views

    def legal(self) -> Bools | None:
        """Return None: all eight actions may always be chosen."""
        return None

    def step(self, actions: Ints) -> Step:
        """Take one action a player, [B, N] within 0..7; the next step writes over what it gives."""
        boards = self._boards
        assert actions.shape == boards.cell.shape, f"actions of shape {actions.shape}"
        kernels.STEPS[self.game_map.game](
            self._ground, boards, np.ascontiguousarray(actions, dtype=np.int64)
        )
        return Step(
            observation=self._views,
            reward=boards.reward,
            terminated=self._never,
            truncated=boards.truncated,
            alive=self._always,
            legal=None,
            events=boards.events,
        )

    def state(self) -> State:
        """Return all that the future depends on, copied."""
        return {name: getattr(self._boards, name).copy() for name in STATE}

    def restore(self, state: State) -> None:
        """Go back to a state of a batch with the same map and number of copies.

        Raises:
            TenfoldError: if a field is missing or has another shape.
        """
        write_state(self._boards, state, STATE, spec=self._spec)
        kernels.draw_all(self._ground, self._boards)

    def render(self, copy: int) -> Picture:
        """Return what a copy looks like now, for replays."""
        boards, players = self._boards, self.game_map.players
        height, width = self.game_map.height, self.game_map.width
        checkers = self.game_map.game == "checkers"
        board = paint(self.game_map, self.colours, full=bool(boards.left[copy]))
        if checkers:
            mark_items(self.game_map, self.colours, board, boards.marks[copy])
        board[boards.cell[copy]] = [self.colours.own] + [self.colours.other] * (players - 1)
        row, column = np.divmod(boards.cell[copy].astype(np.int64), width + 2)
        return Picture(
            image=board.reshape(height + 2, width + 2, 3)[1:-1, 1:-1].copy(),
            positions=np.stack([row, column], axis=1) - 1,
            headings=boards.heading[copy].astype(np.int64),
            flags=np.zeros(players, dtype=np.bool_) if checkers else boards.marks[copy] > 0,
        )

    def place(
        self, copy: int, *, positions: NDArray[np.int64], headings: NDArray[np.int64]
    ) -> None:
        """Put the players of a copy elsewhere, for tests and what-if replays.

        Args:
            copy: which one.
            positions: [N, 2], row and column of different floor cells, from 0.
            headings: [N], 0 to 3.

        Raises:
            TenfoldError: if two players share a cell, or one stands in a wall or off the map.
        """
        size = np.array([self.game_map.height, self.game_map.width])
        cells = ringed(self.game_map, positions[:, 0] * self.game_map.width + positions[:, 1])
        off = ((positions < 0) | (positions >= size)).any(axis=1)
        for player in np.flatnonzero(off | (self._ground.wall[np.where(off, 0, cells)] > 0)):
            row, column = positions[player] + 1
            raise TenfoldError(
                f"player {SPAWNS[player]} cannot stand in row {row}, column {column} of "
                f"{self._spec.name}, which is a wall or off the map; name a floor cell"
            )
        if len(set(cells.tolist())) < len(cells):
            raise TenfoldError(
                f"two players share a cell in {positions.tolist()}; give each one of its own"
            )
        _check_range("headings", int(headings.min()), 0, 3)
        _check_range("headings", int(headings.max()), 0, 3)
        self._boards.cell[copy], self._boards.heading[copy] = cells, headings
        kernels.draw_all(self._ground, self._boards)


def _check_range(name: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise TenfoldError(f"{name} is {value}; give a number {limits}")
