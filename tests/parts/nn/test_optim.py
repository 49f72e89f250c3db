import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tenfold.parts.nn.config import OptimConfig
from tenfold.parts.nn.optim import Muon, Optimizer, orthogonalise, rate_factor


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(rows=st.integers(1, 24), columns=st.integers(1, 24), seed=st.integers(0, 100))
def test_directions_stay_and_lengths_come_near_one(rows, columns, seed):
    left, sizes, right = torch.linalg.svd(draw(rows, columns, seed=seed), full_matrices=False)
    sizes = sizes.clamp(min=0.05 * sizes.max())
    turned = left.T @ orthogonalise(left * sizes @ right) @ right.T
    torch.testing.assert_close(turned, turned.diagonal().diag(), atol=2e-3, rtol=0)
    assert 0.6 < turned.diagonal().min() <= turned.diagonal().max() < 1.3


def test_stacked_matrices_are_treated_one_by_one():
    stack = draw(3, 4, 6)
    alone = torch.stack([orthogonalise(matrix) for matrix in stack])
    torch.testing.assert_close(orthogonalise(stack), alone)


def test_a_zero_gradient_moves_nothing():
    assert orthogonalise(torch.zeros(3, 4)).abs().max() == 0


def plain_muon(weight, gradients, *, rate, momentum):
    mean = torch.zeros_like(weight)
    for gradient in gradients:
        mean = momentum * mean + (1 - momentum) * gradient
        ahead = momentum * mean + (1 - momentum) * gradient
        stretch = max(1, weight.shape[0] / weight.shape[1]) ** 0.5
        weight = weight - rate * stretch * orthogonalise(ahead)
    return weight


def test_muon_agrees_with_its_recurrence_for_each_shape():
    shapes = [(4, 6), (6, 4), (4, 6), (5, 5)]
    starts = [draw(*shape, seed=i) for i, shape in enumerate(shapes)]
    gradients = [
        [draw(*shape, seed=10 * i + t) for t in range(3)] for i, shape in enumerate(shapes)
    ]
    matrices = [nn.Parameter(start.clone()) for start in starts]
    muon = Muon(matrices, momentum=0.9)
    for t in range(3):
        for matrix, own in zip(matrices, gradients, strict=True):
            matrix.grad = own[t]
        muon.step(0.1)
    for matrix, start, own in zip(matrices, starts, gradients, strict=True):
        torch.testing.assert_close(matrix.data, plain_muon(start, own, rate=0.1, momentum=0.9))


def test_a_matrix_without_gradient_is_our_own_fault():
    with pytest.raises(AssertionError, match=r"no gradient reached a matrix \(2, 3\)"):
        Muon([nn.Parameter(torch.ones(2, 3))], momentum=0.9).step(0.1)


def regression(seed=0):
    """Two matrices and a gain to fit; returns parameters, optimiser and a step function."""
    first, second = (nn.Parameter(draw(4, 4, seed=seed + i)) for i in range(2))
    gain = nn.Parameter(torch.ones(4))
    optimizer = Optimizer(OptimConfig(), matrices=[first, second], others=[gain])

    def step(number):
        x = draw(8, 4, seed=100 + number)
        loss = (x @ first @ second * gain - x).square().mean()
        loss.backward()
        optimizer.step(factor=0.5)
        return loss.item()

    return [first, second, gain], optimizer, step


def test_both_optimisers_learn_together():
    _, _, step = regression()
    losses = [step(number) for number in range(200)]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


def test_a_restored_optimiser_goes_on_exactly():
    parameters, optimizer, step = regression()
    copies, restored, step_copy = regression(seed=50)
    for number in range(5):
        step(number)
    restored.load_state(*optimizer.state())
    for copy, parameter in zip(copies, parameters, strict=True):
        copy.data.copy_(parameter.data)
    for number in range(5, 9):
        assert step(number) == step_copy(number)


def test_the_rate_rises_then_falls_in_a_line_to_almost_zero():
    config = OptimConfig(warmup_steps=3)
    factors = [rate_factor(config, step=step, total=100) for step in range(100)]
    assert factors[:3] == [0.25, 0.5, 0.75]
    assert factors[50] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.01)


def test_the_cosine_passes_its_half_in_the_middle():
    config = OptimConfig(warmup_steps=0, decay="cosine")
    assert rate_factor(config, step=0, total=8) == 1
    assert rate_factor(config, step=4, total=8) == pytest.approx(0.5)
    assert rate_factor(config, step=6, total=8) == pytest.approx(0.5 - 0.5 * math.cos(math.pi / 4))
