import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from rooms.diving.branch.nodes import random_graph
from rooms.diving.examples import cover, facilities, infeasible, linear, untrained
from tenfold import diving
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs, instances, scip
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.generate.graphs import independent_set
from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving import solving
from tenfold.rooms.diving.branch.config import GraphConvolution
from tenfold.rooms.diving.branch.policy import BranchNet, Policy
from tenfold.rooms.diving.course import Course
from tenfold.rooms.diving.dive.config import Diving
from tenfold.rooms.diving.dive.search import Task
from tenfold.rooms.diving.solving import Tools, join, mend, solve

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")


@pytest.fixture(scope="module")
def policy():
    """Return an untrained branching policy: the search around it is exact whatever it says."""
    network = GraphConvolution(width=4, depth=1)
    net = BranchNet(network)
    net.measure([random_graph(k) for k in range(4)])
    return Policy(net=net.eval(), network=network)


@pytest.fixture(scope="module")
def tools(policy):
    model = untrained([facilities(0), facilities(1)])
    return Tools(dive=model, branch=policy, diving=Diving(force=True))


def best(mip):
    return highs.solve(mip, limits=Limits(gap=1e-6)).objective


def maximal():
    return independent_set(nodes=40, attach=3, seed=2)


def task(mip, **told):
    return Task(mip=mip, cfg=Diving(force=True, **told), course=Course(mip, seconds=60.0))


# Every way of solving


@pytest.mark.parametrize("how", ["solver", "dive", "branch", "joint"])
@pytest.mark.parametrize("make", [facilities, maximal])
def test_every_way_of_solving_reaches_the_known_optimum(how, make, tools):
    mip = make()
    answer = solve(mip, tools=tools, how=how, seconds=60.0)
    assert answer.status == "optimal"
    assert answer.certificate.feasible
    assert answer.objective == pytest.approx(best(mip), rel=2e-4)
    assert mip.worse_by(answer.bound, answer.objective) <= 1e-6
    assert answer.bound == pytest.approx(answer.objective, rel=2e-4)


def test_the_trace_only_ever_gets_better_in_either_sense(tools):
    for mip, sign in ((cover(0, rows=60, columns=120), 1.0), (maximal(), -1.0)):
        trace = solve(mip, tools=tools, how="dive").trace
        seconds = [step.seconds for step in trace]
        primal = [sign * s.primal for s in trace if np.isfinite(s.primal)]
        dual = [sign * s.dual for s in trace if np.isfinite(s.dual)]
        assert seconds == sorted(seconds)
        assert primal == sorted(primal, reverse=True)
        assert dual == sorted(dual)
        assert dual[-1] <= primal[-1] + 1e-6


@pytest.mark.parametrize("how", ["solver", "dive", "branch", "joint"])
def test_an_infeasible_instance_is_told_so_by_every_way(how, tools):
    answer = solve(infeasible(), tools=tools, how=how)
    assert answer.status == "infeasible"
    assert answer.x is None
    assert answer.certificate is None
    assert np.isnan(answer.obj)


@pytest.mark.parametrize("sense", ["minimize", "maximize"])
def test_an_lp_is_solved_whatever_is_asked_for(sense, tools):
    answer = solve(linear(sense), tools=tools)
    assert answer.status == "optimal"
    assert answer.objective == pytest.approx(3.0 if sense == "minimize" else -3.0)


def test_what_is_done_follows_from_the_tools_that_are_there(tools):
    mip = facilities()
    asked = {
        "joint": tools,
        "dive": replace(tools, branch=None),
        "branch": replace(tools, dive=None),
        "solver": Tools(),
    }
    for how, given in asked.items():
        assert solving._choose("auto", given, mip) == how
        assert solving._choose("auto", given, linear()) == "solver"


@pytest.mark.parametrize("how", ["dive", "branch", "joint"])
def test_a_way_of_solving_whose_tool_is_not_there_is_refused(how, tools):
    for given in (Tools(), replace(tools, dive=None), replace(tools, branch=None)):
        lacks = (how in ("dive", "joint") and given.dive is None) or (
            how in ("branch", "joint") and given.branch is None
        )
        if lacks:
            with pytest.raises(TenfoldError, match=f"{how} needs a .*, which is not given"):
                solve(facilities(), tools=given, how=how)


