import dataclasses

import numpy as np
import pytest
import torch

from rooms.jumprelu import plain
from rooms.jumprelu.examples import B, D, M, activations, random_start
from tenfold.engine.checkpoint import load, save
from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.config import Train
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.model import JumpReLU
from tenfold.rooms.jumprelu.run import read_batch
from tenfold.rooms.jumprelu.trainer import (
    Trainer,
    start,
)

STEPS, PRICE = 6, 2**-6


def put(dictionary, parameters):
    """Load NumPy parameters into a float64 stack of one."""
    dictionary.double()
    for name, value in parameters.items():
        if name == "theta":
            unit = dictionary.unit
            unit.raw.data.copy_(torch.tensor(np.log(value) if unit.as_log else value)[None])
        else:
            owner = dictionary.unit if name in ("gain_log", "b_mag") else dictionary
            getattr(owner, name).data.copy_(torch.tensor(value)[None])


def taken(dictionary, name):
    if name == "theta":
        return dictionary.unit.threshold[0].detach().numpy()
    owner = dictionary.unit if name in ("gain_log", "b_mag") else dictionary
    return getattr(owner, name)[0].detach().numpy()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    kind: str
    method: config.Method
    hyper: dict = dataclasses.field(default_factory=dict)
    unit_rows: bool = True
    log_threshold: bool = False
    priced: bool = False


def jump(**options):
    names = {"step_to_z", "frequency_weight", "frequency_scale", "penalty"}
    log, bandwidth = options.pop("log_threshold", False), 0.5
    return Case(
        kind="jumprelu",
        method=config.JumpReLU(bandwidth=bandwidth, **options),
        hyper={"bandwidth": bandwidth} | {k: v for k, v in options.items() if k in names},
        log_threshold=log,
        priced=options["penalty"] in ("linear", "tanh"),
    )


AUX = {"aux_weight": 1 / 4, "aux_k": 3}
CASES = {
    "jumprelu linear": jump(penalty="linear"),
    "jumprelu linear, log threshold": jump(penalty="linear", log_threshold=True),
    "jumprelu linear, step to z": jump(penalty="linear", step_to_z=True),
    "jumprelu quad_batch": jump(penalty="quad_batch"),
    "jumprelu quad_example": jump(penalty="quad_example"),
    "jumprelu tanh": jump(penalty="tanh"),
    "jumprelu linear, frequency": jump(
        penalty="linear", frequency_weight=0.01, frequency_scale=0.2
    ),
    "jumprelu quad_example, all options": jump(
        penalty="quad_example", frequency_weight=0.02, step_to_z=True, log_threshold=True
    ),
    "relu norm-weighted": Case(
        kind="relu", method=config.ReLU(norm_weighted=True), unit_rows=False, priced=True
    ),
    "relu plain": Case(
        kind="relu",
        method=config.ReLU(norm_weighted=False),
        hyper={"norm_weighted": False},
        priced=True,
    ),
    "gated norm-weighted": Case(
        kind="gated", method=config.Gated(norm_weighted=True), unit_rows=False, priced=True
    ),
    "gated plain": Case(
        kind="gated",
        method=config.Gated(norm_weighted=False),
        hyper={"norm_weighted": False},
        priced=True,
    ),
    "topk": Case(kind="topk", method=config.TopK(aux_weight=0.0), hyper={"k": 4}),
    "topk aux": Case(kind="topk", method=config.TopK(**AUX), hyper=AUX | {"k": 4}),
    "topk aux, half the width": Case(
        kind="topk", method=config.TopK(aux_weight=0.5), hyper={"aux_weight": 0.5, "k": 4}
    ),
    "topk multi": Case(
        kind="topk",
        method=config.TopK(multi_weight=1 / 8, **AUX),
        hyper=AUX | {"multi_weight": 1 / 8, "k": 4},
    ),
    "batchtopk": Case(kind="batchtopk", method=config.BatchTopK(**AUX), hyper=AUX | {"k": 4}),
    "matryoshka": Case(
        kind="matryoshka",
        method=config.Matryoshka(prefixes=(0.25, 0.5, 1.0), **AUX),
        hyper=AUX | {"k": 4, "prefixes": (6, 12, 24)},
    ),
}


