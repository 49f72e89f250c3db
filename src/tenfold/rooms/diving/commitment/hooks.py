"""The two hooks of unit commitment: `features` of each plant and hour, and `decode`."""

from __future__ import annotations

import weakref

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.instance import Floats, Mip
from tenfold.rooms.diving.commitment import dual
from tenfold.rooms.diving.commitment.fleet import Fleet, read_fleet
from tenfold.rooms.diving.commitment.paths import find_margins, find_paths

STEPS = 80
"""Of the Lagrangian dual; more of them changed nothing that could be seen."""
FARTHEST = 20.0
SPARE = 0.01
"""Share of the need that plants must have beyond it, for ramps that are not looked at."""

_fleets: weakref.WeakKeyDictionary[Mip, Fleet] = weakref.WeakKeyDictionary()


def fleet_of(mip: Mip) -> Fleet:
    """Return the plants of an instance, read once as long as it lives."""
    if mip not in _fleets:
        _fleets[mip] = read_fleet(mip)
    return _fleets[mip]


def features(mip: Mip) -> tuple[NDArray[np.int64], Floats]:
    """Return the "on" columns, [G T], and what is known of each plant and hour, [G T, F].

    Everything is relative to a plant's full-load cost, to the demand or to the mean price, so
    that fleets of other sizes look alike. Hours around an hour are told too.
    """
    fleet = fleet_of(mip)
    told = np.stack(_tables(fleet), axis=-1)
    return fleet.on.ravel(), told.reshape(-1, told.shape[-1])


def _tables(fleet: Fleet) -> list[Floats]:
    """Return the features, [G, T] each."""
    shape = fleet.shape
    priced = dual.price(fleet, steps=STEPS)
    margin = find_margins(fleet, priced.cost)
    most = fleet.mw[:, -1:]
    dear = fleet.cost[:, -1:] / most
    mean_price = float(np.mean(np.maximum(priced.power, 1e-3)))
    need = fleet.demand + fleet.reserve - fleet.wind
    scaled = np.clip(margin / (most * dear), -FARTHEST, FARTHEST)
    running = find_paths(fleet, priced.cost)
    lack = np.broadcast_to((need - (running * most).sum(axis=0)) / need, shape)
    level = np.broadcast_to(need / need.mean() - 1, shape)
    reserve = np.broadcast_to(priced.reserve / mean_price, shape)
    plants = (
        np.log(fleet.hours_up), np.log(fleet.hours_down), 10 * most[:, 0] / need.mean(),
        fleet.mw[:, 0] / most[:, 0], fleet.ramp_up / most[:, 0], fleet.first_output / most[:, 0],
        fleet.start_cost[:, 0] / (most * dear)[:, 0], fleet.start_cost[:, -1] / (most * dear)[:, 0],
        fleet.on_before.astype(np.float64), np.log(dear[:, 0] / mean_price), fleet.must_run * 1.0,
    )  # fmt: skip
    hours = np.arange(shape[1])
    return [
        *_around(np.sign(scaled) * np.log1p(np.abs(scaled)), 4),
        *_around(priced.share, 2),
        *_around(np.tanh(3 * _places(margin, most, need)), 2),
        *_around(lack, 2),
        *_around(np.log(np.maximum(priced.power, 1e-3) / dear), 3),
        *_around(reserve, 1),
        *_around(level, 3),
        *(np.broadcast_to(values[:, None], shape) for values in plants),
        np.broadcast_to(np.minimum(hours, 6) / 6, shape),
        np.broadcast_to(np.minimum(hours[::-1], 6) / 6, shape),
    ]


def _around(table: Floats, reach: int) -> list[Floats]:
    """Return a table as it is in the hours from `reach` before to `reach` after, [G, T] each."""
    hours = np.arange(table.shape[1])
    return [table[:, np.clip(hours + k, 0, len(hours) - 1)] for k in range(-reach, reach + 1)]


def _places(margin: Floats, most: Floats, need: Floats) -> Floats:
    """Return where a plant stands if plants are taken by margin, [G, T].

    0: with the plants before it the need is just met; negative: before that.
    """
    order = np.argsort(margin, axis=0, kind="stable")
    sizes = np.take_along_axis(np.broadcast_to(most, margin.shape), order, axis=0)
    filled = np.cumsum(sizes, axis=0) - 0.5 * sizes
    places = np.empty_like(margin)
    np.put_along_axis(places, order, filled, axis=0)
    return np.asarray((places - need) / need)


