"""The plants behind an instance that `parts.mip.generate.unit_commitment` wrote, by its names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.instance import Floats, Mip

Ints = NDArray[np.int64]
FOREVER = 1_000_000
"""Hours off before the first one where the rows say only "long"."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fleet:
    """G plants over T hours, each with P break points of cost and S kinds of start."""

    on: Ints
    """[G, T], numbers of columns."""
    start: Ints
    """[G, T]."""
    stop: Ints
    """[G, T]."""
    demand: Floats
    """[T], MW."""
    reserve: Floats
    """[T], MW."""
    wind: Floats
    """[T], most that renewable units give, MW."""
    mw: Floats
    """[G, P], output at the break points, ascending; the last is repeated if there are fewer."""
    cost: Floats
    """[G, P], dollars an hour there."""
    hours_up: Ints
    """[G]."""
    hours_down: Ints
    """[G]."""
    on_before: NDArray[np.bool_]
    """[G]."""
    held: Ints
    """[G], first hours in which a plant must stay as it was."""
    off_before: Ints
    """[G], hours off before the first; 0 if it was on."""
    lags: Ints
    """[G, S], hours off from which on a kind of start holds; `FOREVER` where there is none."""
    start_cost: Floats
    """[G, S], dollars."""
    must_run: NDArray[np.bool_]
    """[G]."""
    first_output: Floats
    """[G], most output in the hour of a start, MW."""
    ramp_up: Floats
    """[G], MW that output may rise by in an hour."""
    reach: Floats
    """[G], most that a plant which was on before can give in the first hour, MW."""

    @property
    def shape(self) -> tuple[int, int]:
        """G and T."""
        G, T = self.on.shape
        return G, T


def read_fleet(mip: Mip) -> Fleet:
    """Read the plants of an instance.

    Raises:
        TenfoldError: if the instance is no unit commitment, or is not written with our names.
    """
    try:
        return _Reader(mip).fleet()
    except KeyError as error:
        raise TenfoldError(
            f"{mip.name} has no {error}, which unit commitment as this library writes it has; "
            "dive without the hooks"
        ) from None


