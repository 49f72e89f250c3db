"""Which items of a replay are drawn: all alike, or by priority (rooms triad, vdn).

Items live in slots that form a circle, and come and go in the order of the circle. Prioritised
replay is that of Schaul et al. 2016 (arXiv:1511.05952): item i is drawn with probability
P(i) = p_i^a / sum_j p_j^a, where p_i = |error_i| + floor, and weighs (1 / (N P(i)))^b divided by
the largest weight, of the batch or of all items. Differs from it: draws are independent and not
one from each stratum, so that a = 0 is uniform sampling, draw by draw; and a new item's priority
is the largest of those in the replay, not of those ever seen, so that one wild error is forgotten
when its item goes.
"""

# K lanes, S slots in a circle, B drawn in each lane

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.rl import sum_tree

Ints = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]

SMALLEST, LARGEST = 1e-100, 1e100
"""Range of p^a: sums of any number of items stay finite, and no item vanishes."""


class Drawn(NamedTuple):
    """What was drawn from each lane."""

    slot: Ints
    """[K, B]."""
    weight: NDArray[np.float32]
    """[K, B], in [0, 1]."""


class Chooser(Protocol):
    """Knows which slots can be drawn and how likely each is."""

    @property
    def count(self) -> Ints:
        """[K], items that can be drawn."""

    def grow(self, amount: Ints) -> None:
        """Let the next `amount` [K] slots of the circle be drawn."""

    def shrink(self, amount: Ints) -> None:
        """Let the oldest `amount` [K] slots no longer be drawn."""

    def draw(self, uniform: NDArray[np.float64], *, correction: Any = 0.0) -> Drawn:
        """Draw with numbers [K, B] in [0, 1), with replacement, from lanes that are not empty."""

    def learn(self, slot: Ints, error: NDArray[Any]) -> None:
        """Take note of the errors [K, B] that items were found to have."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that later draws depend on, copied."""

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""


class _Circle:
    """Where the items of each lane begin and how many there are."""

    def __init__(self, lanes: int, slots: int) -> None:
        self.slots = slots
        self.first, self.count = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)

    def grow(self, amount: Ints) -> Ints:
        """Return the slot in which each lane's new items begin."""
        begin: Ints = (self.first + self.count) % self.slots
        self.count = self.count + amount
        assert (self.count <= self.slots).all(), f"{self.count} items in {self.slots} slots"
        return begin

    def shrink(self, amount: Ints) -> Ints:
        """Return the slot in which each lane's items that go begin."""
        begin = self.first
        self.first = (self.first + amount) % self.slots
        self.count = self.count - amount
        assert (self.count >= 0).all(), f"{amount} items taken from {self.count + amount}"
        return begin

    def state(self) -> dict[str, NDArray[Any]]:
        return {"first": self.first.copy(), "count": self.count.copy()}

    def restore(self, state: Arrays) -> None:
        self.first, self.count = state["first"].copy(), state["count"].copy()


class Uniform:
    """All items alike."""

    def __init__(self, *, lanes: int, slots: int) -> None:
        self._circle = _Circle(lanes, slots)

    @property
    def count(self) -> Ints:
        """[K], items that can be drawn."""
        return self._circle.count

    def grow(self, amount: Ints) -> None:
        """Let the next `amount` [K] slots of the circle be drawn."""
        self._circle.grow(amount)

    def shrink(self, amount: Ints) -> None:
        """Let the oldest `amount` [K] slots no longer be drawn."""
        self._circle.shrink(amount)

    def draw(self, uniform: NDArray[np.float64], *, correction: Any = 0.0) -> Drawn:  # noqa: ARG002
        """Draw with numbers [K, B] in [0, 1); a correction is not called for."""
        first, count = self._circle.first[:, None], self._circle.count[:, None]
        assert (count > 0).all(), "a lane with no item"
        order = (uniform * count).astype(np.int64)
        # By slot and not by age, so that priorities that are all equal draw the same items.
        wrapped = np.maximum(first + count - self._circle.slots, 0)
        slot = np.where(order < wrapped, order, first + order - wrapped)
        return Drawn(slot, np.ones(slot.shape, np.float32))

    def learn(self, slot: Ints, error: NDArray[Any]) -> None:
        """Do nothing: errors are of no account."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that later draws depend on, copied."""
        return self._circle.state()

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        self._circle.restore(state)


