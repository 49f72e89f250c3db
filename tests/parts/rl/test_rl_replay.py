import functools

import numpy as np
import pytest
import torch

from parts.rl.counting import ACTIONS, Chooser, Counting, play
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl import replay_kernels as kernels
from tenfold.parts.rl.draws import CHUNK, Draws
from tenfold.parts.rl.replay import Transitions
from tenfold.parts.rl.rollout import begin, collect
from tenfold.parts.rl.sampling import Prioritised, Uniform
from tenfold.parts.rl.windows import Windows

GAMMA = 0.5
PRIORITISED = functools.partial(Prioritised, exponent=0.7)
CHOOSERS = pytest.mark.parametrize("choose", [Uniform, PRIORITISED], ids=["uniform", "priority"])
MASKS = pytest.mark.parametrize("masks", [False, True], ids=["free", "masked"])
BOTH = pytest.mark.parametrize("make", ["transitions", "windows"])
TOTAL = 24
"""Steps that are collected of each copy, in blocks of four."""


def blocks_of(batch, *, total=TOTAL, memory=None):
    policy, place = Chooser(batch), begin(batch, memory=memory)
    for _ in range(total // 4):
        block, place = collect(batch, policy, place, steps=4)
        yield block


def counter(batch):
    return {"count": np.zeros((len(batch.names), 2), dtype=np.float32)}


def singles(lanes=(1,), *, world=None, total=TOTAL, **given):
    """Return a replay of single steps with all blocks in it."""
    batch = Counting(lanes, **(world or {}))
    legal = batch.masks
    made = {"seeds": lanes, "capacity": 40, "gamma": GAMMA, "legal": legal} | given
    replay = Transitions(batch.spec, **made)
    for block in blocks_of(batch, total=total):
        replay.write(block)
    return replay


def windows(lanes=(1,), *, world=None, total=TOTAL, **given):
    """Return a replay of windows of four steps with all blocks in it."""
    batch = Counting(lanes, **(world or {}))
    memory = counter(batch)
    made = {"seeds": lanes, "capacity": 8, "steps": 4, "memory": memory, "legal": batch.masks}
    replay = Windows(batch.spec, **(made | given))
    for block in blocks_of(batch, total=total, memory=memory):
        replay.write(block)
    return replay


def made_by(make):
    return singles if make == "transitions" else windows


def find(told, observation):
    """Return the steps of a copy from where an observation was seen before a step."""
    for copy in told:
        for t, step in enumerate(copy):
            if (step["observation"] == observation).all():
                return copy[t:]
    raise AssertionError(f"{observation} was never seen")


def assert_equal(one, two):
    for name, a in one._asdict().items():
        b = getattr(two, name)
        if isinstance(a, tuple):
            assert_equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            for key, value in a.items():
                np.testing.assert_array_equal(value, b[key], err_msg=key)
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)


# Single steps


def assert_return(batch, k, j, ahead):
    """Hold a return that was drawn to the steps from its first one on."""
    over = [n for n, step in enumerate(ahead) if step["terminated"] or step["truncated"]]
    taken = ahead[: over[0] + 1] if over else ahead
    first, last = taken[0], taken[-1]
    total = sum(GAMMA**n * step["reward"].astype(np.float64) for n, step in enumerate(taken))
    assert batch.length[k, j] == len(taken)
    assert batch.discount[k, j] == (0.0 if last["terminated"] else GAMMA ** len(taken))
    np.testing.assert_allclose(batch.reward[k, j], total, rtol=1e-6)
    np.testing.assert_array_equal(batch.action[k, j], first["action"])
    np.testing.assert_array_equal(batch.alive[k, j], first["alive"])
    if batch.legal is not None:
        np.testing.assert_array_equal(batch.legal[k, j], first["legal"])
    if last["terminated"]:
        return
    np.testing.assert_array_equal(batch.next_observation[k, j], last["after"])
    np.testing.assert_array_equal(batch.next_alive[k, j], last["alive_after"])
    if batch.legal is not None:
        np.testing.assert_array_equal(batch.next_legal[k, j], last["legal_after"])


