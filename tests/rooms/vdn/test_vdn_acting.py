"""The compiled loop of acting beside the operations that it stands for."""

import numpy as np
import pytest
import torch

from tenfold.parts.rl import rollout
from tenfold.parts.rl.rollout import Seen
from tenfold.rooms.vdn import tasks
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.trainer import Trainer

pytestmark = pytest.mark.timeout(600)
"""Loops are compiled inside the first test."""
COPIES = 6
STACKS = {
    "apart": ("ind", "v", "v.s.id"),
    "heads": ("v.c", "v.c"),
    "joint": ("c", "c"),
    "low": ("v.s.id.l", "ind.l"),
    "high": ("v.h", "v.s.id.h"),
    "both": ("v.s.id.l.h", "v.l.h"),
}


def trainer_of(env, *, archs=STACKS["apart"]):
    pytest.importorskip("numba")
    seeds = tuple(range(len(archs)))
    batch = tasks.open_task(env, copies=COPIES, seeds=seeds, episode=30)
    cfg = Learning(units=7, batch=8, capacity=64, warm_up=8)
    trainer = Trainer(batch, [arch_of(a) for a in archs], cfg, seeds=seeds, updates=100)
    for _ in range(4):
        trainer.step()
    return trainer


def chosen_by_operations(actor, seen, memory, step):
    assert actor._by_rows, "else operations are compared with themselves"
    actor._by_rows = False
    choice = actor(seen, memory, step)
    actor._by_rows = True
    return choice


@pytest.mark.parametrize("env", ["fetch/open", "lbf/5x5-2p-1f-masked", "spread/3", "spread/1"])
@pytest.mark.parametrize("archs", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.0])
def test_actions_and_memory_are_those_of_the_operations(env, archs, epsilon):
    trainer = trainer_of(env, archs=archs)
    actor, place = trainer.actor, trainer.place
    actor.epsilon = epsilon
    seen, memory = place.seen, place.memory
    for step in range(12):
        expected = chosen_by_operations(actor, seen, memory, step)
        choice = actor(seen, memory, step)
        for name in ("hidden", "cell"):
            np.testing.assert_allclose(
                choice.memory[name], expected.memory[name].numpy(), rtol=1e-5, atol=1e-6
            )
        alike = choice.actions == expected.actions
        assert alike.mean() > 0.97, "only values that tie may differ"
        told = trainer.batch.step(choice.actions)
        ended = told.terminated | told.truncated
        memory = rollout.forget(choice.memory, ended)
        trainer.batch.reset(ended)
        seen = Seen(told.observation, trainer.batch.legal(), told.alive, ended)


@pytest.mark.parametrize("arch", ["v.s", "v.c", "v.l.h"])
def test_only_legal_actions_are_chosen_all_alike_at_random(arch):
    trainer = trainer_of("lbf/5x5-2p-1f-masked", archs=(arch,))
    actor, place = trainer.actor, trainer.place
    actor.epsilon = 1.0
    legal = np.zeros((COPIES, 2, 6), np.bool_)
    legal[:, 0, [1, 4]] = True
    legal[:, 1, 3] = True
    seen = place.seen._replace(legal=legal)
    found = np.stack([actor(seen, place.memory, step).actions for step in range(500)])
    assert set(found[..., 0].ravel()) == {1, 4}
    assert set(found[..., 1].ravel()) == {3}
    assert abs((found[..., 0] == 4).mean() - 0.5) < 0.04
    actor.epsilon = 0.0
    assert set(actor(seen, place.memory, 0).actions[:, 0]) <= {1, 4}
    nothing = seen._replace(legal=np.zeros_like(legal))
    assert not actor(nothing, place.memory, 0).actions.any()


def test_a_joint_action_at_random_is_any_of_all_agents_together():
    trainer = trainer_of("lbf/5x5-2p-1f-masked", archs=("c",))
    actor, place = trainer.actor, trainer.place
    actor.epsilon = 1.0
    seen = place.seen._replace(legal=np.zeros((COPIES, 2, 6), np.bool_))
    found = np.concatenate([actor(seen, place.memory, step).actions for step in range(500)])
    counts = np.bincount(found[:, 0] + 6 * found[:, 1], minlength=36)
    assert len(counts) == 36
    assert counts.min() > 0.5 * len(found) / 36, "no action of a joint one is illegal"


@pytest.mark.parametrize("arch", ["v.s", "v.c", "v.l.h"])
def test_a_diverged_team_still_chooses_legal_actions(arch):
    trainer = trainer_of("lbf/5x5-2p-1f-masked", archs=(arch,))
    trainer.learner.weights.fill_(float("nan"))
    trainer.learner.forget()
    trainer.actor.epsilon = 0.0
    legal = np.zeros((COPIES, 2, 6), np.bool_)
    legal[..., 2] = True
    seen = trainer.place.seen._replace(legal=legal)
    assert (trainer.actor(seen, trainer.place.memory, 0).actions == 2).all()


@pytest.mark.parametrize("arch", ["v.s", "v.c", "v.l.h"])
def test_agents_with_fewer_actions_never_choose_others(arch):
    trainer = trainer_of("fetch/open", archs=(arch,))
    own = torch.ones(2, 8, dtype=torch.bool)
    own[1, 3:] = False
    trainer.learner.own = own
    trainer.actor.epsilon = 0.5
    for step in range(60):
        actions = trainer.actor(trainer.place.seen, trainer.place.memory, step).actions
        assert actions[:, 1].max() < 3