def pair(case, *, steps=STEPS):
    """Return the room's trainer in float64 and the plain training, at one start."""
    goal = {"target_l0": (), "price": (PRICE,)} if case.priced else {"target_l0": (4.0,)}
    cfg = Train(method=case.method, width=M, rows=B * steps, batch=B, device="cpu", **goal)
    schedule = dataclasses.replace(
        config.short(steps=steps, batch=B, input_width=D),
        learning_rate=0.01,
        warmup_steps=2,
        decay_share=0.5,
        price_warmup_steps=3,
        threshold_as_log=case.log_threshold,
        threshold_decay=0.75,
        dead_after_rows=B,
        centre="zero",
    )
    source, _ = as_source(activations(), held_out=0.1)
    blank = start(cfg, source).dictionary
    if isinstance(blank.unit, JumpReLU):
        blank.unit.as_log = case.log_threshold
    parameters = random_start(case.kind)
    put(blank, parameters)
    blank.scale = 2.0
    trainer = Trainer(
        cfg,
        schedule=schedule,
        dictionary=blank,
        first_price=torch.tensor([PRICE], dtype=torch.float64),
        monitor=torch.zeros(2, D, dtype=torch.float64),
    )
    by_hand = plain.Training(
        case.kind,
        parameters,
        plain.Hyper(price=PRICE, target=4.0, **case.hyper),
        plain.Optimiser(
            rate=0.01,
            steps=steps,
            warmup=2,
            decay_share=0.5,
            unit_rows=case.unit_rows,
            log_threshold=case.log_threshold,
            threshold_rate=schedule.threshold_rate,
            price_warmup=3,
            dead_after=B,
            memory=0.75,
        ),
    )
    return trainer, by_hand


def rows_of(step):
    return activations(B, seed=100 + step).astype(np.float64)


@pytest.mark.parametrize("name", CASES)
def test_training_steps_match_an_independent_numpy_computation(name):
    trainer, by_hand = pair(CASES[name])
    for step in range(STEPS):
        raw = rows_of(step)
        terms = trainer.update(torch.tensor(raw)[None], step)
        found = by_hand.step(raw / 2.0)
        assert float(terms.loss.detach()) == pytest.approx(found.loss, rel=1e-12)
        assert float(terms.error) == pytest.approx(found.error, rel=1e-12)
        assert float(terms.l0) == pytest.approx((found.f > 0).sum(axis=1).mean())
        for part, expected in by_hand.p.items():
            np.testing.assert_allclose(
                taken(trainer.dictionary, part), expected, rtol=1e-10, atol=1e-12, err_msg=part
            )
        np.testing.assert_array_equal(trainer.silent_rows[0].numpy(), by_hand.silent)
    if CASES[name].kind in ("batchtopk", "matryoshka"):
        assert float(trainer.dictionary.unit.threshold) == pytest.approx(by_hand.running)


@pytest.mark.parametrize(
    "chosen", [config.JumpReLU(), config.Gated(), config.TopK(), config.Matryoshka()]
)
def test_a_stack_of_three_trains_like_three_alone(chosen):
    source, _ = as_source(activations(), held_out=0.1)

    def trained(*, seeds, target_l0):
        cfg = Train(
            method=chosen, width=M, rows=B * STEPS, batch=B, seeds=seeds, target_l0=target_l0
        )
        trainer = start(cfg, source)
        trainer.dictionary.double()
        for step in range(STEPS):
            trainer.update(read_batch(cfg, source, step).double(), step)
        return trainer

    together = trained(seeds=(0, 1), target_l0=(2.0, 5.0))
    for index, lane in enumerate(together.cfg.lanes):
        alone = trained(seeds=(lane.seed,), target_l0=(lane.target_l0,))
        ours, theirs = together.dictionary.lane(index), alone.dictionary.lane(0)
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(together.log_price[index], alone.log_price[0])
        assert torch.equal(together.silent_rows[index], alone.silent_rows[0])


