"""Is an additive value enough for a task? A test by tables before any training.

Random play fills a table of what follows what: states (what all agents see together), joint
actions, mean rewards, next states. On this model values are iterated twice, once with a value for
each joint action and once with the nearest sum,

    Q(s, a) <- r(s, a) + gamma E V(s')                     joint
    sum_i q_i(s, a_i) <- fit of the same                   additive

and the two greedy policies are compared by what they earn in the model. If the sum's earns less,
adding values cannot express what the task pays for. That needs states that come back: where play
meets ever new ones, the test says that it cannot tell.

Known answers: the -12/8 matrix game, whose best sum explains 1.5 % and chooses 0 instead of 8, and
the two-step game, where it earns 7 instead of 8 (Rashid et al. 2018).

d agents, A actions, S states, J joint actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import EnvBatch
from tenfold.rooms.vdn.config import MOST_JOINT

ENOUGH = 0.05
"""Share of the reachable pay-off that a sum may lose by its greedy choice."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an additive value can and cannot do on one table of pay-offs."""

    explained: float
    """R^2 of the additive model on the table."""
    greedy: float
    """Pay-off of the joint action that the additive model likes best."""
    best: float
    """Largest pay-off."""
    interaction: float
    """Share of the variance that no sum can explain."""

    @property
    def enough(self) -> bool:
        """Whether the sum's greedy choice loses less than `ENOUGH` of what could be had."""
        reach = max(abs(self.best), 1e-12)
        return (self.best - self.greedy) / reach <= ENOUGH

    def line(self) -> str:
        """Say it in one sentence."""
        lost = f"its greedy choice pays {self.greedy:.3g} of {self.best:.3g}"
        told = f"a sum explains {100 * self.explained:.1f} % of the pay-offs and {lost}"
        if self.enough:
            return f"{told}: an additive value is enough here"
        return f"{told}: an additive value is not enough; try the qmix mixer (arch q.s.id) or c"


