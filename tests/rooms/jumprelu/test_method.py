import dataclasses

import numpy as np
import pytest
import torch

from rooms.jumprelu.examples import OUT, B, D, M, dictionary, rows, transcoder
from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.model import Dictionary, JumpReLU

# Two rows, three latents: inside the window are (0, 0), (0, 1), (0, 2) and (1, 0).
Z = torch.tensor([[0.5, 0.35, 1.0], [0.3, 0.8, 1.3]], dtype=torch.float64)
THETA = torch.tensor([0.4, 0.5, 1.0], dtype=torch.float64)
EPS = 0.4
LATENT, L0, COUNT = (0, 1, 2)
UPSTREAM = (
    torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64),
    torch.tensor([10.0, 20.0], dtype=torch.float64),
    torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
)


def pull_back(output, *, z=Z, theta=THETA, upstream=None, bandwidth=EPS, step_to_z=False):
    """Return the gradients in z and theta of one output under `upstream`."""
    z, theta = z.clone().requires_grad_(), theta.clone().requires_grad_()
    outputs = method.threshold_latents(z, theta, bandwidth=bandwidth, step_to_z=step_to_z)
    outputs[output].backward(UPSTREAM[output] if upstream is None else upstream)
    return z.grad.tolist(), theta.grad.tolist()


def setting(*, price=0.0, target=4.0, dead=None, bandwidth=0.5):
    return method.Setting(
        price=torch.tensor(price, dtype=torch.float64),
        target_l0=torch.tensor(target, dtype=torch.float64),
        bandwidth=bandwidth,
        dead=torch.zeros(M, dtype=torch.bool) if dead is None else dead,
    )


def test_latents_counts_and_l0_are_those_above_the_threshold():
    f, l0, count = method.threshold_latents(Z, THETA, bandwidth=EPS)
    assert f.tolist() == [[0.5, 0, 0], [0, 0.8, 1.3]]
    assert l0.tolist() == [1, 2]
    assert count.tolist() == [1, 1, 1]


def test_gradients_of_latents_are_those_worked_out_by_hand():
    in_z, in_theta = pull_back(LATENT)
    assert in_z == [[1, 0, 0], [0, 5, 6]]  # H(z - theta) and nothing else
    # -(theta / eps) times upstream of the entries in the window
    assert in_theta == pytest.approx([-1 * (1 + 4), -1.25 * 2, -2.5 * 3])


def test_gradients_of_l0_are_those_worked_out_by_hand():
    in_z, in_theta = pull_back(L0)
    assert in_z == [[0, 0, 0], [0, 0, 0]]
    assert in_theta == pytest.approx([-2.5 * (10 + 20), -2.5 * 10, -2.5 * 10])


def test_gradients_of_firing_counts_are_those_worked_out_by_hand():
    in_z, in_theta = pull_back(COUNT)
    assert in_z == [[0, 0, 0], [0, 0, 0]]
    assert in_theta == pytest.approx([-2.5 * 2 * 1, -2.5 * 2, -2.5 * 3])


def test_step_to_z_adds_the_steps_pseudo_gradient_with_the_other_sign():
    in_z, _ = pull_back(LATENT, step_to_z=True)
    np.testing.assert_allclose(in_z, [[1 + 1, 1.25 * 2, 2.5 * 3], [4, 5, 6]])
    in_z, _ = pull_back(L0, step_to_z=True)
    np.testing.assert_allclose(in_z, [[25, 25, 25], [50, 0, 0]])


def test_a_preactivation_equal_to_its_threshold_is_off_but_in_the_window():
    at = torch.tensor([[0.7]], dtype=torch.float64)
    f, l0, count = method.threshold_latents(at, at[0], bandwidth=0.1)
    assert (f.item(), l0.item(), count.item()) == (0, 0, 0)
    one = torch.ones(1, dtype=torch.float64)
    assert pull_back(L0, z=at, theta=at[0], upstream=one, bandwidth=0.1)[1] == pytest.approx([-10])


def test_both_halves_of_the_window_count_even_below_zero():
    # theta = 0.1 with eps = 0.4: the window is (-0.1, 0.3).
    z = torch.tensor([[-0.05], [0.05], [0.25]], dtype=torch.float64)
    theta = torch.tensor([0.1], dtype=torch.float64)
    for entry in z:
        one = torch.ones(1, dtype=torch.float64)
        _, slope = pull_back(L0, z=entry[None], theta=theta, upstream=one)
        assert slope == pytest.approx([-1 / EPS])


