"""The checker: every fault is named, against brute force and against networkx."""

import hashlib
from itertools import permutations

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.codecs import decode_graph, encode_graph6
from tenfold.rooms.extremal.graph import Graph, empty, from_edges
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_cycle, find_faults, find_girth, verify

PETERSEN = from_edges(10, networkx.petersen_graph().edges)


def cycle(length, *, nodes=None):
    return from_edges(nodes or length, [(i, (i + 1) % length) for i in range(length)])


def rows_of(graph):
    rows = [set() for _ in range(graph.nodes)]
    for u, v in graph.edges.tolist():
        rows[u].add(v)
        rows[v].add(u)
    return rows


def is_cycle(nodes, rows):
    steps = zip(nodes, [*nodes[1:], *nodes[:1]], strict=True)
    return len(set(nodes)) == len(nodes) and all(v in rows[u] for u, v in steps)


@st.composite
def graphs(draw, most=8):
    n = draw(st.integers(2, most))
    pairs = [(u, v) for v in range(n) for u in range(v)]
    return from_edges(n, draw(st.lists(st.sampled_from(pairs), unique=True, max_size=14)))


@given(graphs(most=7), st.integers(3, 7))
def test_a_cycle_is_found_when_some_order_of_nodes_is_one(graph, length):
    rows = rows_of(graph)
    exists = any(is_cycle(nodes, rows) for nodes in permutations(range(graph.nodes), length))
    found = find_cycle(rows, length)
    assert bool(found) == exists
    assert not found or (len(found) == length and is_cycle(found, rows))


@given(graphs(most=12))
def test_girth_agrees_with_networkx(graph):
    theirs = networkx.girth(graph.to_networkx())
    assert find_girth(rows_of(graph)) == (0 if theirs == float("inf") else theirs)


@pytest.mark.parametrize("length", range(3, 9))
@pytest.mark.parametrize("size", range(3, 12))
def test_a_cycle_breaks_its_own_length_only(length, size):
    faults = find_faults(cycle(size, nodes=12), Problem(nodes=12, forbid=f"C{length}"))
    assert len(faults) == (length == size)


def test_complete_bipartite_graphs_have_no_odd_cycle_and_it_is_known_at_once():
    graph = from_edges(80, [(u, v) for u in range(40) for v in range(40, 80)])
    assert not find_faults(graph, Problem(nodes=80, forbid="C3,C5,C7"))


def test_the_nodes_of_a_cycle_are_named_in_order():
    graph = from_edges(9, [(8, 1), (1, 5), (5, 3), (3, 8), (0, 8)])
    (fault,) = find_faults(graph, Problem(nodes=9))
    told, names = fault.split(" through nodes ")
    nodes = [int(name) for name in names.split(" - ")]
    assert told == "cycle of length 4"
    assert sorted(nodes) == [1, 3, 5, 8]
    assert is_cycle(nodes, rows_of(graph))


@given(graphs(), st.integers(2, 4))
def test_common_neighbours_agree_with_the_square_of_the_matrix(graph, limit):
    matrix = graph.adjacency().astype(int)
    most = np.triu(matrix @ matrix, 1).max()
    faults = find_faults(graph, Problem(nodes=graph.nodes, forbid=f"K2_{limit}"))
    assert bool(faults) == (most >= limit)


def test_common_neighbours_are_named():
    graph = from_edges(6, [(0, 2), (0, 3), (0, 5), (4, 2), (4, 3), (4, 5)])
    told = "nodes 0 and 4 have 2 common neighbours 2, 3"
    assert find_faults(graph, Problem(nodes=6, forbid="K2_2")) == [told]
    told = "nodes 0 and 4 have 3 common neighbours 2, 3, 5"
    assert find_faults(graph, Problem(nodes=6, forbid="K2_3")) == [told]


def test_another_number_of_nodes_is_told():
    assert find_faults(PETERSEN, Problem(nodes=11)) == ["the graph has 10 nodes, the problem 11"]


