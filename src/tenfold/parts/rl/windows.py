"""Sequences of steps kept whole, with the memory that a policy had before them (rooms vdn, ctf).

    replay = Windows(spec, seeds=seeds, capacity=3_000, steps=8, memory=place.memory)
    replay.write(block)
    batch = replay.sample(update, batch=32)

A memory that starts at zero would not know what an agent carries, so that of the acting policy
is kept (Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement
learning", stored state). Where an episode ended inside a window the next one follows: a learner
sets its memory to zero there, as `rollout.collect` does.
"""

# K lanes, C copies in each, N agents, A actions, R rows of a ring, B drawn, T steps of a window

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl import replay_kernels as kernels
from tenfold.parts.rl import ring
from tenfold.parts.rl.batch import BatchSpec, Bools, Floats, Ints
from tenfold.parts.rl.draws import Draws
from tenfold.parts.rl.rollout import Block, Memory
from tenfold.parts.rl.sampling import Uniform
from tenfold.parts.rl.shelf import NOWHERE


class WindowFinals(NamedTuple):
    """What was seen last of episodes that were cut inside drawn windows, F of them."""

    lane: Ints
    """[F]."""
    row: Ints
    """[F], in 0 .. B - 1."""
    time: Ints
    """[F], step at whose end it was seen; the memory that goes with it is the one after it."""
    observation: NDArray[Any]
    """[F, N, *shape]."""
    alive: Bools
    """[F, N]."""
    legal: Bools | None
    """[F, N, A]."""


class WindowBatch(NamedTuple):
    """Windows of T steps, drawn."""

    slot: Ints
    """[K, B], for `learn` and `refresh`."""
    weight: Floats
    """[K, B]."""
    observation: NDArray[Any]
    """[K, B, T + 1, N, *shape]; after an end, the next episode's first one."""
    action: Ints
    """[K, B, T, N]."""
    reward: Floats
    """[K, B, T, N] or [K, B, T]."""
    terminated: Bools
    """[K, B, T]."""
    truncated: Bools
    """[K, B, T]."""
    alive: Bools
    """[K, B, T + 1, N]."""
    legal: Bools | None
    """[K, B, T + 1, N, A]."""
    memory: ring.Arrays
    """[K, B, ...], of the policy before the window's first observation."""
    finals: WindowFinals


