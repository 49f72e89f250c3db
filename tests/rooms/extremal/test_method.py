import itertools
import math

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.rooms.extremal import method
from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.named import petersen


def random_matrix(nodes, *, seed, share=0.4):
    made = np.random.default_rng(seed)
    upper = np.triu(made.random((nodes, nodes)) < share, 1)
    return (upper | upper.T).astype(np.int64)


def matrix_of(graph):
    return networkx.to_numpy_array(graph, dtype=np.int64)


def cycles(matrix, length):
    found = networkx.simple_cycles(networkx.from_numpy_array(matrix), length_bound=length)
    return sum(len(cycle) == length for cycle in found)


def simple_paths(matrix, u, v):
    graph = networkx.from_numpy_array(matrix)
    return sum(len(path) > 2 for path in networkx.all_simple_paths(graph, u, v, cutoff=3))


@pytest.mark.parametrize(
    ("graph", "edges", "triangles", "squares"),
    [
        (networkx.complete_graph(4), 6, 4, 3),
        (networkx.complete_bipartite_graph(3, 3), 9, 0, 9),
        (networkx.petersen_graph(), 15, 0, 0),
        (networkx.cycle_graph(4), 4, 0, 1),
        (networkx.empty_graph(3), 0, 0, 0),
    ],
)
def test_score_is_edges_less_triangles_less_squares(graph, edges, triangles, squares):
    matrix = matrix_of(graph)
    assert method.triangles(matrix) == triangles
    assert method.squares(matrix) == squares
    assert method.score(matrix) == edges - triangles - squares


@given(nodes=st.integers(2, 9), seed=st.integers(0, 10_000))
def test_cycles_and_paths_agree_with_listing_them(nodes, seed):
    matrix = random_matrix(nodes, seed=seed)
    assert method.triangles(matrix) == cycles(matrix, 3)
    assert method.squares(matrix) == cycles(matrix, 4)
    for u, v in itertools.combinations(range(nodes), 2):
        assert method.path_count(matrix, u, v) == simple_paths(matrix, u, v)


@given(nodes=st.integers(2, 9), seed=st.integers(0, 10_000))
def test_gain_is_the_change_of_the_score_by_a_flip_of_any_pair(nodes, seed):
    matrix = random_matrix(nodes, seed=seed)
    for u, v in itertools.combinations(range(nodes), 2):
        flipped = matrix.copy()
        flipped[u, v] = flipped[v, u] = 1 - matrix[u, v]
        gain = method.flip_gain(bool(matrix[u, v]), method.path_count(matrix, u, v))
        assert gain == method.score(flipped) - method.score(matrix)


def test_counting_paths_leaves_the_graph_alone():
    matrix = random_matrix(6, seed=0)
    before = matrix.copy()
    method.path_count(matrix, 0, 1)
    np.testing.assert_array_equal(matrix, before)


def test_no_graph_on_five_nodes_scores_above_the_most_edges_without_short_cycles():
    best = 0
    for bits in range(1 << 10):
        matrix = np.zeros((5, 5), dtype=np.int64)
        u, v = np.triu_indices(5, 1)
        matrix[u, v] = matrix[v, u] = [bits >> place & 1 for place in range(10)]
        best = max(best, method.repaired_edges(matrix))
    assert best == 5


def test_a_score_below_zero_promises_no_edges():
    assert method.score(matrix_of(networkx.complete_graph(5))) < 0
    assert method.repaired_edges(matrix_of(networkx.complete_graph(5))) == 0
    assert method.repaired_edges(petersen().adjacency()) == 15


@given(scores=st.lists(st.integers(-20, 20), min_size=2, max_size=30))
def test_both_rewards_telescope(scores):
    final = [method.reward_final(a, b) for a, b in itertools.pairwise(scores)]
    bests = list(itertools.accumulate(scores, max))
    best = [method.reward_best(a, b) for a, b in zip(bests, scores[1:], strict=False)]
    assert method.returns_to_go(np.array(final, float))[0] == scores[-1] - scores[0]
    assert method.returns_to_go(np.array(best, float))[0] == max(scores) - scores[0]
    assert min(best) >= 0


def test_returns_to_go_are_sums_of_what_follows():
    np.testing.assert_array_equal(method.returns_to_go(np.array([1.0, -2.0, 5.0])), [4, 3, 5])


def test_an_episode_is_long_enough_for_every_edge_that_may_be_missing():
    assert method.episode_length(28, 26) == 30
    assert method.episode_length(41, 0) == 62
    assert all(method.episode_length(upper, 0) >= 1.5 * upper for upper in range(1, 300))


def test_an_episode_ends_with_its_flips_or_at_the_bound():
    assert not method.has_ended(29, 30, 27, 28)
    assert method.has_ended(30, 30, 27, 28)
    assert method.has_ended(3, 30, 28, 28)


def test_values_do_not_grow_with_the_number_of_nodes():
    shares = [
        value.lower / method.value_scale(nodes)
        for nodes, value in known("C3,C4").items()
        if 10 <= nodes <= 53
    ]
    assert 0.85 < min(shares) < max(shares) < 1


def test_tabu_search_takes_the_best_flips_that_were_not_made_lately():
    gains = np.array([1, 1, -3, 0, 1])
    tabu = np.array([method.is_tabu(9, last, 5) for last in (0, 9, 0, 0, 4)])
    assert tabu.tolist() == [False, True, False, False, False]
    assert method.tabu_choices(gains, tabu).tolist() == [0, 4]
    assert method.tabu_choices(gains, np.array([1, 1, 0, 0, 1], bool)).tolist() == [3]
    assert method.tabu_choices(gains, np.ones(5, bool)).tolist() == []


def test_exactly_the_last_flips_are_tabu():
    flipped_at = range(1, 8)
    assert [method.is_tabu(7, last, 3) for last in flipped_at] == [False] * 4 + [True] * 3
    assert math.isclose(sum(method.is_tabu(7, 0, h) for h in range(10)), 0)
