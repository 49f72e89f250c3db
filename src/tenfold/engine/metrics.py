"""Metrics: rows appended to one JSON-lines file, the truth, and sinks that follow it."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from tenfold.engine import files
from tenfold.engine.errors import TenfoldError

_log = logging.getLogger("tenfold.metrics")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measured number."""

    step: int
    seconds: float
    """Time spent in the run so far, earlier sessions included."""
    name: str
    """As `group/name`."""
    value: float


class Sink(Protocol):
    """Where rows are shown; what it holds is derived, so a fault in it stops no run."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows that have just been appended to the log."""

    def close(self) -> None:
        """Let go of files; a later `write` opens them again."""


def unit_of(name: str, units: Mapping[str, str]) -> str:
    """Return the unit of a metric: under its name, or under the words before its first slash.

    >>> unit_of("error/first/7", {"error": "share"})
    'share'
    """
    return units.get(name) or units.get(name.partition("/")[0], "")


class MetricsLog:
    """The file `metrics.jsonl` of a run that is open for writing."""

    def __init__(self, path: Path, *, units: Mapping[str, str], sinks: Sequence[Sink] = ()) -> None:
        self.path = path
        self._units = units
        self._sinks = list(sinks)
        self._file: IO[bytes] | None = None

    def write(self, step: int, values: Mapping[str, float], *, seconds: float) -> None:
        """Append one row for each value.

        Args:
            step: what the values belong to.
            values: by name; `unit_of` each is known.
            seconds: time spent in the run so far.
        """
        for name in values:
            known = unit_of(name, self._units)
            assert known, f"metric {name!r} has no unit; add it to the room's table"
        rows = [Row(step=step, seconds=seconds, name=n, value=v) for n, v in values.items()]
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        self._file.write(b"".join(_to_line(row) for row in rows))
        for sink in tuple(self._sinks):
            self._guard(sink, rows)

    def _guard(self, sink: Sink, rows: Sequence[Row]) -> None:
        try:
            sink.write(rows)
        except Exception as error:  # whatever a foreign writer raises
            self._sinks.remove(sink)
            _log.warning(
                "%s is switched off for this session (%s: %s); metrics.jsonl has every row",
                type(sink).__name__,
                type(error).__name__,
                error,
            )

    def sync(self) -> int:
        """Make all rows so far survive a loss of power and return the bytes they take."""
        if not self.path.exists():
            return 0
        files.flush(self.path)
        return self.path.stat().st_size

    def mend(self) -> int:
        """Drop a last line that a kill has torn and return the bytes that are left."""
        if not self.path.exists():
            return 0
        end = self.path.read_bytes().rfind(b"\n") + 1
        os.truncate(self.path, end)
        return end

    def cut(self, *, start: int = 0, stop: int | None = None) -> None:
        """Keep the bytes from `start` to `stop`, as `sync` or `mend` counted them."""
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        if len(kept := data[start:stop]) == len(data):
            return
        self.close()
        files.write_bytes(self.path, kept)

    def close(self) -> None:
        """Close the file and the sinks; a later `write` opens them again."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for sink in self._sinks:
            sink.close()


def _to_line(row: Row) -> bytes:
    value = row.value if math.isfinite(row.value) else None
    data = {"step": row.step, "t": round(row.seconds, 3), "name": row.name, "value": value}
    return json.dumps(data, ensure_ascii=False).encode() + b"\n"


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a `metrics.jsonl`, which may be growing meanwhile.

    Raises:
        TenfoldError: naming the line that is broken.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):  # still being written, or torn by a kill
                return
            yield _from_line(line, where=f"{path} line {number}")


def _from_line(line: bytes, *, where: str) -> Row:
    try:
        data = json.loads(line)
        value = math.nan if data["value"] is None else float(data["value"])
        return Row(step=data["step"], seconds=data["t"], name=data["name"], value=value)
    except (ValueError, KeyError, TypeError) as error:
        shown = line[:80].decode(errors="replace").rstrip()
        raise TenfoldError(
            f"{where} is no metric: {shown!r} ({type(error).__name__}); remove the line"
        ) from None


def read_metrics(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) pairs by metric name; a value that was not finite is NaN."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(path):
        found.setdefault(row.name, []).append((row.step, row.value))
    return found


class EventFiles:
    """TensorBoard event files, made anew from `source` at the first write of a session.

    Rows that were cut from the log after a kill so vanish from the event files too.
    """

    flush_seconds = 10.0

    def __init__(self, folder: Path, *, source: Path, started: float) -> None:
        self._folder = folder
        self._source = source
        self._started = started
        self._writer: Any = None
        self._flushed = 0.0

    def write(self, rows: Sequence[Row]) -> None:
        """Append `rows`, or everything in the log if this is the first write."""
        if self._writer is None:
            self._open()
            rows = list(read_rows(self._source))
        for row in rows:
            self._writer.write(_to_event(row, wall_time=self._started + row.seconds))
        if time.monotonic() - self._flushed > self.flush_seconds:
            self._writer.flush()
            self._flushed = time.monotonic()

    def _open(self) -> None:
        # Not SummaryWriter: it starts a thread and puts the host's name into the file name.
        from tensorboardX.record_writer import RecordWriter

        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._writer = RecordWriter(str(self._folder / "events.out.tfevents.0"))
        self._writer.write(_head(wall_time=self._started))

    def close(self) -> None:
        """Close the file; the next write starts it anew."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _head(*, wall_time: float) -> bytes:
    from tensorboardX.proto.event_pb2 import Event

    head: bytes = Event(wall_time=wall_time, file_version="brain.Event:2").SerializeToString()
    return head


def _to_event(row: Row, *, wall_time: float) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    value = Summary.Value(tag=row.name, simple_value=row.value)
    event = Event(wall_time=wall_time, step=row.step, summary=Summary(value=[value]))
    data: bytes = event.SerializeToString()
    return data
