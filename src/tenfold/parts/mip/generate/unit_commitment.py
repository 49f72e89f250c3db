"""Unit commitment: which power plants run when (Knueven, Ostrowski, Watson 2018, pglib-uc).

`System` holds the data of one day, `read_system` reads the JSON files of pglib-uc, `draw_system`
draws fleets of our own, and `unit_commitment` writes the three-binary model: u (on), v (starts),
w (stops), with start costs by time off and piecewise linear production costs.
"""

from __future__ import annotations

import gzip
import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.generate.builder import NOTHING, Block, Builder
from tenfold.parts.mip.instance import Floats, Mip

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class System:
    """G thermal and W renewable units over T hours; power in MW, cost in dollars."""

    name: str
    demand: Floats
    """[T]."""
    reserve: Floats
    """[T], spinning reserve."""
    least: Floats
    """[G], output while on."""
    most: Floats
    """[G]."""
    ramp_up: Floats
    """[G], MW an hour while on."""
    ramp_down: Floats
    """[G]."""
    ramp_start: Floats
    """[G], most output in the hour of a start."""
    ramp_stop: Floats
    """[G], most output in the hour before a stop."""
    hours_up: Ints
    """[G], least hours on."""
    hours_down: Ints
    """[G], least hours off."""
    on_before: NDArray[np.bool_]
    """[G], on in the hour before the first."""
    power_before: Floats
    """[G], output in that hour."""
    time_before: Ints
    """[G], hours it has been on or off by then."""
    must_run: NDArray[np.bool_]
    """[G]."""
    starts: tuple[tuple[tuple[int, float], ...], ...]
    """G lists of (hours off from which on it holds, cost of a start), ascending."""
    pieces: tuple[tuple[tuple[float, float], ...], ...]
    """G lists of (MW, cost an hour) at the break points from `least` to `most`."""
    wind_least: Floats
    """[W, T], of renewable units."""
    wind_most: Floats
    """[W, T]."""

    @property
    def hours(self) -> int:
        """T."""
        return len(self.demand)


def first_hours(system: System, hours: int) -> System:
    """Return the system's first hours only."""
    if not 1 <= hours <= system.hours:
        raise TenfoldError(f"{system.name} has {system.hours} hours, not {hours}; ask for fewer")
    return replace(
        system,
        demand=system.demand[:hours],
        reserve=system.reserve[:hours],
        wind_least=system.wind_least[:, :hours],
        wind_most=system.wind_most[:, :hours],
    )


# Reading


