"""A file of JSON lines that several processes append to and that no crash can spoil.

Each line carries a checksum of itself. A writer waits for the lock of the file, reads what others
wrote, appends one line and makes it durable before the lock is freed. What a kill cuts off stays
one broken line: the next writer ends it, readers name it and go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tenfold.engine.errors import TenfoldError

_CHECK = ',"check":"'


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line: its data and the byte behind it."""

    number: int
    """From 1."""
    end: int
    record: dict[str, Any]


class Ledger:
    """The lines of one file as far as they were read; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        """Bytes read."""
        self.problems: list[str] = []
        """A sentence for each broken line."""
        self._lines = 0
        self._torn = False
        self._file: IO[bytes] | None = None

    def read(self, *, until: int = -1) -> list[Line]:
        """Return the lines that were added since the last call, up to a byte if one is given.

        Raises:
            TenfoldError: if the file ends before that byte, or cannot be read or locked.
        """
        with _telling(self.path, "read"):
            if until < 0 and self.path.stat().st_size == self.offset:
                return []
            with self.path.open("rb") as file, _locked(file, self.path, shared=True):
                return self._take(file, until=until)

    @contextlib.contextmanager
    def writing(self) -> Iterator[list[Line]]:
        """Keep other writers out, wait for one that is inside; yield what they added.

        Raises:
            TenfoldError: if the file cannot be written or locked.
        """
        with (
            _telling(self.path, "written"),
            self.path.open("a+b") as file,
            _locked(file, self.path, shared=False),
        ):
            self._file = file
            try:
                yield self._take(file)
            finally:
                self._file = None

    def append(self, record: dict[str, Any]) -> list[Line]:
        """Add a line, inside `writing`, and return what is read anew; it is then on the disk."""
        assert self._file is not None, "append is called outside of writing"
        torn = b"\n" if self._torn else b""
        self._file.write(torn + _spell(record))
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._take(self._file)

    def _take(self, file: IO[bytes], *, until: int = -1) -> list[Line]:
        """Read on; the lock is held, so an end without a newline is a cut and no line yet."""
        file.seek(self.offset)
        data = file.read(until - self.offset if until >= 0 else -1)
        whole, newline, tail = data.rpartition(b"\n")
        if until >= 0 and (self.offset + len(data) < until or tail):
            raise TenfoldError(
                f"{self.path} has no line that ends at byte {until}, where the state to go on from "
                "was saved; the file was cut or replaced, so put it back or start anew"
            )
        lines = [line for raw in (whole + newline).splitlines(True) if (line := self._next(raw))]
        if tail and not self._torn:
            self.problems.append(_fault(self.path, self._lines + 1, "cut off at its end"))
        self._torn = bool(tail)
        return lines

    def _next(self, raw: bytes) -> Line | None:
        """Count a line and return it if it is whole."""
        told, self._torn = self._torn, False
        self._lines += 1
        self.offset += len(raw)
        try:
            return Line(self._lines, self.offset, _parse(raw))
        except ValueError as error:
            if raw.strip() and not told:
                self.problems.append(_fault(self.path, self._lines, str(error)))
            return None


def _fault(path: Path, number: int, what: str) -> str:
    return f"{path} line {number} is {what}; the other lines are kept"


def _spell(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'{body[:-1]}{_CHECK}{_digest(body)}"}}\n'.encode()


def _parse(raw: bytes) -> dict[str, Any]:
    """Return the data of a line.

    Raises:
        ValueError: saying what is wrong with it.
    """
    text = raw.decode("utf-8", "replace").rstrip()
    head, mark, tail = text.rpartition(_CHECK)
    body = head + "}"
    if not mark:
        raise ValueError("cut off or none of an archive")
    if tail != f'{_digest(body)}"}}':
        raise ValueError("cut off or changed since it was written")
    record: dict[str, Any] = json.loads(body)
    return record


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _telling(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TenfoldError(
            f"{path} cannot be {what} ({error.strerror}); check the disk and its permissions"
        ) from None


@contextlib.contextmanager
def _locked(file: IO[bytes], path: Path, *, shared: bool) -> Iterator[None]:
    """Wait for the lock of an open file; the system frees it when a process ends."""
    try:
        _lock(file.fileno(), shared=shared)
    except OSError as error:
        raise TenfoldError(
            f"{path} cannot be locked ({error.strerror}), as on some network disks; keep archives "
            "on a disk with file locks and merge them"
        ) from None
    try:
        yield
    finally:
        _unlock(file.fileno())


if sys.platform == "win32":
    import msvcrt

    _BYTE = 1 << 30
    """A byte far behind the lines, which stay readable."""

    def _lock(handle: int, *, shared: bool) -> None:
        del shared  # Windows has only exclusive ones here
        while True:
            os.lseek(handle, _BYTE, os.SEEK_SET)
            # A refusal comes after ten seconds.
            with contextlib.suppress(PermissionError):
                return msvcrt.locking(handle, msvcrt.LK_LOCK, 1)

    def _unlock(handle: int) -> None:
        os.lseek(handle, _BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> None:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
