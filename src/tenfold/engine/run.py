"""A run: one directory, one process at a time, exact resume after a kill at any byte.

A loop reads:

    with run:
        for step in run.steps(cfg.steps, trainer):
            stats = trainer.step(data.batch(step))
            if step % cfg.log_every == 0:
                run.log(step, stats)
"""

from __future__ import annotations

import contextlib
import datetime
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tenfold.engine import checkpoint, directory, files, lock, signals
from tenfold.engine.checkpoint import Cadence, Checkpointable, Keep
from tenfold.engine.config import Json, Migration, encode
from tenfold.engine.directory import Status
from tenfold.engine.errors import TenfoldError
from tenfold.engine.metrics import EventFiles, MetricsLog
from tenfold.engine.progress import Progress, say
from tenfold.engine.records import (
    Record,
    decode_saved,
    find_run,
    list_records,
    read_record,
    saved_config,
)
from tenfold.engine.signals import StopRequest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Options",
    "Record",
    "Run",
    "RunStopped",
    "decode_saved",
    "find_run",
    "list_records",
    "read_record",
    "saved_config",
]

CHECKPOINTS, METRICS, EVENTS = "ckpt", "metrics.jsonl", "events"
DATA, LOG = "data.json", "log.txt"
BEAT_SECONDS = 2.0
NUMBERS_SHOWN = 3


class RunStopped(Exception):
    """A run stopped before its end, at a point from which it goes on exactly."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} stopped: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to carry a run; none of these alters its result."""

    runs: str = ""
    """Folder of all runs; "" = TENFOLD_RUNS, else ./runs."""
    stop_after: int = 0
    """Stop with a checkpoint after this many steps of this session; 0 = at the end."""
    quiet: bool = False
    """Show no progress."""
    checkpoint: Cadence = field(default_factory=Cadence)
    """How often to save."""
    keep: Keep = field(default_factory=Keep)
    """Which checkpoints stay."""


