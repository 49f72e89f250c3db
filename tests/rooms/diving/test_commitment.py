from dataclasses import replace

import numpy as np
import pytest

from rooms.diving.examples import cover
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.generate import unit_commitment as uc
from tenfold.parts.mip.instance import change_bounds
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving.commitment import dual, hooks
from tenfold.rooms.diving.commitment.fleet import FOREVER, read_fleet

pytest.importorskip("highspy")


def day(seed, *, units=8, hours=12, **changes):
    return replace(uc.draw_system(units=units, hours=hours, seed=seed), **changes)


def fleet_of(system):
    return read_fleet(uc.unit_commitment(system))


# The fleet read back


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hours", [12, 24])
def test_a_fleet_is_read_back_as_it_was_written(seed, hours):
    system = day(seed, hours=hours)
    fleet = fleet_of(system)
    need = np.where(system.on_before, system.hours_up, system.hours_down)
    expected = {
        "demand": system.demand,
        "reserve": system.reserve,
        "wind": system.wind_most.sum(axis=0),
        "mw": [[mw for mw, _ in pieces] for pieces in system.pieces],
        "cost": [[cost for _, cost in pieces] for pieces in system.pieces],
        "hours_up": np.minimum(system.hours_up, hours),
        "hours_down": np.minimum(system.hours_down, hours),
        "on_before": system.on_before,
        "held": np.clip(need - system.time_before, 0, hours),
        "start_cost": [[cost for _, cost in starts] for starts in system.starts],
        "must_run": system.must_run,
        "first_output": np.minimum(system.ramp_start, system.most),
        "ramp_up": system.ramp_up,
    }
    for name, values in expected.items():
        assert np.allclose(getattr(fleet, name), values), name
    on = system.on_before
    assert np.allclose(fleet.reach[on], (system.power_before + system.ramp_up)[on])


@pytest.mark.parametrize("seed", range(3))
def test_the_columns_of_a_fleet_are_those_of_the_model(seed):
    mip, columns = uc.model_of(day(seed))
    fleet = read_fleet(mip)
    for name in ("on", "start", "stop"):
        assert np.array_equal(getattr(fleet, name), getattr(columns, name))


def cost_of_start(system, unit, off):
    """Return what the model asks for a start after so many hours off: its cheapest kind."""
    steps = system.starts[unit]
    ends = [lag for lag, _ in steps[1:]]
    kinds = [cost for (lag, cost), end in zip(steps[:-1], ends, strict=True) if lag <= off < end]
    return min([*kinds, steps[-1][1]])


def read_cost_of_start(fleet, unit, off):
    kinds = [k for k, lag in enumerate(fleet.lags[unit]) if lag <= off]
    return fleet.start_cost[unit, kinds[-1] if kinds else 0]


@pytest.mark.parametrize("hours", [7, 12, 24])
@pytest.mark.parametrize("seed", range(4))
def test_every_start_that_can_be_costs_what_the_model_says(seed, hours):
    # With few hours some kinds of start cannot be told from the rows, and need not be.
    system = day(seed, units=12, hours=hours)
    fleet = fleet_of(system)
    seen = set()
    for unit in range(len(system.most)):
        down = int(system.hours_down[unit])
        for hour in range(hours):
            for stop in range(hour - down + 1):
                told = read_cost_of_start(fleet, unit, hour - stop)
                assert told == cost_of_start(system, unit, hour - stop)
            waited = int(system.time_before[unit]) + hour
            if not system.on_before[unit] and waited >= down:
                told = read_cost_of_start(fleet, unit, int(fleet.off_before[unit]) + hour)
                assert told == cost_of_start(system, unit, waited), (unit, hour)
                seen.add(told)
    assert len(seen) > 1


def test_plants_that_must_run_are_read_back():
    must = np.zeros(len(day(0).most), dtype=bool)
    must[[1, 4]] = True
    fleet = fleet_of(day(0, must_run=must))
    assert fleet.must_run.tolist() == must.tolist()


def test_hours_that_a_plant_must_stay_as_it_was_are_read_back():
    system = day(1)
    system = replace(system, time_before=np.ones_like(system.time_before))
    need = np.where(system.on_before, system.hours_up, system.hours_down)
    assert fleet_of(system).held.tolist() == np.clip(need - 1, 0, 12).tolist()


def test_a_plant_without_room_above_its_minimum_is_read_back():
    system = day(2)
    most = system.most.copy()
    most[3] = system.least[3]
    pieces = list(system.pieces)
    pieces[3] = (pieces[3][0], (float(most[3]), pieces[3][0][1]))
    fleet = fleet_of(replace(system, most=most, pieces=tuple(pieces)))
    assert fleet.mw[3].tolist() == pytest.approx([most[3]] * fleet.mw.shape[1])
    assert fleet.first_output[3] == pytest.approx(most[3])


def test_a_plant_that_was_off_for_long_is_read_as_off_forever():
    system = day(3, units=12)
    off = int(np.flatnonzero(~system.on_before)[0])
    time = system.time_before.copy()
    time[off] = 500
    assert fleet_of(replace(system, time_before=time)).off_before[off] == FOREVER


def test_an_instance_of_another_kind_is_refused_with_what_it_lacks():
    with pytest.raises(TenfoldError, match=r"has no .*on_0_0.*dive without the hooks"):
        read_fleet(cover())


# Prices


@pytest.mark.parametrize("seed", range(3))
def test_the_dual_bound_is_below_the_least_cost_and_not_far(seed):
    system = day(seed, units=6, hours=8)
    found = highs.solve(uc.unit_commitment(system), limits=Limits(gap=1e-5, seconds=60))
    assert found.status == "optimal"
    bound = dual.price(fleet_of(system), steps=150).bound
    assert bound <= found.objective * (1 + 1e-6)
    assert bound >= 0.9 * found.objective


