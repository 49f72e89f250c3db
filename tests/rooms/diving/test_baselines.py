from dataclasses import replace

import numpy as np
import pytest

from rooms.diving.examples import cover, facilities, infeasible, integers, linear
from tenfold.parts.mip import highs
from tenfold.parts.mip.labels import Pool
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving import baselines
from tenfold.rooms.diving.baselines import EMPHASES, best_emphasis, remember, rens, vote
from tenfold.rooms.diving.course import Course, Piece
from tenfold.rooms.diving.dive import search
from tenfold.rooms.diving.dive.collecting import fix_whole_values
from tenfold.rooms.diving.dive.config import Diving
from tenfold.rooms.diving.dive.looks import solve_root
from tenfold.rooms.diving.dive.search import Task
from tenfold.rooms.diving.dive.store import Labelled

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")


def task(mip, **told):
    return Task(mip=mip, cfg=Diving(**told), course=Course(mip, seconds=60.0))


def best(mip):
    return np.rint(highs.solve(mip, limits=Limits(gap=1e-6)).x * mip.whole)


def labelled(mip, x, key="a"):
    pool = Pool(
        x=np.asarray(x, dtype=float)[None], objectives=np.array([mip.objective(x)]), bound=0.0,
        digest=mip.digest(), source={},
    )  # fmt: skip
    return Labelled(key=key, mip=mip, pool=pool, relaxed=None)


@pytest.fixture
def heard(monkeypatch):
    """Return the partial assignments that are tried; each is said to have a point."""
    partials = []

    def run(_task, partial):
        partials.append(partial)
        return Piece(status="optimal", coverage=partial.coverage, columns=1, seconds=0.0,
                     found=True)  # fmt: skip

    monkeypatch.setattr(search, "_run", run)
    return partials


# LP-RENS


@pytest.mark.parametrize("make", [lambda: facilities(3), lambda: cover(2), lambda: cover(5)])
def test_rens_fixes_exactly_what_the_root_lp_leaves_whole(heard, make):
    mip = make()
    rens(task(mip))
    relaxed = solve_root(mip)
    fixed = heard[0].lower == heard[0].upper
    whole = np.abs(relaxed.x - np.rint(relaxed.x)) < 1e-6
    assert np.array_equal(fixed, mip.whole & whole)
    assert np.array_equal(heard[0].lower[fixed], np.rint(relaxed.x[fixed]))
    assert np.array_equal(heard[0].lower[~fixed], mip.lower[~fixed])
    assert np.array_equal(heard[0].upper[~fixed], mip.upper[~fixed])
    assert heard[0].tightened == fixed.sum()
    assert len(heard) == 1


def test_rens_ends_with_the_whole_instance_and_its_optimum():
    mip = cover(4)
    made = task(mip)
    assert rens(made) == "optimal"
    assert made.course.objective == pytest.approx(mip.objective(best(mip)), rel=2e-4)
    assert made.course.bound <= made.course.objective + 1e-6


@pytest.mark.parametrize("mip", [linear(), infeasible()])
def test_rens_leaves_lps_and_infeasible_instances_to_the_solver(mip):
    made = task(mip)
    assert rens(made) == ("infeasible" if mip.name == "infeasible" else "optimal")


def test_a_column_that_the_lp_puts_between_two_whole_numbers_is_not_fixed():
    mip = integers([0, 0, 0], [5, 5, 5])
    relaxed = replace(solve_root(mip), x=np.array([2.0, 2.5, 3.0 - 1e-8]))
    assert fix_whole_values(mip, relaxed).tolist() == [True, False, True]


# Votes


def test_a_majority_of_identical_instances_reproduces_their_optimum():
    mip = facilities(2)
    x = highs.solve(mip, limits=Limits(gap=1e-6)).x
    memory = remember([labelled(mip, x, key) for key in "abc"])
    made = task(mip, stages=(1.0,))
    vote(made, memory, coverage=1.0)
    assert made.course.objective == pytest.approx(mip.objective(x), rel=1e-6)