class Run:
    """One run directory; from `Run.create` or `Run.resume`, and worked in as `with run:`."""

    def __init__(
        self,
        *,
        path: Path,
        saved: Json,
        config: Any,
        units: Mapping[str, str],
        options: Options,
        revision: Json | None = None,
    ) -> None:
        self.path = path
        self.out = path / "out"
        self.room: str = saved["room"]
        self.verb: str = saved["verb"]
        self.seed: int = saved["seed"]
        self.config = config
        self.resumed = revision is not None
        self.options = options
        self._units = units
        self._revision = revision
        self._metrics = MetricsLog(
            path / METRICS,
            units=units,
            sinks=[EventFiles(path / EVENTS, source=path / METRICS, started=saved["started"])],
        )
        self._stack: contextlib.ExitStack | None = None
        self._request = StopRequest()
        self._status = Status()
        self._bar: Progress | None = None
        self._newest: dict[str, float] = {}
        self._earlier_bytes = 0
        self._earlier_seconds = 0.0
        self._began = 0.0
        self._beaten = 0.0
        self._saved = 0.0

    @staticmethod
    def create(
        config: Any,
        *,
        room: str,
        verb: str,
        seed: int = 0,
        recipe: str = "",
        schema: int = 1,
        units: Mapping[str, str] = {},
        options: Options = Options(),
        path: Path | None = None,
    ) -> Run:
        """Make a new run directory, named by time, recipe and seed.

        Args:
            config: the facts that decide the result, as a dataclass.
            room: who runs.
            verb: what is done.
            seed: under which all streams of randomness are named.
            recipe: name of the experiment that `config` came from.
            schema: number of the config's shape.
            units: unit of every metric, by name; the first logged ones are shown as progress.
            options: how to carry the run.
            path: the very directory, instead of a new one below the folder of all runs.

        Raises:
            TenfoldError: if a run lies at `path` already.
        """
        saved = directory.describe(
            config, room=room, verb=verb, seed=seed, recipe=recipe, schema=schema, units=units
        )
        if path is None:
            root = files.runs_root(options.runs) / room
            path = directory.make_unique(root, name=f"{recipe or verb}_s{seed}")
        directory.write_new(path, saved)
        return Run(path=path, saved=saved, config=config, units=units, options=options)

    @staticmethod
    def resume(
        path: Path,
        config: Any = None,
        *,
        schema: int = 0,
        migrations: Mapping[int, Migration] = {},
        units: Mapping[str, str] = {},
        options: Options = Options(),
        accept_changes: bool = False,
    ) -> Run:
        """Open the run at `path` to go on with it.

        Args:
            path: the run directory.
            config: what to go on with; None = as saved, left in its encoded form.
            schema: today's number of the config's shape; 0 = that of the saved one.
            migrations: lead from older schemas to `schema`.
            units: unit of every metric, by name.
            options: how to carry the run.
            accept_changes: go on although `config` differs in fields that bind.

        Raises:
            TenfoldError: listing the fields in which `config` differs from the saved one.
        """
        saved = saved_config(path)
        revision = directory.revise(
            path, config, schema=schema, migrations=migrations, accept=accept_changes
        )
        return Run(
            path=path,
            saved=saved,
            config=saved["config"] if config is None else config,
            units=units,
            options=options,
            revision=revision,
        )

    def __enter__(self) -> Run:
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock.hold(self.path))
            self._request = stack.enter_context(signals.listening())
            stack.callback(self._metrics.close)
            self._begin()
            self._stack = stack.pop_all()
        return self

    def _begin(self) -> None:
        directory.sweep(self.path)
        if self._revision is not None:
            directory.apply_revision(self.path, self._revision)
        self._status = directory.read_status(self.path)
        self._earlier_bytes = self._metrics.mend()
        self._earlier_seconds = self._status.seconds
        self._began = self._saved = time.monotonic()
        self._write_status("running")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._stack is not None, "a run is left only after it was entered"
        with self._stack:
            self._stack = None
            if isinstance(error, RunStopped):
                error.path = self.path  # of runs inside runs, the outermost is the one to resume
                self._write_status("stopped", reason=error.reason)
            elif isinstance(error, KeyboardInterrupt):
                self._write_status("stopped", reason="interrupted at once")
            elif error is not None:
                error.add_note(f"traceback in {self.path / LOG}")
                self._append_log("".join(traceback.format_exception(error)))
                self._write_status("failed", reason=f"{type(error).__name__}: {error}")
            else:
                self._write_status("done")

    def steps(self, total: int, item: Checkpointable, *, progress: bool = True) -> Iterator[int]:
        """Yield the numbers of the steps that are left, saving `item` between them.

        Starts from the newest checkpoint, if there is one: `item` takes its state and
        `metrics.jsonl` is cut back to it. A run that is at its end yields nothing.

        Args:
            total: number of steps of the whole run; the last one yielded is `total - 1`.
            item: everything that a step changes.
            progress: whether to show how far it is.

        Raises:
            RunStopped: after a step, with a checkpoint, if a stop was asked for.
            TenfoldError: if the run is already beyond `total`.
        """
        assert self._stack is not None, "steps are taken inside `with run:`"
        first = self._restore(item, total=total)
        quiet = self.options.quiet or not progress
        with Progress(f"{self.room} {self.verb}", total, quiet=quiet) as self._bar:
            self._advance(first, total=total)
            if first == total:
                self._bar.note("finished before, no step is left")
            self.check_stop()
            for step in range(first, total):
                yield step
                done = step + 1
                self._advance(done, total=total)
                stop = self._find_stop(done - first, last=done == total)
                if stop or done == total or self._is_due(done):
                    self._save(done, item)
                if stop:
                    raise RunStopped(self.path, stop)

    def _restore(self, item: Checkpointable, *, total: int) -> int:
        found = checkpoint.latest(self.path / CHECKPOINTS)
        if found is None:
            self._metrics.cut(start=self._earlier_bytes)
            self._earlier_bytes = 0
            return 0
        done, path = found
        if done > total:
            raise TenfoldError(
                f"{self.path} has done {done} steps, more than the {total} asked for; "
                "remove its newer checkpoints or ask for more steps"
            )
        extra = checkpoint.read_extra(path)
        self._metrics.cut(stop=extra["metrics_bytes"])
        self._earlier_seconds = extra["seconds"] - (time.monotonic() - self._began)
        return checkpoint.load(path, item)

    def _advance(self, done: int, *, total: int) -> None:
        if self._bar is not None:
            self._bar.update(done)
            self._status.rate = self._bar.rate
        self._status.step, self._status.total = done, total
        self._beat()

    def _find_stop(self, num_steps: int, *, last: bool) -> str:
        if self._request.reason:
            return self._request.reason
        enough = num_steps == self.options.stop_after and not last
        return f"{num_steps} steps done, as asked by stop_after" if enough else ""

    def _is_due(self, step: int) -> bool:
        seconds = time.monotonic() - self._saved
        return checkpoint.is_due(self.options.checkpoint, step=step, seconds=seconds)

    def _save(self, step: int, item: Checkpointable) -> None:
        # The rows first: a checkpoint that counts bytes must not outlive them.
        extra = {"metrics_bytes": self._metrics.sync(), "seconds": self.seconds}
        checkpoint.save(self.path / CHECKPOINTS, step, item, keep=self.options.keep, extra=extra)
        self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent in this run, in the sessions before this one too."""
        return self._earlier_seconds + time.monotonic() - self._began

    def log(self, step: int, values: Mapping[str, float | Tensor]) -> None:
        """Append `values` to the metrics under `step`; tensors are read here, once."""
        numbers = {name: _to_number(value) for name, value in values.items()}
        self._metrics.write(step, numbers, seconds=self.seconds)
        self._newest |= numbers
        if self._bar is not None:
            shown = [name for name in self._units if name in self._newest][:NUMBERS_SHOWN]
            self._bar.update(self._bar.done, **{name: self._newest[name] for name in shown})
        self._beat()

    def note(self, text: str) -> None:
        """Put `text` into `log.txt` and beside the progress."""
        self._append_log(text + "\n")
        if self._bar is not None:
            self._bar.note(text)
        elif not self.options.quiet:
            say(text)

    def introduce(self, facts: Mapping[str, str]) -> None:
        """Say before the first step what was chosen and why, a line each; `log.txt` keeps it."""
        width = max(map(len, facts), default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
        self._append_log("\n".join(["started", *lines]) + "\n")
        if not self.options.quiet:
            say("\n".join([f"{self.room} {self.verb}  {self.path}", *lines]))

    def write_json(self, name: str, data: Any) -> Path:
        """Write a result as `out/<name>` and return its path."""
        files.write_json(self.out / name, data)
        return self.out / name

    def write_data(self, description: Json) -> Path:
        """Write `data.json`: the inputs by name, with their sizes and SHA-256."""
        files.write_json(self.path / DATA, description)
        return self.path / DATA

    def data_changed(self, description: Json) -> bool:
        """Say whether `data.json` of an earlier session describes other inputs."""
        path = self.path / DATA
        return path.exists() and files.read_json(path) != encode(description)

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return bool(self._request.reason)

    def check_stop(self) -> None:
        """Raise `RunStopped` if a stop was asked for; for work that has no steps."""
        self._beat()
        if self.stopping:
            raise RunStopped(self.path, self._request.reason)

    def _beat(self) -> None:
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._write_status("running")

    def _write_status(self, state: str, *, reason: str = "") -> None:
        self._status.state = state
        self._status.reason = reason
        self._status.seconds = self.seconds
        directory.write_status(self.path, self._status)
        self._beaten = time.monotonic()

    def _append_log(self, text: str) -> None:
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{now} {text}")


def _to_number(value: Any) -> float:
    # Detached, because torch warns about reading a tensor that carries a gradient.
    return float(value.detach() if hasattr(value, "detach") else value)
