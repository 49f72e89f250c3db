import numpy as np
import pytest

from parts.rl.tiny_worlds import (
    Box,
    Discrete,
    Pair,
    Relay,
    Restless,
    Tuple,
    Walk,
    acts,
    batch_of,
    run,
)
from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.adapters.copies import Copies, settle
from tenfold.parts.rl.adapters.gym_batch import GymCopy
from tenfold.parts.rl.adapters.parallel_batch import ParallelCopy

# One agent


def test_copies_show_what_their_environments_show():
    batch = batch_of(Walk, copies=3)
    alone = [Walk() for _ in range(3)]
    shown = batch.reset()
    assert shown.shape == (3, 1, 2)
    assert shown.dtype == np.float32
    for b, env in enumerate(alone):
        observation, _ = env.reset(seed=rng.key(100 * b, "episode", 0) % (1 << 31))
        np.testing.assert_array_equal(shown[b, 0], observation)
    actions = np.array([[1], [0], [1]])
    for _ in range(2):
        step = batch.step(actions)
        for b, env in enumerate(alone):
            observation, reward, over, cut, _ = env.step(int(actions[b, 0]))
            np.testing.assert_array_equal(step.observation[b, 0], observation)
            assert step.reward[b, 0] == reward
            assert (step.terminated[b], step.truncated[b]) == (over, cut)
    assert step.alive.all()
    assert step.legal is None
    assert step.events is None


def test_a_copy_that_ended_shows_its_final_observation_until_it_is_reset():
    batch = batch_of(Walk)
    batch.reset()
    ended = np.zeros(2, dtype=bool)
    while not ended.any():
        step = batch.step(np.array([[1], [0]]))
        ended = step.terminated | step.truncated
    assert step.terminated.tolist() == [True, False]
    assert step.observation[0, 0, 0] == 5
    other = step.observation[1].copy()
    shown = batch.reset(ended)
    assert shown[0, 0, 0] < 3
    np.testing.assert_array_equal(shown[1], other)


def test_a_time_limit_of_the_environment_truncates():
    batch = batch_of(Walk, copies=1)
    batch.reset()
    flags = [batch.step(acts(batch, 0)) for _ in range(6)][-1]
    assert (flags.terminated[0], flags.truncated[0]) == (False, True)
    assert flags.alive.all()


def test_a_time_limit_from_outside_truncates_earlier():
    batch = batch_of(Walk, copies=1, time_limit=2)
    batch.reset()
    assert not batch.step(acts(batch, 0)).truncated[0]
    assert batch.step(acts(batch, 0)).truncated[0]


def test_stepping_a_copy_that_ended_is_a_mistake():
    batch = batch_of(Walk, copies=1, time_limit=1)
    batch.reset()
    batch.step(acts(batch, 0))
    with pytest.raises(AssertionError, match="was not reset"):
        batch.step(acts(batch, 0))


def test_legal_actions_in_an_info_are_told():
    batch = batch_of(lambda: Walk(masks=True), copies=1)
    batch.reset()
    for _ in range(3):
        step = batch.step(acts(batch, 0))
    assert step.observation[0, 0, 0] == 0
    assert step.legal.tolist() == batch.legal().tolist() == [[[False, True]]]


def test_masks_that_begin_late_are_refused():
    batch = batch_of(Walk, copies=1)
    batch.reset()
    batch.copies[0].env.masks = True
    with pytest.raises(TenfoldError, match=r"no legal actions at its first reset .* later"):
        batch.step(acts(batch, 1))


def march(batch, steps):
    """Return what a batch shows, [steps, B, ..], when all go right and begin anew at the goal."""
    shown = [batch.reset().copy()]
    for _ in range(steps):
        step = batch.step(acts(batch, 1))
        shown.append(step.observation.copy())
        batch.reset(step.terminated | step.truncated)
    return np.stack(shown)


def test_an_episode_depends_on_seed_and_number_and_not_on_company():
    together = march(batch_of(Walk, copies=2, seed=7), 20)
    alone = march(batch_of(Walk, copies=1, seed=107), 20)
    np.testing.assert_array_equal(together[:, 1:], alone)
    assert (together[:, 0] != together[:, 1]).any()
    assert (together != march(batch_of(Walk, copies=2, seed=8), 20)).any()


def test_closing_a_batch_closes_its_environments():
    batch = batch_of(Walk)
    batch.close()
    assert all(copy.env.closed for copy in batch.copies)


# Going back


