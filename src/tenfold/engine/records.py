"""Run directories as seen from outside: what each holds, which there are, how to find one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from tenfold.engine import config as configs
from tenfold.engine import files, lock
from tenfold.engine.config import Json, Migration
from tenfold.engine.errors import TenfoldError, unknown_name

T = TypeVar("T")
State = Literal["running", "done", "stopped", "failed", "lost", "broken"]

CONFIG, STATUS = "config.json", "status.json"
LOST_SECONDS = 120.0
"""Age of the heartbeat at which a run counts as lost where locks cannot be asked."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run directory in short."""

    path: Path
    room: str = ""
    verb: str = ""
    state: State = "broken"
    """`lost`: it was running and its process is gone; `broken`: its files cannot be read."""
    step: int = 0
    total: int = 0
    seed: int = 0
    recipe: str = ""
    started: float = 0.0
    """Seconds since 1970."""
    reason: str = ""
    """Why it stopped, failed or is broken."""

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.name


def saved_config(path: Path) -> Json:
    """Return all of `config.json` of the run at `path`."""
    data = files.read_json(path / CONFIG)
    missing = {"schema", "room", "verb", "config"} - set(data if isinstance(data, dict) else ())
    if missing:
        raise TenfoldError(f"{path / CONFIG} has no {sorted(missing)}; it is not a run's config")
    found: Json = data
    return found


def decode_saved(
    path: Path,
    cls: type[T],
    *,
    schema: int = 1,
    migrations: Mapping[int, Migration] = {},
) -> T:
    """Return the config of the run at `path` as a `cls` of today's `schema`."""
    saved = saved_config(path)
    data = configs.migrate(saved["config"], saved["schema"], current=schema, steps=migrations)
    return configs.decode(cls, data)


def read_record(path: Path) -> Record:
    """Read what the run at `path` is and how far it got.

    Raises:
        TenfoldError: if its files cannot be read.
    """
    saved, status = saved_config(path), files.read_json(path / STATUS)
    try:
        return Record(
            path=path,
            room=saved["room"],
            verb=saved["verb"],
            state=_judge(path, status),
            step=status["step"],
            total=status["total"],
            seed=saved["seed"],
            recipe=saved["recipe"],
            started=saved["started"],
            reason=status["reason"],
        )
    except (KeyError, TypeError) as error:
        raise TenfoldError(
            f"{path} lacks {error} in {CONFIG} or {STATUS}; it was written by another version"
        ) from None


def _judge(path: Path, status: Json) -> Any:
    """Return the saved state, or "lost" if no process stands behind "running"."""
    if status["state"] != "running":
        return status["state"]
    held = lock.is_held(path)
    if held is None:
        held = time.time() - status["heartbeat"] < LOST_SECONDS
    return "running" if held else "lost"


def list_records(root: Path) -> list[Record]:
    """List the runs below `root`, oldest first; unreadable ones have the state `broken`."""
    found = [_read_or_broken(path.parent) for path in root.glob(f"*/*/{CONFIG}")]
    return sorted(found, key=lambda record: (record.name, record.room))


def _read_or_broken(path: Path) -> Record:
    try:
        return read_record(path)
    except TenfoldError as error:
        return Record(path=path, room=path.parent.name, reason=str(error))


def find_run(name: str | Path, root: Path) -> Path:
    """Find a run by path, by name, or by a beginning or end of its name that is unique.

    Raises:
        TenfoldError: naming the runs that fit, or those with similar names.
    """
    if (Path(name) / CONFIG).is_file():
        return Path(name)
    known = {path.parent.name: path.parent for path in sorted(root.glob(f"*/*/{CONFIG}"))}
    word = str(name)
    if word in known:
        return known[word]
    fits = [run for run in known if word and (run.startswith(word) or run.endswith(word))]
    if len(fits) > 1:
        raise TenfoldError(f"{word!r} fits {len(fits)} runs: {', '.join(fits)}; write more of one")
    if not fits:
        raise unknown_name(f"run below {root}", word, known)
    return known[fits[0]]
