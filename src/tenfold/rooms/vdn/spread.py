"""Cover the landmarks, in many copies at once: the rules of simple_spread in the package mpe2.

The task is of Lowe et al. 2017 (arXiv:1706.02275). This is code of our own for the same rules,
held to the package step for step by tests, from any state.

1. N agents, discs of radius 0.15 and mass 1, and N landmarks, points, are spread on the plane. At
   the start of an episode all lie uniformly in [-1, 1] x [-1, 1], at rest.
2. Actions: none, left, right, down, up; each of the last four is a force of 5.
3. Two agents at distance D push each other apart along the line between them with a force of
   100 m log(1 + exp((0.3 - D) / m)), m = 0.001.
4. A step takes 0.1: forces are those of the old positions; then positions move by 0.1 times the old
   velocities; then velocities become 0.75 times themselves plus 0.1 times the forces.
5. Then each agent is rewarded half of minus the sum, over landmarks, of the distance to the nearest
   agent, and half of minus the number of agents that are nearer than 0.3 to it.
6. An episode is cut after 25 steps; nothing else ends it.
7. An agent sees its velocity and position, then seen from itself the landmarks, then the other
   agents, then 2 (N - 1) zeros: what the others say, in a task in which nobody speaks.

B copies, N agents and landmarks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.engine.kernel import Whole, bare, within
from tenfold.parts.rl.batch import BatchSpec, Bools, Floats, Ints, State, Step, write_state
from tenfold.rooms.vdn.loops import counters, draw

ACTIONS = ("none", "left", "right", "down", "up")
"""By number (rule 2)."""
NAME = re.compile(r"spread/(\d+)")
LIMIT = 25
FORCE, TOUCH, MARGIN, HARDNESS = 5.0, 0.3, 1e-3, 100.0
PERIOD, KEPT = 0.1, 0.75
STATE = ("place", "speed", "mark", "steps", "random")
"""Fields that the future depends on."""

Numbers = NDArray[np.float64]


class Plane(NamedTuple):
    """B copies; V = 6 N numbers an observation."""

    place: Numbers
    """[B, N, 2], of agents."""
    speed: Numbers
    """[B, N, 2]."""
    mark: Numbers
    """[B, N, 2], landmarks."""
    steps: NDArray[np.int32]
    """[B]."""
    random: NDArray[np.uint64]
    """[B], counters of the copies' generators."""
    seen: Floats
    """[B, N, V]."""
    reward: Floats
    """[B, N]."""
    truncated: Bools
    """[B]."""
    push: Numbers
    """[N, 2], scratch: forces on agents."""


def find_spread(name: str) -> int:
    """Return N of a name such as "spread/3".

    Raises:
        TenfoldError: if the name is of another form.
    """
    found = NAME.fullmatch(name)
    if not found or int(found[1]) < 1:
        raise TenfoldError(
            f"{name!r} is no task of covering landmarks; write how many agents, 1 or more, as in "
            "spread/3"
        )
    return int(found[1])


class SpreadBatch:
    """Copies of one task, stepped by compiled loops; a copy never depends on the others.

    All copies have begun an episode when a batch is made.
    """

    def __init__(self, agents: int, *, copies: int, seed: int | Sequence[int]) -> None:
        """Make copies.

        Args:
            agents: N.
            copies: B, at least 1.
            seed: of where all begin; copy b draws the same for every B.

        Raises:
            TenfoldError: if there is no copy.
        """
        if copies < 1:
            raise TenfoldError(f"copies is {copies}; give a number of at least 1")
        self._plane = Plane(
            place=np.zeros((copies, agents, 2)),
            speed=np.zeros((copies, agents, 2)),
            mark=np.zeros((copies, agents, 2)),
            steps=np.zeros(copies, np.int32),
            random=counters(seed, "vdn", "spread", copies=copies),
            seen=np.zeros((copies, agents, 6 * agents), np.float32),
            reward=np.zeros((copies, agents), np.float32),
            truncated=np.zeros(copies, np.bool_),
            push=np.zeros((agents, 2)),
        )
        self._spec = BatchSpec(
            name=f"spread/{agents}",
            copies=copies,
            agents=tuple(f"agent_{i}" for i in range(agents)),
            actions=(len(ACTIONS),) * agents,
            shape=(6 * agents,),
            dtype="float32",
            sizes=(6 * agents,) * agents,
            action_names=ACTIONS,
        )
        self._always = np.ones((copies, agents), np.bool_)
        self._never = np.zeros(copies, np.bool_)
        self.reset()

    @property
    def spec(self) -> BatchSpec:
        """What the batch looks like."""
        return self._spec

    def reset(self, mask: Bools | None = None) -> NDArray[Any]:
        """Begin new episodes in the copies of a mask [B], None: in all.

        Returns:
            Observations of all copies, [B, N, V], written over by the next step.
        """
        chosen = np.ones(self._spec.copies, np.bool_) if mask is None else mask
        assert chosen.shape == (self._spec.copies,), f"a mask of shape {chosen.shape}"
        begin_episodes(self._plane, np.ascontiguousarray(chosen, np.bool_))
        return self._plane.seen

    def legal(self) -> None:
        """All actions may always be chosen."""
        return

    def step(self, actions: Ints) -> Step:
        """Take one action an agent, [B, N] within 0..4; the next step writes over what it gives."""
        plane = self._plane
        assert actions.shape == plane.reward.shape, f"actions of shape {actions.shape}"
        step_all(plane, np.ascontiguousarray(actions, dtype=np.int64))
        return Step(
            observation=plane.seen,
            reward=plane.reward,
            terminated=self._never,
            truncated=plane.truncated,
            alive=self._always,
            legal=None,
            events=None,
        )

    def state(self) -> State:
        """Return all that the future depends on, copied."""
        return {name: getattr(self._plane, name).copy() for name in STATE}

    def restore(self, state: State) -> None:
        """Go back to a state of a batch of the same task and number of copies.

        Raises:
            TenfoldError: if a field is missing or has another shape.
        """
        write_state(self._plane, state, STATE, spec=self._spec)
        look_all(self._plane)


