"""Loops over copies: one step of each game on shared movement, spawning and windows.

Numbers in brackets are the rules of `tenfold.rooms.vdn.games`. The plain twin, written from those
rules alone, is in `tests/rooms/vdn/plain.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.engine.kernel import Whole, bare, within
from tenfold.rooms.vdn.games.tables import (
    APPLE,
    BY_LEFT,
    BY_PLAYER,
    DROP,
    FIXED,
    HEADING,
    LEFT,
    LIMIT,
    PICK_UP,
    PICTURE,
    SHARED,
    WINDOW_AHEAD,
    WINDOW_HEIGHT,
    WINDOW_SIDE,
    WINDOW_WIDTH,
)
from tenfold.rooms.vdn.loops import below

MOVES = 4
"""Actions below it move a player."""
ROTATE_LEFT, ROTATE_RIGHT = 4, 5

# Moving: rules 2, 3, 10 and 11


@within
def move_players(ground: Any, boards: Any, copy: Whole, actions: Any) -> None:
    """Turn and move all players of a copy at once; `actions` is [B, N]."""
    players = boards.cell.shape[1]
    for i in range(players):
        action = actions[copy, i]
        heading = boards.heading[copy, i]
        cell = boards.cell[copy, i]
        boards.target[i] = cell
        if 0 <= action < MOVES:
            ahead = cell + ground.moves[4 * heading + action]
            if not ground.wall[ahead]:
                boards.target[i] = ahead
        elif action == ROTATE_LEFT:
            boards.heading[copy, i] = (heading + 3) & 3
        elif action == ROTATE_RIGHT:
            boards.heading[copy, i] = (heading + 1) & 3
    while drop_blocked(boards, copy):
        pass
    for i in range(players):
        boards.cell[copy, i] = boards.target[i]


@within
def drop_blocked(boards: Any, copy: Whole) -> bool:
    """Let those movers stay whose way is blocked, and return whether there were any.

    Who stays blocks others in turn, so this is repeated; contests and swaps all show at once.
    """
    players = boards.cell.shape[1]
    found = False
    for i in range(players):
        here, there = boards.cell[copy, i], boards.target[i]
        blocked = False
        if there != here:
            for j in range(players):
                wanted = boards.target[j] == there
                swapped = boards.cell[copy, j] == there and boards.target[j] == here
                if j != i and (wanted or swapped):
                    blocked = True
        boards.stays[i] = blocked
        found = found or blocked
    for i in range(players):
        if boards.stays[i]:
            boards.target[i] = boards.cell[copy, i]
    return found


# Beginning: rules 7, 13 and 14


@within
def begin_level(ground: Any, boards: Any, copy: Whole) -> None:
    """Put items and players of a copy back."""
    for k in range(len(ground.marks)):
        boards.marks[copy, k] = ground.marks[k]
    boards.left[copy] = ground.facts[LEFT]
    for i in range(boards.cell.shape[1]):
        place_player(ground, boards, copy, i)


@within
def place_player(ground: Any, boards: Any, copy: Whole, player: Whole) -> None:
    """Put a player on a spawn cell that no earlier player has, by draws or as fixed."""
    first, last = ground.first[player], ground.last[player]
    number: Whole = np.int64(0)
    if not ground.facts[FIXED]:
        taken = player if ground.facts[SHARED] else 0
        number = below(boards.random, copy, last - first - taken)
    for k in range(first, last):
        cell = ground.spawns[k]
        free = True
        for j in range(player):
            free = free and boards.cell[copy, j] != cell
        if free:
            if number == 0:
                boards.cell[copy, player] = cell
            number -= 1
    heading = ground.facts[HEADING]
    if heading < 0:
        heading = below(boards.random, copy, 4)
    boards.heading[copy, player] = heading


# Seeing: rules 8 and 17 to 20


@within
def draw_views(ground: Any, boards: Any, copy: Whole) -> None:
    """Draw the windows of all players of a copy."""
    chosen = ground.facts[PICTURE]
    for i in range(boards.cell.shape[1]):
        picture: Whole = np.int64(0)
        if chosen == BY_PLAYER:
            picture = np.int64(i)
        elif chosen == BY_LEFT:
            picture = np.int64(boards.left[copy])
        place = 4 * boards.cell[copy, i] + boards.heading[copy, i]
        for k in range(ground.pictures.shape[2]):
            boards.views[copy, i, k] = ground.pictures[picture, place, k]
        draw_items(ground, boards, copy, i, place)
        draw_others(ground, boards, copy, i)


@within
def draw_items(ground: Any, boards: Any, copy: Whole, player: Whole, place: Whole) -> None:
    """Draw the items in a player's window, taken ones as floor."""
    area = ground.facts[WINDOW_HEIGHT] * ground.facts[WINDOW_WIDTH]
    for k in range(ground.num_seen[place]):
        spot = ground.seen[place, k, 0]
        mark = boards.marks[copy, ground.seen[place, k, 1]]
        boards.views[copy, player, spot] = ground.inks[mark, 0]
        boards.views[copy, player, area + spot] = ground.inks[mark, 1]
        boards.views[copy, player, 2 * area + spot] = ground.inks[mark, 2]