@pytest.mark.parametrize("z", [-5.0, -0.11, 0.31])
def test_what_lies_outside_the_window_moves_no_threshold(z):
    # Clipped at zero, the negative ones would lie inside.
    at = torch.tensor([[z]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    _, slope = pull_back(L0, z=at, theta=torch.tensor([0.1]).double(), upstream=one)
    assert slope == [0]


def test_the_window_is_open_at_its_ends():
    u = torch.tensor([-0.5, -0.4999, 0.0, 0.4999, 0.5])
    assert method.rectangle(u).tolist() == [0, 1, 1, 1, 0]


def test_the_threshold_gradient_estimates_the_slope_of_the_expected_loss():
    count, eps, price = 200_000, 0.1, 0.5
    sample = torch.randn(count, 3, generator=torch.Generator().manual_seed(0)).double()
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]], dtype=torch.float64)
    whole = Dictionary(
        w_enc=directions.T,
        b_enc=torch.zeros(2, dtype=torch.float64),
        w_dec=directions,
        b_dec=torch.zeros(3, dtype=torch.float64),
        unit=JumpReLU(torch.tensor([0.6, 0.8], dtype=torch.float64)),
    )

    def expected_loss(index, change):
        unit = JumpReLU(whole.unit.threshold.detach())
        unit.raw.data[index] += change
        f = unit(whole.preactivations(sample), whole.b_enc)
        error = method.squared_error(sample, whole.reconstruct(f))
        return (error + price * (f > 0).sum(dim=-1).double().mean()).item()

    terms = method.loss(
        whole, sample, setting(price=price, bandwidth=eps), config.JumpReLU(penalty="linear")
    )
    terms.loss.backward()
    for index in range(2):
        slope = (expected_loss(index, eps / 2) - expected_loss(index, -eps / 2)) / eps
        assert abs(slope) > 0.02
        assert whole.unit.raw.grad[index].item() == pytest.approx(slope, rel=0.1)


def test_the_sparsity_term_trains_nothing_but_thresholds():
    whole = dictionary("jumprelu")
    x = rows()
    _, l0, _ = method.threshold_latents(
        whole.preactivations(x), whole.unit.threshold, bandwidth=0.5
    )
    l0.mean().backward()
    assert whole.unit.raw.grad.abs().sum() > 0
    for name in ("w_enc", "b_enc", "b_dec"):
        assert getattr(whole, name).grad.abs().sum() == 0


def slope_in_l0(kind, l0, *, target=8.0, price=0.3):
    """Return the sum of a penalty's slopes in the L0 of each row: its slope in a common shift."""
    l0 = torch.tensor(l0, dtype=torch.float64, requires_grad=True)
    penalty = method.jumprelu_penalty(
        l0, kind=kind, price=torch.tensor(price), target_l0=torch.tensor(target)
    )
    penalty.backward()
    return l0.grad.sum().item()


def penalty_at(kind, l0, *, target=8.0, price=0.3):
    return method.jumprelu_penalty(
        torch.tensor(l0, dtype=torch.float64),
        kind=kind,
        price=torch.tensor(price, dtype=torch.float64),
        target_l0=torch.tensor(target, dtype=torch.float64),
    ).item()


def test_the_linear_penalty_costs_the_price_for_every_latent():
    assert penalty_at("linear", [4.0, 6.0]) == pytest.approx(0.3 * 5)
    assert slope_in_l0("linear", [4.0, 30.0]) == pytest.approx(0.3)


@pytest.mark.parametrize(("times", "prices"), [(1.0, 0), (1.25, 1), (2.0, 4), (0.5, -2)])
def test_the_quadratic_penalty_of_examples_grows_with_the_excess(times, prices):
    assert slope_in_l0("quad_example", [8 * times] * 4) == pytest.approx(0.3 * prices)
    assert penalty_at("quad_example", [8 * times] * 4) == pytest.approx(
        0.3 * 2 / 8 * (8 * times - 8) ** 2
    )


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0])
def test_the_quadratic_penalty_of_batches_measures_the_relative_excess(times):
    assert penalty_at("quad_batch", [8 * times] * 4) == pytest.approx(0.3 * (times - 1) ** 2)
    assert slope_in_l0("quad_batch", [8 * times] * 4) == pytest.approx(0.3 * 2 * (times - 1) / 8)


