import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from parts.mip.examples import as_json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.generate import unit_commitment as uc
from tenfold.parts.mip.instance import change_bounds

pytest.importorskip("highspy")

from tenfold.parts.mip import highs
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.solving import Limits

DAY = Path(__file__).parents[3] / "../shared/data/mip/pglib_uc/rts_gmlc/2020-05-05.json.gz"


def relive(system, on, power, wind):
    """Run a day hour by hour with plain loops; return its cost, or what was broken.

    `on` [G, T] of booleans, `power` [G, T] in MW above the minimum, `wind` [W, T].
    """
    cost = 0.0
    for g in range(len(system.most)):
        was_on = bool(system.on_before[g])
        held = int(system.time_before[g])
        above = system.power_before[g] - system.least[g] if was_on else 0.0
        for t in range(system.hours):
            now = bool(on[g, t])
            out = power[g, t]
            if not now and out > 1e-6:
                return f"unit {g} is off in hour {t} and gives {out}"
            if now != was_on:
                need = system.hours_up[g] if was_on else system.hours_down[g]
                if held < need:
                    return f"unit {g} switches in hour {t} after {held} of {need} hours"
                if now:
                    lags = [price for lag, price in system.starts[g] if lag <= held]
                    cost += lags[-1]
                    if out > max(system.ramp_start[g], system.least[g]) - system.least[g] + 1e-6:
                        return f"unit {g} starts too steeply in hour {t}"
                held = 0
            if out > system.most[g] - system.least[g] + 1e-6:
                return f"unit {g} is above its maximum in hour {t}"
            if out - above > system.ramp_up[g] + 1e-6 or above - out > system.ramp_down[g] + 1e-6:
                return f"unit {g} ramps too fast in hour {t}"
            if now:
                mw, price = np.array(system.pieces[g]).T
                cost += float(np.interp(system.least[g] + out, mw, price))
            held, was_on, above = held + 1, now, out
    given = (on * system.least[:, None] + power).sum(axis=0) + wind.sum(axis=0)
    if np.abs(given - system.demand).max() > 1e-5:
        return "demand is not met"
    return cost


def point_of(system, mip, x):
    count, hours = len(system.most), system.hours

    def block(name, rows):
        return x[[mip.columns.index(f"{name}_{g}_{t}") for g in range(rows) for t in range(hours)]]

    on = np.rint(block("on", count)).reshape(count, hours).astype(bool)
    wind = block("wind", len(system.wind_most)).reshape(-1, hours)
    return on, block("power", count).reshape(count, hours), wind


@pytest.mark.parametrize("seed", range(3))
def test_a_day_relived_hour_by_hour_costs_what_the_model_says(seed):
    system = uc.draw_system(units=6, hours=12, seed=seed)
    mip = uc.unit_commitment(system)
    found = highs.solve(mip, limits=Limits(gap=1e-3, seconds=30))
    assert found.status == "optimal"
    assert check_point(mip, found.x).feasible
    assert relive(system, *point_of(system, mip, found.x)) == pytest.approx(
        found.objective, rel=1e-5
    )


def test_the_model_allows_exactly_the_patterns_that_can_be_lived():
    system = uc.draw_system(units=4, hours=5, seed=3)
    mip, columns = uc.model_of(system)
    # Whether enough is produced is another matter.
    for i, name in enumerate(mip.rows):
        if name.startswith(("demand", "reserve")):
            mip.left[i], mip.right[i] = -np.inf, np.inf
    draw = np.random.default_rng(0)
    told = {True: 0, False: 0}
    for _ in range(150):
        lower, upper = mip.lower.copy(), mip.upper.copy()
        pattern = draw.random(columns.on.shape) < draw.uniform(0.5, 1.0)
        lower[columns.on] = upper[columns.on] = pattern
        found = highs.solve(change_bounds(mip, lower, upper))
        assert (found.x is not None) == can_be_lived(system, pattern)
        told[found.x is not None] += 1
    assert min(told.values()) > 15


def can_be_lived(system, on):
    for g in range(len(on)):
        was_on, held = bool(system.on_before[g]), int(system.time_before[g])
        above = system.power_before[g] - system.least[g]
        room = min(system.ramp_down[g], system.ramp_stop[g] - system.least[g])
        if was_on and not on[g, 0] and above > room:
            return False
        for now in on[g]:
            if now != was_on:
                if held < (system.hours_up[g] if was_on else system.hours_down[g]):
                    return False
                held = 0
            held, was_on = held + 1, bool(now)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_fleet_can_carry_its_day(seed):
    system = uc.draw_system(units=30, hours=24, seed=seed)
    assert highs.relax(uc.unit_commitment(system)).status == "optimal"
    assert 0.6 < system.demand.max() / system.most.sum() < 0.9
    assert (system.ramp_start >= system.least).all()
    assert all(pieces[-1][0] == pytest.approx(m) for pieces, m in zip(
        system.pieces, system.most, strict=True
    ))  # fmt: skip


def test_a_day_of_pglib_is_read_back(tmp_path):
    system = uc.draw_system(units=6, hours=12, seed=0)
    file = tmp_path / "day.json.gz"
    file.write_bytes(gzip.compress(json.dumps(as_json(system)).encode()))
    back = uc.read_system(file)
    assert uc.unit_commitment(back).digest() == uc.unit_commitment(system).digest()
    short = uc.read_system(file, hours=5)
    assert short.hours == 5
    assert short.wind_most.shape == (2, 5)


def test_faults_of_a_file_are_told(tmp_path):
    file = tmp_path / "day.json"
    data = as_json(uc.draw_system(units=3, hours=4, seed=0))
    for change, told in (
        ("{", "cannot be read as unit commitment data"),
        (json.dumps({k: v for k, v in data.items() if k != "demand"}), "lacks 'demand'"),
        (json.dumps(data | {"demand": [1.0]}), "demand has 1 values for 4 hours"),
    ):
        file.write_text(change)
        with pytest.raises(TenfoldError, match=told):
            uc.read_system(file)


@pytest.mark.skipif(not DAY.is_file(), reason="the days of RTS-GMLC are not at hand")
def test_the_relaxation_of_a_real_day_is_below_its_known_optimum():
    mip = uc.unit_commitment(uc.read_system(DAY, hours=24))
    assert mip.binary.sum() == 3 * 73 * 24
    bound = highs.relax(mip).objective
    assert 0.99 * 1_301_738.61 < bound < 1_301_738.61
