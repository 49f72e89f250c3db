import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.rl.targets import (
    Bootstrap,
    before_end,
    bootstrap,
    lambda_returns,
    n_step,
    td_target,
)

ONLINE = torch.tensor([1.0, 4.0, 2.0])
FROZEN = torch.tensor([7.0, 5.0, 6.0])
KINDS = pytest.mark.parametrize("kind", list(Bootstrap), ids=lambda kind: kind.name.lower())
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@st.composite
def windows(draw, *, most=7):
    """Rewards, values and ends of a window, as lists."""
    steps = draw(st.integers(1, most))
    number = st.integers(-8, 8).map(lambda n: n / 4)
    flags = st.lists(st.booleans(), min_size=steps, max_size=steps)
    numbers = st.lists(number, min_size=steps, max_size=steps)
    return draw(numbers), draw(numbers), draw(flags), draw(flags)


def tensors(window, dtype=torch.float64):
    rewards, values, terminated, truncated = window
    numbers = [torch.tensor(part, dtype=dtype) for part in (rewards, values)]
    return (*numbers, torch.tensor(terminated), torch.tensor(truncated))


def plain_lambda(window, gamma, trace):
    """Say the recursion once more, in plain numbers."""
    rewards, values, terminated, truncated = window
    returns = [0.0] * len(rewards)
    for t in reversed(range(len(rewards))):
        if terminated[t]:
            ahead = 0.0
        elif t == len(rewards) - 1 or truncated[t]:
            ahead = values[t]
        else:
            ahead = (1 - trace) * values[t] + trace * returns[t + 1]
        returns[t] = rewards[t] + gamma * ahead
    return returns


# Bootstrapping


def test_the_four_kinds_select_and_evaluate_as_the_paper_says():
    told = {kind: float(bootstrap(ONLINE, FROZEN, kind)) for kind in Bootstrap}
    assert told == {
        Bootstrap.Q_LEARNING: 4.0,
        Bootstrap.TARGET_Q: 7.0,
        Bootstrap.INVERSE_DOUBLE_Q: 1.0,
        Bootstrap.DOUBLE_Q: 5.0,
    }


def test_exchanging_the_networks_turns_each_kind_into_its_opposite():
    generator = torch.Generator().manual_seed(1)
    online, frozen = torch.randn(2, 3, 4, 5, generator=generator)
    opposite = {0: 1, 1: 0, 2: 3, 3: 2}
    for kind in Bootstrap:
        one = bootstrap(online, frozen, kind)
        assert torch.equal(one, bootstrap(frozen, online, Bootstrap(opposite[kind])))


def test_a_kind_for_each_lane_equals_each_lane_alone():
    generator = torch.Generator().manual_seed(2)
    online, frozen = torch.randn(2, 4, 6, 3, 5, generator=generator)
    kinds = torch.tensor([3, 0, 2, 1])
    together = bootstrap(online, frozen, kinds)
    for lane, kind in enumerate(kinds.tolist()):
        alone = bootstrap(online[lane], frozen[lane], Bootstrap(kind))
        assert torch.equal(together[lane], alone)


@KINDS
def test_an_illegal_action_is_never_selected(kind):
    generator = torch.Generator().manual_seed(3)
    online, frozen = torch.randn(2, 50, 6, generator=generator)
    legal = torch.rand(50, 6, generator=generator) < 0.5
    legal[:, 0] |= ~legal.any(-1)
    value = bootstrap(online, frozen, kind, legal=legal)
    for row in range(50):
        there = legal[row]
        alone = bootstrap(online[row][there], frozen[row][there], kind)
        assert value[row] == alone


@KINDS
def test_where_nothing_is_legal_the_value_is_zero(kind):
    legal = torch.zeros(3, dtype=torch.bool)
    assert bootstrap(ONLINE, FROZEN, kind, legal=legal) == 0


@KINDS
def test_a_diverged_network_still_selects_what_is_legal(kind):
    wild = torch.tensor([math.inf, -math.inf, math.nan])
    legal = torch.tensor([False, True, False])
    assert bootstrap(wild, wild, kind, legal=legal) == -math.inf


