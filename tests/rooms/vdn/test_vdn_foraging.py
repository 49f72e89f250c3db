"""Level-based foraging: its rules by hand, beside a plain twin, and beside the package itself."""

from dataclasses import replace

import numpy as np
import pytest

from rooms.vdn.plain_foraging import PlainForaging
from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream
from tenfold.rooms.vdn.foraging import ACTIONS, Foraging, ForagingBatch, find_foraging

pytestmark = pytest.mark.timeout(600)
"""Loops are compiled inside the first test."""

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)


def new_task(*at, foods, levels=None, **settings):
    """Return one copy of a 6 x 6 task with players (row, column) and foods {cell: level}."""
    size = {"rows": 6, "columns": 6, "players": len(at), "foods": max(2, len(foods))}
    task = Foraging(**size, masked=True, **settings)
    batch = ForagingBatch(task, copies=1, seed=0)
    grid = np.zeros((6, 6), dtype=np.int64)
    for cell, level in foods.items():
        grid[cell] = level
    told = np.array(levels or [1] * len(at))
    batch.load(0, positions=np.array(at), levels=told, foods=grid)
    return batch


def play(batch, *actions):
    return batch.step(np.array([actions]))


def cells(batch, copy=0):
    return [tuple(cell) for cell in batch.positions(copy).tolist()]


def look(batch, player):
    """Return what a player sees now, three numbers at a time."""
    return batch.reset(np.array([False]))[0, player].reshape(-1, 3).tolist()


# Names and tasks


def test_names_say_rows_columns_players_foods_whether_all_are_needed_and_sight():
    assert find_foraging("lbf/8x8-2p-3f") == Foraging()
    assert find_foraging("lbf/8x9-2p-2f-coop") == Foraging(columns=9, foods=2, coop=True)
    assert find_foraging("lbf/15x15-4p-5f-coop-2s") == Foraging(
        rows=15, columns=15, players=4, foods=5, coop=True, sight=2
    )


@pytest.mark.parametrize(
    "name", ["lbf/8x8-2p-3f", "lbf/9x5-3p-1f-coop", "lbf/10x10-3p-3f-2s-masked"]
)
def test_a_task_has_the_name_by_which_it_is_found(name):
    assert find_foraging(name).name == name
    assert ForagingBatch(find_foraging(name), copies=1, seed=0).spec.name == name


def test_a_name_of_another_form_is_refused_with_an_example():
    with pytest.raises(TenfoldError, match=r"'lbf/8x8-2p' is no task .* as in lbf/8x8-2p-3f"):
        find_foraging("lbf/8x8-2p")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rows": 2}, "rows is 2; give 3 or more"),
        ({"foods": 0}, "foods is 0; give 1 or more"),
        ({"limit_steps": 0}, "limit_steps is 0"),
        ({"sight": 0}, "sight is 0"),
        ({"rows": 3, "columns": 3, "players": 9}, "9 players do not fit on 3 x 3 cells"),
        ({"player_levels": (2, 1)}, "player_levels are 2 to 1"),
        ({"player_levels": (0, 1)}, "player_levels are 0 to 1"),
        ({"food_levels": (3, 2)}, "food_levels are 3 to 2"),
        ({"food_levels": (3, None)}, "food_levels are 3 to 2"),
    ],
)
def test_a_task_out_of_range_is_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Foraging(**settings)


def test_a_batch_says_what_it_looks_like():
    spec = ForagingBatch(Foraging(players=3), copies=4, seed=0).spec
    assert (spec.copies, spec.agents) == (4, ("player_0", "player_1", "player_2"))
    assert (spec.actions, spec.shape, spec.dtype) == ((6, 6, 6), (18,), "float32")
    assert spec.events == ("load",)
    assert spec.action_names == ACTIONS


def test_a_batch_without_copies_is_refused():
    with pytest.raises(TenfoldError, match="copies is 0"):
        ForagingBatch(Foraging(), copies=0, seed=0)


# Rules by hand


def test_rule_02_moves_off_the_grid_and_onto_foods_are_illegal_and_loads_need_a_food():
    batch = new_task((0, 0), (2, 1), foods={(2, 2): 1, (4, 4): 1})
    legal = batch.legal()[0].tolist()
    assert legal[0] == [True, False, True, False, True, False]
    assert legal[1] == [True, True, True, True, False, True]


def test_rule_02_players_do_not_make_a_move_illegal():
    batch = new_task((0, 0), (0, 1), foods={(4, 4): 1})
    assert batch.legal()[0, 0, EAST]


