"""One scene by hand for each rule of the games, in order of their numbers."""

from itertools import product

import numpy as np
import pytest

from rooms.vdn.games_by_hand import (
    EAST,
    NORTH,
    SOUTH,
    WEST,
    headings,
    letters,
    new_game,
    play,
    positions,
    rewards,
)
from rooms.vdn.plain import Splitmix
from tenfold.rooms.vdn.games import find_task
from tenfold.rooms.vdn.games.batch import GameBatch
from tenfold.rooms.vdn.games.looks import Colours, Window
from tenfold.rooms.vdn.games.maps import GameMap

pytestmark = pytest.mark.timeout(600)
"""Loops are compiled inside the first test."""

ROOM = """
    SS......
    ....#...
    P......D
"""
"""Fetch: a room where moves are tried."""
OPEN = "A......B\nb......a"
"""Switch."""
SEEN = {
    (127, 127, 127): "#", (0, 0, 0): ".", (0, 0, 255): "o", (255, 0, 0): "x",
    (100, 100, 255): "x", (0, 255, 0): "P", (0, 80, 0): "p", (255, 255, 0): "D",
    (255, 165, 0): "-",
}  # fmt: skip
"""Colours as letters: o oneself, x others, P pick-up or apple, p empty pick-up, D drop or goal."""


# 1 and 2: maps and actions


def test_rule_01_letters_are_walls_floor_spawns_and_sites():
    batch = new_game("A.#b\nB..a", "switch")
    image = batch.render(0).image
    assert positions(batch) == [(0, 0), (1, 0)]
    assert image[0, 2].tolist() == [127, 127, 127]
    assert image[0, 3].tolist() == image[1, 3].tolist() == [255, 255, 0]
    assert not image[:, 1].any()


@pytest.mark.parametrize("heading", [NORTH, EAST, SOUTH, WEST])
def test_rule_02_moves_are_relative_to_the_heading_and_leave_it(heading):
    ways = {NORTH: (-1, 0), EAST: (0, 1), SOUTH: (1, 0), WEST: (0, -1)}
    turns = {"f": 0, "r": 1, "b": 2, "l": 3}
    for letter, turn in turns.items():
        batch = new_game(ROOM, "fetch", (1, 2), (2, 7), headings=[heading, NORTH])
        play(batch, letter + ".")
        down, along = ways[(heading + turn) % 4]
        assert positions(batch)[0] == (1 + down, 2 + along)
        assert headings(batch)[0] == heading


@pytest.mark.parametrize("heading", [NORTH, EAST, SOUTH, WEST])
def test_rule_02_rotations_turn_a_quarter_even_between_walls(heading):
    batch = new_game("S#S\n.#.\nD.P", "fetch", (0, 0), (0, 2), headings=[heading, heading])
    play(batch, "<>")
    assert headings(batch) == [(heading - 1) % 4, (heading + 1) % 4]
    assert positions(batch) == [(0, 0), (0, 2)]


# 3: simultaneous moves


def test_rule_03_a_move_into_a_wall_or_off_the_map_is_void():
    batch = new_game(ROOM, "fetch", (1, 3), (0, 7))
    play(batch, "ff")
    assert positions(batch) == [(1, 3), (0, 7)]
    play(batch, ".l")
    assert positions(batch) == [(1, 3), (0, 7)]


def test_rule_03_two_who_want_one_cell_both_stay():
    batch = new_game(ROOM, "fetch", (0, 3), (0, 5))
    play(batch, "fb")
    assert positions(batch) == [(0, 3), (0, 5)]


def test_rule_03_two_who_would_swap_both_stay():
    batch = new_game(ROOM, "fetch", (0, 3), (0, 4))
    play(batch, "fb")
    assert positions(batch) == [(0, 3), (0, 4)]


def test_rule_03_who_does_not_move_blocks_its_cell():
    for still in ".*<>":
        batch = new_game(ROOM, "fetch", (0, 3), (0, 4))
        play(batch, "f" + still)
        assert positions(batch) == [(0, 3), (0, 4)]


