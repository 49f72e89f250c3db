"""A batch whose observations tell where they are, and a plain loop that plays it."""

import numpy as np

from tenfold.parts.rl.batch import BatchSpec, Step
from tenfold.parts.rl.rollout import Choice

ACTIONS = 3


class Counting:
    """Copies with names; an observation is (name, episode, step), a reward tells the same.

    Copy c of lane k is called 10 k + c, so that a lane is the same in any stack. Episodes last 1
    to 5 steps and end in turns of their own or by being cut. Agent 1 leaves after two steps.
    """

    def __init__(self, lanes=(1,), *, copies=2, agents=1, masks=False, dtype="uint8"):
        self.names = np.array([10 * lane + c for lane in lanes for c in range(copies)])
        self.agents, self.masks, self.dtype = agents, masks, dtype
        self.episode = np.full(len(self.names), -1)
        self.time = np.zeros(len(self.names), dtype=np.int64)
        self.spec = BatchSpec(
            name="counting",
            copies=len(self.names),
            agents=tuple(f"agent_{n}" for n in range(agents)),
            actions=(ACTIONS,) * agents,
            shape=(3,),
            dtype=dtype,
            sizes=(3,) * agents,
            events=("even",),
        )

    def length(self):
        return (self.names * 7 + self.episode * 3) % 5 + 1

    def look(self):
        told = np.stack([self.names, self.episode, self.time], axis=1)
        return np.repeat(told[:, None], self.agents, axis=1).astype(self.dtype)

    def alive(self):
        first = np.arange(self.agents) == 0
        return first | (self.time[:, None] < 2)

    def legal(self):
        if not self.masks:
            return None
        place = self.names + self.episode + self.time
        allowed = np.arange(ACTIONS) != (place % ACTIONS)[:, None]
        return np.repeat(allowed[:, None], self.agents, axis=1)

    def reset(self, mask=None):
        mask = np.ones(len(self.names), dtype=bool) if mask is None else mask
        self.episode = self.episode + mask
        self.time = np.where(mask, 0, self.time)
        return self.look()

    def step(self, actions):
        reward = self.names + self.episode / 4 + self.time / 16
        reward = reward[:, None] + np.arange(self.agents) / 2 + actions / 128
        self.time = self.time + 1
        over = self.time >= self.length()
        own = (self.names + self.episode) % 2 == 0
        return Step(
            observation=self.look(),
            reward=reward.astype(np.float32),
            terminated=over & own,
            truncated=over & ~own,
            alive=self.alive(),
            legal=self.legal(),
            events=(actions % 2 == 0)[..., None].astype(np.int32),
        )

    def state(self):
        return {"episode": self.episode.copy(), "time": self.time.copy()}

    def restore(self, state):
        self.episode, self.time = state["episode"].copy(), state["time"].copy()


def choose(batch, step):
    """Return actions that depend on names and steps only."""
    return (batch.names[:, None] + step + np.arange(batch.agents)) % ACTIONS


def play(batch, steps):
    """Return what happens in each copy, step by step, as a list of dicts for each copy."""
    told = [[] for _ in batch.names]
    before, alive = batch.reset(), np.ones((len(batch.names), batch.agents), dtype=bool)
    legal = batch.legal()
    for t in range(steps):
        actions = choose(batch, t)
        step = batch.step(actions)
        over = step.terminated | step.truncated
        for b, copy in enumerate(told):
            copy.append(
                {
                    "observation": before[b].copy(),
                    "alive": alive[b].copy(),
                    "legal": None if legal is None else legal[b].copy(),
                    "action": actions[b],
                    "reward": step.reward[b].copy(),
                    "terminated": step.terminated[b],
                    "truncated": step.truncated[b],
                    "after": step.observation[b].copy(),
                    "alive_after": step.alive[b].copy(),
                    "legal_after": None if step.legal is None else step.legal[b].copy(),
                    "events": step.events[b].copy(),
                }
            )
        before = batch.reset(over) if over.any() else step.observation
        alive = step.alive | over[:, None]
        legal = batch.legal()
    return told


class Chooser:
    """A policy that acts as `choose` and counts, in its memory, what it has seen of an episode."""

    def __init__(self, batch):
        self.batch, self.shown = batch, []

    def __call__(self, seen, memory, step):
        self.shown.append((seen, {name: value + 0 for name, value in memory.items()}, step))
        grown = {name: value + 1 for name, value in memory.items()}
        place = np.full(len(self.batch.names), step)
        return Choice(choose(self.batch, step), grown, {"place": place})
