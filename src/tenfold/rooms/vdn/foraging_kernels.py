"""Loops over copies of level-based foraging; rules in `foraging`, numbers in brackets are theirs.

Foods are lists in reading order and not a grid: there are few, and they never move. The plain twin
is in `tests/rooms/vdn/plain_foraging.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import Whole, bare, within
from tenfold.rooms.vdn.loops import below

if TYPE_CHECKING:
    from tenfold.rooms.vdn.foraging import Foraging

LOAD = 5
ACTIONS = 6

Numbers = NDArray[np.int32]


class Facts(NamedTuple):
    """A task in numbers."""

    rows: int
    columns: int
    players: int
    foods: int
    coop: bool
    sight: int
    lowest: int
    """Level of players."""
    highest: int
    food_lowest: int
    food_highest: int
    """0: the sum of the three lowest players' levels."""
    limit: int
    normalised: bool
    penalty: float


class Field(NamedTuple):
    """B copies with N players and F foods; V numbers an observation."""

    cell: Numbers
    """[B, N], row * columns + column."""
    level: Numbers
    """[B, N]."""
    food_cell: Numbers
    """[B, F], increasing."""
    food_level: Numbers
    """[B, F], 0 when it is gone or never was."""
    spawned: Numbers
    """[B], sum of the foods' levels when the episode began."""
    steps: Numbers
    """[B]."""
    random: NDArray[np.uint64]
    """[B], counters of the copies' generators."""
    legal: NDArray[np.bool_]
    """[B, N, 6]."""
    seen: NDArray[np.float32]
    """[B, N, V]."""
    reward: NDArray[np.float32]
    """[B, N]."""
    events: Numbers
    """[B, N, 1], foods that a player helped to load."""
    terminated: NDArray[np.bool_]
    """[B]."""
    truncated: NDArray[np.bool_]
    """[B]."""
    target: Numbers
    """[N], scratch: the cell that a player claims."""
    loads: NDArray[np.bool_]
    """[N], scratch: who loads."""


STATE = ("cell", "level", "food_cell", "food_level", "spawned", "steps", "random")
"""Fields that the future depends on."""


def lay_facts(task: Foraging) -> Facts:
    """Return a task as loops read it."""
    return Facts(
        rows=task.rows,
        columns=task.columns,
        players=task.players,
        foods=task.foods,
        coop=task.coop,
        sight=max(task.rows, task.columns) if task.sight is None else task.sight,
        lowest=task.player_levels[0],
        highest=task.player_levels[1],
        food_lowest=task.food_levels[0],
        food_highest=task.food_levels[1] or 0,
        limit=task.limit_steps,
        normalised=task.normalised,
        penalty=float(task.penalty),
    )


def new_field(facts: Facts, *, copies: int, random: NDArray[np.uint64]) -> Field:
    """Return a field on which no episode has begun."""
    players, foods = (copies, facts.players), (copies, facts.foods)
    return Field(
        cell=np.zeros(players, dtype=np.int32),
        level=np.zeros(players, dtype=np.int32),
        food_cell=np.zeros(foods, dtype=np.int32),
        food_level=np.zeros(foods, dtype=np.int32),
        spawned=np.zeros(copies, dtype=np.int32),
        steps=np.zeros(copies, dtype=np.int32),
        random=random,
        legal=np.zeros((*players, ACTIONS), dtype=np.bool_),
        seen=np.zeros((*players, 3 * (facts.foods + facts.players)), dtype=np.float32),
        reward=np.zeros(players, dtype=np.float32),
        events=np.zeros((*players, 1), dtype=np.int32),
        terminated=np.zeros(copies, dtype=np.bool_),
        truncated=np.zeros(copies, dtype=np.bool_),
        target=np.zeros(facts.players, dtype=np.int32),
        loads=np.zeros(facts.players, dtype=np.bool_),
    )


@within
def food_at(facts: Any, field: Any, copy: Whole, cell: Whole) -> bool:
    """Say whether a cell has a food."""
    found = False
    for f in range(facts.foods):
        found = found or (field.food_level[copy, f] > 0 and field.food_cell[copy, f] == cell)
    return found