def test_a_file_is_read_and_solved_like_the_instance_in_it(tmp_path):
    mip = facilities(2)
    instances.write(mip, tmp_path / "f.mps.gz")
    answer = solve(tmp_path / "f.mps.gz")
    assert answer.objective == pytest.approx(best(mip), rel=2e-4)


def test_a_missing_file_is_named():
    with pytest.raises(TenfoldError, match=r"none\.mps"):
        solve("none.mps")


def test_an_unknown_parameter_of_scip_is_named(tools):
    with pytest.raises(TenfoldError, match="no/such"):
        solve(facilities(), tools=tools, how="branch", settings={"no/such": 1})


def test_settings_of_a_user_reach_scip():
    # With a limit of one point of its own, SCIP cannot prove anything.
    mip = cover(0, rows=60, columns=120)
    answer = solve(mip, settings={"limits/solutions": 1, "presolving/maxrounds": 0})
    assert answer.status == "limit"
    assert check_point(mip, answer.x).feasible


# Starts and stops


@pytest.mark.parametrize("how", ["solver", "dive", "branch", "joint"])
def test_a_user_s_start_is_taken_along(how, tools):
    mip = cover(3, rows=60, columns=120)
    start = np.rint(highs.solve(mip, limits=Limits(gap=1e-6)).x)
    answer = solve(mip, tools=tools, how=how, start=start, nodes=1)
    assert answer.objective == pytest.approx(mip.objective(start))
    assert not any("does not fit" in note for note in answer.notes)


def test_a_start_that_does_not_fit_is_told_and_not_used():
    mip = cover(3)
    answer = solve(mip, start=np.zeros(len(mip.cost)))
    assert answer.status == "optimal"
    assert any("the given start does not fit" in note for note in answer.notes)


@pytest.mark.parametrize("how", ["solver", "dive", "branch", "joint"])
def test_a_solve_that_is_stopped_keeps_its_point(how, tools):
    mip = cover(1, rows=200, columns=400)

    def heard(_point):
        raise StopIteration

    answer = solve(mip, tools=tools, how=how, on_point=heard)
    assert answer.status == "stopped"
    assert answer.certificate.feasible


def test_stopping_is_asked_while_a_search_runs(tools):
    mip = cover(1, rows=200, columns=400)
    began = time.monotonic()
    asked = []

    def stopping():
        asked.append(time.monotonic() - began)
        return len(asked) > 40

    answer = solve(mip, tools=tools, how="joint", stopping=stopping)
    assert answer.status == "stopped"


def test_a_solve_ends_by_its_time_with_everything_counted(tools):
    mip = cover(1, rows=300, columns=600)
    answer = solve(mip, tools=tools, how="joint", seconds=0.5)
    assert answer.status == "limit"


# Two threads


def never_ends(a_task, *_more):
    """Search until the course says that it is over."""
    limit = time.monotonic() + 30
    while not a_task.course.ended:
        assert time.monotonic() < limit, "nobody said that nothing is left to find"
        time.sleep(0.005)
    return "stopped"


def proves(status):
    return lambda *_all: status


@pytest.mark.parametrize("status", ["optimal", "infeasible"])
@pytest.mark.parametrize("prover", ["search", "dive"])
def test_a_proof_by_one_side_ends_the_other(monkeypatch, tools, prover, status):
    other = {"search": "dive", "dive": "search"}[prover]
    monkeypatch.setattr(solving, prover, proves(status))
    monkeypatch.setattr(solving, other, never_ends)
    made = task(facilities())
    assert join(made, tools) == status
    assert not made.course.stopped


@pytest.mark.parametrize("side", ["search", "dive"])
def test_a_fault_of_one_side_ends_the_other_and_is_raised(monkeypatch, tools, side):
    def fails(*_all):
        raise TenfoldError("a fault")

    monkeypatch.setattr(solving, side, fails)
    monkeypatch.setattr(solving, {"search": "dive", "dive": "search"}[side], never_ends)
    with pytest.raises(TenfoldError, match="a fault"):
        join(task(facilities()), tools)


