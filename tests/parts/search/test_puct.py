import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parts.search.games import Side, Slope, TicTacToe, guesses, knows_nothing, solve
from tenfold.parts.search.config import SearchConfig
from tenfold.parts.search.puct import log_softmax, search, visits_due

PUCT = SearchConfig(rule="puct", simulations=200, noise_share=0.0)
GUMBEL = SearchConfig(rule="gumbel", simulations=200, considered=9, gumbel_noise=0.0)
RULES = pytest.mark.parametrize("cfg", [PUCT, GUMBEL], ids=["puct", "gumbel"])
LEAVES = pytest.mark.parametrize("leaves", [1, 4])
EMPTY = (0,) * 9


class Bandit:
    """One pull, then the game is over."""

    def __init__(self, pays):
        self.pays, self.actions = pays, len(pays)

    def legal(self, state):
        return [] if state else range(self.actions)

    def play(self, _, action):
        return (action + 1,), self.pays[action]

    def over(self, state):
        return bool(state)


def keys(count, seed=0):
    return np.random.default_rng(seed).integers(1 << 63, size=count).astype(np.uint64)


def look(rules, states, cfg, *, evaluate=None, seed=0):
    game = Side(rules, states)
    found = search(game, evaluate or knows_nothing(game.actions), cfg, keys=keys(len(states), seed))
    assert game.pasts == [[state] for state in states], "games have moved"
    return found


def tic_tac_toe_positions(count, *, seed):
    """Return positions of four to six stones where moves differ in value."""
    made, rules, values = np.random.default_rng(seed), TicTacToe(), solve(TicTacToe(), sign=-1)
    found = []
    while len(found) < count:
        state = EMPTY
        for _ in range(made.integers(4, 7)):
            if not rules.over(state):
                state, _ = rules.play(state, made.choice(rules.legal(state)))
        if not rules.over(state) and len(set(values(state).values())) > 1:
            found.append(state)
    return found


def slopes(count, *, margin):
    """Return slopes and starts where the best first step leads by a margin."""
    found, seed = [], 0
    while len(found) < count:
        slope = Slope(seed)
        values = sorted(solve(slope, sign=1)((0, 1)).values())
        if values[-1] - values[-2] >= margin:
            found.append(slope)
        seed += 1
    return found


# The contract: known best moves, with a network that knows nothing


@RULES
@LEAVES
def test_a_single_player_finds_the_richest_way_down(cfg, leaves):
    for slope in slopes(8, margin=0.3):
        values = solve(slope, sign=1)((0, 1))
        found = look(slope, [(0, 1)], dataclasses.replace(cfg, leaves=leaves))
        assert values[found.action[0]] == max(values.values())
        assert 0.6 * max(values.values()) < found.value[0] <= max(values.values())


@RULES
@LEAVES
def test_an_adversarial_player_makes_no_losing_move(cfg, leaves):
    cfg = dataclasses.replace(cfg, leaves=leaves, adversarial=True)
    values = solve(TicTacToe(), sign=-1)
    states = tic_tac_toe_positions(15, seed=1)
    found = look(TicTacToe(), states, cfg)
    for state, action in zip(states, found.action, strict=True):
        assert values(state)[action] == max(values(state).values()), state


WON = (1, 1, 0, 2, 2, 0, 0, 0, 0)
LOST = (2, 0, 2, 0, 0, 1, 2, 0, 1)


@RULES
def test_values_of_won_and_lost_positions_have_the_right_sign(cfg):
    cfg = dataclasses.replace(cfg, adversarial=True)
    values = solve(TicTacToe(), sign=-1)
    assert [max(values(state).values()) for state in (WON, LOST)] == [1, -1]
    found = look(TicTacToe(), [WON, LOST], cfg)
    assert found.value[0] > 0.2
    assert found.value[1] < -0.2
    assert found.action[0] == 2


def test_without_a_change_of_sign_nobody_stands_in_the_way():
    assert look(TicTacToe(), [LOST], PUCT).value[0] > 0.2


# Properties

SETTINGS = st.builds(
    SearchConfig,
    rule=st.sampled_from(["puct", "gumbel"]),
    simulations=st.integers(1, 24),
    considered=st.integers(1, 9),
    leaves=st.integers(1, 5),
    width=st.sampled_from([0, 2, 5]),
    adversarial=st.booleans(),
    least_range=st.sampled_from([0.0, 1.0]),
)


@given(cfg=SETTINGS, seed=st.integers(0, 1_000))
def test_visits_sum_to_the_simulations_and_illegal_moves_get_none(cfg, seed):
    states = tic_tac_toe_positions(3, seed=seed)
    found = look(TicTacToe(), states, cfg, evaluate=guesses(9), seed=seed)
    assert (found.visits.sum(axis=1) == cfg.simulations).all()
    np.testing.assert_allclose(found.policy.sum(axis=1), 1.0)
    for state, visits, policy, action in zip(
        states, found.visits, found.policy, found.action, strict=True
    ):
        legal = TicTacToe().legal(state)
        assert set(np.flatnonzero(visits)) <= set(legal)
        assert set(np.flatnonzero(policy)) <= set(legal)
        assert visits[action] == visits.max()


@given(cfg=SETTINGS, seed=st.integers(0, 1_000))
def test_a_batch_of_trees_is_each_tree_alone_in_any_order(cfg, seed):
    states = tic_tac_toe_positions(4, seed=seed)
    game = Side(TicTacToe(), states)
    together = search(game, guesses(9), cfg, keys=keys(4))
    order = np.array([2, 0, 3])
    other = search(game, guesses(9), cfg, keys=keys(4)[order], which=order)
    for name in ("action", "visits", "policy", "value"):
        np.testing.assert_array_equal(getattr(other, name), getattr(together, name)[order])
    alone = search(game, guesses(9), cfg, keys=keys(4)[3:], which=np.array([3]))
    np.testing.assert_array_equal(alone.policy[0], together.policy[3])


