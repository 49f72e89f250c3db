"""Two small games whose answers are known, because a sum of values cannot express them.

The -12/8 game (Son et al. 2019, QTRAN) pays 8 only if both agents choose their first action, and
punishes either alone; its best additive fit prefers the actions that pay 0. In the two-step game
(Rashid et al. 2018, QMIX) the first agent chooses between a state that pays 7 for everything and
one that pays 0, 1 or 8; with additive values the safe one looks better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.rl.batch import BatchSpec, Bools, Ints, State, Step

MATRIX = np.array([[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]])
TWO_STEP = np.array([[[7.0, 7.0], [7.0, 7.0]], [[0.0, 1.0], [1.0, 8.0]]])
"""Pay-offs of the second step, in the state that the first agent's action led to."""


class TwoStepBatch:
    """Copies of a game of one or two steps for two agents; all of it is `EnvBatch`."""

    def __init__(self, name: str, *, copies: int) -> None:
        """Begin all copies.

        Args:
            name: matrix or two-step.
            copies: B.
        """
        assert name in GAMES, f"no game {name}"
        self.two = name == "two-step"
        self.payoff = TWO_STEP if self.two else MATRIX[None]
        actions = self.payoff.shape[1]
        self._spec = BatchSpec(
            name=name, copies=copies, agents=("first", "second"), actions=(actions, actions),
            shape=(3,), dtype="float32", sizes=(3, 3),
        )  # fmt: skip
        self._place = np.zeros(copies, np.int64)
        self.reset()

    @property
    def spec(self) -> BatchSpec:
        """What the batch looks like."""
        return self._spec

    def reset(self, mask: Bools | None = None) -> NDArray[Any]:
        """Begin again; both agents see the same one-hot state, [B, 2, 3]."""
        self._place[slice(None) if mask is None else mask] = 0
        return self._seen()

    def legal(self) -> Bools | None:
        """Return None: all actions may always be chosen."""
        return None

    def step(self, actions: Ints) -> Step:
        """Take one action an agent, [B, 2]."""
        at, copies = self._place, len(self._place)
        last = (at > 0) if self.two else np.ones(copies, np.bool_)
        table = np.maximum(at - 1, 0)
        reward = np.where(last, self.payoff[table, actions[:, 0], actions[:, 1]], 0.0)
        # The first agent alone chooses the state of the second step.
        self._place = np.where(last, 0, 1 + actions[:, 0])
        never = np.zeros(copies, np.bool_)
        return Step(
            observation=self._seen(),
            reward=np.stack([reward, np.zeros(copies)], axis=1).astype(np.float32),
            terminated=last,
            truncated=never,
            alive=np.ones((copies, 2), np.bool_),
            legal=None,
            events=None,
        )

    def _seen(self) -> NDArray[np.float32]:
        one_hot = np.eye(3, dtype=np.float32)[self._place]
        return np.repeat(one_hot[:, None], 2, axis=1)

    def state(self) -> State:
        """Return where each copy is."""
        return {"place": self._place.copy()}

    def restore(self, state: State) -> None:
        """Go back to a state of an equal batch."""
        self._place = state["place"].copy()


GAMES = ("matrix", "two-step")