def decode(mip: Mip, likely: Floats, coverage: float) -> tuple[Floats, Floats]:
    """Return bounds in which the surest hours of each plant's likeliest possible path are fixed.

    The path keeps to least hours on and off, so that any part of it can be completed; starts and
    stops follow from hours that are fixed one after the other.

    Args:
        mip: the instance.
        likely: chance that a plant is on, at the "on" columns, [n].
        coverage: share of plants and hours to fix.
    """
    fleet = fleet_of(mip)
    chance = np.clip(likely[fleet.on], 1e-9, 1 - 1e-9)
    logits = np.log(chance / (1 - chance))
    path = find_paths(fleet, -logits, starts=False).astype(np.bool_)
    certainty = np.where(path, logits, -logits)
    count = round(coverage * certainty.size)
    surest = np.argsort(-certainty, axis=None, kind="stable")[:count]
    fixed = np.zeros(path.shape, dtype=np.bool_)
    fixed.ravel()[surest] = True
    _leave_enough(fleet, path, fixed, certainty)
    return _bounds(mip, fleet, path, fixed)


def _leave_enough(
    fleet: Fleet, path: NDArray[np.bool_], fixed: NDArray[np.bool_], certainty: Floats
) -> None:
    """Free plants that are fixed off in hours whose need the others could not meet.

    What is free may be on, but comes up by its ramp from the hour from which it may. The least
    certain plants are freed first, for as long around the hour as a start and its ramp need.
    """
    need = (1 + SPARE) * (fleet.demand + fleet.reserve) - fleet.wind
    room = _reachable(fleet, path | ~fixed)
    rising = np.ceil(fleet.mw[:, -1] / np.maximum(fleet.ramp_up, 1e-9))
    around = np.maximum(np.maximum(fleet.hours_up, fleet.hours_down), np.minimum(rising, 6))
    for hour in np.argsort(room.sum(axis=0) - need):
        off = np.flatnonzero(fixed[:, hour] & ~path[:, hour])
        for plant in off[np.argsort(certainty[off, hour], kind="stable")]:
            if room[:, hour].sum() >= need[hour]:
                break
            wide = int(around[plant])
            fixed[plant, max(hour - wide, 0) : hour + wide + 1] = False
            room[plant] = _reachable(fleet, path | ~fixed)[plant]


def _reachable(fleet: Fleet, running: NDArray[np.bool_]) -> Floats:
    """Return the most that plants give while they run, ramping up after a start, [G, T]."""
    most, reach = fleet.mw[:, -1], np.zeros(running.shape)
    before = np.where(fleet.on_before, fleet.reach - fleet.ramp_up, 0.0)
    was_on = fleet.on_before
    for hour in range(running.shape[1]):
        now = running[:, hour]
        begun = np.where(was_on, before + fleet.ramp_up, fleet.first_output)
        before = np.where(now, np.minimum(begun, most), 0.0)
        was_on = now
        reach[:, hour] = before
    return reach


def _bounds(
    mip: Mip, fleet: Fleet, path: NDArray[np.bool_], fixed: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    lower, upper = mip.lower.copy(), mip.upper.copy()
    lower[fleet.on[fixed & path]] = 1.0
    upper[fleet.on[fixed & ~path]] = 0.0
    before = np.concatenate([fleet.on_before[:, None], path[:, :-1]], axis=1)
    known = np.concatenate([np.ones((len(path), 1), dtype=np.bool_), fixed[:, :-1]], axis=1)
    # What is on now did not stop now, what was on before does not start now, and so on.
    upper[fleet.stop[fixed & path]] = 0.0
    upper[fleet.start[fixed & ~path]] = 0.0
    upper[fleet.start[known & before]] = 0.0
    upper[fleet.stop[known & ~before]] = 0.0
    both = fixed & known
    lower[fleet.start[both & path & ~before]] = 1.0
    lower[fleet.stop[both & ~path & before]] = 1.0
    return lower, upper
