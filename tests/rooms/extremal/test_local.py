"""Local searches: known optima, the paper's tabu rule move by move, and what they must not do."""

import numpy as np
import pytest

from tenfold.rooms.extremal import ils, local, method
from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.chain import LOGGED, NOW, value_of
from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.graph import empty, from_edges
from tenfold.rooms.extremal.ils import LOG
from tenfold.rooms.extremal.kernels import EDGE, SCORE, flip, graph_of, new_board
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem, open_problem
from tenfold.rooms.extremal.verify import find_faults

EXACT = {n: found.lower for n, found in known("C3,C4").items() if found.exact}


def chain_on(nodes, name="ils", *, start=None, seed=0, flips=0, **more):
    keys = ("patience", "target", "tenure", "walk", "number")
    told = {key: more.pop(key) for key in keys if key in more}
    problem = Problem(nodes=nodes, **more)
    opened = open_problem(problem)
    chain = local.new_chain(opened, start or empty(nodes), seed=seed, method=name, **told)
    if flips:
        local.run(name, chain, flips)
    return problem, opened, chain


def adjacency_of(chain):
    return graph_of(chain.board).adjacency().astype(int)


@pytest.mark.parametrize(("name", "short"), [("ils", 0), ("tabu", 0), ("anneal", 3), ("greedy", 8)])
def test_a_method_comes_near_the_exact_value_on_20_nodes(name, short):
    problem, opened, chain = chain_on(20, name, flips=300_000, patience=20_000)
    found = local.best_graph(chain, opened)
    assert EXACT[20] - short <= found.size <= EXACT[20]
    assert not find_faults(found, problem)


def kept(chain):
    """Return what later flips depend on; lists and neighbours end in whatever was there."""
    board = chain.board
    sizes = [board.lists[k, : board.sizes[k]] for k in range(6)]
    near = [row[:degree] for row, degree in zip(board.near, board.degree, strict=True)]
    own = [board.table, board.where, board.sizes, board.degree, board.facts, board.random]
    return [*own, *sizes, *near, chain.until, chain.best, chain.facts, chain.heat]


@pytest.mark.parametrize("name", local.METHODS)
def test_what_a_chain_does_does_not_depend_on_how_its_flips_are_shared_out(name):
    _, _, whole = chain_on(30, name, flips=3_000)
    _, _, parts = chain_on(30, name)
    while local.flips_of(parts) < local.flips_of(whole):
        local.run(name, parts, 1)
    assert local.flips_of(parts) == local.flips_of(whole)
    for one, other in zip(kept(whole), kept(parts), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", local.METHODS)
def test_seeds_and_numbers_name_different_searches(name):
    tables = [
        chain_on(24, name, seed=seed, number=number, flips=500)[2].board.table.tobytes()
        for seed, number in [(0, 0), (0, 0), (1, 0), (0, 1)]
    ]
    assert tables[0] == tables[1]
    assert len(set(tables)) == 3


@pytest.mark.parametrize("name", local.METHODS)
def test_the_table_is_true_after_many_flips(name):
    _, opened, chain = chain_on(26, name, flips=20_000)
    fresh = new_board(opened, graph_of(chain.board), key=0, listed=2)
    assert np.array_equal(chain.board.table, fresh.table)
    assert chain.board.facts[SCORE] == method.score(adjacency_of(chain))


@pytest.mark.parametrize("name", ["ils", "greedy"])
def test_these_methods_stay_legal(name):
    problem, _, chain = chain_on(18, name)
    for _ in range(40):
        local.run(name, chain, 50)
        assert not find_faults(graph_of(chain.board), problem)


def test_ils_never_falls_more_than_an_edge_below_its_best():
    _, _, chain = chain_on(40)
    for _ in range(300):
        local.run("ils", chain, 1_000)
        assert chain.facts[NOW] - 1 <= value_of.py_func(chain) <= chain.facts[NOW]


def test_a_start_that_breaks_the_rule_is_repaired():
    square = from_edges(6, [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5)])
    problem, opened, chain = chain_on(6, start=square)
    found = local.best_graph(chain, opened)
    assert found.size == 5
    assert not find_faults(found, problem)


# The paper's tabu search, against its definition


def flipped_between(before, after):
    return np.flatnonzero((before ^ after) & EDGE)


