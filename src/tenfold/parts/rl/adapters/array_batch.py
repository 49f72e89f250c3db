"""A user's own object that holds all copies as arrays (rooms triad, vdn).

    class Doors:
        copies, actions = 64, 4

        def reset(self, mask):        # [B], copies that begin anew
            ...
            return observations       # [B, *shape], of all copies

        def step(self, actions):      # [B]
            ...
            return observations, rewards, terminated, truncated    # the last three [B]

With an attribute `agents`, a number N or N names, there is an axis for agents behind that for
copies: observations [B, N, *shape], actions [B, N], rewards [B, N]; `actions` may then be a list.
A fifth value of `step` may be a mapping with `alive` [B, N], `legal` [B, N, A] and
`events` [B, N, E], whose names are in the attribute `events`. Besides, `legal()`, `state()`,
`restore(state)` and `action_names` are used where they are there. A copy that ended must not begin
anew by itself.
"""

# B copies, N agents, A actions, E kinds of events

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec, Bools, Ints, State, Step

NEEDED = ("copies", "actions", "reset", "step")


class ArrayBatch:
    """An object with arrays as a batch; see the head of this file for what it needs.

    Its first episodes begin here, as only then it is known what observations look like.

    Args:
        user: the object.
        name: what to call it.

    Raises:
        TenfoldError: if something is missing, or arrays have other shapes than expected.
    """

    def __init__(self, user: Any, *, name: str) -> None:
        missing = [attribute for attribute in NEEDED if not hasattr(user, attribute)]
        if missing:
            raise TenfoldError(
                f"{name} has no {' and no '.join(missing)}; a batch of arrays needs the "
                f"attributes copies and actions and the methods reset(mask) and step(actions)"
            )
        self.user, self.name = user, name
        agents = getattr(user, "agents", None)
        self.several = agents is not None
        names = _names(agents)
        self._agents = (int(user.copies), len(names))
        first = np.asarray(user.reset(np.ones(self._agents[0], np.bool_)))
        small = first.dtype in (np.dtype(np.uint8), np.dtype(np.bool_))
        lead = self._agents if self.several else self._agents[:1]
        self._check("observations", first, lead)
        shape = first.shape[len(lead) :] or (1,)
        actions = user.actions
        per_agent = [actions] * len(names) if isinstance(actions, int) else list(actions)
        if len(per_agent) != len(names):
            raise TenfoldError(
                f"{name} gives numbers of actions for {len(per_agent)} agents and has "
                f"{len(names)}; give one number for all, or one for each"
            )
        self.spec = BatchSpec(
            name=name,
            copies=self._agents[0],
            agents=names,
            actions=tuple(map(int, per_agent)),
            shape=tuple(map(int, shape)),
            dtype="uint8" if small else "float32",
            sizes=(math.prod(shape),) * len(names),
            events=tuple(getattr(user, "events", ())),
            action_names=tuple(getattr(user, "action_names", ())),
            repeatable=hasattr(user, "state") and hasattr(user, "restore"),
        )

    def reset(self, mask: Bools | None = None) -> NDArray[Any]:
        """Begin new episodes in the copies of a mask [B], None: in all."""
        whole = np.ones(self.spec.copies, np.bool_) if mask is None else mask
        return self._observations(self.user.reset(whole))

    def legal(self) -> Bools | None:
        """Return the actions that may be chosen now, [B, N, A]; None: all of an agent's own."""
        told = self.user.legal() if hasattr(self.user, "legal") else None
        return None if told is None else self._mask(told)

    def step(self, actions: Ints) -> Step:
        """Take one action an agent, [B, N]."""
        answer = self.user.step(actions if self.several else actions[:, 0])
        if not isinstance(answer, tuple) or len(answer) not in (4, 5):
            found = f"{len(answer)} values" if isinstance(answer, tuple) else type(answer).__name__
            raise TenfoldError(
                f"step of {self.name} returns {found}; return observations, rewards, terminated "
                "and truncated, and if there is more to tell a mapping"
            )
        more: Mapping[str, Any] = answer[4] if len(answer) == 5 else {}
        unknown = set(more) - {"alive", "legal", "events"}
        if unknown:
            raise TenfoldError(
                f"step of {self.name} tells {sorted(unknown)[0]!r}, which nobody knows here; "
                "known: alive, legal, events"
            )
        return Step(
            observation=self._observations(answer[0]),
            reward=self._rewards(answer[1]),
            terminated=self._ends("terminated", answer[2]),
            truncated=self._ends("truncated", answer[3]),
            alive=self._alive(more),
            legal=self._mask(more["legal"]) if "legal" in more else self.legal(),
            events=self._events(more),
        )

    def _observations(self, told: Any) -> NDArray[Any]:
        lead = self._agents if self.several else self._agents[:1]
        array = self._check("observations", told, lead)
        wide = array.reshape(*self._agents, *(array.shape[len(lead) :] or (1,)))
        self._check("observations", wide, (*self._agents, *self.spec.shape))
        return wide.astype(self.spec.dtype, copy=False)

    def _rewards(self, told: Any) -> NDArray[np.float32]:
        lead = self._agents if self.several else self._agents[:1]
        array = self._check("rewards", told, lead, whole=True)
        return array.astype(np.float32, copy=False).reshape(self._agents)

    def _ends(self, what: str, told: Any) -> Bools:
        return self._check(what, told, self._agents[:1], whole=True).astype(np.bool_, copy=False)

    def _alive(self, more: Mapping[str, Any]) -> Bools:
        told = more.get("alive")
        if told is None:
            return np.ones(self._agents, np.bool_)
        return self._check("alive", told, self._agents, whole=True).astype(np.bool_, copy=False)

    def _mask(self, told: Any) -> Bools:
        shape = (*self._agents, max(self.spec.actions))
        array = np.asarray(told)
        wide = array if self.several or array.ndim == 3 else array[:, None]
        return self._check("legal", wide, shape, whole=True).astype(np.bool_, copy=False)

    def _events(self, more: Mapping[str, Any]) -> NDArray[np.int32] | None:
        told = more.get("events")
        if told is None:
            return None
        shape = (*self._agents, len(self.spec.events))
        return self._check("events", told, shape, whole=True).astype(np.int32, copy=False)

    def _check(
        self, what: str, told: Any, lead: tuple[int, ...], *, whole: bool = False
    ) -> NDArray[Any]:
        array = np.asarray(told)
        found = array.shape if whole else array.shape[: len(lead)]
        if found != lead:
            raise TenfoldError(
                f"{what} of {self.name} have shape {array.shape}, expected "
                f"{'' if whole else 'a shape that begins with '}{lead}: {self._agents[0]} copies"
                + (f" of {self._agents[1]} agents" if self.several else "")
            )
        return array

    def state(self) -> State:
        """Return all that the future depends on, copied; empty if the object cannot tell."""
        if not self.spec.repeatable:
            return {}
        return {name: np.array(value) for name, value in self.user.state().items()}

    def restore(self, state: State) -> None:
        """Go back to a state.

        Raises:
            TenfoldError: if the object cannot.
        """
        if not self.spec.repeatable:
            raise TenfoldError(
                f"{self.name} cannot be restored: it has no state() and restore(state); give it "
                "both, or begin new episodes"
            )
        self.user.restore(state)


def _names(agents: Any) -> tuple[str, ...]:
    """Return the agents' names, from a number or names; None: there is one."""
    if agents is None:
        return ("agent",)
    if isinstance(agents, int):
        return tuple(f"agent_{n}" for n in range(agents))
    return tuple(map(str, agents))
