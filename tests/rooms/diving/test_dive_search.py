import time
from dataclasses import replace

import numpy as np
import pytest

from rooms.diving.examples import cover, facilities, infeasible, linear, untrained
from tenfold.parts.mip import highs, scip
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.generate.graphs import independent_set
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving.course import Course, Piece
from tenfold.rooms.diving.dive import search
from tenfold.rooms.diving.dive.assign import Partial
from tenfold.rooms.diving.dive.config import Diving
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.search import TRIES, Task, dive, follow, sub_solver, wants_root

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")


def task(mip, *, seconds=60.0, on_point=None, stopping=lambda: False, began=None, **told):
    course = Course(mip, seconds=seconds, on_point=on_point, stopping=stopping, began=began)
    return Task(mip=mip, cfg=Diving(force=True, **told), course=course)


def best(mip):
    return highs.solve(mip, limits=Limits(gap=1e-6)).objective


def fixing(mip, columns, value):
    lower, upper = mip.lower.copy(), mip.upper.copy()
    lower[columns] = upper[columns] = value
    return lower, upper


# Whole dives


@pytest.mark.parametrize("root_lp", ["always", "never"])
@pytest.mark.parametrize("make", [facilities, cover])
def test_an_untrained_network_still_ends_at_the_optimum(make, root_lp):
    mip = make(3)
    model = untrained([make(0), make(1)])
    asked = task(mip, root_lp=root_lp)
    assert dive(asked, model, Hooks()) == "optimal"
    answer = asked.course.answer("optimal")
    assert answer.certificate.feasible
    assert answer.objective == pytest.approx(best(mip), rel=2e-4)
    assert any(note.startswith("dive at coverage") for note in answer.notes)
    assert any(note.startswith("root LP") for note in answer.notes) == (root_lp == "always")


def test_dives_go_from_stage_to_stage_with_fewer_assignments():
    mip = facilities(1)
    asked = task(mip, stages=(1.0, 0.5), coverage=0.6)
    assert dive(asked, untrained([mip]), Hooks()) == "limit"
    told = [note.split()[3] for note in asked.course.notes if note.startswith("dive at")]
    coverages = [float(word.rstrip(":,")) for word in told]
    assert len(coverages) >= 2
    assert coverages == sorted(coverages, reverse=True)


def test_an_lp_is_said_to_be_one_and_solved():
    asked = task(linear())
    assert dive(asked, untrained([cover()]), Hooks()) == "optimal"
    assert asked.course.objective == pytest.approx(3.0)
    assert any("this is an LP" in note for note in asked.course.notes)


def test_an_infeasible_instance_is_told_so_without_an_exception():
    asked = task(infeasible())
    assert dive(asked, untrained([cover()]), Hooks()) == "infeasible"
    assert asked.course.answer("infeasible").x is None


def test_an_instance_unlike_those_of_training_is_left_to_the_solver():
    model = untrained([facilities(0), facilities(1)])
    asked = replace(task(cover()), cfg=Diving())
    assert dive(asked, model, Hooks()) == "optimal"
    notes = " ".join(asked.course.notes)
    assert "warning" in notes
    assert "the solver goes on alone" in notes
    assert "dive at coverage" not in notes


def test_a_hook_that_raises_ends_the_dive_and_not_the_solve():
    def features(_mip):
        raise ZeroDivisionError("by zero")

    asked = task(cover())
    hooks = Hooks(name="own.py", features=features)
    assert dive(asked, untrained([cover()]), hooks) == "optimal"
    assert any("features of own.py raised ZeroDivisionError" in n for n in asked.course.notes)


def test_dives_that_are_limited_by_nodes_repeat_exactly():
    mip = cover(2, rows=60, columns=120)
    points = []
    for _ in range(2):
        asked = task(mip, nodes=3, dives=2, stages=(1.0, 0.5), sub_solver="scip")
        dive(asked, untrained([mip]), Hooks())
        points.append(asked.course.x)
    assert points[0] is not None
    assert np.array_equal(points[0], points[1])


