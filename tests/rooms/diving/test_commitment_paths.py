"""Paths of plants against all strings of on and off that can be."""

from dataclasses import replace
from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.parts.mip.generate import unit_commitment as uc
from tenfold.rooms.diving.commitment.fleet import Fleet, read_fleet
from tenfold.rooms.diving.commitment.paths import NEVER, cheapest_path, find_margins, find_paths


@st.composite
def plants(draw, hours=6):
    """Draw one plant over a few hours, with what came before."""
    up, down = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    on = draw(st.booleans())
    held = draw(st.integers(0, (up if on else down) - 1))
    lag = draw(st.integers(1, 6))
    return {
        "up": up,
        "down": down,
        "held": held,
        "on_before": on,
        "off_before": 0 if on else down - held if held else draw(st.integers(down, 12)),
        "lags": np.array([1, lag]),
        "start_cost": np.array(sorted(draw(st.tuples(st.integers(0, 9), st.integers(0, 9))))) * 1.0,
        "price": np.array(
            draw(
                st.lists(
                    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
                    min_size=hours,
                    max_size=hours,
                )
            ),
            dtype=float,
        ),
    }


def cost_of(plant, path):
    """Return what a string of on and off costs, or None if the plant cannot do so."""
    price, total, hour = plant["price"], 0.0, 0
    runs = [(bool(on), len(list(run))) for on, run in groupby(path)]
    for number, (on, length) in enumerate(runs):
        first, last = number == 0, number == len(runs) - 1
        begun = not (first and on == plant["on_before"])
        if not begun and length < plant["held"] and not last:
            return None
        if begun and first and plant["held"]:
            return None
        if begun and length < plant["up" if on else "down"] and not last:
            return None
        if on:
            if begun:
                off = plant["off_before"] if first else runs[number - 1][1]
                if number == 1 and not plant["on_before"]:
                    off += plant["off_before"]
                if off < plant["down"]:
                    return None
                total += plant["start_cost"][1 if off >= plant["lags"][1] else 0]
            # Hours since the start; a plant that was on before has been so for up - held.
            since = 0 if begun else max(plant["up"] - plant["held"], 1)
            for k in range(length):
                hours_on = since + k + 1
                column = min(hours_on, 3) - 1 if hours_on <= plant["up"] else 2
                total += price[hour + k, column]
        hour += length
    return total


def all_costs(plant):
    hours = len(plant["price"])
    told = {path: cost_of(plant, path) for path in product((0, 1), repeat=hours)}
    return {path: cost for path, cost in told.items() if cost is not None}


def as_fleet(plant):
    """Return a fleet of one plant; what paths do not look at is zero."""
    hours = len(plant["price"])
    some = np.zeros((1, hours), dtype=np.int64)
    return Fleet(
        on=some, start=some, stop=some, demand=np.zeros(hours), reserve=np.zeros(hours),
        wind=np.zeros(hours), mw=np.zeros((1, 2)), cost=np.zeros((1, 2)),
        hours_up=np.array([plant["up"]]), hours_down=np.array([plant["down"]]),
        on_before=np.array([plant["on_before"]]), held=np.array([plant["held"]]),
        off_before=np.array([plant["off_before"]]), lags=plant["lags"][None],
        start_cost=plant["start_cost"][None], must_run=np.zeros(1, dtype=bool),
        first_output=np.zeros(1), ramp_up=np.zeros(1), reach=np.zeros(1),
    )  # fmt: skip


@settings(max_examples=60)
@given(plants())
def test_the_cheapest_path_is_the_cheapest_of_all_strings_that_can_be(plant):
    costs = all_costs(plant)
    hours = len(plant["price"])
    path = np.zeros(hours, dtype=np.int8)
    off = max(plant["down"], int(plant["lags"].max()))
    told = cheapest_path(
        plant["price"], plant["up"], plant["down"], plant["held"], plant["on_before"],
        plant["off_before"], plant["lags"], plant["start_cost"],
        np.empty((hours + 1, plant["up"] + 1)), np.empty((hours + 1, off + 1)), path,
    )  # fmt: skip
    assert told == pytest.approx(min(costs.values()))
    assert costs[tuple(path.tolist())] == pytest.approx(told)


@settings(max_examples=30)
@given(plants())
def test_margins_are_what_the_best_string_with_an_hour_on_costs_more_than_with_it_off(plant):
    costs = all_costs(plant)
    margins = find_margins(as_fleet(plant), plant["price"][None])[0]
    for hour, margin in enumerate(margins):
        on = min((cost for path, cost in costs.items() if path[hour]), default=NEVER)
        off = min((cost for path, cost in costs.items() if not path[hour]), default=NEVER)
        if max(on, off) >= NEVER:
            assert np.sign(margin) == np.sign(on - off)
            assert abs(margin) >= 0.9 * NEVER
        else:
            assert margin == pytest.approx(on - off)


@settings(max_examples=20)
@given(plants())
def test_paths_without_start_costs_are_cheapest_without_them(plant):
    free = plant | {"start_cost": np.zeros(2)}
    path = find_paths(as_fleet(plant), plant["price"][None], starts=False)[0]
    costs = all_costs(free)
    assert costs[tuple(path.tolist())] == pytest.approx(min(costs.values()))


def test_each_plant_of_a_fleet_gets_the_path_it_would_get_alone():
    system = uc.draw_system(units=8, hours=12, seed=5)
    fleet = read_fleet(uc.unit_commitment(system))
    prices = np.random.default_rng(0).normal(0, 1000, fleet.shape)
    together = find_paths(fleet, prices)
    for unit in range(fleet.shape[0]):
        alone = {
            name: getattr(fleet, name)[unit : unit + 1]
            for name in Fleet.__slots__
            if name not in ("demand", "reserve", "wind")
        }
        assert np.array_equal(
            find_paths(replace(fleet, **alone), prices[unit : unit + 1])[0], together[unit]
        )
