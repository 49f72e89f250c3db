"""Single steps kept in a ring, and n-step returns drawn from them (rooms triad, ctf).

    replay = Transitions(spec, seeds=seeds, capacity=10_000, steps=3, gamma=0.99)
    replay.write(block)
    batch = replay.sample(update, batch=32)

A stack of K lanes (teams, settings, seeds) has one replay with room for all: copy b of a block
belongs to lane b // C. What a lane draws depends on its own seed and steps, not on its company.
Observations of bytes stay bytes, and each is kept once: the one after a step is the one before
the next step, except where a time limit cut the episode; what was seen last there lies on a shelf.
"""

# K lanes, C copies in each, N agents, A actions, R rows of a ring, S slots, B drawn, T steps

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
from tenfold.parts.rl.rollout import Block
from tenfold.parts.rl.sampling import Uniform
from tenfold.parts.rl.shelf import NOWHERE


class Batch(NamedTuple):
    """n-step returns; the target is reward + discount * value of what follows."""

    slot: Ints
    """[K, B], for `learn`."""
    weight: Floats
    """[K, B]."""
    observation: NDArray[Any]
    """[K, B, N, *shape]."""
    action: Ints
    """[K, B, N]."""
    reward: Floats
    """[K, B, N] or [K, B], discounted sum over the steps taken."""
    discount: Floats
    """[K, B], gamma^length; 0 where the episode terminated on the way."""
    length: Ints
    """[K, B], steps taken."""
    next_observation: NDArray[Any]
    """[K, B, N, *shape], after the last step taken; of a cut episode the final one."""
    alive: Bools
    """[K, B, N]."""
    next_alive: Bools
    """[K, B, N]."""
    legal: Bools | None
    """[K, B, N, A], where they are kept."""
    next_legal: Bools | None
    """[K, B, N, A]."""


