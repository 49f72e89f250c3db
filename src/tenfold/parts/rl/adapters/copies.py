"""Single environments side by side as one batch (rooms triad, vdn, ctf).

What differs between libraries is behind `Copy`; here are the arrays, the seeds and the memory of
what was played. An episode is named by its copy's seed and its number, so it does not depend on
the episodes before it, and a batch is restored by playing the episodes that run once more.
"""

# B copies, N agents, A actions

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec, Bools, Ints, State, Step
from tenfold.parts.rl.spaces import Encoding, Moves, common_shape, own_actions


class Moment(NamedTuple):
    """What one environment gives at a reset or a step, an entry for each of its N agents."""

    observations: Sequence[Any]
    """As the library gives them; None of an agent that does not take part."""
    masks: Sequence[Any]
    """Legal actions of each agent, None: all."""
    rewards: Sequence[float]
    terminated: bool
    truncated: bool
    alive: Sequence[bool]


@contextlib.contextmanager
def blaming(name: str, what: str) -> Iterator[None]:
    """Say of an error in here that the environment raised it, and where.

    Args:
        name: of the environment.
        what: of it is called.

    Raises:
        TenfoldError: in place of any other exception.
    """
    try:
        yield
    except TenfoldError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise TenfoldError(
            f"{what} of the environment {name} raised {type(error).__name__}: {error} (line "
            f"{frame.lineno} of {frame.filename}); mend the environment"
        ) from error


class Copy(Protocol):
    """One environment, whatever library it comes from."""

    agents: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    moves: tuple[Moves, ...]

    def reset(self, seed: int) -> Moment:
        """Begin the episode that a seed names."""

    def step(self, actions: Sequence[Any]) -> Moment:
        """Take the library's own actions, one an agent; those of agents not alive are ignored."""

    def close(self) -> None:
        """Give up windows and processes."""


def settle(alive: Bools, terminated: Bools, truncated: Bools) -> tuple[bool, bool, Bools]:
    """Return how an episode goes on from what is said of each agent, all [N].

    It ends when no agent is left. If any of the last ones was cut off and did not terminate, the
    episode was truncated, and those agents are still alive in it: values go on behind them.

    Args:
        alive: before the step.
        terminated: as the library says.
        truncated: as the library says.

    Returns:
        Whether the episode terminated, whether it was truncated, and who is alive after the step.
    """
    left = alive & ~terminated & ~truncated
    cut = alive & truncated & ~terminated
    if left.any():
        return False, False, left
    return (False, True, cut) if cut.any() else (True, False, left)