@within
def apart(facts: Any, one: Whole, other: Whole) -> Whole:
    """Return the steps between two cells."""
    down = abs(one // facts.columns - other // facts.columns)
    along = abs(one % facts.columns - other % facts.columns)
    return down + along


@within
def find_legal(facts: Any, field: Any, copy: Whole) -> None:
    """Find which actions do something [2]."""
    for i in range(facts.players):
        cell = np.int64(field.cell[copy, i])
        row, column = cell // facts.columns, cell % facts.columns
        north = food_at(facts, field, copy, cell - facts.columns)
        south = food_at(facts, field, copy, cell + facts.columns)
        west = column > 0 and food_at(facts, field, copy, cell - 1)
        east = column < facts.columns - 1 and food_at(facts, field, copy, cell + 1)
        field.legal[copy, i, 0] = True
        field.legal[copy, i, 1] = row > 0 and not north
        field.legal[copy, i, 2] = row < facts.rows - 1 and not south
        field.legal[copy, i, 3] = column > 0 and not west
        field.legal[copy, i, 4] = column < facts.columns - 1 and not east
        field.legal[copy, i, LOAD] = north or south or west or east


@within
def move_players(facts: Any, field: Any, copy: Whole, actions: Any) -> None:
    """Move all players of a copy at once, and note who loads [2, 3]."""
    for i in range(facts.players):
        action = actions[copy, i]
        if not (0 <= action < ACTIONS and field.legal[copy, i, action]):
            action = np.int64(0)
        change: Whole = np.int64(0)
        if action == 1:
            change = np.int64(-facts.columns)
        elif action == 2:
            change = np.int64(facts.columns)
        elif action == 3:
            change = np.int64(-1)
        elif action == 4:
            change = np.int64(1)
        field.target[i] = field.cell[copy, i] + change
        field.loads[i] = action == LOAD
    for i in range(facts.players):
        alone = True
        for j in range(facts.players):
            alone = alone and (j == i or field.target[j] != field.target[i])
        if alone:
            field.cell[copy, i] = field.target[i]


@within
def load_foods(facts: Any, field: Any, copy: Whole) -> None:
    """Let players take the foods beside them [4]."""
    for i in range(facts.players):
        field.reward[copy, i] = 0
        field.events[copy, i, 0] = 0
    for f in range(facts.foods):
        food, place = field.food_level[copy, f], field.food_cell[copy, f]
        strength = np.int64(0)
        for i in range(facts.players):
            if field.loads[i] and food > 0 and apart(facts, field.cell[copy, i], place) == 1:
                strength += field.level[copy, i]
        if strength > 0:
            for i in range(facts.players):
                if field.loads[i] and apart(facts, field.cell[copy, i], place) == 1:
                    if strength < food:
                        field.reward[copy, i] -= facts.penalty
                    else:
                        share = np.float64(field.level[copy, i] * food)
                        if facts.normalised:
                            share = share / np.float64(strength * field.spawned[copy])
                        field.reward[copy, i] = share
                        field.events[copy, i, 0] += 1
            if strength >= food:
                field.food_level[copy, f] = 0


@within
def look(facts: Any, field: Any, copy: Whole) -> None:
    """Write what each player of a copy sees [6]."""
    for i in range(facts.players):
        row = field.cell[copy, i] // facts.columns
        column = field.cell[copy, i] % facts.columns
        top, left = max(0, row - facts.sight), max(0, column - facts.sight)
        place = 0
        for f in range(facts.foods):
            down = field.food_cell[copy, f] // facts.columns
            along = field.food_cell[copy, f] % facts.columns
            near = abs(down - row) <= facts.sight and abs(along - column) <= facts.sight
            if field.food_level[copy, f] > 0 and near:
                field.seen[copy, i, place] = down - top
                field.seen[copy, i, place + 1] = along - left
                field.seen[copy, i, place + 2] = field.food_level[copy, f]
                place += 3
        place = hide(field, copy, i, place, 3 * facts.foods)
        for k in range(facts.players):
            # Oneself first, then the others in order.
            j = i if k == 0 else k - 1 if k <= i else k
            down = field.cell[copy, j] // facts.columns - top
            along = field.cell[copy, j] % facts.columns - left
            if min(down, along) >= 0 and max(down, along) <= 2 * facts.sight:
                field.seen[copy, i, place] = down
                field.seen[copy, i, place + 1] = along
                field.seen[copy, i, place + 2] = field.level[copy, j]
                place += 3
        hide(field, copy, i, place, field.seen.shape[2])


@within
def hide(field: Any, copy: Whole, player: Whole, place: Whole, end: Whole) -> Whole:
    """Fill an observation up with what is not seen, and return where that ends."""
    while place < end:
        field.seen[copy, player, place] = -1
        field.seen[copy, player, place + 1] = -1
        field.seen[copy, player, place + 2] = 0
        place += 3
    return place


@within
def spawn_players(facts: Any, field: Any, copy: Whole) -> None:
    """Put players on free cells and draw their levels [7]."""
    for i in range(facts.players):
        number = below(field.random, copy, facts.rows * facts.columns - i)
        for cell in range(facts.rows * facts.columns):
            free = True
            for j in range(i):
                free = free and field.cell[copy, j] != cell
            if free:
                if number == 0:
                    field.cell[copy, i] = cell
                number -= 1
        levels = facts.highest - facts.lowest + 1
        field.level[copy, i] = facts.lowest + below(field.random, copy, levels)


@within
def lowest_levels(facts: Any, field: Any, copy: Whole) -> Whole:
    """Return the sum of the three lowest levels of players, of all if they are fewer."""
    total, last, count = np.int64(0), np.int64(0), np.int64(0)
    while count < min(3, facts.players):
        # The lowest level above the last one, and how many players have it.
        least, same = np.int64(1 << 40), np.int64(0)
        for i in range(facts.players):
            level = np.int64(field.level[copy, i])
            if level > last:
                if level < least:
                    least, same = level, np.int64(0)
                if level == least:
                    same += 1
        taken = min(same, min(3, facts.players) - count)
        total += taken * least
        count += taken
        last = least
    return total


@within
def may_grow(facts: Any, field: Any, copy: Whole, cell: Whole, count: Whole) -> bool:
    """Say whether a food may lie in a cell beside the first `count` foods [7]."""
    row, column = cell // facts.columns, cell % facts.columns
    free: bool = 0 < row < facts.rows - 1 and 0 < column < facts.columns - 1
    for i in range(facts.players):
        free = free and field.cell[copy, i] != cell
    for f in range(count):
        free = free and apart(facts, field.food_cell[copy, f], cell) >= 3
    return free


@within
def spawn_foods(facts: Any, field: Any, copy: Whole) -> None:
    """Put foods on cells that are fit, in reading order, and draw their levels [7]."""
    highest = np.int64(facts.food_highest)
    if highest == 0:
        highest = lowest_levels(facts, field, copy)
    lowest = highest if facts.coop else np.int64(facts.food_lowest)
    field.spawned[copy] = 0
    count = 0
    for f in range(facts.foods):
        field.food_cell[copy, f] = 0
        field.food_level[copy, f] = 0
    for _ in range(facts.foods):
        fit = 0
        for cell in range(facts.rows * facts.columns):
            if may_grow(facts, field, copy, cell, count):
                fit += 1
        if fit > 0:
            number = below(field.random, copy, fit)
            chosen = 0
            for cell in range(facts.rows * facts.columns):
                if may_grow(facts, field, copy, cell, count):
                    if number == 0:
                        chosen = cell
                    number -= 1
            level = lowest + below(field.random, copy, highest - lowest + 1)
            insert_food(field, copy, chosen, level, count)
            field.spawned[copy] += level
            count += 1


@within
def insert_food(field: Any, copy: Whole, cell: Whole, level: Whole, count: Whole) -> None:
    """Add a food to the first `count`, keeping them in reading order."""
    place = count
    while place > 0 and field.food_cell[copy, place - 1] > cell:
        field.food_cell[copy, place] = field.food_cell[copy, place - 1]
        field.food_level[copy, place] = field.food_level[copy, place - 1]
        place -= 1
    field.food_cell[copy, place] = cell
    field.food_level[copy, place] = level


@bare
def begin_episodes(facts: Any, field: Any, mask: Any) -> None:
    """Begin new episodes in the copies of a mask [B]."""
    for copy in range(len(mask)):
        if mask[copy]:
            field.steps[copy] = 0
            spawn_players(facts, field, copy)
            spawn_foods(facts, field, copy)
            find_legal(facts, field, copy)
            look(facts, field, copy)


@bare
def look_all(facts: Any, field: Any) -> None:
    """Find legal actions and observations of all copies anew."""
    for copy in range(len(field.steps)):
        find_legal(facts, field, copy)
        look(facts, field, copy)


@bare
def step(facts: Any, field: Any, actions: Any) -> None:
    """Take one step in all copies [2 to 6]; `actions` is [B, N]."""
    for copy in range(len(field.steps)):
        move_players(facts, field, copy, actions)
        load_foods(facts, field, copy)
        field.steps[copy] += 1
        left = 0
        for f in range(facts.foods):
            left += field.food_level[copy, f]
        field.terminated[copy] = left == 0
        field.truncated[copy] = left > 0 and field.steps[copy] >= facts.limit
        find_legal(facts, field, copy)
        look(facts, field, copy)