@RULES
def test_the_same_key_finds_the_same_and_other_keys_something_else(cfg):
    cfg = dataclasses.replace(cfg, simulations=8, considered=4, noise_share=0.25, gumbel_noise=1.0)
    states = [EMPTY] * 6
    first = look(TicTacToe(), states, cfg, evaluate=guesses(9))
    again = look(TicTacToe(), states, cfg, evaluate=guesses(9))
    other = look(TicTacToe(), states, cfg, evaluate=guesses(9), seed=1)
    np.testing.assert_array_equal(first.visits, again.visits)
    assert (first.visits != other.visits).any()


@RULES
def test_equal_moves_are_taken_equally_often(cfg):
    cfg = dataclasses.replace(cfg, simulations=1, considered=1)
    found = look(Bandit([1.0] * 5), [()] * 2_000, cfg)
    counts = np.bincount(found.action, minlength=5)
    assert counts.min() > 320
    assert counts.max() < 480


# Closed forms


def test_sequential_halving_halves_what_is_considered():
    assert visits_due(4, simulations=8) == (0, 0, 0, 0, 1, 1, 2, 2)
    assert visits_due(8, simulations=16) == (0,) * 8 + (1,) * 4 + (2, 2, 3, 3)
    assert visits_due(16, simulations=10) == (0,) * 10
    assert visits_due(1, simulations=3) == (0, 1, 2)


def test_log_softmax_is_over_legal_moves_alone():
    found = log_softmax(np.array([[0.0, np.log(3.0), 50.0]]), np.array([[True, True, False]]))
    np.testing.assert_allclose(np.exp(found), [[0.25, 0.75, 0.0]])


def test_gumbel_policy_is_the_prior_times_the_exponential_of_stretched_returns():
    pays, logits = np.array([2.0, 5.0, 4.0, 3.0]), np.array([0.3, -1.0, 0.5, 0.0])
    cfg = SearchConfig(simulations=4, considered=4, return_weight=5.0)
    found = look(
        Bandit(pays), [()], cfg, evaluate=lambda seen: (logits[None], np.zeros(len(seen[0])))
    )
    expected = np.exp(logits + 5.0 * 51 / 50 * (pays - 2) / 3)
    np.testing.assert_allclose(found.policy[0], expected / expected.sum())
    np.testing.assert_allclose(found.value[0], pays.sum() / 5)


def test_returns_are_not_stretched_beyond_the_least_range():
    pays = np.array([0.0, 0.1])
    cfg = SearchConfig(simulations=2, considered=2, least_range=1.0)
    found = look(Bandit(pays), [()], cfg)
    expected = np.exp(5.0 * 51 / 50 * pays)
    np.testing.assert_allclose(found.policy[0], expected / expected.sum())


def test_puct_tries_the_largest_prior_first_and_then_prefers_what_pays():
    logits = np.array([0.0, 2.0, 0.0])
    judge = lambda seen: (np.tile(logits, (len(seen[0]), 1)), np.zeros(len(seen[0])))  # noqa: E731
    once = look(
        Bandit([5.0, 0.0, 0.0]), [()], dataclasses.replace(PUCT, simulations=1), evaluate=judge
    )
    assert once.action[0] == 1
    often = look(Bandit([5.0, 0.0, 0.0]), [()], PUCT, evaluate=judge)
    assert often.action[0] == 0


def test_scale_and_offset_of_rewards_do_not_change_a_search():
    pays = np.array([0.2, 0.9, 0.4, 0.6])
    for cfg in (GUMBEL, dataclasses.replace(PUCT, noise_share=0.25)):
        cfg = dataclasses.replace(cfg, simulations=12, considered=4)
        plain = look(Bandit(pays), [()] * 3, cfg)
        large = look(Bandit(1_000 * pays), [()] * 3, cfg)
        np.testing.assert_array_equal(plain.visits, large.visits)


def test_a_narrow_tree_keeps_the_actions_of_largest_prior():
    logits = np.array([0.0, 3.0, 1.0, 2.0])
    judge = lambda seen: (np.tile(logits, (len(seen[0]), 1)), np.zeros(len(seen[0])))  # noqa: E731
    cfg = dataclasses.replace(PUCT, simulations=40, width=2)
    found = look(Bandit([9.0, 1.0, 9.0, 2.0]), [()], cfg, evaluate=judge)
    assert set(np.flatnonzero(found.visits[0])) == {1, 3}


def test_virtual_losses_send_simultaneous_simulations_apart():
    cfg = dataclasses.replace(PUCT, simulations=4, leaves=4)
    found = look(Bandit([1.0] * 4), [()], cfg)
    assert found.visits[0].tolist() == [1, 1, 1, 1]


def test_a_search_of_a_game_that_has_ended_is_refused():
    with pytest.raises(AssertionError, match="it has ended"):
        look(Bandit([1.0]), [(1,)], PUCT)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"simulations": 0}, r"simulations \(0\) must be at least 1"),
        ({"width": -1}, r"width \(-1\) must be 0 or more"),
        ({"noise_share": 1.0}, r"noise_share \(1.0\) must lie in \[0, 1\)"),
        ({"noise_total": 0.0}, r"noise_total \(0.0\) must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        SearchConfig(**setting)
