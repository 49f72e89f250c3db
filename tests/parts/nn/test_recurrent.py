import numpy as np
import pytest
import torch
from torch import nn

from tenfold.parts.nn.recurrent import LstmState, lstm_step, lstm_window

LANES, STEPS, ROWS, UNITS, INPUTS = 3, 5, 4, 6, 7


def draws(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, generator=generator, dtype=dtype)

    projected = draw(LANES, STEPS, ROWS, 4 * UNITS)
    weight = draw(LANES, UNITS, 4 * UNITS) * 0.5
    return projected, weight, LstmState(draw(LANES, ROWS, UNITS), draw(LANES, ROWS, UNITS))


def plain(projected, weight, state, keep=None):
    """Return the hidden values by the equations, one after the other, for autograd."""
    hidden, cell = state
    found = []
    for t in range(projected.shape[1]):
        if keep is not None:
            hidden, cell = hidden * keep[:, t, :, None], cell * keep[:, t, :, None]
        a = projected[:, t] + hidden @ weight
        i, f, o = (a[..., k * UNITS : (k + 1) * UNITS].sigmoid() for k in range(3))
        u = a[..., 3 * UNITS :].tanh()
        cell = f * cell + i * u
        hidden = o * cell.tanh()
        found.append(hidden)
    return torch.stack(found, dim=1)


def beginnings():
    keep = torch.ones(LANES, STEPS, ROWS, dtype=torch.float64)
    keep[0, 0, 1] = keep[1, 2, 3] = keep[2, 4, 0] = keep[2, 1, 0] = 0
    return keep


@pytest.mark.parametrize("keep", [None, beginnings()], ids=["whole", "with beginnings"])
def test_values_and_gradients_are_those_of_the_equations(keep):
    projected, weight, state = draws()
    upper = torch.randn(LANES, STEPS, ROWS, UNITS, dtype=torch.float64,
                        generator=torch.Generator().manual_seed(1))  # fmt: skip
    gradients = []
    for function in (lstm_window, plain):
        leaves = [projected.clone().requires_grad_(), weight.clone().requires_grad_()]
        hidden = function(*leaves, state, keep)
        gradients.append((hidden, *torch.autograd.grad((hidden * upper).sum(), leaves)))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("keep", [None, beginnings()], ids=["whole", "with beginnings"])
def test_without_gradients_the_values_are_the_same(keep):
    projected, weight, state = draws()
    free = lstm_window(projected, weight, state, keep)
    kept = lstm_window(projected.clone().requires_grad_(), weight, state, keep)
    assert not free.requires_grad
    torch.testing.assert_close(free, kept.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("keep", [None, beginnings().float()], ids=["whole", "with beginnings"])
def test_compiled_loops_are_the_equations_within_float32(keep):
    pytest.importorskip("numba")
    projected, weight, state = draws(dtype=torch.float32)
    upper = torch.randn(LANES, STEPS, ROWS, UNITS, generator=torch.Generator().manual_seed(1))
    found = []
    for function in (lstm_window, plain):
        leaves = [projected.clone().requires_grad_(), weight.clone().requires_grad_()]
        hidden = function(*leaves, state, keep)
        found.append((hidden, *torch.autograd.grad((hidden * upper).sum(), leaves)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5)
    free = lstm_window(projected, weight, state, keep)
    torch.testing.assert_close(free, found[1][0].detach(), rtol=2e-5, atol=2e-6)


def test_the_fitted_tanh_is_right_everywhere():
    lstm_loops = pytest.importorskip("tenfold.parts.nn.lstm_loops")
    x = np.concatenate([np.linspace(-12, 12, 24_001), [-1e30, 1e30, 0.0]]).astype(np.float32)
    bent = np.empty_like(x)
    lstm_loops._curve(x, bent)
    assert np.abs(bent - np.tanh(x.astype(np.float64))).max() < 4e-7


def test_inputs_are_not_written_over():
    projected, weight, state = draws()
    before = [x.clone() for x in (projected, weight, *state)]
    keep = beginnings()
    leaf = projected.requires_grad_()
    lstm_window(leaf, weight, state, keep).sum().backward()
    for now, then in zip((projected.detach(), weight, *state), before, strict=True):
        assert torch.equal(now, then)


def test_an_lstm_of_torch_gives_the_same_values():
    generator = torch.Generator().manual_seed(3)
    theirs = nn.LSTM(INPUTS, UNITS, batch_first=True)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    x = torch.randn(ROWS, STEPS, INPUTS, generator=generator)
    order = torch.cat([torch.arange(UNITS) + UNITS * k for k in (0, 1, 3, 2)])
    weights = theirs.weight_ih_l0[order].T, theirs.weight_hh_l0[order].T
    bias = (theirs.bias_ih_l0 + theirs.bias_hh_l0)[order]
    projected = (x @ weights[0] + bias).transpose(0, 1)[None]
    zeros = torch.zeros(1, ROWS, UNITS)
    ours = lstm_window(projected, weights[1][None], LstmState(zeros, zeros))
    torch.testing.assert_close(ours[0].transpose(0, 1), theirs(x)[0], rtol=1e-5, atol=1e-6)


def test_steps_one_by_one_are_the_window():
    projected, weight, state = draws()
    window = lstm_window(projected, weight, state)
    for t in range(STEPS):
        state = lstm_step(projected[:, t], weight, state)
        torch.testing.assert_close(state.hidden, window[:, t], rtol=1e-12, atol=1e-12)
