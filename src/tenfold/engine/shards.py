"""Columns of numbers on disk: long, written safely, read by row through memory maps.

A store is a folder of raw little-endian files, one for each column and shard, and an
`index.json` that names them with their sizes and sha256. Only what the index names exists:
a shard is complete on disk before the index mentions it, so a killed writer loses the rows
after its last complete shard and nothing else. `bfloat16` is stored as its 16 bits.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import files
from tenfold.engine.config import Json, decode, diff, encode
from tenfold.engine.errors import TenfoldError, unknown_name

DType = Literal["float32", "float16", "bfloat16", "int32", "int64", "uint8", "bool"]

_STORED: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
}
_OURS = re.compile(rf"\d{{5}}\.\w+\.bin(\.part)?|{re.escape(files.TEMPORARY)}index\.json-.*")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One named array of a store; row `i` has `shape` numbers of `dtype`."""

    name: str
    dtype: DType
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z]\w*", self.name):
            raise ValueError(f"column name {self.name!r} is not a letter and then letters, digits")
        if self.dtype not in _STORED:
            raise ValueError(f"column {self.name}: dtype {self.dtype!r} not in {list(_STORED)}")
        if any(size < 1 for size in self.shape):
            raise ValueError(f"column {self.name}: shape {self.shape} has a size below 1")

    @property
    def row_bytes(self) -> int:
        """Bytes one row takes on disk."""
        return int(np.prod(self.shape, dtype=np.int64)) * _STORED[self.dtype].itemsize


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """One column of one shard on disk."""

    column: str
    name: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Rows that are complete on disk, and where the writer stood after them."""

    rows: int
    files: tuple[ShardFile, ...]
    cursor: Any = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """What `index.json` says of a store; `schema` grows when its shape changes."""

    columns: tuple[Column, ...]
    meta: Any
    shards: tuple[Shard, ...] = ()
    finished: bool = False
    schema: int = 1

    @property
    def num_rows(self) -> int:
        """Rows in complete shards."""
        return sum(shard.rows for shard in self.shards)


def open_writer(
    path: Path,
    columns: Sequence[Column],
    *,
    rows_per_shard: int = 262_144,
    meta: Json | None = None,
) -> ShardWriter:
    """Start a store at `path`, or go on with an unfinished one of equal columns and meta.

    Raises:
        TenfoldError: if the store at `path` is finished, damaged or of another kind.
    """
    wanted = Index(columns=tuple(columns), meta=encode(meta or {}))
    names = [column.name for column in wanted.columns]
    assert len({*names}) == len(names) > 0, f"columns of {path} are not distinct: {names}"
    path.mkdir(parents=True, exist_ok=True)
    index = _read_index(path) if (path / "index.json").exists() else wanted
    _refuse_other(path, found=index, wanted=wanted)
    _check_sizes(path, index)
    _remove_strays(path, index)
    _write_index(path, index)
    return ShardWriter(path=path, index=index, rows_per_shard=rows_per_shard)


class ShardWriter:
    """Rows going to disk; made by `open_writer`."""

    def __init__(self, *, path: Path, index: Index, rows_per_shard: int) -> None:
        self.path = path
        self.rows_per_shard = rows_per_shard
        self._index = index
        self._pending = 0
        self._committed = self.cursor
        self._hashes = {column.name: hashlib.sha256() for column in index.columns}

    @property
    def cursor(self) -> Json | None:
        """What was committed with the last complete shard: where to go on; None at the start."""
        return self._index.shards[-1].cursor if self._index.shards else None

    @property
    def num_rows(self) -> int:
        """Rows so far, those not yet in a complete shard included."""
        return self._index.num_rows + self._pending

    def append(self, **values: Tensor | np.ndarray) -> None:
        """Add n rows, given as one [n, *shape] tensor for each column.

        Floats are rounded to the column's float type; nothing else is converted.

        Raises:
            TenfoldError: if columns, shapes or types do not fit, a value leaves the range of
                its type, or the disk is full.
        """
        assert not self._index.finished, f"append to {self.path} after finish()"
        blocks = _blocks(self._index.columns, values)
        with self._full_disk_told():
            for name, block in blocks.items():
                with self._part(name).open("ab") as file:
                    file.write(block.data)
                self._hashes[name].update(block.data)
        self._pending += len(next(iter(values.values())))

    def commit(self, cursor: Json) -> None:
        """Mark a safe point, from which `cursor` tells the caller how to go on.

        Shards end only here, once they hold `rows_per_shard` rows or more.
        """
        self._committed = cursor
        if self._pending >= self.rows_per_shard:
            self._end_shard()

    def finish(self, meta: Json | None = None) -> None:
        """Close the last shard, add `meta` and mark the store as complete."""
        if self._pending:
            self._end_shard()
        merged = self._index.meta | encode(meta or {})
        self._index = dataclasses.replace(self._index, meta=merged, finished=True)
        _write_index(self.path, self._index)

    def _end_shard(self) -> None:
        with self._full_disk_told():
            entries = tuple(self._end_file(column) for column in self._index.columns)
            shard = Shard(rows=self._pending, files=entries, cursor=encode(self._committed))
            longer = dataclasses.replace(self._index, shards=(*self._index.shards, shard))
            _write_index(self.path, longer)
        self._index, self._pending = longer, 0
        self._hashes = {column.name: hashlib.sha256() for column in longer.columns}

    def _end_file(self, column: Column) -> ShardFile:
        part = self._part(column.name)
        size = self._pending * column.row_bytes
        assert part.stat().st_size == size, f"{part} holds a row that append() did not finish"
        files.flush(part)
        final = part.with_suffix("")
        os.replace(part, final)
        digest = self._hashes[column.name].hexdigest()
        return ShardFile(column=column.name, name=final.name, bytes=size, sha256=digest)

    def _part(self, column: str) -> Path:
        return self.path / f"{len(self._index.shards):05d}.{column}.bin.part"

    @contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise TenfoldError(
                f"no space left while writing shard {len(self._index.shards)} of {self.path}; "
                f"the {self._index.num_rows} rows of finished shards are safe: free some space "
                "and run the same command to go on"
            ) from error


def open_shards(path: Path, *, verify: bool = False) -> Shards:
    """Open a finished store for reading; `verify` also checks every sha256.

    Raises:
        TenfoldError: if there is no finished store at `path` or its files are damaged.
    """
    if not (path / "index.json").exists():
        raise TenfoldError(f"no shards at {path}: it has no index.json; was the path meant so?")
    index = _read_index(path)
    if not index.finished:
        raise TenfoldError(
            f"shards at {path} are unfinished ({index.num_rows} rows in complete shards); run "
            "the command that writes them once more, it goes on from there"
        )
    _check_sizes(path, index)
    shards = Shards(path=path, index=index)
    if verify:
        shards.verify()
    return shards


class Shards:
    """A finished store, read through memory maps; made by `open_shards`."""

    def __init__(self, *, path: Path, index: Index) -> None:
        self.path = path
        self._index = index
        self._starts = np.cumsum([0] + [shard.rows for shard in index.shards])
        self._maps: dict[tuple[str, int], np.ndarray] = {}

    @property
    def num_rows(self) -> int:
        """Rows in the store."""
        return self._index.num_rows

    @property
    def columns(self) -> tuple[Column, ...]:
        """Names, types and shapes of the columns."""
        return self._index.columns

    @property
    def meta(self) -> Json:
        """What the writer said about the store at its start and at its end."""
        return dict(self._index.meta)

    def read(self, column: str, start: int, stop: int) -> Tensor:
        """Return rows `start` to `stop` (excluded) of a column as a tensor of its own."""
        kind = self._column(column)
        assert 0 <= start <= stop <= self.num_rows, f"rows {start}:{stop} of {self.num_rows}"
        rows = np.empty((stop - start, *kind.shape), _STORED[kind.dtype])
        for shard, (first, end) in enumerate(itertools.pairwise(self._starts)):
            low, high = max(start, first), min(stop, end)
            if low < high:
                part = self._mapped(kind, shard)[low - first : high - first]
                rows[low - start : high - start] = part
        return _as_tensor(kind, rows)

    def gather(self, column: str, rows: np.ndarray | Tensor) -> Tensor:
        """Return the rows with these numbers [n], in this order, repeats allowed."""
        kind = self._column(column)
        wanted = np.asarray(rows, dtype=np.int64)
        outside = wanted[(wanted < 0) | (wanted >= self.num_rows)]
        assert not outside.size, f"rows {outside[:5]} do not exist, there are {self.num_rows}"
        gathered = np.empty((len(wanted), *kind.shape), _STORED[kind.dtype])
        # Sorted, so that the disk is read in one direction and each shard only once.
        order = np.argsort(wanted, kind="stable")
        cuts = np.searchsorted(wanted[order], self._starts)
        for shard, (first, end) in enumerate(itertools.pairwise(cuts)):
            if first < end:
                places = order[first:end]
                local = wanted[places] - self._starts[shard]
                gathered[places] = self._mapped(kind, shard)[local]
        return _as_tensor(kind, gathered)

    def verify(self) -> None:
        """Compare every file with the sha256 in the index.

        Raises:
            TenfoldError: naming the first shard and file that differ.
        """
        for number, shard in enumerate(self._index.shards):
            for file in shard.files:
                if files.sha256(self.path / file.name) != file.sha256:
                    raise TenfoldError(
                        f"shard {number} of {self.path} is damaged: {file.name} does not have the "
                        "sha256 of the index; remove the folder and write it again"
                    )

    def _column(self, name: str) -> Column:
        known = {column.name: column for column in self.columns}
        if name not in known:
            raise unknown_name(f"column of {self.path}", name, known)
        return known[name]

    def _mapped(self, column: Column, shard: int) -> np.ndarray:
        place = (column.name, shard)
        if place not in self._maps:
            entry = self._index.shards[shard]
            name = next(file.name for file in entry.files if file.column == column.name)
            self._maps[place] = np.memmap(
                self.path / name,
                dtype=_STORED[column.dtype],
                mode="r",
                shape=(entry.rows, *column.shape),
            )
        return self._maps[place]


def _as_tensor(column: Column, rows: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(rows)
    return tensor.view(torch.bfloat16) if column.dtype == "bfloat16" else tensor


def _blocks(
    columns: Sequence[Column], values: Mapping[str, Tensor | np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the bytes to write for each column, once everything fits."""
    names = [column.name for column in columns]
    if set(names) != set(values):
        raise TenfoldError(f"the rows have columns {sorted(values)}, the store has {sorted(names)}")
    counts = {name: len(value) for name, value in values.items()}
    if len(set(counts.values())) > 1:
        raise TenfoldError(f"columns of different length cannot be appended: {counts}")
    return {column.name: _block(column, torch.as_tensor(values[column.name])) for column in columns}


