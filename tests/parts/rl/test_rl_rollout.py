import itertools

import numpy as np
import pytest
import torch

from parts.rl.counting import Chooser, Counting, choose, play
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.rollout import Choice, begin, collect, forget, load_place, save_place

MASKS = pytest.mark.parametrize("masks", [False, True], ids=["free", "masked"])
KINDS = pytest.mark.parametrize("kind", ["numpy", "torch"])


def counter(batch, kind="numpy"):
    zeros = np.zeros((len(batch.names), 1), dtype=np.float32)
    return {"count": torch.from_numpy(zeros) if kind == "torch" else zeros}


def blocks_of(batch, *, steps, blocks, kind="numpy"):
    policy, place, told = Chooser(batch), begin(batch, memory=counter(batch, kind)), []
    for _ in range(blocks):
        block, place = collect(batch, policy, place, steps=steps)
        told.append(block)
    return told, place, policy


def assert_same(one, two):
    for name in one._fields:
        a, b = getattr(one, name), getattr(two, name)
        if isinstance(a, tuple):
            assert_same(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])
        else:
            np.testing.assert_array_equal(a, b)


@MASKS
def test_blocks_equal_steps_taken_one_by_one(masks):
    made = {"copies": 3, "agents": 2, "masks": masks}
    told = play(Counting((1, 2), **made), 20)
    blocks, _, _ = blocks_of(Counting((1, 2), **made), steps=5, blocks=4)
    for t in range(20):
        block, row = blocks[t // 5], t % 5
        for b, copy in enumerate(told):
            step = copy[t]
            np.testing.assert_array_equal(block.observation[row, b], step["observation"])
            np.testing.assert_array_equal(block.action[row, b], step["action"])
            np.testing.assert_array_equal(block.reward[row, b], step["reward"])
            np.testing.assert_array_equal(block.alive[row, b], step["alive"])
            np.testing.assert_array_equal(block.events[row, b], step["events"])
            assert block.terminated[row, b] == step["terminated"]
            assert block.truncated[row, b] == step["truncated"]
            if masks:
                np.testing.assert_array_equal(block.legal[row, b], step["legal"])
    assert (blocks[0].legal is not None) == masks


def test_a_block_goes_on_where_the_one_before_ended():
    blocks, _, _ = blocks_of(Counting(agents=2, masks=True), steps=3, blocks=4)
    for before, after in itertools.pairwise(blocks):
        np.testing.assert_array_equal(before.observation[-1], after.observation[0])
        np.testing.assert_array_equal(before.alive[-1], after.alive[0])
        np.testing.assert_array_equal(before.legal[-1], after.legal[0])


@MASKS
def test_final_observations_are_kept_apart_and_the_next_episode_follows(masks):
    made = {"copies": 3, "agents": 2, "masks": masks}
    told = play(Counting(**made), 12)
    (block,), _, _ = blocks_of(Counting(**made), steps=12, blocks=1)
    ended = block.terminated | block.truncated
    assert np.argwhere(ended).tolist() == list(
        map(list, zip(block.finals.time.tolist(), block.finals.copy.tolist(), strict=True))
    )
    for f, (t, b) in enumerate(np.argwhere(ended)):
        step = told[b][t]
        np.testing.assert_array_equal(block.finals.observation[f], step["after"])
        np.testing.assert_array_equal(block.finals.alive[f], step["alive_after"])
        if masks:
            np.testing.assert_array_equal(block.finals.legal[f], step["legal_after"])
        assert (block.observation[t + 1, b, :, 2] == 0).all()
        assert (block.observation[t + 1, b, :, 1] == step["after"][:, 1] + 1).all()
        assert block.alive[t + 1, b].all()


@KINDS
def test_a_memory_is_zero_where_an_episode_begins_and_kept_elsewhere(kind):
    batch = Counting(copies=4)
    _, _, policy = blocks_of(batch, steps=5, blocks=3, kind=kind)
    for seen, memory, _ in policy.shown:
        np.testing.assert_array_equal(np.asarray(memory["count"])[:, 0], seen.observation[:, 0, 2])
        np.testing.assert_array_equal(seen.begun, seen.observation[:, 0, 2] == 0)


@KINDS
def test_a_block_has_the_memory_before_its_first_observation(kind):
    blocks, _, _ = blocks_of(Counting(copies=4), steps=5, blocks=3, kind=kind)
    for block in blocks:
        told = np.asarray(block.memory["count"])[:, 0]
        np.testing.assert_array_equal(told, block.observation[0, :, 0, 2])


def test_steps_are_counted_over_all_blocks():
    _, place, policy = blocks_of(Counting(), steps=4, blocks=3)
    assert [step for _, _, step in policy.shown] == list(range(12))
    assert place.step == 12


def test_how_steps_are_cut_into_blocks_changes_nothing():
    (whole,), _, _ = blocks_of(Counting(agents=2), steps=12, blocks=1)
    parts, _, _ = blocks_of(Counting(agents=2), steps=4, blocks=3)
    for name in ("action", "reward", "terminated", "truncated", "events"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(whole, name), joined)
    for name in whole.episodes._fields:
        joined = np.concatenate([getattr(part.episodes, name) for part in parts])
        np.testing.assert_array_equal(getattr(whole.episodes, name), joined)


def test_episodes_add_up_what_their_steps_brought():
    batch = Counting(copies=3, agents=2)
    (block,), _, _ = blocks_of(batch, steps=30, blocks=1)
    sums = {}
    for t in range(30):
        for b in range(3):
            sums.setdefault(b, []).append((block.reward[t, b], block.events[t, b]))
            if block.terminated[t, b] or block.truncated[t, b]:
                sums.setdefault("ended", []).append((b, sums.pop(b)))
    episodes = block.episodes
    assert len(episodes.copy) == len(sums["ended"]) > 10
    for e, (b, steps) in enumerate(sums["ended"]):
        assert (episodes.copy[e], episodes.length[e]) == (b, len(steps))
        np.testing.assert_array_equal(episodes.reward[e], sum(reward for reward, _ in steps))
        np.testing.assert_array_equal(episodes.events[e], sum(events for _, events in steps))
        assert episodes.team[e] == episodes.reward[e].sum()


def test_what_a_policy_gives_besides_is_kept():
    blocks, _, _ = blocks_of(Counting(copies=3), steps=4, blocks=2)
    told = np.concatenate([block.extra["place"] for block in blocks])
    np.testing.assert_array_equal(told, np.repeat(np.arange(8)[:, None], 3, axis=1))


@KINDS
def test_a_run_that_goes_on_from_a_saved_place_equals_one_that_was_not_stopped(kind):
    batch = Counting(copies=3, agents=2, masks=True)
    place = begin(batch, memory=counter(batch, kind))
    _, place = collect(batch, Chooser(batch), place, steps=7)
    saved, state = save_place(place), batch.state()
    whole, _ = collect(batch, Chooser(batch), place, steps=9)

    other = Counting(copies=3, agents=2, masks=True)
    fresh = begin(other, memory=counter(other, kind))
    other.restore(state)
    again = load_place(saved, like=fresh)
    assert type(again.memory["count"]) is type(place.memory["count"])
    split, _ = collect(other, Chooser(other), again, steps=9)
    assert_same(whole, split)


def test_a_saved_place_does_not_move_with_the_run():
    batch = Counting()
    _, place = collect(batch, Chooser(batch), begin(batch), steps=3)
    saved = save_place(place)
    kept = {name: value.copy() for name, value in saved.items()}
    collect(batch, Chooser(batch), place, steps=5)
    for name, value in kept.items():
        np.testing.assert_array_equal(saved[name], value)


@KINDS
def test_forgetting_leaves_the_memory_that_was_given(kind):
    values = np.arange(6, dtype=np.float32).reshape(3, 2) + 1
    given = {"hidden": torch.from_numpy(values.copy()) if kind == "torch" else values.copy()}
    told = forget(given, np.array([True, False, True]))
    assert np.asarray(told["hidden"]).tolist() == [[0, 0], [3, 4], [0, 0]]
    np.testing.assert_array_equal(np.asarray(given["hidden"]), values)


def test_legal_actions_that_come_only_at_some_steps_are_refused():
    batch = Counting(masks=True)
    place = begin(batch)

    def policy(_, memory, step):
        batch.masks = False
        return Choice(choose(batch, step), memory)

    with pytest.raises(TenfoldError, match="at some steps and not at others; not at this one"):
        collect(batch, policy, place, steps=2)