@MASKS
@CHOOSERS
def test_each_return_drawn_is_that_of_the_steps_that_were_taken(choose, masks):
    lanes, steps, world = (1, 2, 3), [1, 3, 5], {"agents": 2, "masks": masks}
    replay = singles(lanes, world=world, steps=steps, choose=choose, capacity=30)
    told = play(Counting(lanes, **world), TOTAL)
    batch = replay.sample(0, batch=100)
    assert (batch.legal is not None) == masks
    for k in range(3):
        for j in range(100):
            ahead = find(told[2 * k : 2 * k + 2], batch.observation[k, j])
            assert_return(batch, k, j, ahead[: steps[k]])


@CHOOSERS
@pytest.mark.parametrize("steps", [1, 3])
def test_every_step_whose_return_is_whole_is_drawn_and_no_other(choose, steps):
    replay = singles(capacity=20, steps=steps, choose=choose)
    assert replay.count.tolist() == [(10 - steps + 1) * 2]
    seen = replay.sample(0, batch=1_000).observation[0, :, 0]
    kept = [copy[TOTAL - 10 : TOTAL - steps + 1] for copy in play(Counting(), TOTAL)]
    want = {tuple(step["observation"][0]) for copy in kept for step in copy}
    assert {tuple(row) for row in seen} == want


