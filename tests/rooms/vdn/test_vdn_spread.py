"""Covering landmarks: rules by hand, and beside the package itself."""

import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream
from tenfold.rooms.vdn.spread import LIMIT, SpreadBatch, find_spread

pytestmark = pytest.mark.timeout(600)
"""Loops are compiled inside the first test."""

NONE, LEFT, RIGHT, DOWN, UP = range(5)
FAR = [[5.0, 0.0], [0.0, 5.0], [-5.0, 0.0]]


def at(place, *, mark=FAR, speed=None):
    """Return one copy with agents and landmarks at given points."""
    batch = SpreadBatch(len(place), copies=1, seed=0)
    state = dict(batch.state())
    state["place"], state["mark"] = np.array([place]), np.array([mark[: len(place)]])
    state["speed"] = np.zeros_like(state["place"]) if speed is None else np.array([speed])
    batch.restore(state)
    return batch


def test_names_say_how_many_agents():
    assert find_spread("spread/3") == 3
    assert SpreadBatch(4, copies=1, seed=0).spec.name == "spread/4"
    for wrong in ("spread/0", "spread/three", "spread/3-coop"):
        with pytest.raises(TenfoldError, match=r"is no task of covering .* as in spread/3"):
            find_spread(wrong)


def test_episodes_begin_at_rest_anywhere_in_the_square():
    batch = SpreadBatch(3, copies=2_000, seed=1)
    state = batch.state()
    assert not state["speed"].any()
    for name in ("place", "mark"):
        points = state[name]
        assert points.min() >= -1
        assert points.max() < 1
        np.testing.assert_allclose(points.mean(axis=(0, 1)), 0, atol=0.03)
        np.testing.assert_allclose(points.var(axis=(0, 1)), 1 / 3, atol=0.02)


def test_a_push_shows_in_the_velocity_first_and_in_the_position_a_step_later():
    batch = at([[0.0, 0.0]])
    batch.step(np.array([[RIGHT]]))
    assert batch.state()["place"].tolist() == [[[0.0, 0.0]]]
    assert batch.state()["speed"].tolist() == [[[0.5, 0.0]]]
    batch.step(np.array([[DOWN]]))
    assert batch.state()["place"].tolist() == [[[0.05, 0.0]]]
    assert batch.state()["speed"].tolist() == [[[0.375, -0.5]]]


def test_rewards_are_half_what_landmarks_miss_and_half_what_touches():
    mark = [[0.0, 0.3], [0.0, 2.0], [3.0, 0.0]]
    step = at([[0.0, 0.0], [0.0, 1.0], [0.2, 0.0]], mark=mark).step(np.array([[NONE] * 3]))
    missed = 0.3 + 1.0 + 2.8
    expected = [-0.5 * missed - 0.5, -0.5 * missed, -0.5 * missed - 0.5]
    np.testing.assert_allclose(step.reward[0], expected, rtol=1e-6)


def test_agents_that_overlap_push_each_other_apart_alike():
    batch = at([[0.0, 0.0], [0.1, 0.0]])
    batch.step(np.array([[NONE, NONE]]))
    # 100 (0.3 - 0.1) of force for 0.1 of time.
    np.testing.assert_allclose(batch.state()["speed"][0], [[-2.0, 0.0], [2.0, 0.0]], rtol=1e-9)


def test_agents_at_one_place_stay_finite():
    batch = at([[0.0, 0.0], [0.0, 0.0]])
    assert np.isfinite(batch.step(np.array([[NONE, NONE]])).observation).all()


def test_an_agent_sees_itself_then_landmarks_others_and_silence():
    batch = at([[1.0, 2.0], [4.0, 8.0]], mark=[[1.0, 1.0], [0.0, 0.0]],
               speed=[[0.5, 0.25], [0.0, 0.0]])  # fmt: skip
    seen = batch.reset(np.array([False]))[0]
    assert seen[0].tolist() == [0.5, 0.25, 1, 2, 0, -1, -1, -2, 3, 6, 0, 0]
    assert seen[1].tolist() == [0, 0, 4, 8, -3, -7, -4, -8, -3, -6, 0, 0]


def test_an_episode_is_cut_and_never_ends():
    batch = SpreadBatch(2, copies=3, seed=0)
    for number in range(1, LIMIT + 1):
        step = batch.step(np.zeros((3, 2), np.int64))
        assert not step.terminated.any()
        assert step.truncated.tolist() == [number == LIMIT] * 3


def test_a_copy_does_not_depend_on_how_many_there_are():
    one, many = SpreadBatch(3, copies=1, seed=7), SpreadBatch(3, copies=5, seed=7)
    assert np.array_equal(one.state()["place"][0], many.state()["place"][0])


def test_a_state_comes_back_and_one_of_another_batch_does_not():
    batch = SpreadBatch(3, copies=4, seed=2)
    kept = batch.state()
    draws = stream(0, "actions")
    actions = draws.integers(0, 5, size=(6, 4, 3))
    first = [batch.step(a).observation.copy() for a in actions]
    batch.restore(kept)
    assert np.array_equal(first, [batch.step(a).observation.copy() for a in actions])
    with pytest.raises(TenfoldError, match=r"whose place is of shape \(4, 3, 2\)"):
        SpreadBatch(3, copies=5, seed=2).restore(kept)


@pytest.mark.parametrize("agents", [2, 3, 5])
def test_random_steps_are_those_of_the_package(agents):
    module = pytest.importorskip("mpe2.simple_spread_v3", reason="mpe2 is not installed")
    theirs = module.parallel_env(N=agents)
    copies = 12
    batch = SpreadBatch(agents, copies=copies, seed=agents)
    actions = stream(agents, "actions").integers(0, 5, size=(LIMIT, copies, agents))
    state = dict(batch.state())
    # Close together, so that many touch.
    state["place"] *= 0.4
    batch.restore(state)
    ours = []
    for number in range(LIMIT):
        step = batch.step(actions[number])
        ours.append((step.observation.copy(), step.reward.copy(), step.truncated.copy()))
    for copy in range(copies):
        theirs.reset(seed=0)
        world = theirs.unwrapped.world
        for agent, place in zip(world.agents, state["place"][copy], strict=True):
            agent.state.p_pos = place.copy()
        for mark, place in zip(world.landmarks, state["mark"][copy], strict=True):
            mark.state.p_pos = place.copy()
        names = list(theirs.agents)
        for number in range(LIMIT):
            told = dict(zip(names, actions[number, copy].tolist(), strict=True))
            seen, reward, _, truncated, _ = theirs.step(told)
            observation, paid, cut = ours[number]
            for place, name in enumerate(names):
                np.testing.assert_allclose(
                    observation[copy, place], seen[name], rtol=1e-5, atol=1e-5
                )
                np.testing.assert_allclose(paid[copy, place], reward[name], rtol=1e-5, atol=1e-5)
                assert cut[copy] == truncated[name]