def test_more_steps_never_give_a_worse_bound():
    fleet = fleet_of(day(0))
    bounds = [dual.price(fleet, steps=steps).bound for steps in (1, 10, 60)]
    assert bounds == sorted(bounds)


def test_shares_are_shares_and_zero_for_a_plant_that_never_pays():
    system = day(2)
    pieces = list(system.pieces)
    pieces[-1] = tuple((mw, 1e6 + 1e6 * mw) for mw, _ in pieces[-1])
    on = system.on_before.copy()
    on[-1] = False
    share = dual.price(fleet_of(replace(system, pieces=tuple(pieces), on_before=on))).share
    assert ((share >= 0) & (share <= 1 + 1e-12)).all()
    assert share[-1].max() == 0
    assert share.max() > 0.9


def scaled(system, mw, money):
    """Return a system in other units of power and of money."""
    names = ("demand", "reserve", "least", "most", "ramp_up", "ramp_down", "ramp_start",
             "ramp_stop", "power_before", "wind_least", "wind_most")  # fmt: skip
    return replace(
        system,
        **{name: mw * getattr(system, name) for name in names},
        starts=tuple(tuple((lag, money * c) for lag, c in steps) for steps in system.starts),
        pieces=tuple(tuple((mw * p, money * c) for p, c in points) for points in system.pieces),
    )


@pytest.mark.parametrize(("mw", "money"), [(4.0, 4.0), (1.0, 8.0), (0.5, 2.0)])
def test_features_do_not_know_the_units_of_power_and_money(mw, money):
    system = day(1)
    one, other = (
        hooks.features(uc.unit_commitment(some))[1] for some in (system, scaled(system, mw, money))
    )
    assert np.isfinite(one).all()
    assert np.allclose(one, other, atol=1e-6)


def test_a_fleet_of_twins_has_the_prices_of_the_single_one():
    system = day(4, units=6)
    twice = {
        name: np.concatenate([getattr(system, name)] * 2)
        for name in ("least", "most", "ramp_up", "ramp_down", "ramp_start", "ramp_stop",
                     "hours_up", "hours_down", "on_before", "power_before", "time_before",
                     "must_run")
    }  # fmt: skip
    twins = replace(
        system, **twice, demand=2 * system.demand, reserve=2 * system.reserve,
        wind_most=2 * system.wind_most, starts=2 * system.starts, pieces=2 * system.pieces,
    )  # fmt: skip
    one, two = dual.price(fleet_of(system)), dual.price(fleet_of(twins))
    assert np.allclose(one.power, two.power, rtol=1e-6)
    assert two.bound == pytest.approx(2 * one.bound, rel=1e-6)


def test_features_have_a_row_for_each_plant_and_hour_in_order():
    mip, columns = uc.model_of(day(0))
    told, values = hooks.features(mip)
    assert np.array_equal(told, columns.on.ravel())
    assert values.shape[0] == columns.on.size


# Decoding


@pytest.fixture(scope="module")
def solved():
    made = []
    for seed in range(3):
        mip, columns = uc.model_of(day(seed, units=8, hours=12))
        found = highs.solve(mip, limits=Limits(gap=1e-2, seconds=60))
        assert check_point(mip, found.x).feasible
        made.append((mip, columns, found.x))
    return made


def likelihood(mip, columns, on):
    likely = np.full(len(mip.cost), np.nan)
    likely[columns.on] = np.where(on, 0.97, 0.03)
    return likely


@pytest.mark.parametrize("coverage", [0.0, 0.3, 0.8, 1.0])
def test_a_sub_mip_decoded_from_a_point_s_own_hours_holds_that_point(solved, coverage):
    for mip, columns, x in solved:
        on = np.rint(x[columns.on])
        lower, upper = hooks.decode(mip, likelihood(mip, columns, on), coverage)
        whole = mip.whole
        assert np.all((lower[whole] <= np.rint(x[whole])) & (np.rint(x[whole]) <= upper[whole]))
        fixed = (lower[columns.on] == upper[columns.on]).mean()
        assert fixed <= coverage + 1 / columns.on.size
        if coverage == 0.3:
            assert fixed > 0.2


def test_hours_that_contradict_least_times_are_decoded_to_some_that_can_be(solved):
    for number, (mip, columns, _) in enumerate(solved):
        draw = np.random.default_rng(number)
        likely = np.full(len(mip.cost), np.nan)
        likely[columns.on] = draw.random(columns.on.shape)
        lower, upper = hooks.decode(mip, likely, 1.0)
        # Whether enough is produced is another matter.
        left, right = mip.left.copy(), mip.right.copy()
        for i, name in enumerate(mip.rows):
            if name.startswith(("demand", "reserve", "ramp", "fall", "rise")):
                left[i], right[i] = -np.inf, np.inf
        free = replace(change_bounds(mip, lower, upper), left=left, right=right)
        assert highs.solve(free, limits=Limits(seconds=20, points=1)).x is not None


def test_plants_are_freed_where_those_fixed_on_could_not_meet_the_need(solved):
    mip, columns, _ = solved[0]
    nothing = likelihood(mip, columns, np.zeros(columns.on.shape))
    lower, upper = hooks.decode(mip, nothing, 1.0)
    assert (upper[columns.on] > lower[columns.on]).any()
    found = highs.solve(change_bounds(mip, lower, upper), limits=Limits(seconds=20, gap=0.1))
    assert found.x is not None
