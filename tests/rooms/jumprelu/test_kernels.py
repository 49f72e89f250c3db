"""The sparse step beside its plain twin, the dense step: same losses, parameters, states."""

import dataclasses

import numpy as np
import pytest
import torch

from tenfold.engine.checkpoint import load, save
from tenfold.engine.rng import stream
from tenfold.rooms.jumprelu import config, kernels
from tenfold.rooms.jumprelu.model import JumpReLU, create, stack
from tenfold.rooms.jumprelu.trainer import Trainer, metric_units

torch.set_num_threads(1)

D, M, B, STEPS = 20, 150, 70, 24
PRICE = 2e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained by both steps."""

    method: config.Method = config.JumpReLU(penalty="linear", bandwidth=0.1)  # noqa: RUF009 (frozen)
    target_l0: tuple[float, ...] = (5.0,)
    price: tuple[float, ...] = ()
    as_log: bool = False
    input_width: int = D
    width: int = M
    batch: int = B
    output_width: int = 0
    skip: bool = False
    dead_after: int = 10**9
    dead_share: float = 0.0
    """Share of the latents that begin as dead."""
    theta: float = 0.3
    scale: float = 2.0
    steps: int = STEPS
    learning_rate: float = 0.003


def jump(**options):
    return config.JumpReLU(**({"penalty": "linear", "bandwidth": 0.1} | options))


CASES = {
    "linear": Case(),
    "linear under a fixed price": Case(target_l0=(), price=(PRICE,)),
    "quad_batch": Case(method=jump(penalty="quad_batch")),
    "quad_example": Case(method=jump(penalty="quad_example")),
    "frequency penalty": Case(method=jump(frequency_weight=0.02, frequency_scale=0.2)),
    "step to z": Case(method=jump(step_to_z=True)),
    "step to z of quad_example with frequency penalty and log thresholds": Case(
        method=jump(penalty="quad_example", step_to_z=True, frequency_weight=0.01), as_log=True
    ),
    "log thresholds": Case(as_log=True),
    "three lanes": Case(target_l0=(3.0, 6.0, 12.0)),
    "a batch of one row": Case(batch=1),
    "several blocks of rows": Case(batch=700),
    "more latents than a tile, widths that no vector divides": Case(
        input_width=13, width=1_101, target_l0=(9.0,), theta=0.5
    ),
    "a transcoder of another width": Case(output_width=11),
    "a skip transcoder": Case(output_width=33, skip=True),
    "half of the latents active": Case(theta=1e-3),
    "no latent active": Case(theta=50.0),
    "topk": Case(method=config.TopK()),
    "topk with dead latents": Case(method=config.TopK(), dead_share=0.5),
    "topk with few dead latents": Case(method=config.TopK(aux_k=40), dead_share=0.1),
    "topk whose latents die": Case(method=config.TopK(aux_weight=0.5), dead_after=2 * B),
    "topk of one": Case(method=config.TopK(), target_l0=(1.0,)),
    "topk of all": Case(method=config.TopK(), target_l0=(float(M),)),
    "topk of two transcoders": Case(
        method=config.TopK(), target_l0=(3.0, 9.0), output_width=12, dead_share=0.5
    ),
    "batchtopk": Case(method=config.BatchTopK()),
    "batchtopk with dead latents": Case(method=config.BatchTopK(), dead_share=0.4),
    "batchtopk of two": Case(method=config.BatchTopK(), target_l0=(2.0, 9.0), batch=300),
    "batchtopk of more than are positive": Case(method=config.BatchTopK(), target_l0=(float(M),)),
}


def rows_of(case, step, *, width=None):
    """Sums of few directions, for every lane its own, [S, B, D]."""
    width = width or case.input_width
    lanes = len(case.target_l0 or case.price)
    rng = stream(step, "rows", width)
    directions = stream(0, "directions", width).normal(size=(3 * width, width))
    shape = (lanes, case.batch, 3 * width)
    weights = rng.uniform(0.5, 1.5, size=shape) * (rng.random(shape) < 3 / (3 * width))
    rows = weights @ directions + 0.1 * rng.normal(size=(lanes, case.batch, width)) + 0.2
    return torch.tensor(rows, dtype=torch.float32)


def target_of(case, step):
    return rows_of(case, step, width=case.output_width) if case.output_width else None


def new_trainer(case, kernel, *, threads=2, dtype=torch.float32, beta1=0.0):
    cfg = config.Train(
        method=case.method,
        width=case.width,
        target_l0=case.target_l0,
        price=case.price,
        rows=case.batch * case.steps,
        batch=case.batch,
        kernel=kernel,
        threads=threads,
    )
    schedule = dataclasses.replace(
        config.short(steps=case.steps, batch=case.batch, input_width=case.input_width),
        learning_rate=case.learning_rate,
        beta1=beta1,
        threshold_as_log=case.as_log,
        dead_after_rows=case.dead_after,
    )
    trainer = Trainer(
        cfg,
        schedule=schedule,
        dictionary=new_stack(case).to(dtype),
        first_price=torch.full((len(cfg.lanes),), PRICE, dtype=dtype),
        monitor=rows_of(case, 10**6)[0].to(dtype),
        monitor_target=(rows_of(case, 10**6, width=case.output_width or None)[0].to(dtype)),
    )
    trainer.silent_rows[:, : int(case.dead_share * case.width)] = 2 * case.dead_after
    return trainer


def new_stack(case):
    kinds = {config.JumpReLU: "jumprelu", config.TopK: "topk", config.BatchTopK: "batchtopk"}
    dictionaries = []
    for lane, target in enumerate(case.target_l0 or case.price):
        generator = torch.Generator().manual_seed(lane)
        dictionary = create(
            kinds.get(type(case.method), "relu"),
            input_width=case.input_width,
            width=case.width,
            generator=generator,
            k=round(target) or 1,
            threshold=case.theta,
            threshold_as_log=case.as_log,
            transcoder=bool(case.output_width),
            output_width=case.output_width,
            skip=case.skip,
        )
        dictionary.b_dec.data.normal_(std=0.1, generator=generator)
        dictionary.b_enc.data.normal_(std=0.05, generator=generator)
        dictionaries.append(dictionary)
    whole = stack(dictionaries)
    whole.scale = case.scale
    return whole


def take_steps(trainer, case, steps, *, first=0):
    return [
        trainer.update(rows_of(case, step), step, target_of(case, step))
        for step in range(first, first + steps)
    ]


def assert_close(ours, theirs, *, tolerance=2e-4):
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(
            dict(ours.named_parameters())[name], value, rtol=tolerance, atol=tolerance, msg=name
        )


def assert_same_bits(ours, theirs):
    ours, theirs = ours.state()[0], theirs.state()[0]
    assert ours.keys() == theirs.keys()
    different = [name for name, value in ours.items() if not torch.equal(value, theirs[name])]
    assert different == []


@pytest.mark.parametrize("name", CASES)
def test_the_sparse_step_trains_like_the_dense_one(name):
    case = CASES[name]
    dense, sparse = new_trainer(case, "dense"), new_trainer(case, "sparse")
    assert sparse.kernel.name == "cpu"
    for step in range(STEPS):
        (expected,), (found,) = (
            take_steps(trainer, case, 1, first=step) for trainer in (dense, sparse)
        )
        torch.testing.assert_close(found.loss, expected.loss.detach(), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.error, expected.error, rtol=1e-5, atol=1e-7)
        # An entry within a rounding of its threshold may fall on either side.
        torch.testing.assert_close(found.l0, expected.l0, rtol=1e-4, atol=1 / case.batch)
        assert (found.fired != expected.fired).float().mean() <= 1e-4 * max(1, 1e4 / M)
        assert found.extra.keys() == expected.extra.keys()
        for key, value in expected.extra.items():
            torch.testing.assert_close(found.extra[key], value, rtol=1e-4, atol=1e-6)
    assert_close(sparse.dictionary, dense.dictionary)
    assert_close_states(sparse, dense)


def assert_close_states(sparse, dense):
    sparse.moments._catch_up()
    for ours, theirs in zip(
        sparse.dictionary.parameters(), dense.dictionary.parameters(), strict=True
    ):
        scale = float(dense.moments.second(theirs).max()) or 1.0
        torch.testing.assert_close(
            sparse.moments.second(ours) / scale,
            dense.moments.second(theirs) / scale,
            rtol=1e-3,
            atol=1e-4,
        )
    torch.testing.assert_close(sparse.log_price, dense.log_price, rtol=1e-4, atol=1e-4)


def test_two_hundred_steps_keep_the_dense_steps_loss_curve():
    case = Case(width=300, batch=64, target_l0=(4.0,), steps=200, learning_rate=1e-3)
    dense, sparse = new_trainer(case, "dense"), new_trainer(case, "sparse")
    curves = [
        torch.stack([terms.loss.detach() for terms in take_steps(trainer, case, 200)])
        for trainer in (dense, sparse)
    ]
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "three lanes",
        "several blocks of rows",
        "a skip transcoder",
        "topk with dead latents",
        "batchtopk of two",
    ],
)
def test_results_do_not_depend_on_the_number_of_threads(name):
    case = CASES[name]
    trainers = [new_trainer(case, "sparse", threads=threads) for threads in (1, 2, 3, 2)]
    for trainer in trainers:
        take_steps(trainer, case, 4)
    for trainer in trainers[1:]:
        assert_same_bits(trainer, trainers[0])


def test_a_dictionary_of_a_stack_trains_as_it_does_alone():
    case = CASES["three lanes"]
    whole = new_trainer(case, "sparse")
    take_steps(whole, case, 4)
    for lane, target in enumerate(case.target_l0):
        alone = new_trainer(dataclasses.replace(case, target_l0=(target,)), "sparse")
        for name, value in alone.dictionary.named_parameters():
            value.data.copy_(dict(new_stack(case).named_parameters())[name].data[lane])
        for step in range(4):
            alone.update(rows_of(case, step)[lane : lane + 1], step)
        for name, value in whole.dictionary.named_parameters():
            assert torch.equal(dict(alone.dictionary.named_parameters())[name][0], value[lane])


def test_parameters_put_elsewhere_in_memory_are_found_again():
    case = CASES["a skip transcoder"]
    trainers = [new_trainer(case, "sparse") for _ in range(2)]
    for trainer in trainers:
        take_steps(trainer, case, 2)
    moved = trainers[0]
    for parameter in moved.dictionary.parameters():
        parameter.data = parameter.data.clone()
    moved.moments.load_state(*moved.moments.state())
    moved.moments.touched = moved.moments.touched.clone()
    kernels.lay_out(moved.dictionary)
    for trainer in trainers:
        take_steps(trainer, case, 2, first=2)
    assert_same_bits(*trainers)


@pytest.mark.parametrize("name", ["linear", "topk with dead latents", "batchtopk"])
def test_batches_of_another_size_are_trained_on_like_dense_ones(name):
    dense, sparse = (new_trainer(CASES[name], kernel) for kernel in ("dense", "sparse"))
    for step, batch in enumerate((70, 300, 20, 70)):
        case = dataclasses.replace(CASES[name], batch=batch)
        for trainer in (dense, sparse):
            take_steps(trainer, case, 1, first=step)
    assert_close(sparse.dictionary, dense.dictionary)
    assert_close_states(sparse, dense)


@pytest.mark.parametrize("name", ["linear", "a skip transcoder", "topk whose latents die"])
def test_a_trainer_saved_and_loaded_goes_on_with_the_same_bits(name, tmp_path):
    case = CASES[name]
    whole = new_trainer(case, "sparse")
    take_steps(whole, case, 5)
    path = save(tmp_path, 5, whole)
    again = new_trainer(case, "sparse")
    load(path, again)
    for trainer in (whole, again):
        take_steps(trainer, case, 5, first=5)
    assert_same_bits(whole, again)


def test_a_checkpoint_holds_no_first_moments(tmp_path):
    del tmp_path
    for kernel in ("dense", "sparse"):
        trainer = new_trainer(CASES["linear"], kernel)
        take_steps(trainer, CASES["linear"], 1)
        assert not [name for name in trainer.state()[0] if name.endswith("/exp_avg")]


@pytest.mark.parametrize("name", ["linear", "log thresholds", "topk", "a skip transcoder"])
def test_sparse_and_dense_steps_may_take_turns(name):
    case = CASES[name]
    dense, mixed = new_trainer(case, "dense"), new_trainer(case, "sparse")
    sparse_step = mixed.sparse_step
    for step in range(STEPS):
        take_steps(dense, case, 1, first=step)
        mixed.sparse_step = sparse_step if step % 5 else None
        take_steps(mixed, case, 1, first=step)
    assert_close(mixed.dictionary, dense.dictionary)
    assert_close_states(mixed, dense)


def test_dense_steps_between_sparse_ones_are_resumed_with_the_same_bits(tmp_path):
    case = CASES["linear"]
    whole = new_trainer(case, "sparse")
    take_steps(whole, case, 4)
    path = save(tmp_path, 4, whole)
    again = new_trainer(case, "sparse")
    load(path, again)
    for trainer in (whole, again):
        step, trainer.sparse_step = trainer.sparse_step, None
        take_steps(trainer, case, 2, first=4)
        trainer.sparse_step = step
        take_steps(trainer, case, 2, first=6)
    assert_same_bits(whole, again)


def test_auto_takes_the_dense_step_while_too_many_latents_are_active(monkeypatch):
    taken = []
    dense_step = Trainer._dense_step
    monkeypatch.setattr(
        Trainer,
        "_dense_step",
        lambda self, *args, **options: taken.append(1) or dense_step(self, *args, **options),
    )
    for name, number in (("half of the latents active", 3), ("no latent active", 0)):
        taken.clear()
        case = CASES[name]
        trainer = new_trainer(case, "auto")
        take_steps(trainer, case, 3)
        assert len(taken) == number
        assert trainer.moments.steps == 3


def test_a_step_that_was_refused_for_its_density_changed_nothing():
    case = CASES["half of the latents active"]
    trainer = new_trainer(case, "sparse")
    before = {name: value.clone() for name, value in trainer.state()[0].items()}
    setting = trainer._setting(0)
    assert trainer.sparse_step(rows_of(case, 0), None, setting, rate=0.1, densest=0.1) is None
    after = trainer.state()[0]
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_rows_of_nan_are_seen_in_the_loss():
    case = CASES["linear"]
    trainer = new_trainer(case, "sparse")
    rows = rows_of(case, 0)
    rows[0, 3, 2] = torch.nan
    assert trainer.update(rows, 0).loss.isnan().all()


def test_weights_of_another_type_fall_back_to_dense_steps():
    case = CASES["linear"]
    trainer = new_trainer(case, "auto")
    trainer.dictionary.double()
    trainer.update(rows_of(case, 0).double(), 0)
    assert trainer.dictionary.w_enc.dtype == torch.float64


def test_lanes_of_other_names_and_their_own_monitors_are_reported():
    case = CASES["three lanes"]
    cfg = config.Train(method=case.method, width=M, rows=B * STEPS, batch=B, target_l0=(3.0,))
    lanes = tuple(config.Lane(seed=0, target_l0=target, price=0.0) for target in case.target_l0)
    trainer = Trainer(
        cfg,
        schedule=config.short(steps=STEPS, batch=B, input_width=D),
        dictionary=new_stack(case),
        first_price=torch.full((3,), PRICE),
        monitor=rows_of(case, 10**6),
        lanes=lanes,
    )
    (terms,) = take_steps(trainer, case, 1)
    values, _ = trainer.watch(terms, 0)
    assert set(values) <= set(metric_units(cfg, lanes))
    assert {name.split("/")[1] for name in values} == {lane.name for lane in lanes}
    for lane, monitor in enumerate(trainer.monitor):
        one = trainer.dictionary.lane(lane)
        scaled = one(monitor * one.scale).detach() / one.scale
        missed = (scaled - monitor).square().sum() / (monitor - monitor.mean(0)).square().sum()
        assert float(values[f"fvu/{lanes[lane].name}"]) == pytest.approx(float(missed), rel=1e-4)


# What the sparse step refuses


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        (jump(penalty="tanh"), {}, "tanh"),
        (config.ReLU(), {}, "ReLU has no sparse code"),
        (config.TopK(multi_weight=0.1), {}, "Multi-TopK"),
        (jump(), {"beta1": 0.9}, "beta1 is 0.9"),
        (jump(), {"dtype": torch.float64}, "float64"),
    ],
)
def test_what_has_no_sparse_code_is_trained_densely_and_refused_when_asked_for(
    method, options, reason
):
    case = Case(method=method)
    trainer = new_trainer(case, "auto", **options)
    assert trainer.kernel.name == "dense"
    assert reason in str(trainer.kernel)
    with pytest.raises(kernels.TenfoldError, match="sparse steps cannot be taken") as caught:
        new_trainer(case, "sparse", **options)
    assert reason in str(caught.value)


def test_a_dictionary_on_another_device_is_trained_densely():
    dictionary = new_stack(Case()).to("meta")
    chosen, schedule = jump(), config.gemma_scope()
    assert "meta" in kernels.find_obstacle(dictionary, chosen, schedule)


def test_without_numba_steps_are_dense_and_say_why(monkeypatch):
    monkeypatch.setattr(kernels.kernel, "find_obstacle", lambda: "numba cannot be imported (x)")
    trainer = new_trainer(CASES["linear"], "auto")
    assert str(trainer.kernel) == "plain torch, because numba cannot be imported (x)"
    assert trainer.sparse_step is None


def test_a_bandwidth_of_zero_has_no_sparse_code():
    dictionary = new_stack(Case())
    assert isinstance(dictionary.unit, JumpReLU)
    schedule = config.gemma_scope()
    found = kernels.find_obstacle(dictionary, config.JumpReLU(penalty="linear"), schedule)
    assert found == "the bandwidth is 0, it must be positive"


def test_what_takes_the_steps_is_told_with_its_reason():
    assert "dense steps were asked for" in str(new_trainer(Case(), "dense").kernel)
    assert str(new_trainer(Case(), "auto").kernel).startswith("sparse steps by numba")
    assert np.isfinite(kernels.DENSEST)