def judge_table(payoff: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> Verdict:
    """Judge a table of pay-offs by the best additive fit.

    Args:
        payoff: of joint actions, one axis for each agent.
        weight: how often each was seen; None: all alike. Joint actions never seen are left out
            of the fit and cannot be the best ones.
    """
    weight = np.ones_like(payoff) if weight is None else weight
    fit = additive_fit(payoff, weight)
    seen = weight > 0
    mean = float(np.average(payoff[seen], weights=weight[seen]))
    spread = float(np.average((payoff[seen] - mean) ** 2, weights=weight[seen]))
    error = float(np.average((payoff[seen] - fit[seen]) ** 2, weights=weight[seen]))
    explained = 1.0 if spread == 0 else 1 - error / spread
    liked = np.where(seen, fit, -np.inf)
    # Of joint actions that a sum likes alike any may be chosen: the mean of what they pay.
    equal = seen & (liked >= liked.max() - 1e-9 * max(1.0, abs(float(liked.max()))))
    return Verdict(
        explained=explained,
        greedy=float(payoff[equal].mean()),
        best=float(payoff[seen].max()),
        interaction=1 - explained,
    )


def additive_fit(payoff: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted least-squares sum of one value an agent and action."""
    agents, size = payoff.ndim, payoff.shape
    grids = np.indices(size).reshape(agents, -1)
    columns = sum(size)
    design = np.zeros((payoff.size, columns))
    start = 0
    for agent in range(agents):
        design[np.arange(payoff.size), start + grids[agent]] = 1.0
        start += size[agent]
    root = np.sqrt(weight.reshape(-1))
    found, *_ = np.linalg.lstsq(design * root[:, None], payoff.reshape(-1) * root, rcond=None)
    fit: NDArray[np.float64] = (design @ found).reshape(size)
    return fit


# Tasks of several steps


MOST_STATES = 4_000
"""States that a table holds; with more of them the test cannot tell."""
VISITS = 16
"""Mean visits of a state and joint action below which a table is too thin to tell."""
ROUNDS = 300
"""Sweeps of value iteration."""
LOOKS = " (for agents that go by what all see now; what has to be remembered is not tested)"
"""What verdicts on tasks of several steps rest on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """What random play met."""

    reward: NDArray[np.float64]
    """Mean reward, [S, J]."""
    counts: NDArray[np.float64]
    """How often, [S, J]."""
    following: sparse.csr_array
    """Chances of next states, [S J, S]; a row sums to less than 1 where episodes may end."""
    first: NDArray[np.float64]
    """Share of episodes that begin in each state, [S]."""
    actions: tuple[int, ...]
    """Of each agent."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the test says of a task."""

    states: int
    visits: float
    """Mean visits of a state and joint action."""
    additive: float
    """What the greedy policy of additive values earns from the beginning on, discounted."""
    joint: float
    """What that of joint values earns."""
    explained: float
    """Mean share of the spread of joint values within a state that a sum explains."""
    can_tell: bool
    """Whether play met few enough states often enough."""

    @property
    def enough(self) -> bool:
        """Whether a sum earns all but `ENOUGH` of what joint values do."""
        return self.joint - self.additive <= ENOUGH * max(abs(self.joint), 1e-12)

    def line(self) -> str:
        """Say it in one sentence."""
        told = (
            f"{self.states:,} states, {self.visits:.1f} visits of each joint action: additive "
            f"values earn {self.additive:.3g}, joint ones {self.joint:.3g}, a sum explains "
            f"{100 * self.explained:.0f} % of what actions change"
        )
        if not self.can_tell:
            return f"{told}; play meets too many states too seldom for this test to tell"
        if self.enough:
            return f"{told}; an additive value is enough here{LOOKS}"
        return f"{told}; an additive value is not enough: try the qmix mixer (q.s.id) or c{LOOKS}"


def probe_task(batch: EnvBatch, *, steps: int, gamma: float, seed: int = 0) -> Found:
    """Play at random, fit both kinds of values, and compare what they earn.

    Args:
        batch: of the task; it is reset.
        steps: of all copies together.
        gamma: discount of a step.
        seed: of the play.

    Raises:
        TenfoldError: if joint actions are too many for a table.
    """
    spec = batch.spec
    joint = int(np.prod(spec.actions))
    if joint > MOST_JOINT:
        raise TenfoldError(
            f"{spec.name} has {joint:,} joint actions; this test takes {MOST_JOINT:,} at most"
        )
    model = meet(batch, steps=steps, seed=seed)
    visits = float(model.counts.sum() / model.counts.size)
    joint_values, _ = iterate(model, gamma=gamma, additive=False)
    sums, explained = iterate(model, gamma=gamma, additive=True)
    return Found(
        states=len(model.counts),
        visits=visits,
        additive=earned(model, sums, gamma=gamma),
        joint=earned(model, joint_values, gamma=gamma),
        explained=explained,
        can_tell=len(model.counts) <= MOST_STATES and visits >= VISITS,
    )


def meet(batch: EnvBatch, *, steps: int, seed: int) -> Model:
    """Play at random and count what follows what."""
    spec = batch.spec
    draw = rng.stream(seed, "vdn", "probe")
    numbers: dict[bytes, int] = {}

    def number(seen: NDArray[Any]) -> NDArray[np.int64]:
        rows = [np.ascontiguousarray(row).tobytes() for row in seen]
        return np.array([numbers.setdefault(row, len(numbers)) for row in rows])

    limits = np.asarray(spec.actions)
    now = number(batch.reset())
    begun = [now]
    met: list[tuple[NDArray[Any], ...]] = []
    for _ in range(max(1, steps // spec.copies)):
        actions = draw.integers(0, limits, size=(spec.copies, len(limits)))
        legal = batch.legal()
        if legal is not None:
            actions = (draw.random(legal.shape) * legal).argmax(axis=-1)
        step = batch.step(actions)
        places = np.ravel_multi_index(tuple(actions.T), spec.actions)
        after = number(step.observation)
        met.append((now, places, step.reward.sum(axis=1), after, step.terminated.copy()))
        ended = step.terminated | step.truncated
        if ended.any():
            fresh = number(batch.reset(ended))
            begun.append(fresh[ended])
            after = np.where(ended, fresh, after)
        now = after
        if len(numbers) > 4 * MOST_STATES:
            break
    return _model(met, np.concatenate(begun), len(numbers), spec.actions)


def _model(
    met: list[tuple[NDArray[Any], ...]],
    begun: NDArray[np.int64],
    states: int,
    actions: tuple[int, ...],
) -> Model:
    joint = int(np.prod(actions))
    state, place, reward, after, ended = (np.concatenate(part) for part in zip(*met, strict=True))
    row = state * joint + place
    size = states * joint
    counts = np.bincount(row, minlength=size).astype(np.float64)
    sums = np.bincount(row, weights=reward, minlength=size)
    on = ~ended.astype(bool)
    weight = 1.0 / counts[row[on]]
    following = sparse.csr_array((weight, (row[on], after[on])), shape=(size, states))
    mean = np.divide(sums, counts, out=np.zeros(size), where=counts > 0)
    return Model(
        reward=mean.reshape(states, joint),
        counts=counts.reshape(states, joint),
        following=following,
        first=np.bincount(begun, minlength=states) / len(begun),
        actions=actions,
    )


def iterate(model: Model, *, gamma: float, additive: bool) -> tuple[NDArray[np.float64], float]:
    """Iterate values on a model; return those of joint actions [S, J] and what sums explain.

    Joint actions that were never met in a state cannot be chosen there.
    """
    seen = model.counts > 0
    met = seen.any(axis=1)
    values = np.zeros_like(model.reward)
    project = _Projection(model) if additive else None
    target = values
    for _ in range(ROUNDS):
        best = np.where(met, np.where(seen, values, -np.inf).max(axis=1, initial=-np.inf), 0.0)
        target = model.reward + gamma * (model.following @ best).reshape(values.shape)
        new = project(target) if project else target
        moved = np.abs(new - values)[seen].max(initial=0.0)
        values = new
        if moved < 1e-6:
            break
    spread = _spread(target, target, model.counts)
    left = _spread(target, values, model.counts)
    return values, 1.0 if spread <= 0 else max(0.0, 1 - left / spread)


def _spread(
    target: NDArray[np.float64], fit: NDArray[np.float64], counts: NDArray[np.float64]
) -> float:
    """Return the weighted squares of `target` about `fit`, or about its own means if both are."""
    if target is fit:
        total = counts.sum(axis=1, keepdims=True)
        means = np.divide((counts * target).sum(axis=1, keepdims=True), total,
                          out=np.zeros_like(total), where=total > 0)  # fmt: skip
        fit = np.broadcast_to(means, target.shape)
    return float((counts * (target - fit) ** 2).sum())


class _Projection:
    """The nearest sum in every state, weighted by visits."""

    def __init__(self, model: Model) -> None:
        joint = model.reward.shape[1]
        grids = np.unravel_index(np.arange(joint), model.actions)
        design = np.zeros((joint, sum(model.actions)))
        start = 0
        for agent, count in enumerate(model.actions):
            design[np.arange(joint), start + grids[agent]] = 1.0
            start += count
        self.weight, self.design = model.counts, design
        # Normal equations of each state; a little of the identity picks the least of equal fits.
        normal = np.einsum("sj,ja,jb->sab", self.weight, design, design)
        self.normal = normal + 1e-9 * np.eye(design.shape[1])

    def __call__(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        right = np.einsum("sj,ja->sa", self.weight * target, self.design)
        found = np.linalg.solve(self.normal, right[..., None])[..., 0]
        fit: NDArray[np.float64] = found @ self.design.T
        return fit


def earned(model: Model, values: NDArray[np.float64], *, gamma: float) -> float:
    """Return what the greedy policy of some values earns in the model, from its beginnings."""
    liked = np.where(model.counts > 0, values, -np.inf).argmax(axis=1)
    states, joint = values.shape
    row = np.arange(states) * joint + liked
    reward = model.reward[np.arange(states), liked]
    following = model.following[row]
    worth = np.zeros(states)
    for _ in range(ROUNDS):
        worth = reward + gamma * (following @ worth)
    return float(model.first @ worth)