def test_rule_02_an_illegal_action_counts_as_none():
    batch = new_task((0, 0), (2, 1), foods={(2, 2): 3, (4, 4): 1})
    told = play(batch, NORTH, EAST)
    assert cells(batch) == [(0, 0), (2, 1)]
    assert not told.reward.any()
    play(batch, LOAD, NONE)
    assert cells(batch) == [(0, 0), (2, 1)]


def test_rule_02_a_batch_without_masks_says_that_all_may_be_chosen():
    batch = ForagingBatch(Foraging(), copies=2, seed=0)
    assert batch.legal() is None
    assert batch.step(np.zeros((2, 2), dtype=np.int64)).legal is None


@pytest.mark.parametrize(
    ("action", "cell"), [(NORTH, (1, 2)), (SOUTH, (3, 2)), (WEST, (2, 1)), (EAST, (2, 3))]
)
def test_rule_03_moves_go_where_they_say(action, cell):
    batch = new_task((2, 2), (5, 5), foods={(4, 4): 1})
    play(batch, action, NONE)
    assert cells(batch) == [cell, (5, 5)]


def test_rule_03_players_who_claim_one_cell_stay():
    batch = new_task((0, 0), (0, 2), foods={(4, 4): 1})
    play(batch, EAST, WEST)
    assert cells(batch) == [(0, 0), (0, 2)]


def test_rule_03_who_stays_or_loads_claims_its_cell():
    batch = new_task((3, 4), (3, 3), foods={(4, 4): 3})
    play(batch, LOAD, EAST)
    assert cells(batch) == [(3, 4), (3, 3)]


def test_rule_03_players_may_swap():
    batch = new_task((0, 0), (0, 1), foods={(4, 4): 1})
    play(batch, EAST, WEST)
    assert cells(batch) == [(0, 1), (0, 0)]


def test_rule_03_a_player_may_enter_the_cell_of_one_whose_move_fails():
    batch = new_task((0, 0), (0, 1), (0, 3), foods={(4, 4): 1})
    play(batch, EAST, EAST, WEST)
    assert cells(batch) == [(0, 1), (0, 1), (0, 3)]
    play(batch, NONE, NONE, NONE)
    assert cells(batch) == [(0, 1), (0, 1), (0, 3)]


def test_rule_04_one_player_loads_a_food_of_its_level():
    batch = new_task((2, 1), (5, 5), foods={(2, 2): 2, (4, 3): 2}, levels=[2, 1])
    told = play(batch, LOAD, NONE)
    assert told.reward.tolist() == [[0.5, 0]]
    assert told.events.tolist() == [[[1], [0]]]
    assert batch.grid(0)[2, 2] == 0
    assert batch.grid(0)[4, 3] == 2


def test_rule_04_players_share_by_level_and_an_episode_sums_up_to_one():
    batch = new_task((2, 1), (1, 2), foods={(2, 2): 3, (4, 3): 1}, levels=[2, 1])
    told = play(batch, LOAD, LOAD)
    np.testing.assert_allclose(told.reward, [[0.5, 0.25]])
    assert not told.terminated.any()
    for action in (SOUTH, SOUTH, LOAD, EAST):
        assert not play(batch, action, NONE).reward.any()
    assert cells(batch)[0] == (4, 2)
    told = play(batch, LOAD, NONE)
    np.testing.assert_allclose(told.reward, [[0.25, 0]])
    assert told.terminated.all()


def test_rule_04_a_food_that_is_too_much_stays_and_costs_the_penalty():
    batch = new_task((2, 1), (5, 5), foods={(2, 2): 2, (4, 4): 1}, penalty=0.25)
    told = play(batch, LOAD, NONE)
    assert told.reward.tolist() == [[-0.25, 0]]
    assert not told.events.any()
    assert batch.grid(0)[2, 2] == 2


def test_rule_04_who_stands_beside_without_loading_does_not_help():
    batch = new_task((2, 1), (2, 3), foods={(2, 2): 2, (4, 4): 1})
    assert not play(batch, LOAD, NONE).reward.any()
    np.testing.assert_allclose(play(batch, LOAD, LOAD).reward, [[1 / 3, 1 / 3]])


def test_rule_04_rewards_that_are_not_normalised_are_levels_times_levels():
    batch = new_task((2, 1), (2, 3), foods={(2, 2): 3}, levels=[2, 1], normalised=False)
    assert play(batch, LOAD, LOAD).reward.tolist() == [[6, 3]]


