"""Both solver adapters of parts/mip give the same, right answers to the same five calls."""

import gzip
import importlib
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import linprog

from parts.mip.examples import brute_force, knapsack, random_mip
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.instance import change_bounds
from tenfold.parts.mip.points import write_point
from tenfold.parts.mip.solving import Limits


@pytest.fixture(scope="module", params=["scip", "highs"])
def solver(request):
    pytest.importorskip({"scip": "pyscipopt", "highs": "highspy"}[request.param])
    return importlib.import_module(f"tenfold.parts.mip.{request.param}")


def least(cost, table, left, right, lower, upper):
    """Return the least value of an LP by scipy, `None` if there is no point."""
    rows = [(table[left > -np.inf] * -1, -left[left > -np.inf])]
    rows += [(table[right < np.inf], right[right < np.inf])]
    found = linprog(
        cost, np.concatenate([a for a, _ in rows]), np.concatenate([b for _, b in rows]),
        bounds=np.stack([lower, upper], axis=1),
    )  # fmt: skip
    return found.fun if found.status == 0 else None


def test_the_version_names_the_solver(solver):
    name, number = solver.version().split()
    assert name.lower() == solver.__name__.rpartition(".")[2]
    assert len(number.split(".")) == 3


@pytest.mark.parametrize("sense", ["maximize", "minimize"])
def test_a_known_optimum(solver, sense):
    mip = knapsack(sense, offset=2.0)
    found = solver.solve(mip, keep_points=True)
    value = 15.0 if sense == "maximize" else -11.0
    assert found.status == "optimal"
    assert (found.objective, found.bound) == pytest.approx((value, value))
    assert found.x == pytest.approx([2, 0, 1])
    assert check_point(mip, found.x).objective == pytest.approx(value)
    assert found.points[-1].objective == pytest.approx(value)
    assert np.array_equal(found.points[-1].x, found.x)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sense", ["maximize", "minimize"])
def test_small_instances_end_as_brute_force_does(solver, seed, sense):
    mip = random_mip(seed, sense=sense)
    best = brute_force(mip, least)
    found = solver.solve(mip)
    if best is None:
        assert found.status == "infeasible"
        assert found.x is None
        return
    assert found.status == "optimal"
    # Both use up their tolerance of 1e-6 in rows and bounds.
    assert found.objective == pytest.approx(best, abs=2e-5)
    checked = check_point(mip, found.x)
    assert checked.feasible, checked.line()
    assert checked.objective == pytest.approx(best, abs=2e-5)


@pytest.mark.parametrize("sense", ["maximize", "minimize"])
def test_duals_price_the_rows_and_prove_the_relaxation(solver, sense):
    mip = knapsack(sense)
    found = solver.relax(mip)
    sign = 1.0 if sense == "maximize" else -1.0
    assert found.status == "optimal"
    assert found.objective == pytest.approx(sign * 13.0)
    assert found.x == pytest.approx([2, 0, 1])
    assert found.duals == pytest.approx(sign * np.array([1.0, 0.0, 1.0]))
    assert found.reduced == pytest.approx(mip.cost - mip.matrix.T @ found.duals)
    # Basic columns have no reduced cost; b lies at its lower bound.
    assert found.basis.tolist() == [1, 0, 1]


@pytest.mark.parametrize("seed", range(8))
def test_the_relaxation_is_what_scipy_says(solver, seed):
    mip = random_mip(seed)
    value = least(mip.cost, mip.matrix.toarray(), mip.left, mip.right, mip.lower, mip.upper)
    found = solver.relax(mip)
    assert found.objective == pytest.approx(value + mip.offset)
    assert mip.objective(found.x) == pytest.approx(found.objective)


@pytest.mark.parametrize("suffix", [".mps", ".lp", ".mps.gz", ".lp.gz"])
@pytest.mark.parametrize("other", ["scip", "highs"])
def test_a_file_holds_the_whole_instance(solver, other, suffix, tmp_path):
    reader = importlib.import_module(f"tenfold.parts.mip.{other}")
    mip = random_mip(3, rows=5, whole=2, loose=3, sense="maximize")
    plain, file = tmp_path / f"m{suffix[:4].rstrip('.')}", tmp_path / f"m{suffix}"
    solver.write(mip, plain)
    if suffix.endswith(".gz"):
        file.write_bytes(gzip.compress(plain.read_bytes()))
    back = reader.read(file)
    assert back.name == "m"
    assert sorted(back.columns) == sorted(mip.columns)
    # LP files name columns in the order in which rows need them.
    order = [back.columns.index(name) for name in mip.columns]
    assert back.sense == mip.sense
    assert back.offset == pytest.approx(mip.offset)
    for what in ("cost", "lower", "upper", "kinds"):
        assert getattr(back, what)[order] == pytest.approx(getattr(mip, what)), what
    by_name = {name: i for i, name in enumerate(back.rows)}
    rows = [by_name[name] for name in mip.rows if name in by_name]
    kept = [i for i, name in enumerate(mip.rows) if name in by_name]
    assert len(kept) == len(mip.rows)
    assert back.matrix.toarray()[rows][:, order] == pytest.approx(mip.matrix.toarray())
    assert back.left[rows] == pytest.approx(mip.left)
    assert back.right[rows] == pytest.approx(mip.right)


