"""Real days of unit commitment, as they are or varied, so that a few days become a family."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.generate.unit_commitment import (
    System,
    read_system,
    smooth,
    unit_commitment,
)
from tenfold.parts.mip.instance import Mip

SCALE = (0.9, 1.1)
"""Range of the factor of a varied day's load."""
LOAD_NOISE, WIND_NOISE = 0.02, 0.10
"""Spread of the slow noise on load and renewables."""
OUTAGE = 0.03
"""Chance that a thermal unit is out, unless it must run."""
_PER_UNIT = (
    "least", "most", "ramp_up", "ramp_down", "ramp_start", "ramp_stop", "hours_up", "hours_down",
    "on_before", "power_before", "time_before", "must_run", "starts", "pieces",
)  # fmt: skip


def days_in(path: Path) -> tuple[Path, ...]:
    """Return the pglib-uc files that a path names, itself or those in its folders, sorted.

    Raises:
        TenfoldError: if there is none.
    """
    if path.is_file():
        return (path,)
    found = sorted(file for file in path.rglob("*") if file.name.endswith((".json", ".json.gz")))
    if not found:
        raise TenfoldError(f"{path} holds no .json of pglib-uc, with or without .gz")
    return tuple(found)


def make_day(file: Path, *, variation: int, hours: int = 0) -> Mip:
    """Return the model of a day.

    Args:
        file: of pglib-uc.
        variation: 0: the day as it is; else the seed of its variation.
        hours: the first so many only; 0: all.
    """
    system = read_system(file, hours=hours)
    name = file.name.split(".")[0]
    if variation:
        system = vary(system, variation)
    return replace(unit_commitment(system), name=f"{name}-{system.hours}h-{variation}")


def vary(system: System, seed: int) -> System:
    """Return the day with another load, other renewables, and some thermal units out."""
    draw = rng.stream(seed, "varied day", system.name)
    there = (draw.random(len(system.most)) >= OUTAGE) | system.must_run
    factor = draw.uniform(*SCALE) * (1 + LOAD_NOISE * smooth(draw, system.hours, 0.8))
    wind = 1 + WIND_NOISE * smooth(draw, system.hours, 0.8)
    kept: dict[str, Any] = {name: _only(getattr(system, name), there) for name in _PER_UNIT}
    assert {field.name for field in fields(system)} >= set(_PER_UNIT), "a unit's data has moved"
    return replace(
        system,
        name=f"{system.name}-{seed}",
        demand=np.round(system.demand * factor, 3),
        reserve=np.round(system.reserve * factor, 3),
        wind_most=np.maximum(np.round(system.wind_most * wind, 3), system.wind_least),
        **kept,
    )


def _only(values: Any, there: np.ndarray) -> Any:
    if isinstance(values, tuple):
        return tuple(value for value, kept in zip(values, there, strict=True) if kept)
    return values[there]
