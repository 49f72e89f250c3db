import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from tenfold.engine.checkpoint import load, save
from tenfold.engine.rng import stream
from tenfold.engine.run import Options, Run, RunStopped
from tenfold.rooms.jumprelu import config, files
from tenfold.rooms.jumprelu.config import Train
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.model import JumpReLU, stack
from tenfold.rooms.jumprelu.run import read_batch, train
from tenfold.rooms.jumprelu.trainer import (
    Trainer,
    learning_rate,
    metric_units,
    sparsity_warning,
    start,
)

from . import plain

torch.set_num_threads(1)

D, M, B = 8, 24, 16
STEPS, PRICE = 6, 2**-6


def activations(rows=400, *, active=3, seed=0):
    """Rows that really are sums of few directions."""
    rng = stream(seed, "activations")
    directions = rng.normal(size=(M, D))
    weights = rng.uniform(0.5, 1.5, size=(rows, M)) * (rng.random((rows, M)) < active / M)
    return (weights @ directions + 0.3 * rng.normal(size=(rows, D)) + 0.5).astype(np.float32)


def random_start(kind, *, seed=0):
    """Parameters from which every path of the loss is taken."""
    rng = stream(seed, "parameters", kind)
    w_dec = rng.normal(size=(M, D))
    w_dec /= np.linalg.norm(w_dec, axis=1, keepdims=True)
    parameters = {
        "w_enc": w_dec.T + 0.2 * rng.normal(size=(D, M)),
        "b_enc": 0.1 * rng.normal(size=M),
        "w_dec": w_dec,
        "b_dec": 0.1 * rng.normal(size=D),
    }
    if kind == "gated":
        parameters |= {"gain_log": 0.3 * rng.normal(size=M), "b_mag": 0.2 * rng.normal(size=M)}
    if kind == "jumprelu":
        parameters["theta"] = rng.uniform(0.1, 0.4, size=M)
    return parameters


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
        config.short(steps=steps, batch=B),
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
