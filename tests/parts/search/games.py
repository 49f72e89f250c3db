"""Small games whose values are known by dynamic programming, moved forward and back."""

import functools

import numpy as np


class Side:
    """Many games side by side; a game is a tuple of states, the last one at hand.

    `rules` has `actions`, `legal(state)`, `play(state, action) -> state, reward` and `over(state)`.
    """

    def __init__(self, rules, states):
        self.rules, self.actions = rules, rules.actions
        self.pasts = [[state] for state in states]
        self.met = []

    def legal(self, which):
        return np.array(
            [
                [action in self.rules.legal(self.pasts[g][-1]) for action in range(self.actions)]
                for g in which
            ],
            dtype=bool,
        ).reshape(len(which), self.actions)

    def apply(self, which, actions):
        rewards, ended = np.zeros(len(which)), np.zeros(len(which), dtype=bool)
        for i, (g, action) in enumerate(zip(which, actions, strict=True)):
            state = self.pasts[g][-1]
            assert action in self.rules.legal(state), f"{action} is illegal in {state}"
            state, rewards[i] = self.rules.play(state, int(action))
            self.pasts[g].append(state)
            self.met.append(state)
            ended[i] = self.rules.over(state)
        return rewards, ended

    def undo(self, which):
        for g in which:
            self.pasts[g].pop()

    def observe(self, which):
        return (np.array([hash(self.pasts[g][-1]) % 9_973 for g in which], dtype=np.int64),)


class Slope:
    """Walk down a grid to the left, straight or right and collect what lies on the way."""

    actions = 3

    def __init__(self, seed, *, depth=4, width=4):
        self.depth, self.width = depth, width
        self.found = np.random.default_rng(seed).integers(0, 10, size=(depth + 1, width)) / 10

    def legal(self, state):
        depth, column = state
        if depth == self.depth:
            return []
        return [a for a in range(3) if 0 <= column + a - 1 < self.width]

    def play(self, state, action):
        depth, column = state[0] + 1, state[1] + action - 1
        return (depth, column), self.found[depth, column]

    def over(self, state):
        return state[0] == self.depth


class TicTacToe:
    """Nine cells, seen by the player to move: 1 is mine, 2 the other's."""

    actions = 9
    lines = (
        *((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)),
    )

    def legal(self, state):
        return [] if self.over(state) else [cell for cell in range(9) if not state[cell]]

    def won(self, state):
        """Say whether the player who has just moved has a line."""
        return any(all(state[cell] == 2 for cell in line) for line in self.lines)

    def play(self, state, action):
        mine = [*state[:action], 1, *state[action + 1 :]]
        state = tuple((0, 2, 1)[cell] for cell in mine)
        return state, float(self.won(state))

    def over(self, state):
        return self.won(state) or 0 not in state


def solve(rules, *, sign):
    """Return a function from a state to the best return of each legal action."""

    @functools.cache
    def returns(state):
        found = {}
        for action in rules.legal(state):
            after, reward = rules.play(state, action)
            ahead = 0 if rules.over(after) else max(returns(after).values())
            found[action] = reward + sign * ahead
        return found

    return returns


def knows_nothing(actions):
    """Return a network that finds all actions equal and every position worth nothing."""
    return lambda seen: (np.zeros((len(seen[0]), actions)), np.zeros(len(seen[0])))


def guesses(actions):
    """Return a network whose fixed guesses depend on the position alone."""

    def judge(seen):
        rows = [np.random.default_rng(int(code)).normal(size=actions + 1) for code in seen[0]]
        said = np.array(rows).reshape(-1, actions + 1)
        return said[:, 1:], 0.1 * said[:, 0]

    return judge
