"""Steps of many copies collected into blocks, with what memories need (rooms triad, vdn, ctf).

    place = begin(batch, state={"hidden": np.zeros((copies, agents, 32), np.float32)})
    block, place = collect(batch, policy, place, steps=8)

A copy that ended is reset at once, its memory set to zero, and its final observation kept apart:
in the block, the observation that follows an end is the first one of the next episode.
"""

# B copies, N agents, A actions, T steps of a block, E events, F episodes that ended in a block

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec, Bools, EnvBatch, Floats, Ints, Step

Memory = Mapping[str, NDArray[Any] | Tensor]
"""State of a policy by name, each [B, ...]; all zero where an episode begins."""


class Seen(NamedTuple):
    """What a policy is shown before a step; it must not write to it."""

    observation: NDArray[Any]
    """[B, N, *shape]."""
    legal: Bools | None
    """[B, N, A], None: all of an agent's own."""
    alive: Bools
    """[B, N]."""
    begun: Bools
    """[B], whether this is the first observation of an episode."""


class Choice(NamedTuple):
    """What a policy answers."""

    actions: Ints
    """[B, N]."""
    memory: Memory
    """After this observation."""
    extra: Mapping[str, NDArray[Any]] | None = None
    """More to keep of this step by name, each [B, ...], the same names at all steps."""


class Policy(Protocol):
    """Chooses an action for every agent of every copy."""

    def __call__(self, seen: Seen, memory: Memory, step: int) -> Choice:
        """Choose; `step` counts calls over the whole run, for schedules and named streams."""


class Finals(NamedTuple):
    """Where episodes ended in a block and what was seen last, in order of time and copy."""

    time: Ints
    """[F], the step that ended it, 0 .. T - 1."""
    copy: Ints
    """[F]."""
    observation: NDArray[Any]
    """[F, N, *shape]."""
    legal: Bools | None
    """[F, N, A]."""
    alive: Bools
    """[F, N]."""


class Episodes(NamedTuple):
    """What became of the episodes that ended in a block, in the order of `Finals`."""

    copy: Ints
    """[F]."""
    reward: NDArray[np.float64]
    """[F, N], undiscounted sum of each agent's rewards."""
    length: Ints
    """[F], steps."""
    events: Ints
    """[F, N, E], how often each event happened."""

    @property
    def team(self) -> NDArray[np.float64]:
        """[F], sum over agents."""
        total: NDArray[np.float64] = self.reward.sum(axis=1)
        return total


class Block(NamedTuple):
    """T steps of all copies."""

    observation: NDArray[Any]
    """[T + 1, B, N, *shape], before each step and after the last."""
    action: Ints
    """[T, B, N]."""
    reward: Floats
    """[T, B, N], each agent's own."""
    terminated: Bools
    """[T, B]."""
    truncated: Bools
    """[T, B]."""
    alive: Bools
    """[T + 1, B, N], before each step and after the last."""
    legal: Bools | None
    """[T + 1, B, N, A]."""
    events: NDArray[np.int32] | None
    """[T, B, N, E]."""
    memory: Memory
    """[B, ...], before the first observation of the block, copied."""
    extra: Mapping[str, NDArray[Any]]
    """[T, B, ...], what the policy gave besides."""
    finals: Finals
    episodes: Episodes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """Where a batch and its policy stand between two blocks."""

    seen: Seen
    memory: Memory
    step: int
    """Steps done."""
    reward: NDArray[np.float64]
    """[B, N], sum over the episode that runs."""
    length: Ints
    """[B], its steps."""
    events: Ints
    """[B, N, E], its events."""


def begin(batch: EnvBatch, *, memory: Memory | None = None, step: int = 0) -> Place:
    """Begin new episodes in all copies.

    Args:
        batch: what to run.
        memory: of the policy at the beginning of an episode, all zero; only shapes count.
        step: number of the first step.
    """
    spec = batch.spec
    observation = batch.reset().copy()
    agents = (spec.copies, len(spec.agents))
    seen = Seen(
        observation=observation,
        legal=_copy(batch.legal()),
        alive=np.ones(agents, np.bool_),
        begun=np.ones(spec.copies, np.bool_),
    )
    return Place(
        seen=seen,
        memory=forget(memory or {}, seen.begun),
        step=step,
        reward=np.zeros(agents),
        length=np.zeros(spec.copies, np.int64),
        events=np.zeros((*agents, len(spec.events)), np.int64),
    )