@pytest.mark.parametrize("seed", [0, 1])
def test_tabu_flips_a_pair_of_largest_gain_that_is_not_among_the_last_five(seed):
    _, _, chain = chain_on(9, "tabu", seed=seed)
    u, v = np.triu_indices(9, 1)
    last = []
    for _ in range(250):
        one = adjacency_of(chain)
        gains = np.array(
            [
                method.flip_gain(bool(one[a, b]), method.path_count(one, a, b))
                for a, b in zip(u, v, strict=True)
            ]
        )
        allowed = method.tabu_choices(gains, np.isin(np.arange(len(u)), last[-5:]))
        before = chain.board.table.copy()
        local.run("tabu", chain, 1)
        (pair,) = flipped_between(before, chain.board.table)
        assert pair in allowed
        last.append(int(pair))
    assert len(set(last)) > 20


def test_tabu_goes_through_graphs_with_short_cycles_and_repairs_its_best():
    problem, opened, chain = chain_on(16, "tabu")
    broken = False
    for _ in range(200):
        local.run("tabu", chain, 10)
        broken |= bool(find_faults(graph_of(chain.board), problem))
    found = local.best_graph(chain, opened)
    assert broken
    assert found.size >= chain.facts[local.BEST]
    assert not find_faults(found, problem)


def test_tabu_out_of_patience_goes_back_to_its_best():
    _, _, chain = chain_on(20, "tabu", flips=60_000, patience=500)
    assert value_of.py_func(chain) > chain.facts[local.BEST] - 12


# Limits


def test_degrees_hosts_and_frozen_edges_are_kept_by_every_method():
    given = "g6:" + encode_graph6(from_edges(16, [(0, 8), (1, 9)]))
    for name in local.METHODS:
        problem, opened, chain = chain_on(
            16, name, flips=20_000, forbid="C4", host="bipartite:8,8", frozen=given, max_degree=3
        )
        found = local.best_graph(chain, opened)
        assert not find_faults(found, problem), name
        assert found.size >= 20, name


def test_a_cubic_graph_of_girth_five_is_found_on_ten_nodes():
    _, opened, chain = chain_on(10, flips=50_000, max_degree=3, min_degree=3, target=15)
    found = local.best_graph(chain, opened)
    assert found.degrees().tolist() == [3] * 10
    assert local.flips_of(chain) < 50_000  # the target stopped it


def test_a_restart_leaves_a_bad_start_behind():
    start = construct("petersen")
    _, opened, chain = chain_on(10, start=start, flips=5_000, patience=100, target=16)
    assert local.best_graph(chain, opened).size == 15


@pytest.mark.parametrize("forbid", ["C4", "C3,C4,C5", "C5", "K2_3", "C6"])
def test_other_forbidden_sets_give_legal_graphs(forbid):
    problem, opened, chain = chain_on(12, flips=4_000, forbid=forbid)
    found = local.best_graph(chain, opened)
    assert not find_faults(found, problem)
    table = known(forbid)
    if table:
        assert found.size == table[12].lower


# What a review found


def test_more_flips_than_the_log_holds_are_come_back_from():
    _, _, chain = chain_on(30, flips=2_000)
    for pair in range(40):
        flip(chain.board, pair)
    chain.facts[LOGGED] = LOG + 1
    ils._undo(chain)
    assert chain.facts[LOGGED] == 0
    assert np.array_equal(chain.board.table & EDGE, chain.best & EDGE)


def test_a_first_filling_that_is_longer_than_the_log_is_no_harm():
    problem, opened, chain = chain_on(420, flips=9_000, forbid="C3")
    found = local.best_graph(chain, opened)
    assert not find_faults(found, problem)
    assert found.size > LOG


def test_a_budget_ends_where_nothing_may_be_flipped():
    given = "g6:" + encode_graph6(construct("petersen"))
    for name in local.METHODS:
        _, opened, chain = chain_on(10, name, flips=300, frozen=given)
        assert local.best_graph(chain, opened).size == 15
        assert local.flips_of(chain) >= 300


def test_a_start_never_exceeds_the_degree_cap_together_with_what_is_frozen():
    given = "g6:" + encode_graph6(from_edges(6, [(0, 1), (0, 2)]))
    start = from_edges(6, [(0, 3), (0, 4), (3, 5)])
    problem, opened, chain = chain_on(6, start=start, frozen=given, max_degree=2)
    assert not find_faults(local.best_graph(chain, opened), problem)


def test_a_graph_with_the_least_degree_is_kept_before_a_larger_one_without():
    problem, opened, chain = chain_on(12, flips=40_000, forbid="C4", min_degree=3)
    found = local.best_graph(chain, opened)
    assert not find_faults(found, problem)