def test_only_the_penalty_of_examples_minds_a_spread_around_the_target():
    assert penalty_at("quad_batch", [6.0, 10.0]) == 0
    assert penalty_at("quad_example", [6.0, 10.0]) == pytest.approx(0.3 * 2 / 8 * 4)


def test_an_unknown_penalty_is_refused_by_name():
    with pytest.raises(ValueError, match="'cubic' is none of linear, quad_batch, quad_example"):
        penalty_at("cubic", [1.0])


def test_tanh_loss_is_the_recipe_for_norm_sqrt_d_divided_by_d():
    whole, x, price, root = dictionary("jumprelu"), rows(), 0.3, D**0.5
    terms = method.loss(whole, x, setting(price=price), config.JumpReLU(penalty="tanh"))
    with torch.no_grad():
        z = root * whole.preactivations(x)
        theta, norm = root * whole.unit.threshold, torch.linalg.vector_norm(whole.w_dec, dim=1)
        f = z * (z > theta)
        error = root * x - (f @ whole.w_dec + root * whole.b_dec)
        recipe = error.square().sum(dim=1)
        recipe += D * price * (4 * f * norm).tanh().sum(dim=1)
        recipe += 3e-6 * ((theta - z).relu() * norm).sum(dim=1)
    assert terms.loss.item() == pytest.approx(recipe.mean().item() / D, rel=1e-12)


def test_tanh_penalty_reaches_the_encoder_through_the_step():
    whole = dictionary("jumprelu")
    outside = dataclasses.replace(setting(price=1.0), bandwidth=1e-9)
    gradients = []
    for chosen in (setting(price=1.0), outside):
        whole.zero_grad()
        method.loss(whole, rows(), chosen, config.JumpReLU(penalty="tanh")).loss.backward()
        gradients.append(whole.w_enc.grad.clone())
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3


def test_the_frequency_penalty_grows_beyond_its_scale():
    rates = torch.tensor([0.0, 0.1, 0.5])
    assert method.frequency_penalty(rates, scale=0.1).item() == pytest.approx(0.1 * 2 + 0.5 * 6)


def test_the_error_is_summed_over_dimensions_and_averaged_over_rows():
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert method.squared_error(x, torch.zeros(2, 2)).item() == 2.5


def test_l1_is_weighted_by_the_norm_of_directions_only_if_asked():
    f = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    w_dec = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    assert method.l1(f, w_dec, norm_weighted=False).item() == pytest.approx(3)
    assert method.l1(f, w_dec, norm_weighted=True).item() == pytest.approx(2 * 5 + 1 * 2)


def test_the_gates_reconstruction_gives_the_decoder_no_gradient():
    whole = dictionary("gated")
    whole.unit.b_mag.data.fill_(-100.0)  # every latent is off, only the gate reconstructs
    terms = method.loss(whole, rows(), setting(), config.Gated())
    terms.loss.backward()
    assert terms.l0.item() == 0
    assert whole.w_dec.grad.abs().sum() == 0
    assert whole.w_enc.grad.abs().sum() > 0


def test_gated_loss_counts_error_price_and_auxiliary_error():
    whole, x = dictionary("gated"), rows()
    terms = method.loss(whole, x, setting(price=0.2), config.Gated(norm_weighted=False))
    gate = whole.preactivations(x).relu()
    expected = (
        (x - whole.reconstruct(whole.encode(x))).square().sum(dim=1)
        + 0.2 * gate.sum(dim=1)
        + (x - whole.reconstruct(gate)).square().sum(dim=1)
    )
    assert terms.loss.item() == pytest.approx(expected.mean().item(), rel=1e-12)


@pytest.mark.parametrize("kind", [config.TopK, config.BatchTopK, config.Matryoshka])
def test_auxk_adds_nothing_without_dead_latents(kind):
    name = kind.__name__.lower()
    with_it, without = (
        method.loss(dictionary(name), rows(), setting(), kind(aux_weight=weight)).loss.item()
        for weight in (10.0, 0.0)
    )
    assert with_it == without


