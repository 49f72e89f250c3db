"""Arrays in scripts: how data reach a page that is opened from disk, where nothing is fetched.

A bundle is `tenfold("name","...")` with the base64 of a zlib stream of

    4 bytes   length of the head
    head      JSON: {"facts": ..., "arrays": [[name, type, shape, offset], ...]}
    arrays    little-endian, each at a multiple of 8 bytes after the head's end

`assets/load.js` reads it.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tenfold.engine import files
from tenfold.engine.config import Json

_TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8")
_ALIGN = 8
_LEVEL = 6


def write_bundle(
    folder: Path, name: str, *, facts: Json | None = None, arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a bundle as `folder/name.js`."""
    text = base64.b64encode(zlib.compress(pack(facts or {}, arrays), _LEVEL)).decode()
    path = folder / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, f'tenfold("{name}","{text}");\n')


def pack(facts: Json, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return facts and arrays as bytes."""
    listed, blocks, offset = [], [], 0
    for name, array in arrays.items():
        kind = array.dtype.str.lstrip("<>|=")
        assert kind in _TYPES, f"array {name!r} is {array.dtype}; a page reads {_TYPES}"
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        listed.append([name, kind, list(array.shape), offset])
        blocks += [data, bytes(-len(data) % _ALIGN)]
        offset += len(data) + -len(data) % _ALIGN
    head = json.dumps(
        {"facts": facts, "arrays": listed}, ensure_ascii=True, allow_nan=False, sort_keys=True
    ).encode()
    head += b" " * (-(len(head) + 4) % _ALIGN)
    return b"".join([struct.pack("<I", len(head)), head, *blocks])


def smallest(values: np.ndarray) -> np.ndarray:
    """Return whole numbers from 0 on in the smallest type that holds them."""
    most = int(values.max(initial=0))
    assert int(values.min(initial=0)) >= 0, "a bundle's numbers of this kind start at 0"
    for kind in (np.uint8, np.uint16):
        if most <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.uint32)


def shares(values: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Return numbers between -scale and scale as 16-bit parts of it."""
    safe = np.where(np.asarray(scale) > 0, scale, 1.0)
    return np.round(np.clip(values / safe, -1, 1) * 32_767).astype(np.int16)
