"""Checkpoints: the whole state of a run as tensors and plain values, checked when read.

A checkpoint is a folder named by the number of steps done, with `tensors.safetensors`,
`state.json` and `DONE`, which holds the SHA-256 of the other two. It is written beside and
renamed, so a kill at any byte leaves the previous one in force.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

TENSORS, STATE, DONE, LATEST = "tensors.safetensors", "state.json", "DONE", "latest"
SCHEMA = 1

_log = logging.getLogger("tenfold.checkpoint")


class Checkpointable(Protocol):
    """What can be saved in the middle of a run and go on exactly."""

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything that later steps depend on; a pure read, nothing moves."""

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned, perhaps in another process."""


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """How often a checkpoint is saved; it never alters the result."""

    every_steps: int = 0
    """Steps between checkpoints; 0 = not by steps."""
    every_seconds: float = 60.0
    """Seconds between checkpoints; 0 = not by time."""

    def __post_init__(self) -> None:
        if self.every_steps < 0 or self.every_seconds < 0:
            raise ValueError(
                f"a checkpoint every {self.every_steps} steps or {self.every_seconds} seconds "
                "is in the past; give 0 (never) or more"
            )


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Which checkpoints stay on disk."""

    last: int = 2
    """Newest ones kept, so that a damaged one costs no more than a stretch of steps."""
    every_steps: int = 0
    """Each one whose number is a multiple of this stays for ever; 0 = none."""

    def __post_init__(self) -> None:
        if self.last < 1 or self.every_steps < 0:
            raise ValueError(
                f"keeping the last {self.last} and each {self.every_steps}th checkpoint "
                "leaves nothing to resume from; give last >= 1 and every_steps >= 0"
            )


def is_due(cadence: Cadence, *, step: int, seconds: float) -> bool:
    """Say whether to save at `step`, `seconds` after the last checkpoint."""
    by_steps = cadence.every_steps > 0 and step % cadence.every_steps == 0
    by_time = cadence.every_seconds > 0 and seconds >= cadence.every_seconds
    return by_steps or by_time


