"""Maps of text: read, checked and refused with row and column; the seven tasks (rules 1, 12, 22).

Cells are numbered in reading order, row * width + column. In errors rows and columns count from 1.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError, unknown_name

Game = Literal["switch", "fetch", "checkers"]
Cells = NDArray[np.int64]
"""Numbers of cells, increasing."""

LEAST, MOST = 2, 8
"""Players of a game."""
SPAWNS, GOALS = "ABCDEFGH", "abcdefgh"
LETTERS: dict[Game, str] = {
    "switch": SPAWNS + GOALS + "#.",
    "fetch": "SPD#.",
    "checkers": SPAWNS + "+-#.",
}
"""What may stand on a map of each game."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GameMap:
    """A map of one game, checked; build it with `GameMap.from_text`."""

    name: str
    game: Game
    rows: tuple[str, ...]
    """Letters, all rows of equal length."""
    players: int
    spawns: tuple[Cells, ...] = field(compare=False, repr=False)
    """Cells where each player begins; in Fetch the same for all."""
    goals: tuple[Cells, ...] = field(compare=False, repr=False)
    """Goals of each player in Switch, else empty."""

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0])

    def cells(self, letters: str) -> Cells:
        """Return the cells that bear one of some letters, in reading order."""
        found = [place for place, letter in enumerate("".join(self.rows)) if letter in letters]
        return np.array(found, dtype=np.int64)

    @classmethod
    def from_text(
        cls, text: str, game: Game, *, name: str = "own map", players: int | None = None
    ) -> GameMap:
        """Read and check a map.

        Empty lines before and after it, equal indents and blanks at line ends do not count.

        Args:
            text: rows of letters, see rule 1 in `tenfold.rooms.vdn.games`.
            game: switch, fetch or checkers.
            name: for reports and errors.
            players: 2 to 8; only Fetch, whose map does not tell, needs it, None: 2.

        Raises:
            TenfoldError: if the map cannot be played, with row and column and the remedy.
        """
        if game not in get_args(Game):
            raise unknown_name("game", game, get_args(Game))
        rows = _read_rows(text, game, name)
        players = _count_players(rows, game, name, players)
        letters = [SPAWNS[i] if game != "fetch" else "S" for i in range(players)]
        spawns = tuple(_find(rows, letter) for letter in letters)
        goals = tuple(_find(rows, GOALS[i] if game == "switch" else "") for i in range(players))
        found = cls(name=name, game=game, rows=rows, players=players, spawns=spawns, goals=goals)
        _check_presence(found)
        _check_ways(found)
        return found


def _read_rows(text: str, game: Game, name: str) -> tuple[str, ...]:
    lines = [line.rstrip() for line in textwrap.dedent(text).splitlines()]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise TenfoldError(f"{name}: the map has no rows; write one line a row, such as 'A..b'")
    for number, line in enumerate(lines, start=1):
        for column, letter in enumerate(line, start=1):
            if letter not in LETTERS[game]:
                raise TenfoldError(
                    f"{name}: {letter!r} in row {number}, column {column} means nothing in {game}; "
                    f"use one of {' '.join(LETTERS[game])}"
                )
        if len(line) != len(lines[0]):
            raise TenfoldError(
                f"{name}: row {number} ends in column {len(line)}, row 1 in column "
                f"{len(lines[0])}; fill the shorter one up with # or ."
            )
    return tuple(lines)


def _count_players(rows: tuple[str, ...], game: Game, name: str, players: int | None) -> int:
    """Return the number of players, from the highest letter where letters tell it."""
    if game == "fetch":
        count = 2 if players is None else players
    else:
        whole = "".join(rows)
        named = [i for i in range(MOST) if SPAWNS[i] in whole or GOALS[i] in whole]
        count = max(named, default=-1) + 1
        if players not in (None, count):
            raise TenfoldError(
                f"{name}: {players} players are asked for, but the letters are for {count}; "
                "leave the number out, or change the letters"
            )
    if not LEAST <= count <= MOST:
        raise TenfoldError(
            f"{name}: {count} players, but {game} is for {LEAST} to {MOST}; "
            + ("give another number" if game == "fetch" else "write spawns A and B at least")
        )
    return count


def _find(rows: tuple[str, ...], letter: str) -> Cells:
    found = [place for place, here in enumerate("".join(rows)) if here == letter]
    return np.array(found, dtype=np.int64)


def _place(found: GameMap, cell: int) -> str:
    return f"row {cell // found.width + 1}, column {cell % found.width + 1}"


