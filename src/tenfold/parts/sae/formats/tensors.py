"""Named arrays in and out of .npz, .safetensors and .json files, with faults that name the file."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.formats.arrays import Array

BROKEN = (SafetensorError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what broken files raise into a fault that names `path`."""
    try:
        yield
    except FileNotFoundError:
        raise TenfoldError(f"{path} does not exist; check the path") from None
    except BROKEN as error:
        raise TenfoldError(
            f"{path} is truncated or corrupt ({first_line(error)}); fetch or write it again"
        ) from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, cut to 120 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def read_npz(path: Path) -> dict[str, Array]:
    """Read every array of an .npz file as float32; pickled objects are refused."""
    with reading(path), path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it holds one array without a name")
        return {name: np.asarray(found[name], np.float32) for name in found.files}


def read_safetensors(path: Path) -> dict[str, Array]:
    """Read every tensor of a .safetensors file as float32, bfloat16 included."""
    from safetensors.torch import load_file  # NumPy has no bfloat16

    with reading(path):
        return {name: tensor.float().numpy().copy() for name, tensor in load_file(path).items()}


def read_config(path: Path) -> Json:
    """Read a JSON object.

    Raises:
        TenfoldError: if the file is missing, broken or holds something else.
    """
    data: Any = files.read_json(path)
    if not isinstance(data, dict):
        raise TenfoldError(f"{path} holds a {type(data).__name__}, not a JSON object; mend it")
    return data


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as an uncompressed .npz file."""
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **_contiguous(arrays))


def write_safetensors(
    path: Path, arrays: Mapping[str, Array], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays, and texts by name as `metadata`, as a .safetensors file."""
    with files.replacing(path) as temporary:
        save_file(_contiguous(arrays), temporary, metadata=dict(metadata or {}) or None)


def _contiguous(arrays: Mapping[str, Array]) -> dict[str, Any]:
    # safetensors writes the memory behind an array, so that a transposed view would be scrambled
    return {name: np.array(array, np.float32, order="C") for name, array in arrays.items()}


def take(found: Mapping[str, Array], *names: str, where: Path) -> Array:
    """Return the first of `names` (spellings of one array) that was `found` in a file.

    Raises:
        TenfoldError: naming what is missing and what the file holds.
    """
    for name in names:
        if name in found:
            return found[name]
    spelled = " or ".join(repr(name) for name in dict.fromkeys(names))
    raise TenfoldError(
        f"{where} has no {spelled}; it holds {', '.join(sorted(found)) or 'nothing'}"
    )


def refuse(found: Mapping[str, object], *, reasons: Mapping[str, str], where: Path) -> None:
    """Raise if a file holds one of the named arrays or options that cannot be carried.

    Args:
        found: arrays or options by name; false, None and absent options pass.
        reasons: name -> what it is.
        where: the file to name in the message.
    """
    for name, reason in reasons.items():
        value = found.get(name)
        if isinstance(value, np.ndarray) or value:
            raise TenfoldError(
                f"{where}: {name!r} ({reason}) is not supported; only plain autoencoders are read"
            )