def test_a_batch_that_was_restored_goes_on_as_one_that_was_not():
    one, two = batch_of(lambda: Walk(masks=True)), batch_of(lambda: Walk(masks=True))
    run(one, 9)
    state = one.state()
    two.restore(state)
    np.testing.assert_array_equal(one.legal(), two.legal())
    for left, right in zip(one.step(acts(one, 1)), two.step(acts(two, 1)), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_batch_whose_copy_had_ended_is_restored_to_its_end():
    one, two = (batch_of(Walk, time_limit=2) for _ in range(2))
    one.reset()
    for _ in range(2):
        one.step(acts(one, 0))
    two.restore(one.state())
    assert two._truncated.all()
    np.testing.assert_array_equal(one.reset(two._truncated), two.reset(two._truncated))


def test_an_environment_with_other_randomness_cannot_be_restored():
    batch = batch_of(Restless)
    batch.reset()
    batch.step(acts(batch, 1))
    state = batch.state()
    with pytest.raises(TenfoldError, match=r"copy 0 of tiny shows other things .* reset\(seed"):
        batch_of(Restless).restore(state)


# Several agents in tuples


def test_several_agents_in_tuples_share_padded_arrays():
    batch = batch_of(Pair)
    assert (batch.spec.agents, batch.spec.actions) == (("agent_0", "agent_1"), (2, 3))
    assert (batch.spec.shape, batch.spec.sizes) == ((3,), (2, 3))
    assert batch.reset()[0].tolist() == [[0, 0, 0], [10, 10, 10]]
    step = batch.step(acts(batch, 1, 2))
    assert step.observation[1].tolist() == [[1, 1, 0], [11, 11, 11]]
    assert step.reward.tolist() == [[1, 10], [1, 10]]
    assert batch.copies[0].env.got == (1, 2)


def test_a_reward_for_all_is_shared_out():
    batch = batch_of(lambda: Pair(paid="team"), copies=1)
    batch.reset()
    assert batch.step(acts(batch, 0, 0)).reward.tolist() == [[3, 3]]


def test_an_agent_that_is_done_before_the_others_is_no_longer_alive():
    batch = batch_of(lambda: Pair(flags="each"), copies=1)
    batch.reset()
    steps = []
    for _ in range(3):
        step = batch.step(acts(batch, 1, 2))
        steps.append((step.alive[0].tolist(), bool(step.terminated[0])))
    assert steps == [([True, True], False), ([False, True], False), ([False, False], True)]
    assert batch.copies[0].env.got == (0, 2)


# Several agents in dicts


def test_agents_in_dicts_share_padded_arrays():
    batch = batch_of(Relay)
    assert (batch.spec.agents, batch.spec.actions) == (("red", "blue"), (2, 3))
    assert (batch.spec.shape, batch.spec.sizes) == ((3,), (2, 3))
    assert batch.reset()[0].tolist() == [[0, 0, 0], [0.5, 0.5, 0.5]]
    step = batch.step(acts(batch, 1, 2))
    assert step.observation[0].tolist() == [[1, 1, 0], [1.5, 1.5, 1.5]]
    assert step.reward.tolist() == [[2, 3], [2, 3]]
    assert batch.copies[0].env.got == {"red": 1, "blue": 2}


@pytest.mark.parametrize("quiet", [False, True], ids=["told", "silently"])
def test_an_agent_that_drops_out_is_dead_from_then_on(quiet):
    ends = {"red": (4, "over"), "blue": (2, "over")}
    batch = batch_of(lambda: Relay(ends, quiet=quiet), copies=1)
    batch.reset()
    steps = [batch.step(acts(batch, 1, 2)) for _ in range(2)]
    assert steps[-1].alive.tolist() == [[True, False]]
    assert steps[-1].reward.tolist() == [[2, 3]]
    step = batch.step(acts(batch, 0, 2))
    assert batch.copies[0].env.got == {"red": 0}
    assert step.observation[0, 1].tolist() == [0, 0, 0]
    assert step.reward.tolist() == [[1, 0]]
    assert not step.terminated[0]
    step = batch.step(acts(batch, 0, 0))
    assert (step.terminated[0], step.truncated[0]) == (True, False)


def test_a_team_that_was_cut_off_is_alive_at_its_final_observation():
    ends = {"red": (3, "cut"), "blue": (2, "over")}
    batch = batch_of(lambda: Relay(ends), copies=1)
    batch.reset()
    step = [batch.step(acts(batch, 0, 0)) for _ in range(3)][-1]
    assert (step.terminated[0], step.truncated[0]) == (False, True)
    assert step.alive.tolist() == [[True, False]]
    assert step.observation[0, 0].tolist() == [3, 3, 0]


def test_masks_beside_observations_are_told_and_padded():
    ends = {"red": (4, "over"), "blue": (2, "over")}
    batch = batch_of(lambda: Relay(ends, mask=True), copies=1)
    assert batch.spec.shape == (3,)
    batch.reset()
    assert batch.legal().tolist() == [[[False, True, False], [False, True, False]]]
    assert batch.step(acts(batch, 1, 1)).legal.tolist() == [
        [[True, False, False], [True, False, True]]
    ]
    assert batch.step(acts(batch, 0, 0)).legal.tolist() == [
        [[False, True, False], [False, False, False]]
    ]


@pytest.mark.parametrize(
    ("alive", "terminated", "truncated", "want"),
    [
        ([1, 1], [0, 0], [0, 0], (False, False, [1, 1])),
        ([1, 1], [1, 0], [0, 0], (False, False, [0, 1])),
        ([1, 1], [1, 0], [0, 1], (False, True, [0, 1])),
        ([1, 1], [1, 1], [0, 0], (True, False, [0, 0])),
        ([1, 1], [1, 1], [1, 1], (True, False, [0, 0])),
        ([0, 1], [0, 0], [1, 1], (False, True, [0, 1])),
        ([0, 1], [0, 1], [0, 0], (True, False, [0, 0])),
    ],
)
def test_a_team_ends_with_its_last_agent_and_as_that_one_ends(alive, terminated, truncated, want):
    given = (np.array(flags, dtype=bool) for flags in (alive, terminated, truncated))
    over, cut, left = settle(*given)
    assert (over, cut, left.astype(int).tolist()) == want


# Faults


class OldReset(Walk):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed, options=options)[0]