def _check_presence(found: GameMap) -> None:
    """Check that all is there that a game needs: spawns, and something to go for."""
    if found.game == "fetch":
        have = len(found.spawns[0])
        if have < found.players:
            last = f"; the last is in {_place(found, int(found.spawns[0][-1]))}" if have else ""
            raise TenfoldError(
                f"{found.name}: {found.players} players need as many spawn cells S, the map has "
                f"{have}{last}; write S on more floor cells"
            )
    for number, cells in enumerate(found.spawns):
        if not len(cells):
            goal = found.goals[number]
            whose = f", whose goal is in {_place(found, int(goal[0]))}," if len(goal) else ""
            raise TenfoldError(
                f"{found.name}: player {SPAWNS[number]}{whose} has no spawn cell; write "
                f"{SPAWNS[number]} on a floor cell, letters run from A without a gap"
            )
    for letter, what in _wanted(found):
        if not len(found.cells(letter)):
            raise TenfoldError(
                f"{found.name}: {what} is nowhere on the map; write {letter} on a floor cell"
            )


def _wanted(found: GameMap) -> Iterator[tuple[str, str]]:
    """Yield letters that a map must have, and what they are."""
    if found.game == "switch":
        for number, cells in enumerate(found.spawns):
            where = _place(found, int(cells[0]))
            yield GOALS[number], f"the goal of player {SPAWNS[number]} (spawn in {where})"
    elif found.game == "fetch":
        yield from (("P", "a pick-up"), ("D", "a drop"))
    else:
        yield "+", "an apple"


def _check_ways(found: GameMap) -> None:
    """Check rule 22: everything that has to be reached can be."""
    if found.game == "checkers":
        reached = np.zeros(found.height * found.width, dtype=bool)
        for cells in found.spawns:
            reached |= np.logical_and.reduce([flood(found, int(cell)) for cell in cells])
        _refuse_unreached(found, found.cells("+"), reached, "apple", "the spawns of any player")
        return
    for number, cells in enumerate(found.spawns):
        wanted = found.goals[number] if found.game == "switch" else found.cells("PD")
        for cell in cells.tolist():
            start = f"the spawn {found.rows[cell // found.width][cell % found.width]} in "
            _refuse_unreached(found, wanted, flood(found, cell), "", start + _place(found, cell))


def _refuse_unreached(
    found: GameMap, wanted: Cells, reached: NDArray[np.bool_], what: str, start: str
) -> None:
    names = {"P": "pick-up", "D": "drop"}
    for cell in wanted.tolist():
        if not reached[cell]:
            letter = found.rows[cell // found.width][cell % found.width]
            raise TenfoldError(
                f"{found.name}: the {what or names.get(letter, f'goal {letter}')} in "
                f"{_place(found, cell)} cannot be reached from {start}; open a way through the "
                "walls"
            )


def flood(found: GameMap, start: int) -> NDArray[np.bool_]:
    """Return which cells can be reached over floor from a cell, [height * width]."""
    letters = "".join(found.rows)
    reached = np.zeros(len(letters), dtype=bool)
    ahead = [start]
    while ahead:
        cell = ahead.pop()
        if not reached[cell]:
            reached[cell] = True
            ahead += [near for near in _neighbours(found, cell) if letters[near] != "#"]
    return reached


def _neighbours(found: GameMap, cell: int) -> Iterator[int]:
    row, column = divmod(cell, found.width)
    if row > 0:
        yield cell - found.width
    if row + 1 < found.height:
        yield cell + found.width
    if column > 0:
        yield cell - 1
    if column + 1 < found.width:
        yield cell + 1


# Tasks: the paper names them and shows no cells; these maps are ours.

_TASKS: dict[str, str] = {
    "fetch/open": """
        SS.......
        D.......P
        SS.......
    """,
    "fetch/corridor": """
        SS.###...
        D.......P
        SS.###...
    """,
    "fetch/corridors": """
        SS.......
        D..###..P
        SS.......
    """,
    "switch/open": """
        A.....B
        b.....a
        A.....B
    """,
    "switch/corridor": """
        A.###.B
        b.....a
        A.###.B
    """,
    "switch/corridors": """
        A.....B
        b.###.a
        A.....B
    """,
    "checkers/board": """
        +-+-+-AA
        -+-+-+..
        +-+-+-BB
    """,
}


def list_tasks() -> list[str]:
    """Return the names of the seven tasks.

    >>> len(list_tasks())
    7
    """
    return list(_TASKS)


def find_task(name: str, *, players: int | None = None) -> GameMap:
    """Return the map of a task such as "fetch/open".

    Args:
        name: game and map.
        players: 2 to 4, in Fetch only; None: 2.

    Raises:
        TenfoldError: with the nearest names, if there is none.
    """
    if name not in _TASKS:
        raise unknown_name("task", name, _TASKS)
    game = next(game for game in get_args(Game) if name.startswith(f"{game}/"))
    return GameMap.from_text(_TASKS[name], game, name=name, players=players)
