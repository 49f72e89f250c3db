import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.rooms.diving.method import branching

scores = st.lists(st.integers(1, 5).map(float), min_size=1, max_size=8).map(np.array)


def test_a_score_is_the_product_of_both_gains_and_eps_keeps_one_gain_alive():
    down = branching.gains([12.0, 10.0, 10.0], 10.0, 100.0)
    up = branching.gains([11.0, 15.0, 10.0], 10.0, 100.0)
    found = branching.scores(down, up)
    assert found == pytest.approx([2.0, 5e-6, 1e-12], rel=1e-5)


def test_an_infeasible_child_gains_what_is_left_to_the_cutoff_and_no_child_gains_more():
    found = branching.gains([np.inf, 14.0, 11.0, 9.999], 10.0, 3.0)
    assert found.tolist() == [3.0, 3.0, 1.0, 0.0]


def test_without_a_cutoff_an_infeasible_child_gains_as_much_as_the_best_feasible_one():
    assert branching.gains([np.inf, 14.0, 11.0], 10.0).tolist() == [4.0, 4.0, 1.0]
    assert branching.gains([np.inf, np.inf], 10.0).tolist() == [0.0, 0.0]


@given(told=scores, power=st.sampled_from([0.5, 1.0, 4.0, 300.0]))
def test_the_target_is_a_distribution_that_orders_candidates_as_their_scores_do(told, power):
    target = branching.soft_target(told, power)
    assert target.sum() == pytest.approx(1.0)
    assert (np.diff(target[np.argsort(told)]) >= 0).all()
    if power == 1.0:
        assert target == pytest.approx(told / told.sum())


@given(told=scores, seed=st.integers(0, 99))
def test_the_loss_is_least_where_the_policy_is_the_target(told, seed):
    target = torch.tensor(branching.soft_target(told))
    logits = torch.tensor(np.random.default_rng(seed).normal(size=len(told)))
    entropy = float(-(target * target.log()).sum())
    assert float(branching.imitation_loss(target.log(), target)) == pytest.approx(entropy)
    assert float(branching.imitation_loss(logits, target)) >= entropy - 1e-9
    by_hand = -sum(
        float(p) * float(t - torch.logsumexp(logits, 0))
        for p, t in zip(target, logits, strict=True)
    )
    assert float(branching.imitation_loss(logits, target)) == pytest.approx(by_hand)


def test_ties_are_all_best_and_the_first_of_them_is_chosen():
    told = [1.0, 3.0, 3.0 * (1 - 1e-8), 2.0]
    assert branching.best_of(told).tolist() == [False, True, True, False]
    assert branching.choose(told) == 1
    assert branching.hit([0.0, -1.0, 5.0, 1.0], told, 1)
    assert not branching.hit([0.0, -1.0, -2.0, 1.0], told, 2)
    assert branching.hit([0.0, -1.0, -2.0, 1.0], told, 3)


@given(told=scores, count=st.integers(1, 9))
def test_chance_is_what_blind_draws_hit(told, count):
    draw = np.random.default_rng(0)
    hits = [branching.hit(draw.permutation(len(told)), told, count) for _ in range(300)]
    assert branching.chance(told, count) == pytest.approx(np.mean(hits), abs=0.12)
