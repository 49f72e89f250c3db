"""What a run directory holds beside its results: config, environment, status, history."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.engine import config as configs
from tenfold.engine import files, origin
from tenfold.engine.config import Json, Migration
from tenfold.engine.errors import TenfoldError
from tenfold.engine.records import CONFIG, STATUS, decode_saved, saved_config

ENVIRONMENT, HISTORY = "env.json", "history.jsonl"


@dataclass(kw_only=True)
class Status:
    """How far a run is, as its own process says."""

    state: str = "stopped"
    step: int = 0
    total: int = 0
    rate: float = 0.0
    """Steps per second in this session."""
    seconds: float = 0.0
    """Time spent in all sessions so far."""
    heartbeat: float = 0.0
    """Seconds since 1970 at which this was written."""
    reason: str = "not started"
    pid: int = 0


def read_status(path: Path) -> Status:
    """Return the status of the run at `path`, or that of one not started."""
    try:
        return Status(**files.read_json(path / STATUS))
    except (TenfoldError, TypeError):  # it informs; a run goes on without it
        return Status()


def write_status(path: Path, status: Status) -> None:
    """Write `status`, with this process and moment, into the run at `path`."""
    status.heartbeat, status.pid = time.time(), os.getpid()
    files.write_json(path / STATUS, dataclasses.asdict(status))


def describe(
    config: Any,
    *,
    room: str,
    verb: str,
    seed: int,
    recipe: str,
    schema: int,
    units: Mapping[str, str],
) -> Json:
    """Return what `config.json` of a new run holds."""
    return {
        "schema": schema,
        "room": room,
        "verb": verb,
        "version": origin.version(),
        "commit": origin.source_commit(),
        "dirty": origin.changes_digest(),
        "recipe": recipe,
        "seed": seed,
        "started": time.time(),
        "units": dict(units),
        "config": configs.encode(config),
    }


def make_unique(root: Path, *, name: str) -> Path:
    """Make the directory `root/<date and time>_<name>_<4 random letters>`."""
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d_%H%M")
    plain = re.sub(r"[^\w.-]+", "-", name)
    while True:
        letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
        path = root / f"{now}_{plain}_{letters}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path


def write_new(path: Path, saved: Json) -> None:
    """Write the first files of a run into `path`; `config.json` last, it makes it a run.

    Raises:
        TenfoldError: if there is a run already.
    """
    if (path / CONFIG).exists():
        raise TenfoldError(f"{path} holds a run already; resume it or name another directory")
    files.write_json(path / ENVIRONMENT, origin.environment())
    write_status(path, Status())
    append_history(path, {"event": "created"})
    files.write_json(path / CONFIG, saved)


def append_history(path: Path, entry: Json) -> None:
    """Add a dated line to the history of the run at `path`."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    history = path / HISTORY
    before = history.read_text(encoding="utf-8") if history.exists() else ""
    line = json.dumps({"time": now, "version": origin.version(), **entry}, ensure_ascii=False)
    files.write_text(history, f"{before}{line}\n")


def revise(
    path: Path,
    config: Any,
    *,
    schema: int,
    migrations: Mapping[int, Migration],
    accept: bool,
) -> Json:
    """Return what going on with `config` (None = as saved) changes in the run at `path`.

    Raises:
        TenfoldError: if fields differ that are not free, and `accept` is not given.
    """
    if config is None:
        return {"changes": [], "config": None}
    saved = saved_config(path)
    schema = schema or saved["schema"]
    before = decode_saved(path, type(config), schema=schema, migrations=migrations)
    binding = configs.binding_changes(before, config)
    if binding and not accept:
        raise TenfoldError(
            f"{path} was begun with another config ({'; '.join(map(str, binding))}); go on with "
            "the saved values, or give --accept-changes to go on with these"
        )
    changes = [dataclasses.asdict(change) for change in configs.diff(before, config)]
    changed = saved | {"schema": schema, "config": configs.encode(config)}
    return {"changes": changes, "config": changed if changes else None}


def apply_revision(path: Path, revision: Json) -> None:
    """Write down that the run at `path` goes on, and with what changes."""
    entry = {
        "event": "resumed",
        "changes": revision["changes"],
        "commit": origin.source_commit(),
        "dirty": origin.changes_digest(),
        "environment": origin.environment(),
    }
    append_history(path, entry)
    if revision["config"] is not None:
        files.write_json(path / CONFIG, revision["config"])


def sweep(path: Path) -> None:
    """Remove temporary files that a killed process left in the run at `path`."""
    for folder in (path, path / "out"):
        for left in folder.glob(f"{files.TEMPORARY}*"):
            if left.is_file():
                left.unlink()