@pytest.mark.parametrize("solver", ["scip", "highs"])
def test_dives_side_by_side_each_solve_a_sub_mip_of_their_own(solver):
    mip = facilities(4)
    asked = task(mip, dives=3, stages=(1.0,), sub_solver=solver, coverage=0.4)
    dive(asked, untrained([mip]), Hooks())
    dives = [note for note in asked.course.notes if note.startswith("dive at")]
    assert len(dives) % 3 == 0
    assert len(dives) >= 3
    assert check_point(mip, asked.course.x).feasible


# Steps


def proposals(mip, *, fits_below):
    """Propose what no point fits as long as the coverage is not small enough."""
    asked = []
    good = np.flatnonzero(highs.solve(mip, limits=Limits(points=1)).x > 0.5)

    def propose(coverage, attempt):
        assert attempt == len(asked)
        asked.append(coverage)
        columns, value = (good[:1], 1.0) if coverage < fits_below else (mip.whole, 0.0)
        lower, upper = fixing(mip, columns, value)
        return [Partial(lower=lower, upper=upper, coverage=coverage, tightened=1)]

    return propose, asked


def test_assignments_that_no_point_fits_are_tried_again_with_fewer_of_them():
    mip = cover(5)
    propose, asked = proposals(mip, fits_below=0.5)
    made = task(mip, stages=(1.0,), shrink=0.8, elastic=False)
    assert follow(made, propose, coverage=0.9) == "limit"
    assert asked == pytest.approx([0.9, 0.72, 0.576, 0.4608])
    assert check_point(mip, made.course.x).feasible


def test_an_elastic_lp_frees_what_stands_in_the_way_before_fewer_are_assigned():
    mip = cover(5)
    propose, asked = proposals(mip, fits_below=0.0)
    made = task(mip, stages=(1.0,))
    assert follow(made, propose, coverage=0.9) == "limit"
    assert asked == [0.9]
    assert check_point(mip, made.course.x).feasible
    assert any(note.startswith("an elastic LP freed") for note in made.course.notes)


def test_the_first_stage_may_assign_more_than_the_network_begins_with_but_no_more_than_all():
    mip = cover(5)
    chosen = np.flatnonzero(highs.solve(mip, limits=Limits(points=1)).x > 0.5)[:1]
    lower, upper = fixing(mip, chosen, 1.0)
    asked = []

    def propose(coverage, _attempt):
        asked.append(coverage)
        return [Partial(lower=lower, upper=upper, coverage=coverage, tightened=1)]

    follow(task(mip, stages=(1.3, 1.0)), propose, coverage=0.9)
    assert asked == [1.0, 0.9]


def test_if_no_assignment_ever_fits_the_whole_instance_is_solved():
    mip = cover(5)
    propose, asked = proposals(mip, fits_below=0.0)
    made = task(mip, elastic=False)
    assert follow(made, propose, coverage=0.9) == "optimal"
    assert len(asked) == TRIES
    assert made.course.objective == pytest.approx(best(mip), rel=2e-4)


def test_where_a_sub_mip_took_too_long_more_is_assigned_but_less_than_did_not_fit(monkeypatch):
    ends = iter(["infeasible", "limit", "limit", "optimal"])

    def run(_task, partial):
        status = next(ends)
        return Piece(status=status, coverage=partial.coverage, columns=1, seconds=0.0,
                     found=status == "optimal")  # fmt: skip

    monkeypatch.setattr(search, "_run", run)
    mip = cover()
    propose, asked = proposals(mip, fits_below=0.0)
    follow(task(mip, stages=(1.0,), shrink=0.5, elastic=False), propose, coverage=0.8)
    assert asked == pytest.approx([0.8, 0.4, 0.6, 0.7])


