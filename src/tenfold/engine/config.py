"""Configs as data: frozen dataclasses to strict JSON and back, with their differences.

A config is a frozen, keyword-only dataclass of facts. In JSON every dataclass carries its
class name under "kind", so that a union decodes without guessing; unknown keys, wrong types
and wrong `Literal` values are errors that name the path.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union

from tenfold.engine.errors import TenfoldError, unknown_name

Json = dict[str, Any]
Migration = Callable[[Json], Json]
T = TypeVar("T")

KIND = "kind"


def free(default: Any) -> Any:
    """Declare a field that a resumed run may change, because it cannot alter the result."""
    return dataclasses.field(default=default, metadata={"resume": "free"})


def encode(config: Any) -> Any:
    """Turn a config into plain JSON values, every dataclass tagged with its kind."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        assert not hasattr(config, KIND), f"{type(config).__name__} has a field named {KIND!r}"
        fields = {f.name: encode(getattr(config, f.name)) for f in dataclasses.fields(config)}
        return {KIND: type(config).__name__} | fields
    if isinstance(config, Mapping):
        return {str(name): encode(value) for name, value in config.items()}
    if isinstance(config, tuple | list):
        return [encode(value) for value in config]
    if isinstance(config, float) and not math.isfinite(config):
        # JSON has no number for it; null would not come back as one.
        return str(config)
    if config is None or isinstance(config, bool | int | float | str):
        return config
    raise TypeError(f"a config holds facts, not {type(config).__name__}: {config!r}")


def decode(cls: type[T], data: Any, *, path: str = "config") -> T:
    """Build a `cls` from what `encode` returned.

    Raises:
        TenfoldError: naming the path, the value and what would be right.
    """
    return typing.cast(T, _decode(cls, data, path))


def _decode(hint: Any, data: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _decode(args[0], data, path)
    if origin in (Union, types.UnionType):
        return _decode_union(args, data, path)
    if origin is Literal:
        if data not in args:
            raise TenfoldError(f"{path}: {data!r} is not one of {list(args)}")
        return data
    if origin is tuple:
        return _decode_tuple(args, data, path)
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(hint, data, path)
    return _decode_scalar(hint, data, path)


_NOT_FINITE = ("inf", "-inf", "nan")


def _decode_scalar(hint: Any, data: Any, path: str) -> Any:
    if hint is float and (type(data) is int or data in _NOT_FINITE):
        return float(data)
    if hint is Any or (hint is type(None) and data is None) or type(data) is hint:
        return data
    wanted = getattr(hint, "__name__", str(hint))
    raise TenfoldError(f"{path}: {data!r} is {type(data).__name__}, wanted {wanted}")


def _decode_tuple(args: tuple[Any, ...], data: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise TenfoldError(f"{path}: {data!r} is {type(data).__name__}, wanted a list")
    kinds = args[:1] * len(data) if len(args) == 2 and args[1] is Ellipsis else args
    if len(kinds) != len(data):
        raise TenfoldError(f"{path}: {len(data)} values, wanted {len(kinds)}")
    return tuple(
        _decode(kind, value, f"{path}[{i}]")
        for i, (kind, value) in enumerate(zip(kinds, data, strict=True))
    )


def _decode_union(options: tuple[Any, ...], data: Any, path: str) -> Any:
    if data is None and type(None) in options:
        return None
    options = tuple(
        typing.get_args(option)[0] if typing.get_origin(option) is typing.Annotated else option
        for option in options
    )
    classes = {
        c.__name__: c for c in options if isinstance(c, type) and dataclasses.is_dataclass(c)
    }
    if isinstance(data, dict) and classes:
        kind = data.get(KIND)
        if kind not in classes:
            raise unknown_name(f"kind at {path}", str(kind), classes)
        return _decode(classes[str(kind)], data, path)
    scalars = [o for o in options if o is not type(None) and not dataclasses.is_dataclass(o)]
    for option in scalars:
        try:
            return _decode(option, data, path)
        except TenfoldError:
            continue
    names = [getattr(option, "__name__", str(option)) for option in options]
    raise TenfoldError(f"{path}: {data!r} fits none of {names}")


def _decode_dataclass(cls: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise TenfoldError(f"{path}: {data!r} is {type(data).__name__}, wanted {cls.__name__}")
    kind = data.get(KIND, cls.__name__)
    if kind != cls.__name__:
        raise TenfoldError(f"{path}: kind {kind!r} does not fit {cls.__name__!r}")
    hints = typing.get_type_hints(cls, include_extras=True)
    known = [f.name for f in dataclasses.fields(cls)]
    unknown = sorted(set(data) - set(known) - {KIND})
    if unknown:
        raise TenfoldError(f"{path}: unknown {unknown}; known {known}")
    values = {
        name: _decode(hints[name], data[name], f"{path}.{name}") for name in known if name in data
    }
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise TenfoldError(f"{path}: {error}") from None


def migrate(data: Json, schema: int, *, current: int, steps: Mapping[int, Migration]) -> Json:
    """Bring a config saved under `schema` to `current`; `steps[n]` leads from n to n + 1.

    Raises:
        TenfoldError: if the config is newer than this program or a step is missing.
    """
    if schema > current:
        raise TenfoldError(
            f"config has schema {schema}, this version reads up to {current}; update tenfold"
        )
    for number in range(schema, current):
        if number not in steps:
            raise TenfoldError(f"no migration leads from config schema {number} to {number + 1}")
        data = steps[number](data)
    return data


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One field that differs between two configs; absent values are None."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.before!r} -> {self.after!r}"


def diff(before: Any, after: Any) -> list[Change]:
    """List the fields in which two configs (or their encoded forms) differ."""
    return _diff(encode(before), encode(after), "")


def _diff(before: Any, after: Any, path: str) -> list[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = list(before) + [name for name in after if name not in before]
        return [
            change
            for name in names
            for change in _diff(before.get(name), after.get(name), f"{path}.{name}".lstrip("."))
        ]
    return [] if before == after else [Change(path=path, before=before, after=after)]


def binding_changes(before: Any, after: Any) -> list[Change]:
    """List the differences that are not in fields declared `free`."""
    loose = _free_paths(before) | _free_paths(after)
    return [change for change in diff(before, after) if change.path not in loose]


def _free_paths(config: Any, prefix: str = "") -> set[str]:
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return set()
    paths = set()
    for field in dataclasses.fields(config):
        path = f"{prefix}{field.name}"
        if field.metadata.get("resume") == "free":
            paths.add(path)
        paths |= _free_paths(getattr(config, field.name), f"{path}.")
    return paths


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that identify a config or any JSON value."""
    text = json.dumps(encode(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
