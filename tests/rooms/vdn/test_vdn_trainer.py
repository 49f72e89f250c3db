import numpy as np
import pytest
import torch

from tenfold.parts.rl import rollout
from tenfold.parts.rl.batch import BatchSpec, Step
from tenfold.rooms.vdn import tasks
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.trainer import Trainer, block_of

pytest.importorskip("numba")

SMALL = Learning(units=8, batch=8, capacity=64, warm_up=16, copy_every=4)


def trainer_of(names, seeds, *, env="fetch/open", updates=12, episode=20, copies=4, cfg=SMALL):
    batch = tasks.open_task(env, copies=copies, seeds=seeds, episode=episode)
    return Trainer(batch, [arch_of(name) for name in names], cfg, seeds=seeds, updates=updates)


def go(trainer, steps):
    for _ in range(steps):
        told = trainer.step()
    return told


@pytest.mark.parametrize("name", ["ind", "v.s.id.l.h", "v.c", "c", "q.s.id"])
def test_what_was_saved_goes_on_as_if_nothing_had_happened(name):
    whole = trainer_of([name, name], (0, 1))
    go(whole, 9)
    tensors, values = whole.state()
    saved = {key: tensor.clone() for key, tensor in tensors.items()}
    again = trainer_of([name, name], (0, 1))
    again.load_state(saved, values)
    for _ in range(5):
        one, other = whole.step(), again.step()
        for key, value in one.items():
            assert np.array_equal(value, other[key]), key
    assert torch.equal(whole.learner.weights, again.learner.weights)


@pytest.mark.parametrize(
    "env", ["fetch/open", "switch/corridor", "checkers/board", "lbf/5x5-2p-1f-masked", "spread/2"]
)
def test_a_team_learns_the_same_alone_and_in_a_stack(env):
    names, seeds = ["ind", "v", "v.s.id"], (3, 4, 5)
    together = trainer_of(names, seeds, env=env)
    go(together, 14)
    assert together.learner.updates == 11
    for place, (name, seed) in enumerate(zip(names, seeds, strict=True)):
        alone = trainer_of([name], (seed,), env=env)
        go(alone, 14)
        np.testing.assert_allclose(together.sums[place], alone.sums[0], rtol=1e-5, atol=1e-9)
        mine = together.learner.lanes()
        for key, array in alone.learner.lanes().items():
            some = mine[key][2 * place : 2 * place + 2]
            torch.testing.assert_close(some, array, rtol=1e-4, atol=1e-5)


def test_exploration_falls_from_all_to_the_last_share_in_a_straight_line():
    trainer = trainer_of(["v"], (0,), updates=100)
    told = []
    for updates in (0, 20, 40, 80):
        trainer.learner.updates = updates
        told.append(trainer.epsilon())
    assert told == pytest.approx([1.0, 0.525, 0.05, 0.05])


def test_training_stops_at_the_updates_asked_for():
    trainer = trainer_of(["v"], (0,), updates=5)
    go(trainer, 20)
    assert trainer.learner.updates == 5


class Counting:
    """A batch whose observation is the step of the episode, which ends after some steps."""

    def __init__(self, *, copies, length, terminates):
        self.length, self.terminates = length, terminates
        self._spec = BatchSpec(name="counting", copies=copies, agents=("a", "b"), actions=(2, 2),
                               shape=(1,), dtype="float32", sizes=(1, 1))  # fmt: skip
        self.at = np.zeros(copies, np.int64)

    @property
    def spec(self):
        return self._spec

    def seen(self):
        return np.repeat(self.at[:, None, None], 2, axis=1).astype(np.float32)

    def legal(self):
        return None

    def reset(self, mask=None):
        self.at[slice(None) if mask is None else mask] = 0
        return self.seen()

    def step(self, actions):
        self.at += 1
        ended = self.at == self.length
        never = np.zeros_like(ended)
        one = np.ones((len(self.at), 2), np.float32)
        return Step(self.seen(), one, ended if self.terminates else never,
                    never if self.terminates else ended, np.ones(actions.shape, bool), None,
                    None)  # fmt: skip

    def state(self):
        return {"at": self.at.copy()}

    def restore(self, state):
        self.at[:] = state["at"]


def windows(*, length, terminates, steps=3):
    batch = Counting(copies=4, length=length, terminates=terminates)
    cfg = Learning(units=4, batch=4, capacity=64, warm_up=4, window=8, normalise=False)
    trainer = Trainer(batch, [arch_of("v")], cfg, seeds=(0,), updates=100)
    for _ in range(steps):
        block, trainer.place = rollout.collect(batch, trainer.actor, trainer.place, steps=8)
        trainer.replay.write(block)
    return [block_of(trainer.replay.sample(n, batch=4), trainer.learner) for n in range(20)]


@pytest.mark.parametrize("terminates", [True, False])
def test_windows_know_where_episodes_begin_and_end(terminates):
    for block in windows(length=5, terminates=terminates):
        # Observations [K, d, T + 1, R, n] count up from 0; zeros begin an episode.
        at = block.observation[0, 0, :, :, 0]
        keep = block.keep[0]
        assert torch.equal(keep[1:-1] == 0, at[1:-1] == 0)
        last = at[:-1] == 4
        assert torch.equal(block.paid.terminated[0], last & terminates)
        inside = last.clone()
        inside[-1] = False
        assert torch.equal(block.paid.valid[0] == 0, inside & (not terminates))
        # The closing observation of a window at whose end an episode ends is the final one.
        assert (at[-1][last[-1]] == 5).all()


def test_a_time_limit_at_the_end_of_a_window_costs_no_step():
    for block in windows(length=8, terminates=False):
        assert block.paid.valid.all()
        assert (block.observation[0, 0, -1, :, 0] == 8).all()
        assert block.paid.cut[0, -1].all()
        assert not block.paid.terminated.any()


def test_rewards_of_agents_are_added_and_scaled():
    batch = Counting(copies=4, length=8, terminates=False)
    cfg = Learning(units=4, batch=4, capacity=64, warm_up=4, reward_scale=0.5)
    trainer = Trainer(batch, [arch_of("v")], cfg, seeds=(0,), updates=10)
    go(trainer, 1)
    assert (trainer.sample(0).paid.reward == 1.0).all()
    assert trainer.sums[0, :, 0].tolist() == [1.0, 1.0]


def test_learning_fades_to_nothing_at_the_end():
    trainer = trainer_of(["v"], (0,), updates=100)
    told = []
    for updates in (0, 70, 85, 99):
        trainer.learner.updates = updates
        told.append(trainer.pace())
    assert told == pytest.approx([1.0, 1.0, 0.5, 1 / 30])
