"""A user's folder of instances: its files, those that cannot be read, and copies among them."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_bytes
from tenfold.parts.mip import highs, scip, scip_models
from tenfold.parts.mip.instance import Mip


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """Files of instances, by name."""

    files: tuple[Path, ...]
    """Those that can be learnt from, without copies, sorted by path."""
    copies: Mapping[Path, Path]
    """Files left out because an earlier file holds the same instance, and that file."""
    faults: Mapping[Path, str]
    """Files left out because they cannot be read, and why."""
    counts: Mapping[Path, Mapping[str, int]]
    """Rows, columns, entries and columns of each kind of every file in `files`."""


def files_in(path: Path) -> tuple[Path, ...]:
    """Return the files of a folder and its subfolders that may hold instances, sorted by path.

    These are .mps, .lp and .cip, also with .gz, in small or capital letters.

    Raises:
        TenfoldError: if there is no such folder, or none of its files is one.
    """
    if not path.is_dir():
        raise TenfoldError(f"{path} is no folder; check the path")
    found = tuple(sorted(file for file in path.rglob("*") if _may_hold_one(file)))
    if not found:
        kinds = ", ".join(scip_models.SUFFIXES)
        raise TenfoldError(
            f"{path} holds no instance; put files ending in {kinds} there, or these with .gz"
        )
    return found


def _may_hold_one(file: Path) -> bool:
    name = file.name.lower().removesuffix(".gz")
    return not name.startswith(".") and Path(name).suffix in scip_models.SUFFIXES and file.is_file()


def folder(path: Path) -> Folder:
    """Read every instance of a folder once, to find faults and copies.

    Copies are told by `Mip.digest`, so a copy under another name or in another format counts.

    Raises:
        TenfoldError: if there is no such folder, or nothing in it can be read.
    """
    known: dict[str, Path] = {}
    copies: dict[Path, Path] = {}
    faults: dict[Path, str] = {}
    counts: dict[Path, Mapping[str, int]] = {}
    for file in files_in(path):
        try:
            mip = read(file)
        except TenfoldError as error:
            faults[file] = str(error)
            continue
        digest = mip.digest()
        if digest in known:
            copies[file] = known[digest]
            continue
        known[digest] = file
        counts[file] = mip.counts()
    if not known:
        first, why = next(iter(faults.items()))
        raise TenfoldError(
            f"none of the {len(faults)} instances in {path} can be read; {first.name}: {why}"
        )
    return Folder(files=tuple(known.values()), copies=copies, faults=faults, counts=counts)


def read(path: Path) -> Mip:
    """Read an instance with SCIP; what SCIP cannot read, HiGHS may.

    Raises:
        TenfoldError: what SCIP says, if neither can.
    """
    try:
        return scip.read(path)
    except TenfoldError:
        if path.name.lower().removesuffix(".gz").endswith(highs.SUFFIXES):
            try:
                return highs.read(path)
            except TenfoldError:
                pass
        raise


def write(mip: Mip, path: Path) -> None:
    """Write an instance as .mps, .lp or .cip, or one of these with .gz, whole or not at all.

    Raises:
        TenfoldError: if the name ends otherwise.
    """
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    if kind not in scip_models.SUFFIXES:
        raise TenfoldError(
            f"{path.name} ends in {kind or 'nothing'}; end it in "
            f"{', '.join(scip_models.SUFFIXES)}, or these with .gz"
        )
    with tempfile.TemporaryDirectory() as folder:
        # SCIP writes plain files only.
        plain = Path(folder) / f"instance{kind}"
        scip.write(mip, plain)
        text = plain.read_bytes()
    write_bytes(path, gzip.compress(text, 6, mtime=0) if name.endswith(".gz") else text)
