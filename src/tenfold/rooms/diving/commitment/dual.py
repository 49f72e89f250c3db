"""Hourly prices of power and reserve by a Lagrangian dual of unit commitment.

Dropping demand and reserve rows leaves one problem a plant: its cheapest path when each hour pays
lambda for power and mu for spare power. Prices move along the rows' violation (a subgradient of
the dual). The mean of the plants' paths on the way is nearly the best point of the problem whose
plants are convex hulls, which is tighter than the LP relaxation and much cheaper to get
(Muckstadt and Koenig 1977; Frangioni 2005 for the mean). Ramps are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.parts.mip.instance import Floats
from tenfold.rooms.diving.commitment.fleet import Fleet
from tenfold.rooms.diving.commitment.paths import all_paths, longest_counts

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Priced:
    """What the dual says of each plant and hour."""

    power: Floats
    """[T], price of power, dollars per MWh."""
    reserve: Floats
    """[T], price of spare power."""
    share: Floats
    """[G, T], share of the last half of the steps in which a plant was on, later ones more."""
    cost: Floats
    """[G, T, R], cost of being on at these prices, less what power and reserve earn, in the
    first hour after a start, the second, .., and thereafter."""
    bound: float
    """Lower bound on the cost, without ramps."""


def price(fleet: Fleet, *, steps: int = 100, first: float = 1.5, slower: float = 0.25) -> Priced:
    """Find prices by `steps` steps along the violation of demand and reserve."""
    G, T = fleet.shape
    up, off = longest_counts(fleet)
    power, reserve = _merit_order(fleet), np.zeros(T)
    mean_power, mean_reserve = np.zeros(T), np.zeros(T)
    limits = _limits(fleet)
    share, cost = np.zeros((G, T)), np.zeros((G, T, limits.shape[1]))
    bound = _ascend(
        fleet.mw, fleet.cost, limits, fleet.demand, fleet.reserve, fleet.wind, fleet.hours_up,
        fleet.hours_down, fleet.held, fleet.on_before, fleet.off_before, fleet.lags,
        fleet.start_cost, fleet.must_run, power, reserve, mean_power, mean_reserve,
        np.empty((T + 1, up + 1)), np.empty((T + 1, off + 1)), share, cost, steps, first, slower,
    )  # fmt: skip
    return Priced(power=mean_power, reserve=mean_reserve, share=share, cost=cost, bound=bound)


def _limits(fleet: Fleet, longest: int = 4) -> Floats:
    """Return the most output in the hours after a start, [G, R]; the last column has no limit."""
    hours = np.arange(longest - 1)
    limits = fleet.first_output[:, None] + fleet.ramp_up[:, None] * hours
    return np.concatenate([limits, np.full((len(limits), 1), np.inf)], axis=1)


def _merit_order(fleet: Fleet) -> Floats:
    """Return in each hour the full-load cost of the plant that the cheapest-first order ends at."""
    dear = fleet.cost[:, -1] / np.maximum(fleet.mw[:, -1], 1e-9)
    order = np.argsort(dear, kind="stable")
    filled = np.cumsum(fleet.mw[order, -1])
    need = np.maximum(fleet.demand - fleet.wind, 0)
    last = np.minimum(np.searchsorted(filled, need), len(order) - 1)
    return np.asarray(dear[order[last]])


@jit
def _earn(mw: Array, cost: Array, limit: float, power: float, reserve: float) -> Any:
    """Return the least net cost of being on below an output limit, and the output there."""
    most = min(mw[-1], max(limit, mw[0]))
    best, at = cost[0] - power * mw[0] - reserve * (most - mw[0]), mw[0]
    for point in range(1, len(mw)):
        output, dollars = mw[point], cost[point]
        if output > most:
            share = (most - mw[point - 1]) / (output - mw[point - 1])
            dollars = cost[point - 1] + share * (dollars - cost[point - 1])
            output = most
        net = dollars - power * output - reserve * (most - output)
        if net < best:
            best, at = net, output
        if output >= most:
            break
    return best, at


@jit
def _ascend(
    mw: Array,
    costs: Array,
    limits: Array,
    demand: Array,
    spare: Array,
    wind: Array,
    hours_up: Array,
    hours_down: Array,
    held: Array,
    on_before: Array,
    off_before: Array,
    lags: Array,
    start_cost: Array,
    must_run: Array,
    power: Array,
    reserve: Array,
    mean_power: Array,
    mean_reserve: Array,
    on_value: Array,
    off_value: Array,
    share: Array,
    cost: Array,
    steps: int,
    first: float,
    slower: float,
) -> float:
    """Take the steps; fill mean prices, shares and costs; return the best bound."""
    units, hours, ramped = cost.shape
    output = np.zeros((units, hours, ramped))
    paths = np.zeros((units, hours), dtype=np.int8)
    unit_price = np.mean(power)
    best, weights = -np.inf, 0.0
    for step in range(steps):
        for unit in range(units):
            for hour in range(hours):
                for since in range(ramped):
                    net, mwh = _earn(
                        mw[unit], costs[unit], limits[unit, since], power[hour], reserve[hour]
                    )
                    cost[unit, hour, since] = net - (1e9 if must_run[unit] else 0.0)
                    output[unit, hour, since] = mwh
        bound = all_paths(cost, hours_up, hours_down, held, on_before, off_before, lags,
                          start_cost, on_value, off_value, paths)  # fmt: skip
        size = unit_price * first / (1.0 + slower * step)
        # Later steps know better prices.
        weight = float(step + 1) ** 2 if 2 * step >= steps else 0.0
        weights += weight
        for hour in range(hours):
            used = min(wind[hour], max(wind[hour], 0.0)) if power[hour] > 0 else 0.0
            bound += power[hour] * (demand[hour] - used) + reserve[hour] * spare[hour]
            given, kept = used, 0.0
            for unit in range(units):
                if paths[unit, hour]:
                    since = ramped - 1
                    for back in range(min(ramped - 1, hour + 1)):
                        if (hour > back and not paths[unit, hour - back - 1]) or (
                            hour == back and not on_before[unit]
                        ):
                            since = back
                            break
                    mwh = output[unit, hour, since]
                    given += mwh
                    kept += min(mw[unit, -1], max(limits[unit, since], mw[unit, 0])) - mwh
                    share[unit, hour] += weight
            mean_power[hour] += weight * power[hour]
            mean_reserve[hour] += weight * reserve[hour]
            scale = max(demand[hour], 1e-9)
            power[hour] += size * (demand[hour] - given) / scale
            reserve[hour] = max(0.0, reserve[hour] + size * (spare[hour] - kept) / scale)
        if not must_run.any():
            best = max(best, bound)
    share /= weights
    mean_power /= weights
    mean_reserve /= weights
    for unit in range(units):
        for hour in range(hours):
            for since in range(ramped):
                cost[unit, hour, since], _ = _earn(
                    mw[unit], costs[unit], limits[unit, since], mean_power[hour],
                    mean_reserve[hour],
                )  # fmt: skip
    return best
