import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import tenfold
from tenfold.engine.errors import TenfoldError
from tenfold.engine.verbs import Verb
from tenfold.registry import (
    COMMANDS,
    ROOMS,
    Room,
    command_verbs,
    find_room,
    find_verb,
    list_rooms,
    room_verbs,
)

TOY = Room(name="toy", sentence="counts", paper="Abacus 1", module="toyroom")


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(ROOMS, "toy", TOY)


def modules_after(statement):
    shown = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", shown], capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stdout.split())


def test_every_room_is_listed_under_its_own_name():
    assert list_rooms() == list(ROOMS)
    assert all(name == room.name for name, room in ROOMS.items())
    assert all(set(room.edges) <= set(ROOMS) for room in ROOMS.values())


def test_no_command_has_the_name_of_a_room():
    assert not set(COMMANDS) & set(ROOMS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_verbs(name):
    verbs = command_verbs(name)
    assert len(verbs) > 1 if COMMANDS[name].verbs else name in verbs


def test_an_unknown_room_is_told_with_the_nearest_name():
    with pytest.raises(TenfoldError, match="unknown room 'jumprlu'; did you mean jumprelu"):
        find_room("jumprlu")


@pytest.mark.usefixtures("toy")
def test_an_unknown_verb_is_told_with_the_nearest_name():
    with pytest.raises(TenfoldError, match="unknown verb of toy 'cont'; did you mean count"):
        find_verb("toy", "cont")


@pytest.mark.usefixtures("toy")
def test_a_verb_is_found_by_room_and_word():
    assert find_verb("toy", "count") is room_verbs("toy")["count"]
    assert find_verb("runs", "ls").help == command_verbs("runs")["ls"].help


def test_a_default_recipe_that_does_not_exist_is_our_own_fault():
    with pytest.raises(AssertionError, match="no recipe 'big'"):
        Verb(config=Room, run=print, help="Print.", default="big")


def test_importing_tenfold_imports_no_room_and_nothing_heavy():
    loaded = modules_after("import tenfold")
    assert not loaded & {
        "torch",
        "numpy",
        "scipy",
        "tyro",
        "rich",
        *(r.module for r in ROOMS.values()),
    }


@pytest.mark.usefixtures("toy")
def test_a_room_is_imported_from_tenfold_when_it_is_asked_for():
    from tenfold import toy as room

    assert room.__name__ == "toyroom"
    assert "toy" in dir(tenfold)


def test_a_name_that_is_neither_room_nor_attribute_is_missing():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tenfold.nothing


def test_the_version_is_that_of_the_installed_package():
    assert tenfold.__version__ == importlib.metadata.version("tenfold")


@pytest.mark.usefixtures("toy")
def test_load_gives_what_the_run_s_room_makes_of_it(tmp_path, monkeypatch):
    from tenfold.cli import main

    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path))
    path = tmp_path / "toy" / "first"
    assert main(["toy", "count", "--quiet", "--path", str(path)]) == 0
    assert tenfold.load(path) == "what first made"
    assert tenfold.load("first") == "what first made"
