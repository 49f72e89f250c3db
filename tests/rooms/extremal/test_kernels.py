"""The engine of moves beside its plain twin, flip for flip."""

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.extremal import plain
from tenfold.engine.rng import stream
from tenfold.rooms.extremal import kernels
from tenfold.rooms.extremal.graph import Graph, empty, from_edges
from tenfold.rooms.extremal.kernels import BARRED, EDGE, NONE, new_board
from tenfold.rooms.extremal.named import construct, cycle, petersen
from tenfold.rooms.extremal.problem import Opened, Problem, open_problem
from tenfold.rooms.extremal.verify import find_faults

pytestmark = pytest.mark.timeout(600)
"""Loops are compiled inside the first test, which takes a minute on a busy machine."""

FORBIDDEN = [
    "C3,C4",
    "C4",
    "C3",
    "C3,C4,C5",
    "C5",
    "girth7",
    "C6",
    "C8",
    "K2_2",
    "K2_3",
    "C3,K2_3",
    "C5,K2_2",
]


def opened_with(
    nodes: int, forbid: str, *, barred: set = frozenset(), frozen: set = frozenset(), **limits
) -> Opened:
    """Return a problem whose host lacks the pairs `barred`, and whose edges `frozen` stay."""
    opened = open_problem(Problem(nodes=nodes, forbid=forbid, **limits))
    allowed = opened.allowed.copy()
    for u, v in barred:
        allowed[u, v] = allowed[v, u] = False
    return Opened(opened.problem, allowed, from_edges(nodes, frozen))


def edges_on(board: kernels.Board) -> set[plain.Pair]:
    return {(u, v) for u, v in kernels.graph_of(board).edges.tolist()}


def number_of(board: kernels.Board, pair: plain.Pair) -> int:
    return int(board.row[min(pair)]) + max(pair)


def walk(opened: Opened, start: Graph, *, flips: int, listed: int, seed: int) -> None:
    """Flip random pairs, often edges, and hold the board to its twin after every flip."""
    rng = stream(seed, "walk")
    board = new_board(opened, start, key=seed, listed=listed)
    edges = edges_on(board)
    plain.check(board, edges, opened)
    free = np.flatnonzero(board.table < BARRED)
    pairs = plain.pairs_of(opened.problem.nodes)
    for _ in range(flips if len(free) else 0):
        pair = int(rng.choice(free))
        before = board.facts.copy()
        if board.table[pair] & EDGE:
            kernels.remove(board, pair)
        else:
            kernels.add(board, pair)
        edges ^= {pairs[pair]}
        assert board.facts[kernels.FLIPS] == before[kernels.FLIPS] + 1
        plain.check(board, edges, opened)