def save(
    folder: Path,
    step: int,
    item: Checkpointable,
    *,
    keep: Keep = Keep(),
    extra: Json | None = None,
) -> Path:
    """Save `item` after `step` steps as `folder/00001200` and drop what `keep` does not keep.

    Args:
        folder: holds all checkpoints of one run; only one process may write in it.
        step: number of steps done.
        item: what to save.
        keep: which older ones stay.
        extra: plain values of the caller, given back by `read_extra`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    temporary = folder / f"{files.TEMPORARY}{secrets.token_hex(4)}"
    temporary.mkdir()
    tensors, values = item.state()
    _write_tensors(temporary / TENSORS, tensors)
    _write_state(temporary / STATE, step=step, values=values, extra=extra or {})
    sums = {name: files.sha256(temporary / name) for name in (TENSORS, STATE)}
    (temporary / DONE).write_text(json.dumps(sums), encoding="utf-8")
    for name in (TENSORS, STATE, DONE, ""):
        files.flush(temporary / name)
    path = folder / f"{step:08d}"
    _remove(path)
    os.rename(temporary, path)
    files.flush(folder)
    files.write_text(folder / LATEST, path.name + "\n")
    _prune(folder, step=step, keep=keep)
    return path


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    # A copy of each: safetensors refuses strides and memory that two names share.
    plain = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    save_file(plain, path)


def _write_state(path: Path, *, step: int, values: Json, extra: Json) -> None:
    data = {"schema": SCHEMA, "step": step, "extra": extra, "values": values}
    assert _is_plain(data), f"state values must be plain JSON with text keys, not {values!r:.200}"
    # Not files.write_json: an infinite "best so far" has to come back as infinite.
    path.write_text(json.dumps(data), encoding="utf-8")


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, bool | int | float | str)


def _numbered(folder: Path) -> list[Path]:
    """List the checkpoint folders, complete or not, newest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _prune(folder: Path, *, step: int, keep: Keep) -> None:
    # Those ahead of `step` were found broken when this session fell back to an older one.
    ahead = [path for path in _numbered(folder) if int(path.name) > step]
    old = [path for path in _numbered(folder) if int(path.name) <= step][keep.last :]
    every = keep.every_steps
    for path in ahead + [p for p in old if not every or int(p.name) % every]:
        _remove(path)


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    for path in folder.glob(f"{files.TEMPORARY}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in _numbered(folder):
        if not (path / DONE).exists():
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a checkpoint, its DONE first, so that half of one never counts."""
    if path.exists():
        (path / DONE).unlink(missing_ok=True)
        shutil.rmtree(path)


def latest(folder: Path) -> tuple[int, Path] | None:
    """Return number and path of the newest complete checkpoint whose bytes are as written.

    A damaged one is passed over with a warning; one that is not finished, silently.
    """
    for path in _numbered(folder):
        if not (path / DONE).exists():
            continue
        fault = _find_fault(path)
        if not fault:
            return int(path.name), path
        _log.warning("checkpoint %s is damaged (%s); the one before it is used", path, fault)
    return None


def _find_fault(path: Path) -> str:
    try:
        sums = files.read_json(path / DONE)
        changed = [name for name in (TENSORS, STATE) if files.sha256(path / name) != sums[name]]
    except (OSError, KeyError, TypeError, TenfoldError) as error:
        return f"{type(error).__name__}: {error}"
    return f"the bytes of {' and '.join(changed)} changed since it was saved" if changed else ""


def load(path: Path, item: Checkpointable, *, map_location: str = "cpu") -> int:
    """Put the state saved at `path` into `item` and return the number of steps done."""
    data = _read_state(path)
    item.load_state(read_tensors(path, map_location=map_location), data["values"])
    return int(data["step"])


def read_tensors(path: Path, *, map_location: str = "cpu") -> dict[str, Tensor]:
    """Return the tensors of the checkpoint at `path`."""
    from safetensors.torch import load_file

    # A copy of each: views of the mapped file start at odd addresses, where vectorised
    # sums may round differently, and they would tie the state to a file that is pruned.
    tensors = load_file(path / TENSORS, device=map_location)
    return {name: tensor.clone() for name, tensor in tensors.items()}


def read_extra(path: Path) -> Json:
    """Return the `extra` values given to `save`."""
    extra: Json = _read_state(path)["extra"]
    return extra


def _read_state(path: Path) -> Json:
    data: Json = files.read_json(path / STATE)
    if data.get("schema") != SCHEMA:
        raise TenfoldError(
            f"{path} has checkpoint schema {data.get('schema')!r}, this version reads {SCHEMA}; "
            "resume it with the version that wrote it"
        )
    return data


def flatten_optimizer(
    optimizer: Optimizer, *, prefix: str = "optim"
) -> tuple[dict[str, Tensor], Json]:
    """Return a torch optimizer's state as tensors `<prefix>/<index>/<slot>` and plain values."""
    saved = optimizer.state_dict()
    slots = {
        f"{prefix}/{index}/{slot}": value
        for index, entry in saved["state"].items()
        for slot, value in entry.items()
    }
    options = {
        f"{prefix}/group{number}/{name}": value
        for number, group in enumerate(saved["param_groups"])
        for name, value in group.items()
    }
    tensors, values = _split(slots | options)
    return tensors, values


def _split(named: dict[str, Any]) -> tuple[dict[str, Tensor], Json]:
    import torch

    tensors = {name: v for name, v in named.items() if isinstance(v, torch.Tensor)}
    return tensors, {name: v for name, v in named.items() if name not in tensors}


def restore_optimizer(
    optimizer: Optimizer, tensors: dict[str, Tensor], values: Json, *, prefix: str = "optim"
) -> None:
    """Put back what `flatten_optimizer` returned; other names in both are left alone."""
    state: dict[int, Json] = {}
    groups: list[Json] = [{} for _ in optimizer.param_groups]
    named = values | {name: tensor.clone() for name, tensor in tensors.items()}
    for name, value in named.items():
        head, _, rest = name.partition(f"{prefix}/")
        if head or not rest:
            continue
        place, slot = rest.split("/", 1)
        if place.startswith("group"):
            groups[int(place.removeprefix("group"))][slot] = value
        else:
            state.setdefault(int(place), {})[slot] = value
    for group, now in zip(groups, optimizer.param_groups, strict=True):
        # JSON has no tuples, and torch compares betas as it was given them.
        group |= {n: tuple(v) for n, v in group.items() if isinstance(now.get(n), tuple)}
    optimizer.load_state_dict({"state": state, "param_groups": groups})
