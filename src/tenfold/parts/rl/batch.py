"""Many copies of one environment as arrays: the one shape that games, adapters and loops share.

B copies, N agents, A actions (of the agent with most), E kinds of events. An environment with one
agent has N = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
State = Mapping[str, NDArray[Any]]
"""Everything that the future of a batch depends on, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSpec:
    """What a batch looks like; nothing here changes while it runs."""

    name: str
    copies: int
    """B."""
    agents: tuple[str, ...]
    """Names, N of them."""
    actions: tuple[int, ...]
    """Actions of each agent; arrays have room for the most, A."""
    shape: tuple[int, ...]
    """Of one agent's observation; smaller ones are filled up with zeros."""
    dtype: str
    """Of observations: uint8 or float32."""
    sizes: tuple[int, ...]
    """Numbers in each agent's own observation before it is filled up."""
    events: tuple[str, ...] = ()
    """Names of what `Step.events` counts, such as pick-up."""
    action_names: tuple[str, ...] = field(default=(), kw_only=True)
    """Names of the actions, where there are any."""
    repeatable: bool = True
    """Whether `state` and `restore` are exact."""

    def __post_init__(self) -> None:
        assert self.dtype in ("uint8", "float32"), f"observations of {self.dtype}"
        assert len(self.actions) == len(self.agents) == len(self.sizes), "one for each agent"


class Step(NamedTuple):
    """What one step of all copies gives; arrays may be written over by the next one."""

    observation: NDArray[Any]
    """[B, N, *shape], after the step; of a copy that ended, its final one."""
    reward: Floats
    """[B, N], each agent's own."""
    terminated: Bools
    """[B], the episode came to an end of its own: nothing follows."""
    truncated: Bools
    """[B], a time limit cut it: values go on behind it."""
    alive: Bools
    """[B, N], whether an agent still takes part."""
    legal: Bools | None
    """[B, N, A], actions that may be chosen next; None: all of an agent's own."""
    events: NDArray[np.int32] | None
    """[B, N, E], how often each event happened to each agent in this step; None: not told."""


class EnvBatch(Protocol):
    """B copies of one environment.

    A copy that ended is not reset by `step`; whoever runs the batch resets it by its mask before
    the next step, so that the final observation is never lost.
    """

    @property
    def spec(self) -> BatchSpec:
        """What the batch looks like."""

    def reset(self, mask: Bools | None = None) -> NDArray[Any]:
        """Begin new episodes in the copies of a mask [B], None: in all; all agents take part.

        Returns:
            Observations of all copies, [B, N, *shape].
        """

    def legal(self) -> Bools | None:
        """Return the actions that may be chosen now, [B, N, A]; None: all of an agent's own.

        It is None either always or never.
        """

    def step(self, actions: Ints) -> Step:
        """Take one action an agent, [B, N] within 0..A-1; agents that are dead are ignored."""

    def state(self) -> State:
        """Return all that the future depends on, copied."""

    def restore(self, state: State) -> None:
        """Go back to a state of an equal batch.

        Raises:
            TenfoldError: if the environment cannot do that.
        """


def write_state(arrays: Any, state: State, names: Sequence[str], *, spec: BatchSpec) -> None:
    """Write a saved state into the arrays of a batch: all of it, or nothing.

    Args:
        arrays: has the arrays as attributes.
        state: from an equal batch.
        names: of what a state consists of.
        spec: of the batch, for messages.

    Raises:
        TenfoldError: if an array is missing or has another shape.
    """
    for name in names:
        here = getattr(arrays, name)
        given = state[name].shape if name in state else None
        if given != here.shape:
            raise TenfoldError(
                f"a state of {spec.name} whose {name} is of shape {given}, the batch has "
                f"{here.shape}; restore it into a batch of the same task and number of copies"
            )
    for name in names:
        getattr(arrays, name)[:] = state[name]