def test_rule_05_the_last_food_terminates_and_the_limit_truncates():
    batch = new_task((2, 1), (5, 5), foods={(2, 2): 1}, limit_steps=3)
    assert not play(batch, NONE, NONE).truncated.any()
    assert not play(batch, NONE, NONE).truncated.any()
    told = play(batch, NONE, NONE)
    assert (told.truncated.tolist(), told.terminated.tolist()) == ([True], [False])
    batch = new_task((2, 1), (5, 5), foods={(2, 2): 1}, limit_steps=1)
    told = play(batch, LOAD, NONE)
    assert (told.truncated.tolist(), told.terminated.tolist()) == ([False], [True])


def test_rule_06_foods_come_in_reading_order_and_oneself_before_the_others():
    batch = new_task((5, 0), (0, 5), foods={(4, 4): 2, (1, 3): 1}, levels=[2, 1])
    assert look(batch, 0) == [[1, 3, 1], [4, 4, 2], [5, 0, 2], [0, 5, 1]]
    assert look(batch, 1) == [[1, 3, 1], [4, 4, 2], [0, 5, 1], [5, 0, 2]]


def test_rule_06_what_is_out_of_sight_is_minus_one_and_places_count_from_the_window():
    batch = new_task((3, 3), (0, 0), foods={(1, 3): 1, (4, 1): 2}, sight=2)
    assert look(batch, 0) == [[0, 2, 1], [3, 0, 2], [2, 2, 1], [-1, -1, 0]]
    assert look(batch, 1) == [[-1, -1, 0], [-1, -1, 0], [0, 0, 1], [3, 3, 1]]


def test_rule_06_a_food_that_is_gone_makes_room_for_the_next_in_order():
    batch = new_task((1, 2), (5, 5), foods={(1, 3): 1, (4, 4): 2})
    play(batch, LOAD, NONE)
    assert look(batch, 0)[:2] == [[4, 4, 2], [-1, -1, 0]]


def test_rule_07_spawned_states_keep_all_limits():
    task = Foraging(rows=7, columns=6, players=3, foods=4, player_levels=(1, 3))
    batch = ForagingBatch(task, copies=300, seed=1)
    state = batch.state()
    assert state["level"].min() == 1
    assert state["level"].max() == 3
    for copy in range(300):
        grid, at = batch.grid(copy), cells(batch, copy)
        foods = np.argwhere(grid)
        assert len(set(at)) == 3
        assert not any(grid[cell] for cell in at)
        assert not grid[[0, -1]].any()
        assert not grid[:, [0, -1]].any()
        apart = np.abs(foods[:, None] - foods).sum(axis=2)
        assert (apart[~np.eye(len(foods), dtype=bool)] >= 3).all()
        assert 1 <= grid[grid > 0].min() <= grid.max() <= state["level"][copy].sum()
        assert state["spawned"][copy] == grid.sum()


def test_rule_07_with_coop_every_food_has_the_sum_of_the_three_lowest_levels():
    task = Foraging(rows=9, columns=9, players=4, foods=2, coop=True, player_levels=(1, 4))
    batch = ForagingBatch(task, copies=200, seed=1)
    lowest = np.sort(batch.state()["level"], axis=1)[:, :3].sum(axis=1)
    np.testing.assert_array_equal(batch.state()["food_level"], np.stack([lowest, lowest], axis=1))


def test_rule_07_food_levels_may_be_given():
    task = Foraging(food_levels=(2, 4), players=2)
    levels = ForagingBatch(task, copies=200, seed=0).state()["food_level"]
    assert np.unique(levels).tolist() == [2, 3, 4]


def test_rule_07_where_no_cell_is_left_there_are_fewer_foods():
    batch = ForagingBatch(Foraging(rows=3, columns=3, foods=2), copies=50, seed=0)
    counts = np.array([np.count_nonzero(batch.grid(copy)) for copy in range(50)])
    taken = np.array([(1, 1) in cells(batch, copy) for copy in range(50)])
    np.testing.assert_array_equal(counts, np.where(taken, 0, 1))
    assert taken.any()
    assert not taken.all()


def test_rule_07_spawns_are_uniform():
    batch = ForagingBatch(Foraging(foods=1), copies=40_000, seed=0)
    state = batch.state()
    players = np.bincount(state["cell"][:, 0], minlength=64)
    inner = np.arange(64).reshape(8, 8)[1:-1, 1:-1].ravel()
    foods = np.bincount(state["food_cell"][:, 0], minlength=64)[inner]
    # Five standard deviations.
    assert np.abs(players - 625).max() < 5 * 25
    assert np.abs(foods - 40_000 / 36).max() < 5 * np.sqrt(40_000 / 36)
    assert foods.sum() == 40_000


# Beside the plain twin