def test_auxk_rebuilds_the_error_from_dead_latents_alone():
    whole = dictionary("topk")
    w_dec = whole.w_dec.detach()
    e = torch.stack([w_dec[5], -w_dec[5], 2 * w_dec[5], -2 * w_dec[5]])
    a = torch.zeros(4, M, dtype=torch.float64)
    a[0, 5], a[2, 5] = 1.0, 2.0
    a[:, 0] = 9.0  # alive: must not help
    dead = torch.arange(M) == 5
    # Rows 0 and 2 are rebuilt, rows 1 and 3 not: (1 + 4) of (1 + 1 + 4 + 4) is missed.
    found = method.aux_k(whole, a, e, dead_M=dead, k=1)
    assert found.item() == pytest.approx(0.5)


def test_auxk_is_zero_and_not_nan_if_the_error_does_not_vary():
    whole = dictionary("topk")
    e = torch.ones(B, D, dtype=torch.float64)
    dead = torch.ones(M, dtype=torch.bool)
    assert method.aux_k(whole, torch.ones(B, M).double(), e, dead_M=dead, k=2).item() == 0


def test_auxk_sends_no_gradient_through_the_error():
    whole = dictionary("topk")
    e = rows().requires_grad_()
    a = whole.preactivations(rows()).relu().detach()
    method.aux_k(whole, a, e, dead_M=torch.ones(M, dtype=torch.bool), k=2).backward()
    assert e.grad is None
    assert whole.w_dec.grad.abs().sum() > 0


def test_batch_topk_keeps_k_times_b_entries_and_those_are_the_largest():
    a = torch.rand(3, B, M, generator=torch.Generator().manual_seed(0)) + 0.1
    kept = method.batch_topk_latents(a, torch.tensor([2, 4, 7]))
    assert (kept > 0).sum(dim=(1, 2)).tolist() == [2 * B, 4 * B, 7 * B]
    for before, after in zip(a, kept, strict=True):
        assert after[after > 0].min() > before[after == 0].max()
        assert torch.equal(after[after > 0], before[after > 0])


def test_matryoshka_sums_the_errors_of_its_prefixes():
    whole, x = dictionary("matryoshka"), rows()
    terms = method.loss(whole, x, setting(), config.Matryoshka(aux_weight=0.0))
    f = method.batch_topk_latents(whole.preactivations(x).relu(), whole.unit.k)
    errors = [
        (x - whole.reconstruct(f * (torch.arange(M) < size))).square().sum(dim=1).mean().item()
        for size in (6, 12, 24)
    ]
    assert terms.loss.item() == pytest.approx(sum(errors), rel=1e-12)
    assert terms.error.item() == pytest.approx(errors[-1], rel=1e-12)


def test_decoder_gradients_lose_exactly_their_part_along_the_rows():
    w_dec = dictionary("relu").w_dec.detach()
    gradient = torch.randn(M, D, generator=torch.Generator().manual_seed(0)).double()
    left = method.remove_parallel(gradient, w_dec)
    np.testing.assert_allclose((left * w_dec).sum(dim=1), 0, atol=1e-14)
    along = gradient - left
    np.testing.assert_allclose(along, (along * w_dec).sum(dim=1, keepdim=True) * w_dec, atol=1e-14)


