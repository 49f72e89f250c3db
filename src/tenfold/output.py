"""Results as text: a small readable form, or JSON for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def as_json(result: Any) -> str:
    """Return `result` as JSON; numbers that JSON lacks (nan, inf) become null."""
    return json.dumps(_finite(result), indent=1, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def as_text(result: Any) -> str:
    """Return `result` for a reader: mappings as aligned lines, lists of mappings as a table.

    >>> print(as_text({"step": 3, "loss": {"mean": 0.5}}))
    step  3
    loss
      mean  0.5
    """
    if result is None:
        return ""
    if isinstance(result, Mapping):
        return "\n".join(_pairs(result))
    if _is_table(result):
        return "\n".join(_table(result))
    return _cell(result)


def _pairs(pairs: Mapping[Any, Any], indent: str = "") -> list[str]:
    flat = [str(name) for name, value in pairs.items() if not _is_block(value)]
    width = max(map(len, flat), default=0)
    lines: list[str] = []
    for name, value in pairs.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}", *_pairs(value, indent + "  ")]
        elif _is_table(value):
            lines += [f"{indent}{name}", *(f"{indent}  {line}" for line in _table(value))]
        else:
            lines.append(f"{indent}{name!s:<{width}}  {_cell(value)}".rstrip())
    return lines


def _is_block(value: Any) -> bool:
    return (isinstance(value, Mapping) and bool(value)) or _is_table(value)


def _is_table(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and bool(value)
    return is_list and all(isinstance(row, Mapping) for row in value)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cell(value: Any) -> str:
    if value in (None, "", {}, [], ()):
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " ".join(map(_cell, value))
    return str(value)
