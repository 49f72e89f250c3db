"""Files that are whole or absent: temporary name, fsync, rename; and where things are kept.

A reader, or a process that goes on after a kill, never meets half a file: it sees the old
bytes or the new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tenfold.engine.errors import TenfoldError

TEMPORARY = ".tmp-"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(3)}"
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` as the whole content of `path`, making its parent folders."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with the line ends that it has."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Write plain data as strict JSON; floats that are not finite become null."""
    write_text(path, json.dumps(_finite(data), indent=1, ensure_ascii=False) + "\n")


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        TenfoldError: naming the file, and the line and column at which it is broken.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise TenfoldError(f"{path} does not exist; check the path") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise TenfoldError(f"{path} is broken at {place}: {error.msg}; mend or remove it") from None
    except UnicodeDecodeError as error:
        raise TenfoldError(
            f"{path} is broken at byte {error.start}: not UTF-8; mend or remove it"
        ) from None


def flush(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a loss of power."""
    if path.is_dir():
        if os.name == "nt":  # Windows keeps names without being asked and refuses to be asked
            return
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_root() -> Path:
    """Return the folder for things that can be made again: TENFOLD_CACHE or ~/.cache/tenfold."""
    given = os.environ.get("TENFOLD_CACHE", "")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "tenfold"


def runs_root(given: str = "") -> Path:
    """Return the folder of all runs: `given`, else TENFOLD_RUNS, else ./runs."""
    return Path(given or os.environ.get("TENFOLD_RUNS", "") or "runs").expanduser()