class Copies:
    """A batch of environments of one kind; see `EnvBatch` for what it does.

    Args:
        copies: B of them, all with equal agents and spaces.
        name: of the environment.
        seeds: of the copies, B of them.
        time_limit: steps after which an episode is truncated; 0: as the environment has it.

    Raises:
        TenfoldError: if the copies differ.
    """

    def __init__(
        self, copies: Sequence[Copy], *, name: str, seeds: Sequence[int], time_limit: int = 0
    ) -> None:
        assert len(copies) == len(seeds) > 0, f"{len(copies)} copies with {len(seeds)} seeds"
        self.copies, self.seeds, self.time_limit = list(copies), tuple(seeds), time_limit
        self.spec = _describe(copies, name)
        spec, agents = self.spec, (len(copies), len(copies[0].agents))
        self._own = own_actions(spec)
        self._observation = np.zeros((*agents, *spec.shape), spec.dtype)
        self._reward = np.zeros(agents, np.float32)
        self._terminated = np.zeros(spec.copies, np.bool_)
        self._truncated = np.zeros(spec.copies, np.bool_)
        self._alive = np.zeros(agents, np.bool_)
        self._legal: Bools | None = None
        self._episode = np.full(spec.copies, -1, np.int64)
        self._played: list[list[Ints]] = [[] for _ in copies]

    def reset(self, mask: Bools | None = None) -> NDArray[Any]:
        """Begin new episodes in the copies of a mask [B], None: in all."""
        which = range(self.spec.copies) if mask is None else np.flatnonzero(mask).tolist()
        first = bool((self._episode < 0).all())
        moments = []
        for b in which:
            self._episode[b] += 1
            moments.append(self._begin(b))
        if first:
            self._expect_masks(moments)
        for b, moment in zip(which, moments, strict=True):
            self._show(b, moment)
        return self._observation

    def _expect_masks(self, moments: Sequence[Moment]) -> None:
        """Make room for legal actions if the first resets tell any."""
        if any(mask is not None for moment in moments for mask in moment.masks):
            self._legal = np.zeros((*self._alive.shape, max(self.spec.actions)), np.bool_)

    def _begin(self, b: int) -> Moment:
        seed = rng.key(self.seeds[b], "episode", int(self._episode[b])) % (1 << 31)
        moment = self.copies[b].reset(seed)
        self._played[b] = []
        absent = [a for a, there in zip(self.spec.agents, moment.alive, strict=True) if not there]
        if absent:
            raise TenfoldError(
                f"{self.spec.name} begins an episode without {', '.join(absent)}; all agents have "
                "to take part from the first step on: wrap it so that absent ones do nothing"
            )
        return moment

    def legal(self) -> Bools | None:
        """Return the actions that may be chosen now, [B, N, A]; None: all of an agent's own."""
        return self._legal

    def step(self, actions: Ints) -> Step:
        """Take one action an agent, [B, N]; agents that are dead are ignored."""
        assert actions.shape == self._alive.shape, f"actions {actions.shape}"
        assert not (self._terminated | self._truncated).any(), "a copy that ended was not reset"
        for b in range(self.spec.copies):
            moment = self._play(b, actions[b])
            self._reward[b] = moment.rewards
            self._show(b, moment)
        return Step(
            observation=self._observation,
            reward=self._reward,
            terminated=self._terminated,
            truncated=self._truncated,
            alive=self._alive,
            legal=self._legal,
            events=None,
        )

    def _play(self, b: int, actions: Ints) -> Moment:
        copy, chosen = self.copies[b], []
        for n, (moves, action) in enumerate(zip(copy.moves, actions.tolist(), strict=True)):
            alive = self._alive[b, n]
            assert not alive or 0 <= action < moves.count, f"action {action} of {copy.agents[n]}"
            chosen.append(moves.decode(action) if alive else None)
        moment = copy.step(chosen)
        self._played[b].append(actions.copy())
        late = self.time_limit and len(self._played[b]) >= self.time_limit
        return moment._replace(truncated=True) if late and not moment.terminated else moment

    def _show(self, b: int, moment: Moment) -> None:
        """Write what an environment gave to the arrays."""
        row = self._observation[b]
        row[:] = 0
        for n, value in enumerate(moment.observations):
            if value is not None:
                encoded = self.copies[b].encodings[n].encode(value)
                same = encoded.shape == row[n].shape
                target = row[n] if same else row[n, : encoded.size]
                target[:] = encoded if same else encoded.ravel()
        self._terminated[b], self._truncated[b] = moment.terminated, moment.truncated
        self._alive[b] = moment.alive
        if self._legal is None:
            if any(mask is not None for mask in moment.masks):
                raise TenfoldError(
                    f"{self.spec.name} gives no legal actions at its first reset and gives them "
                    "later; let it give an action_mask at every step, the reset included"
                )
            return
        self._legal[b] = self._own & self._alive[b][:, None]
        for n, mask in enumerate(moment.masks):
            if mask is not None:
                count = self.spec.actions[n]
                self._legal[b, n, :count] &= np.asarray(mask, np.bool_).reshape(count)

    def state(self) -> State:
        """Return the episodes that run and what was played in them."""
        agents = len(self.spec.agents)
        played = [actions for copy in self._played for actions in copy]
        return {
            "episode": self._episode.copy(),
            "length": np.array([len(copy) for copy in self._played], np.int64),
            "played": np.array(played, np.int64).reshape(-1, agents),
            "observation": self._observation.copy(),
        }

    def restore(self, state: State) -> None:
        """Play the episodes that ran once more.

        Raises:
            TenfoldError: if other things are seen than then.
        """
        self._episode = state["episode"].copy()
        ends = np.cumsum(state["length"])
        for b in np.flatnonzero(self._episode >= 0).tolist():
            moment = self._begin(b)
            if self._legal is None:
                self._expect_masks([moment])
            self._show(b, moment)
            for actions in state["played"][ends[b] - state["length"][b] : ends[b]]:
                moment = self._play(b, actions)
                self._reward[b] = moment.rewards
                self._show(b, moment)
            if not np.array_equal(self._observation[b], state["observation"][b], equal_nan=True):
                raise TenfoldError(
                    f"copy {b} of {self.spec.name} shows other things when episode "
                    f"{self._episode[b]} is played again with the same seed and actions, so it "
                    "cannot be restored exactly; make all its randomness depend on reset(seed=..), "
                    "or begin new episodes instead"
                )

    def close(self) -> None:
        """Close all environments."""
        for copy in self.copies:
            copy.close()


def _describe(copies: Sequence[Copy], name: str) -> BatchSpec:
    """Return what a batch of copies looks like."""
    first = copies[0]
    shape, dtype = common_shape(first.encodings)
    spec = BatchSpec(
        name=name,
        copies=len(copies),
        agents=first.agents,
        actions=tuple(moves.count for moves in first.moves),
        shape=shape,
        dtype=dtype,
        sizes=tuple(math.prod(encoding.shape) for encoding in first.encodings),
    )
    for b, copy in enumerate(copies):
        shapes = [encoding.shape for encoding in copy.encodings]
        same = shapes == [encoding.shape for encoding in first.encodings]
        counts = tuple(moves.count for moves in copy.moves)
        if not same or copy.agents != first.agents or counts != spec.actions:
            raise TenfoldError(
                f"copy {b} of {name} differs from copy 0 (agents {copy.agents}, actions {counts}, "
                f"observations {shapes}); all copies of a batch need equal agents and spaces"
            )
    return spec
