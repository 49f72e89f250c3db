"""From a map to the arrays that compiled loops read: walls, spawns, and ready-made windows.

What never changes of a window is drawn once for each cell and heading, the player itself
included; the loops copy it and add items and other players. Inside loops the map has a ring of
wall around it, so that no move leaves the arrays.

C cells with the ring, P = 4 C places (cell, heading), V bytes of a window, N players, E events,
I marks, K pictures of a place: Switch one for each player, Fetch one without and one with the item.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.rooms.vdn.games.looks import Colour, Colours, Window
from tenfold.rooms.vdn.games.maps import GameMap

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int32]

AHEAD = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
"""Row and column of the next cell in each heading: north, east, south, west."""
TURNS = (0, 2, 3, 1)
"""Quarter turns to the right from the heading to a move forward, backward, left, right."""
APPLE, LEMON = 1, 2
"""Marks of items in Checkers, 0 when taken."""
PICK_UP, DROP = 1, 2
"""Sites of Fetch; in Switch a site is 1 + the player whose goal it is."""

LIMIT, WINDOW_AHEAD, WINDOW_SIDE, WINDOW_HEIGHT, WINDOW_WIDTH = range(5)
SHARED, FIXED, HEADING, LEFT, PICTURE = range(5, 10)
"""Places in `Ground.facts`; SHARED: spawns are of all players; FIXED: nothing is drawn; HEADING of
spawns, -1: drawn; LEFT: see `Boards.left`; PICTURE: which is seen, one of the next three."""
ONE_PICTURE, BY_PLAYER, BY_LEFT = range(3)

EVENTS: dict[str, tuple[str, ...]] = {
    "switch": ("goal",),
    "fetch": ("pick-up", "drop"),
    "checkers": ("apple", "lemon"),
}


class Ground(NamedTuple):
    """What loops read and never write."""

    wall: Bytes
    """[C], 1 for walls."""
    site: Bytes
    """[C], goals of Switch, pick-ups and drops of Fetch."""
    moves: Numbers
    """[16], change of the cell by 4 * heading + action, for the four moves."""
    spawns: Numbers
    """Spawn cells, those of a player in reading order."""
    first: Numbers
    last: Numbers
    """[N], where a player's spawns begin and end in `spawns`."""
    pays: NDArray[np.float32]
    """[N, E], reward of an event."""
    pictures: Bytes
    """[K, P, V], windows with walls, sites and the player itself."""
    row: Numbers
    column: Numbers
    """[C]."""
    forward: Numbers
    """[4, 2], row and column of the next cell in each heading."""
    item: Numbers
    """[C], number of the item that may lie there, else -1."""
    seen: Numbers
    """[P, most, 2], items in a window: place in it, and number of the item."""
    num_seen: Numbers
    """[P]."""
    inks: Bytes
    """[3, 3], colours of marks: nothing, apple, lemon."""
    other: Bytes
    """[3], colour of other players."""
    marks: Bytes
    """[I], marks at the beginning of a level."""
    facts: NDArray[np.int64]


class Boards(NamedTuple):
    """What loops write, for B copies."""

    cell: Numbers
    """[B, N], cells with the ring."""
    heading: Numbers
    """[B, N]."""
    marks: Bytes
    """[B, I]: Switch, who has scored; Fetch, who carries; Checkers, items that are there."""
    left: Numbers
    """[B]: Switch, players yet to score; Fetch, items at the pick-up; Checkers, apples."""
    steps: Numbers
    """[B], steps of the episode."""
    random: NDArray[np.uint64]
    """[B], counters of the copies' generators."""
    views: Bytes
    """[B, N, V]."""
    reward: NDArray[np.float32]
    """[B, N]."""
    events: Numbers
    """[B, N, E]."""
    truncated: NDArray[np.bool_]
    """[B]."""
    target: Numbers
    """[N], scratch: the cell that each player wants."""
    stays: Bytes
    """[N], scratch: whether a move fails."""


STATE = ("cell", "heading", "marks", "left", "steps", "random")
"""Fields of `Boards` that the future depends on."""


def ringed(game_map: GameMap, cells: NDArray[np.int64]) -> Numbers:
    """Return the numbers, on the map with its ring, of cells of the map."""
    row, column = np.divmod(cells, game_map.width)
    numbers: Numbers = ((row + 1) * (game_map.width + 2) + column + 1).astype(np.int32)
    return numbers