class Prioritised:
    """Items with large errors more often.

    Args:
        lanes: K.
        slots: S.
        exponent: a, 0 or more, one for all lanes or one each; 0: as `Uniform`, to the same slots.
        floor: added to absolute errors, above 0.
        normaliser: whether weights are divided by the largest one of the batch or of all items.
    """

    def __init__(
        self,
        *,
        lanes: int,
        slots: int,
        exponent: float | Sequence[float] | NDArray[np.float64] = 0.6,
        floor: float = 1e-6,
        normaliser: Literal["batch", "buffer"] = "batch",
    ) -> None:
        self.exponent = np.broadcast_to(np.asarray(exponent, np.float64), (lanes,))[:, None]
        assert (self.exponent >= 0).all(), f"exponent {exponent} is below 0"
        assert floor > 0, f"floor {floor}: an item without error would never be drawn"
        self.floor, self.normaliser = floor, normaliser
        self._circle = _Circle(lanes, slots)
        self._trees = sum_tree.new_trees(lanes, slots=slots)

    @property
    def count(self) -> Ints:
        """[K], items that can be drawn."""
        return self._circle.count

    def grow(self, amount: Ints) -> None:
        """Let the next `amount` [K] slots be drawn, at the lane's largest priority."""
        sum_tree.enter(self._trees, self._circle.grow(amount), amount, self._circle.slots)

    def shrink(self, amount: Ints) -> None:
        """Let the oldest `amount` [K] slots no longer be drawn."""
        sum_tree.leave(self._trees, self._circle.shrink(amount), amount, self._circle.slots)

    def draw(self, uniform: NDArray[np.float64], *, correction: Any = 0.0) -> Drawn:
        """Draw with numbers [K, B] in [0, 1).

        Args:
            uniform: independent of one another.
            correction: b, in [0, 1], one for all lanes or one each; 0: all weights are 1.
        """
        assert (self.count > 0).all(), "a lane with no item"
        slot = np.empty(uniform.shape, np.int64)
        # Multiplied here: fused with the loop's subtractions it would be rounded in other ways.
        sum_tree.find(self._trees, uniform * self._trees.total[:, 1:2], slot)
        size = np.take_along_axis(self._leaves(), slot, axis=1)
        buffer = self.normaliser == "buffer"
        least = self._trees.least[:, 1:2] if buffer else size.min(axis=1, keepdims=True)
        power = np.broadcast_to(np.asarray(correction, np.float64), (len(slot),))[:, None]
        return Drawn(slot, ((least / size) ** power).astype(np.float32))

    def learn(self, slot: Ints, error: NDArray[Any]) -> None:
        """Set the priorities of slots [K, B] from errors [K, B]; infinite and NaN is large.

        Slots that can no longer be drawn are passed over.
        """
        with np.errstate(over="ignore"):
            size = (np.abs(error.astype(np.float64)) + self.floor) ** self.exponent
        size = np.nan_to_num(size, nan=LARGEST, posinf=LARGEST).clip(SMALLEST, LARGEST)
        sum_tree.revise(self._trees, slot, size)

    def probabilities(self) -> NDArray[np.float64]:
        """Return how likely each slot is drawn, [K, S]."""
        return self._leaves() / self._trees.total[:, 1:2]

    def _leaves(self) -> NDArray[np.float64]:
        half = self._trees.total.shape[1] // 2
        return self._trees.total[:, half : half + self._circle.slots]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that later draws depend on, copied."""
        return self._circle.state() | {"size": self._leaves().copy()}

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        self._circle.restore(state)
        self._leaves()[:] = state["size"]
        sum_tree.rebuild(self._trees)