@st.composite
def problems(draw, forbid: str):
    """A problem with a host, frozen edges and a start, all drawn."""
    nodes = draw(st.integers(2, 9 if "8" not in forbid and "7" not in forbid else 8))
    pairs = plain.pairs_of(nodes)
    some = st.sets(st.sampled_from(pairs), max_size=max(1, len(pairs) // 4))
    barred, frozen = draw(some), draw(some)
    start = draw(st.sets(st.sampled_from(pairs), max_size=2 * nodes))
    opened = opened_with(nodes, forbid, barred=barred - frozen, frozen=frozen)
    return opened, from_edges(nodes, start)


@pytest.mark.parametrize("forbid", FORBIDDEN)
@settings(max_examples=6)
@given(data=st.data(), listed=st.integers(1, 2), seed=st.integers(0, 2**32))
def test_every_flip_leaves_the_board_of_the_plain_twin(forbid, data, listed, seed):
    opened, start = data.draw(problems(forbid))
    walk(opened, start, flips=12, listed=listed, seed=seed)


@pytest.mark.parametrize("forbid", ["C3,C4", "C3", "C4", "C3,C4,C5", "K2_3", "C3,K2_3"])
def test_flips_in_a_complete_graph_are_those_of_the_plain_twin(forbid):
    opened = opened_with(7, forbid)
    whole = from_edges(7, plain.pairs_of(7))
    walk(opened, whole, flips=10, listed=2, seed=3)


def test_nodes_of_high_degree_are_counted_like_others():
    # A wheel with 20 spokes: the hub's row of neighbours has more than one block.
    rim = [(i, i % 20 + 1) for i in range(1, 21)]
    wheel = from_edges(21, rim + [(0, i) for i in range(1, 21)])
    walk(opened_with(21, "C3,C4"), wheel, flips=6, listed=2, seed=1)


def test_a_long_walk_keeps_the_table_exact():
    opened = opened_with(40, "C3,C4")
    rng = stream(0, "long walk")
    board = new_board(opened, empty(40), key=1, listed=2)
    pairs = np.arange(len(board.table))
    for step in range(20_000):
        # Mostly to and fro between 60 and 100 edges, so that short cycles come and go.
        crowd = board.facts[kernels.EDGES] > rng.integers(60, 100)
        edges = np.flatnonzero(board.table >= EDGE) if crowd else pairs
        kernels.flip(board, int(rng.choice(edges)))
        if step % 5_000 == 4_999:
            plain.check(board, edges_on(board), opened)


def test_counts_of_a_dense_start_do_not_overflow():
    # 32,190 paths of 2 or 3 edges join any two nodes of K_181: more than 16 bits hold.
    nodes = 181
    low, high = np.triu_indices(nodes, 1)
    whole = Graph(nodes, np.stack([low, high], axis=1).astype(np.int32))
    board = new_board(opened_with(nodes, "C3,C4"), whole, key=0, listed=1)
    each = (nodes - 2) + (nodes - 2) * (nodes - 3)
    assert set(board.table.tolist()) == {EDGE + each}
    kernels.remove(board, 5)
    assert board.table[5] == each


# Boards


def test_a_graph_comes_back_from_its_board():
    for graph in (petersen(), construct("hoffman-singleton"), cycle(3), empty(2)):
        board = new_board(opened_with(graph.nodes, "C3,C4"), graph, key=0, listed=1)
        assert kernels.graph_of(board) == graph
        assert kernels.graph_of_table(board, board.table.copy()) == graph


def test_a_board_adds_frozen_edges_and_leaves_pairs_outside_the_host_out():
    opened = opened_with(4, "C3,C4", barred={(0, 1)}, frozen={(2, 3)}, max_degree=2)
    board = new_board(opened, from_edges(4, [(0, 1), (0, 2)]), key=0, listed=1)
    assert edges_on(board) == {(0, 2), (2, 3)}
    assert board.facts[kernels.CAP] == 2
    assert new_board(opened_with(4, "C4"), empty(4), key=0, listed=1).facts[kernels.CAP] == 4


def test_a_pair_has_one_number_from_both_ends():
    board = new_board(opened_with(6, "C3"), empty(6), key=0, listed=1)
    for number, (u, v) in enumerate(plain.pairs_of(6)):
        assert kernels.pair_of(board, u, v) == kernels.pair_of(board, v, u) == number


@pytest.mark.parametrize("listed", [1, 2])
def test_lists_are_those_of_the_plain_twin(listed):
    for count in range(6):
        for edge in (False, True):
            value = count + EDGE * edge
            expected = plain.list_of(count, edge=edge, barred=False, listed=listed)
            assert kernels.list_of(value, listed) == expected
            assert kernels.list_of(value + BARRED, listed) == NONE


# Random numbers


def test_random_bits_are_those_of_splitmix64():
    # First numbers of the reference generator for this seed (Vigna).
    state = np.array([1234567], dtype=np.uint64)
    assert [int(kernels.draw(state)) for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_numbers_below_a_limit_are_uniform():
    state = np.array([1], dtype=np.uint64)
    found = np.bincount([kernels.below(state, 7) for _ in range(7_000)], minlength=7)
    assert len(found) == 7
    # Chi squared of 6 degrees of freedom: above 27.9 once in 10,000.
    assert ((found - 1_000) ** 2 / 1_000).sum() < 27.9


@given(seed=st.integers(0, 2**64 - 1), limit=st.integers(1, 2**31))
def test_draws_stay_in_their_range(seed, limit):
    state = np.array([seed], dtype=np.uint64)
    assert 0 <= kernels.below(state, limit) < limit
    assert 0 <= kernels.chance(state) < 1


def test_chances_are_spread_evenly():
    state = np.array([2], dtype=np.uint64)
    found = np.array([kernels.chance(state) for _ in range(4_000)])
    assert abs(found.mean() - 0.5) < 4 / np.sqrt(12 * 4_000)
    assert abs((found < 0.25).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4_000)


# Repair


@pytest.mark.parametrize("forbid", [*FORBIDDEN, "C3,C4,C5,C6,C7"])
@settings(max_examples=6)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_repair_makes_any_graph_legal_and_never_lowers_the_score(forbid, data, seed):
    nodes = data.draw(st.integers(2, 9))
    pairs = st.sampled_from(plain.pairs_of(nodes))
    start = data.draw(st.sets(pairs, max_size=2 * nodes))
    opened = opened_with(nodes, forbid)
    board = new_board(opened, from_edges(nodes, start), key=seed, listed=1)
    before = board.facts[kernels.SCORE]
    kernels.repair(board)
    assert find_faults(kernels.graph_of(board), opened.problem) == []
    assert board.facts[kernels.SCORE] == board.facts[kernels.EDGES] >= before
    plain.check(board, edges_on(board), opened)


def test_repair_removes_the_edge_of_most_cycles_first():
    # Three triangles on the edge 0 - 1: without it nothing is left to do.
    book = from_edges(5, [(0, 1), *[(i, j) for i in (0, 1) for j in (2, 3, 4)]])
    board = new_board(opened_with(5, "C3"), book, key=0, listed=1)
    assert board.facts[kernels.SCORE] == 4
    kernels.repair(board)
    assert edges_on(board) == edges_of(book) - {(0, 1)}


def edges_of(graph: Graph) -> set[plain.Pair]:
    return {(u, v) for u, v in graph.edges.tolist()}


def test_repair_keeps_frozen_edges_even_where_they_close_a_cycle():
    triangle = {(0, 1), (1, 2), (0, 2)}
    opened = opened_with(5, "C3,C4", frozen=triangle)
    start = from_edges(5, [(0, 3), (1, 3), (3, 4)])
    board = new_board(opened, start, key=0, listed=1)
    kernels.repair(board)
    assert edges_on(board) >= triangle | {(3, 4)}
    assert board.facts[kernels.SCORE] == board.facts[kernels.EDGES] - 1


# Obstacles


def legal_graph(nodes: int, forbid: str, *, seed: int) -> tuple[kernels.Board, Opened]:
    """Return a board with a maximal legal graph."""
    opened = opened_with(nodes, forbid)
    board = new_board(opened, empty(nodes), key=seed, listed=1)
    while board.sizes[kernels.FREE]:
        place = kernels.below(board.random, board.sizes[kernels.FREE])
        kernels.add(board, int(board.lists[kernels.FREE, place]))
    return board, opened


@pytest.mark.parametrize("forbid", FORBIDDEN)
def test_an_obstacle_is_an_edge_without_which_the_pair_is_free(forbid):
    board, opened = legal_graph(9, forbid, seed=4)
    for pair in board.lists[kernels.ONE, : board.sizes[kernels.ONE]].tolist():
        edge = kernels.find_obstacle(board, pair)
        assert board.table[edge] & EDGE
        kernels.remove(board, edge)
        assert board.table[pair] == 0
        kernels.add(board, edge)
        assert board.table[pair] == 1
    plain.check(board, edges_on(board), opened)


@pytest.mark.parametrize(
    ("forbid", "edges", "pair"),
    [
        ("C3,C4", {(0, 1), (1, 2), (2, 3), (3, 4)}, (0, 3)),
        ("C6", {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (2, 6)}, (0, 5)),
        ("K2_3", {(0, 2), (1, 2), (0, 3), (1, 3), (0, 4), (4, 5)}, (1, 4)),
    ],
)
def test_every_edge_of_the_one_obstacle_is_drawn_equally_often(forbid, edges, pair):
    board = new_board(opened_with(7, forbid), from_edges(7, edges), key=2, listed=1)
    number = number_of(board, pair)
    useful = {edge for edge in edges if is_free_without(edge, pair, edges, forbid)}
    draws = [kernels.find_obstacle(board, number) for _ in range(600)]
    found = {plain.pairs_of(7)[edge]: draws.count(edge) for edge in set(draws)}
    assert set(found) == useful
    share = 600 / len(useful)
    # Chi squared of at most 4 degrees of freedom: above 23.5 once in 10,000.
    assert sum((count - share) ** 2 / share for count in found.values()) < 23.5


def is_free_without(edge, pair, edges, forbid) -> bool:
    forbidden = Problem(nodes=7, forbid=forbid).forbidden
    return plain.counts(7, edges - {edge}, forbidden)[pair] == 0


def test_frozen_edges_are_no_obstacles():
    path = {(0, 1), (1, 2), (2, 3)}
    for frozen, expected in ((path - {(1, 2)}, {(1, 2)}), (path, {NONE})):
        opened = opened_with(5, "C4", frozen=frozen)
        board = new_board(opened, from_edges(5, path), key=0, listed=1)
        number = number_of(board, (0, 3))
        found = {int(kernels.find_obstacle(board, number)) for _ in range(20)}
        assert found == {NONE if p == NONE else number_of(board, p) for p in expected}


def test_short_cycles_are_those_networkx_counts():
    graph = networkx.gnp_random_graph(12, 0.35, seed=1)
    edges = {(min(e), max(e)) for e in graph.edges}
    for forbid in ("C3", "C3,C4", "C5", "C3,C4,C5,C6,C7,C8"):
        forbidden = Problem(nodes=12, forbid=forbid).forbidden
        cycles = networkx.simple_cycles(graph, length_bound=max(forbidden.lengths))
        wanted = sum(len(cycle) in forbidden.lengths for cycle in cycles)
        board = new_board(opened_with(12, forbid), from_edges(12, edges), key=0, listed=1)
        assert board.facts[kernels.SCORE] == len(edges) - wanted