class Unseeded(Walk):
    def reset(self):
        return super().reset()


class OldStep(Walk):
    def step(self, action):
        observation, reward, over, cut, info = super().step(action)
        return observation, reward, over or cut, info


class Vector(Walk):
    num_envs = 8


class Steered(Walk):
    action_space = Box((1,), "float32")


class Split(Walk):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, [1.0, 2.0], *rest


class Crowd(Pair):
    def _look(self):
        return (*super()._look(), np.zeros(3))


class Nameless(Relay):
    possible_agents = ()


class Turns(Relay):
    agent_iter = None


class OldRelay(Relay):
    def reset(self, seed=None, options=None):
        return super().reset(seed=seed, options=options)[0]


class OldRelayStep(Relay):
    def step(self, actions):
        return super().step(actions)[:4]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (OldReset, "before Gymnasium .reset returns no pair.* shimmy"),
        (Unseeded, "before Gymnasium .reset takes no seed"),
        (OldStep, "before Gymnasium .step returns 4 values and not 5"),
        (Vector, "tiny is a vector of 8 environments; give a function that makes a single one"),
        (Steered, r"actions of agent are continuous \(a Box of shape \(1,\)\)"),
        (Split, "tiny gives 2 rewards for 1 agents; wrap it"),
        (Crowd, "tiny gives 3 observations for 2 agents"),
        (Nameless, "does not say which agents there can be; give it .* possible_agents"),
        (Turns, r"move in turns; .*\.aec_to_parallel"),
        (OldRelay, "reset of tiny returns no pair of observations and infos"),
        (OldRelayStep, "step of tiny returns 4 values and not 5"),
        (lambda: Relay(absent=["blue"]), "tiny begins an episode without blue; all agents"),
        (lambda: Relay(late=2), "agent 'green' of tiny appears during an episode"),
        (object, "tiny gives a object, which is no environment of Gymnasium or Petting"),
    ],
    ids=[
        "old reset",
        "no seed",
        "old step",
        "vector",
        "continuous",
        "two rewards",
        "three views",
        "no names",
        "turns",
        "old dicts",
        "old dict step",
        "absent",
        "late",
        "no environment",
    ],
)
def test_an_environment_that_cannot_be_used_says_why(make, match):
    with pytest.raises(TenfoldError, match=match):
        run(batch_of(make), 2)


def test_an_agent_that_comes_back_is_refused():
    env = Relay({"red": (9, "over"), "blue": (1, "over")})
    copy = ParallelCopy(env, name="tiny")
    copy.reset(0)
    copy.step([0, 0])
    copy.step([0, None])
    env.agents.append("blue")
    env.ends["blue"] = (9, "over")
    step = env.step
    env.step = lambda actions: step({**actions, "blue": 0})
    with pytest.raises(TenfoldError, match="agent 'blue' of tiny appears during an episode"):
        copy.step([0, None])


def test_copies_that_differ_are_refused():
    class Longer(Walk):
        action_space = Discrete(3)

    made = [GymCopy(Walk(), name="a"), GymCopy(Longer(), name="b")]
    with pytest.raises(TenfoldError, match=r"copy 1 of tiny differs .* actions \(3,\)"):
        Copies(made, name="tiny", seeds=[1, 2])


def test_one_agent_may_see_and_do_several_things_at_once():
    class Juggler(Walk):
        observation_space = Tuple([Box((2,), "float64"), Discrete(3), Discrete(2)])
        action_space = Tuple([Discrete(2), Discrete(2)])

        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed, options=options)
            return (observation, 2, 1), info

    copy = GymCopy(Juggler(), name="tiny")
    assert copy.agents == ("agent",)
    assert copy.moves[0].count == 4
    (seen,) = copy.reset(0).observations
    assert copy.encodings[0].encode(seen)[2:].tolist() == [0, 0, 1, 0, 1]
