"""Gymnasium environments as copies of a batch (rooms triad, vdn).

Environments of one agent, and those of several that follow the same interface with a tuple of
observations, a tuple of actions and a list of rewards, such as lbforaging and rware.
"""

# N agents

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.adapters.copies import Moment, blaming, settle
from tenfold.parts.rl.batch import Bools
from tenfold.parts.rl.spaces import MASK, read_actions, read_observations, space_name


class GymCopy:
    """One Gymnasium environment.

    Several agents are there where observations and actions are both tuples of equal length. A
    reward that is one number for all of them is shared out, so that their sum is that number.

    Args:
        env: the environment.
        name: what to call it in messages.

    Raises:
        TenfoldError: if its spaces cannot be used, or it is a vector of environments.
    """

    def __init__(self, env: Any, *, name: str) -> None:
        if hasattr(env, "num_envs"):
            raise TenfoldError(
                f"{name} is a vector of {env.num_envs} environments; give a function that makes a "
                "single one, copies are made of it"
            )
        self.env, self.name = env, name
        seen, acts = env.observation_space, env.action_space
        both = space_name(seen) == space_name(acts) == "Tuple"
        self.several = both and len(seen.spaces) == len(acts.spaces)
        count = len(acts.spaces) if self.several else 1
        self.agents = tuple(f"agent_{n}" for n in range(count)) if self.several else ("agent",)
        parts = zip(seen.spaces, acts.spaces, strict=True) if self.several else [(seen, acts)]
        spaces = list(zip(self.agents, parts, strict=True))
        self.encodings = tuple(read_observations(o, agent=agent) for agent, (o, _) in spaces)
        self.moves = tuple(read_actions(a, agent=agent) for agent, (_, a) in spaces)
        self._alive: Bools = np.ones(count, np.bool_)

    def reset(self, seed: int) -> Moment:
        """Begin the episode that a seed names.

        Raises:
            TenfoldError: if the environment follows the interface from before Gymnasium.
        """
        try:
            answer = self.env.reset(seed=seed)
        except TypeError as error:
            if "seed" not in str(error):
                raise
            raise self._old("reset takes no seed") from error
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
            raise self._old("reset returns no pair of observation and info")
        self._alive = np.ones(len(self.agents), np.bool_)
        return self._moment(*answer, [0.0] * len(self.agents), False, False)

    def step(self, actions: Sequence[Any]) -> Moment:
        """Take actions, one an agent."""
        # An agent that is done in a list of flags still needs an action of some kind.
        given = [
            self.moves[n].decode(0) if action is None else action
            for n, action in enumerate(actions)
        ]
        with blaming(self.name, "step"):
            answer = self.env.step(tuple(given) if self.several else given[0])
        if len(answer) != 5:
            raise self._old(f"step returns {len(answer)} values and not 5")
        observation, reward, terminated, truncated, info = answer
        flags = (len(self.agents),)
        ends, cut, self._alive = settle(
            self._alive,
            np.broadcast_to(np.asarray(terminated, np.bool_), flags),
            np.broadcast_to(np.asarray(truncated, np.bool_), flags),
        )
        return self._moment(observation, info, self._rewards(reward), ends, cut)

    def _moment(
        self, observation: Any, info: Any, rewards: list[float], terminated: bool, truncated: bool
    ) -> Moment:
        rows: list[Any] = list(observation) if self.several else [observation]
        if len(rows) != len(self.agents):
            raise TenfoldError(
                f"{self.name} gives {len(rows)} observations for {len(self.agents)} agents; "
                "its observation space says otherwise"
            )
        told = info.get(MASK) if isinstance(info, dict) else None
        masks: list[Any] = [None] * len(rows)
        if told is not None:
            masks = list(told) if self.several else [told]
        for n, encoding in enumerate(self.encodings):
            if encoding.masked:
                masks[n], rows[n] = rows[n][MASK], rows[n]["observation"]
        return Moment(rows, masks, rewards, terminated, truncated, self._alive.tolist())

    def _rewards(self, reward: Any) -> list[float]:
        numbers = np.asarray(reward, np.float64).ravel()
        count = len(self.agents)
        if numbers.size == count:
            return [float(number) for number in numbers]
        if numbers.size == 1:
            return [float(numbers[0]) / count] * count
        raise TenfoldError(
            f"{self.name} gives {numbers.size} rewards for {count} agents; "
            "wrap it so that it gives one for each, or one for all"
        )

    def _old(self, what: str) -> TenfoldError:
        return TenfoldError(
            f"{self.name} follows the interface from before Gymnasium ({what}); use a newer "
            "version of it, or wrap it with shimmy (pip install shimmy)"
        )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