def collect(batch: EnvBatch, policy: Policy, place: Place, *, steps: int) -> tuple[Block, Place]:
    """Take `steps` steps in all copies, from `place` on.

    Returns:
        The block, and where batch and policy stand after it.
    """
    spec, seen, memory = batch.spec, place.seen, place.memory
    first = {name: _copy_memory(value) for name, value in memory.items()}
    block = _Block(spec, seen, steps=steps)
    tally = _Tally(place)
    for t in range(steps):
        choice = policy(seen, memory, place.step + t)
        actions = np.asarray(choice.actions, np.int64)
        assert actions.shape == seen.alive.shape, f"actions {actions.shape}, not {seen.alive.shape}"
        step = batch.step(actions)
        block.keep(t, actions, step, choice.extra or {})
        ended = step.terminated | step.truncated
        tally.add(step, ended)
        memory = choice.memory
        if ended.any():
            block.keep_finals(t, step, ended)
            memory = forget(memory, ended)
        seen = block.show(t + 1, _next(batch, step, ended))
    after = Place(
        seen=seen,
        memory=memory,
        step=place.step + steps,
        reward=tally.reward,
        length=tally.length,
        events=tally.events,
    )
    return block.end(first, tally.episodes()), after


def _next(batch: EnvBatch, step: Step, ended: Bools) -> Seen:
    """Return what is seen after a step, once copies that ended have begun anew."""
    if not ended.any():
        return Seen(step.observation, step.legal, step.alive, ended)
    observation = batch.reset(ended)
    return Seen(observation, batch.legal(), step.alive | ended[:, None], ended)


def forget(memory: Memory, mask: Bools) -> Memory:
    """Return a memory that is zero in the copies of a mask [B]; the one given stays as it is."""
    fresh: dict[str, NDArray[Any] | Tensor] = {}
    for name, value in memory.items():
        assert len(value) == len(mask), f"memory {name} has {len(value)} rows, not {len(mask)}"
        tail = (1,) * (value.ndim - 1)
        if isinstance(value, Tensor):
            where = torch.from_numpy(mask).to(value.device).view(-1, *tail)
            fresh[name] = value.detach().masked_fill(where, 0)
        else:
            fresh[name] = np.where(mask.reshape(-1, *tail), value.dtype.type(0), value)
    return fresh


def _copy(legal: Bools | None) -> Bools | None:
    return None if legal is None else legal.copy()


def _copy_memory(value: NDArray[Any] | Tensor) -> NDArray[Any] | Tensor:
    return value.detach().clone() if isinstance(value, Tensor) else value.copy()


class _Block:
    """A block that is being filled."""

    def __init__(self, spec: BatchSpec, seen: Seen, *, steps: int) -> None:
        agents = (spec.copies, len(spec.agents))
        self.observation = np.empty((steps + 1, *seen.observation.shape), spec.dtype)
        self.action = np.empty((steps, *agents), np.int64)
        self.reward = np.empty((steps, *agents), np.float32)
        self.terminated = np.empty((steps, spec.copies), np.bool_)
        self.truncated = np.empty((steps, spec.copies), np.bool_)
        self.alive = np.empty((steps + 1, *agents), np.bool_)
        self.legal = None if seen.legal is None else np.empty((steps + 1, *seen.legal.shape), bool)
        kinds = len(spec.events)
        self.events = np.zeros((steps, *agents, kinds), np.int32) if kinds else None
        self.extra: dict[str, NDArray[Any]] = {}
        self.steps = steps
        self.finals: list[Finals] = []
        self.show(0, seen)

    def show(self, t: int, seen: Seen) -> Seen:
        """Keep what is seen before step `t`, and return it as it lies here."""
        self.observation[t], self.alive[t] = seen.observation, seen.alive
        self._agree(seen.legal)
        if self.legal is None:
            return Seen(self.observation[t], None, self.alive[t], seen.begun)
        self.legal[t] = seen.legal
        return Seen(self.observation[t], self.legal[t], self.alive[t], seen.begun)

    def _agree(self, legal: Bools | None) -> None:
        if (self.legal is None) != (legal is None):
            raise TenfoldError(
                "the environment tells which actions are legal at some steps and not at others; "
                f"{'not at this one' if legal is None else 'at this one'}, unlike before: "
                "let it tell them always or never"
            )

    def keep(self, t: int, actions: Ints, step: Step, extra: Mapping[str, NDArray[Any]]) -> None:
        """Keep what was done at step `t` and came of it."""
        self.action[t], self.reward[t] = actions, step.reward
        self.terminated[t], self.truncated[t] = step.terminated, step.truncated
        if self.events is not None and step.events is not None:
            self.events[t] = step.events
        if t == 0:
            self.extra = {
                name: np.empty((self.steps, *value.shape), value.dtype)
                for name, value in extra.items()
            }
        for name, value in extra.items():
            self.extra[name][t] = value

    def keep_finals(self, t: int, step: Step, ended: Bools) -> None:
        """Keep what was seen last where an episode ended at step `t`."""
        self._agree(step.legal)
        copy = np.flatnonzero(ended)
        self.finals.append(
            Finals(
                time=np.full(len(copy), t, np.int64),
                copy=copy,
                observation=step.observation[ended],
                legal=None if step.legal is None else step.legal[ended],
                alive=step.alive[ended],
            )
        )

    def end(self, memory: Memory, episodes: Episodes) -> Block:
        """Return the block as plain arrays."""
        none = Finals(
            time=np.empty(0, np.int64),
            copy=np.empty(0, np.int64),
            observation=self.observation[0, :0],
            legal=None if self.legal is None else self.legal[0, :0],
            alive=self.alive[0, :0],
        )
        return Block(
            observation=self.observation,
            action=self.action,
            reward=self.reward,
            terminated=self.terminated,
            truncated=self.truncated,
            alive=self.alive,
            legal=self.legal,
            events=self.events,
            memory=memory,
            extra=self.extra,
            finals=_join([none, *self.finals]),
            episodes=episodes,
        )