@pytest.mark.parametrize("make", [lambda: cover(4, rows=200, columns=400), maximal])
def test_a_search_takes_the_points_of_the_course_at_its_next_node(make):
    mip = make()
    x = np.rint(highs.solve(mip, limits=Limits(seconds=20, gap=1e-3)).x)
    course = Course(mip, seconds=60.0)
    model = scip.build(mip)
    solving._include_listener(model, course)
    course.offer(x)
    # Nothing else may find a point.
    found = scip.solve(
        mip,
        limits=Limits(nodes=1),
        settings={"heuristics": "off", "heuristics/tenfold listener/freq": 1,
                  "presolving/maxrounds": 0, "separating": "off"},
        model=model,
    )  # fmt: skip
    assert found.objective == pytest.approx(mip.objective(x))
    model.freeProb()


def test_a_search_takes_no_point_that_is_none():
    mip = cover(4)
    course = Course(mip, seconds=60.0)
    # Offered without a check, as a broken sub-solver would.
    course.offer(np.zeros(len(mip.cost)))
    model = scip.build(mip)
    solving._include_listener(model, course)
    found = scip.solve(mip, model=model)
    assert found.status == "optimal"
    assert found.objective == pytest.approx(best(mip))
    model.freeProb()


def test_the_bounds_of_a_search_are_dated_from_its_own_beginning(tools):
    made = task(cover(2, rows=60, columns=120))
    before = made.course.now
    solving.search(made, replace(tools, dive=None))
    steps = [step.seconds for step in made.course.trace]
    assert min(steps) >= before
    assert max(steps) <= made.course.now


# Mending


def rounded():
    """Return an instance with a big-M row: an integer a hair off makes room for y."""
    return from_rows(
        name="big-m",
        cost=np.array([1.0, -1.0]),
        matrix=sparse.csr_array([[-1000.0, 1.0]]),
        left=np.array([-np.inf]),
        right=np.array([0.0]),
        upper=np.array([1.0, 500.0]),
        kinds=np.array([Kind.BINARY, Kind.CONTINUOUS], dtype=np.uint8),
    )


def test_a_point_that_rounding_broke_is_repaired_with_its_integers_fixed():
    mip = rounded()
    course = Course(mip, seconds=10.0)
    course.offer(np.array([5e-6, 5e-3]))
    assert not check_point(mip, course.x).feasible
    mend(course)
    assert course.x.tolist() == [0.0, 0.0]
    assert course.answer("limit").certificate.feasible
    assert any("an LP repaired it" in note for note in course.notes)


def test_a_point_that_cannot_be_repaired_is_kept_with_a_warning():
    course = Course(rounded(), seconds=10.0)
    course.offer(np.array([0.4, 400.0]))
    mend(course)
    answer = course.answer("limit")
    assert not answer.certificate.feasible
    assert any("does not fit the instance exactly" in note for note in answer.notes)


def test_a_point_that_fits_is_left_as_it_is():
    course = Course(rounded(), seconds=10.0)
    x = np.array([1.0, 250.0])
    course.offer(x)
    mend(course)
    assert course.x is x
    assert course.notes == []


# The room's door


def test_partial_assignments_are_bounds_that_any_solver_can_use():
    mip = facilities(5)
    model = untrained([mip])
    told = model.partial_assignments(mip, k=3, coverage=0.5)
    assert len(told) == 3
    for one in told:
        assert len(one) == round(0.5 * mip.whole.sum())
        for name, (low, high) in one.items():
            j = mip.columns.index(name)
            assert mip.lower[j] <= low <= high <= mip.upper[j]
            assert (low, high) != (mip.lower[j], mip.upper[j])
    assert model.partial_assignments(mip, k=3, coverage=0.5) == told


def test_solving_by_the_door_gives_the_paper_s_short_names():
    mip = facilities(1)
    answer = diving.solve(mip, dive=untrained([mip]), time=30.0, threads=2)
    assert answer.obj == pytest.approx(best(mip), rel=2e-4)
    assert answer.x.shape == mip.cost.shape
    assert answer.certificate.feasible
    assert answer.trace


def test_a_network_and_a_policy_on_one_thread_dive_and_on_two_work_jointly(tools, monkeypatch):
    hows = []

    def heard(_instance, **told):
        hows.append(told["how"])

    monkeypatch.setattr(solving, "solve", heard)
    for threads in (1, 2):
        diving.solve(facilities(), dive=tools.dive, branch=tools.branch, threads=threads)
    assert hows == ["dive", "auto"]