def read_system(path: Path, *, hours: int = 0) -> System:
    """Read a day from a JSON file of pglib-uc, or such a file with .gz.

    Args:
        path: of the file.
        hours: the first so many only; 0: all.

    Raises:
        TenfoldError: naming what is missing or does not fit.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        data = json.loads(raw)
        system = _system(path.name.split(".")[0], data)
    except (OSError, EOFError, ValueError) as error:
        raise TenfoldError(f"{path} cannot be read as unit commitment data ({error})") from None
    except KeyError as error:
        raise TenfoldError(f"{path} lacks {error}, which pglib-uc files have") from None
    return first_hours(system, hours) if hours else system


def _system(name: str, data: dict[str, Any]) -> System:
    units = list(data["thermal_generators"].values())
    winds = list(data["renewable_generators"].values())
    hours = int(data["time_periods"])

    def floats(key: str) -> Floats:
        return np.array([float(unit[key]) for unit in units])

    def ints(key: str) -> Ints:
        return np.array([int(unit[key]) for unit in units], dtype=np.int64)

    def hourly(key: str) -> Floats:
        # Some systems have no renewables at all.
        table = [np.array(wind[key], dtype=np.float64)[:hours] for wind in winds]
        return np.array(table, dtype=np.float64).reshape(len(winds), hours)

    on = ints("unit_on_t0").astype(bool)
    series = {key: np.array(data[key], dtype=np.float64) for key in ("demand", "reserves")}
    for key, values in series.items():
        if values.shape != (hours,):
            raise ValueError(f"{key} has {values.size} values for {hours} hours")
    return System(
        name=name,
        demand=series["demand"],
        reserve=series["reserves"],
        least=floats("power_output_minimum"),
        most=floats("power_output_maximum"),
        ramp_up=floats("ramp_up_limit"),
        ramp_down=floats("ramp_down_limit"),
        ramp_start=floats("ramp_startup_limit"),
        ramp_stop=floats("ramp_shutdown_limit"),
        hours_up=ints("time_up_minimum"),
        hours_down=ints("time_down_minimum"),
        on_before=on,
        power_before=floats("power_output_t0"),
        time_before=np.where(on, ints("time_up_t0"), ints("time_down_t0")),
        must_run=ints("must_run").astype(bool),
        starts=tuple(
            tuple((int(step["lag"]), float(step["cost"])) for step in unit["startup"])
            for unit in units
        ),
        pieces=tuple(
            tuple((float(p["mw"]), float(p["cost"])) for p in unit["piecewise_production"])
            for unit in units
        ),
        wind_least=hourly("power_output_minimum"),
        wind_most=hourly("power_output_maximum"),
    )


# Drawing


@dataclass(frozen=True, slots=True)
class _Type:
    """Ranges from which a unit of one type is drawn."""

    share: float
    capacity: tuple[float, float]
    least: tuple[float, float]
    up: tuple[int, int]
    down: tuple[int, int]
    price: tuple[float, float]
    cold: tuple[float, float]
    hot: tuple[float, float]
    ramp: tuple[float, float]


_TYPES = (
    _Type(.15, (300, 600), (.40, .55), (8, 16), (8, 12), (18, 26), (60, 110), (.4, .6), (.15, .35)),
    _Type(.40, (150, 400), (.35, .50), (4, 8), (3, 6), (26, 40), (40, 90), (.4, .6), (.3, .6)),
    _Type(.20, (60, 160), (.30, .45), (3, 6), (3, 6), (38, 55), (30, 70), (.4, .6), (.3, .7)),
    _Type(.25, (20, 80), (.30, .60), (1, 2), (1, 2), (55, 95), (10, 35), (.8, 1.0), (1.0, 1.0)),
)  # fmt: skip
"""Large steam units, combined cycle, mid-size, and quick turbines; the last kind starts at once."""
_SLOPES = (0.95, 1.0, 1.08)
_OUTAGE = 0.03


def draw_system(*, units: int, hours: int, seed: int) -> System:
    """Draw a fleet and a day: a new fleet for every seed.

    Load has humps at 9:30 and 19:00 and takes .70 to .85 of the capacity at its peak; wind is a
    logistic of smooth noise at a quarter of the capacity, sun a tenth; the reserve is 3 % of the
    load; 3 % of the units are out.
    """
    draw = rng.stream(seed, "unit commitment", units, hours)
    shares = np.array([kind.share for kind in _TYPES])
    counts = np.floor(shares * units).astype(int)
    counts[1] += units - counts.sum()
    drawn = [_unit(draw, kind) for kind, count in zip(_TYPES, counts, strict=True)
             for _ in range(count)]  # fmt: skip
    there = draw.random(units) >= _OUTAGE
    drawn = [unit for unit, works in zip(drawn, there, strict=True) if works]
    most = np.array([unit["most"] for unit in drawn])
    capacity = float(most.sum())
    load = _load(draw, hours) * capacity * draw.uniform(0.70, 0.85)
    least = np.array([unit["least"] for unit in drawn])
    price = np.array([unit["price"] for unit in drawn])
    wind = _wind(draw, hours, capacity)
    on = _cheapest_first(price, most, float(load[0] - wind[:, 0].sum()))
    before: Floats = np.where(on, least + 0.5 * (most - least), 0.0).astype(np.float64)
    up = np.array([unit["up"] for unit in drawn])
    down = np.array([unit["down"] for unit in drawn])
    ramp = np.array([unit["ramp"] for unit in drawn])
    return System(
        name=f"units-{units}x{hours}-{seed}",
        demand=np.round(load, 3),
        reserve=np.round(0.03 * load, 3),
        least=least,
        most=most,
        ramp_up=ramp,
        ramp_down=ramp,
        ramp_start=np.maximum(least, ramp),
        ramp_stop=np.maximum(least, ramp),
        hours_up=up,
        hours_down=down,
        on_before=on,
        power_before=np.round(before, 3),
        time_before=np.where(on, up, down) + draw.integers(0, 12, len(drawn)),
        must_run=np.zeros(len(drawn), dtype=bool),
        starts=tuple(unit["starts"] for unit in drawn),
        pieces=tuple(unit["pieces"] for unit in drawn),
        wind_least=np.zeros_like(wind),
        wind_most=np.round(wind, 3),
    )


def _unit(draw: np.random.Generator, kind: _Type) -> dict[str, Any]:
    most = round(draw.uniform(*kind.capacity), 1)
    least = round(most * draw.uniform(*kind.least), 1)
    price = draw.uniform(*kind.price)
    idle = price * least * draw.uniform(1.0, 1.5)
    points = [(least, round(idle, 2))]
    for slope in _SLOPES:
        mw, cost = points[-1]
        step = (most - least) / len(_SLOPES)
        points.append((round(mw + step, 4), round(cost + price * slope * step, 2)))
    down = int(draw.integers(kind.down[0], kind.down[1] + 1))
    cold = draw.uniform(*kind.cold) * most
    hot = cold * draw.uniform(*kind.hot)
    return {
        "most": points[-1][0],
        "least": least,
        "price": price,
        "up": int(draw.integers(kind.up[0], kind.up[1] + 1)),
        "down": down,
        "ramp": round((most - least) * draw.uniform(*kind.ramp), 2),
        "starts": ((down, round(hot, 2)), (2 * down + 2, round(cold, 2))),
        "pieces": tuple(points),
    }


def smooth(draw: np.random.Generator, hours: int, keep: float) -> Floats:
    """Draw noise of mean 0 and spread 1 that changes slowly."""
    noise = draw.standard_normal(hours)
    for hour in range(1, hours):
        noise[hour] = keep * noise[hour - 1] + np.sqrt(1 - keep**2) * noise[hour]
    return noise


def _load(draw: np.random.Generator, hours: int) -> Floats:
    clock = np.arange(hours) % 24 + 0.5
    shape = 0.62 + 0.25 * np.exp(-(((clock - 9.5) / 3.5) ** 2))
    shape += 0.38 * np.exp(-(((clock - 19.0) / 3.0) ** 2))
    noisy = shape * (1 + 0.03 * smooth(draw, hours, 0.8))
    return np.asarray(noisy / noisy.max())


def _wind(draw: np.random.Generator, hours: int, capacity: float) -> Floats:
    level = draw.normal(-0.8, 0.5)
    wind = 0.25 * capacity / (1 + np.exp(-(level + smooth(draw, hours, 0.9))))
    clock = np.arange(hours) % 24 + 0.5
    sun = np.maximum(0.0, np.sin((clock - 6) / 12 * np.pi)) * (clock > 6) * (clock < 18)
    return np.stack([wind, 0.10 * capacity * sun * draw.uniform(0.4, 1.0)])


def _cheapest_first(price: Floats, most: Floats, load: float) -> NDArray[np.bool_]:
    """Return which units are on when the cheapest carry a load with a tenth to spare."""
    order = np.argsort(price, kind="stable")
    filled = np.cumsum(most[order])
    on = np.zeros(len(price), dtype=bool)
    on[order[: int(np.searchsorted(filled, 1.1 * load)) + 1]] = True
    return on


# The model


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Columns:
    """Where the columns of a model are: [G, T] each."""

    on: Block
    start: Block
    stop: Block


def unit_commitment(system: System) -> Mip:
    """Write the three-binary model of a system."""
    return model_of(system)[0]


def model_of(system: System) -> tuple[Mip, Columns]:
    """Write the model; return it with the places of its binary columns."""
    count, hours = len(system.most), system.hours
    problem = Builder(system.name)
    span = (system.most - system.least)[:, None]
    idle = np.array([pieces[0][1] for pieces in system.pieces])[:, None]
    on = problem.binary("on", (count, hours), cost=idle)
    start = problem.binary("start", (count, hours))
    stop = problem.binary("stop", (count, hours))
    power = problem.add("power", (count, hours), upper=span)
    spare = problem.add("spare", (count, hours), upper=span)
    wind = problem.add(
        "wind", system.wind_most.shape, lower=system.wind_least, upper=system.wind_most
    )
    _balance(problem, system, on, power, spare, wind)
    _switching(problem, system, on, start, stop)
    _minimum_times(problem, system, on, start, stop)
    _limits(problem, system, on, start, stop, power, spare)
    _ramps(problem, system, power, spare)
    _start_costs(problem, system, start, stop)
    _production_costs(problem, system, on, power)
    return problem.build(), Columns(on=on, start=start, stop=stop)


def _balance(
    problem: Builder, system: System, on: Block, power: Block, spare: Block, wind: Block
) -> None:
    """Demand is met, above minimum outputs and with wind; spare power covers the reserve."""
    columns = np.concatenate([power, on, wind]).T
    values = np.concatenate([
        np.ones(len(power)), system.least, np.ones(len(wind))
    ])  # fmt: skip
    problem.rows(
        "demand", (columns, values), left=system.demand, right=system.demand, sums=1
    )  # fmt: skip
    problem.rows("reserve", (spare.T, 1.0), left=system.reserve, sums=1)


def _before(block: Block) -> Block:
    """Return the columns of the hour before; none for the first hour."""
    return np.concatenate([np.full_like(block[:, :1], NOTHING), block[:, :-1]], axis=1)


def _after(block: Block) -> Block:
    """Return the columns of the hour after; none for the last hour."""
    return np.concatenate([block[:, 1:], np.full_like(block[:, :1], NOTHING)], axis=1)


def _first(values: Floats, hours: int) -> Floats:
    """Return values that stand in the first hour only, [G, T]."""
    table = np.zeros((len(values), hours))
    table[:, 0] = values
    return table


def _switching(problem: Builder, system: System, on: Block, start: Block, stop: Block) -> None:
    """on(t) - on(t-1) = start(t) - stop(t); units that must run do."""
    before = _first(system.on_before.astype(np.float64), system.hours)
    problem.rows("switch", (on, 1.0), (_before(on), -1.0), (start, -1.0), (stop, 1.0),
                 left=before, right=before)  # fmt: skip
    if system.must_run.any():
        problem.rows("must", (on[system.must_run], 1.0), left=1.0)


def _minimum_times(problem: Builder, system: System, on: Block, start: Block, stop: Block) -> None:
    """A unit that started or stopped within its minimum time is still on or off."""
    hours = system.hours
    for unit in range(len(on)):
        for name, switched, least, sign in (
            ("up", start, system.hours_up, -1.0),
            ("down", stop, system.hours_down, 1.0),
        ):
            wide = int(min(max(least[unit], 1), hours))
            windows = np.lib.stride_tricks.sliding_window_view(switched[unit], wide)
            # start's sum <= on;  stop's sum <= 1 - on
            problem.rows(f"{name}_{unit}", (windows, 1.0), (on[unit, wide - 1 :, None], sign),
                         right=0.0 if sign < 0 else 1.0, sums=1)  # fmt: skip
        kept = system.on_before[unit]
        need = system.hours_up[unit] if kept else system.hours_down[unit]
        left = int(np.clip(need - system.time_before[unit], 0, hours))
        if left:
            value = float(left) if kept else 0.0
            problem.rows(f"before_{unit}", (on[unit, :left], 1.0), left=value, right=value, sums=1)


def _limits(
    problem: Builder, system: System, on: Block, start: Block, stop: Block, power: Block,
    spare: Block,
) -> None:  # fmt: skip
    """Output and spare power stay below the maximum, and lower around starts and stops."""
    span = (system.most - system.least)[:, None]
    low = np.maximum(system.most - system.ramp_start, 0)[:, None]
    end = np.maximum(system.most - system.ramp_stop, 0)[:, None]
    problem.rows("rise", (power, 1.0), (spare, 1.0), (on, -span), (start, low), right=0.0)
    problem.rows("fall", (power, 1.0), (spare, 1.0), (on, -span), (_after(stop), end), right=0.0)
    # A unit above its stop limit before the first hour cannot stop in it.
    above = np.where(system.on_before, system.power_before - system.least, 0.0)
    room = np.where(system.on_before, system.most - system.least, 0.0) - above
    bound = system.on_before & (end[:, 0] > 0)
    if bound.any():
        problem.rows("fall_first", (stop[bound, 0], end[bound, 0]), right=room[bound])


def _ramps(problem: Builder, system: System, power: Block, spare: Block) -> None:
    """Output changes by no more than the ramps allow."""
    above = np.where(system.on_before, system.power_before - system.least, 0.0)
    first = _first(above, system.hours)
    problem.rows("ramp_up", (power, 1.0), (spare, 1.0), (_before(power), -1.0),
                 right=system.ramp_up[:, None] + first)  # fmt: skip
    problem.rows("ramp_down", (_before(power), 1.0), (power, -1.0),
                 right=system.ramp_down[:, None] - first)  # fmt: skip


def _start_costs(problem: Builder, system: System, start: Block, stop: Block) -> None:
    """A start costs what its time off says; a cheap start needs a stop not long ago."""
    hours = system.hours
    for unit, steps in enumerate(system.starts):
        costs = np.array([cost for _, cost in steps])
        chosen = problem.add(f"kind_{unit}", (hours, len(steps)), cost=costs, upper=1.0)
        problem.rows(f"kinds_{unit}", (chosen, 1.0), (start[unit, :, None], -1.0),
                     left=0.0, right=0.0, sums=1)  # fmt: skip
        off = 0 if system.on_before[unit] else int(system.time_before[unit])
        for number, ((lag, _), (after, _)) in enumerate(itertools.pairwise(steps)):
            for hour in range(hours):
                stops = [stop[unit, hour - back] for back in range(lag, after) if hour >= back]
                # Off since before the first hour: as long as that lies within the span.
                waited = off + hour
                if not system.on_before[unit] and lag <= waited < after:
                    continue
                terms = [(chosen[hour, number].reshape(1), 1.0)]
                if stops:
                    terms.append((np.array(stops), -1.0))
                columns = np.concatenate([block for block, _ in terms])
                values = np.concatenate([np.full(len(block), v) for block, v in terms])
                problem.rows(f"lag_{unit}_{number}_{hour}", (columns, values), right=0.0, sums=1)


def _production_costs(problem: Builder, system: System, on: Block, power: Block) -> None:
    """Output above the minimum is a mean of break points, which cost what they cost."""
    hours = system.hours
    for unit, points in enumerate(system.pieces):
        mw, cost = np.array(points).T
        weights = problem.add(f"piece_{unit}", (hours, len(points)), cost=cost - cost[0], upper=1.0)
        problem.rows(f"output_{unit}", (weights, mw - mw[0]), (power[unit, :, None], -1.0),
                     left=0.0, right=0.0, sums=1)  # fmt: skip
        problem.rows(f"mean_{unit}", (weights, 1.0), (on[unit, :, None], -1.0),
                     left=0.0, right=0.0, sums=1)  # fmt: skip
