"""How good a team is, and who does the work: test play, counterfactuals, lazy agents.

Three measures of laziness (sheet 3.1): the share of events of the busiest agent, what the team
loses when an agent is replaced, and how varied an agent's actions are. A team counts as lazy if
replacing its least agent by one that stands still costs less than 10 % of what the team earns, by
an interval over test episodes.

K teams, C copies of each, B = K C, d agents, E kinds of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.engine.progress import Progress
from tenfold.engine.stats import Interval, bootstrap_interval
from tenfold.parts.rl import rollout
from tenfold.parts.rl.batch import BatchSpec, EnvBatch
from tenfold.parts.rl.draws import Draws
from tenfold.parts.rl.rollout import Choice, Memory, Seen
from tenfold.rooms.vdn.acting import Actor
from tenfold.rooms.vdn.learner import Learner

LAZY = 0.1
"""Share of the team's reward that an agent must bring, or the team is lazy."""
NOTHING = 1e-6
"""Reward of a step below which a team earns nothing that could be shared out."""
STILL = ("stand still", "none", "noop", "no_action", "stay", "wait")
"""Names of actions that do nothing."""
TEST_SEEDS = 900_000
"""Added to seeds of training, so that test episodes are others."""

How = Literal["still", "random"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """What came of test play."""

    reward: NDArray[np.float64]
    """Of each agent, a step: means over the steps of each copy, [K, C, d]."""
    events: NDArray[np.float64]
    """Likewise, [K, C, d, E]."""
    actions: NDArray[np.float64]
    """Share of each action, [K, d, A]."""
    returns: list[NDArray[np.float64]]
    """Team returns of the episodes that ended, of each team."""

    @property
    def team(self) -> NDArray[np.float64]:
        """Team reward a step of each copy, [K, C]."""
        total: NDArray[np.float64] = self.reward.sum(axis=-1)
        return total

    @property
    def busiest(self) -> NDArray[np.float64]:
        """Share of the events of the busiest agent, [K]; NaN without any event."""
        counts = self.events.sum(axis=(1, 3))
        with np.errstate(invalid="ignore"):
            share: NDArray[np.float64] = counts.max(axis=1) / counts.sum(axis=1)
        return share


def play(
    learner: Learner,
    batch: EnvBatch,
    *,
    seeds: Sequence[int],
    steps: int,
    epsilon: float = 0.0,
    replaced: int = -1,
    how: How = "still",
    progress: Progress | None = None,
) -> Played:
    """Let teams play for a number of steps in all copies, from new episodes on.

    Args:
        learner: the teams.
        batch: environments, C copies for each.
        seeds: of each team's random actions, [K].
        steps: of each copy; a multiple of the window is played, at least one.
        epsilon: share of random actions.
        replaced: agent that does not act by its network; -1: none.
        how: what it does instead.
        progress: told of every step that all copies have taken.
    """
    actor = Actor(learner, batch.spec, seeds=seeds, stream="test play")
    actor.epsilon = epsilon
    policy = _Replaced(actor, replaced, how, seeds) if replaced >= 0 else actor
    spec, count = batch.spec, learner.teams.count
    place = rollout.begin(batch, memory=actor.memory())
    agents, most = len(spec.agents), max(spec.actions)
    reward = np.zeros((count, actor.copies, agents))
    events = np.zeros((count, actor.copies, agents, len(spec.events)))
    chosen = np.zeros((count, agents, most))
    returns: list[list[float]] = [[] for _ in range(count)]
    window = learner.cfg.window
    blocks = _blocks(steps, learner)
    for _ in range(blocks):
        block, place = rollout.collect(batch, policy, place, steps=window)
        if progress is not None:
            progress.update(progress.done + window)
        shape = (window, count, actor.copies, agents)
        reward += block.reward.reshape(shape).sum(axis=0)
        if block.events is not None:
            events += block.events.reshape(*shape, -1).sum(axis=0)
        one_hot = np.eye(most)[block.action.reshape(shape)]
        one_hot *= block.alive[:-1].reshape(shape)[..., None]
        chosen += one_hot.sum(axis=(0, 2))
        for copy, total in zip(block.episodes.copy, block.episodes.team, strict=True):
            returns[copy // actor.copies].append(float(total))
    taken = blocks * window
    return Played(
        reward=reward / taken,
        events=events / taken,
        actions=chosen / np.maximum(chosen.sum(axis=-1, keepdims=True), 1),
        returns=[np.array(some) for some in returns],
    )


def _blocks(steps: int, learner: Learner) -> int:
    """Return how many windows are played instead of so many steps."""
    return max(1, steps // learner.cfg.window)


class _Replaced:
    """A policy in which one agent of each team does not follow its network."""

    def __init__(self, actor: Actor, agent: int, how: How, seeds: Sequence[int]) -> None:
        self.actor, self.agent = actor, agent
        self.still = still_action(actor.spec) if how == "still" else None
        own = actor.spec.actions[agent]
        self._draws = Draws(seeds, "vdn", "random agent", shape=(actor.copies, own))

    def __call__(self, seen: Seen, memory: Memory, step: int) -> Choice:
        choice = self.actor(seen, memory, step)
        actions = choice.actions.copy()
        if self.still is not None:
            actions[:, self.agent] = self.still
            return choice._replace(actions=actions)
        drawn = self._draws.at(step)
        own = drawn.shape[-1]
        score = 1.0 - drawn.reshape(len(actions), own)  # above 0, so that masks leave the legal
        if seen.legal is not None:
            score = score * seen.legal[:, self.agent, :own]
        actions[:, self.agent] = score.argmax(axis=1)
        return choice._replace(actions=actions)


def still_action(spec: BatchSpec) -> int | None:
    """Return the action that does nothing; `None` if no name tells which it is."""
    for number, name in enumerate(spec.action_names):
        if name.lower() in STILL:
            return number
    return None


def explain(
    learner: Learner, batch: EnvBatch, *, seeds: Sequence[int], steps: int, epsilon: float = 0.0
) -> list[Json]:
    """Say of each team what it earns, who does the work, and whether it is lazy.

    Returns:
        For each team: reward per 100 steps with an interval over copies, share of the busiest
        agent in events, what each agent's replacement costs as a share, entropy of each agent's
        actions in bits while it lives, and `lazy`: yes, no, undecided or earns nothing.
    """
    spec = batch.spec
    how: How = "random" if still_action(spec) is None else "still"
    each = _blocks(steps, learner) * learner.cfg.window
    with Progress("explain: steps", each * (1 + len(spec.agents))) as progress:
        whole, *without = (
            play(learner, batch, seeds=seeds, steps=steps, epsilon=epsilon, replaced=agent,
                 how=how, progress=progress)
            for agent in range(-1, len(spec.agents))
        )  # fmt: skip
    told: list[Json] = []
    for team in range(learner.teams.count):
        earned = whole.team[team]
        shares = [
            _share(earned, other.team[team], name=f"{team}.{agent}")
            for agent, other in enumerate(without)
        ]
        known = [share for share in shares if share is not None]
        usage = whole.actions[team]
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.nansum(usage * np.log2(usage), axis=1)
        told.append(
            {
                "reward_per_100_steps": _plain(_scaled(_mean(earned), 100)),
                "busiest_share": share_or_none(whole.busiest[team]),
                "replaced_by": how,
                "contribution": [None if share is None else _plain(share) for share in shares],
                "action_entropy_bits": entropy.tolist(),
                "lazy": _judge(known),
                "returns": whole.returns[team].tolist(),
            }
        )
    return told


def _judge(shares: Sequence[Interval]) -> str:
    """Return whether a team is lazy, by the least of its agents' contributions."""
    if not shares:
        return "earns nothing"
    least = min(shares, key=lambda share: share.estimate)
    return "yes" if least.high < LAZY else "no" if least.low >= LAZY else "undecided"


def share_or_none(value: float) -> float | None:
    """Return a share, or `None` where nothing happened that could be shared."""
    return float(value) if np.isfinite(value) else None


def _mean(values: NDArray[np.float64]) -> Interval:
    if len(values) < 2:
        value = float(values.mean())
        return Interval(estimate=value, low=value, high=value)
    return bootstrap_interval(values)


def _share(
    whole: NDArray[np.float64], without: NDArray[np.float64], *, name: str
) -> Interval | None:
    """Return what share of the reward is lost, by bootstrap over copies drawn in both.

    `None` for a team that earns next to nothing, of which there are no shares.
    """
    if abs(whole.mean()) < NOTHING:
        return None
    draw = rng.stream(0, "vdn", "contribution", name)
    rows = draw.integers(len(whole), size=(2_000, len(whole)))

    def lost(chosen: Any) -> Any:
        full = whole[chosen].mean(axis=-1)
        gone = without[chosen].mean(axis=-1)
        return (full - gone) / np.maximum(np.abs(full), 1e-12)

    low, high = np.quantile(lost(rows), [0.025, 0.975])
    estimate = float(lost(np.arange(len(whole))))
    return Interval(estimate=estimate, low=float(low), high=float(high))


def _scaled(interval: Interval, factor: float) -> Interval:
    return replace(
        interval,
        estimate=factor * interval.estimate,
        low=factor * interval.low,
        high=factor * interval.high,
    )


def _plain(interval: Interval) -> Json:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