def test_rule_03_a_cell_that_is_left_in_this_step_may_be_entered():
    for order in ([(0, 3), (0, 4)], [(0, 4), (0, 3)]):
        batch = new_game(ROOM, "fetch", *order)
        play(batch, "ff")
        assert positions(batch) == [(row, column + 1) for row, column in order]


def test_rule_03_a_cell_that_is_left_sideways_may_be_entered_unless_a_wall_keeps_its_player():
    batch = new_game(ROOM, "fetch", (0, 4), (0, 5))
    play(batch, "fr")
    assert positions(batch) == [(0, 5), (1, 5)]
    batch = new_game(ROOM, "fetch", (0, 3), (0, 4))
    play(batch, "fr")
    assert positions(batch) == [(0, 3), (0, 4)]


# 4: Switch


def test_rule_04_a_goal_pays_once_in_a_level():
    batch = new_game(OPEN, "switch", (1, 6), (0, 3))
    assert rewards(play(batch, "f.")) == [1, 0]
    assert rewards(play(batch, "..")) == [0, 0]
    assert rewards(play(batch, "b.", "f.")) == [0, 0]


def test_rule_04_the_goal_of_the_other_player_pays_nothing():
    batch = new_game(OPEN, "switch", (1, 1), (1, 6))
    assert rewards(play(batch, "bf")) == [0, 0]
    assert positions(batch) == [(1, 0), (1, 7)]


def test_rule_04_when_all_have_scored_a_level_begins_within_the_step():
    batch = new_game(OPEN, "switch", (1, 6), (1, 1))
    play(batch, "f.")
    assert batch.render(0).flags.tolist() == [True, False]
    assert rewards(play(batch, ".b")) == [0, 1]
    assert positions(batch) == [(0, 0), (0, 7)]
    assert not batch.render(0).flags.any()
    batch.place(0, positions=np.array([(1, 6), (1, 1)]), headings=np.array([EAST, EAST]))
    assert rewards(play(batch, "fb")) == [1, 1]


# 5: Fetch


def test_rule_05_a_pick_up_pays_three_and_a_drop_five():
    batch = new_game("SS\nPD", "fetch", (0, 0), (0, 1))
    assert rewards(play(batch, "r.")) == [3, 0]
    assert batch.render(0).flags.tolist() == [True, False]
    assert rewards(play(batch, "f.")) == [5, 0]
    assert not batch.render(0).flags.any()


def test_rule_05_only_one_player_carries():
    batch = new_game("SSP\n..P\n..D", "fetch", (0, 0), (1, 1))
    assert rewards(play(batch, ".f")) == [0, 3]
    assert rewards(play(batch, "f.", "f.")) == [0, 0]
    assert batch.render(0).flags.tolist() == [False, True]


@pytest.mark.parametrize("carrier", [0, 1])
def test_rule_05_a_drop_frees_the_item_for_who_stands_on_the_pick_up_in_the_same_step(carrier):
    def at(of_carrier, of_other):
        pair = [of_carrier, of_other]
        return pair if carrier == 0 else pair[::-1]

    batch = new_game("S.P\n...\nSD.", "fetch", *at((0, 2), (2, 1)))
    assert rewards(play(batch, "..")) == at(3, 0)
    batch.place(0, positions=np.array(at((2, 0), (0, 2))), headings=np.array([EAST, EAST]))
    assert rewards(play(batch, "..")) == [0, 0]
    assert rewards(play(batch, "".join(at("f", ".")))) == at(5, 3)


def test_rule_05_of_two_on_pick_ups_the_first_in_order_takes_the_item():
    batch = new_game("SSP\n..P\n..D", "fetch", (1, 1), (0, 1))
    assert rewards(play(batch, "ff")) == [3, 0]


def test_rule_05_fetch_never_begins_a_level():
    batch = new_game("SS\nPD", "fetch", (1, 0), (0, 1))
    for _ in range(3):
        assert rewards(play(batch, "..")) == [3, 0]
        assert rewards(play(batch, "f.")) == [5, 0]
        assert positions(batch) == [(1, 1), (0, 1)]
        batch.place(0, positions=np.array([(1, 0), (0, 1)]), headings=np.array([EAST, EAST]))


# 6: Checkers


