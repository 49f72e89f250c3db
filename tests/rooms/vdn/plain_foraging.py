"""The plain twin of level-based foraging: one copy, foods in a dictionary by cell."""

from __future__ import annotations

from itertools import product

import numpy as np

from rooms.vdn.plain import Cell, Splitmix
from tenfold.rooms.vdn.foraging import Foraging

AHEAD = {0: (0, 0), 1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1), 5: (0, 0)}


def beside(one: Cell, other: Cell) -> bool:
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) == 1


class PlainForaging:
    """One copy of one task."""

    def __init__(self, task: Foraging, counter: int) -> None:
        self.task = task
        self.random = Splitmix(counter)
        self.begin()

    def begin(self) -> None:
        task = self.task
        self.steps = 0
        self.positions: list[Cell] = []
        self.levels: list[int] = []
        low, high = task.player_levels
        for _ in range(task.players):
            cells = product(range(task.rows), range(task.columns))
            free = [cell for cell in cells if cell not in self.positions]
            self.positions.append(free[self.random.below(len(free))])
            self.levels.append(low + self.random.below(high - low + 1))
        self.foods: dict[Cell, int] = {}
        least, most = task.food_levels
        most = sum(sorted(self.levels)[:3]) if most is None else most
        least = most if task.coop else least
        for _ in range(task.foods):
            cells = product(range(1, task.rows - 1), range(1, task.columns - 1))
            fit = [
                (row, column)
                for row, column in cells
                if (row, column) not in self.positions
                and all(abs(row - r) + abs(column - c) > 2 for r, c in self.foods)
            ]
            if fit:
                cell = fit[self.random.below(len(fit))]
                self.foods[cell] = least + self.random.below(most - least + 1)
        self.spawned = sum(self.foods.values())

    def ahead(self, player: int, action: int) -> Cell:
        down, along = AHEAD[action]
        row, column = self.positions[player]
        return row + down, column + along

    def is_legal(self, player: int, action: int) -> bool:
        if action == 5:
            return any(beside(self.positions[player], food) for food in self.foods)
        row, column = self.ahead(player, action)
        inside = 0 <= row < self.task.rows and 0 <= column < self.task.columns
        return inside and (row, column) not in self.foods

    def step(self, actions: list[int]) -> tuple[list[float], bool, bool]:
        """Return rewards, whether nothing is left, and whether time is up before that."""
        done = [a if self.is_legal(i, a) else 0 for i, a in enumerate(actions)]
        claims = [self.ahead(i, action) for i, action in enumerate(done)]
        self.positions = [
            claim if claims.count(claim) == 1 else here
            for claim, here in zip(claims, self.positions, strict=True)
        ]
        rewards = [0.0] * len(done)
        for food, level in list(self.foods.items()):
            loaders = [i for i, a in enumerate(done) if a == 5 and beside(self.positions[i], food)]
            strength = sum(self.levels[i] for i in loaders)
            if loaders and strength >= level:
                del self.foods[food]
                for i in loaders:
                    share = strength * self.spawned if self.task.normalised else 1
                    rewards[i] = self.levels[i] * level / share
            else:
                for i in loaders:
                    rewards[i] = -self.task.penalty
        self.steps += 1
        empty = not self.foods
        return rewards, empty, not empty and self.steps >= self.task.limit_steps

    def observe(self, viewer: int) -> np.ndarray:
        sight = self.task.sight or max(self.task.rows, self.task.columns)
        row, column = self.positions[viewer]
        top, left = max(0, row - sight), max(0, column - sight)
        told: list[int] = []
        for (r, c), level in sorted(self.foods.items()):
            if abs(r - row) <= sight and abs(c - column) <= sight:
                told += [r - top, c - left, level]
        told += [-1, -1, 0] * (self.task.foods - len(told) // 3)
        others = [i for i in range(self.task.players) if i != viewer]
        for i in [viewer, *others]:
            r, c = self.positions[i][0] - top, self.positions[i][1] - left
            if 0 <= r <= 2 * sight and 0 <= c <= 2 * sight:
                told += [r, c, self.levels[i]]
        told += [-1, -1, 0] * (self.task.foods + self.task.players - len(told) // 3)
        return np.array(told, dtype=np.float32)