MALFORMED = {
    "loop": ([[1, 1]], "edge 1 - 1 is a loop"),
    "turned": ([[2, 1]], "edge 2 - 1 is a loop, turned round"),
    "outside": ([[1, 3]], "edge 1 - 3 .* leaves the 3 nodes"),
    "negative": ([[-1, 2]], "edge -1 - 2"),
    "twice": ([[0, 1], [1, 2], [0, 1]], "edge 0 - 1 comes 2 times"),
}


@pytest.mark.parametrize(("edges", "told"), MALFORMED.values(), ids=MALFORMED)
def test_a_graph_that_the_engine_built_wrongly_is_refused(edges, told):
    with pytest.raises(TenfoldError, match=f"{told}.*; mend the graph"):
        verify(Graph(3, np.array(edges, dtype=np.int32)), Problem(nodes=3))


def test_edges_outside_the_host_are_told(tmp_path):
    star = from_edges(8, [(0, 4), (0, 6), (1, 2)])
    path = tmp_path / "host.g6"
    path.write_text(encode_graph6(from_edges(8, [(0, 4), (1, 2)])))
    for host, told in {
        "bipartite:4,4": "edge 1 - 2 and 0 more",
        "hypercube:3": "edge 0 - 6 and 1 more",
        str(path): "edge 0 - 6 and 0 more",
    }.items():
        (fault,) = find_faults(star, Problem(nodes=8, host=host))
        assert fault == f"{told} are no edges of host {host}"


@pytest.mark.parametrize("host", ["bipartite:4,4", "hypercube:3"])
def test_all_edges_of_a_host_are_in_it(host):
    whole = networkx.complete_bipartite_graph(4, 4)
    if host == "hypercube:3":
        whole = networkx.convert_node_labels_to_integers(
            networkx.hypercube_graph(3), ordering="sorted"
        )
    graph = from_edges(8, whole.edges)
    assert not find_faults(graph, Problem(nodes=8, forbid="C3", host=host))


def test_a_missing_frozen_edge_is_told():
    problem = Problem(nodes=10, frozen=f"g6:{encode_graph6(cycle(9, nodes=10))}")
    assert find_faults(cycle(10), problem) == ["frozen edge 0 - 8 is missing and 0 more"]
    assert not find_faults(from_edges(10, [*cycle(9, nodes=10).edges, (1, 9)]), problem)


def test_degrees_outside_the_limits_are_told_with_a_node():
    graph = from_edges(4, [(0, 1), (0, 2), (0, 3)])
    assert find_faults(graph, Problem(nodes=4, min_degree=1, max_degree=3)) == []
    assert find_faults(graph, Problem(nodes=4, forbid="C5", min_degree=2, max_degree=2)) == [
        "node 0 has degree 3, max_degree is 2",
        "node 1 has degree 1, min_degree is 2",
    ]


def test_a_group_that_is_not_kept_is_told():
    assert not find_faults(cycle(10), Problem(nodes=10, group="Z10"))
    path = from_edges(10, cycle(10).edges[:-1])
    (fault,) = find_faults(path, Problem(nodes=10, group="Z10"))
    assert fault.startswith("group Z10 takes edge")
    assert fault.endswith("which is missing")


def test_a_certificate_holds_what_another_program_needs():
    found = verify(PETERSEN, Problem(nodes=10))
    assert (found.nodes, found.edges, found.forbid) == (10, 15, "C3,C4")
    assert (found.girth, found.degrees) == (5, {3: 10})
    assert decode_graph(found.sparse6) == PETERSEN
    assert found.sha256 == hashlib.sha256(found.sparse6.encode()).hexdigest()
    assert found.line() == (
        f"10 nodes, 15 edges, no C3,C4, girth 5, degrees 3^10, sha256 {found.sha256}"
    )
    assert found.to_json()["degrees"] == {"3": 10}


def test_a_forest_has_no_girth():
    found = verify(empty(5), Problem(nodes=5))
    assert found.girth == 0
    assert "no cycle, degrees 0^5" in found.line()


@pytest.mark.parametrize("length", [5, 8, 9, 12])
def test_a_certificate_tells_the_girth_of_long_cycles_too(length):
    assert verify(cycle(length, nodes=12), Problem(nodes=12)).girth == length