def test_the_columns_on_which_most_agree_are_fixed_first_at_the_median(heard):
    mip = integers([0, 0, 0, 0], [9, 9, 9, 9])
    points = [[1, 5, 3, 0], [1, 5, 4, 9], [1, 6, 8, 4]]
    memory = remember([labelled(mip, np.array(x, dtype=float)) for x in points])
    vote(task(mip, stages=(1.0,)), memory, coverage=0.5)
    fixed = heard[0].lower == heard[0].upper
    assert fixed.tolist() == [True, True, False, False]
    assert heard[0].lower[:2].tolist() == [1.0, 5.0]


def test_values_outside_an_instance_s_own_bounds_are_moved_to_them(heard):
    mip = integers([0, 0], [9, 9])
    memory = remember([labelled(mip, np.array([7.0, 2.0]))])
    narrow = integers([0, 3], [4, 9])
    vote(task(narrow, stages=(1.0,)), memory, coverage=1.0)
    assert heard[0].lower.tolist() == heard[0].upper.tolist() == [4.0, 3.0]


def scaled(mip, factor):
    """Return the instance with other costs, so that it is told apart by its facts."""
    return replace(mip, cost=mip.cost * factor)


def test_the_nearest_neighbours_alone_are_asked(heard):
    mip = integers([0, 0], [9, 9])
    entries = [
        labelled(scaled(mip, 1.0), np.array([1.0, 1.0])),
        labelled(scaled(mip, 1.1), np.array([1.0, 2.0])),
        labelled(scaled(mip, 50.0), np.array([8.0, 8.0])),
        labelled(scaled(mip, 60.0), np.array([9.0, 9.0])),
    ]
    memory = remember(entries)
    vote(task(scaled(mip, 55.0), stages=(1.0,)), memory, nearest=1, coverage=1.0)
    vote(task(scaled(mip, 1.02), stages=(1.0,)), memory, nearest=1, coverage=1.0)
    vote(task(scaled(mip, 1.02), stages=(1.0,)), memory, nearest=2, coverage=0.5)
    assert [partial.lower.tolist() for partial in heard[:2]] == [[9.0, 9.0], [1.0, 1.0]]
    # Both neighbours agree on the first column.
    assert heard[2].lower.tolist() == [1.0, 0.0]


def test_columns_that_none_of_the_asked_instances_has_are_left_alone(heard):
    small, large = integers([0], [9]), integers([0, 0], [9, 9])
    memory = remember([labelled(small, np.array([3.0])), labelled(large, np.array([4.0, 6.0]))])
    assert memory.values[0].tolist()[0] == 3.0
    assert np.isnan(memory.values[0, 1])
    # Only the small one is asked; it knows nothing of the second column.
    near = replace(memory, facts=np.stack([baselines.facts_of(large), 0 * memory.facts[1]]))
    vote(task(large, stages=(1.0,)), near, nearest=1, coverage=1.0)
    assert heard[0].lower.tolist() == [3.0, 0.0]
    assert heard[0].upper.tolist() == [3.0, 9.0]


def test_an_instance_whose_columns_have_other_names_is_left_to_the_solver():
    mip = cover(1)
    memory = remember([labelled(facilities(0), best(facilities(0)))])
    made = task(mip)
    assert vote(made, memory) == "optimal"
    assert any("no column has a name" in note for note in made.course.notes)


def test_facts_of_an_instance_have_one_length_whatever_its_size():
    told = [
        baselines.facts_of(mip) for mip in (cover(0), facilities(0), linear(), integers([0], [1]))
    ]
    assert {len(facts) for facts in told} == {256}
    assert all(np.isfinite(facts).all() for facts in told)


# Tuned SCIP


def test_the_grid_has_every_combination_of_emphases_once():
    assert len(EMPHASES) == 2 * 3 * 3
    assert len({tuple(sorted(entry.items())) for entry in EMPHASES}) == len(EMPHASES)
    assert EMPHASES[0] == dict.fromkeys(("presolve", "heuristics", "separating"), "default")


def test_the_emphases_with_the_least_primal_integral_are_chosen():
    assert best_emphasis({0: 3.0, 7: 1.5, 4: 2.0}) == EMPHASES[7]


def test_of_equally_good_emphases_the_first_are_chosen():
    assert best_emphasis({9: 1.0, 2: 1.0, 5: 1.0}) == EMPHASES[2]