@pytest.mark.parametrize(("pay", "want"), [("sum", 2.0), ("mean", 1.0)])
def test_a_team_is_paid_the_sum_or_the_mean_of_its_agents(pay, want):
    own = singles(world={"agents": 2}, steps=3).sample(0, batch=50)
    team = singles(world={"agents": 2}, steps=3, pay=pay).sample(0, batch=50)
    assert team.reward.shape == (1, 50)
    np.testing.assert_allclose(team.reward, own.reward.mean(axis=2) * want, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_observations_keep_their_type(dtype):
    batch = singles(world={"dtype": dtype}).sample(0, batch=3)
    assert batch.observation.dtype == batch.next_observation.dtype == dtype
    assert batch.action.dtype == np.int64


def test_episodes_broken_off_go_on_bootstrapping_from_what_was_seen_last():
    batch = Counting(agents=2, masks=True)
    replay = Transitions(
        batch.spec, seeds=(1,), capacity=40, steps=3, gamma=GAMMA, legal=True, pay="agents"
    )
    policy = Chooser(batch)
    block, _ = collect(batch, policy, begin(batch), steps=6)
    replay.write(block)
    replay.break_off()
    last = block.observation[-1].copy()
    assert not (block.terminated[-1] | block.truncated[-1]).any()
    other, _ = collect(batch, policy, begin(batch), steps=6)
    replay.write(other)
    drawn = replay.sample(0, batch=500)
    for b in range(2):
        alone = (drawn.observation[0] == block.observation[5, b]).all(axis=(1, 2))
        assert alone.any()
        assert (drawn.length[0, alone] == 1).all()
        assert (drawn.next_observation[0, alone] == last[b]).all()
        assert (drawn.discount[0, alone] == GAMMA).all()


def test_assembling_equals_a_plain_walk_around_the_ring():
    generator = np.random.default_rng(1)
    reward = generator.normal(size=(2, 12, 3)).astype(np.float32)
    ended = generator.choice([0, 1, 2], size=(2, 12), p=[0.7, 0.15, 0.15]).astype(np.uint8)
    slots, steps = generator.integers(0, 12, size=(2, 40)), np.array([2, 4])
    gamma = np.array([0.9, 0.5])
    out = kernels.new_assembled(2, batch=40, rewards=3)
    kernels.assemble(out, reward, ended, slots, 4, steps, gamma)
    for k in range(2):
        for j in range(40):
            path = [(slots[k, j] + 4 * n) % 12 for n in range(steps[k])]
            stops = [n for n, slot in enumerate(path) if ended[k, slot]]
            path = path[: stops[0] + 1] if stops else path
            want = sum(gamma[k] ** n * reward[k, slot] for n, slot in enumerate(path))
            over = ended[k, path[-1]] == kernels.TERMINATED
            np.testing.assert_allclose(out.reward[k, j], want, rtol=1e-6)
            assert out.discount[k, j] == pytest.approx(0 if over else gamma[k] ** len(path))
            assert (out.length[k, j], out.last[k, j]) == (len(path), path[-1])


# Windows


@MASKS
@CHOOSERS
def test_each_window_drawn_is_a_stretch_of_one_copy(choose, masks):
    lanes, world = (1, 2), {"copies": 3, "agents": 2, "masks": masks}
    replay = windows(lanes, world=world, capacity=12, choose=choose)
    told = play(Counting(lanes, **world), TOTAL + 1)
    batch = replay.sample(0, batch=60)
    for k in range(2):
        for j in range(60):
            steps = find(told[3 * k : 3 * k + 3], batch.observation[k, j, 0])[:5]
            for name in ("observation", "alive", *(("legal",) if masks else ())):
                want = np.stack([step[name] for step in steps])
                np.testing.assert_array_equal(getattr(batch, name)[k, j], want)
            for name in ("action", "reward", "terminated", "truncated"):
                want = np.stack([step[name] for step in steps[:4]])
                np.testing.assert_array_equal(getattr(batch, name)[k, j], want)


def test_a_window_has_the_memory_before_its_first_observation():
    batch = windows((1, 2), world={"copies": 3}).sample(0, batch=50)
    assert batch.memory["count"].shape == (2, 50, 2)
    want = batch.observation[:, :, 0, 0, 2]
    assert len(np.unique(want)) > 1
    np.testing.assert_array_equal(batch.memory["count"][..., 0], want)


@MASKS
def test_a_window_has_what_was_seen_last_of_each_episode_that_was_cut(masks):
    lanes, world = (1, 2), {"agents": 2, "masks": masks}
    told = play(Counting(lanes, **world), TOTAL)
    batch = windows(lanes, world=world).sample(0, batch=50)
    finals = batch.finals
    places = np.stack([finals.lane, finals.row, finals.time], axis=1)
    assert places.tolist() == np.argwhere(batch.truncated).tolist() != []
    for f, (k, j, t) in enumerate(places):
        step = find(told, batch.observation[k, j, t])[0]
        np.testing.assert_array_equal(finals.observation[f], step["after"])
        np.testing.assert_array_equal(finals.alive[f], step["alive_after"])
        if masks:
            np.testing.assert_array_equal(finals.legal[f], step["legal_after"])


def test_only_the_newest_windows_are_kept():
    replay = windows(capacity=5)
    assert replay.count.tolist() == [4]
    drawn = replay.sample(0, batch=200).observation[0, :, 0, 0]
    kept = [copy[t] for copy in play(Counting(), TOTAL) for t in (TOTAL - 8, TOTAL - 4)]
    assert {tuple(row) for row in drawn} == {tuple(step["observation"][0]) for step in kept}


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_memories_can_be_refreshed(kind):
    replay = windows((1, 2))
    batch = replay.sample(0, batch=3)
    fresh = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    # Of a slot drawn twice the last memory stays; here all draws of a slot get the same.
    fresh[..., 0] = fresh[..., 1] = batch.slot * 10
    replay.refresh(batch.slot, {"count": torch.from_numpy(fresh) if kind == "torch" else fresh})
    again = replay.sample(0, batch=3)
    np.testing.assert_array_equal(again.memory["count"], fresh)
    np.testing.assert_array_equal(again.observation, batch.observation)


# Both


@BOTH
@CHOOSERS
def test_what_a_lane_draws_does_not_depend_on_its_company(make, choose):
    def draw(lanes):
        replay, drawn = made_by(make)(lanes, choose=choose), []
        for step in range(4):
            batch = replay.sample(step, batch=16)
            replay.learn(batch.slot, batch.reward.reshape(len(lanes), 16, -1)[..., 0])
            drawn.append(batch)
        return drawn

    lanes = (3, 1, 2)
    together = draw(lanes)
    for k, lane in enumerate(lanes):
        for one, all_of in zip(draw((lane,)), together, strict=True):
            for name in ("slot", "weight", "observation", "action", "reward"):
                np.testing.assert_array_equal(getattr(one, name)[0], getattr(all_of, name)[k])


@BOTH
@CHOOSERS
def test_a_replay_that_was_saved_goes_on_as_one_that_was_not(make, choose):
    def fill(replay, blocks):
        drawn = []
        for step, block in enumerate(blocks):
            replay.write(block)
            batch = replay.sample(step, batch=8)
            replay.learn(batch.slot, np.cos(batch.slot + step))
            drawn.append(batch)
        return drawn

    lanes, world = (1, 2), {"agents": 2, "masks": True}
    batch = Counting(lanes, **world)
    blocks = list(blocks_of(batch, total=60, memory=counter(batch)))
    new = functools.partial(made_by(make), lanes, world=world, choose=choose, total=0)
    replay, other = new(), new()
    fill(replay, blocks[:8])
    state = {name: array.copy() for name, array in replay.state().items()}
    saved = replay.state()
    whole = fill(replay, blocks[8:])
    for name, array in state.items():
        np.testing.assert_array_equal(saved[name], array, err_msg=name)
    other.restore(saved)
    for one, two in zip(whole, fill(other, blocks[8:]), strict=True):
        assert_equal(one, two)


@BOTH
def test_priorities_that_count_for_nothing_draw_what_uniform_sampling_draws(make):
    plain = made_by(make)((1, 2), choose=Uniform)
    equal = made_by(make)((1, 2), choose=functools.partial(Prioritised, exponent=0.0))
    for step in range(5):
        one, two = plain.sample(step, batch=20), equal.sample(step, batch=20, correction=0.7)
        assert_equal(one, two)
        equal.learn(two.slot, np.exp(two.slot.astype(float)))


@BOTH
def test_final_observations_are_kept_only_as_long_as_their_steps(make):
    state = made_by(make)((1, 2), total=400).state()
    used = len(state["shelf/observation"]) - len(state["shelf/free"])
    assert used == (state["final"] >= 0).sum() > 0


@BOTH
def test_another_replay_cannot_be_restored(make):
    saved = made_by(make)(capacity=8).state()
    with pytest.raises(TenfoldError, match=r"another one: observation has shape .*settings"):
        made_by(make)(capacity=16).restore(saved)


@BOTH
def test_an_empty_replay_says_that_steps_are_missing(make):
    with pytest.raises(TenfoldError, match="nothing can be drawn from the replay of lane 0 yet"):
        made_by(make)(total=0).sample(0, batch=1)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"capacity": 5, "steps": 4}, "room for 2 of each of 2 copies, .* take 4; .* of 8 or more"),
        ({"capacity": 10, "steps": 3}, "a block of 4 steps .* 5 for each copy .* 12 or more"),
    ],
    ids=["return", "block"],
)
def test_a_replay_too_small_says_what_it_needs(given, match):
    with pytest.raises(TenfoldError, match=match):
        singles(**given)


