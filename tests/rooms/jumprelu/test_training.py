import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from rooms.jumprelu import plain
from rooms.jumprelu.examples import B, D, M, activations, random_start
from tenfold.engine.checkpoint import load, save
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.run import Options, RunStopped
from tenfold.rooms.jumprelu import config, files
from tenfold.rooms.jumprelu.config import Train
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.model import JumpReLU
from tenfold.rooms.jumprelu.eval import measure
from tenfold.rooms.jumprelu.run import read_batch, resume, train
from tenfold.rooms.jumprelu.trainer import (
    Trainer,
    learning_rate,
    sparsity_warning,
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


def test_the_step_size_rises_by_a_cosine_stays_and_falls_to_zero():
    schedule = dataclasses.replace(
        config.gemma_scope(), learning_rate=2.0, warmup_steps=100, decay_share=0.2
    )

    def at(step):
        return learning_rate(step, steps=1_000, schedule=schedule)

    assert at(0) == pytest.approx(0.2)
    assert at(50) == pytest.approx(1.1)
    assert at(25) == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 - math.sqrt(0.5))))
    assert [at(step) for step in (100, 500, 800)] == [2.0, 2.0, 2.0]
    assert at(900) == pytest.approx(1.0)
    assert at(999) == pytest.approx(0.01)


def test_gemma_scopes_step_size_never_falls():
    rates = [
        learning_rate(step, steps=5_000, schedule=config.gemma_scope())
        for step in (0, 1_000, 4_999)
    ]
    assert rates == pytest.approx([7e-6, 7e-5, 7e-5])


def test_gemma_scope_constants_are_those_of_the_papers_table():
    schedule = config.gemma_scope()
    assert dataclasses.asdict(schedule) == {
        "name": "gemma-scope",
        "learning_rate": 7e-5,
        "beta1": 0.0,
        "beta2": 0.999,
        "warmup_steps": 1_000,
        "decay_share": 0.0,
        "price_warmup_steps": 10_000,
        "bandwidth": 1e-3,
        "penalty": "linear",
        "threshold_rate": 1.0,
        "threshold_as_log": True,
        "threshold_start": 1e-3,
        "centre": "zero",
        "threshold_decay": 0.999,
        "dead_after_rows": 10_000_000,
    }
    second = config.gemma_scope_2()
    changed = dataclasses.asdict(second).items() - dataclasses.asdict(schedule).items()
    assert dict(changed) == {
        "name": "gemma-scope-2",
        "price_warmup_steps": 50_000,
        "penalty": "quad_example",
    }
    paper = config.paper()
    assert (paper.batch, paper.width, paper.rows) == (4_096, 2**14, 4_000_000_000)


@pytest.mark.parametrize(("steps", "name"), [(199_999, "short"), (200_000, "gemma-scope")])
def test_the_papers_constants_are_chosen_from_two_hundred_thousand_steps_on(steps, name):
    cfg = Train(width=M, rows=steps * B, batch=B, target_l0=(4.0,))
    assert cfg.steps == steps
    assert config.resolve_schedule(cfg).name == name


def test_a_named_schedule_and_a_given_step_size_are_taken():
    cfg = Train(width=M, target_l0=(4.0,), schedule="gemma-scope-2", learning_rate=0.5)
    assert config.resolve_schedule(cfg).name == "gemma-scope-2"
    assert config.resolve_schedule(cfg).learning_rate == 0.5
    assert config.resolve_schedule(cfg).penalty == "quad_example"


def test_a_fixed_price_has_no_target_to_measure_from():
    cfg = Train(width=M, batch=B, target_l0=(), price=(0.1,), schedule="gemma-scope-2")
    source, _ = as_source(activations(), held_out=0.1)
    trainer = start(cfg, source)
    assert trainer.method.penalty == "linear"
    assert trainer.update(read_batch(cfg, source, 0), 0).loss.isfinite().all()


TARGET = config.Lane(seed=0, target_l0=4.0, price=0.0)


def test_a_dictionary_that_stays_dense_is_told_to_raise_the_bandwidth():
    told = sparsity_warning(TARGET, 7.0, width=24, price=0.1, benefit=0.1)
    assert told == (
        "warning: l0_4_s0 is not sparsifying, L0 is 7 of 24; "
        "raise the bandwidth or use --schedule short"
    )


def test_a_saturated_price_is_told_with_what_staying_on_saves():
    told = sparsity_warning(TARGET, 7.0, width=240, price=0.5, benefit=0.01)
    assert told == (
        "warning: l0_4_s0 has a saturated price, 0.5 where staying on saves 0.01; "
        "raising it will not lower L0 from 7"
    )


@pytest.mark.parametrize(("l0", "price", "benefit"), [(7.0, 0.05, 0.01), (5.0, 0.5, 0.01)])
def test_no_warning_where_the_price_still_acts_or_the_target_is_met(l0, price, benefit):
    assert not sparsity_warning(TARGET, l0, width=240, price=price, benefit=benefit)


