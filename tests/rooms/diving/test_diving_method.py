import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine import rng
from tenfold.rooms.diving.method.diving import (
    diving_loss,
    most_certain,
    neg_log_likelihood,
    sample_bits,
    selective_loss,
    soft_targets,
)


def drawn(seed, points=5, slots=7):
    draw = np.random.default_rng(seed)
    bits = torch.from_numpy(draw.random((points, slots)) < 0.5)
    weights = torch.from_numpy(draw.dirichlet(np.ones(points)))
    return bits, weights, torch.from_numpy(draw.normal(0, 2, slots)).float()


@pytest.mark.parametrize("seed", range(4))
def test_soft_targets_give_the_weighted_sum_of_the_points_likelihoods(seed):
    bits, weights, logits = drawn(seed)
    chance = logits.double().sigmoid()
    plain = 0.0
    for j in range(len(bits)):
        for s in range(len(logits)):
            p = chance[s] if bits[j, s] else 1 - chance[s]
            plain -= float(weights[j] * torch.log(p))
    at_once = neg_log_likelihood(logits, soft_targets(bits, weights)).sum()
    assert float(at_once) == pytest.approx(plain, rel=1e-5)


def test_the_likelihood_is_least_where_chances_equal_the_targets():
    targets = torch.tensor([0.2, 0.9, 0.5])
    at = torch.logit(targets).requires_grad_()
    neg_log_likelihood(at, targets).sum().backward()
    assert at.grad.abs().max() < 1e-6


def test_a_head_that_chooses_every_slot_has_the_mean_likelihood_as_loss():
    nll = torch.tensor([0.1, 0.5, 3.0, 0.4])
    loss = selective_loss(nll, torch.ones(4), coverage=0.7, penalty=32.0)
    assert float(loss) == pytest.approx(1.0, rel=1e-5)


@given(st.floats(0.05, 0.95), st.floats(0.0, 1.0), st.floats(0.0, 50.0))
def test_choosing_less_than_the_coverage_costs_lambda_times_the_square(coverage, mean, penalty):
    nll = torch.full((10,), 0.25)
    chosen = torch.full((10,), mean)
    loss = selective_loss(nll, chosen, coverage=coverage, penalty=penalty)
    likelihood = 0.25 * 10 * mean / (10 * mean + 1e-6)
    expected = likelihood + penalty * max(0.0, coverage - mean) ** 2
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_head_that_chooses_nothing_has_a_finite_loss_and_gradient():
    logits = torch.full((3,), -200.0, requires_grad=True)
    chosen = logits.sigmoid()
    loss = selective_loss(torch.ones(3), chosen, coverage=0.5, penalty=4.0)
    loss.backward()
    assert loss.item() == pytest.approx(1.0)
    assert torch.isfinite(logits.grad).all()


def test_a_head_is_drawn_to_the_slots_with_little_loss():
    chosen = torch.full((2,), 0.5, requires_grad=True)
    loss = selective_loss(torch.tensor([0.1, 2.0]), chosen, coverage=0.5, penalty=32.0)
    loss.backward()
    assert chosen.grad[0] < 0 < chosen.grad[1]


def test_the_loss_of_an_instance_is_the_mean_over_heads_and_a_share_of_the_plain_one():
    bits, weights, logits = drawn(0)
    targets = soft_targets(bits, weights)
    heads = torch.from_numpy(np.random.default_rng(1).normal(size=(2, len(logits)))).float()
    nll = neg_log_likelihood(logits, targets)
    plain = 0.5 * nll.mean() + sum(
        selective_loss(nll, heads[k].sigmoid(), coverage=c, penalty=32.0) / 2
        for k, c in enumerate((0.4, 0.8))
    )
    told = diving_loss(logits, heads, targets, coverages=(0.4, 0.8), penalty=32.0, auxiliary=0.5)
    assert float(told) == pytest.approx(float(plain), rel=1e-6)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.floats(0.0, 1.0))
def test_the_most_certain_slots_are_as_many_as_asked_and_none_left_out_is_surer(values, coverage):
    certainty = torch.tensor(values, dtype=torch.float32)
    chosen = most_certain(certainty, coverage)
    assert int(chosen.sum()) == round(coverage * len(values))
    if chosen.any() and not chosen.all():
        assert certainty[chosen].min() >= certainty[~chosen].max()


def test_of_equally_certain_slots_the_first_are_taken():
    chosen = most_certain(torch.tensor([1.0, 2.0, 1.0, 1.0]), 0.5)
    assert chosen.tolist() == [True, True, False, False]


def test_sampled_bits_come_up_as_often_as_their_chance_says():
    logits = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    bits = sample_bits(logits, 20_001, rng.torch_stream(0, "test"))[1:]
    share, chance = bits.double().mean(dim=0), logits.double().sigmoid()
    spread = (chance * (1 - chance) / 20_000).sqrt()
    assert ((share - chance).abs() < 4 * spread).all()


def test_bits_of_different_slots_are_drawn_independently():
    bits = sample_bits(torch.zeros(2), 20_001, rng.torch_stream(1, "test"))[1:].double()
    both = (bits[:, 0] * bits[:, 1]).mean()
    assert abs(float(both) - 0.25) < 4 * (0.25 * 0.75 / 20_000) ** 0.5


def test_the_first_sample_is_the_likeliest_assignment():
    logits = torch.tensor([-0.1, 0.1, 4.0, -3.0])
    bits = sample_bits(logits, 3, rng.torch_stream(2, "test"))
    assert bits[0].tolist() == [False, True, True, False]
