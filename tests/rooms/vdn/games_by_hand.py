"""Games that tests play by hand: batches of one copy, actions and windows as letters."""

from __future__ import annotations

import numpy as np

from tenfold.parts.rl.batch import Step
from tenfold.rooms.vdn.games.batch import GameBatch
from tenfold.rooms.vdn.games.maps import GameMap

NORTH, EAST, SOUTH, WEST = range(4)
ACTIONS = {"f": 0, "b": 1, "l": 2, "r": 3, "<": 4, ">": 5, "*": 6, ".": 7}
"""Forward, backward, left, right, rotate left and right, use beam, stand still."""


def new_game(
    text: str, game: str, *at: tuple[int, int], headings: list[int] | None = None, **settings
) -> GameBatch:
    """Return one copy with a fixed start, or with players put somewhere, facing east."""
    read = GameMap.from_text(text, game, players=len(at) if game == "fetch" and at else None)
    batch = GameBatch(read, copies=1, seed=0, **{"fixed_start": True} | settings)
    if at:
        towards = [EAST] * len(at) if headings is None else headings
        batch.place(0, positions=np.array(at), headings=np.array(towards))
    return batch


def play(batch: GameBatch, *turns: str) -> Step:
    """Take steps, each a letter a player, and return the last one."""
    for letters in turns:
        told = batch.step(np.array([[ACTIONS[letter] for letter in letters]]))
    return told


def positions(batch: GameBatch, copy: int = 0) -> list[tuple[int, int]]:
    return [tuple(cell) for cell in batch.render(copy).positions.tolist()]


def headings(batch: GameBatch) -> list[int]:
    return batch.render(0).headings.tolist()


def rewards(told: Step) -> list[float]:
    return told.reward[0].tolist()


def letters(batch: GameBatch, player: int, colours: dict[tuple[int, ...], str]) -> list[str]:
    """Return what a player sees now, with a letter for each colour."""
    seen = batch.reset(np.array([False]))[0, player]
    rows = seen.transpose(1, 2, 0).tolist()
    return ["".join(colours[tuple(cell)] for cell in row) for row in rows]
