"""All graphs of small sizes, against the atlas, known numbers of classes, and the search without
its short cuts."""

import functools

import networkx
import pytest

from tenfold.rooms.extremal import exhaustive
from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.canonical import canonical_form
from tenfold.rooms.extremal.exhaustive import enumerate_graphs
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults

# Nodes, most edges without cycles of length 3 and 4 (OEIS A006856), and how many classes have so
# many: up to 18 nodes from nauty's geng, from 19 on from OEIS A159847 and Miller and Codish 2017.
EXTREMAL = [
    *((3, 2, 1), (4, 3, 2), (5, 5, 1), (6, 6, 2), (7, 8, 1), (8, 10, 1), (9, 12, 1), (10, 15, 1)),
    *((11, 16, 3), (12, 18, 7), (13, 21, 1), (14, 23, 4), (15, 26, 1)),
]
LARGER = [(16, 28, 22), (17, 31, 14), (18, 34, 15), (19, 38, 1), (20, 41, 1)]
# Up to a minute each. All of 24 nodes (54 edges, one class) takes another.
LARGEST = [(21, 44, 3), (22, 47, 3), (23, 50, 7)]
SLOW = [pytest.mark.slow, pytest.mark.timeout(600)]
LONG = [pytest.param(*case, marks=SLOW) for case in [*LARGER, *LARGEST]]


@functools.cache
def atlas(nodes):
    graphs = [graph for graph in networkx.graph_atlas_g() if len(graph) == nodes]
    return [from_edges(nodes, graph.edges) for graph in graphs]


@functools.cache
def digest(graph):
    return canonical_form(graph).digest


def digests(graphs):
    return [digest(graph) for graph in graphs]


@pytest.mark.parametrize(("nodes", "edges", "classes"), [*EXTREMAL, *LONG])
def test_extremal_graphs_of_girth_five_are_as_many_as_known(nodes, edges, classes):
    found = enumerate_graphs(nodes, "C3,C4", least=edges)
    assert [graph.size for graph in found] == [edges] * classes
    assert len(set(digests(found))) == classes
    assert not any(find_faults(graph, Problem(nodes=nodes)) for graph in found)


@pytest.mark.parametrize(("nodes", "edges", "classes"), [*EXTREMAL, *LARGER, *LARGEST])
def test_the_table_of_known_values_tells_the_same_numbers_of_classes(nodes, edges, classes):
    value = known("C3,C4")[nodes]
    assert (value.lower, value.upper, value.classes) == (edges, edges, classes)


@pytest.mark.parametrize("nodes", [5, 8, 10, 13])
def test_one_edge_more_than_the_most_is_proven_impossible(nodes):
    edges = {case[0]: case[1] for case in EXTREMAL}
    assert enumerate_graphs(nodes, "C3,C4", least=edges[nodes] + 1) == []


@pytest.mark.parametrize("forbid", ["C3,C4", "C4", "C3,C5", "C6,C7", "K2_3", "C3,K2_3"])
def test_all_graphs_of_up_to_six_nodes_are_those_of_the_atlas(forbid):
    for nodes in range(2, 7):
        asked = Problem(nodes=nodes, forbid=forbid)
        legal = [graph for graph in atlas(nodes) if not find_faults(graph, asked)]
        assert sorted(digests(enumerate_graphs(nodes, forbid))) == sorted(digests(legal))


@pytest.mark.parametrize(("forbid", "nodes"), [("C3,C4", 7), ("C4", 6), ("C3,C4,C5", 7)])
def test_asking_for_more_edges_leaves_out_the_graphs_with_fewer_and_no_other(forbid, nodes):
    every = enumerate_graphs(nodes, forbid)
    for least in range(every[0].size + 2):
        found = enumerate_graphs(nodes, forbid, least=least)
        assert set(digests(found)) == set(digests(g for g in every if g.size >= least))


def test_most_edges_come_first():
    sizes = [graph.size for graph in enumerate_graphs(6, "C3,C4", least=4)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 6


@pytest.mark.parametrize(("forbid", "nodes", "edges"), [("C4", 9, 13), ("C3,C4,C5", 14, 21)])
def test_other_sets_have_their_known_maximum(forbid, nodes, edges):
    found = enumerate_graphs(nodes, forbid, least=edges)
    assert {graph.size for graph in found} == {edges}


@pytest.mark.parametrize(
    ("nodes", "edges", "name", "forbid"),
    [(5, 5, "cycle:5", "C3,C4"), (10, 15, "petersen", "C3,C4"), (14, 21, "heawood", "C3,C4,C5")],
)
def test_the_only_extremal_graph_is_the_known_one(nodes, edges, name, forbid):
    (found,) = enumerate_graphs(nodes, forbid, least=edges)
    assert canonical_form(found).digest == canonical_form(construct(name)).digest


@pytest.mark.parametrize(
    ("degrees", "goal", "reached"),
    [
        ((0, 0, 1, 1), (1, 5), False),  # the next node is joined to both nodes of degree 0
        ((0, 0, 1, 1), (1, 1), True),
        ((1, 1, 2, 2), (3, 5), True),
        ((1, 1, 1, 1), (2, 4), False),  # degree 2 would have to be joined to all four
        ((2, 2, 2, 2, 2), (5, 8), False),
        ((2, 2, 2, 2, 2), (5, 7, 9), True),
        ((2, 2, 2, 2, 2), (5, 7, 10), False),
        ((3, 3, 3, 3), (7,), False),
    ],
)
def test_degrees_tell_whether_nodes_of_least_degree_could_add_edges_enough(degrees, goal, reached):
    assert exhaustive._can_reach(degrees, goal) == reached
