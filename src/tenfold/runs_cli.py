"""`tenfold runs`: list, show, compare, go on with and remove run directories."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tenfold.arguments import repeat_command
from tenfold.engine.config import Json, diff
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import runs_root
from tenfold.engine.metrics import read_metrics
from tenfold.engine.run import Record, find_run, list_records, read_record, saved_config
from tenfold.engine.verbs import Call, Plain, Verb, read_config
from tenfold.registry import find_verb

RunName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
RunNames = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]


@dataclass(frozen=True, kw_only=True, slots=True)
class List:
    """Which runs are listed."""

    room: str = ""
    """Only runs of this room."""
    state: str = ""
    """Only runs in this state: running, done, stopped, failed, lost or broken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Show:
    """Which run is shown."""

    run: RunName
    """Name, part of a name, or path of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """Which two runs are compared."""

    before: RunName
    """Name, part of a name, or path of a run."""
    after: RunName
    """Name, part of a name, or path of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resume:
    """Which run goes on."""

    run: RunName
    """Name, part of a name, or path of a run."""
    stop_after: int = 0
    """Steps after which this session saves and stops; 0: never."""
    checkpoint_minutes: float = 1.0
    """Minutes between checkpoints; 0: not by time."""
    trust_code: tyro.conf.FlagCreatePairsOff[bool] = False
    """Run the FILE.py:FUNCTION that the saved config names, if it names one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remove:
    """Which runs are removed."""

    names: RunNames
    """Names, parts of names, or paths of runs."""
    yes: tyro.conf.FlagCreatePairsOff[bool] = False
    """Remove them; without it the runs are only named."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("no run is named; name those to remove")


def list_runs(config: List, call: Plain) -> Any:
    """Return a row for each run, oldest first."""
    rows = [
        {
            "run": record.name,
            "room": record.room,
            "verb": record.verb,
            "state": record.state,
            "step": f"{record.step}/{record.total}",
            "started": _moment(record.started),
        }
        for record in list_records(runs_root(call.runs))
        if config.room in ("", record.room) and config.state in ("", record.state)
    ]
    return rows if rows or call.json else f"no runs in {runs_root(call.runs)}"


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "minutes") if seconds else ""


def show_run(config: Show, call: Plain) -> Json:
    """Return a run's state, the command that repeats it, its last metrics and its config."""
    path = find_run(config.run, runs_root(call.runs))
    record, saved = read_record(path), saved_config(path)
    return {
        "run": str(path),
        "state": record.state,
        "reason": record.reason,
        "step": f"{record.step}/{record.total}",
        "made by": f"tenfold {saved['version']} {saved['commit']}".rstrip(),
        "repeat": _command_of(path, record),
        "metrics": {name: points[-1][1] for name, points in _metrics(path).items()},
        "config": saved["config"],
    }


def _metrics(path: Path) -> dict[str, list[tuple[int, float]]]:
    file = path / "metrics.jsonl"
    return read_metrics(file) if file.exists() else {}


def _command_of(path: Path, record: Record) -> str:
    verb = find_verb(record.room, record.verb)
    return repeat_command(
        verb,
        read_config(verb, path),
        words=f"{record.room} {record.verb}",
        recipe=record.recipe,
        path=path,
    )


def compare_runs(config: Diff, call: Plain) -> Any:
    """Return a row for each config field in which two runs differ."""
    root = runs_root(call.runs)
    before, after = (_what(find_run(name, root)) for name in (config.before, config.after))
    rows = [
        {"field": change.path, config.before: change.before, config.after: change.after}
        for change in diff(before, after)
    ]
    return rows if rows or call.json else "the configs are equal"


def _what(path: Path) -> Json:
    saved = saved_config(path)
    return {"room": saved["room"], "verb": saved["verb"], **saved["config"]}


def resume_run(config: Resume, call: Plain) -> Any:
    """Call the verb of a saved run again, with its own config and on its own directory."""
    path = find_run(config.run, runs_root(call.runs))
    record = read_record(path)
    verb = find_verb(record.room, record.verb)
    again = Call(
        runs=call.runs,
        path=str(path),
        stop_after=config.stop_after,
        checkpoint_minutes=config.checkpoint_minutes,
        quiet=call.quiet,
        json=call.json,
        recipe=record.recipe,
        saved=not config.trust_code,
    )
    return verb.run(read_config(verb, path), again)


def remove_runs(config: Remove, call: Plain) -> Json:
    """Remove run directories, if told so by `yes`.

    Raises:
        TenfoldError: without `yes`, or if one of them is running; then none is removed.
    """
    paths = [find_run(name, runs_root(call.runs)) for name in config.names]
    busy = [path for path in paths if read_record(path).state == "running"]
    if busy:
        raise TenfoldError(f"{busy[0]} is running; stop it first (Ctrl-C saves its state)")
    if not config.yes:
        named = ", ".join(map(str, paths))
        raise TenfoldError(f"would remove {named}; add --yes to do it")
    for path in paths:
        shutil.rmtree(path)
    return {"removed": [str(path) for path in paths]}


VERBS = {
    "ls": Verb(config=List, run=list_runs, help="List the runs, oldest first.", call=Plain),
    "show": Verb(
        config=Show,
        run=show_run,
        help="Show a run's state, last metrics, config, and the command that repeats it.",
        call=Plain,
    ),
    "diff": Verb(
        config=Diff,
        run=compare_runs,
        help="Show the config fields in which two runs differ.",
        call=Plain,
    ),
    "resume": Verb(
        config=Resume,
        run=resume_run,
        help="Go on with a run that was stopped, lost or killed, under its saved config.",
        call=Plain,
    ),
    "rm": Verb(config=Remove, run=remove_runs, help="Remove runs; needs --yes.", call=Plain),
}
