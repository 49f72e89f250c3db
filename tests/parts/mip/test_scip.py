import dataclasses

import numpy as np
import pytest

from parts.mip.examples import knapsack, random_mip
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.generate.assigning import facility_location
from tenfold.parts.mip.generate.graphs import auction, set_cover

pytest.importorskip("pyscipopt")

from tenfold.parts.mip import scip, scip_library


@pytest.fixture
def through_objects(monkeypatch):
    """Let SCIP be read and written through PySCIPOpt's objects, as on a machine without more."""

    def switch(slow):
        monkeypatch.setattr(scip_library, "find_obstacle", lambda: "none" if slow else "")

    return switch


INSTANCES = [
    knapsack(offset=1.0),
    random_mip(5, sense="maximize"),
    set_cover(rows=30, columns=60, density=0.1, seed=0),
    facility_location(customers=8, facilities=5, seed=0),
    auction(items=20, bids=60, seed=0),
]


def assert_same(one, two):
    assert (one.sense, one.offset) == (two.sense, pytest.approx(two.offset))
    assert one.columns == two.columns
    assert one.rows == two.rows
    for what in ("cost", "lower", "upper", "kinds", "left", "right"):
        assert np.array_equal(getattr(one, what), getattr(two, what)), what
    assert np.array_equal(one.matrix.toarray(), two.matrix.toarray())


def test_the_library_is_found_and_has_every_function():
    assert scip_library.find_obstacle() == ""
    assert scip_library.find_library().is_file()


@pytest.mark.parametrize("mip", INSTANCES, ids=lambda mip: mip.name)
@pytest.mark.parametrize("built_slowly", [False, True])
def test_pointers_and_objects_build_and_read_the_same(mip, built_slowly, through_objects):
    through_objects(built_slowly)
    model = scip.build(mip)
    for slow in (False, True):
        through_objects(slow)
        assert_same(scip.extract(model, name=mip.name, original=True), mip)


@pytest.mark.parametrize("mip", INSTANCES, ids=lambda mip: mip.name)
def test_pointers_and_objects_read_the_same_of_what_presolve_left(mip, through_objects):
    through_objects(False)
    left = scip.presolve(mip)
    if left.mip is None:
        assert left.status == "optimal"
        return
    through_objects(True)
    assert_same(scip.extract(left.model, name=mip.name, original=False), left.mip)
    point = np.random.default_rng(0).uniform(left.mip.lower, np.minimum(left.mip.upper, 3))
    slow = left.restore(point)
    through_objects(False)
    assert left.restore(point) == pytest.approx(slow)


@pytest.mark.parametrize("seed", range(10))
def test_the_best_point_of_what_is_left_is_the_best_point(seed):
    mip = random_mip(seed, rows=5, whole=4, loose=3, sense=["minimize", "maximize"][seed % 2])
    whole = scip.solve(mip)
    left = scip.presolve(mip)
    if left.mip is None:
        assert left.status == whole.status
        if whole.x is not None:
            assert mip.objective(left.best()) == pytest.approx(whole.objective, abs=1e-6)
        return
    inner = scip.solve(left.mip)
    assert inner.objective == pytest.approx(whole.objective, abs=1e-6)
    checked = check_point(mip, left.restore(inner.x))
    assert checked.feasible, checked.line()
    assert checked.objective == pytest.approx(inner.objective, abs=1e-6)


def test_columns_of_mixed_kinds_keep_their_places():
    """SCIP sorts its columns by kind; a point must not be sorted with them."""
    mip = random_mip(1)
    order = np.array([4, 0, 3, 1, 2])
    mixed = dataclasses.replace(
        mip,
        **{what: getattr(mip, what)[order] for what in ("cost", "lower", "upper", "kinds")},
        matrix=mip.matrix[:, order].sorted_indices(),
        columns=tuple(mip.columns[j] for j in order),
    )
    one, two = scip.solve(mip), scip.solve(mixed)
    assert mixed.objective(two.x) == pytest.approx(one.objective)
    assert check_point(mixed, two.x).feasible
    begun = scip.solve(mixed, start=two.x, keep_points=True)
    assert begun.points[0].objective == pytest.approx(one.objective)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "Minimize x\nSubject to\n q: [ x^2 ] <= 4\nEnd\n",
            "constraint 'q' is of kind 'nonlinear'",
        ),
        (
            "Minimize x + y\nSubject to\n c: x + y >= 1\nSOS\n s: S1:: x:1 y:2\nEnd\n",
            "constraint 's' is of kind 'SOS1'",
        ),
        (
            "Minimize x\nSubject to\n i: b = 1 -> x >= 2\nBinaries\n b\nEnd\n",
            "of kind 'indicator'",
        ),
    ],
)
def test_what_is_not_linear_is_named(text, told, tmp_path):
    file = tmp_path / "m.lp"
    file.write_text(text)
    with pytest.raises(TenfoldError, match=told):
        scip.read(file)


def test_an_error_of_syntax_tells_the_line(tmp_path):
    file = tmp_path / "m.mps"
    file.write_text("NAME x\nROWS\n N obj\nCOLUMNS\n x obj zz\nENDATA\n")
    with pytest.raises(TenfoldError, match=r"cannot be read as .mps: Syntax error in line 6"):
        scip.read(file)
