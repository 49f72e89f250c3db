from dataclasses import replace

import numpy as np
import pytest
import torch

from rooms.diving.branch.nodes import random_sample
from tenfold.engine import checkpoint
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.diving.branch.config import GraphConvolution, HalfConvolutions, TrainBranch
from tenfold.rooms.diving.branch.policy import BranchNet
from tenfold.rooms.diving.branch.training import Trainer, evaluate, prepare, train
from tenfold.rooms.diving.method import branching

NODES = [random_sample(seed) for seed in range(48)]
HELD_OUT = [random_sample(seed) for seed in range(100, 130)]
CFG = TrainBranch(network=GraphConvolution(width=8, depth=1), steps=50, batch=8, learning_rate=0.02)


@pytest.mark.parametrize("network", [GraphConvolution(width=8, depth=1), HalfConvolutions(width=8)])
def test_a_network_learns_what_features_tell(network):
    cfg = replace(CFG, network=network)
    before = evaluate(
        Trainer(cfg, training=NODES, validation=HELD_OUT).net, prepare(HELD_OUT, network)
    )
    policy = train(cfg, training=NODES, validation=HELD_OUT)
    after = evaluate(policy.net, prepare(HELD_OUT, network))
    assert after["loss"] < before["loss"]
    assert after["top 1"] > 0.6 > after["chance 1"]
    assert policy.report["training nodes"] == 48
    assert policy.report["validation"]["top 1"] == after["top 1"]


def test_training_goes_on_exactly_after_a_checkpoint(tmp_path):
    cfg = replace(CFG, patience=1, stop_after=99)
    whole = Trainer(cfg, training=NODES, validation=HELD_OUT)
    told = [whole.update(step) for step in range(24)]
    first = Trainer(cfg, training=NODES, validation=HELD_OUT)
    for step in range(13):
        first.update(step)
    path = checkpoint.save(tmp_path, 13, first)
    second = Trainer(cfg, training=NODES, validation=HELD_OUT)
    begun = checkpoint.load(path, second)
    assert [second.update(step) for step in range(begun, 24)] == told[13:]
    for one, two in ((whole.net.state_dict(), second.net.state_dict()), (whole.best, second.best)):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert (whole.best_loss, whole.stale) == (second.best_loss, second.stale)


def test_an_epoch_goes_through_every_node_once():
    trainer = Trainer(CFG, training=NODES, validation=HELD_OUT)
    assert trainer.epoch_steps == 6
    seen = [id(node) for step in range(6) for node in trainer._batch(step)]
    assert len(set(seen)) == len(seen) == 48
    again = [id(node) for step in range(6, 12) for node in trainer._batch(step)]
    assert set(again) == set(seen)
    assert again != seen


def test_the_rate_falls_and_training_ends_when_it_no_longer_helps():
    cfg = replace(CFG, learning_rate=1e-12, epoch_steps=1, patience=2, fall=0.5, stop_after=5)
    trainer = Trainer(cfg, training=NODES, validation=HELD_OUT)
    trainer.best_loss = -1.0  # nothing is ever better
    rates = []
    for step in range(5):
        assert not trainer.finished
        rates.append(trainer.update(step)["learning rate"])
    assert trainer.finished
    assert rates == [1e-12, 1e-12, 5e-13, 5e-13, 2.5e-13]


def test_the_best_weights_are_kept_not_the_last():
    trainer = Trainer(CFG, training=NODES, validation=HELD_OUT)
    for step in range(6):
        trainer.update(step)
    best = {name: value.clone() for name, value in trainer.best.items()}
    for group in trainer.optimizer.param_groups:
        group["lr"] = 50.0
    for step in range(6, 12):
        trainer.update(step)
    assert trainer.stale == 1
    kept = trainer.policy().net.state_dict()
    assert all(torch.equal(kept[name], best[name]) for name in best)


def test_accuracy_counts_ties_and_tells_nodes_with_many_candidates_apart():
    many = random_sample(1, columns=40, candidates=25)
    tied = replace(many, scores=np.where(np.arange(25) < 20, 2.0, 1.0))
    few = random_sample(2)
    found = evaluate(BranchNet(CFG.network), prepare([tied, few], CFG.network))
    assert found["nodes"] == 2
    assert found["nodes of 20+"] == 1
    assert found["chance 1 of 20+"] == pytest.approx(0.8)
    assert found["top 10 of 20+"] == 1.0  # only five candidates are not among the best
    assert found["top 10"] == 1.0
    assert found["chance 1"] == pytest.approx((0.8 + branching.chance(few.scores, 1)) / 2)


def test_nodes_whose_candidates_are_all_alike_teach_nothing():
    alike = replace(random_sample(1), scores=np.full(6, 3.0))
    assert prepare([alike, random_sample(2)], CFG.network)[0].scores is not alike.scores
    assert len(prepare([alike, random_sample(2)], CFG.network)) == 1
    with pytest.raises(TenfoldError, match="no validation node"):
        Trainer(CFG, training=NODES, validation=[alike])


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"batch": 0}, {"learning_rate": 0.0}, {"epoch_steps": -1}, {"stop_after": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(CFG, **wrong)
    with pytest.raises(ValueError, match="width"):
        GraphConvolution(width=0)
    with pytest.raises(ValueError, match="width"):
        HalfConvolutions(width=0)
