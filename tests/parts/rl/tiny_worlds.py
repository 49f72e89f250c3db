"""Environments after the manner of Gymnasium and PettingZoo, small enough to be known by heart."""

import numpy as np

from tenfold.parts.rl.adapters.copies import Copies
from tenfold.parts.rl.adapters.opening import as_copy

# Spaces, told apart by their names as those of the libraries are


class Box:
    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)


class Discrete:
    def __init__(self, n, start=0):
        self.n, self.start = n, start


class MultiDiscrete:
    def __init__(self, nvec):
        self.nvec = np.array(nvec)
        self.shape = self.nvec.shape


class MultiBinary:
    def __init__(self, shape):
        self.shape = shape


class Dict:
    def __init__(self, spaces):
        self.spaces = spaces


class Tuple:
    def __init__(self, spaces):
        self.spaces = tuple(spaces)


class Text:
    pass


# One agent


class Walk:
    """A line of five cells; right of it lies the goal. Six steps are the limit."""

    observation_space = Box((2,), "float64")
    action_space = Discrete(2)

    def __init__(self, *, masks=False):
        self.masks, self.closed = masks, False

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        self.rng = np.random.default_rng(seed)
        self.cell, self.time = int(self.rng.integers(3)), 0
        self.wind = float(self.rng.integers(100))
        return self._look()

    def _look(self):
        legal = np.array([self.cell > 0, True])
        return np.array([self.cell, self.wind]), {"action_mask": legal} if self.masks else {}

    def step(self, action):
        self.time += 1
        self.cell = max(0, self.cell + (1 if action else -1))
        self.wind = float(self.rng.integers(100))
        goal = self.cell == 5
        observation, info = self._look()
        return observation, float(goal), goal, self.time == 6 and not goal, info

    def close(self):
        self.closed = True


class Restless(Walk):
    """Its wind does not come from the seed."""

    born = 0

    def _look(self):
        Restless.born += 1
        observation, info = super()._look()
        return observation + np.array([0, Restless.born]), info


# Several agents in tuples


class Pair:
    """Two agents with views of different length; the first is paid its action, the other ten."""

    observation_space = Tuple([Box((2,), "float32"), Box((3,), "float32")])
    action_space = Tuple([Discrete(2), Discrete(3)])

    def __init__(self, *, paid="each", flags="one"):
        self.paid, self.flags = paid, flags

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        self.time = 0
        return self._look(), {}

    def _look(self):
        return (np.full(2, self.time, np.float32), np.full(3, 10 + self.time, np.float32))

    def step(self, actions):
        self.time += 1
        self.got = actions
        reward = [float(actions[0]), 10.0] if self.paid == "each" else 6.0
        ended = self.time == 3
        done = [self.time >= 2, ended] if self.flags == "each" else ended
        return self._look(), reward, done, False, {}

    def close(self):
        pass


# Several agents in dicts


class Relay:
    """Red and blue run; who drops out at which step, and how, is given.

    Args:
        ends: for each agent the step and whether it is over ("over") or cut off ("cut").
    """

    possible_agents = ("red", "blue")

    def __init__(self, ends=None, *, absent=(), late=None, quiet=False, mask=False):
        self.ends = ends or {"red": (3, "over"), "blue": (3, "over")}
        self.absent, self.late, self.quiet, self.mask = absent, late, quiet, mask

    def observation_space(self, agent):
        box = Box((2 if agent == "red" else 3,), "float32")
        if not self.mask:
            return box
        return Dict({"observation": box, "action_mask": MultiBinary((self._count(agent),))})

    def action_space(self, agent):
        return Discrete(self._count(agent))

    def _count(self, agent):
        return 2 if agent == "red" else 3

    def _look(self, agents):
        size = {"red": 2, "blue": 3}
        told = {a: np.full(size[a], self.time + (a == "blue") / 2, np.float32) for a in agents}
        if not self.mask:
            return told
        masks = {a: (np.arange(self._count(a)) + self.time) % 2 for a in agents}
        return {a: {"observation": told[a], "action_mask": masks[a]} for a in agents}

    def reset(self, seed=None, options=None):  # noqa: ARG002
        self.time, self.seed = 0, seed
        self.agents = [agent for agent in self.possible_agents if agent not in self.absent]
        return self._look(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents), f"{actions} of {self.agents}"
        self.time += 1
        self.got = actions
        acted = list(self.agents)
        over = {a: self.ends[a] == (self.time, "over") for a in acted}
        cut = {a: self.ends[a] == (self.time, "cut") for a in acted}
        self.agents = [agent for agent in acted if not over[agent] and not cut[agent]]
        if self.late == self.time:
            self.agents.append("green")
        rewards = {agent: float(actions[agent] + 1) for agent in acted}
        if self.quiet:
            over = dict.fromkeys(acted, False)
        return self._look(acted), rewards, over, cut, {agent: {} for agent in acted}

    def close(self):
        pass


# Arrays


class Doors:
    """Copies as arrays: the observation is the number of steps, three steps are an episode."""

    copies, actions = 3, 2

    def __init__(self, copies=3, seeds=None):
        self.copies, self.seeds = copies, seeds
        self.time = np.zeros(copies)

    def reset(self, mask):
        self.time = np.where(mask, 0, self.time)
        return self._look()

    def _look(self):
        return np.stack([self.time, -self.time], axis=1)

    def step(self, actions):
        self.time = self.time + 1
        ended = self.time == 3
        return self._look(), actions * 2.0, ended & (actions == 1), ended & (actions == 0)

    def state(self):
        return {"time": self.time}

    def restore(self, state):
        self.time = state["time"].copy()


class TeamDoors:
    """The same with two agents and everything that a batch of arrays may tell."""

    copies, actions, agents = 2, (2, 3), ("left", "right")
    events, action_names = ("knock",), ("wait", "knock", "sing")

    def reset(self, mask):
        self.time = np.where(mask, 0, getattr(self, "time", np.zeros(2)))
        return self._look()

    def _look(self):
        return np.repeat(self.time[:, None, None], 2, axis=1).astype(np.uint8)

    def legal(self):
        return np.ones((2, 2, 3), bool) & (np.arange(3) <= self.time[:, None, None])

    def step(self, actions):
        self.time = self.time + 1
        never = np.zeros(2, bool)
        more = {"alive": actions < 2, "events": (actions == 1)[..., None]}
        return self._look(), actions.astype(float), never, self.time == 4, more


# Batches of them


def batch_of(make, *, copies=2, seed=0, time_limit=0):
    made = [as_copy(make(), name="tiny") for _ in range(copies)]
    seeds = [seed + 100 * b for b in range(copies)]
    return Copies(made, name="tiny", seeds=seeds, time_limit=time_limit)


def acts(batch, *actions):
    """Return the same actions for all copies."""
    return np.array([actions] * batch.spec.copies, dtype=np.int64)


def run(batch, steps, seed=1):
    """Return what a batch shows when random legal actions are taken."""
    generator = np.random.default_rng(seed)
    shown = [batch.reset().copy()]
    for _ in range(steps):
        own = np.array(batch.spec.actions)
        actions = generator.integers(0, own, size=(batch.spec.copies, len(own)))
        step = batch.step(actions)
        shown.append(step.observation.copy())
        ended = step.terminated | step.truncated
        if ended.any():
            shown.append(batch.reset(ended).copy())
    return np.stack(shown)