@KINDS
def test_no_gradient_flows_through_a_bootstrap(kind):
    online, frozen = ONLINE.clone().requires_grad_(), FROZEN.clone().requires_grad_()
    assert not bootstrap(online, frozen, kind).requires_grad


def test_a_target_after_the_end_ignores_even_a_value_that_is_no_number():
    reward, discount = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.5])
    value = torch.tensor([math.nan, 4.0])
    assert td_target(reward, discount, value).tolist() == [1.0, 4.0]


# n steps


@given(windows(), st.integers(1, 9), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_n_step_returns_equal_a_plain_walk(window, steps, gamma):
    rewards, _, terminated, truncated = window
    total, length = 0.0, 0
    for reward, over, cut in zip(rewards, terminated, truncated, strict=True):
        total += gamma**length * reward
        length += 1
        if over or cut or length == steps:
            break
    stopped = terminated[length - 1]
    rewards_T, _, terminated_T, truncated_T = tensors(window)
    told = n_step(rewards_T, terminated_T, truncated_T, gamma=gamma, steps=steps)
    assert float(told.reward) == pytest.approx(total, abs=1e-12)
    assert int(told.length) == length
    assert float(told.discount) == pytest.approx(0.0 if stopped else gamma**length, abs=1e-12)


def test_each_lane_may_have_its_own_length_and_discount():
    rewards = torch.ones(2, 3, 4, dtype=torch.float64)
    never = torch.zeros(2, 3, 4, dtype=torch.bool)
    gamma = torch.tensor([0.5, 1.0], dtype=torch.float64)
    told = n_step(rewards, never, never, gamma=gamma, steps=torch.tensor([2, 4]))
    assert told.reward.tolist() == [[1.5] * 3, [4.0] * 3]
    assert told.discount.tolist() == [[0.25] * 3, [1.0] * 3]
    assert told.length.tolist() == [[2] * 3, [4] * 3]


def test_a_cut_return_goes_on_bootstrapping_and_a_finished_one_does_not():
    rewards = torch.tensor([[1.0, 2.0, 4.0]] * 2)
    ends = torch.tensor([False, True, False])
    never = torch.zeros(3, dtype=torch.bool)
    finished = n_step(rewards[0], ends, never, gamma=0.5, steps=3)
    cut = n_step(rewards[1], never, ends, gamma=0.5, steps=3)
    assert (float(finished.reward), float(finished.discount)) == (2.0, 0.0)
    assert (float(cut.reward), float(cut.discount)) == (2.0, 0.25)


def test_what_follows_an_end_may_be_no_number():
    rewards = torch.tensor([1.0, math.nan])
    ends, never = torch.tensor([True, False]), torch.zeros(2, dtype=torch.bool)
    assert n_step(rewards, ends, never, gamma=0.9, steps=2).reward == 1.0


@given(windows())
def test_steps_before_the_end_are_those_of_the_first_episode(window):
    _, _, terminated, truncated = tensors(window)
    told, going = [], True
    for over in (terminated | truncated).tolist():
        told.append(going)
        going = going and not over
    assert before_end(terminated, truncated).tolist() == told


# Lambda


@given(windows(), st.sampled_from([0.5, 0.99, 1.0]), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_lambda_returns_equal_the_recursion_in_plain_numbers(window, gamma, trace):
    told = lambda_returns(*tensors(window), gamma=gamma, trace=trace)
    assert told.tolist() == pytest.approx(plain_lambda(window, gamma, trace), abs=1e-12)


@given(windows(), st.sampled_from([0.5, 0.99]))
def test_lambda_zero_equals_one_step_targets(window, gamma):
    rewards, values, terminated, truncated = tensors(window)
    told = lambda_returns(rewards, values, terminated, truncated, gamma=gamma, trace=0.0)
    one = n_step(rewards[:, None], terminated[:, None], truncated[:, None], gamma=gamma, steps=1)
    assert torch.equal(told, td_target(one.reward, one.discount, values))


@given(windows(), st.sampled_from([0.5, 0.99]))
def test_lambda_one_equals_the_return_to_the_edge_with_bootstrap(window, gamma):
    rewards, values, terminated, truncated = tensors(window)
    told = lambda_returns(rewards, values, terminated, truncated, gamma=gamma, trace=1.0)
    steps = len(rewards)
    for t in range(steps):
        ahead = n_step(rewards[t:], terminated[t:], truncated[t:], gamma=gamma, steps=steps)
        value = values[t + int(ahead.length) - 1]
        want = float(td_target(ahead.reward, ahead.discount, value))
        assert float(told[t]) == pytest.approx(want, abs=1e-12)


def test_without_ends_a_lambda_return_is_the_mean_of_all_lengths():
    generator = torch.Generator().manual_seed(4)
    rewards, values = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    never = torch.zeros(8, dtype=torch.bool)
    gamma, trace = 0.95, 0.9
    by_length = []
    for steps in range(1, 9):
        told = n_step(rewards, never, never, gamma=gamma, steps=steps)
        by_length.append(float(told.reward + told.discount * values[steps - 1]))
    weights = [(1 - trace) * trace**k for k in range(7)] + [trace**7]
    want = sum(w * g for w, g in zip(weights, by_length, strict=True))
    told = lambda_returns(rewards, values, never, never, gamma=gamma, trace=trace)
    assert float(told[0]) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_nothing_of_the_next_episode_leaks_over_an_end(how):
    generator = torch.Generator().manual_seed(5)
    rewards, values = torch.randn(2, 8, generator=generator)
    ends, never = torch.zeros(2, 8, dtype=torch.bool)
    ends[3] = True
    flags = {"terminated": never, "truncated": never} | {how: ends}
    told = lambda_returns(rewards, values, **flags, gamma=0.9, trace=0.8)
    rewards[4:], values[4:] = math.nan, math.nan
    again = lambda_returns(rewards, values, **flags, gamma=0.9, trace=0.8)
    assert torch.equal(told[:4], again[:4])
    assert again[4:].isnan().all()


def test_only_a_cut_episode_counts_the_value_of_its_final_observation():
    rewards, values = torch.zeros(4), torch.tensor([0.0, 8.0, 0.0, 0.0])
    ends, never = torch.tensor([False, True, False, False]), torch.zeros(4, dtype=torch.bool)
    cut = lambda_returns(rewards, values, never, ends, gamma=0.5, trace=1.0)
    over = lambda_returns(rewards, values, ends, never, gamma=0.5, trace=1.0)
    assert cut.tolist() == [2.0, 4.0, 0.0, 0.0]
    assert over.tolist() == [0.0, 0.0, 0.0, 0.0]


@DTYPES
def test_leading_dimensions_and_types_stay(dtype):
    shape = (3, 2, 5, 6)
    generator = np.random.default_rng(6)
    rewards = torch.tensor(generator.normal(size=shape), dtype=dtype)
    values = torch.tensor(generator.normal(size=shape), dtype=dtype)
    terminated, truncated = torch.tensor(generator.random((2, *shape)) < 0.2)
    gamma = torch.tensor([0.9, 0.5, 1.0], dtype=dtype)
    trace = torch.tensor([0.9, 0.0, 1.0], dtype=dtype)
    told = lambda_returns(rewards, values, terminated, truncated, gamma=gamma, trace=trace)
    steps = n_step(rewards, terminated, truncated, gamma=gamma, steps=3)
    assert (told.dtype, steps.reward.dtype, steps.discount.dtype) == (dtype,) * 3
    assert (told.shape, steps.reward.shape) == (shape, shape[:-1])
    for lane in range(3):
        alone = lambda_returns(
            *(part[lane] for part in (rewards, values, terminated, truncated)),
            gamma=float(gamma[lane]),
            trace=float(trace[lane]),
        )
        torch.testing.assert_close(told[lane], alone)


def test_no_gradient_flows_through_returns():
    rewards, values = torch.ones(2, 4), torch.ones(2, 4, requires_grad=True)
    never = torch.zeros(2, 4, dtype=torch.bool)
    assert not lambda_returns(rewards, values, never, never, gamma=0.9, trace=0.9).requires_grad
    assert not td_target(rewards, rewards, values).requires_grad