def test_a_fixed_price_is_saturated_whatever_the_l0():
    lane = config.Lane(seed=0, target_l0=0.0, price=0.5)
    assert "saturated" in sparsity_warning(lane, 1.0, width=240, price=0.5, benefit=0.01)
    assert "saturated" in sparsity_warning(lane, 1.0, width=240, price=0.5, benefit=-0.01)


def test_each_warning_is_told_once():
    source, _ = as_source(activations(), held_out=0.1)
    cfg = Train(width=M, rows=10 * B, batch=B, target_l0=(3.0,))
    trainer = start(cfg, source)
    trainer.dictionary.unit.raw.data.fill_(1e-6)  # half of all latents fire
    terms = trainer.update(read_batch(cfg, source, 0), 0)
    told = [trainer.watch(terms, step=5)[1] for _ in range(2)]
    assert [len(warnings) for warnings in told] == [1, 0]
    assert "is not sparsifying" in told[0][0]


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


def test_the_tanh_recipe_is_anthropics_rescaled_to_inputs_of_norm_one():
    cfg = Train(
        width=M, rows=600 * B, batch=B, method=config.JumpReLU(penalty="tanh"), target_l0=(4.0,)
    )
    schedule = config.resolve_schedule(cfg, input_width=16)
    assert schedule.price_warmup_steps == 600  # the whole run
    assert schedule.decay_share == 0.2
    # eps = 2 and theta = 0.1 at norm sqrt(16)
    assert (schedule.bandwidth, schedule.threshold_start) == (0.5, 0.025)
    assert not schedule.threshold_as_log


@pytest.mark.parametrize("chosen", [config.TopK(), config.BatchTopK(), config.Matryoshka()])
def test_topk_kinds_take_their_own_step_size_in_long_runs(chosen):
    cfg = Train(width=2**16, method=chosen, schedule="gemma-scope")
    assert config.resolve_schedule(cfg).learning_rate == pytest.approx(1e-4)
    assert config.resolve_schedule(cfg).centre == "median"


# Whole runs

SMALL = Train(width=M, rows=10 * B, batch=B, target_l0=(3.0,), log_every=3, device="cpu", threads=1)


def options(root, **more):
    return Options(runs=str(root), quiet=True, **more)


def weights(run):
    (folder,) = (run.path / "out").glob("l0_*")
    return files.load(folder).state_dict()


def factory(cursor):
    return (torch.tensor(activations(B, seed=number)) for number in itertools.count(cursor))


@pytest.mark.parametrize("data", [activations(), factory], ids=["array", "factory"])
def test_a_run_stopped_and_resumed_equals_an_undisturbed_one(data, tmp_path):
    whole = train(SMALL, data, options=options(tmp_path / "whole"))
    with pytest.raises(RunStopped) as stopped:
        train(SMALL, data, options=options(tmp_path / "parts", stop_after=4))
    again = resume(stopped.value.path, data, options=options(tmp_path / "parts"))
    theirs = weights(whole)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(again).items())


def test_a_run_on_a_plain_iterator_trains_but_refuses_to_resume(tmp_path):
    train(SMALL, factory(0), options=options(tmp_path))
    with pytest.raises(RunStopped) as stopped:
        train(SMALL, factory(0), options=options(tmp_path, stop_after=4))
    with pytest.raises(
        TenfoldError, match="batch 4 was asked for but a plain iterator stands at 0"
    ):
        resume(stopped.value.path, factory(0), options=options(tmp_path))


def test_changed_data_are_refused_on_resume(tmp_path):
    with pytest.raises(RunStopped) as stopped:
        train(SMALL, activations(), options=options(tmp_path, stop_after=4))
    other = activations()
    other[0] += 1
    with pytest.raises(
        TenfoldError, match="are not those that .* began with; put the old file back"
    ):
        resume(stopped.value.path, other, options=options(tmp_path))


def test_a_run_whose_folded_result_is_measured_on_held_out_rows(tmp_path):
    cfg = dataclasses.replace(SMALL, target_l0=(2.0, 4.0))
    run = train(cfg, activations(), options=options(tmp_path))
    reported = read_json(run.out / "metrics.json")
    source, _ = as_source(activations(), held_out=cfg.held_out)
    assert set(reported) == {"l0_2_s0", "l0_4_s0"}
    for name, values in reported.items():
        found = measure(files.load(run.out / name), source.held_out())
        assert values["fvu"] == pytest.approx(found.fvu)
        assert values["l0"] == pytest.approx(found.l0)


def test_what_cannot_be_opened_leaves_no_run_directory(tmp_path):
    with pytest.raises(TenfoldError, match="is no source of activations"):
        train(SMALL, 3.5, options=options(tmp_path))
    assert not list(tmp_path.iterdir())
