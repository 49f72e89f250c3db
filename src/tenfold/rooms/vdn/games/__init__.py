"""Switch, Fetch and Checkers on maps of text, in many copies at once: the rules.

The paper (arXiv:1706.05296, appendix on its tasks) describes the games in words; its maps and
several rules are not published. These are ours, numbered so that each has a test. Rules 1 to 8
settle the games, 9 to 22 what those leave open.

1. A map is rows of letters: `#` wall, `.` floor. Switch: `A`, `B`, ... spawn cells of player 0,
   1, ..., `a`, `b`, ... their goals. Fetch: `S` spawn cells of all, `P` pick-up, `D` drop.
   Checkers: `A`, `B`, ... spawn cells, `+` apple, `-` lemon. All beyond the map is wall.
2. Headings are 0 north (up), 1 east, 2 south, 3 west. Actions, by number: forward, backward, left,
   right, rotate left, rotate right, use beam, stand still. The first four move one cell relative
   to the heading and leave it as it is; the next two turn it a quarter and always succeed.
3. All players move at once. A move into a wall is void. Players who want the same cell all stay.
   Two who would swap cells both stay. Who does not move blocks its cell; a cell that is left in
   this step may be entered.
4. Switch: a player that stands on its own goal for the first time in a level scores 1; another's
   goal pays nothing. When all have scored, a new level begins within the same step.
5. Fetch: there is one item. A carrier on `D` drops it for 5; after all drops, in order of their
   numbers, the first player on `P` takes the item for 3 if nobody has it. No level ever ends.
6. Checkers: a player that enters a cell with an item takes it and is paid for it; when the last
   apple is taken, a new level begins within the same step, with all items and fresh spawns.
7. A new level or episode puts players on spawn cells that are drawn; with `fixed_start` they are
   always the same. The limit of steps truncates an episode and never terminates it.
8. A player sees a window of colours, 3 cells ahead of it, 1 behind and 2 to each side. Row 0 is
   farthest ahead, column 0 leftmost; bytes, channel first (red, green, blue).
9. Use beam is a move of nothing: it neither lights cells nor hits anyone. (The paper's beam lights
   a row of cells and does nothing else.)
10. Players in a line may all move on if the first can. Rings of players, each entering the next
    one's cell, turn; only swaps of two are void.
11. A mover whose way stays blocked stays, and so do those behind it, all the way down a line. Who
    wanted a cell that is contested counts as not moving, even if its own cell is wanted; who stands
    on the contested cell may leave it.
12. Two to eight players. Letters run from `A` without a gap; the goal of `H` is `h`. A player may
    have several spawn cells and several goals, of which any counts, once a level.
13. Spawns are drawn player by player: first its cell, uniformly among those of its letter (in
    Fetch among the `S` cells that no earlier player took), then its heading, uniformly. Each copy
    has its own generator; a draw is made even if there is only one cell.
14. With `fixed_start` players take the first free spawn cells in reading order, heading north,
    and nothing is drawn. `spawn_heading` sets another heading, or without `fixed_start` the
    heading alone; then only cells are drawn.
15. Rewards belong to the player that caused them; a team's reward is the sum. In Checkers player
    0 (`A`) is the sensitive one: 10 for an apple, -10 for a lemon; all others 1 and -1.
16. Events are counted for the player that caused them: Switch `goal`, Fetch `pick-up` and `drop`,
    Checkers `apple` and `lemon`.
17. Goals of other players look like floor, unless given a colour. A goal looks the same before and
    after it has paid.
18. A carrier looks like any other player; that the item is away shows on the pick-up alone.
19. Players are drawn over goals and items, the player itself always in its own colour. All others
    have the same colour. An item that is taken looks like floor.
20. An observation is what is seen after the step: of a new level if one began, in every copy's last
    step too. Time goes on over levels, only a new episode sets it to zero.
21. In Fetch several `P` share the one item and several `D` take it alike. A carrier that stands on
    `D` drops, one that stands on `P` keeps what it has; the player that dropped may take the item
    again only by standing on `P`.
22. A map is refused if something on it cannot be reached over floor: in Switch a goal from a spawn
    of its player, in Fetch a `P` or `D` from an `S`, in Checkers an apple from the spawns of any
    player. Lemons may be out of reach.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "GameMap": "maps",
    "find_task": "maps",
    "list_tasks": "maps",
    "Colours": "looks",
    "Window": "looks",
    "colours_of": "looks",
    "GameBatch": "batch",
    "Picture": "batch",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that maps can be listed and checked without compiled loops.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