def test_rule_06_who_enters_a_cell_with_an_item_takes_it():
    batch = new_game("A+-.\nB..+", "checkers")
    assert rewards(play(batch, "r.")) == [10, 0]
    assert rewards(play(batch, "..")) == [0, 0]
    assert rewards(play(batch, "r.")) == [-10, 0]
    assert rewards(play(batch, "l.")) == [0, 0]


def test_rule_06_the_last_apple_begins_a_level_with_all_items_within_the_step():
    batch = new_game("A+-\nB.+", "checkers", (0, 0), (1, 1))
    play(batch, "f.", "f.")
    assert not batch.render(0).image[0, 1:2].any()
    assert rewards(play(batch, ".f")) == [0, 1]
    assert positions(batch) == [(0, 0), (1, 0)]
    image = batch.render(0).image
    assert image[0, 1].tolist() == image[1, 2].tolist() == [0, 255, 0]
    assert image[0, 2].tolist() == [255, 165, 0]


def test_rule_06_lemons_that_are_left_do_not_hold_a_level_up():
    batch = new_game("A+-\nB..", "checkers")
    assert rewards(play(batch, "r.")) == [10, 0]
    assert positions(batch) == [(0, 0), (1, 0)]


# 7: episodes


def test_rule_07_the_limit_truncates_and_never_terminates():
    batch = new_game(OPEN, "switch", limit_steps=3)
    for truncated in (False, False, True):
        told = play(batch, "..")
        assert told.truncated.tolist() == [truncated]
        assert not told.terminated.any()
        assert told.alive.all()


def test_rule_07_a_new_episode_begins_in_the_copies_of_a_mask_only():
    batch = GameBatch(find_task("switch/open"), copies=3, seed=1, limit_steps=2)
    batch.step(np.zeros((3, 2), dtype=np.int64))
    before = batch.state()
    batch.reset(np.array([False, True, False]))
    after = batch.state()
    assert after["steps"].tolist() == [1, 0, 1]
    for name in before:
        np.testing.assert_array_equal(before[name][[0, 2]], after[name][[0, 2]])
    told = batch.step(np.full((3, 2), 7))
    assert told.truncated.tolist() == [True, False, True]


def test_rule_07_spawns_are_drawn_anew_in_every_level():
    batch = new_game("AA+.\nBB..", "checkers", fixed_start=False)
    seen = set()
    for _ in range(60):
        batch.place(0, positions=np.array([(0, 3), (1, 3)]), headings=np.array([WEST, WEST]))
        play(batch, "f.")
        seen.add(tuple(positions(batch)))
    assert seen == set(product([(0, 0), (0, 1)], [(1, 0), (1, 1)]))


# 8: windows

CORNERS = """
    S....
    .#.P.
    .....
    .D..#
    ....S
"""
WINDOWS = {
    NORTH: ["#####", ".....", ".#.P.", "..o.x", ".D..#"],
    EAST: ["#####", "..x#.", ".P...", "..o..", ".#.D."],
    SOUTH: ["#####", ".....", "#..D.", "x.o..", ".P.#."],
    WEST: ["#####", ".....", ".D.#.", "..o..", "...P."],
}


@pytest.mark.parametrize("heading", WINDOWS)
def test_rule_08_a_window_shows_three_cells_ahead_one_behind_and_two_to_each_side(heading):
    batch = new_game(CORNERS, "fetch", (2, 2), (2, 4), headings=[heading, NORTH])
    assert letters(batch, 0, SEEN) == WINDOWS[heading]


def test_rule_08_all_beyond_the_border_is_wall():
    batch = new_game(CORNERS, "fetch", (0, 0), (4, 4), headings=[NORTH, SOUTH])
    assert letters(batch, 0, SEEN) == ["#####", "#####", "#####", "##o..", "##.#."]
    assert letters(batch, 1, SEEN) == ["#####", "#####", "#####", "##o..", "###.."]


def test_rule_08_a_window_of_another_size_is_cut_from_the_same_scene():
    window = Window(ahead=1, behind=2, side=1)
    batch = new_game(CORNERS, "fetch", (2, 2), (2, 4), headings=[EAST, WEST], window=window)
    assert batch.spec.shape == (3, 4, 3)
    assert letters(batch, 0, SEEN) == ["P..", ".o.", "#.D", "..."]


