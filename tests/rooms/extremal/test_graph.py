"""Graphs as data: what builds them, what they tell, what they refuse."""

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import graph as graphs
from tenfold.rooms.extremal.graph import Graph, from_adjacency, from_edges


@st.composite
def some_graphs(draw) -> Graph:
    nodes = draw(st.integers(1, 9))
    pairs = [(u, v) for u in range(nodes) for v in range(u + 1, nodes)]
    chosen = draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    return from_edges(nodes, chosen)


def test_edges_are_sorted_whatever_their_order():
    found = from_edges(4, [(3, 1), (2, 0), (0, 1)])
    assert found.edges.tolist() == [[0, 1], [0, 2], [1, 3]]
    assert found.edges.dtype == np.int32
    assert found == from_edges(4, np.array([[0, 1], [1, 3], [0, 2]]))
    assert hash(found) == hash(from_edges(4, {(0, 2), (1, 0), (1, 3)}))


def test_a_graph_tells_its_size_and_degrees():
    found = from_edges(5, [(0, 1), (0, 2), (0, 3)])
    assert found.size == 3
    assert found.degrees().tolist() == [3, 1, 1, 1, 0]
    assert repr(found) == "Graph(nodes=5, 3 edges)"


def test_an_empty_graph_has_nodes_and_no_edges():
    assert graphs.empty(3) == from_edges(3, [])
    assert graphs.empty(3).degrees().tolist() == [0, 0, 0]


def test_graphs_differ_by_nodes_or_edges_and_from_other_things():
    one = from_edges(3, [(0, 1)])
    assert one != from_edges(4, [(0, 1)])
    assert one != from_edges(3, [(1, 2)])
    assert one != "graph"


@given(some_graphs())
def test_a_graph_comes_back_from_its_matrix_and_from_networkx(found):
    assert from_adjacency(found.adjacency()) == found
    assert from_adjacency(3 * found.adjacency().astype(int)) == found
    other = found.to_networkx()
    assert from_edges(len(other), other.edges) == found
    assert np.array_equal(networkx.to_numpy_array(other).astype(bool), found.adjacency())


@given(some_graphs(), st.data())
def test_relabelled_nodes_keep_their_neighbours(found, data):
    order = np.array(data.draw(st.permutations(range(found.nodes))))
    moved = graphs.relabel(found, order)
    assert np.array_equal(moved.adjacency(), found.adjacency()[np.ix_(order, order)])


def test_an_induced_graph_keeps_the_edges_between_its_nodes():
    path = from_edges(5, [(0, 1), (1, 2), (2, 3), (3, 4)])
    assert graphs.induced(path, np.array([4, 3, 1])) == from_edges(3, [(0, 1)])
    assert graphs.induced(path, np.array([], dtype=np.intp)).size == 0


def test_a_graph_is_extended_by_isolated_nodes():
    edge = from_edges(2, [(0, 1)])
    assert graphs.extend(edge, 4).degrees().tolist() == [1, 1, 0, 0]
    with pytest.raises(AssertionError, match="has more than 1 nodes"):
        graphs.extend(edge, 1)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([(0, 1), (2, 2)], "edge 2 - 2 is a loop"),
        ([(0, 3)], r"edge 0 - 3 is a loop or leaves the nodes 0 \.\. 2"),
        ([(-1, 1)], "edge -1 - 1 is a loop or leaves"),
        ([(0, 1), (1, 2), (1, 0)], "edge 0 - 1 comes twice"),
    ],
)
def test_pairs_that_no_simple_graph_has_are_refused(edges, message):
    with pytest.raises(TenfoldError, match=message):
        from_edges(3, edges)


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 3)), np.array([[0, 1], [0, 0]]), np.eye(2), np.zeros(4)]
)
def test_a_matrix_that_is_no_adjacency_is_refused(matrix):
    with pytest.raises(TenfoldError, match=r"must be square and symmetric"):
        from_adjacency(matrix)
