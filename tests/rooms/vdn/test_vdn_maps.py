"""Maps of text: what is read, what is refused and where (rules 1, 12 and 22)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.vdn.games.looks import Colours, Window, colours_of
from tenfold.rooms.vdn.games.maps import GameMap, find_task, flood, list_tasks

SWITCH = """
    A.###.B
    b.....a
"""


def test_the_seven_tasks_are_three_of_fetch_three_of_switch_and_one_of_checkers():
    games = [find_task(name).game for name in list_tasks()]
    assert games == ["fetch"] * 3 + ["switch"] * 3 + ["checkers"]


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_has_its_name_and_two_players(name):
    found = find_task(name)
    assert (found.name, found.players) == (name, 2)
    assert name.startswith(found.game)


def test_fetch_tasks_have_three_rows_of_nine_and_the_pick_up_eight_columns_from_the_drop():
    for name in list_tasks()[:3]:
        found = find_task(name)
        assert (found.height, found.width) == (3, 9)
        assert (found.cells("P") - found.cells("D")).tolist() == [8]


def test_the_checkers_board_has_nine_apples_and_nine_lemons_that_alternate():
    found = find_task("checkers/board")
    assert (found.height, found.width) == (3, 8)
    assert len(found.cells("+")) == len(found.cells("-")) == 9
    parity = np.add(*np.divmod(found.cells("+"), 8)) % 2
    assert not parity.any()


def test_open_maps_have_no_walls_one_corridor_three_cells_and_two_corridors_six():
    def narrow(name):
        """Return floor cells of the columns that have a wall."""
        rows = find_task(name).rows
        walled = [column for column in zip(*rows, strict=True) if "#" in column]
        return sum(letter != "#" for column in walled for letter in column)

    for game in ("fetch", "switch"):
        assert [narrow(f"{game}/{name}") for name in ("open", "corridor", "corridors")] == [0, 3, 6]


def test_four_players_find_spawn_cells_in_fetch():
    assert find_task("fetch/corridor", players=4).players == 4


def test_an_unknown_task_is_answered_with_the_nearest_names():
    with pytest.raises(TenfoldError, match=r"task 'fetch/opne'; did you mean fetch/open"):
        find_task("fetch/opne")


def test_an_unknown_game_is_answered_with_the_three_that_are_known():
    with pytest.raises(TenfoldError, match=r"game 'chess'; .*known: checkers, fetch, switch"):
        GameMap.from_text("A.b", "chess")


def test_indents_and_empty_lines_around_a_map_do_not_count():
    read = GameMap.from_text(SWITCH, "switch")
    assert read.rows == ("A.###.B", "b.....a")
    assert [cells.tolist() for cells in read.spawns] == [[0], [6]]
    assert [cells.tolist() for cells in read.goals] == [[13], [7]]


def test_maps_of_the_same_letters_are_equal():
    assert GameMap.from_text("S.D\nS.P", "fetch") == GameMap.from_text("S.D\nS.P\n", "fetch")
    assert GameMap.from_text("S.D\nS.P", "fetch") != GameMap.from_text("S.P\nS.D", "fetch")


def test_three_players_of_switch_may_have_several_spawns_and_goals():
    read = GameMap.from_text("AAB.C\naa..c\n..b.a", "switch")
    assert read.players == 3
    assert [len(cells) for cells in read.spawns] == [2, 1, 1]
    assert [len(cells) for cells in read.goals] == [3, 1, 1]


def test_eight_players_fit_in_every_game():
    letters = "ABCDEFGH"
    assert GameMap.from_text(letters + "\n" + letters.lower(), "switch").players == 8
    assert GameMap.from_text(letters + "\n+-......", "checkers").players == 8
    assert GameMap.from_text("SSSSSSSS\nP......D", "fetch", players=8).players == 8


REFUSED = {
    "no rows": ("\n  \n", "switch", None, "has no rows"),
    "ragged": ("A..b\nB.a", "switch", None, "row 2 ends in column 3, row 1 in column 4"),
    "blank line inside": ("A.b\n\nB.a", "switch", None, "row 2 ends in column 0"),
    "letter of no game": ("A.b\nBxa", "switch", None, "'x' in row 2, column 2 means nothing"),
    "blank inside a row": ("A b\nB.a", "switch", None, "' ' in row 1, column 2 means nothing"),
    "letter of another game": ("SS.\nP.a", "fetch", None, "'a' in row 2, column 3"),
    "no goal": ("A..\nB.a", "switch", None, r"goal of player B \(spawn in row 2, column 1\)"),
    "no spawn": ("A.b\n..a", "switch", None, "player B, whose goal is in row 1, column 3, has no"),
    "gap": ("A.+\nC..", "checkers", None, "player B has no spawn cell"),
    "one player": ("A.a", "switch", None, "1 players, but switch is for 2 to 8"),
    "nobody": ("..+", "checkers", None, "0 players"),
    "nine players": ("SSSSSSSSS\nP.......D", "fetch", 9, "9 players, but fetch is for 2 to 8"),
    "other number": ("A.b\nB.a", "switch", 3, "3 players are asked for, .* are for 2"),
    "too few spawns": ("S.D\n..P", "fetch", None, "has 1; the last is in row 1, column 1"),
    "no spawns": ("..D\n..P", "fetch", None, "has 0; write S"),
    "no pick-up": ("S.D\nS..", "fetch", None, "a pick-up is nowhere.* write P"),
    "no drop": ("S.P\nS..", "fetch", None, "a drop is nowhere.* write D"),
    "no apple": ("A.-\nB..", "checkers", None, "an apple is nowhere"),
    "goal behind walls": (
        "A.b#\nB..#\n..#a",
        "switch",
        None,
        "goal a in row 3, column 4 cannot be reached from the spawn A in row 1, column 1",
    ),
    "goal of one spawn only": (
        "A#b\nB#.\n.#A\na#B",
        "switch",
        None,
        "goal a in row 4, column 1 cannot be reached from the spawn A in row 3, column 3",
    ),
    "pick-up behind walls": (
        "SS.D#P",
        "fetch",
        None,
        "pick-up in row 1, column 6 cannot be reached from the spawn S in row 1, column 1",
    ),
    "drop behind walls": ("SS.P#D", "fetch", None, "drop in row 1, column 6 cannot be reached"),
    "apple behind walls": (
        "A.+#+\nB..#.",
        "checkers",
        None,
        "apple in row 1, column 5 cannot be reached from the spawns of any player",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_rule_22_a_map_that_cannot_be_played_is_refused_with_its_place(fault):
    text, game, players, told = REFUSED[fault]
    with pytest.raises(TenfoldError, match=told):
        GameMap.from_text(text, game, players=players)


def test_errors_begin_with_the_name_of_the_map():
    with pytest.raises(TenfoldError, match=r"^mine\.txt: "):
        GameMap.from_text("A.x", "switch", name="mine.txt")


def test_lemons_may_be_out_of_reach_and_apples_in_reach_of_one_player():
    read = GameMap.from_text("A+#B#-", "checkers")
    assert read.players == 2


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=2, max_size=5))
def test_a_flood_reaches_what_powers_of_the_neighbourhood_reach(walls):
    rows = ["".join(".#"[wall] for wall in row) for row in walls]
    rows[0] = "S" + rows[0][1:]
    found = GameMap(name="", game="fetch", rows=tuple(rows), players=2, spawns=(), goals=())
    free = np.array([letter != "#" for letter in "".join(rows)])
    row, column = np.divmod(np.arange(len(free)), 5)
    apart = np.abs(row[:, None] - row) + np.abs(column[:, None] - column)
    near = (apart <= 1) & free & free[:, None]
    reached = np.linalg.matrix_power(near.astype(float), len(free))[0]
    np.testing.assert_array_equal(flood(found, 0), reached > 0)


def test_a_window_is_as_high_and_wide_as_what_it_shows():
    assert (Window().height, Window().width) == (5, 5)
    assert (Window(ahead=4, behind=0, side=1).height, Window(side=1).width) == (5, 3)


def test_windows_and_colours_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"window of -1 cells \(behind\)"):
        Window(behind=-1)
    with pytest.raises(ValueError, match=r"colour drop is \(0, 0, 256\)"):
        Colours(drop=(0, 0, 256))
    with pytest.raises(ValueError, match=r"colour own is \(0, 0\)"):
        Colours(own=(0, 0))


def test_other_players_are_lighter_blue_in_fetch_and_red_elsewhere():
    others = [colours_of(game).other for game in ("fetch", "switch", "checkers")]
    assert others == [(100, 100, 255), (255, 0, 0), (255, 0, 0)]
