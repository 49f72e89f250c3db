"""The commands `tenfold rooms` and `tenfold doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenfold.engine.config import Json
from tenfold.engine.verbs import Plain, Verb
from tenfold.registry import PROBES, ROOMS


@dataclass(frozen=True, kw_only=True, slots=True)
class Rooms:
    """List the rooms."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Doctor:
    """Examine this machine."""


def show_rooms(_config: Rooms, _call: Plain) -> list[Json]:
    """Return a row for each room."""
    return [
        {"room": room.name, "what": room.sentence, "paper": room.paper} for room in ROOMS.values()
    ]


def show_machine(_config: Doctor, call: Plain) -> Any:
    """Return what this machine has, as text for a reader or as data for a machine."""
    from tenfold.engine.doctor import examine, format_report

    report = examine(PROBES)
    return report if call.json else format_report(report)


VERBS = {
    "rooms": Verb(
        config=Rooms, run=show_rooms, help="List the rooms with their papers.", call=Plain
    ),
    "doctor": Verb(
        config=Doctor, run=show_machine, help="Say what this machine has and lacks.", call=Plain
    ),
}
