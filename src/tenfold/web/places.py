"""The table of what is served: every address that names a run is looked up here, never joined."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.records import Record, list_records, read_record

FRESH_SECONDS = 1.0
"""How long a listing of the folder of all runs is used again."""


class UnknownPlace(TenfoldError):
    """A name in an address that stands for nothing that is served."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A run, or a folder that was named on the command line, under its name in addresses."""

    name: str
    path: Path
    record: Record | None = None
    """None for a folder that is no run."""


class Places:
    """The runs below `root`, or only those that are named.

    Args:
        root: folder of all runs.
        named: runs and folders; if there are any, nothing else is served.
    """

    def __init__(self, *, root: Path, named: Sequence[Path] = ()) -> None:
        self.root = root
        self._named = tuple(named)
        self._listed: tuple[float, dict[str, Place]] | None = None

    def all(self) -> dict[str, Place]:
        """Return every place by name, oldest run first."""
        now = time.monotonic()
        if self._listed is None or now - self._listed[0] > FRESH_SECONDS:
            self._listed = (now, self._list())
        return self._listed[1]

    def _list(self) -> dict[str, Place]:
        found: list[tuple[Path, Record | None]]
        if self._named:
            found = [(path, _record(path)) for path in self._named]
        else:
            found = [(record.path, record) for record in list_records(self.root)]
        places: dict[str, Place] = {}
        for path, record in found:
            name = _free_name(path, places)
            places[name] = Place(name=name, path=path, record=record)
        return places

    def find(self, name: str) -> Place:
        """Return the place called `name`.

        Raises:
            UnknownPlace: with the nearest names, if there is none.
        """
        places = self.all()
        if name not in places:
            self._listed = None  # it may have begun a moment ago
            places = self.all()
        if name not in places:
            raise UnknownPlace(str(unknown_name("run", name, places)))
        return places[name]


def _record(path: Path) -> Record | None:
    try:
        return read_record(path)
    except TenfoldError:  # a folder that is no run, such as a suite that was fetched
        return None


def _free_name(path: Path, taken: dict[str, Place]) -> str:
    name = plain = path.name or path.resolve().name or "run"
    number = 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    return name