TASKS = [
    Foraging(),
    Foraging(foods=2, coop=True, sight=2),
    Foraging(rows=5, columns=7, players=3, foods=2, sight=1, penalty=0.1, limit_steps=20),
    Foraging(rows=6, columns=5, players=4, foods=3, player_levels=(1, 3), normalised=False),
]


def draw_actions(rng, legal):
    """Return actions, legal loads more often than others, illegal ones too."""
    actions = rng.integers(0, 6, size=legal.shape[:2])
    return np.where(legal[..., LOAD] & (rng.random(actions.shape) < 0.5), LOAD, actions)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_random_steps_are_those_of_the_plain_twin(task):
    copies, loads, ends = 12, 0, np.zeros(2, dtype=int)
    batch = ForagingBatch(replace(task, masked=True), copies=copies, seed=7)
    twins = [PlainForaging(task, counter) for counter in batch.state()["random"]]
    seen, rng = batch.reset(), stream(0, "walk", task.name)
    for _ in range(400):
        told = [[twin.observe(i) for i in range(task.players)] for twin in twins]
        np.testing.assert_array_equal(seen, told)
        legal = [
            [[twin.is_legal(i, action) for action in range(6)] for i in range(task.players)]
            for twin in twins
        ]
        np.testing.assert_array_equal(batch.legal(), legal)
        actions = draw_actions(rng, np.array(legal))
        step = batch.step(actions)
        plain = [twin.step(turn) for twin, turn in zip(twins, actions.tolist(), strict=True)]
        np.testing.assert_array_equal(step.reward, np.float32([answer[0] for answer in plain]))
        assert step.terminated.tolist() == [answer[1] for answer in plain]
        assert step.truncated.tolist() == [answer[2] for answer in plain]
        assert [cells(batch, b) for b in range(copies)] == [twin.positions for twin in twins]
        ended = step.terminated | step.truncated
        seen = batch.reset(ended) if ended.any() else step.observation
        for b in np.flatnonzero(ended):
            twins[b].begin()
        loads += int(step.events.sum())
        ends += [step.terminated.sum(), step.truncated.sum()]
    assert batch.state()["random"].tolist() == [twin.random.counter for twin in twins]
    assert loads > 10, "too little happened for this to mean much"
    assert ends.max() > 20


# Beside the package


def package_environment(task):
    """Return the package's environment of a task."""
    foraging = pytest.importorskip("lbforaging.foraging", reason="lbforaging is not installed")
    return foraging.ForagingEnv(
        players=task.players,
        min_player_level=task.player_levels[0],
        max_player_level=task.player_levels[1],
        min_food_level=task.food_levels[0],
        max_food_level=task.food_levels[1],
        field_size=(task.rows, task.columns),
        max_num_food=task.foods,
        sight=max(task.rows, task.columns) if task.sight is None else task.sight,
        max_episode_steps=task.limit_steps,
        force_coop=task.coop,
        normalize_reward=task.normalised,
        penalty=task.penalty,
    )


def take_over(batch, copy, peer):
    """Put a copy into the state of the package's environment."""
    batch.load(
        copy,
        positions=np.array([player.position for player in peer.players], dtype=np.int64),
        levels=np.array([player.level for player in peer.players], dtype=np.int64),
        foods=peer.field.astype(np.int64),
    )


def peer_actions(peer, player):
    """Return the numbers of the actions that the package calls valid."""
    return {action.value for action in peer._valid_actions[player]}


PEERED = [
    Foraging(),
    Foraging(foods=2, coop=True),
    Foraging(rows=10, columns=10, players=3, foods=3, sight=2),
    replace(Foraging(rows=6, columns=6, players=4, foods=2), penalty=0.1, sight=1),
    Foraging(rows=7, columns=7, players=3, foods=2, normalised=False, player_levels=(1, 3)),
]


@pytest.mark.parametrize("task", PEERED, ids=lambda task: task.name)
def test_random_steps_are_those_of_the_package(task):
    copies, loads, episodes = 8, 0, 0
    peers = [package_environment(task) for _ in range(copies)]
    batch = ForagingBatch(replace(task, masked=True), copies=copies, seed=0)
    rng = stream(3, "walk", task.name)
    seen = [peer.reset(seed=b)[0] for b, peer in enumerate(peers)]
    for b, peer in enumerate(peers):
        take_over(batch, b, peer)
    for _ in range(300):
        np.testing.assert_array_equal(batch.reset(np.zeros(copies, dtype=bool)), np.array(seen))
        legal = [
            [[a in peer_actions(peer, player) for a in range(6)] for player in peer.players]
            for peer in peers
        ]
        np.testing.assert_array_equal(batch.legal(), legal)
        actions = draw_actions(rng, batch.legal())
        told = batch.step(actions)
        answers = [peer.step(turn) for peer, turn in zip(peers, actions.tolist(), strict=True)]
        seen = [answer[0] for answer in answers]
        np.testing.assert_array_equal(told.observation, np.array(seen))
        np.testing.assert_array_equal(told.reward, np.float32([answer[1] for answer in answers]))
        ended = told.terminated | told.truncated
        assert ended.tolist() == [bool(answer[2]) for answer in answers]
        for b, peer in enumerate(peers):
            np.testing.assert_array_equal(batch.grid(b), peer.field)
            assert cells(batch, b) == [tuple(map(int, p.position)) for p in peer.players]
            if ended[b]:
                seen[b] = peer.reset()[0]
                take_over(batch, b, peer)
        loads, episodes = loads + int(told.events.sum()), episodes + int(ended.sum())
    assert loads > 10, "too little happened for this to mean much"
    assert episodes > 20