class Windows:
    """Windows of T steps with T + 1 observations, each a whole block of one copy.

    Args:
        spec: of the batch that blocks come from, with K C copies.
        seeds: of the lanes, K of them.
        capacity: windows kept of each lane, rounded down to a multiple of C.
        steps: T.
        memory: of the policy as blocks have it; only shapes and types count.
        pay: which rewards are kept.
        legal: whether blocks come with legal actions, which are kept then.
        choose: how items are drawn.
        name: of the random streams.

    Raises:
        TenfoldError: if the capacity is less than one window of each copy.
    """

    def __init__(
        self,
        spec: BatchSpec,
        *,
        seeds: Sequence[int],
        capacity: int,
        steps: int = 8,
        memory: Memory | None = None,
        pay: ring.Pay = "agents",
        legal: bool = False,
        choose: ring.MakeChooser = Uniform,
        name: str = "replay",
    ) -> None:
        lanes = len(seeds)
        self.seeds, self.pay, self.steps = tuple(seeds), pay, steps
        self.copies = ring.copies_of(spec, lanes=lanes)
        self.rows = capacity // self.copies
        if self.rows < 1:
            raise TenfoldError(
                f"a replay of {capacity} windows has no room for one of each of "
                f"{self.copies} copies; give a capacity of {self.copies} or more"
            )
        shape = (lanes, self.rows, self.copies)
        own = (len(spec.agents),) if pay == "agents" else ()
        self._seen = ring.new_seen(spec, (*shape, steps + 1), legal=legal)
        self._action = np.zeros((*shape, steps, len(spec.agents)), ring.action_type(spec))
        self._reward = np.zeros((*shape, steps, *own), np.float32)
        self._ended = np.zeros((*shape, steps), np.uint8)
        self._final = np.full((*shape, steps), NOWHERE, np.int64)
        self._memory = {
            name: np.zeros((*shape, *value.shape[1:]), ring.as_array(value[:0]).dtype)
            for name, value in (memory or {}).items()
        }
        self._shelf = ring.new_shelf(self._seen, dimensions=4)
        self._written = 0
        self._draws = Draws(seeds, name, shape=(0,))
        self.chooser = choose(lanes=lanes, slots=self.rows * self.copies)

    @property
    def count(self) -> Ints:
        """[K], windows that can be drawn."""
        return self.chooser.count

    def write(self, block: Block) -> None:
        """Add a block as one window of each copy."""
        ring.check_legal(self._seen, block)
        assert len(block.action) == self.steps, f"{len(block.action)} steps, not {self.steps}"
        row = self._written % self.rows
        for name, array in self._seen.items():
            array[:, row] = self._by_copy(getattr(block, name))
        self._action[:, row] = self._by_copy(block.action)
        self._reward[:, row] = self._by_copy(ring.paid(block, self.pay))
        self._ended[:, row] = self._by_copy(ring.codes(block))
        for name, array in self._memory.items():
            value = ring.as_array(block.memory[name])
            array[:, row] = value.reshape(len(self.seeds), self.copies, *value.shape[1:])
        self._shelf.drop(self._final[:, row])
        self._final[:, row] = NOWHERE
        time, copy, numbers = ring.shelve(self._shelf, block)
        self._final[copy // self.copies, row, copy % self.copies, time] = numbers
        amount = np.full(len(self.seeds), self.copies, np.int64)
        if self._written >= self.rows:
            self.chooser.shrink(amount)
        self.chooser.grow(amount)
        self._written += 1

    def _by_copy(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return [T, K C, ...] as [K, C, T, ...]."""
        shape = (len(array), len(self.seeds), self.copies, *array.shape[2:])
        return np.moveaxis(array.reshape(shape), 0, 2)

    def sample(self, step: int, *, batch: int, correction: Any = 0.0) -> WindowBatch:
        """Draw B windows from each lane.

        Args:
            step: number of the draw, which names its random stream.
            batch: B.
            correction: exponent b of importance weights, one for all lanes or one each.

        Raises:
            TenfoldError: if a lane has nothing to draw yet.
        """
        self._draws = ring.with_shape(self._draws, batch)
        drawn = ring.draw(self.chooser, self._draws, step, correction)
        seen = {name: ring.take(array, drawn.slot) for name, array in self._seen.items()}
        number = ring.take(self._final, drawn.slot)
        lane, row, time = np.nonzero(number != NOWHERE)
        last = {name: a[number[lane, row, time]] for name, a in self._shelf.arrays.items()}
        ended = ring.take(self._ended, drawn.slot)
        return WindowBatch(
            slot=drawn.slot,
            weight=drawn.weight,
            observation=seen["observation"],
            action=ring.take(self._action, drawn.slot).astype(np.int64),
            reward=ring.take(self._reward, drawn.slot),
            terminated=ended == kernels.TERMINATED,
            truncated=ended == kernels.TRUNCATED,
            alive=seen["alive"],
            legal=seen.get("legal"),
            memory={name: ring.take(array, drawn.slot) for name, array in self._memory.items()},
            finals=WindowFinals(
                lane, row, time, last["observation"], last["alive"], last.get("legal")
            ),
        )

    def learn(self, slot: Ints, error: NDArray[Any]) -> None:
        """Take note of the errors [K, B] that drawn windows were found to have."""
        self.chooser.learn(slot, error)

    def refresh(self, slot: Ints, memory: Memory) -> None:
        """Put newer memories [K, B, ...] where windows `slot` [K, B] begin."""
        lane = np.arange(len(slot))[:, None]
        for name, array in self._memory.items():
            flat = array.reshape(len(array), -1, *array.shape[3:])
            flat[lane, slot] = ring.as_array(memory[name])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        own = {"action": self._action, "reward": self._reward, "ended": self._ended}
        memory = {f"memory/{name}": array for name, array in self._memory.items()}
        return self._seen | own | memory | {"final": self._final}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that later draws depend on, copied."""
        return ring.save(self._arrays(), self._shelf, self.chooser, self._written)

    def restore(self, state: ring.Arrays) -> None:
        """Go back to a state of an equal replay.

        Raises:
            TenfoldError: if the replay is another one.
        """
        self._written = ring.load(state, self._arrays(), self._shelf, self.chooser)
