"""The exact step against brute force, known values, and both solvers against each other."""

import importlib.util
import itertools
import sys

import networkx
import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import exact, programs
from tenfold.rooms.extremal.amalgam import open_amalgam, read_amalgam
from tenfold.rooms.extremal.graph import Graph, from_edges
from tenfold.rooms.extremal.groups import read_action
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Opened, Problem, open_problem, read_forbidden

HAS_CPSAT = importlib.util.find_spec("ortools") is not None
BOTH = pytest.mark.parametrize(
    "solver",
    ["highs", pytest.param("cpsat", marks=pytest.mark.skipif(not HAS_CPSAT, reason="no ortools"))],
)


def is_legal(graph: Graph, forbid: str) -> bool:
    rules = read_forbidden(forbid)
    near = graph.adjacency().astype(int)
    common = np.triu(near @ near, 1).max(initial=0)
    cycles = networkx.simple_cycles(graph.to_networkx(), length_bound=max(rules.lengths, default=2))
    crowded = rules.codegree and common >= rules.codegree
    return not crowded and not any(len(cycle) in rules.lengths for cycle in cycles)


def brute_force(opened: Opened) -> int:
    """Return the most edges, by trying every set of free pairs."""
    nodes, frozen = opened.problem.nodes, opened.frozen.edges.tolist()
    host = np.argwhere(np.triu(opened.allowed)).tolist()
    free = [pair for pair in host if pair not in frozen]
    for count in range(len(free), -1, -1):
        for chosen in itertools.combinations(free, count):
            graph = from_edges(nodes, [*frozen, *chosen])
            if is_legal(graph, opened.problem.forbid):
                return graph.size
    raise AssertionError("the frozen edges are not legal")


@BOTH
@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("amalgam:C,q=3", 7),
        ("amalgam:C,q=4", 21),
        ("amalgam:L,q=4", 11),
        ("amalgam:C,q=5", 50),
        ("amalgam:D,q=4", 7),
    ],
)
def test_the_best_filling_of_an_amalgam_is_proven(solver, text, inside):
    source = read_amalgam(text)
    found = exact.solve_exact(open_amalgam(source), seconds=30, solver=solver)
    assert (found.status, found.bound) == ("optimal", source.base.size + inside)
    assert found.graph.size == found.bound
    assert networkx.girth(found.graph.to_networkx()) >= 5
    assert not (found.graph.adjacency() & ~source.allowed).any()
    assert (found.graph.adjacency() >= source.base.adjacency()).all()


@BOTH
def test_the_filling_of_five_classes_of_five_is_the_hoffman_singleton_graph(solver):
    found = exact.solve_exact(open_amalgam(read_amalgam("amalgam:C,q=5")), solver=solver)
    twin = construct("hoffman-singleton").to_networkx()
    assert networkx.is_isomorphic(found.graph.to_networkx(), twin)


@pytest.mark.parametrize("text", ["amalgam:C,q=3,k=2,l=1", "amalgam:L,q=3", "amalgam:C,q=2"])
def test_a_small_filling_is_the_best_of_all_fillings(text):
    opened = open_amalgam(read_amalgam(text))
    found = exact.solve_exact(opened, solver="highs")
    assert found.graph.size == found.bound == brute_force(opened)


@BOTH
@pytest.mark.parametrize("forbid", ["C3,C4", "C4", "C3", "C5", "C3,C5", "K2_2", "K2_3", "C3,K2_3"])
def test_all_pairs_of_five_nodes_give_the_best_graph_of_all(solver, forbid):
    opened = open_problem(Problem(nodes=5, forbid=forbid))
    found = exact.solve_exact(opened, solver=solver)
    assert is_legal(found.graph, forbid)
    assert found.graph.size == found.bound == brute_force(opened)


@pytest.mark.parametrize(("nodes", "edges"), [(6, 6), (7, 8), (8, 10), (9, 12), (10, 15)])
def test_the_exact_values_of_girth_five_come_out(nodes, edges):
    found = exact.solve_exact(open_problem(Problem(nodes=nodes)), solver="highs")
    assert (found.status, found.graph.size) == ("optimal", edges)


def test_rows_for_long_cycles_are_added_until_none_is_missed():
    opened = open_problem(Problem(nodes=7, forbid="C3,C5,C7"))
    found = exact.solve_exact(opened, solver="highs", seconds=30)
    # No odd cycle: bipartite, at best 3 x 4.
    assert (found.status, found.graph.size) == ("optimal", 12)
    assert networkx.is_bipartite(found.graph.to_networkx())


def test_degree_limits_are_kept():
    opened = open_problem(Problem(nodes=8, min_degree=2, max_degree=2))
    found = exact.solve_exact(opened, solver="highs")
    assert set(found.graph.degrees()) == {2}