def test_rule_08_windows_are_bytes_with_the_channel_first():
    batch = new_game(CORNERS, "fetch", (2, 2), (2, 4), headings=[NORTH, NORTH])
    seen = batch.reset(np.array([False]))
    assert seen.dtype == np.uint8
    assert seen.shape == (1, 2, 3, 5, 5)
    assert seen[0, 0, :, 3, 2].tolist() == [0, 0, 255]
    assert seen[0, 0, :, 3, 4].tolist() == [100, 100, 255]
    assert seen[0, 0, :, 2, 3].tolist() == [0, 255, 0]


# 9: the beam


def test_rule_09_a_beam_does_what_standing_still_does():
    one, other = (new_game(CORNERS, "fetch", (2, 2), (2, 4)) for _ in range(2))
    lit, dark = play(one, "**"), play(other, "..")
    np.testing.assert_array_equal(lit.observation, dark.observation)
    assert positions(one) == positions(other)
    assert rewards(lit) == [0, 0]


# 10 and 11: lines of players

LINE = "SSSS....\n........\nP......D"


def test_rule_10_a_line_moves_on_if_its_first_can():
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        batch = new_game(LINE, "fetch", *[(0, column) for column in order])
        play(batch, "ffff")
        assert positions(batch) == [(0, column + 1) for column in order]


def test_rule_10_a_ring_of_four_turns_and_three_quarters_of_one_move_into_its_gap():
    ring = [(0, 1), (0, 2), (1, 2), (1, 1)]
    batch = new_game(LINE, "fetch", *ring, headings=[EAST, SOUTH, WEST, NORTH])
    play(batch, "ffff")
    assert positions(batch) == ring[1:] + ring[:1]
    batch = new_game(LINE, "fetch", *ring[:3], headings=[EAST, SOUTH, WEST])
    play(batch, "fff")
    assert positions(batch) == ring[1:]


