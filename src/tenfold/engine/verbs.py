"""Verbs: what a room offers on the command line, and how one of them is called.

A room's `cli.py` holds `VERBS: dict[str, Verb]` and nothing else. A verb's config says what
is done and decides the result; its `Call` says where the run lies and when it stops, and
never alters a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tenfold.engine.config import Json, Migration

if TYPE_CHECKING:
    from tenfold.engine.run import Options, Run


class Stopped(Exception):
    """A command was stopped with its state saved; `go_on` is the command that goes on."""

    def __init__(self, reason: str, *, go_on: str) -> None:
        super().__init__(reason)
        self.go_on = go_on


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Where the run lies and when it stops; none of it alters a result."""

    runs: str = ""
    """Folder of all runs; empty: TENFOLD_RUNS, else ./runs."""
    path: str = ""
    """Directory of this very run: made if absent, gone on with if a run is there."""
    from_run: Annotated[str, tyro.conf.arg(name="from")] = ""
    """Run (name or path) whose saved config takes the place of a recipe."""
    accept_changes: bool = False
    """Go on although the config differs from the saved one; the change is written down."""
    stop_after: int = 0
    """Steps after which this session saves and stops; 0: never."""
    checkpoint_minutes: float = 1.0
    """Minutes between checkpoints; 0: not by time."""
    checkpoint_steps: int = 0
    """Steps between checkpoints; 0: not by steps."""
    dry_run: bool = False
    """Print the resolved config and the size of the work, run nothing."""
    json: bool = False
    """Print the result as JSON."""
    quiet: bool = False
    """Show no progress."""
    recipe: tyro.conf.Suppress[str] = ""
    """Recipe that was named, a part of the run's name; set by the command line."""
    saved: tyro.conf.Suppress[bool] = False
    """Whether the config was read from a run directory, whose code is not to be run unasked."""

    typed: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Options that were typed, such as --seed; set by the command line."""

    def trusts(self, option: str) -> bool:
        """Whether the user typed what `option` names, not only a run that was saved."""
        return option in self.typed or not (self.saved or self.from_run)

    def __post_init__(self) -> None:
        for name in ("stop_after", "checkpoint_minutes", "checkpoint_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFromRun(Call):
    """Where the run lies and when it stops; none of it alters a result."""

    # Derived, as an exception: the same call but for the name of one option.
    from_run: Annotated[str, tyro.conf.arg(name="from-run")] = ""
    """Run (name or path) whose saved config takes the place of a recipe."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """Where runs are found and how the result is shown."""

    runs: str = ""
    """Folder of all runs; empty: TENFOLD_RUNS, else ./runs."""
    json: bool = False
    """Print the result as JSON."""
    quiet: bool = False
    """Show no progress."""


def _always(_result: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """One word of a room's command line."""

    config: type
    """Dataclass of the facts that decide the result."""
    run: Callable[[Any, Any], Any]
    """Takes (config, call); returns text, anything that JSON can hold, or None."""
    help: str
    """One sentence."""
    recipes: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """Named sizes: functions that return a config."""
    default: str = ""
    """Recipe that is meant when none is named; empty: the defaults of `config`."""
    call: type = Call
    """`Call`; `CallFromRun` if the config has an option --from of its own; or `Plain` for a verb
    that makes no run."""
    plan: Callable[[Any], Json] | None = None
    """Size of the work for --dry-run, from the config: parameters, memory, seconds."""
    schema: int = 1
    """Number of the saved config's shape."""
    migrations: Mapping[int, Migration] = field(default_factory=dict)
    """`migrations[n]` brings a config saved under schema n to n + 1."""
    succeeded: Callable[[Any], bool] = _always
    """Whether a result means exit code 0; a claim's verdict never matters here."""

    def __post_init__(self) -> None:
        assert not self.default or self.default in self.recipes, f"no recipe {self.default!r}"


def run_options(call: Call) -> Options:
    """Return the options of a `Run` that a call asks for."""
    from tenfold.engine.checkpoint import Cadence
    from tenfold.engine.run import Options

    return Options(
        runs=call.runs,
        stop_after=call.stop_after,
        quiet=call.quiet,
        checkpoint=Cadence(
            every_steps=call.checkpoint_steps, every_seconds=60 * call.checkpoint_minutes
        ),
    )


def open_run(
    config: Any,
    call: Call,
    *,
    room: str,
    verb: str,
    seed: int = 0,
    schema: int = 1,
    migrations: Mapping[int, Migration] = {},
    units: Mapping[str, str] = {},
) -> Run:
    """Make the run of a call, or go on with the one that lies at its path."""
    from tenfold.engine.run import Run

    options, path = run_options(call), Path(call.path) if call.path else None
    if path is None or not (path / "config.json").exists():
        return Run.create(
            config,
            room=room,
            verb=verb,
            seed=seed,
            recipe=call.recipe,
            schema=schema,
            units=units,
            options=options,
            path=path,
        )
    return Run.resume(
        path,
        config,
        schema=schema,
        migrations=migrations,
        units=units,
        options=options,
        accept_changes=call.accept_changes,
    )


def read_config(verb: Verb, path: Path) -> Any:
    """Read the config saved in the run directory `path`, brought to the present schema.

    Raises:
        TenfoldError: if the config is of another shape than `verb` takes.
    """
    from tenfold.engine.run import decode_saved

    return decode_saved(path, verb.config, schema=verb.schema, migrations=verb.migrations)