@BOTH
def test_degrees_that_no_legal_graph_has_are_infeasible(solver):
    opened = open_problem(Problem(nodes=11, forbid="C3,C4", min_degree=3))
    found = exact.solve_exact(opened, solver=solver)
    assert (found.status, found.graph) == ("infeasible", None)


def test_with_a_group_the_best_invariant_graph_is_found():
    opened = open_problem(Problem(nodes=10))
    found = exact.solve_exact(opened, solver="highs", action=read_action("Z5", 10))
    assert (found.graph.size, found.status) == (15, "optimal")
    matrix = found.graph.adjacency()
    turned = read_action("Z5", 10).permutations[0]
    assert np.array_equal(matrix[np.ix_(turned, turned)], matrix)


def test_translations_of_a_plane_leave_circulants_in_its_classes():
    source = read_amalgam("amalgam:C,q=7")
    found = exact.solve_exact(
        open_amalgam(source), solver="highs", action=read_action("Z7", 98), seconds=30
    )
    # Each class takes one of three circulants or none; a class of lines shares none of them
    # with a class of points.
    assert (found.status, found.graph.size) == ("optimal", 441)


def test_a_host_without_free_pairs_gives_its_frozen_edges():
    frozen = from_edges(4, [(0, 1), (2, 3)])
    opened = Opened(Problem(nodes=4), frozen.adjacency(), frozen)
    found = exact.solve_exact(opened, solver="highs")
    assert (found.graph, found.bound, found.status) == (frozen, 2, "optimal")


def test_without_free_pairs_a_least_degree_may_be_infeasible():
    frozen = from_edges(4, [(0, 1)])
    opened = Opened(Problem(nodes=4, min_degree=1), frozen.adjacency(), frozen)
    assert exact.solve_exact(opened, solver="highs").status == "infeasible"


@pytest.mark.parametrize(
    ("forbid", "edges", "fault"),
    [
        ("C3", [(0, 1), (1, 2), (0, 2)], "alone make a C3"),
        ("C5", [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)], "alone make a C5"),
        ("K2_2", [(0, 1), (1, 2), (2, 3), (0, 3)], "alone make a C4"),
    ],
)
def test_frozen_edges_that_break_the_rule_are_named(forbid, edges, fault):
    frozen = from_edges(6, edges)
    opened = Opened(Problem(nodes=6, forbid=forbid), ~np.eye(6, dtype=bool), frozen)
    with pytest.raises(TenfoldError, match=fault):
        exact.solve_exact(opened, solver="highs")


def test_without_time_nothing_is_known_but_a_bound():
    opened = open_problem(Problem(nodes=6))
    found = exact.solve_exact(opened, solver="highs", seconds=0)
    assert (found.graph, found.status, found.bound) == (None, "unknown", 15)


def test_what_a_choice_breaks_is_left_out_by_repair():
    problem = open_problem(Problem(nodes=6))
    variable = exact.number_pairs(problem)
    everything = np.ones(15, dtype=bool)
    left = exact.repair(everything, variable, problem.problem.forbidden)
    assert not exact.find_missed(left, variable, problem.problem.forbidden)
    assert left.sum() >= 3


@pytest.mark.parametrize("length", [3, 4, 5, 6])
def test_cycles_are_listed_once_each(length):
    graph = networkx.gnp_random_graph(8, 0.5, seed=length)
    near = [sorted(graph[node]) for node in range(8)]
    listed = list(exact.cycles(near, length))
    twin = [c for c in networkx.simple_cycles(graph, length_bound=length) if len(c) == length]
    assert len(listed) == len(set(listed)) == len(twin)
    assert {frozenset(cycle) for cycle in listed} == {frozenset(cycle) for cycle in twin}


def test_cpsat_begins_with_the_start_it_is_given():
    pytest.importorskip("ortools")
    opened = open_amalgam(read_amalgam("amalgam:C,q=4"))
    first = exact.solve_exact(opened, solver="cpsat")
    again = exact.solve_exact(opened, solver="cpsat", start=first.graph)
    assert again.graph.size == first.graph.size


def test_without_ortools_the_error_names_the_extra(monkeypatch):
    for name in ("ortools", "ortools.sat.python.cp_model"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TenfoldError, match=r"tenfold\[extremal\]"):
        exact.solve_exact(open_problem(Problem(nodes=5)), solver="cpsat")


def test_a_program_of_one_row_leaves_the_lightest_variable_out():
    program = programs.Program(weights=np.array([3, 1, 2]), rows={frozenset({0, 1, 2})}, limits=[])
    found = programs.solve_highs(program, seconds=5, workers=1, hint=None, seed=0)
    assert found.chosen.tolist() == [True, False, True]