def test_rule_11_a_blocked_mover_blocks_those_behind_it():
    at = [(0, 2), (0, 3), (0, 4), (0, 5)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        batch = new_game(LINE, "fetch", *[at[place] for place in order])
        play(batch, "".join("fff."[place] for place in order))
        assert positions(batch) == [at[place] for place in order]


def test_rule_11_who_wanted_a_contested_cell_does_not_move_though_its_own_is_wanted():
    batch = new_game(LINE, "fetch", (0, 2), (0, 3), (0, 5))
    play(batch, "ffb")
    assert positions(batch) == [(0, 2), (0, 3), (0, 5)]


def test_rule_11_a_swap_blocks_those_behind_it():
    batch = new_game(LINE, "fetch", (0, 2), (0, 3), (0, 4))
    play(batch, "ffb")
    assert positions(batch) == [(0, 2), (0, 3), (0, 4)]


def test_rule_11_a_contested_cell_stays_free_and_its_occupant_may_leave():
    batch = new_game(LINE, "fetch", (0, 2), (0, 4), (0, 3), headings=[EAST, EAST, SOUTH])
    play(batch, "fbf")
    assert positions(batch) == [(0, 2), (0, 4), (1, 3)]


# 12 to 14: players and spawns


def test_rule_12_the_eighth_player_scores_on_its_own_goal():
    batch = new_game("ABCDEFGH\n........\nabcdefgh", "switch")
    assert rewards(play(batch, "bbbbbbbb")) == [0] * 8
    assert rewards(play(batch, ".......b")) == [0] * 7 + [1]


def test_rule_12_any_goal_of_a_player_counts_once():
    batch = new_game("A..B\na.a.\nb...", "switch", (0, 0), (0, 3))
    assert rewards(play(batch, "r.")) == [1, 0]
    assert rewards(play(batch, "f.", "f.")) == [0, 0]


def expected_spawns(counter, spawns):
    """Return cells and headings as rule 13 draws them."""
    random, cells, turns = Splitmix(counter), [], []
    for own in spawns:
        free = [cell for cell in own if cell not in cells]
        cells.append(free[random.below(len(free))])
        turns.append(random.below(4))
    return cells, turns


@pytest.mark.parametrize("game", ["fetch", "checkers"])
def test_rule_13_spawns_are_drawn_player_by_player_cell_then_heading(game):
    text = {"fetch": "SSSS\nP..D", "checkers": "AAAB\n+..B"}[game]
    batch = GameBatch(GameMap.from_text(text, game), copies=50, seed=3)
    counters = batch.state()["random"]
    batch.reset()
    row = [(0, column) for column in range(4)]
    spawns = {"fetch": [row, row], "checkers": [row[:3], [(0, 3), (1, 3)]]}[game]
    for copy, counter in enumerate(counters):
        picture = batch.render(copy)
        cells = [tuple(cell) for cell in picture.positions.tolist()]
        assert (cells, picture.headings.tolist()) == expected_spawns(counter, spawns)


def test_rule_13_every_pair_of_spawn_cells_and_headings_occurs_about_equally_often():
    batch = GameBatch(GameMap.from_text("SSS\nP.D", "fetch"), copies=12_000, seed=0)
    state = batch.state()
    pairs = np.unique(state["cell"], axis=0, return_counts=True)[1]
    turns = np.unique(state["heading"], axis=0, return_counts=True)[1]
    assert len(pairs) == 6
    assert len(turns) == 16
    # Five standard deviations.
    assert np.abs(pairs - 2_000).max() < 5 * np.sqrt(12_000 * 5 / 36)
    assert np.abs(turns - 750).max() < 5 * np.sqrt(12_000 * 15 / 256)


def test_rule_14_a_fixed_start_takes_the_first_cells_facing_north_and_draws_nothing():
    batch = new_game("SSS\nP.D", "fetch")
    before = batch.state()["random"]
    batch.reset()
    assert positions(batch) == [(0, 0), (0, 1)]
    assert headings(batch) == [NORTH, NORTH]
    assert (batch.state()["random"] == before).all()


def test_rule_14_a_spawn_heading_holds_for_all_with_and_without_a_fixed_start():
    for fixed in (True, False):
        batch = new_game(OPEN, "switch", fixed_start=fixed, spawn_heading=WEST)
        for _ in range(10):
            batch.reset()
            assert headings(batch) == [WEST, WEST]


# 15 and 16: who is paid, what is counted


def test_rule_15_only_the_first_player_of_checkers_is_sensitive():
    batch = new_game("A+..\nB+-.\nC+-.", "checkers")
    assert rewards(play(batch, "rrr")) == [10, 1, 1]
    batch = new_game("A-.+\nB-..\nC-..", "checkers")
    assert rewards(play(batch, "rrr")) == [-10, -1, -1]


def test_rule_16_events_are_counted_for_who_caused_them():
    assert new_game(OPEN, "switch").spec.events == ("goal",)
    batch = new_game(OPEN, "switch", (0, 7), (0, 1))
    assert play(batch, "r.").events.tolist() == [[[1], [0]]]
    assert play(batch, "..").events.tolist() == [[[0], [0]]]
    batch = new_game("SS\nPD", "fetch", (0, 1), (0, 0))
    assert batch.spec.events == ("pick-up", "drop")
    assert play(batch, ".r").events.tolist() == [[[0, 0], [1, 0]]]
    assert play(batch, ".f").events.tolist() == [[[0, 0], [0, 1]]]
    batch = new_game("A-+\nB+.", "checkers")
    assert batch.spec.events == ("apple", "lemon")
    assert play(batch, "rr").events.tolist() == [[[0, 1], [1, 0]]]


# 17 to 20: what is seen


def test_rule_17_goals_of_others_look_like_floor():
    batch = new_game("..b\nABa", "switch", (1, 0), (1, 1), headings=[NORTH, NORTH])
    assert letters(batch, 0, SEEN)[2:4] == ["##...", "##oxD"]
    assert letters(batch, 1, SEEN)[2:4] == ["#..D#", "#xo.#"]


def test_rule_17_goals_of_others_may_have_a_colour():
    colours = Colours(other_goal=(9, 9, 9))
    batch = new_game("..b\nABa", "switch", (1, 0), (1, 1), headings=[NORTH, NORTH], colours=colours)
    assert letters(batch, 0, SEEN | {(9, 9, 9): "d"})[2:4] == ["##..d", "##oxD"]


def test_rule_17_a_goal_looks_the_same_when_it_has_paid():
    batch = new_game("A.aB\n...b", "switch", (0, 1), (0, 3), headings=[EAST, EAST])
    before = letters(batch, 0, SEEN)
    assert rewards(play(batch, "f.", "b.")) == [0, 0]
    assert batch.render(0).flags.tolist() == [True, False]
    assert letters(batch, 0, SEEN) == before


def test_rule_18_a_carrier_looks_like_any_other_player_and_the_pick_up_is_dim_for_all():
    batch = new_game("S.P\nS..\n..D", "fetch", (0, 1), (1, 2), headings=[EAST, NORTH])
    assert letters(batch, 1, SEEN)[2] == ".xP##"
    play(batch, "f.", "b.")
    assert letters(batch, 1, SEEN)[2] == ".xp##"
    assert letters(batch, 0, SEEN)[2] == "##pxD"


def test_rule_19_players_hide_what_lies_below_them():
    batch = new_game("S.P\nS..\n..D", "fetch", (0, 1), (0, 2), headings=[EAST, NORTH])
    assert letters(batch, 0, SEEN)[2:4] == ["##x.D", "##o.."]
    assert letters(batch, 1, SEEN)[3] == ".xo##"


def test_rule_19_taken_items_look_like_floor():
    batch = new_game("A+.+\nB-..", "checkers", (0, 0), (1, 0), headings=[EAST, EAST])
    assert letters(batch, 0, SEEN) == ["##P.#", "##..#", "##P-#", "##ox#", "#####"]
    play(batch, "ff")
    assert letters(batch, 0, SEEN) == ["#####", "##P.#", "##..#", "##ox#", "##..#"]
    play(batch, "bb")
    assert letters(batch, 0, SEEN)[2] == "##..#"


def test_rule_19_all_other_players_have_one_colour():
    batch = new_game("SSS\nP.D", "fetch", (0, 0), (0, 1), (0, 2), headings=[NORTH] * 3)
    assert letters(batch, 1, SEEN)[3] == "#xox#"


def test_rule_20_an_observation_is_of_the_new_level_and_its_time_goes_on():
    batch = new_game("A+\nB.", "checkers", limit_steps=2)
    fresh = batch.reset().copy()
    for truncated in (False, True):
        told = play(batch, "r.")
        assert rewards(told) == [10, 0]
        assert told.truncated.tolist() == [truncated]
        np.testing.assert_array_equal(told.observation, fresh)


# 21: several pick-ups and drops


def test_rule_21_several_pick_ups_share_one_item_and_dim_together():
    batch = new_game("P.P\nSSD", "fetch", (1, 0), (0, 1), headings=[NORTH, NORTH])
    assert rewards(play(batch, "f.")) == [3, 0]
    assert rewards(play(batch, ".r")) == [0, 0]
    assert letters(batch, 0, SEEN)[3] == "##o.x"
    assert rewards(play(batch, ".l")) == [0, 0]
    assert letters(batch, 1, SEEN)[3] == "#xop#"


def test_rule_21_any_drop_takes_the_item():
    for cell in [(1, 0), (1, 2)]:
        batch = new_game("SPS\nD.D", "fetch", (0, 1), (0, 2))
        assert rewards(play(batch, "..")) == [3, 0]
        batch.place(0, positions=np.array([cell, (0, 2)]), headings=np.array([EAST, EAST]))
        assert rewards(play(batch, "..")) == [5, 0]


def test_rule_21_who_dropped_may_only_take_the_item_again_on_a_pick_up():
    batch = new_game("SS\nPD", "fetch", (1, 0), (0, 0))
    assert rewards(play(batch, "..")) == [3, 0]
    assert rewards(play(batch, "..")) == [0, 0]
    assert rewards(play(batch, "f.")) == [5, 0]
    assert rewards(play(batch, "..")) == [0, 0]
    assert rewards(play(batch, "b.")) == [3, 0]