def test_what_cannot_be_read_is_told(solver, tmp_path):
    for name, text, told in (
        ("none.mps", None, "no file"),
        ("m.txt", "x", "ends in .txt"),
        ("bad.lp", "min x +\n such that dfg &&\n", "cannot be read|cannot read"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(TenfoldError, match=told):
            solver.read(tmp_path / name)


def test_infeasible_and_unbounded_are_told_apart_from_limits(solver):
    mip = knapsack()
    shut = change_bounds(mip, np.full(3, 3.0), mip.upper)
    assert solver.solve(shut).status == "infeasible"
    assert solver.relax(shut).status == "infeasible"
    loose = change_bounds(mip, np.full(3, -np.inf), mip.upper)
    assert solver.solve(loose).status in ("optimal", "unbounded", "unclear")
    free = change_bounds(knapsack("minimize"), mip.lower, np.full(3, np.inf))
    assert solver.solve(free).status == "optimal"


def test_a_start_is_where_the_trace_begins_and_is_never_lost(solver):
    mip = set_cover(rows=60, columns=120, density=0.05, seed=0)
    start = np.ones(120)
    found = solver.solve(mip, start=start, limits=Limits(nodes=1, points=1), keep_points=True)
    assert found.trace[0].primal == found.points[0].objective == mip.objective(start)
    assert found.objective <= mip.objective(start)
    # A point that fits nothing is passed over.
    found = solver.solve(mip, start=np.zeros(120))
    assert found.status == "optimal"
    assert found.trace[0].primal != 0.0


def test_a_trace_only_improves_and_begins_with_the_first_point(solver):
    mip = set_cover(rows=80, columns=160, density=0.05, seed=1)
    seen = []
    found = solver.solve(mip, on_point=lambda point: seen.append(point))
    assert found.status == "optimal"
    times = [step.seconds for step in found.trace]
    assert times == sorted(times)
    assert times[-1] <= found.seconds
    primal = [step.primal for step in found.trace if np.isfinite(step.primal)]
    assert all(b <= a + 1e-9 for a, b in pairwise(primal))
    dual = [step.dual for step in found.trace if np.isfinite(step.dual)]
    assert dual[-1] == pytest.approx(found.objective)
    assert all(step.dual <= found.objective + 1e-6 for step in found.trace)
    values = [point.objective for point in seen]
    assert values == sorted(values, reverse=True)
    assert all(check_point(mip, point.x).feasible for point in seen)
    assert all(mip.objective(point.x) == pytest.approx(point.objective) for point in seen)


def test_a_callback_can_end_the_search(solver):
    mip = set_cover(rows=200, columns=400, density=0.05, seed=2)

    def enough(_point):
        raise StopIteration

    found = solver.solve(mip, on_point=enough, limits=Limits(seconds=20))
    assert found.status in ("stopped", "optimal")
    assert found.x is not None


def test_the_same_seed_and_limits_give_the_same_answer(solver):
    mip = set_cover(rows=150, columns=300, density=0.05, seed=3)
    one, two = (solver.solve(mip, limits=Limits(nodes=5), seed=7) for _ in range(2))
    assert np.array_equal(one.x, two.x)
    assert (one.nodes, one.iterations, one.bound) == (two.nodes, two.iterations, two.bound)


def test_a_budget_of_iterations_ends_the_search_or_is_refused(solver):
    mip = set_cover(rows=200, columns=400, density=0.05, seed=3)
    limits = Limits(iterations=400, seconds=20)
    if solver.__name__.endswith("highs"):
        with pytest.raises(TenfoldError, match="cannot stop a search after 400 iterations"):
            solver.solve(mip, limits=limits)
        return
    one, two = (solver.solve(mip, limits=limits) for _ in range(2))
    assert one.status == "limit"
    assert one.iterations >= 400
    assert (one.iterations, one.bound) == (two.iterations, two.bound)


def test_an_unknown_setting_is_named(solver):
    with pytest.raises(TenfoldError, match="no_such_thing"):
        solver.solve(knapsack(), settings={"no_such_thing": 1})


def test_both_solvers_read_the_point_that_is_written(solver, tmp_path):
    mip, file = knapsack(offset=2.0), tmp_path / "x.sol"
    write_point(mip, np.array([2.0, 0.0, 1.0]), file)
    model = solver.build(mip)
    if hasattr(model, "readSolFile"):
        point = model.readSolFile(str(file))
        assert model.checkSol(point, original=True)
        assert model.getSolObjVal(point) == pytest.approx(15.0)
        model.freeSol(point)
    else:
        model.readSolution(str(file), 0)
        assert list(model.getSolution().col_value) == [2.0, 0.0, 1.0]
