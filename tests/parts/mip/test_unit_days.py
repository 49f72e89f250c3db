"""Real days, varied: the load moves, units go out, the day itself stays as it is."""

import gzip
import json

import numpy as np
import pytest

from parts.mip.examples import as_json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs
from tenfold.parts.mip.generate import unit_days
from tenfold.parts.mip.generate.unit_commitment import draw_system, read_system, unit_commitment
from tenfold.parts.mip.solving import Limits


@pytest.fixture
def day(tmp_path):
    file = tmp_path / "days" / "spring.json.gz"
    file.parent.mkdir()
    told = json.dumps(as_json(draw_system(units=40, hours=6, seed=0)))
    file.write_bytes(gzip.compress(told.encode()))
    return file


def test_variation_zero_is_the_day_itself(day):
    made = unit_days.make_day(day, variation=0)
    assert made.digest() == unit_commitment(read_system(day)).digest()
    assert (
        unit_days.make_day(day, variation=0, hours=4).counts()["columns"]
        < (made.counts()["columns"])
    )


def test_a_variation_repeats_and_differs_from_others(day):
    one, again, other = (unit_days.make_day(day, variation=v).digest() for v in (1, 1, 2))
    assert one == again != other


def test_a_varied_day_keeps_within_its_ranges_and_has_a_plan(day):
    system = read_system(day)
    counts = set()
    for seed in range(1, 9):
        varied = unit_days.vary(system, seed)
        counts.add(len(varied.most))
        ratio = varied.demand / system.demand
        assert 0.8 < ratio.min() <= ratio.max() < 1.2
        assert np.all(varied.wind_most >= varied.wind_least - 1e-9)
        assert len(varied.starts) == len(varied.most) == len(varied.hours_up)
    assert len(counts) > 1
    found = highs.solve(unit_days.make_day(day, variation=1), limits=Limits(points=1, seconds=20))
    assert found.x is not None


def test_units_that_must_run_never_go_out(day):
    system = read_system(day)
    held = unit_days.replace(system, must_run=np.ones(len(system.most), dtype=bool))
    assert all(len(unit_days.vary(held, seed).most) == len(held.most) for seed in range(1, 5))


def test_days_are_found_in_folders_and_their_absence_is_told(day, tmp_path):
    assert unit_days.days_in(tmp_path) == (day,)
    assert unit_days.days_in(day) == (day,)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TenfoldError, match=r"holds no \.json"):
        unit_days.days_in(empty)
