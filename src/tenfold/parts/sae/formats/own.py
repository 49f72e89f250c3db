"""Tenfold's own file, `dictionary.safetensors`: every kind as it is, with its facts inside.

One file, so that arrays and facts cannot part. The facts are JSON in the file's metadata under
"tenfold": `schema`, `kind` and `values`. Nothing is folded or converted: scale, pre-encoder
bias, k and prefixes come back as they were.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from safetensors import safe_open

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.parts.sae.formats.arrays import Arrays, Kind, check
from tenfold.parts.sae.formats.tensors import read_safetensors, reading, write_safetensors

SCHEMA = 1
KEY = "tenfold"


def read(path: Path) -> Arrays:
    """Read `dictionary.safetensors`."""
    arrays, facts = read_safetensors(path), _facts(path)
    if facts.get("schema") != SCHEMA:
        raise TenfoldError(
            f"{path} has schema {facts.get('schema')!r}, this version reads {SCHEMA}; "
            "update tenfold or write the file again"
        )
    kinds: dict[str, Kind] = {name: name for name in get_args(Kind)}
    name = str(facts.get("kind"))
    if name not in kinds:
        raise unknown_name(f"dictionary kind in {path}", name, kinds)
    values = {"format": "tenfold"} | (facts.get("values") or {})
    return check(Arrays(kind=kinds[name], arrays=arrays, values=values), where=str(path))


def write(path: Path, dictionary: Arrays) -> None:
    """Write `dictionary.safetensors`."""
    values = {name: value for name, value in dictionary.values.items() if name != "format"}
    facts = {"schema": SCHEMA, "kind": dictionary.kind, "values": values}
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    write_safetensors(path, dictionary.arrays, metadata={KEY: text})


def _facts(path: Path) -> Json:
    with reading(path), safe_open(path, framework="np") as file:
        text = (file.metadata() or {}).get(KEY, "")
    try:
        facts = json.loads(text)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise TenfoldError(
            f"{path} holds no facts under {KEY!r} in its metadata; it was not written by tenfold"
        )
    return facts
