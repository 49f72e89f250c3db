import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.rl.explore import (
    Constant,
    Ladder,
    Linear,
    boltzmann,
    epsilon,
    epsilon_greedy,
    epsilons,
    greedy,
)

VALUES = torch.tensor([1.0, 3.0, 2.0, 0.0])
LEGAL = torch.tensor([True, False, True, True])
NONE = torch.zeros(4, dtype=torch.bool)


def grid(number):
    """Return numbers evenly spread over [0, 1)."""
    return (torch.arange(number, dtype=torch.float64) + 0.5) / number


def count(actions):
    return torch.bincount(actions.flatten(), minlength=4).tolist()


# Schedules


def test_a_linear_schedule_falls_on_a_straight_line_and_stays():
    schedule = Linear(first=1.0, last=0.2, steps=8)
    told = [epsilon(schedule, step=step, copies=2).tolist() for step in (0, 2, 4, 8, 100)]
    np.testing.assert_allclose(told, [[s, s] for s in (1.0, 0.8, 0.6, 0.2, 0.2)])
    assert told[3] == told[4] == [0.2, 0.2]


def test_a_fall_of_no_steps_is_over_at_once():
    assert epsilon(Linear(last=0.3, steps=0), step=0, copies=1).tolist() == [0.3]


def test_a_ladder_has_its_ends_where_the_formula_says_and_goes_down_by_equal_shares():
    told = epsilon(Ladder(base=0.4, power=7.0), step=5, copies=8)
    np.testing.assert_allclose(told[[0, -1]], [0.4, 0.4**8])
    np.testing.assert_allclose(told[1:] / told[:-1], 0.4)


def test_a_ladder_of_one_copy_has_the_base():
    assert epsilon(Ladder(base=0.4), step=0, copies=1).tolist() == [0.4]


def test_each_lane_has_its_own_schedule():
    told = epsilons([Constant(value=0.3), Linear(steps=10)], step=0, copies=3)
    assert told.tolist() == [[0.3] * 3, [1.0] * 3]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Constant(value=1.5), r"value is 1\.5, .* give 0 to 1"),
        (lambda: Linear(first=-0.1), r"first is -0\.1, .* give 0 to 1"),
        (lambda: Linear(last=2.0), r"last is 2\.0, .* give 0 to 1"),
        (lambda: Linear(steps=-1), "steps is -1; a fall takes 0 steps or more"),
        (lambda: Ladder(base=7.0), r"base is 7\.0, .* give 0 to 1"),
        (lambda: Ladder(power=-1.0), r"power is -1\.0; .* 0 or more"),
    ],
    ids=["value", "first", "last", "steps", "base", "power"],
)
def test_a_schedule_that_is_none_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# Choices


def test_the_best_legal_action_is_chosen_and_of_equal_ones_the_first():
    assert greedy(VALUES) == 1
    assert greedy(VALUES, legal=LEGAL) == 2
    assert greedy(torch.tensor([0.0, 2.0, 2.0])) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_a_legal_action_is_chosen_even_if_no_value_is_a_number(value):
    wild = torch.full((4,), value)
    legal = torch.tensor([False, False, True, False])
    assert greedy(wild, legal=legal) == 2
    uniform = torch.tensor([0.5, 0.5])
    assert epsilon_greedy(wild, torch.tensor(0.0), uniform, legal=legal) == 2
    assert boltzmann(wild, torch.tensor(1.0), torch.tensor(0.5), legal=legal) == 2


def test_where_nothing_is_legal_action_zero_is_chosen():
    uniform = torch.tensor([0.5, 0.9])
    assert greedy(VALUES, legal=NONE) == 0
    assert epsilon_greedy(VALUES, torch.tensor(1.0), uniform, legal=NONE) == 0
    assert boltzmann(VALUES, torch.tensor(1.0), torch.tensor(0.9), legal=NONE) == 0


@pytest.mark.parametrize(
    ("legal", "want"),
    [(None, [5, 65, 5, 5]), (LEGAL, [10, 0, 70, 10])],
    ids=["all", "masked"],
)
def test_random_actions_come_as_often_as_the_share_says_and_all_legal_ones_alike(legal, want):
    # Of 80 or 90 pairs of numbers a quarter or a third explores.
    first, second = (4, 20) if legal is None else (3, 30)
    share = 1 / first
    whether, which = torch.meshgrid(grid(first), grid(second), indexing="ij")
    uniform = torch.stack([whether, which], dim=-1)
    mask = None if legal is None else legal.expand(first, second, 4)
    values = VALUES.expand(first, second, 4)
    told = count(epsilon_greedy(values, torch.tensor(share), uniform, legal=mask))
    assert told == want


def test_a_share_for_each_copy_is_kept_to():
    values, uniform = VALUES.expand(2, 100, 4), torch.rand(2, 100, 2)
    told = epsilon_greedy(values, torch.tensor([[0.0], [1.0]]), uniform)
    assert (told[0] == 1).all()
    assert len(told[1].unique()) == 4


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6), st.floats(0.1, 5), st.data())
def test_boltzmann_frequencies_are_the_softmax_of_legal_values(values, temperature, data):
    size = len(values)
    legal = data.draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
    number = 2_000
    weights = [math.exp(v / temperature) * ok for v, ok in zip(values, legal, strict=True)]
    told = boltzmann(
        torch.tensor(values, dtype=torch.float64).expand(number, size),
        torch.tensor(temperature, dtype=torch.float64),
        grid(number),
        legal=torch.tensor(legal).expand(number, size),
    )
    shares = torch.bincount(told, minlength=size).numpy() / number
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights), atol=2 / number)
    assert not any(shares[a] for a in range(size) if not legal[a])


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_interval_choose_legal_actions(uniform):
    number = torch.tensor(uniform, dtype=torch.float64)
    legal = torch.tensor([False, True, True, False])
    told = boltzmann(VALUES, torch.tensor(1.0), number, legal=legal)
    assert legal[told]
    pair = torch.stack([torch.zeros_like(number), number])
    assert legal[epsilon_greedy(VALUES, torch.tensor(1.0), pair, legal=legal)]
    assert epsilon_greedy(VALUES, torch.tensor(1.0), pair) in (0, 3)


def test_a_low_temperature_chooses_the_best_action():
    told = boltzmann(VALUES.expand(50, 4), torch.tensor(1e-3), grid(50))
    assert (told == 1).all()