def _block(column: Column, value: Tensor) -> np.ndarray:
    dtype = getattr(torch, column.dtype)
    both_float = value.is_floating_point() and dtype.is_floating_point
    if tuple(value.shape[1:]) != column.shape or not (both_float or value.dtype == dtype):
        raise TenfoldError(
            f"column {column.name} takes rows of {column.dtype} {column.shape}, "
            f"not {str(value.dtype).removeprefix('torch.')} {tuple(value.shape[1:])}"
        )
    rows = value.detach().to(device="cpu", dtype=dtype).contiguous()
    if column.dtype == "float16" and bool((rows.isinf() & value.detach().cpu().isfinite()).any()):
        raise TenfoldError(
            f"column {column.name} is float16, which ends at 65504, and a value is "
            f"{float(value.abs().max()):.6g}; store it as bfloat16 or float32"
        )
    bits = rows.view(torch.int16) if column.dtype == "bfloat16" else rows
    stored = bits.numpy().astype(_STORED[column.dtype], copy=False)
    return stored.reshape(-1).view(np.uint8)


def _read_index(path: Path) -> Index:
    return decode(Index, files.read_json(path / "index.json"), path=str(path / "index.json"))


def _write_index(path: Path, index: Index) -> None:
    files.write_json(path / "index.json", encode(index))


def _refuse_other(path: Path, *, found: Index, wanted: Index) -> None:
    if found.finished:
        raise TenfoldError(
            f"shards at {path} are finished ({found.num_rows} rows); read them, or remove the "
            "folder to write them again"
        )
    changes = diff(
        {"columns": found.columns, "meta": found.meta},
        {"columns": wanted.columns, "meta": wanted.meta},
    )
    if changes:
        raise TenfoldError(
            f"shards at {path} were begun differently ({'; '.join(map(str, changes))}); "
            "use the same settings, or remove the folder to start anew"
        )


def _check_sizes(path: Path, index: Index) -> None:
    for number, shard in enumerate(index.shards):
        for file in shard.files:
            place = path / file.name
            size = place.stat().st_size if place.exists() else 0
            if size != file.bytes:
                raise TenfoldError(
                    f"shard {number} of {path} is damaged: {file.name} ends at byte {size}, the "
                    f"index says {file.bytes}; remove the folder and write it again"
                )


def _remove_strays(path: Path, index: Index) -> None:
    named = {file.name for shard in index.shards for file in shard.files}
    for place in path.iterdir():
        if _OURS.fullmatch(place.name) and place.name not in named:
            place.unlink()
