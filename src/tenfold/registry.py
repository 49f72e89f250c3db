"""The table of rooms and commands; nothing here imports one before it is named."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from tenfold.engine.errors import unknown_name

if TYPE_CHECKING:
    from tenfold.engine.verbs import Verb


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """One of the learning systems."""

    name: str
    sentence: str
    """What it is for, in one line."""
    paper: str
    """Authors, year and arXiv number."""
    module: str
    """Import path of its package."""
    edges: tuple[str, ...] = ()
    """Rooms that it may import."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A word of the command line that is not a room; its module holds `VERBS`."""

    name: str
    sentence: str
    module: str
    verbs: bool = False
    """Whether a second word names one of several verbs; else the verb has the same name."""


ROOMS: dict[str, Room] = {
    "jumprelu": Room(
        name="jumprelu",
        sentence="sparse dictionaries of a network's activations, six kinds compared",
        paper="Rajamanoharan et al. 2024, arXiv:2407.14435",
        module="tenfold.rooms.jumprelu",
    ),
    "scope": Room(
        name="scope",
        sentence="suites of sparse dictionaries for every site of any model, browsed offline",
        paper="Lieberum et al. 2024, arXiv:2408.05147",
        module="tenfold.rooms.scope",
        edges=("jumprelu",),
    ),
    "extremal": Room(
        name="extremal",
        sentence="the densest graphs without short cycles, found, certified and kept",
        paper="Mehrabian et al. 2023, arXiv:2311.03583",
        module="tenfold.rooms.extremal",
    ),
    "diving": Room(
        name="diving",
        sentence="learn from your mixed-integer programs, solve the next ones sooner in SCIP",
        paper="Nair et al. 2020, arXiv:2012.13349",
        module="tenfold.rooms.diving",
    ),
    "vdn": Room(
        name="vdn",
        sentence="cooperative teams whose values add up, trained as one stack, acting alone",
        paper="Sunehag et al. 2017, arXiv:1706.05296",
        module="tenfold.rooms.vdn",
    ),
}

_COMMANDS = (
    Command(name="rooms", sentence="list the rooms with their papers", module="tenfold.commands"),
    Command(
        name="runs",
        sentence="list, show, compare, go on with and remove runs",
        module="tenfold.runs_cli",
        verbs=True,
    ),
    Command(
        name="reproduce",
        sentence="check the papers' headline claims, every room on one page",
        module="tenfold.reproduce",
    ),
    Command(
        name="serve",
        sentence="show runs with live curves, and the pages of rooms, in a browser",
        module="tenfold.serve",
    ),
    Command(
        name="doctor", sentence="say what this machine has and lacks", module="tenfold.commands"
    ),
)
COMMANDS: dict[str, Command] = {command.name: command for command in _COMMANDS}

PROBES: dict[str, str] = {"solvers": "tenfold.parts.mip.probe"}
"""What `doctor` asks besides, by label: modules whose `describe()` returns lines."""


def list_rooms() -> list[str]:
    """Return the names of all rooms.

    >>> "jumprelu" in list_rooms()
    True
    """
    return list(ROOMS)


def find_room(name: str) -> Room:
    """Return the room called `name`.

    Raises:
        TenfoldError: with the nearest names, if there is none.
    """
    if name not in ROOMS:
        raise unknown_name("room", name, ROOMS)
    return ROOMS[name]


def room_package(name: str) -> ModuleType:
    """Import the package of a room."""
    return importlib.import_module(find_room(name).module)


def room_verbs(name: str) -> Mapping[str, Verb]:
    """Import a room's command line and return its verbs."""
    return _verbs_in(f"{find_room(name).module}.cli")


def command_verbs(name: str) -> Mapping[str, Verb]:
    """Import the module of a command that is not a room and return its verbs."""
    return _verbs_in(COMMANDS[name].module)


def _verbs_in(module: str) -> Mapping[str, Verb]:
    verbs: Mapping[str, Verb] = importlib.import_module(module).VERBS
    return verbs


def find_verb(name: str, word: str) -> Verb:
    """Return the verb `word` of the room (or command with verbs) called `name`.

    Raises:
        TenfoldError: with the nearest names, if there is none.
    """
    verbs = command_verbs(name) if name in COMMANDS else room_verbs(name)
    if word not in verbs:
        raise unknown_name(f"verb of {name}", word, verbs)
    return verbs[word]