def test_a_partial_assignment_that_moves_no_bound_hands_over_to_the_solver():
    mip = cover(6)
    made = task(mip)
    nothing = Partial(lower=mip.lower, upper=mip.upper, coverage=0.5, tightened=0)
    assert follow(made, lambda _coverage, _attempt: [nothing], coverage=0.5) == "optimal"
    assert not any(note.startswith("dive at") for note in made.course.notes)


def test_an_assignment_of_every_column_is_a_point_itself():
    mip = cover(7)
    x = np.rint(highs.solve(mip).x)
    all_of_it = Partial(lower=x, upper=x, coverage=1.0, tightened=len(x))
    made = task(mip, stages=(1.0,))
    follow(made, lambda _coverage, _attempt: [all_of_it], coverage=1.0)
    assert np.array_equal(made.course.x, x)
    assert any("0 columns left" in note for note in made.course.notes)


def test_a_maximisation_keeps_the_larger_objective():
    mip = independent_set(nodes=40, attach=3, seed=0)
    made = task(mip)
    assert dive(made, untrained([mip]), Hooks()) == "optimal"
    assert made.course.objective == pytest.approx(best(mip), rel=2e-4)


# Starts, stops and limits


def test_a_start_that_fits_is_taken_and_never_lost():
    mip = cover(8, rows=60, columns=120)
    start = np.rint(highs.solve(mip, limits=Limits(gap=1e-6)).x)
    heard = []
    made = task(mip, nodes=1, on_point=heard.append)
    assert made.course.begin(start)
    dive(made, untrained([mip]), Hooks())
    assert made.course.objective == pytest.approx(mip.objective(start))
    assert len(heard) == 1


def test_a_start_that_does_not_fit_is_not_taken():
    made = task(cover())
    assert not made.course.begin(np.zeros(len(made.mip.cost)))
    assert made.course.x is None


def test_a_listener_that_raises_stop_iteration_ends_the_dive_with_its_point():
    mip = cover(1, rows=60, columns=120)

    def heard(_point):
        raise StopIteration

    made = task(mip, on_point=heard)
    dive(made, untrained([mip]), Hooks())
    assert made.course.stopped
    assert made.course.x is not None
    assert made.course.left == 0.0


def test_a_dive_that_is_asked_to_stop_before_it_begins_ends_at_once():
    mip = cover(1)
    made = task(mip, stopping=lambda: True)
    assert dive(made, untrained([mip]), Hooks()) in ("limit", "stopped")
    assert made.course.x is None


def test_time_that_passed_before_the_network_was_asked_counts():
    mip = facilities(0)
    made = task(mip, seconds=5.0, began=time.monotonic() - 10.0)
    dive(made, untrained([mip]), Hooks())
    assert made.course.left == 0.0
    assert not any(note.startswith("dive at") for note in made.course.notes)


# Choices


def test_the_sub_solver_goes_by_columns_unless_it_is_named():
    assert sub_solver(Diving(), 4_999) is scip
    assert sub_solver(Diving(), 5_000) is highs
    assert sub_solver(Diving(sub_solver="scip"), 10**6) is scip
    assert sub_solver(Diving(sub_solver="highs"), 1) is highs


@pytest.mark.parametrize(
    ("trained", "asked", "many", "wanted"),
    [
        ("auto", "auto", False, True),
        ("auto", "auto", True, False),
        ("auto", "never", False, False),
        ("auto", "always", True, True),
        ("always", "never", True, True),
        ("never", "always", False, False),
    ],
)
def test_the_root_lp_is_solved_where_it_pays_and_the_network_can_use_it(
    trained, asked, many, wanted, monkeypatch
):
    mip = cover()
    monkeypatch.setattr(search, "LP_COLUMNS", 10 if many else 1_000)
    model = untrained([mip], root_lp=trained)
    assert wants_root(mip, model, asked) == wanted


def test_the_bound_of_the_root_lp_is_kept():
    mip = facilities(2)
    made = task(mip, stages=(1.0,), root_lp="always")
    dive(made, untrained([mip]), Hooks())
    assert made.course.bound == pytest.approx(highs.relax(mip).objective)
    assert made.course.bound <= best(mip)
