"""Curves of a run that may still be going on: read by and by, thinned, sent as they grow."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent

from tenfold.engine.config import Json
from tenfold.engine.directory import read_status
from tenfold.engine.errors import TenfoldError
from tenfold.engine.records import read_record

METRICS = "metrics.jsonl"
POINTS = 2_000
"""Points of a curve that are sent at most."""
WAIT_SECONDS = 1.0
"""Between two looks at a run that is going on."""
_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """How far the metrics of a run were read: which file, and how many of its bytes."""

    file: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.file}-{self.offset}"


def parse_cursor(text: str) -> Cursor:
    """Read a cursor; whatever is none is the beginning."""
    file, _, offset = text.partition("-")
    if file.isdecimal() and offset.isdecimal():
        return Cursor(file=int(file), offset=int(offset))
    return Cursor()


class Point(NamedTuple):
    """One measured number; NaN if it was not finite."""

    step: int
    name: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """Rows that came after a cursor."""

    rows: list[Point]
    cursor: Cursor
    restarted: bool
    """The file is another one, or shorter than it was (a resumed run cuts it back): `rows`
    begin at its start and take the place of all earlier ones."""


def read_new(path: Path, cursor: Cursor) -> News:
    """Read the whole lines that were added to the metrics at `path` since `cursor`.

    Raises:
        TenfoldError: naming the byte at which a line is broken.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return News(rows=[], cursor=Cursor(), restarted=cursor.offset > 0)
    rows: list[Point] = []
    with file:
        found = os.fstat(file.fileno())
        same = found.st_ino == cursor.file and found.st_size >= cursor.offset
        offset = cursor.offset if same else 0
        file.seek(offset)
        while data := file.read(_CHUNK):
            whole = data[: data.rfind(b"\n") + 1]
            rows += _parse(whole, where=f"{path} after byte {offset}")
            offset += len(whole)
            if len(whole) < len(data):  # a line that is being written, or cut by the chunk
                if not whole:
                    break
                file.seek(offset)
    fresh = Cursor(file=found.st_ino, offset=offset)
    return News(rows=rows, cursor=fresh, restarted=not same and cursor.offset > 0)


_FAULTS = (ValueError, KeyError, TypeError)


def _parse(lines: bytes, *, where: str) -> list[Point]:
    found = lines.splitlines()
    try:
        # All lines as one array: several times faster than one by one.
        return [_row(data) for data in json.loads(b"[" + b",".join(found) + b"]")]
    except _FAULTS:
        return [_parse_line(line, where=where) for line in found]


def _parse_line(line: bytes, *, where: str) -> Point:
    try:
        return _row(json.loads(line))
    except _FAULTS as error:
        shown = line[:80].decode(errors="replace")
        raise TenfoldError(
            f"{where}: {shown!r} is no metric ({type(error).__name__}); remove the line"
        ) from None


def _row(data: Json) -> Point:
    value = math.nan if data["value"] is None else float(data["value"])
    return Point(int(data["step"]), str(data["name"]), value)


@dataclass(slots=True)
class Series:
    """One metric: a value at each step, NaN where it was not finite."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def thinned(self, most: int = POINTS) -> np.ndarray:
        """Return [2, n] float32: steps and values at even distances, the last one always."""
        count = len(self.steps)
        places = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
        both = np.array([self.steps, self.values], dtype=np.float64)
        thin: np.ndarray = both[:, places].astype("<f4")
        return thin


class Curves:
    """The metrics of one run, kept in memory; each look reads only what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor = Cursor()
        self.series: dict[str, Series] = {}
        self._lock = threading.Lock()

    def look(self) -> dict[str, Series]:
        """Read what is new and return everything by metric, in the order of appearance."""
        with self._lock:
            news = read_new(self.path / METRICS, self.cursor)
            if news.restarted:
                self.series = {}
            for row in news.rows:
                series = self.series.setdefault(row.name, Series())
                series.steps.append(row.step)
                series.values.append(row.value)
            self.cursor = news.cursor
            return dict(self.series)


class CurvesOfRuns:
    """The curves of the runs looked at last."""

    most = 32

    def __init__(self) -> None:
        self._found: dict[Path, Curves] = {}

    def of(self, path: Path) -> Curves:
        """Return the curves of the run at `path`, not yet looked at."""
        curves = self._found.pop(path, None) or Curves(path)
        self._found[path] = curves  # the newest is the last
        while len(self._found) > self.most:
            del self._found[next(iter(self._found))]
        return curves


def tell_status(path: Path) -> Json:
    """Return how far a run is, for a page; numbers that do not apply are None."""
    record, status = read_record(path), read_status(path)
    going = record.state == "running"
    alive = record.state in ("running", "lost") and status.heartbeat > 0
    left = (record.total - record.step) / status.rate if going and status.rate > 0 else None
    return {
        "state": record.state,
        "step": record.step,
        "total": record.total,
        "rate": status.rate if going else None,
        "seconds": status.seconds,
        "left": left,
        "heartbeat": max(0.0, time.time() - status.heartbeat) if alive else None,
        "reason": record.reason,
    }


async def follow(
    path: Path, cursor: Cursor, *, stopping: Callable[[], bool], wait: float = WAIT_SECONDS
) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of a run until it is over: `points`, `status`, then `end`.

    The id of each `points` event is its cursor, with which a browser that was cut off goes on.

    Args:
        path: of the run.
        cursor: after which points are told.
        stopping: whether the server is going down.
        wait: seconds between two looks.
    """
    told: Json = {}
    while not stopping():
        try:
            status = await run_in_threadpool(tell_status, path)
            news = await run_in_threadpool(read_new, path / METRICS, cursor)
        except TenfoldError as error:
            yield ServerSentEvent(event="fault", data=str(error))
            return
        cursor = news.cursor
        if news.rows or news.restarted:
            yield ServerSentEvent(event="points", id=str(cursor), data=_points(news))
        if status != told:
            told = status
            yield ServerSentEvent(event="status", data=status)
        if status["state"] != "running":
            yield ServerSentEvent(event="end", data=status["state"])
            return
        await asyncio.sleep(wait)


def _points(news: News) -> Json:
    points: dict[str, tuple[list[int], list[float | None]]] = {}
    for row in news.rows:
        steps, values = points.setdefault(row.name, ([], []))
        steps.append(row.step)
        values.append(row.value if math.isfinite(row.value) else None)
    return {"restarted": news.restarted, "points": points}