def test_dictionaries_of_equal_seed_see_equal_rows_and_those_of_the_config():
    source, _ = as_source(activations(), held_out=0.1)
    cfg = Train(width=M, rows=B * STEPS, batch=B, seeds=(3, 8), target_l0=(2.0, 4.0))
    rows = read_batch(cfg, source, 5)
    for index, lane in enumerate(cfg.lanes):
        assert torch.equal(rows[index], source.batch(5, size=B, seed=lane.seed))
    assert not torch.equal(rows[0], rows[2])


def test_a_decoder_row_of_zeros_never_turns_into_nan():
    trainer, _ = pair(CASES["jumprelu linear"])
    trainer.dictionary.w_dec.data[0, 3] = 0.0
    trainer.dictionary.b_enc.data[0, 3] = -100.0
    for step in range(2):
        trainer.update(torch.tensor(rows_of(step))[None], step)
    assert trainer.dictionary.w_dec.isfinite().all()
    assert (trainer.dictionary.w_dec[0, 3] == 0).all()


@pytest.mark.parametrize(
    ("chosen", "unit"),
    [
        (config.JumpReLU(), True),
        (config.TopK(), True),
        (config.ReLU(norm_weighted=False), True),
        (config.ReLU(norm_weighted=True), False),
    ],
)
def test_decoder_rows_stay_at_norm_one_unless_the_loss_weighs_them(chosen, unit):
    source, _ = as_source(activations(), held_out=0.1)
    cfg = Train(method=chosen, width=M, rows=B * STEPS, batch=B, target_l0=(4.0,))
    trainer = start(cfg, source)
    for step in range(STEPS):
        trainer.update(read_batch(cfg, source, step), step)
    off = (trainer.dictionary.w_dec.norm(dim=-1) - 1).abs().max()
    assert (off < 1e-5) == unit


@pytest.mark.parametrize(
    "chosen", [config.JumpReLU(), config.Gated(norm_weighted=False), config.ReLU()]
)
def test_the_price_brings_l0_to_its_target(chosen):
    source, _ = as_source(activations(4_000), held_out=0.1)
    cfg = Train(
        method=chosen, width=M, rows=250 * 64, batch=64, target_l0=(2.0, 6.0), learning_rate=0.01
    )
    trainer = start(cfg, source)
    for step in range(cfg.steps):
        terms = trainer.update(read_batch(cfg, source, step), step)
    reached = [
        value.item() for name, value in trainer.watch(terms, cfg.steps)[0].items() if "l0/" in name
    ]
    assert reached == pytest.approx([2.0, 6.0], rel=0.25)


def test_the_price_rises_linearly_while_it_warms_up():
    trainer, _ = pair(CASES["jumprelu linear"])
    prices = [float(trainer._setting(step).price) / PRICE for step in range(4)]
    assert prices == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_batchtopks_threshold_follows_the_smallest_kept_entry():
    trainer, _ = pair(CASES["batchtopk"])
    smallest = [
        float(trainer.update(torch.tensor(rows_of(step))[None], step).extra["smallest"])
        for step in range(3)
    ]
    expected = smallest[0]
    for value in smallest[1:]:
        expected = 0.75 * expected + 0.25 * value
    assert float(trainer.dictionary.unit.threshold) == pytest.approx(expected)


def test_a_latent_is_dead_once_it_has_been_silent_for_longer_than_allowed():
    trainer, _ = pair(CASES["topk"])
    trainer.dictionary.b_enc.data[0, 5] = -100.0
    dead = []
    for step in range(3):
        trainer.update(torch.tensor(rows_of(step))[None], step)
        dead.append(bool(trainer.dead[0, 5]))
    assert dead == [False, True, True]  # allowed: one batch


@pytest.mark.parametrize("name", ["jumprelu linear", "batchtopk"])
def test_a_trainer_saved_and_loaded_goes_on_with_the_same_bits(name, tmp_path):
    whole, _ = pair(CASES[name])
    for step in range(3):
        whole.update(torch.tensor(rows_of(step))[None], step)
    path = save(tmp_path, 3, whole)
    again, _ = pair(CASES[name])
    assert load(path, again) == 3
    for step in range(3, STEPS):
        for trainer in (whole, again):
            trainer.update(torch.tensor(rows_of(step))[None], step)
    ours, theirs = whole.state()[0], again.state()[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
