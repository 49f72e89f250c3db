"""PettingZoo environments in which all agents move at once as copies of a batch (rooms vdn)."""

# N agents, as the environment lists them in `possible_agents`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.adapters.copies import Moment, blaming, settle
from tenfold.parts.rl.batch import Bools
from tenfold.parts.rl.spaces import MASK, read_actions, read_observations


class ParallelCopy:
    """One environment of PettingZoo's parallel interface.

    An agent that ends before the others is not alive from then on, whether it terminated or was
    cut off: what it might still have got is not counted.

    Args:
        env: the environment.
        name: what to call it in messages.

    Raises:
        TenfoldError: if its spaces cannot be used, or agents move in turns.
    """

    def __init__(self, env: Any, *, name: str) -> None:
        if hasattr(env, "agent_iter"):
            raise TenfoldError(
                f"agents of {name} move in turns; turn it into a parallel environment with "
                "pettingzoo.utils.conversions.aec_to_parallel, or take its parallel_env"
            )
        if not getattr(env, "possible_agents", None):
            raise TenfoldError(
                f"{name} does not say which agents there can be; give it an attribute "
                "possible_agents with their names"
            )
        self.env, self.name = env, name
        self._names = list(env.possible_agents)
        self.agents = tuple(map(str, self._names))
        self.encodings = tuple(
            read_observations(_space(env, "observation", agent), agent=str(agent))
            for agent in self._names
        )
        self.moves = tuple(
            read_actions(_space(env, "action", agent), agent=str(agent)) for agent in self._names
        )
        self._alive: Bools = np.ones(len(self.agents), np.bool_)
        self._there: set[Any] = set()

    def reset(self, seed: int) -> Moment:
        """Begin the episode that a seed names.

        Raises:
            TenfoldError: if the environment follows an older interface.
        """
        with blaming(self.name, "reset"):
            answer = self.env.reset(seed=seed)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise TenfoldError(
                f"reset of {self.name} returns no pair of observations and infos, as older "
                "interfaces have it; use a newer version of the environment"
            )
        self._there = set(self.env.agents)
        self._alive = self._present()
        return self._moment(*answer, {}, False, False)

    def step(self, actions: Sequence[Any]) -> Moment:
        """Take actions, one an agent; only those of agents that are alive are passed on.

        Raises:
            TenfoldError: if an agent appears that was not there before, or gets no reward.
        """
        given = {
            name: action
            for name, action, alive in zip(self._names, actions, self._alive, strict=True)
            if alive
        }
        with blaming(self.name, "step"):
            answer = self.env.step(given)
        if len(answer) != 5:
            raise TenfoldError(
                f"step of {self.name} returns {len(answer)} values and not 5, as older "
                "interfaces have it; use a newer version of the environment"
            )
        observations, rewards, terminations, truncations, infos = answer
        came = [name for name in self.env.agents if name not in self._there]
        if came:
            raise TenfoldError(
                f"agent {came[0]!r} of {self.name} appears during an episode, which teams of a "
                "fixed size cannot follow; choose a version in which all agents are there from "
                "the first step on"
            )
        unpaid = [name for name in given if name not in rewards]
        if unpaid:
            raise TenfoldError(
                f"step of {self.name} gives no reward of {unpaid[0]!r}, which took an action; give "
                "one of every agent that acts, 0 if it earns nothing"
            )
        self._there = set(self.env.agents)
        over, cut = self._flags(terminations), self._flags(truncations)
        # An agent may also go without a word, by leaving the list.
        over |= ~self._present() & ~cut
        ends, late, self._alive = settle(self._alive, over, cut)
        return self._moment(observations, infos, rewards, ends, late)

    def _present(self) -> Bools:
        return np.array([name in self._there for name in self._names])

    def _flags(self, told: Mapping[Any, Any]) -> Bools:
        return np.array([bool(told.get(name, False)) for name in self._names])

    def _moment(
        self,
        observations: Mapping[Any, Any],
        infos: Mapping[Any, Any],
        rewards: Mapping[Any, Any],
        terminated: bool,
        truncated: bool,
    ) -> Moment:
        rows: list[Any] = [observations.get(name) for name in self._names]
        masks: list[Any] = [(infos.get(name) or {}).get(MASK) for name in self._names]
        for n, encoding in enumerate(self.encodings):
            if encoding.masked and rows[n] is not None:
                masks[n], rows[n] = rows[n][MASK], rows[n]["observation"]
        for name, row, alive in zip(self._names, rows, self._alive, strict=True):
            if row is None and alive:
                raise TenfoldError(
                    f"{self.name} gives no observation of {name!r}, which has not ended; give one "
                    "of every agent that is there"
                )
        paid = [float(rewards.get(name, 0.0)) for name in self._names]
        return Moment(rows, masks, paid, terminated, truncated, self._alive.tolist())

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def _space(env: Any, what: str, agent: Any) -> Any:
    """Return an agent's space, from the method or from the older attribute."""
    method = getattr(env, f"{what}_space", None)
    if callable(method):
        return method(agent)
    spaces = getattr(env, f"{what}_spaces", None)
    if spaces is None:
        raise TenfoldError(
            f"{type(env).__name__} does not say what {what}s its agents have; give it a method "
            f"{what}_space(agent) that returns a space of Gymnasium"
        )
    return spaces[agent]
