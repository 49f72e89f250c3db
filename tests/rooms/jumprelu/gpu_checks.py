"""Checks of the GPU step against dense torch, run by `test_gpu_step.py` in other processes.

With TRITON_INTERPRET=1 in the environment they run on any CPU, otherwise on the GPU. Triton
reads that variable when its functions are made, too early for a fixture.
"""

import dataclasses
import os

import pytest
import torch

from tenfold.engine import rng
from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels import lay_out
from tenfold.rooms.jumprelu.kernels.gpu import GpuStep
from tenfold.rooms.jumprelu.kernels.gpu_entries import EntryFinder, sort_by_latent
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.prices import row_prices
from tenfold.rooms.jumprelu.model import create, row_norms, stack

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
S, B, D, M, OUT = 2, 16, 16, 64, 12
EPS, RATE, THRESHOLD_RATE = 0.1, 1e-2, 2.0
LINEAR = config.JumpReLU(penalty="linear", bandwidth=EPS)


def a_stack(*, width=M, input_width=D, theta=0.58, as_log=False, output_width=0, scale=1.0):
    """Two dictionaries with biases of their own; transcoders with a skip where a width is given."""
    lanes = []
    for seed in range(S):
        lane = create(
            "jumprelu",
            input_width=input_width,
            width=width,
            generator=rng.torch_stream(seed, "gpu", "start"),
            threshold=theta,
            threshold_as_log=as_log,
            transcoder=bool(output_width),
            output_width=output_width,
            skip=bool(output_width),
        )
        generator = rng.torch_stream(seed, "gpu", "biases")
        for parameter in (lane.b_enc, lane.b_dec):
            parameter.data.normal_(std=0.05, generator=generator)
        lanes.append(lane)
    whole = stack(lanes)
    whole.scale = scale
    whole = whole.to(DEVICE)
    lay_out(whole)
    return whole


def batch(step=0, *, rows=B, width=D, shared=False):
    generator = rng.torch_stream(step, "gpu", "rows")
    x = torch.randn(1 if shared else S, rows, width, generator=generator) / width**0.5
    return x.expand(S, rows, width).to(DEVICE)


def setting(*, price=(0.01, 0.03)):
    return method.Setting(
        price=torch.tensor(price, device=DEVICE),
        target_l0=torch.tensor([5.0, 2.0], device=DEVICE),
        bandwidth=EPS,
        dead=torch.zeros(S, M, dtype=torch.bool, device=DEVICE),
    )


def moments_of(whole):
    return Moments(whole, learning_rate=RATE, betas=(0.0, 0.999), threshold_rate=THRESHOLD_RATE)


def dense_preactivations(whole, x):
    z = whole.preactivations(x).detach()
    distance = z - whole.unit.threshold.detach().unsqueeze(1)
    return z, (distance > 0) | (distance.abs() < EPS / 2)


class Dense:
    """The dense twin: autograd, torch's own Adam, projection and renormalisation."""

    def __init__(self, whole, chosen):
        self.whole, self.chosen = whole, chosen
        others = [p for name, p in whole.named_parameters() if name != "unit.raw"]
        groups = [{"params": others, "lr": RATE}]
        groups += [{"params": [whole.unit.raw], "lr": RATE * THRESHOLD_RATE}]
        self.adam = torch.optim.Adam(groups, betas=(0.0, 0.999))

    def step(self, x, y=None):
        whole = self.whole
        y = None if y is None else y / whole.scale
        terms = method.loss(whole, x / whole.scale, setting(), self.chosen, y)
        self.adam.zero_grad()
        terms.loss.sum().backward()
        with torch.no_grad():
            whole.w_dec.grad.copy_(method.remove_parallel(whole.w_dec.grad, whole.w_dec))
            self.adam.step()
            whole.w_dec.div_(row_norms(whole.w_dec).unsqueeze(-1))
            if not whole.unit.as_log:
                whole.unit.raw.clamp_(min=1e-6)
        return terms


# The kernels one by one