def test_the_benefit_of_a_lone_latent_at_its_threshold_is_theta_squared():
    one = torch.ones(1, 1, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    whole = Dictionary(w_enc=one, b_enc=zero, w_dec=one, b_dec=zero, unit=JumpReLU(0.5 * one[0]))
    # Half of the window is on and fits exactly, half is off and would save 2 theta x.
    x = torch.linspace(0.4501, 0.5499, 1_000, dtype=torch.float64)[:, None]
    benefit, share = method.benefit_at_threshold(whole, torch.cat([x, x + 1]), bandwidth=0.1)
    assert benefit.item() == pytest.approx(0.25, rel=0.06)
    assert share.item() == pytest.approx(0.5)


# Transcoders: the target lies at another site

METHODS = {
    "jumprelu": config.JumpReLU(penalty="linear"),
    "jumprelu tanh": config.JumpReLU(penalty="tanh"),
    "relu": config.ReLU(),
    "gated": config.Gated(),
    "topk": config.TopK(multi_weight=0.25),
    "batchtopk": config.BatchTopK(),
    "matryoshka": config.Matryoshka(),
}


def target(count=B):
    """What the latents of another site might be: a bent map of the rows."""
    return (rows(count) @ torch.linspace(-1, 1, D * OUT, dtype=torch.float64).view(D, OUT)).tanh()


def loss_of(name, whole, x, y=None):
    dead = torch.zeros(M, dtype=torch.bool)
    dead[::3] = True
    terms = method.loss(whole, x, setting(price=0.3, dead=dead), METHODS[name], y)
    assert terms.error.isfinite()
    return terms.loss


def changed(whole, **parameters):
    values = {n: p.detach() for n, p in whole.named_parameters() if not n.startswith("unit")}
    values["w_skip"] = None
    return Dictionary(**values | parameters, unit=whole.unit, transcoder=True)


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_without_a_target_is_that_of_rebuilding_the_input(name):
    whole, x = dictionary(name.split()[0], pre_bias=False), rows()
    as_transcoder = changed(whole)
    torch.testing.assert_close(loss_of(name, as_transcoder, x, x), loss_of(name, whole, x))


@pytest.mark.parametrize("name", METHODS)
def test_a_skip_connection_takes_its_part_off_the_target(name):
    whole, x, y = transcoder(name.split()[0]), rows(), target()
    without = changed(whole)
    left = y - x @ whole.w_skip.detach()
    torch.testing.assert_close(loss_of(name, whole, x, y), loss_of(name, without, x, left))


# Not those with AuxK, which takes as many dead latents as half the output's width.
@pytest.mark.parametrize("name", ["jumprelu", "jumprelu tanh", "relu", "gated"])
def test_columns_of_zeros_in_target_and_decoder_change_no_loss(name):
    whole, x, y = transcoder(name.split()[0], skip=False), rows(), target()
    pad = torch.nn.functional.pad
    wider = changed(
        whole, w_dec=pad(whole.w_dec.detach(), (0, 2)), b_dec=pad(whole.b_dec.detach(), (0, 2))
    )
    torch.testing.assert_close(loss_of(name, wider, x, pad(y, (0, 2))), loss_of(name, whole, x, y))


@pytest.mark.parametrize("name", ["jumprelu", "topk", "batchtopk", "relu"])
def test_gradients_of_skip_and_bias_are_those_of_linear_regression(name):
    whole, x, y = transcoder(name), rows(), target()
    plain = dict(
        METHODS, topk=config.TopK(aux_weight=0.0), batchtopk=config.BatchTopK(aux_weight=0.0)
    )
    method.loss(whole, x, setting(), plain[name], y).loss.backward()
    f = whole.activate(whole.preactivations(x)).detach()
    if name == "batchtopk":
        f = method.batch_topk_latents(whole.preactivations(x).relu(), whole.unit.k).detach()
    e = f @ whole.w_dec.detach() + whole.b_dec.detach() + x @ whole.w_skip.detach() - y
    torch.testing.assert_close(whole.w_skip.grad, 2 / B * x.T @ e)
    torch.testing.assert_close(whole.b_dec.grad, 2 / B * e.sum(dim=0))


def test_the_gated_loss_teaches_skip_and_bias_by_the_first_reconstruction_only():
    whole, x, y = transcoder("gated"), rows(), target()
    method.loss(whole, x, setting(), config.Gated(), y).loss.backward()
    f = whole.activate(whole.preactivations(x)).detach()
    e = f @ whole.w_dec.detach() + whole.b_dec.detach() + x @ whole.w_skip.detach() - y
    torch.testing.assert_close(whole.w_skip.grad, 2 / B * x.T @ e)


def test_the_benefit_at_the_threshold_is_measured_on_the_target():
    whole, x, y = transcoder("jumprelu"), rows(400), target(400)
    saved, inside = method.benefit_at_threshold(whole, x, bandwidth=0.2, target_BD=y)
    z, theta = whole.preactivations(x), whole.unit.threshold
    e = y - whole.reconstruct(z * (z > theta), x)
    near = (z - theta).abs() < 0.1
    expected = (2 * theta * (e @ whole.w_dec.T))[near].mean()
    torch.testing.assert_close(saved, expected)
    torch.testing.assert_close(inside, near.double().mean())


def test_a_target_of_another_width_is_our_own_fault():
    with pytest.raises(AssertionError, match="the target is of another width"):
        method.loss(transcoder("relu"), rows(), setting(), config.ReLU(), rows())
