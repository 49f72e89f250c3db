"""Instances as arrays on disk, for stores: read in milliseconds, names and all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy import sparse

from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_bytes
from tenfold.parts.mip.instance import Mip

KEY = "tenfold instance"
SCHEMA = 1
_ARRAYS = ("cost", "lower", "upper", "kinds", "left", "right")


def save_mip(mip: Mip, path: Path) -> None:
    """Write an instance as a safetensors file."""
    arrays = {name: np.ascontiguousarray(getattr(mip, name)) for name in _ARRAYS}
    table = mip.matrix
    arrays |= {
        "starts": table.indptr.astype(np.int64),
        "places": table.indices.astype(np.int32),
        "entries": table.data,
        "columns": _packed(mip.columns),
        "rows": _packed(mip.rows),
    }
    told = {"schema": SCHEMA, "name": mip.name, "sense": mip.sense, "offset": mip.offset.hex()}
    write_bytes(path, save(arrays, metadata={KEY: json.dumps(told)}))


def load_mip(path: Path) -> Mip:
    """Read an instance that `save_mip` wrote.

    Raises:
        TenfoldError: if the file is none, or of a later version.
    """
    try:
        with safe_open(path, framework="numpy") as held:
            header = (held.metadata() or {}).get(KEY)
            arrays: dict[str, Any] = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TenfoldError(f"{path} cannot be read as an instance ({error})") from None
    if header is None:
        raise TenfoldError(f"{path} holds no instance; collect it again")
    told = json.loads(header)
    if told["schema"] != SCHEMA:
        raise TenfoldError(f"{path} has schema {told['schema']}, this is {SCHEMA}; update")
    shape = (len(arrays["left"]), len(arrays["cost"]))
    table = sparse.csr_array(
        (arrays["entries"], arrays["places"], arrays["starts"].astype(np.int32)), shape=shape
    )
    return Mip(
        name=told["name"],
        sense=told["sense"],
        offset=float.fromhex(told["offset"]),
        matrix=table,
        columns=_unpacked(arrays["columns"]),
        rows=_unpacked(arrays["rows"]),
        **{name: arrays[name] for name in _ARRAYS},
    )


def _packed(names: tuple[str, ...]) -> Any:
    # JSON, because a name may hold any character.
    return np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)


def _unpacked(text: Any) -> tuple[str, ...]:
    return tuple(json.loads(text.tobytes()))
