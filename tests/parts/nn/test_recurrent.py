import numpy as np
import pytest
import torch
from torch import nn

from tenfold.parts.nn.recurrent import LstmState, LstmWeights, lstm_step, lstm_window

LANES, STEPS, ROWS, UNITS, INPUTS = 3, 5, 4, 6, 7


def draws(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, generator=generator, dtype=dtype)

    x = draw(LANES, STEPS, ROWS, INPUTS)
    weights = LstmWeights(
        inputs=draw(LANES, INPUTS, 4 * UNITS) * 0.5,
        hidden=draw(LANES, UNITS, 4 * UNITS) * 0.5,
        bias=draw(LANES, 4 * UNITS),
    )
    return x, weights, LstmState(draw(LANES, ROWS, UNITS), draw(LANES, ROWS, UNITS))


def plain(x, weights, state, keep=None, *, bend=False):
    """Return the hidden values by the equations, one after the other, for autograd."""
    hidden, cell = state
    found = []
    for t in range(x.shape[1]):
        if keep is not None:
            hidden, cell = hidden * keep[:, t, :, None], cell * keep[:, t, :, None]
        a = x[:, t] @ weights.inputs + hidden @ weights.hidden + weights.bias[:, None]
        i, f, o = (a[..., k * UNITS : (k + 1) * UNITS].sigmoid() for k in range(3))
        u = a[..., 3 * UNITS :].tanh()
        cell = f * cell + i * u
        hidden = o * cell.tanh()
        found.append(hidden.relu() if bend else hidden)
    return torch.stack(found, dim=1)


def beginnings(dtype):
    keep = torch.ones(LANES, STEPS, ROWS, dtype=dtype)
    keep[0, 0, 1] = keep[1, 2, 3] = keep[2, 4, 0] = keep[2, 1, 0] = 0
    return keep


KINDS = pytest.mark.parametrize(
    ("dtype", "error"),
    [
        pytest.param(torch.float64, 1e-12, id="anywhere"),
        pytest.param(torch.float32, 2e-5, id="compiled loops"),
    ],
)
BEGINNINGS = pytest.mark.parametrize("begins", [False, True], ids=["whole", "with beginnings"])


@KINDS
@BEGINNINGS
@pytest.mark.parametrize("bend", [False, True], ids=["straight", "bent"])
def test_values_and_gradients_are_those_of_the_equations(dtype, error, begins, bend):
    x, weights, state = draws(dtype=dtype)
    keep = beginnings(dtype) if begins else None
    upper = torch.randn(LANES, STEPS, ROWS, UNITS, dtype=dtype,
                        generator=torch.Generator().manual_seed(1))  # fmt: skip
    found = []
    for function in (lstm_window, plain):
        leaves = [value.clone().requires_grad_() for value in (x, *weights)]
        hidden = function(leaves[0], LstmWeights(*leaves[1:]), state, keep, bend=bend)
        found.append((hidden, *torch.autograd.grad((hidden * upper).sum(), leaves)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=error, atol=error)
    free = lstm_window(x, weights, state, keep, bend=bend)
    assert not free.requires_grad
    torch.testing.assert_close(free, found[1][0].detach(), rtol=error, atol=error)


@KINDS
def test_weights_learn_where_inputs_need_no_gradient(dtype, error):
    x, weights, state = draws(dtype=dtype)
    found = []
    for function in (lstm_window, plain):
        leaf = weights.hidden.clone().requires_grad_()
        hidden = function(x, weights._replace(hidden=leaf), state)
        found.append(torch.autograd.grad(hidden.sum(), leaf)[0])
    torch.testing.assert_close(*found, rtol=10 * error, atol=10 * error)


@KINDS
def test_gradients_come_whatever_the_order_in_memory(dtype, error):
    x, weights, state = draws(dtype=dtype)
    straight = [value.clone().requires_grad_() for value in (x, *weights)]
    turned = [value.mT.contiguous().mT.requires_grad_() for value in (x, *weights[:2])]
    assert not any(value.is_contiguous() for value in turned)
    hidden = lstm_window(straight[0], LstmWeights(*straight[1:]), state)
    wanted = torch.autograd.grad(hidden.square().sum(), straight[:3])
    hidden = lstm_window(turned[0], LstmWeights(*turned[1:], weights.bias), state)
    found = torch.autograd.grad(hidden.square().sum(), turned)
    torch.testing.assert_close(found, wanted, rtol=10 * error, atol=10 * error)


def test_the_fitted_tanh_is_right_everywhere():
    lstm_loops = pytest.importorskip("tenfold.parts.nn.lstm_loops")
    x = np.concatenate([np.linspace(-12, 12, 24_001), [-1e30, 1e30, 0.0]]).astype(np.float32)
    bent = np.empty_like(x)
    lstm_loops.curve_row(x, bent)
    assert np.abs(bent - np.tanh(x.astype(np.float64))).max() < 4e-7


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["anywhere", "compiled"])
def test_what_is_given_is_not_written_over(dtype):
    x, weights, state = draws(dtype=dtype)
    before = [value.clone() for value in (x, *weights, *state)]
    lstm_window(x, weights, state, beginnings(dtype))
    lstm_step(x[:, 0], weights, state)
    leaf = x.clone().requires_grad_()
    lstm_window(leaf, weights, state, beginnings(dtype)).sum().backward()
    for now, then in zip((leaf.detach(), *weights, *state), before, strict=True):
        assert torch.equal(now, then)


@KINDS
def test_an_lstm_of_torch_gives_the_same_values(dtype, error):
    generator = torch.Generator().manual_seed(3)
    theirs = nn.LSTM(INPUTS, UNITS, batch_first=True, dtype=dtype)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    x = torch.randn(ROWS, STEPS, INPUTS, generator=generator, dtype=dtype)
    order = torch.cat([torch.arange(UNITS) + UNITS * k for k in (0, 1, 3, 2)])
    weights = LstmWeights(
        inputs=theirs.weight_ih_l0[order].T[None],
        hidden=theirs.weight_hh_l0[order].T[None],
        bias=(theirs.bias_ih_l0 + theirs.bias_hh_l0)[order][None],
    )
    zeros = torch.zeros(1, ROWS, UNITS, dtype=dtype)
    ours = lstm_window(x.transpose(0, 1)[None], weights, LstmState(zeros, zeros))
    torch.testing.assert_close(ours[0].transpose(0, 1), theirs(x)[0], rtol=error, atol=error)


@KINDS
def test_steps_one_by_one_are_the_window(dtype, error):
    x, weights, state = draws(dtype=dtype)
    window = lstm_window(x, weights, state)
    for t in range(STEPS):
        state = lstm_step(x[:, t], weights, state)
        torch.testing.assert_close(state.hidden, window[:, t], rtol=error, atol=error)
