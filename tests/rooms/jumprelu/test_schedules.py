import dataclasses
import math

import pytest

from rooms.jumprelu.examples import B, M, activations
from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.config import Train
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.run import read_batch
from tenfold.rooms.jumprelu.trainer import learning_rate, sparsity_warning, start


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


def test_the_first_price_is_what_a_latent_at_its_threshold_saves():
    def priced(penalty):
        method = config.JumpReLU(penalty=penalty)
        cfg = Train(width=M, rows=10 * B, batch=B, target_l0=(3.0,), method=method)
        return start(cfg, as_source(activations(), held_out=0.1)[0])

    trainer = priced("linear")
    theta = trainer.dictionary.unit.threshold.mean().item()
    assert trainer.log_price.exp().item() == pytest.approx(theta**2)
    # This penalty prices a share of the target, not a latent.
    assert priced("quad_batch").log_price.exp().item() == 1


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"target_l0": (4.5,), "method": config.TopK()}, r"\[4\.5\]: k must be a whole number"),
        ({"target_l0": (3.0, 3.0)}, r"\[3\.0, 3\.0\] .* name each value once"),
        ({"target_l0": (0.0,)}, r"\[0\.0\] must lie in \(0, 24\]"),
        (
            {
                "target_l0": (),
                "price": (0.1,),
                "method": config.JumpReLU(penalty="quad_batch"),
            },
            "penalty quad_batch measures from a target; give target_l0, no price",
        ),
    ],
)
def test_targets_and_prices_that_make_no_sense_are_refused_with_their_value(chosen, told):
    with pytest.raises(ValueError, match=told):
        Train(width=M, **chosen)


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"bandwidth": -0.1}, r"bandwidth \(-0\.1\) must be positive, or 0 for auto"),
        ({"frequency_weight": -1.0}, r"frequency_weight \(-1\.0\) must be at least 0"),
        ({"frequency_scale": 0.0}, r"frequency_scale \(0\.0\) lie in \(0, 1\]"),
    ],
)
def test_windows_and_frequencies_that_make_no_sense_are_refused(chosen, told):
    with pytest.raises(ValueError, match=told):
        config.JumpReLU(**chosen)


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
