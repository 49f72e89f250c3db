"""The plain twin of the games: one copy at a time, sets and dictionaries, from the rules alone.

Cells are pairs (row, column). Numbers in brackets are the rules of `tenfold.rooms.vdn.games`.
"""

from __future__ import annotations

import numpy as np

Cell = tuple[int, int]

AHEAD = {0: (-1, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1)}
TURN = {0: 0, 1: 2, 2: 3, 3: 1}
"""Quarter turns to the right from the heading to each move."""
GREY, BLUE, BLACK = (127, 127, 127), (0, 0, 255), (0, 0, 0)
RED, PALE, YELLOW = (255, 0, 0), (100, 100, 255), (255, 255, 0)
GREEN, DARK, ORANGE = (0, 255, 0), (0, 80, 0), (255, 165, 0)


class Splitmix:
    """splitmix64 in whole numbers of Python."""

    def __init__(self, counter: int) -> None:
        self.counter = int(counter)

    def draw(self) -> int:
        self.counter = (self.counter + 0x9E3779B97F4A7C15) % 2**64
        z = self.counter
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    def below(self, count: int) -> int:
        return (self.draw() >> 32) * count >> 32


def settle(positions: list[Cell], wanted: list[Cell]) -> list[Cell]:
    """Return where players end up that want some cells, their own if they stay [3, 10, 11].

    A mover goes on if the line of players ahead of it ends in a free cell or closes a ring.
    """
    everyone = range(len(positions))
    movers = {i for i in everyone if wanted[i] != positions[i]}
    contested = {i for i in movers for j in movers if i != j and wanted[i] == wanted[j]}
    swapping = {
        i
        for i in movers
        for j in movers
        if i != j and wanted[i] == positions[j] and wanted[j] == positions[i]
    }
    movers -= contested | swapping

    def goes_on(player: int) -> bool:
        line: list[int] = []
        while player in movers:
            if player in line:
                return True
            line.append(player)
            ahead = [j for j in everyone if positions[j] == wanted[player]]
            if not ahead:
                return True
            player = ahead[0]
        return False

    return [wanted[i] if goes_on(i) else positions[i] for i in everyone]


class PlainGame:
    """One copy of one game."""

    def __init__(self, text: str, game: str, *, players: int, counter: int, limit: int) -> None:
        rows = [line.strip() for line in text.split("\n") if line.strip()]
        self.letters = {
            (row, column): letter
            for row, line in enumerate(rows)
            for column, letter in enumerate(line)
        }
        self.game, self.players, self.limit = game, players, limit
        self.random = Splitmix(counter)
        self.levels = 0
        self.begin_episode()

    def begin_episode(self) -> None:
        self.steps = 0
        self.begin_level()

    def begin_level(self) -> None:
        self.levels += 1
        self.scored: set[int] = set()
        self.carrier: int | None = None
        self.items = {cell: letter for cell, letter in self.letters.items() if letter in "+-"}
        self.positions: list[Cell] = []
        self.headings: list[int] = []
        for player in range(self.players):
            letter = "S" if self.game == "fetch" else "ABCDEFGH"[player]
            free = [
                cell
                for cell, here in self.letters.items()
                if here == letter and cell not in self.positions
            ]
            self.positions.append(free[self.random.below(len(free))])
            self.headings.append(self.random.below(4))

    def step(self, actions: list[int]) -> tuple[list[float], list[list[int]], bool]:
        """Return rewards, events and whether the episode is truncated."""
        self.move(actions)
        self.rewards = [0.0] * self.players
        self.events = [[0] * (1 if self.game == "switch" else 2) for _ in range(self.players)]
        {"switch": self.score, "fetch": self.carry, "checkers": self.eat}[self.game]()
        self.steps += 1
        return self.rewards, self.events, self.steps >= self.limit

    def move(self, actions: list[int]) -> None:
        wanted = list(self.positions)
        for i, action in enumerate(actions):
            if action < 4:
                down, along = AHEAD[(self.headings[i] + TURN[action]) % 4]
                cell = (self.positions[i][0] + down, self.positions[i][1] + along)
                if self.letters.get(cell, "#") != "#":
                    wanted[i] = cell
            elif action < 6:
                self.headings[i] = (self.headings[i] + (1 if action == 5 else -1)) % 4
        self.positions = settle(self.positions, wanted)

    def pay(self, player: int, event: int, reward: float) -> None:
        self.events[player][event] += 1
        self.rewards[player] += reward

    def score(self) -> None:
        for i, cell in enumerate(self.positions):
            if self.letters[cell] == "abcdefgh"[i] and i not in self.scored:
                self.scored.add(i)
                self.pay(i, 0, 1.0)
        if len(self.scored) == self.players:
            self.begin_level()

    def carry(self) -> None:
        on = [self.letters[cell] for cell in self.positions]
        if self.carrier is not None and on[self.carrier] == "D":
            self.pay(self.carrier, 1, 5.0)
            self.carrier = None
        if self.carrier is None and "P" in on:
            self.carrier = on.index("P")
            self.pay(self.carrier, 0, 3.0)

    def eat(self) -> None:
        for i, cell in enumerate(self.positions):
            letter = self.items.pop(cell, "")
            if letter:
                worth = 10.0 if i == 0 else 1.0
                self.pay(i, "+-".index(letter), worth if letter == "+" else -worth)
        if "+" not in self.items.values():
            self.begin_level()

    def colour(self, cell: Cell, viewer: int) -> tuple[int, int, int]:
        if cell in self.positions:
            if cell == self.positions[viewer]:
                return BLUE
            return PALE if self.game == "fetch" else RED
        letter = self.letters.get(cell, "#")
        if letter == "#":
            return GREY
        if self.game == "switch":
            return YELLOW if letter == "abcdefgh"[viewer] else BLACK
        if self.game == "checkers":
            return {"+": GREEN, "-": ORANGE}.get(self.items.get(cell, ""), BLACK)
        ready = GREEN if self.carrier is None else DARK
        return {"P": ready, "D": YELLOW}.get(letter, BLACK)

    def view(self, viewer: int, *, ahead: int = 3, behind: int = 1, side: int = 2) -> np.ndarray:
        """Return what a player sees, [3, height, width]."""
        row, column = self.positions[viewer]
        down, along = AHEAD[self.headings[viewer]]
        # To the right is where a quarter turn clockwise looks: (down, along) -> (along, -down).
        window = [
            [
                self.colour(
                    (row + forward * down + right * along, column + forward * along - right * down),
                    viewer,
                )
                for right in range(-side, side + 1)
            ]
            for forward in range(ahead, -behind - 1, -1)
        ]
        return np.array(window, dtype=np.uint8).transpose(2, 0, 1)