def test_a_replay_without_room_for_a_window_of_each_copy_says_so():
    with pytest.raises(TenfoldError, match=r"of 3 windows has no room .* 4 copies; .* 4 or more"):
        windows(world={"copies": 4}, capacity=3)


def test_actions_of_the_batch_are_all_drawn():
    drawn = singles((1, 2), world={"copies": 3}).sample(0, batch=200).action
    assert set(drawn.ravel().tolist()) == set(range(ACTIONS))


# Random streams


def test_a_lane_draws_the_same_numbers_in_any_stack_and_order():
    together = Draws([5, 6, 7], "test", shape=(2, 3))
    steps = [0, 3 * CHUNK + 1, 1, CHUNK - 1, CHUNK]
    told = {step: together.at(step).copy() for step in steps}
    alone = Draws([6], "test", shape=(2, 3))
    for step in reversed(steps):
        np.testing.assert_array_equal(alone.at(step)[0], told[step][1])
        assert ((told[step] >= 0) & (told[step] < 1)).all()
    flat = np.concatenate([numbers.ravel() for numbers in told.values()])
    assert len(np.unique(flat)) == len(flat)


def test_streams_of_other_names_are_others():
    one, two = (Draws([5], name, shape=(4,)).at(2) for name in ("explore", "replay"))
    assert (one != two).all()
