"""Batches of games beside their plain twin, step for step; states, copies and faults."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.vdn.games_by_hand import NORTH, new_game, play, positions
from rooms.vdn.plain import PlainGame, settle
from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream
from tenfold.rooms.vdn import games
from tenfold.rooms.vdn.games.batch import ACTIONS, GameBatch
from tenfold.rooms.vdn.games.looks import Window
from tenfold.rooms.vdn.games.maps import GameMap, find_task, list_tasks

pytestmark = pytest.mark.timeout(600)
"""Loops are compiled inside the first test."""

COPIES, STEPS = 10, 1_000
OWN = {
    "three at a crossing": ("switch", "AA#b.\n..B.a\nc.#.C", None),
    "four porters": ("fetch", "SSS..P\nS.##.P\nD....D", 4),
    "three eaters": ("checkers", "A+-.\nB-+#\nCC.+", None),
}
MAPS = {name: find_task(name) for name in list_tasks()} | {
    name: GameMap.from_text(text, game, name=name, players=players)
    for name, (game, text, players) in OWN.items()
}


def draw_actions(rng, shape):
    """Return actions, most of them moves, so that much happens."""
    return rng.choice(8, size=shape, p=[0.25, 0.15, 0.15, 0.15, 0.1, 0.1, 0.05, 0.05])


@pytest.mark.parametrize("name", MAPS)
def test_ten_thousand_random_steps_are_those_of_the_plain_twin(name):
    game_map, limit = MAPS[name], 600
    batch = GameBatch(game_map, copies=COPIES, seed=5, limit_steps=limit)
    text, players = "\n".join(game_map.rows), game_map.players
    twins = [
        PlainGame(text, game_map.game, players=players, counter=counter, limit=limit)
        for counter in batch.state()["random"]
    ]
    seen = batch.reset()
    rng, events = stream(0, "walk", name), 0
    for number in range(STEPS):
        if number % 4 == 0:
            views = [[twin.view(i) for i in range(players)] for twin in twins]
            np.testing.assert_array_equal(seen, views)
        actions = draw_actions(rng, (COPIES, players))
        told = batch.step(actions)
        seen = told.observation
        plain = [twin.step(turn) for twin, turn in zip(twins, actions.tolist(), strict=True)]
        assert told.reward.tolist() == [answer[0] for answer in plain]
        assert told.events.tolist() == [answer[1] for answer in plain]
        assert told.truncated.tolist() == [answer[2] for answer in plain]
        events += told.events.sum(axis=(0, 1))
        if told.truncated.any():
            seen = batch.reset(told.truncated.copy())
            for twin in twins:
                if twin.steps >= limit:
                    twin.begin_episode()
    assert [[positions(batch, b), batch.render(b).headings.tolist()] for b in range(COPIES)] == [
        [twin.positions, twin.headings] for twin in twins
    ]
    assert batch.state()["random"].tolist() == [twin.random.counter for twin in twins]
    assert np.all(events > 5), "too little happened for this to mean much"
    assert game_map.game == "fetch" or sum(twin.levels for twin in twins) > 2 * COPIES + 5


@pytest.mark.parametrize("window", [Window(ahead=0, behind=0, side=0), Window(ahead=6, side=4)])
def test_windows_of_other_sizes_are_those_of_the_plain_twin(window):
    game_map = MAPS["three eaters"]
    batch = GameBatch(game_map, copies=4, seed=1, window=window)
    twins = [
        PlainGame("\n".join(game_map.rows), "checkers", players=3, counter=counter, limit=5_000)
        for counter in batch.state()["random"]
    ]
    seen, rng = batch.reset(), stream(1, "walk")
    sides = {"ahead": window.ahead, "behind": window.behind, "side": window.side}
    for _ in range(50):
        views = [[twin.view(i, **sides) for i in range(3)] for twin in twins]
        np.testing.assert_array_equal(seen, views)
        actions = draw_actions(rng, (4, 3))
        seen = batch.step(actions).observation
        for twin, turn in zip(twins, actions.tolist(), strict=True):
            twin.step(turn)


@given(st.data())
def test_crowds_move_as_the_rules_of_lines_say(data):
    cells = [(row, column) for row in range(3) for column in range(3)]
    at = data.draw(st.permutations(cells))[: data.draw(st.integers(2, 7))]
    turns = [data.draw(st.sampled_from("fblr.")) for _ in at]
    batch = new_game("SSS\nSSS\nPSD", "fetch", *at, headings=[NORTH] * len(at))
    ahead = {"f": (-1, 0), "b": (1, 0), "l": (0, -1), "r": (0, 1), ".": (0, 0)}
    wanted = [
        (row + ahead[turn][0], column + ahead[turn][1])
        for (row, column), turn in zip(at, turns, strict=True)
    ]
    inside = [cell if cell in cells else here for cell, here in zip(wanted, at, strict=True)]
    play(batch, "".join(turns))
    assert positions(batch) == settle(list(at), inside)
    assert len(set(positions(batch))) == len(at)


@pytest.mark.parametrize("name", ["fetch/open", "switch/corridor", "checkers/board"])
def test_a_restored_state_goes_on_exactly_as_before(name):
    batch = GameBatch(find_task(name), copies=6, seed=2, limit_steps=70)
    other = GameBatch(find_task(name), copies=6, seed=99, limit_steps=70)
    rng = stream(2, "walk")
    for _ in range(60):
        batch.step(draw_actions(rng, (6, 2)))
    state = batch.state()
    seen = batch.reset(np.zeros(6, dtype=bool)).copy()
    turns = [draw_actions(rng, (6, 2)) for _ in range(40)]

    def go_on(batch):
        told = []
        for actions in turns:
            step = batch.step(actions)
            told += [part.copy() for part in (step.observation, step.reward, step.events)]
            told.append(batch.reset(step.truncated.copy()).copy())
        return [*told, *batch.state().values()]

    first = go_on(batch)
    for again in (batch, other):
        again.restore(state)
        np.testing.assert_array_equal(again.reset(np.zeros(6, dtype=bool)), seen)
        for one, two in zip(first, go_on(again), strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_state_is_a_copy():
    batch = GameBatch(find_task("fetch/open"), copies=2, seed=0)
    state = batch.state()
    kept = {name: values.copy() for name, values in state.items()}
    for _ in range(20):
        batch.step(np.zeros((2, 2), dtype=np.int64))
    for name, values in kept.items():
        np.testing.assert_array_equal(state[name], values)


@pytest.mark.parametrize("name", ["fetch/corridors", "switch/open", "checkers/board"])
def test_a_copy_does_not_depend_on_how_many_there_are(name):
    few = GameBatch(find_task(name), copies=3, seed=4, limit_steps=40)
    many = GameBatch(find_task(name), copies=11, seed=4, limit_steps=40)
    rng = stream(4, "walk")
    for _ in range(100):
        actions = draw_actions(rng, (11, 2))
        one, two = few.step(actions[:3]), many.step(actions)
        for part in ("observation", "reward", "truncated", "events"):
            np.testing.assert_array_equal(getattr(one, part), getattr(two, part)[:3])
        np.testing.assert_array_equal(
            few.reset(one.truncated.copy()), many.reset(two.truncated.copy())[:3]
        )


def test_batches_of_other_seeds_begin_otherwise():
    cells = [GameBatch(find_task("fetch/open"), copies=50, seed=s).state()["cell"] for s in (0, 1)]
    assert (cells[0] != cells[1]).any()


def test_a_batch_says_what_it_looks_like():
    spec = GameBatch(find_task("checkers/board"), copies=7, seed=0).spec
    assert (spec.name, spec.copies, spec.agents) == ("checkers/board", 7, ("A", "B"))
    assert (spec.actions, spec.shape, spec.dtype) == ((8, 8), (3, 5, 5), "uint8")
    assert spec.sizes == (75, 75)
    assert spec.repeatable
    assert spec.action_names == ACTIONS
    assert ACTIONS[0] == "forward"
    assert ACTIONS[-1] == "stand still"
    assert GameBatch(find_task("checkers/board"), copies=1, seed=0).legal() is None


def test_the_package_hands_out_what_it_lists_and_nothing_else():
    assert dir(games) == sorted(games.__all__)
    assert games.GameBatch is GameBatch
    with pytest.raises(AttributeError, match="no attribute 'Chess'"):
        _ = games.Chess


def test_a_picture_shows_the_board_without_a_ring_and_where_players_are():
    batch = new_game("A+-\nB.#", "checkers", (0, 2), (1, 1), headings=[3, 2])
    picture = batch.render(0)
    grey, apple = [127, 127, 127], [0, 255, 0]
    blue, red, black = [0, 0, 255], [255, 0, 0], [0, 0, 0]
    assert picture.image.tolist() == [[black, apple, blue], [black, red, grey]]
    assert picture.positions.tolist() == [[0, 2], [1, 1]]
    assert picture.headings.tolist() == [3, 2]
    assert picture.flags.tolist() == [False, False]


def test_a_picture_of_fetch_dims_the_pick_up_while_the_item_is_away():
    batch = new_game("S.P\nS.D", "fetch", (0, 2), (1, 0))
    play(batch, "..", "b.")
    assert batch.render(0).image[0, 2].tolist() == [0, 80, 0]
    assert batch.render(0).flags.tolist() == [True, False]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"copies": 0}, "copies is 0; give a number at least 1"),
        ({"limit_steps": 0}, "limit_steps is 0"),
        ({"spawn_heading": 4}, "spawn_heading is 4; give a number from 0 to 3"),
        ({"spawn_heading": -1}, "spawn_heading is -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, told):
    with pytest.raises(TenfoldError, match=told):
        GameBatch(find_task("fetch/open"), **{"copies": 1, "seed": 0} | settings)


def test_a_state_of_another_batch_is_refused():
    batch = GameBatch(find_task("fetch/open"), copies=2, seed=0)
    with pytest.raises(TenfoldError, match=r"cell is of shape \(3, 2\), the batch has \(2, 2\)"):
        batch.restore(GameBatch(find_task("fetch/open"), copies=3, seed=0).state())
    with pytest.raises(TenfoldError, match="marks is of shape None"):
        batch.restore({"cell": batch.state()["cell"], "heading": batch.state()["heading"]})


@pytest.mark.parametrize(
    ("at", "towards", "told"),
    [
        ([(0, 0), (1, 1)], [0, 0], "player B cannot stand in row 2, column 2 of own map"),
        ([(0, 3), (1, 0)], [0, 0], "player A cannot stand in row 1, column 4"),
        ([(0, 0), (-1, 0)], [0, 0], "player B cannot stand in row 0, column 1"),
        ([(0, 0), (0, 0)], [0, 0], "two players share a cell"),
        ([(0, 0), (0, 1)], [0, 4], "headings is 4"),
        ([(0, 0), (0, 1)], [-1, 0], "headings is -1"),
    ],
)
def test_players_are_only_put_on_floor_cells_of_their_own(at, towards, told):
    with pytest.raises(TenfoldError, match=told):
        new_game("A.b\nB#a", "switch", *at, headings=towards)