def _join(parts: list[Finals]) -> Finals:
    legal = [part.legal for part in parts if part.legal is not None]
    return Finals(
        time=np.concatenate([part.time for part in parts]),
        copy=np.concatenate([part.copy for part in parts]),
        observation=np.concatenate([part.observation for part in parts]),
        legal=np.concatenate(legal) if legal else None,
        alive=np.concatenate([part.alive for part in parts]),
    )


class _Tally:
    """Sums over the episodes that run, and those that ended."""

    def __init__(self, place: Place) -> None:
        self.reward = place.reward.copy()
        self.length = place.length.copy()
        self.events = place.events.copy()
        self._ended: list[Episodes] = []
        self._take(np.zeros(len(self.length), np.bool_))

    def add(self, step: Step, ended: Bools) -> None:
        """Add a step; where it ended an episode, put the sums aside and begin with zero."""
        self.reward += step.reward
        self.length += 1
        if step.events is not None:
            self.events += step.events
        if ended.any():
            self._take(ended)
            self.reward[ended], self.length[ended], self.events[ended] = 0, 0, 0

    def _take(self, ended: Bools) -> None:
        copy = np.flatnonzero(ended)
        sums = self.reward[ended], self.length[ended], self.events[ended]
        self._ended.append(Episodes(copy, *sums))

    def episodes(self) -> Episodes:
        """Return all that ended."""
        return Episodes(
            copy=np.concatenate([part.copy for part in self._ended]),
            reward=np.concatenate([part.reward for part in self._ended]),
            length=np.concatenate([part.length for part in self._ended]),
            events=np.concatenate([part.events for part in self._ended]),
        )


# Saving


def save_place(place: Place) -> dict[str, NDArray[Any]]:
    """Return a place as arrays, copied; the batch has a state of its own."""
    memory = {
        f"memory/{name}": value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        for name, value in place.memory.items()
    }
    named = {name: value for name, value in place.seen._asdict().items() if value is not None}
    sums = {"reward": place.reward, "length": place.length, "events": place.events}
    arrays = memory | named | sums | {"step": np.array(place.step)}
    return {name: np.array(value) for name, value in arrays.items()}


def load_place(arrays: Mapping[str, NDArray[Any]], *, like: Place) -> Place:
    """Return a place from arrays that `save_place` gave.

    Args:
        arrays: by name.
        like: a place of an equal batch and policy, as `begin` gives it: it says which memories
            there are and on which device.
    """
    memory: dict[str, NDArray[Any] | Tensor] = {}
    for name, value in like.memory.items():
        saved = arrays[f"memory/{name}"].copy()
        is_tensor = isinstance(value, Tensor)
        memory[name] = torch.from_numpy(saved).to(value.device) if is_tensor else saved
    seen = Seen(
        observation=arrays["observation"].copy(),
        legal=_copy(arrays.get("legal")),
        alive=arrays["alive"].copy(),
        begun=arrays["begun"].copy(),
    )
    return Place(
        seen=seen,
        memory=memory,
        step=int(arrays["step"].item()),
        reward=arrays["reward"].copy(),
        length=arrays["length"].copy(),
        events=arrays["events"].copy(),
    )