# Loops over copies; numbers in brackets are those of the rules


@within
def _random(plane: Any, copy: Whole) -> Any:
    """Return a number in [-1, 1)."""
    return np.float64(draw(plane.random, copy) >> np.uint64(11)) * (2.0 / 2**53) - 1.0


@within
def _look(plane: Any, copy: Whole) -> None:
    """Write what the agents of a copy see (7)."""
    agents = plane.place.shape[1]
    for agent in range(agents):
        seen = plane.seen[copy, agent]
        for k in range(2):
            here = plane.place[copy, agent, k]
            seen[k] = plane.speed[copy, agent, k]
            seen[2 + k] = here
            for mark in range(agents):
                seen[4 + 2 * mark + k] = plane.mark[copy, mark, k] - here
            slot = 4 + 2 * agents + k
            for other in range(agents):
                if other != agent:
                    seen[slot] = plane.place[copy, other, k] - here
                    slot += 2


@within
def _gap(a: Any, b: Any) -> Any:
    return np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)


@within
def _gather_forces(plane: Any, copy: Whole, actions: Any) -> None:
    """Write the forces on all agents (2, 3)."""
    place, push = plane.place[copy], plane.push
    agents = len(place)
    for agent in range(agents):
        action = actions[agent]
        push[agent, 0] = FORCE * ((action == 2) - (action == 1))
        push[agent, 1] = FORCE * ((action == 4) - (action == 3))
    for a in range(agents):
        for b in range(a + 1, agents):
            gap = _gap(place[a], place[b])
            depth = (TOUCH - gap) / MARGIN
            # Agents far apart push with less than any number can tell; at one place nowhere.
            if depth < -700.0 or gap == 0.0:
                continue
            force = max(depth, 0.0) + np.log1p(np.exp(-abs(depth)))
            for k in range(2):
                part = HARDNESS * MARGIN * force * (place[a, k] - place[b, k]) / gap
                push[a, k] += part
                push[b, k] -= part


@within
def _pay(plane: Any, copy: Whole) -> None:
    """Write the rewards of a copy (5)."""
    place = plane.place[copy]
    agents = len(place)
    missed = 0.0
    for mark in range(agents):
        nearest = np.inf
        for agent in range(agents):
            nearest = min(nearest, _gap(place[agent], plane.mark[copy, mark]))
        missed += nearest
    for agent in range(agents):
        touching = 0
        for other in range(agents):
            if other != agent and _gap(place[agent], place[other]) < TOUCH:
                touching += 1
        plane.reward[copy, agent] = -0.5 * missed - 0.5 * touching


@bare
def begin_episodes(plane: Any, chosen: Any) -> None:
    """Begin episodes in the copies of a mask [B] (1)."""
    for copy in range(len(chosen)):
        if not chosen[copy]:
            continue
        for agent in range(plane.place.shape[1]):
            for k in range(2):
                plane.place[copy, agent, k] = _random(plane, copy)
                plane.mark[copy, agent, k] = _random(plane, copy)
                plane.speed[copy, agent, k] = 0.0
        plane.steps[copy] = 0
        _look(plane, copy)


@bare
def step_all(plane: Any, actions: Any) -> None:
    """Take a step in all copies (4, 6); actions are [B, N]."""
    for copy in range(len(actions)):
        _gather_forces(plane, copy, actions[copy])
        for agent in range(plane.place.shape[1]):
            for k in range(2):
                speed = plane.speed[copy, agent, k]
                plane.place[copy, agent, k] += PERIOD * speed
                plane.speed[copy, agent, k] = KEPT * speed + PERIOD * plane.push[agent, k]
        plane.steps[copy] += 1
        plane.truncated[copy] = plane.steps[copy] >= LIMIT
        _pay(plane, copy)
        _look(plane, copy)


@bare
def look_all(plane: Any) -> None:
    """Write what all agents see."""
    for copy in range(len(plane.steps)):
        _look(plane, copy)
