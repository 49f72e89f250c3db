"""Every file of a collection with known optima; minutes long, and left out where it is absent.

    pytest tests/parts/mip/test_known_files.py -m slow -s

`-s` shows a line for each file, with the reason where one could not be read or proved.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.engine.progress import say
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.generate import unit_commitment as uc
from tenfold.parts.mip.solving import Limits

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")

from tenfold.parts.mip import highs, scip

DATA = Path(__file__).parents[3] / "../shared/data/mip"
DAYS = sorted(DATA.rglob("*.json.gz"))
FILES = sorted({*DATA.rglob("*.gz")} - {*DAYS})
KNOWN = json.loads((DATA / "optima.json").read_text()) if FILES else {}
SECONDS = 30.0
PRINTED = 5e-6
"""Relative; catalogues print eight digits and fewer."""
REFUSED = {"mk_5.lp.gz", "mis_2.lp.gz"}
"""HiGHS's parser of .lp does not take these; SCIP does."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not FILES, reason=f"no collection in {DATA}"),
]


def name_of(path):
    return str(path.relative_to(DATA))


def tell(path, mip, solved, more):
    rows, columns = mip.shape
    say(
        f"{name_of(path)}: {rows} x {columns}, {solved.status} {solved.objective:.10g} "
        f"in {solved.seconds:.1f} s, {more}"
    )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_reads_and_agrees_with_its_known_optimum(path):
    known = KNOWN[name_of(path)]
    mip = scip.read(path)
    assert mip.sense == known["sense"]
    assert mip.shape[1] == known["vars"]
    solved = scip.solve(mip, limits=Limits(seconds=SECONDS))
    tell(path, mip, solved, f"listed {known['objective']}")
    if known["status"] == "infeasible":
        assert solved.status == "infeasible"
        return
    if solved.x is not None:
        checked = check_point(mip, solved.x)
        assert checked.feasible, checked.line()
        assert checked.objective == pytest.approx(solved.objective, rel=1e-9, abs=1e-6)
    listed = known["objective"]
    if listed is None:
        return
    if solved.status == "optimal":
        assert solved.objective == pytest.approx(listed, rel=PRINTED, abs=1e-6)
    else:
        assert solved.status == "limit"
        sign = 1.0 if mip.sense == "minimize" else -1.0
        # What is listed as optimal is neither beaten by a point nor shut out by a bound.
        room = PRINTED * abs(listed) + 1e-6
        assert sign * solved.bound <= sign * listed + room
        if known["status"] == "optimal" and solved.x is not None:
            assert sign * solved.objective >= sign * listed - room


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_both_solvers_read_the_same_or_the_refusal_is_known(path):
    try:
        second = highs.read(path)
    except TenfoldError as error:
        say(str(error))
        assert path.name in REFUSED
        return
    assert path.name not in REFUSED
    first = scip.read(path)
    assert second.sense == first.sense
    assert second.offset == pytest.approx(first.offset)
    assert set(second.columns) == set(first.columns)
    place = {name: j for j, name in enumerate(second.columns)}
    order = np.array([place[name] for name in first.columns])
    for what in ("cost", "lower", "upper", "kinds"):
        assert np.array_equal(getattr(second, what)[order], getattr(first, what)), what
    # Only one of them keeps rows without sides.
    bound = {name: row for name, *row in rows_of(first)}
    also = {name: row for name, *row in rows_of(second)}
    assert bound.keys() == also.keys()
    for name, (left, right, table) in bound.items():
        assert also[name][:2] == [left, right], name
        assert also[name][2] == table, name


def rows_of(mip):
    """Yield name, sides and entries by column of each row that has a side."""
    for i, name in enumerate(mip.rows):
        if np.isfinite(mip.left[i]) or np.isfinite(mip.right[i]):
            span = slice(mip.matrix.indptr[i], mip.matrix.indptr[i + 1])
            held = (mip.columns[j] for j in mip.matrix.indices[span])
            table = dict(zip(held, mip.matrix.data[span].tolist(), strict=True))
            yield name, mip.left[i], mip.right[i], table


@pytest.mark.parametrize("path", DAYS, ids=name_of)
def test_a_day_of_unit_commitment_reads_and_its_relaxation_has_a_plan(path):
    system = uc.read_system(path)
    assert system.hours == 48
    assert (system.demand + system.reserve < system.most.sum() + system.wind_most.sum(axis=0)).all()
    mip = uc.unit_commitment(uc.first_hours(system, 3))
    relaxed = highs.relax(mip, seconds=SECONDS)
    tell(path, mip, relaxed, "relaxation of the first 3 of 48 hours")
    assert relaxed.status == "optimal"
    assert relaxed.objective > 0