class Transitions:
    """Single steps, from which n-step returns are assembled when they are drawn.

    A step can be drawn once the n - 1 steps after it are there, and until its row is overwritten.

    Args:
        spec: of the batch that blocks come from, with K C copies.
        seeds: of the lanes, K of them.
        capacity: steps kept of each lane, rounded down to a multiple of C.
        steps: n, one for all lanes or one each.
        gamma: discount of one step, one for all lanes or one each.
        pay: which rewards are kept.
        legal: whether blocks come with legal actions, which are kept then.
        choose: how items are drawn.
        name: of the random streams.

    Raises:
        TenfoldError: if the capacity has no room for one return.
    """

    def __init__(
        self,
        spec: BatchSpec,
        *,
        seeds: Sequence[int],
        capacity: int,
        steps: int | Sequence[int] = 1,
        gamma: float | Sequence[float] = 0.99,
        pay: ring.Pay = "agents",
        legal: bool = False,
        choose: ring.MakeChooser = Uniform,
        name: str = "replay",
    ) -> None:
        lanes = len(seeds)
        self.seeds, self.pay = tuple(seeds), pay
        self.copies = ring.copies_of(spec, lanes=lanes)
        self.steps = np.full(lanes, steps, np.int64)
        self.gamma = np.full(lanes, gamma, np.float64)
        assert (self.steps >= 1).all(), f"returns of {steps} steps"
        self.rows = capacity // self.copies
        if self.rows < self.steps.max():
            raise TenfoldError(
                f"a replay of {capacity} steps has room for {self.rows} of each of "
                f"{self.copies} copies, and returns take {self.steps.max()}; give a capacity of "
                f"{self.copies * self.steps.max()} or more"
            )
        # One row more: the observations after the newest step.
        shape = (lanes, self.rows + 1, self.copies)
        own = (len(spec.agents),) if pay == "agents" else ()
        self._seen = ring.new_seen(spec, shape, legal=legal)
        self._action = np.zeros((*shape, len(spec.agents)), ring.action_type(spec))
        self._reward = np.zeros((*shape, *own), np.float32)
        self._ended = np.zeros(shape, np.uint8)
        self._final = np.full(shape, NOWHERE, np.int64)
        self._shelf = ring.new_shelf(self._seen, dimensions=3)
        self._written = 0
        self._draws = Draws(seeds, name, shape=(0,))
        self.chooser = choose(lanes=lanes, slots=(self.rows + 1) * self.copies)

    @property
    def count(self) -> Ints:
        """[K], steps that can be drawn."""
        return self.chooser.count

    def write(self, block: Block) -> None:
        """Add the steps of a block, which begins where the one before ended.

        Raises:
            TenfoldError: if the block is longer than the ring.
        """
        ring.check_legal(self._seen, block)
        steps, before = len(block.action), self._written
        if steps + self.steps.max() - 1 > self.rows:
            raise TenfoldError(
                f"a block of {steps} steps does not fit a replay with {self.rows} for each copy "
                f"and returns of {self.steps.max()}; collect fewer steps, or give a capacity of "
                f"{self.copies * (steps + self.steps.max() - 1)} or more"
            )
        places = (before + np.arange(steps + 1)) % (self.rows + 1)
        for name, array in self._seen.items():
            array[:, places] = self._by_lane(getattr(block, name))
        rows = places[:-1]
        self._action[:, rows] = self._by_lane(block.action)
        self._reward[:, rows] = self._by_lane(ring.paid(block, self.pay))
        self._ended[:, rows] = self._by_lane(ring.codes(block))
        self._shelf.drop(self._final[:, rows])
        self._final[:, rows] = NOWHERE
        time, copy, numbers = ring.shelve(self._shelf, block)
        self._final[copy // self.copies, rows[time], copy % self.copies] = numbers
        self._written += steps
        gone = max(0, self._written - self.rows) - max(0, before - self.rows)
        come = self._drawable(self._written) - self._drawable(before)
        self.chooser.shrink(np.full(len(self.seeds), gone * self.copies, np.int64))
        self.chooser.grow(come * self.copies)

    def break_off(self) -> None:
        """Cut episodes after the newest step, so that blocks may go on with new ones."""
        if not self._written:
            return
        row, ahead = (self._written - 1) % (self.rows + 1), self._written % (self.rows + 1)
        lane, copy = np.nonzero(self._ended[:, row] == kernels.RUNNING)
        self._ended[lane, row, copy] = kernels.TRUNCATED
        seen = {name: array[lane, ahead, copy] for name, array in self._seen.items()}
        self._final[lane, row, copy] = self._shelf.put(seen)

    def _drawable(self, written: int) -> Ints:
        """Return how many rows have had, [K], as many after them as returns take."""
        return np.maximum(0, written + 1 - self.steps)

    def _by_lane(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return [T, K C, ...] as [K, T, C, ...]."""
        shape = (len(array), len(self.seeds), self.copies, *array.shape[2:])
        return array.reshape(shape).swapaxes(0, 1)

    def sample(self, step: int, *, batch: int, correction: Any = 0.0) -> Batch:
        """Draw B returns from each lane.

        Args:
            step: number of the draw, which names its random stream.
            batch: B.
            correction: exponent b of importance weights, one for all lanes or one each.

        Raises:
            TenfoldError: if a lane has nothing to draw yet.
        """
        self._draws = ring.with_shape(self._draws, batch)
        drawn = ring.draw(self.chooser, self._draws, step, correction)
        lanes, slots = self.chooser.count.size, (self.rows + 1) * self.copies
        reward = self._reward.reshape(lanes, slots, -1)
        out = kernels.new_assembled(lanes, batch=batch, rewards=reward.shape[2])
        kernels.assemble(
            out,
            reward,
            self._ended.reshape(lanes, slots),
            drawn.slot,
            self.copies,
            self.steps,
            self.gamma,
        )
        now = {name: ring.take(array, drawn.slot) for name, array in self._seen.items()}
        after = (out.last + self.copies) % slots
        then = {name: ring.take(array, after) for name, array in self._seen.items()}
        number = ring.take(self._final, out.last)
        cut = number != NOWHERE
        for name, array in then.items():
            array[cut] = self._shelf.arrays[name][number[cut]]
        return Batch(
            slot=drawn.slot,
            weight=drawn.weight,
            observation=now["observation"],
            action=ring.take(self._action, drawn.slot).astype(np.int64),
            reward=out.reward.reshape(lanes, batch, *self._reward.shape[3:]).astype(np.float32),
            discount=out.discount.astype(np.float32),
            length=out.length,
            next_observation=then["observation"],
            alive=now["alive"],
            next_alive=then["alive"],
            legal=now.get("legal"),
            next_legal=then.get("legal"),
        )

    def learn(self, slot: Ints, error: NDArray[Any]) -> None:
        """Take note of the errors [K, B] that drawn steps were found to have."""
        self.chooser.learn(slot, error)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        own = {"action": self._action, "reward": self._reward, "ended": self._ended}
        return self._seen | own | {"final": self._final}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that later draws depend on, copied."""
        return ring.save(self._arrays(), self._shelf, self.chooser, self._written)

    def restore(self, state: ring.Arrays) -> None:
        """Go back to a state of an equal replay.

        Raises:
            TenfoldError: if the replay is another one.
        """
        self._written = ring.load(state, self._arrays(), self._shelf, self.chooser)
