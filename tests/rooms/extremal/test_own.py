"""Measures of the user's own: known optima, agreement of gain and value, bad arguments."""

import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.graph import empty
from tenfold.rooms.extremal.own import search_own
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults


def edges_less_triangles(adjacency, near, degree, u, v):
    change = 1.0
    for i in range(degree[u]):
        if adjacency[near[u, i], v]:
            change -= 1.0
    return -change if adjacency[u, v] else change


def value_of(adjacency):
    matrix = adjacency.astype(np.int64)
    return matrix.sum() / 2 - np.trace(matrix @ matrix @ matrix) / 6


def forgets_triangles(adjacency, _near, _degree, u, v):
    return -1.0 if adjacency[u, v] else 1.0


@pytest.fixture(scope="module")
def mantel():
    return search_own(edges_less_triangles, nodes=11, flips=3_000_000, value=value_of, target=30)


def test_edges_less_triangles_reach_mantels_number(mantel):
    assert mantel.score == 11 * 11 // 4
    assert mantel.graph.size == 30
    assert not find_faults(mantel.graph, Problem(nodes=11, forbid="C3"))


def test_equal_arguments_give_equal_graphs(mantel):
    again = search_own(edges_less_triangles, nodes=11, flips=3_000_000, value=value_of, target=30)
    assert again.graph == mantel.graph
    assert again.trace == mantel.trace


def test_the_trace_tells_every_gain_in_order(mantel):
    flips, scores = zip(*mantel.trace, strict=True)
    assert list(flips) == sorted(flips)
    assert list(scores) == sorted(set(scores))
    assert scores[-1] == mantel.score


def test_a_gain_that_is_not_the_change_of_value_is_refused():
    with pytest.raises(TenfoldError, match="value says"):
        search_own(forgets_triangles, nodes=11, flips=2_000, value=value_of)


def test_it_goes_on_from_a_start():
    start = search_own(edges_less_triangles, nodes=8, flips=100).graph
    found = search_own(edges_less_triangles, nodes=8, flips=100, start=start, value=value_of)
    assert found.score >= value_of(start.adjacency())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"nodes": 1}, "nodes is 1"),
        ({"nodes": 5, "minutes": 0.0}, "minutes 0.0"),
        ({"nodes": 5, "flips": -1}, "flips is -1"),
        ({"nodes": 5, "cold": 2.0}, "cold is 2.0"),
        ({"nodes": 5, "start": empty(4)}, "start has 4 nodes"),
    ],
)
def test_arguments_without_sense_are_refused(arguments, told):
    with pytest.raises(TenfoldError, match=told):
        search_own(edges_less_triangles, **arguments)