def lay_ground(
    game_map: GameMap,
    *,
    window: Window,
    colours: Colours,
    limit_steps: int,
    fixed_start: bool,
    spawn_heading: int | None,
) -> Ground:
    """Prepare a map for the loops; arguments are those of `batch.GameBatch`."""
    width = game_map.width + 2
    row, column = (part.ravel() for part in np.indices((game_map.height + 2, width)))
    shared = game_map.game == "fetch"
    spawns = game_map.spawns[:1] if shared else game_map.spawns
    ends = np.cumsum([len(cells) for cells in spawns])
    first = np.zeros(game_map.players) if shared else np.concatenate([[0], ends[:-1]])
    last = np.full(game_map.players, ends[0]) if shared else ends
    inside = _see(game_map, window)
    item, marks = _items(game_map)
    seen, num_seen = _seen_items(item, inside, own=window.ahead * window.width + window.side)
    return Ground(
        wall=_walls(game_map),
        site=_sites(game_map),
        moves=_moves(width),
        spawns=ringed(game_map, np.concatenate(spawns)),
        first=first.astype(np.int32),
        last=last.astype(np.int32),
        pays=_pays(game_map),
        pictures=_pictures(game_map, window, colours, inside),
        row=row.astype(np.int32),
        column=column.astype(np.int32),
        forward=AHEAD.astype(np.int32),
        item=item,
        seen=seen,
        num_seen=num_seen,
        inks=np.array([colours.floor, colours.apple, colours.lemon], dtype=np.uint8),
        other=np.array(colours.other, dtype=np.uint8),
        marks=marks,
        facts=_facts(game_map, window, limit_steps, fixed_start, spawn_heading),
    )


def new_boards(ground: Ground, *, copies: int, random: NDArray[np.uint64]) -> Boards:
    """Return boards on which no episode has begun."""
    players, events = ground.pays.shape
    return Boards(
        cell=np.zeros((copies, players), dtype=np.int32),
        heading=np.zeros((copies, players), dtype=np.int32),
        marks=np.zeros((copies, len(ground.marks)), dtype=np.uint8),
        left=np.zeros(copies, dtype=np.int32),
        steps=np.zeros(copies, dtype=np.int32),
        random=random,
        views=np.zeros((copies, players, ground.pictures.shape[2]), dtype=np.uint8),
        reward=np.zeros((copies, players), dtype=np.float32),
        events=np.zeros((copies, players, events), dtype=np.int32),
        truncated=np.zeros(copies, dtype=np.bool_),
        target=np.zeros(players, dtype=np.int32),
        stays=np.zeros(players, dtype=np.uint8),
    )


def _facts(
    game_map: GameMap, window: Window, limit: int, fixed: bool, heading: int | None
) -> NDArray[np.int64]:
    facts = np.zeros(10, dtype=np.int64)
    facts[LIMIT] = limit
    facts[WINDOW_AHEAD], facts[WINDOW_SIDE] = window.ahead, window.side
    facts[WINDOW_HEIGHT], facts[WINDOW_WIDTH] = window.height, window.width
    facts[SHARED], facts[FIXED] = game_map.game == "fetch", fixed
    facts[HEADING] = heading if heading is not None else 0 if fixed else -1
    by_game = {
        "switch": (game_map.players, BY_PLAYER),
        "fetch": (1, BY_LEFT),
        "checkers": (len(game_map.cells("+")), ONE_PICTURE),
    }
    facts[LEFT], facts[PICTURE] = by_game[game_map.game]
    return facts


def _pays(game_map: GameMap) -> NDArray[np.float32]:
    by_game: dict[str, list[list[float]]] = {
        "switch": [[1.0]] * game_map.players,
        "fetch": [[3.0, 5.0]] * game_map.players,
        "checkers": [[10.0, -10.0]] + [[1.0, -1.0]] * (game_map.players - 1),
    }
    return np.array(by_game[game_map.game], dtype=np.float32)


def _walls(game_map: GameMap) -> Bytes:
    wall = np.ones((game_map.height + 2) * (game_map.width + 2), dtype=np.uint8)
    inner = np.arange(game_map.height * game_map.width)
    wall[ringed(game_map, np.setdiff1d(inner, game_map.cells("#")))] = 0
    return wall


def _sites(game_map: GameMap) -> Bytes:
    site = np.zeros((game_map.height + 2) * (game_map.width + 2), dtype=np.uint8)
    if game_map.game == "switch":
        for player, cells in enumerate(game_map.goals):
            site[ringed(game_map, cells)] = player + 1
    elif game_map.game == "fetch":
        site[ringed(game_map, game_map.cells("P"))] = PICK_UP
        site[ringed(game_map, game_map.cells("D"))] = DROP
    return site