@within
def draw_others(ground: Any, boards: Any, copy: Whole, player: Whole) -> None:
    """Draw the other players that are in a player's window."""
    height, width = ground.facts[WINDOW_HEIGHT], ground.facts[WINDOW_WIDTH]
    cell, heading = boards.cell[copy, player], boards.heading[copy, player]
    beside = (heading + 1) & 3
    area = height * width
    for j in range(boards.cell.shape[1]):
        if j != player:
            down = ground.row[boards.cell[copy, j]] - ground.row[cell]
            along = ground.column[boards.cell[copy, j]] - ground.column[cell]
            forward = down * ground.forward[heading, 0] + along * ground.forward[heading, 1]
            right = down * ground.forward[beside, 0] + along * ground.forward[beside, 1]
            line = ground.facts[WINDOW_AHEAD] - forward
            column = ground.facts[WINDOW_SIDE] + right
            if 0 <= line < height and 0 <= column < width:
                spot = line * width + column
                boards.views[copy, player, spot] = ground.other[0]
                boards.views[copy, player, area + spot] = ground.other[1]
                boards.views[copy, player, 2 * area + spot] = ground.other[2]


# Steps


@within
def clear_step(boards: Any, copy: Whole) -> None:
    """Forget what the last step paid."""
    for i in range(boards.cell.shape[1]):
        boards.reward[copy, i] = 0
        for event in range(boards.events.shape[2]):
            boards.events[copy, i, event] = 0


@within
def credit(ground: Any, boards: Any, copy: Whole, player: Whole, event: Whole) -> None:
    """Count an event for the player that caused it, and pay for it [15, 16]."""
    boards.events[copy, player, event] += 1
    boards.reward[copy, player] += ground.pays[player, event]


@within
def end_step(ground: Any, boards: Any, copy: Whole) -> None:
    """Let time go on [7, 20] and draw what is seen now."""
    boards.steps[copy] += 1
    boards.truncated[copy] = boards.steps[copy] >= ground.facts[LIMIT]
    draw_views(ground, boards, copy)


@bare
def step_switch(ground: Any, boards: Any, actions: Any) -> None:
    """Take one step of Switch in all copies [4]; `actions` is [B, N]."""
    copies, players = boards.cell.shape
    for copy in range(copies):
        clear_step(boards, copy)
        move_players(ground, boards, copy, actions)
        for i in range(players):
            own = ground.site[boards.cell[copy, i]] == i + 1
            if own and not boards.marks[copy, i]:
                boards.marks[copy, i] = 1
                boards.left[copy] -= 1
                credit(ground, boards, copy, i, 0)
        if boards.left[copy] == 0:
            begin_level(ground, boards, copy)
        end_step(ground, boards, copy)


@bare
def step_fetch(ground: Any, boards: Any, actions: Any) -> None:
    """Take one step of Fetch in all copies [5, 21]; `actions` is [B, N]."""
    copies, players = boards.cell.shape
    for copy in range(copies):
        clear_step(boards, copy)
        move_players(ground, boards, copy, actions)
        for i in range(players):
            if boards.marks[copy, i] and ground.site[boards.cell[copy, i]] == DROP:
                boards.marks[copy, i] = 0
                boards.left[copy] = 1
                credit(ground, boards, copy, i, 1)
        for i in range(players):
            if boards.left[copy] and ground.site[boards.cell[copy, i]] == PICK_UP:
                boards.marks[copy, i] = 1
                boards.left[copy] = 0
                credit(ground, boards, copy, i, 0)
        end_step(ground, boards, copy)


@bare
def step_checkers(ground: Any, boards: Any, actions: Any) -> None:
    """Take one step of Checkers in all copies [6]; `actions` is [B, N]."""
    copies, players = boards.cell.shape
    for copy in range(copies):
        clear_step(boards, copy)
        move_players(ground, boards, copy, actions)
        for i in range(players):
            item = ground.item[boards.cell[copy, i]]
            if item >= 0 and boards.marks[copy, item]:
                mark = np.int64(boards.marks[copy, item])
                boards.marks[copy, item] = 0
                if mark == APPLE:
                    boards.left[copy] -= 1
                credit(ground, boards, copy, i, mark - 1)
        if boards.left[copy] == 0:
            begin_level(ground, boards, copy)
        end_step(ground, boards, copy)


STEPS = {"switch": step_switch, "fetch": step_fetch, "checkers": step_checkers}


@bare
def begin_episodes(ground: Any, boards: Any, mask: Any) -> None:
    """Begin new episodes in the copies of a mask [B], and draw their windows."""
    for copy in range(len(mask)):
        if mask[copy]:
            boards.steps[copy] = 0
            begin_level(ground, boards, copy)
            draw_views(ground, boards, copy)


@bare
def draw_all(ground: Any, boards: Any) -> None:
    """Draw the windows of all copies anew."""
    for copy in range(len(boards.left)):
        draw_views(ground, boards, copy)