# States and faults


def test_a_restored_state_goes_on_exactly_as_before():
    task = Foraging(foods=2, limit_steps=15, masked=True)
    batch, other = (ForagingBatch(task, copies=5, seed=seed) for seed in (1, 2))
    rng = stream(1, "walk")
    for _ in range(10):
        batch.step(rng.integers(0, 6, size=(5, 2)))
    state, turns = batch.state(), rng.integers(0, 6, size=(40, 5, 2))

    def go_on(batch):
        told = [batch.reset(np.zeros(5, dtype=bool)).copy(), batch.legal().copy()]
        for actions in turns:
            step = batch.step(actions)
            told += [step.observation.copy(), step.reward.copy(), step.legal.copy()]
            told.append(batch.reset(step.terminated | step.truncated).copy())
        return [*told, *batch.state().values()]

    first = go_on(batch)
    for again in (batch, other):
        again.restore(state)
        for one, two in zip(first, go_on(again), strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_copy_does_not_depend_on_how_many_there_are():
    few, many = (ForagingBatch(Foraging(), copies=copies, seed=6) for copies in (2, 9))
    rng = stream(6, "walk")
    for _ in range(60):
        actions = rng.integers(0, 6, size=(9, 2))
        one, two = few.step(actions[:2]), many.step(actions)
        np.testing.assert_array_equal(one.observation, two.observation[:2])
        np.testing.assert_array_equal(one.reward, two.reward[:2])
        few.reset(one.terminated | one.truncated)
        many.reset(two.terminated | two.truncated)


def test_a_state_of_another_batch_is_refused():
    batch = ForagingBatch(Foraging(), copies=2, seed=0)
    with pytest.raises(TenfoldError, match=r"cell is of shape \(3, 2\), the batch has \(2, 2\)"):
        batch.restore(ForagingBatch(Foraging(), copies=3, seed=0).state())
    with pytest.raises(TenfoldError, match="level is of shape None"):
        batch.restore({"cell": batch.state()["cell"]})


FREE = {"at": [(0, 0), (0, 1)], "levels": [1, 1], "foods": {(2, 2): 1}, "size": (8, 8)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": (8, 7)}, r"foods of shape \(8, 7\), but lbf/8x8-2p-3f has 8 rows and 8"),
        ({"at": [(0, 0)]}, r"positions of shape \(1, 2\)"),
        ({"levels": [1, 1, 1]}, r"levels of shape \(3,\)"),
        ({"at": [(2, 2), (0, 1)]}, r"row 2, column 2 \(from 0\), off the grid or on a food"),
        ({"at": [(0, 0), (0, 8)]}, r"row 0, column 8 \(from 0\), off the grid"),
        ({"levels": [0, 1]}, r"levels of players \[0, 1\]"),
        ({"foods": {(2, 2): -1}}, "of foods from -1"),
        ({"foods": {(0, 2): 1}}, r"a food in row 0, column 2 \(from 0\), on the border"),
        ({"foods": {(2, 7): 1}}, "on the border"),
        ({"foods": {(2, 2): 1, (3, 3): 1}}, r"foods in \[2, 2\] and \[3, 3\] are less than 3"),
        ({"foods": {(1, c): 1 for c in (1, 4)} | {(4, c): 1 for c in (1, 4)}}, "4 foods, but"),
    ],
)
def test_states_that_the_rules_cannot_lead_to_are_refused(change, told):
    state = FREE | change
    grid = np.zeros(state["size"], dtype=np.int64)
    for cell, level in state["foods"].items():
        grid[cell] = level
    with pytest.raises(TenfoldError, match=told):
        ForagingBatch(Foraging(), copies=1, seed=0).load(
            0, positions=np.array(state["at"]), levels=np.array(state["levels"]), foods=grid
        )
