"""One process at a time in a run directory, by a lock that the system frees at a kill."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tenfold.engine.errors import TenfoldError

NAME = "lock"
_TRIES = 5
"""`is_held` takes the lock for microseconds, so a refusal counts only when repeated."""
_PAUSE_SECONDS = 0.02


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep every other process, and every other block of this one, out of `folder`.

    Raises:
        TenfoldError: naming the process that is inside.
    """
    handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(handle, folder)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)  # this frees the lock, as the end of the process would


def _acquire(handle: int, folder: Path) -> None:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            _lock(handle)
        except BlockingIOError:
            continue
        except OSError as error:
            raise TenfoldError(
                f"{folder} cannot be locked ({error.strerror}); "
                "keep runs on a disk with file locks, by --runs or TENFOLD_RUNS"
            ) from None
        return
    raise TenfoldError(
        f"{folder} is in use by process {_holder(folder)}; wait until it ends or stop it"
    )


def _holder(folder: Path) -> str:
    try:
        return (folder / NAME).read_text() or "unknown"
    except OSError:
        return "unknown"


def is_held(folder: Path) -> bool | None:
    """Say whether a living process is inside `folder`; None if the disk cannot tell."""
    try:
        handle = os.open(folder / NAME, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        _lock(handle, shared=True)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


if sys.platform == "win32":
    import msvcrt

    _BYTE = 1 << 30
    """A byte far behind the number of the process, which stays readable."""

    def _lock(handle: int, *, shared: bool = False) -> None:
        del shared  # Windows has only exclusive ones here
        os.lseek(handle, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from None

else:
    import fcntl

    def _lock(handle: int, *, shared: bool = False) -> None:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