class _Reader:
    """Columns and rows by name."""

    def __init__(self, mip: Mip) -> None:
        self.mip = mip
        self.column = {name: j for j, name in enumerate(mip.columns)}
        self.row = {name: i for i, name in enumerate(mip.rows)}
        self.units = _count(self.column, "on_{}_0")
        self.hours = _count(self.column, "on_0_{}")
        if not self.units:
            raise KeyError("column 'on_0_0'")

    def fleet(self) -> Fleet:
        G, T = self.units, self.hours
        demand = [self.row[f"demand_{hour}"] for hour in range(self.hours)]
        reserve = [self.row[f"reserve_{hour}"] for hour in range(self.hours)]
        on = self.block("on")
        points = [self.points(unit, on[unit, 0]) for unit in range(G)]
        starts = [self.starts(unit) for unit in range(G)]
        return Fleet(
            on=on,
            start=self.block("start"),
            stop=self.block("stop"),
            demand=self.mip.left[demand],
            reserve=self.mip.left[reserve],
            wind=self.wind(),
            mw=_padded([mw for mw, _ in points]),
            cost=_padded([cost for _, cost in points]),
            hours_up=np.array([self.width(f"up_{unit}_0") for unit in range(G)]),
            hours_down=np.array([self.width(f"down_{unit}_0") for unit in range(G)]),
            on_before=np.array([self.was_on(unit) for unit in range(G)]),
            held=np.array([self.width(f"before_{unit}", 1) for unit in range(G)]),
            off_before=np.array([off for _, _, off in starts]),
            lags=_padded([lags for lags, _, _ in starts], FOREVER).astype(np.int64),
            start_cost=_padded([cost for _, cost, _ in starts]),
            must_run=self.must_run(),
            first_output=self.first_output(on),
            ramp_up=self.mip.right[
                [self.row[f"ramp_up_{unit}_{min(1, T - 1)}"] for unit in range(G)]
            ],
            reach=np.array([self.reach(unit, int(on[unit, 0])) for unit in range(G)]),
        )

    def block(self, name: str) -> Ints:
        """Return the columns name_g_t, [G, T]."""
        column = self.column
        return np.array(
            [
                [column[f"{name}_{unit}_{hour}"] for hour in range(self.hours)]
                for unit in range(self.units)
            ]
        )

    def entries(self, row: str) -> dict[int, float]:
        """Return a row as {column: coefficient}."""
        table = self.mip.matrix
        low, high = table.indptr[self.row[row]], table.indptr[self.row[row] + 1]
        places, values = table.indices[low:high].tolist(), table.data[low:high].tolist()
        return dict(zip(places, values, strict=True))

    def width(self, row: str, extra: int = 0) -> int:
        """Return the number of columns of a row less its "on", or 0 if there is no such row."""
        return len(self.entries(row)) - 1 + extra if row in self.row else 0

    def wind(self) -> Floats:
        total = np.zeros(self.hours)
        for unit in range(_count(self.column, "wind_{}_0")):
            places = [self.column[f"wind_{unit}_{hour}"] for hour in range(self.hours)]
            total += self.mip.upper[places]
        return total

    def points(self, unit: int, on: int) -> tuple[list[float], list[float]]:
        """Return output and cost at the break points of a plant."""
        least = self.entries("demand_0").get(int(on), 0.0)
        idle = float(self.mip.cost[on])
        entries = self.entries(f"output_{unit}_0")
        count = _count(self.column, f"piece_{unit}_0_{{}}")
        places = [self.column[f"piece_{unit}_0_{k}"] for k in range(count)]
        mw = [least + entries.get(place, 0.0) for place in places]
        return mw, [idle + float(self.mip.cost[place]) for place in places]

    def starts(self, unit: int) -> tuple[list[float], list[float], int]:
        """Return lags and costs of the kinds of start, and the hours off before the first.

        Waits longer than the hours of the instance are not told by its rows; any will do then
        that allows in every hour the kinds of start that the rows allow.
        """
        count = _count(self.column, f"kind_{unit}_0_{{}}")
        costs = [float(self.mip.cost[self.column[f"kind_{unit}_0_{k}"]]) for k in range(count)]
        lags, off = [0.0] * count, 0
        for kind in range(count - 1):
            back, exact, free = self.waits(unit, kind)
            begin = float(min(back)) if back else lags[kind] if free else float(self.hours)
            end = float(max(back) + 1) if exact else max(begin, float(self.hours))
            if free:
                off = off or (int(end) - free[-1] - 1 if exact else self.hours)
                end = end if exact else float(off + free[-1] + 1)
            lags[kind], lags[kind + 1] = begin, end
        return lags, costs, 0 if self.was_on(unit) else off or FOREVER

    def waits(self, unit: int, kind: int) -> tuple[list[int], bool, list[int]]:
        """Return after how many hours off a kind of start may be, as far as rows tell.

        Then whether the longest of these hours is the last one that allows it, and in which hours
        the kind needs no stop, because the plant was off before the first.
        """
        there = [h for h in range(self.hours) if f"lag_{unit}_{kind}_{h}" in self.row]
        free = [] if self.was_on(unit) else sorted(set(range(self.hours)) - set(there))
        if not there:
            return [], False, free
        stops = {self.column[f"stop_{unit}_{hour}"]: hour for hour in range(self.hours)}
        row = self.entries(f"lag_{unit}_{kind}_{there[-1]}")
        back = [there[-1] - stops[j] for j in row if j in stops]
        return back, bool(back) and max(back) < there[-1], free

    def was_on(self, unit: int) -> bool:
        """Return whether a plant was on before the first hour."""
        return bool(self.mip.left[self.row[f"switch_{unit}_0"]] > 0.5)

    def reach(self, unit: int, on: int) -> float:
        """Return the most that a plant gives in the first hour: its output before and a ramp."""
        least = self.entries("demand_0").get(on, 0.0)
        return least + float(self.mip.right[self.row[f"ramp_up_{unit}_0"]])

    def first_output(self, on: Ints) -> Floats:
        """Return the most that plants give in the hour of a start: their "rise" rows say it."""
        least = self.entries("demand_0")
        found = []
        for unit in range(self.units):
            place = int(on[unit, 0])
            row = self.entries(f"rise_{unit}_0")
            missing = row.get(self.column[f"start_{unit}_0"], 0.0)
            # A plant without room above its minimum has no entry there.
            found.append(least.get(place, 0.0) - row.get(place, 0.0) - missing)
        return np.array(found)

    def must_run(self) -> NDArray[np.bool_]:
        """Return which plants have a row that keeps them on."""
        found = np.zeros(self.units, dtype=bool)
        owner = {int(j): unit for unit, j in enumerate(self.block("on")[:, 0])}
        number = 0
        while f"must_{number}_0" in self.row:
            found[owner[next(iter(self.entries(f"must_{number}_0")))]] = True
            number += 1
        return found


def _count(names: dict[str, int], pattern: str) -> int:
    count = 0
    while pattern.format(count) in names:
        count += 1
    return count


def _padded(lists: list[list[float]], fill: float | None = None) -> Floats:
    """Return lists as rows of one length; missing places are `fill`, or the last value."""
    wide = max(map(len, lists))
    rows: list[Any] = [
        values + [values[-1] if fill is None else fill] * (wide - len(values)) for values in lists
    ]
    return np.array(rows, dtype=np.float64)
