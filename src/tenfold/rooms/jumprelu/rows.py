"""Rows of activations: matrix files, tensors and shard stores, opened and read alike."""

# N rows, T positions, D width

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tenfold.engine import shards
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.rooms.jumprelu import config

BLOCK_ROWS = 256
"""Rows are held out in blocks, because neighbours in a file resemble each other."""

_FLOATS = ("float16", "float32", "float64")
# What NumPy lets through where a header, an archive or its compressed bytes are damaged.
_DAMAGED = (ValueError, EOFError, OSError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)


class Rows(Protocol):
    """Rows of numbers with random access."""

    @property
    def num_rows(self) -> int:
        """N."""

    @property
    def width(self) -> int:
        """D."""

    @property
    def block(self) -> int:
        """Rows that are held out together; neighbours resemble each other."""

    @property
    def unit(self) -> int:
        """Rows that are never parted, such as the positions of one sequence."""

    def read(self, start: int, stop: int) -> Tensor:
        """Return rows start..stop as float32 [n, D]."""

    def gather(self, rows: np.ndarray) -> Tensor:
        """Return the named rows as float32 [n, D]."""

    def describe(self) -> Json:
        """Return name, shape and type."""


@dataclass(frozen=True, kw_only=True)
class MatrixRows:
    """Rows of an array [N, D] or [N, T, D] in memory or mapped from a file."""

    name: str
    array: np.ndarray | Tensor
    """In rows, so that flattening it copies nothing; `matrix_rows` sees to it."""

    @property
    def num_rows(self) -> int:
        """N, or N T."""
        return math.prod(self.array.shape[:-1])

    @property
    def width(self) -> int:
        """D."""
        return int(self.array.shape[-1])

    @property
    def block(self) -> int:
        """Rows held out together: `BLOCK_ROWS`, or about as many in whole sequences [T, D]."""
        sequence = int(self.array.shape[1]) if self.array.ndim == 3 else 1
        return sequence * -(-BLOCK_ROWS // sequence)

    @property
    def unit(self) -> int:
        """T of an array [N, T, D], else 1: rows that are never parted."""
        return int(self.array.shape[1]) if self.array.ndim == 3 else 1

    def read(self, start: int, stop: int) -> Tensor:
        """Return rows start..stop as float32 [n, D]."""
        return _float32(self.array.reshape(-1, self.width)[start:stop])

    def gather(self, rows: np.ndarray) -> Tensor:
        """Return the named rows as float32 [n, D]."""
        flat = self.array.reshape(-1, self.width)
        return _float32(flat[torch.from_numpy(rows)] if isinstance(flat, Tensor) else flat[rows])

    def describe(self) -> Json:
        """Return name, shape and type."""
        return {
            "name": self.name,
            "shape": list(self.array.shape),
            "dtype": str(self.array.dtype).removeprefix("torch."),
        }


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """Column `x` of a harvested store."""

    store: shards.Shards
    block: int = BLOCK_ROWS
    unit: int = 1

    @property
    def num_rows(self) -> int:
        """Rows in all shards."""
        return self.store.num_rows

    @property
    def width(self) -> int:
        """D."""
        (column,) = (c for c in self.store.columns if c.name == "x")
        return column.shape[0]

    def read(self, start: int, stop: int) -> Tensor:
        """Return rows start..stop as float32 [n, D]."""
        return self.store.read("x", start, stop).float()

    def gather(self, rows: np.ndarray) -> Tensor:
        """Return the named rows as float32 [n, D]."""
        return self.store.gather("x", rows).float()

    def describe(self) -> Json:
        """Return name, shape and what the harvest noted."""
        shape = [self.num_rows, self.width]
        return {"name": self.store.path.name, "shape": shape, "meta": self.store.meta}


def _float32(values: np.ndarray | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.to(device="cpu", dtype=torch.float32)
    return torch.from_numpy(np.array(values, dtype=np.float32))


def open_matrix(path: str | Path, *, key: str = "") -> MatrixRows:
    """Open a matrix file [N, D] or [N, T, D] of floats, mapped where the format allows.

    Args:
        path: .npy, .npz or .safetensors.
        key: which array of a file with several.

    Raises:
        TenfoldError: if the file is missing, truncated, of another type or shape.
    """
    path = Path(path)
    if not path.is_file():
        raise TenfoldError(f"{path} is not a file; give an .npy, .npz or .safetensors matrix")
    readers: dict[str, Callable[[Path, str], np.ndarray | Tensor]] = {
        ".npy": _open_npy,
        ".npz": _open_npz,
        ".safetensors": _open_safetensors,
    }
    if path.suffix not in readers:
        raise unknown_name(f"matrix file type of {path.name}", path.suffix, readers)
    return matrix_rows(readers[path.suffix](path, key), name=path.name)


def matrix_rows(array: np.ndarray | Tensor, *, name: str = "array") -> MatrixRows:
    """Take an array [N, D] or [N, T, D] of floats as rows.

    Raises:
        TenfoldError: if shape or type do not fit.
    """
    dtype = str(array.dtype).removeprefix("torch.")
    allowed = (*_FLOATS, "bfloat16") if isinstance(array, Tensor) else _FLOATS
    if dtype not in allowed:
        raise TenfoldError(f"{name} holds {dtype}; convert it to one of {', '.join(allowed)}")
    if array.ndim not in (2, 3) or min(array.shape) < 1:
        raise TenfoldError(f"{name} has shape {list(array.shape)}; wanted [N, D] or [N, T, D]")
    if isinstance(array, Tensor):
        return MatrixRows(name=name, array=array.detach().contiguous())
    return MatrixRows(name=name, array=np.ascontiguousarray(array))


def _open_npy(path: Path, key: str) -> np.ndarray:
    if key:
        raise TenfoldError(f"{path.name} is one array, key {key!r} has no meaning; leave it out")
    try:
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        size = path.stat().st_size
        raise TenfoldError(
            f"{path.name} is no whole .npy file: it ends at byte {size} ({error}); write it again"
        ) from None
    return mapped


def _open_npz(path: Path, key: str) -> np.ndarray:
    try:
        # Opened here, because np.load leaves the file of a broken archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            array: np.ndarray = archive[_choose_key(path, key, archive.files)]
            return array
    except _DAMAGED as error:
        size = path.stat().st_size
        raise TenfoldError(
            f"{path.name} is no whole .npz file: it ends at byte {size} ({error}); write it again"
        ) from None


def _open_safetensors(path: Path, key: str) -> Tensor:
    try:
        with safe_open(path, framework="pt") as archive:
            tensor: Tensor = archive.get_tensor(_choose_key(path, key, list(archive.keys())))
            return tensor
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size
        raise TenfoldError(
            f"{path.name} is no whole .safetensors file: it ends at byte {size} ({error}); "
            "write it again"
        ) from None


def _choose_key(path: Path, key: str, names: list[str]) -> str:
    if key in names:
        return key
    if not key and len(names) == 1:
        return names[0]
    if not key:
        raise TenfoldError(f"{path.name} holds {sorted(names)}; say which with --data.key")
    raise unknown_name(f"array of {path.name}", key, names)


def open_rows(data: Any) -> Rows | None:
    """Open whatever a user has as rows; None if it is a stream, whose rows cannot be counted.

    Args:
        data: a path, an array or tensor, a shard store, a factory or an iterator of batches,
            or a config of one.

    Raises:
        TenfoldError: if it is none of these, or cannot be opened.
    """
    match data:
        case config.Matrix(path="") | config.Shards(path=""):
            raise TenfoldError("no activations given; say where they are with --data.path")
        case config.Matrix(path=path, key=key):
            return open_matrix(path, key=key)
        case config.Shards(path=path):
            return ShardRows(store=shards.open_shards(Path(path)))
        case str() | Path():
            folder = Path(data).is_dir()
            return open_rows(config.Shards(path=str(data))) if folder else open_matrix(data)
        case np.ndarray() | Tensor():
            return matrix_rows(data)
        case shards.Shards():
            return ShardRows(store=data)
        case _ if callable(data) or isinstance(data, Iterator):
            return None
        case _:
            raise TenfoldError(
                f"{type(data).__name__} is no source of activations; give a path, an array, "
                "shards, a factory batches(cursor) or an iterator of [B, D] tensors"
            )


def checked(x_ND: Tensor, rows: np.ndarray, *, where: str = "") -> Tensor:
    """Return `x_ND` if every value is finite.

    Raises:
        TenfoldError: naming the first bad one of `rows`.
    """
    # One sum is finite only if every entry is, unless huge finite values overflow it.
    if not bool(torch.isfinite(x_ND.sum())) and not bool(torch.isfinite(x_ND).all()):
        bad = int((~torch.isfinite(x_ND)).any(dim=-1).nonzero()[0])
        raise TenfoldError(
            f"{where}row {int(rows[bad])} holds NaN or infinity; remove such rows before training"
        )
    return x_ND
