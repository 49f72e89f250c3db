"""What players see: the window and the colours (rules 8, 17 to 19)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeAlias

from tenfold.rooms.vdn.games.maps import Game

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

FLOOR: Colour = (0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """How many cells a player sees from where it stands, in the direction of its heading."""

    ahead: int = 3
    """Cells ahead."""
    behind: int = 1
    """Cells behind."""
    side: int = 2
    """Cells to each side."""

    def __post_init__(self) -> None:
        for part in fields(self):
            cells = getattr(self, part.name)
            if not 0 <= cells <= 100:
                raise ValueError(
                    f"a window of {cells} cells ({part.name}); give a number from 0 to 100"
                )

    @property
    def height(self) -> int:
        """Rows of the window."""
        return self.ahead + 1 + self.behind

    @property
    def width(self) -> int:
        """Columns of the window."""
        return 2 * self.side + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Colours:
    """Colours of all that can be seen; those of other games have no effect."""

    floor: Colour = FLOOR
    """Cells with nothing on them."""
    wall: Colour = (127, 127, 127)
    """Walls, and all beyond the map."""
    own: Colour = (0, 0, 255)
    """The player that sees."""
    other: Colour = (255, 0, 0)
    """All other players; in Fetch (100, 100, 255), see `colours_of`."""
    goal: Colour = (255, 255, 0)
    """Switch: goals of the player that sees."""
    other_goal: Colour = FLOOR
    """Switch: goals of other players."""
    pick_up: Colour = (0, 255, 0)
    """Fetch: a pick-up with the item."""
    empty_pick_up: Colour = (0, 80, 0)
    """Fetch: a pick-up while somebody has the item."""
    drop: Colour = (255, 255, 0)
    """Fetch: where the item is brought."""
    apple: Colour = (0, 255, 0)
    """Checkers: an apple."""
    lemon: Colour = (255, 165, 0)
    """Checkers: a lemon."""

    def __post_init__(self) -> None:
        for part in fields(self):
            colour = getattr(self, part.name)
            if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
                raise ValueError(
                    f"the colour {part.name} is {colour}; give red, green and blue, each 0 to 255"
                )


def colours_of(game: Game) -> Colours:
    """Return the colours of a game where nothing else is asked for."""
    return Colours(other=(100, 100, 255)) if game == "fetch" else Colours()