@pytest.mark.parametrize(
    ("rows", "width", "inputs", "theta"),
    [(B, M, D, 0.5), (5, 41, 19, 0.3), (33, 200, 7, -0.1)],
    ids=["even", "uneven", "more than fits at first"],
)
def test_entries_are_those_above_the_threshold_or_in_the_window(rows, width, inputs, theta):
    whole, x = a_stack(width=width, input_width=inputs, theta=theta), batch(rows=rows, width=inputs)
    find = EntryFinder(whole, half=EPS / 2, precision="ieee")
    entries = find(x, whole.unit.threshold.detach())
    z, kept = dense_preactivations(whole, x)
    lane, row, latent = kept.nonzero(as_tuple=True)
    assert find.num_entries == len(lane)
    assert entries.latents.tolist() == (lane * width + latent).tolist()
    assert entries.rows.tolist() == (lane * rows + row).tolist()
    torch.testing.assert_close(entries.values, z[kept], rtol=1e-5, atol=1e-6)
    per_row = kept.sum(dim=2).flatten().cumsum(dim=0)
    assert entries.row_starts.tolist() == [0, *per_row.tolist()]


def test_errors_counts_and_slopes_are_those_of_dense_products():
    whole, x, y = a_stack(output_width=OUT), batch(), batch(1, width=OUT)
    step = GpuStep(whole, LINEAR, moments_of(whole))
    theta = whole.unit.threshold.detach()
    entries = step.find_entries(x, theta)
    errors, squares, l0 = step.decode(x, y, entries, theta)
    z, kept = dense_preactivations(whole, x)
    f = z * (z > theta.unsqueeze(1))
    wanted = (whole.reconstruct(f, x) - y).detach()
    torch.testing.assert_close(errors, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(squares, wanted.square().sum(dim=-1))
    assert torch.equal(l0, (f > 0).sum(dim=-1).float())
    slopes = 2 / B * (wanted @ whole.w_dec.detach().mT)
    torch.testing.assert_close(step.project(errors, entries), slopes[kept], rtol=1e-4, atol=1e-6)


def test_sorting_keeps_the_rows_of_a_latent_in_order():
    latents = torch.tensor([3, 1, 3, 0, 1, 3], dtype=torch.int32, device=DEVICE)
    order, starts = sort_by_latent(latents, num_latents=5)
    assert order.tolist() == [3, 1, 4, 0, 2, 5]
    assert starts.tolist() == [0, 1, 3, 3, 6, 6]


@pytest.mark.parametrize("penalty", ["linear", "quad_batch", "quad_example"])
def test_row_prices_are_the_slopes_of_the_penalty(penalty):
    l0 = torch.tensor([[3.0, 8.0, 1.0], [0.0, 2.0, 9.0]], device=DEVICE, requires_grad=True)
    given = setting()
    value = method.jumprelu_penalty(l0, kind=penalty, price=given.price, target_l0=given.target_l0)
    value.sum().backward()
    torch.testing.assert_close(row_prices(l0.detach(), penalty, given), l0.grad)


# The whole step

CASES = {
    "linear": (LINEAR, {}),
    "quad_batch, log thresholds": (
        config.JumpReLU(penalty="quad_batch", bandwidth=EPS),
        {"as_log": True},
    ),
    "quad_example, frequency, step to z": (
        config.JumpReLU(
            penalty="quad_example", bandwidth=EPS, frequency_weight=0.02, step_to_z=True
        ),
        {"scale": 2.0},
    ),
    "transcoder with a skip": (LINEAR, {"output_width": OUT, "scale": 2.0, "theta": 0.85}),
}


def assert_same(ours, theirs, *, tolerance=5e-6):
    for name, value in theirs.state_dict().items():
        found = ours.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_dense_torch(case):
    chosen, options = CASES[case]
    whole, twin = a_stack(**options), Dense(a_stack(**options), chosen)
    moments = moments_of(whole)
    step = GpuStep(whole, chosen, moments)
    steps = 3 if case == "linear" else 2
    for number in range(steps):
        x = whole.scale * batch(number, shared=number % 2 == 0)
        y = whole.scale * batch(number + 9, width=OUT) if whole.transcoder else None
        wanted, found = twin.step(x, y), step(x, y, setting(), rate=RATE)
        for name in ("loss", "error", "l0"):
            torch.testing.assert_close(
                getattr(found, name), getattr(wanted, name).detach(), rtol=1e-5, atol=1e-6
            )
        assert torch.equal(found.fired, wanted.fired)
        assert_same(whole, twin.whole)
    # Some latents rested in between, so that moments had to be brought up to date.
    assert (moments.touched < moments.steps).any()
    assert moments.steps == steps
    assert (whole.w_dec - a_stack(**options).w_dec).abs().max() > RATE


def test_sparse_and_dense_steps_take_turns():
    whole, twin = a_stack(), Dense(a_stack(), LINEAR)
    moments = moments_of(whole)
    step = GpuStep(whole, LINEAR, moments)
    for number in range(3):
        x = batch(number)
        twin.step(x)
        if number % 2 == 0:
            step(x, None, setting(), rate=RATE)
            continue
        whole.zero_grad()
        method.loss(whole, x, setting(), LINEAR).loss.sum().backward()
        with torch.no_grad():
            whole.w_dec.grad.copy_(method.remove_parallel(whole.w_dec.grad, whole.w_dec))
            moments.dense_step(RATE)
            whole.w_dec.div_(row_norms(whole.w_dec).unsqueeze(-1))
    assert_same(whole, twin.whole)


def test_equal_steps_give_equal_bits():
    states = []
    for _ in range(2):
        whole = a_stack()
        step = GpuStep(whole, LINEAR, moments_of(whole))
        step(batch(rows=8), None, setting(), rate=RATE)
        states.append(whole.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_batch_with_too_many_entries_is_left_to_the_dense_step():
    whole = a_stack(theta=-0.2)
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    moments = moments_of(whole)
    step = GpuStep(whole, LINEAR, moments)
    assert step(batch(), None, setting(), rate=RATE, densest=0.5) is None
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    assert moments.steps == 0


def test_without_any_entry_only_the_bias_moves():
    whole, twin = a_stack(theta=9.0), Dense(a_stack(theta=9.0), LINEAR)
    terms = GpuStep(whole, LINEAR, moments_of(whole))(batch(), None, setting(), rate=RATE)
    assert (terms.l0.tolist(), bool(terms.fired.any())) == ([0, 0], False)
    wanted = twin.step(batch())
    torch.testing.assert_close(terms.loss, wanted.loss.detach())
    assert_same(whole, twin.whole)
    assert not torch.equal(whole.b_dec, a_stack().b_dec)


@pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter forms all products in float32")
@pytest.mark.parametrize(("precision", "tolerance"), [("tf32x3", 1e-5), ("tf32", 2e-3)])
def test_other_precisions_are_as_close_as_they_say(precision, tolerance):
    whole, x = a_stack(width=512, input_width=256), batch(rows=128, width=256)
    finder = EntryFinder(whole, half=EPS / 2, precision=precision)
    entries = finder(x, whole.unit.threshold.detach())
    z = whole.preactivations(x).detach()
    at = entries.latents.long()
    found = z[at // 512, entries.rows.long() % 128, at % 512]
    torch.testing.assert_close(entries.values, found, rtol=0, atol=tolerance)


def test_wide_rows_and_many_latents_are_stepped_as_densely():
    if DEVICE == "cpu":
        pytest.skip("minutes in the interpreter")
    sizes = {"width": 4_096, "input_width": 768}
    whole, twin = a_stack(theta=0.1, **sizes), Dense(a_stack(theta=0.1, **sizes), LINEAR)
    step = GpuStep(whole, LINEAR, moments_of(whole))
    given = dataclasses.replace(setting(), dead=torch.zeros(S, 4_096, dtype=torch.bool))
    for number in range(3):
        x = batch(number, rows=512, width=768)
        wanted, found = twin.step(x), step(x, None, given, rate=RATE)
        torch.testing.assert_close(found.loss, wanted.loss.detach(), rtol=1e-5, atol=1e-6)