def _moves(width: int) -> Numbers:
    change = AHEAD @ np.array([width, 1])
    return np.array([change[(h + turn) % 4] for h in range(4) for turn in TURNS], dtype=np.int32)


def _items(game_map: GameMap) -> tuple[Numbers, Bytes]:
    """Return the item of each cell, and the marks with which a level begins."""
    item = np.full((game_map.height + 2) * (game_map.width + 2), -1, dtype=np.int32)
    if game_map.game != "checkers":
        return item, np.zeros(game_map.players, dtype=np.uint8)
    cells = game_map.cells("+-")
    item[ringed(game_map, cells)] = np.arange(len(cells))
    marks = np.where(np.isin(cells, game_map.cells("+")), APPLE, LEMON).astype(np.uint8)
    return item, marks


def _see(game_map: GameMap, window: Window) -> Numbers:
    """Return the cells that are seen from each place, [P, height * width]; 0, a wall: beyond."""
    height, width = game_map.height + 2, game_map.width + 2
    cell = np.indices((height, width)).reshape(2, -1).T  # [C, 2]
    line, column = np.indices((window.height, window.width)).reshape(2, -1)
    forward, right = window.ahead - line, column - window.side
    offset = np.stack(  # [4, spots, 2]; to the right is ahead of the next heading
        [forward[:, None] * AHEAD[h] + right[:, None] * AHEAD[(h + 1) % 4] for h in range(4)]
    )
    at = cell[:, None, None] + offset  # [C, 4, spots, 2]
    inside = ((at >= 0) & (at < [height, width])).all(axis=-1)
    numbers = np.where(inside, at[..., 0] * width + at[..., 1], 0)
    seen: Numbers = numbers.reshape(4 * height * width, -1).astype(np.int32)
    return seen


def _seen_items(item: Numbers, inside: Numbers, *, own: int) -> tuple[Numbers, Numbers]:
    """Return the items in the window of each place, without the cell of the player itself."""
    there = item[inside]
    there[:, own] = -1
    count = (there >= 0).sum(axis=1)
    order = np.argsort(there < 0, axis=1, kind="stable")[:, : max(1, count.max())]
    seen = np.stack([order, np.take_along_axis(there, order, axis=1)], axis=-1)
    return seen.astype(np.int32), count.astype(np.int32)


def paint(
    game_map: GameMap, colours: Colours, *, viewer: int | None = None, full: bool = True
) -> Bytes:
    """Return walls, goals, pick-ups and drops as a picture with the ring, [C, 3].

    Args:
        game_map: the map.
        colours: of what is on it.
        viewer: player whose goals have the colour of own ones, None: all goals have it.
        full: whether the pick-up has the item.
    """
    board = np.empty(((game_map.height + 2) * (game_map.width + 2), 3), dtype=np.uint8)
    board[:] = colours.floor
    board[_walls(game_map) > 0] = colours.wall
    for player, cells in enumerate(game_map.goals):
        own = viewer is None or viewer == player
        board[ringed(game_map, cells)] = colours.goal if own else colours.other_goal
    if game_map.game == "fetch":
        pick_up: Colour = colours.pick_up if full else colours.empty_pick_up
        board[ringed(game_map, game_map.cells("P"))] = pick_up
        board[ringed(game_map, game_map.cells("D"))] = colours.drop
    return board


def _pictures(game_map: GameMap, window: Window, colours: Colours, inside: Numbers) -> Bytes:
    """Return the fixed part of every window, [K, P, V]."""
    if game_map.game == "fetch":
        boards = [paint(game_map, colours, full=False), paint(game_map, colours)]
    elif game_map.game == "switch":
        boards = [paint(game_map, colours, viewer=i) for i in range(game_map.players)]
    else:
        boards = [paint(game_map, colours)]
    whole = np.stack([board[inside] for board in boards])  # [K, P, spots, 3]
    whole[:, :, window.ahead * window.width + window.side] = colours.own
    return np.ascontiguousarray(whole.transpose(0, 1, 3, 2)).reshape(*whole.shape[:2], -1)


def mark_items(game_map: GameMap, colours: Colours, board: Bytes, marks: Bytes) -> None:
    """Paint the items of Checkers that are there over a picture with the ring, [C, 3]."""
    inks: dict[int, Any] = {APPLE: colours.apple, LEMON: colours.lemon}
    cells = ringed(game_map, game_map.cells("+-"))
    for mark, ink in inks.items():
        board[cells[marks == mark]] = ink
