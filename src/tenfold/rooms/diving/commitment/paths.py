"""Least-cost paths of plants that keep to their least hours on and off, by dynamic programming.

A plant's state is how long it has been on (1..U, where U means "may stop") or off (1..M, counted
as far as least hours or start costs ask). Shapes: G plants, T hours, S kinds of start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.rooms.diving.commitment.fleet import FOREVER, Fleet

Array = NDArray[Any]
NEVER = 1e30
"""Cost of what cannot be."""


def longest_counts(fleet: Fleet) -> tuple[int, int]:
    """Return up to how many hours on and off are counted for any plant."""
    lags = np.where(fleet.lags < FOREVER, fleet.lags, 0)
    return int(fleet.hours_up.max()), int(max(fleet.hours_down.max(), lags.max(), 1))


@jit
def _fill_values(
    price: Array,
    up: int,
    down: int,
    held: int,
    on_before: bool,
    off_before: int,
    lags: Array,
    start_cost: Array,
    on_value: Array,
    off_value: Array,
) -> None:
    """Fill the least cost of reaching each state by the end of each hour."""
    hours, most, ramped = len(price), off_value.shape[1] - 1, price.shape[1]
    on_value[0, :] = NEVER
    off_value[0, :] = NEVER
    if on_before:
        on_value[0, max(up - held, 1)] = 0.0
    else:
        off_value[0, min(max(off_before, down - held, 1), most)] = 0.0
    for hour in range(hours):
        on, off = on_value[hour], off_value[hour]
        on_then, off_then = on_value[hour + 1], off_value[hour + 1]
        for length in range(2, up + 1):
            on_then[length] = on[length - 1] + price[hour, min(length, ramped) - 1]
        stays = on[up] + price[hour, ramped - 1]
        on_then[up] = min(on_then[up], stays) if up > 1 else stays
        begun = NEVER
        if hour >= held:
            for length in range(down, most + 1):
                begun = min(begun, off[length] + _start(length, lags, start_cost))
        begun += price[hour, 0]
        on_then[1] = min(begun, on_then[1]) if up == 1 else begun
        for length in range(2, most + 1):
            off_then[length] = off[length - 1]
        off_then[most] = min(off_then[most] if most > 1 else NEVER, off[most])
        off_then[1] = min(on[up], off_then[1]) if most == 1 else on[up]


@jit
def cheapest_path(
    price: Array,
    up: int,
    down: int,
    held: int,
    on_before: bool,
    off_before: int,
    lags: Array,
    start_cost: Array,
    on_value: Array,
    off_value: Array,
    path: Array,
) -> float:
    """Find the cheapest path of one plant; being off costs nothing.

    Args:
        price: cost of being on in each hour, [T, R]: in the first hour after a start, in the
            second, and so on, as far as ramps matter, but for no longer than the least hours on;
            in the last column thereafter.
        up: least hours on.
        down: least hours off.
        held: first hours in which the plant must stay as it was.
        on_before: whether it was on before the first hour.
        off_before: hours it was off by then.
        lags: hours off from which on a kind of start holds, [S].
        start_cost: of each kind, [S].
        on_value: room for the cost of being on for so long, [T + 1, at least U + 1].
        off_value: likewise for off, [T + 1, at least M + 1].
        path: gets 1 where the plant is on, [T].

    Returns:
        The cost of the path, `NEVER` or more if there is none.
    """
    _fill_values(price, up, down, held, on_before, off_before, lags, start_cost, on_value,
                 off_value)  # fmt: skip
    return _trace(price, up, down, lags, start_cost, on_value, off_value, path)


@jit
def _start(length: int, lags: Array, start_cost: Array) -> float:
    """Return what a start costs after so many hours off."""
    cost = start_cost[0]
    for kind in range(len(lags)):
        if length >= lags[kind]:
            cost = start_cost[kind]
    return float(cost)


@jit
def _trace(
    price: Array,
    up: int,
    down: int,
    lags: Array,
    start_cost: Array,
    on_value: Array,
    off_value: Array,
    path: Array,
) -> float:
    """Follow the best values back from the last hour."""
    hours, most, ramped = len(price), off_value.shape[1] - 1, price.shape[1]
    state, cost = 0, 10 * NEVER
    # Positive: on for so long; negative: off.
    for length in range(1, up + 1):
        if on_value[hours, length] < cost:
            state, cost = length, on_value[hours, length]
    for length in range(1, most + 1):
        if off_value[hours, length] < cost:
            state, cost = -length, off_value[hours, length]
    for hour in range(hours - 1, -1, -1):
        on, off = on_value[hour], off_value[hour]
        path[hour] = 1 if state > 0 else 0
        if state > 1:
            stays = on[up] + price[hour, ramped - 1]
            comes = on[state - 1] + price[hour, min(state, ramped) - 1]
            state = up if state == up and stays <= comes else state - 1
        elif state == 1:
            best = on[up] + price[hour, ramped - 1] - price[hour, 0] if up == 1 else 10 * NEVER
            source = up
            for length in range(down, most + 1):
                if off[length] + _start(length, lags, start_cost) < best:
                    best = off[length] + _start(length, lags, start_cost)
                    source = -length
            state = source
        elif state < -1:
            state = -most if state == -most and off[most] <= off[most - 1] else state + 1
        else:
            state = -1 if most == 1 and off[1] <= on[up] else up
    return float(cost)


@jit
def all_paths(
    prices: Array,
    hours_up: Array,
    hours_down: Array,
    held: Array,
    on_before: Array,
    off_before: Array,
    lags: Array,
    start_cost: Array,
    on_value: Array,
    off_value: Array,
    paths: Array,
) -> float:
    """Find the cheapest path of every plant, prices [G, T, R], paths [G, T]; return the sum."""
    total = 0.0
    for unit in range(len(prices)):
        total += cheapest_path(
            prices[unit], hours_up[unit], hours_down[unit], held[unit], on_before[unit],
            off_before[unit], lags[unit], start_cost[unit], on_value, off_value, paths[unit],
        )  # fmt: skip
    return total


def find_paths(fleet: Fleet, prices: Array, *, starts: bool = True) -> NDArray[np.int8]:
    """Return the cheapest path of every plant, [G, T], 1 where it is on.

    Args:
        fleet: the plants.
        prices: cost of being on, [G, T] or [G, T, R]; negative where being on pays.
        starts: whether starts cost what they do, or nothing.
    """
    G, T = fleet.shape
    up, off = longest_counts(fleet)
    paths = np.zeros((G, T), dtype=np.int8)
    table = np.asarray(prices, dtype=np.float64).reshape(G, T, -1)
    costs = fleet.start_cost if starts else np.zeros_like(fleet.start_cost)
    all_paths(
        np.ascontiguousarray(table), fleet.hours_up, fleet.hours_down,
        fleet.held, fleet.on_before, fleet.off_before, fleet.lags, costs,
        np.empty((T + 1, up + 1)), np.empty((T + 1, off + 1)), paths,
    )  # fmt: skip
    return paths


@jit
def _weigh(
    price: Array,
    up: int,
    down: int,
    held: int,
    lags: Array,
    start_cost: Array,
    on_value: Array,
    off_value: Array,
    on_rest: Array,
    off_rest: Array,
    margin: Array,
) -> None:
    """Fill the least cost with a plant on in each hour less the least with it off, [T]."""
    hours, most, ramped = len(price), off_value.shape[1] - 1, price.shape[1]
    on_rest[hours, :] = 0.0
    off_rest[hours, :] = 0.0
    for hour in range(hours - 1, -1, -1):
        # The rest of the way after the state at the beginning of the hour.
        on, off = on_rest[hour], off_rest[hour]
        on_then, off_then = on_rest[hour + 1], off_rest[hour + 1]
        for length in range(1, up):
            on[length] = on_then[length + 1] + price[hour, min(length + 1, ramped) - 1]
        on[up] = min(on_then[up] + price[hour, ramped - 1], off_then[1])
        for length in range(1, most + 1):
            off[length] = off_then[min(length + 1, most)]
            if length >= down and hour >= held:
                begin = on_then[1] + price[hour, 0] + _start(length, lags, start_cost)
                off[length] = min(off[length], begin)
    for hour in range(hours):
        with_it, without = NEVER, NEVER
        for length in range(1, up + 1):
            with_it = min(with_it, on_value[hour + 1, length] + on_rest[hour + 1, length])
        for length in range(1, most + 1):
            without = min(without, off_value[hour + 1, length] + off_rest[hour + 1, length])
        margin[hour] = with_it - without


@jit
def _all_margins(
    prices: Array,
    hours_up: Array,
    hours_down: Array,
    held: Array,
    on_before: Array,
    off_before: Array,
    lags: Array,
    start_cost: Array,
    tables: Array,
    off_tables: Array,
    margins: Array,
) -> None:
    for unit in range(len(prices)):
        _fill_values(
            prices[unit], hours_up[unit], hours_down[unit], held[unit], on_before[unit],
            off_before[unit], lags[unit], start_cost[unit], tables[0], off_tables[0],
        )  # fmt: skip
        _weigh(
            prices[unit], hours_up[unit], hours_down[unit], held[unit], lags[unit],
            start_cost[unit], tables[0], off_tables[0], tables[1], off_tables[1], margins[unit],
        )  # fmt: skip


def find_margins(fleet: Fleet, prices: Array) -> Array:
    """Return what being on in an hour costs more than being off, each on its best path, [G, T].

    Where a plant cannot be on, or not off, the margin is `NEVER` or more, with its sign.

    Args:
        fleet: the plants.
        prices: cost of being on, [G, T] or [G, T, R].
    """
    G, T = fleet.shape
    up, off = longest_counts(fleet)
    margins = np.zeros((G, T))
    table = np.ascontiguousarray(np.asarray(prices, dtype=np.float64).reshape(G, T, -1))
    _all_margins(
        table, fleet.hours_up, fleet.hours_down, fleet.held, fleet.on_before, fleet.off_before,
        fleet.lags, fleet.start_cost, np.empty((2, T + 1, up + 1)), np.empty((2, T + 1, off + 1)),
        margins,
    )  # fmt: skip
    return margins
