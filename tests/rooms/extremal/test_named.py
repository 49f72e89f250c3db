"""Graphs known by name against the sizes, degrees and girths of the literature."""

import networkx
import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.named import construct, names, pentagons

# name, nodes, edges, girth
REGULAR = [
    ("cycle:3", 3, 3, 3),
    ("cycle:9", 9, 9, 9),
    ("petersen", 10, 15, 5),
    ("heawood", 14, 21, 6),
    ("moebius-kantor", 16, 24, 6),
    ("pappus", 18, 27, 6),
    ("desargues", 20, 30, 6),
    ("dodecahedron", 20, 30, 5),
    ("mcgee", 24, 36, 7),
    ("tutte-coxeter", 30, 45, 8),
    ("robertson", 19, 38, 5),
    ("hoffman-singleton", 50, 175, 5),
    ("cage:2", 5, 5, 5),
    ("cage:3", 10, 15, 5),
    ("cage:4", 19, 38, 5),
    ("cage:5", 30, 75, 5),
    ("cage:6", 40, 120, 5),
    ("cage:7", 50, 175, 5),
    ("projective:2", 14, 21, 6),
    ("projective:4", 42, 105, 6),
    ("projective:5", 62, 186, 6),
    ("quadrangle:2", 30, 45, 8),
    ("quadrangle:3", 80, 160, 8),
    ("quadrangle:4", 170, 425, 8),
]


@pytest.mark.parametrize(("name", "nodes", "edges", "girth"), REGULAR)
def test_a_named_graph_is_regular_with_its_girth(name, nodes, edges, girth):
    graph = construct(name)
    assert (graph.nodes, graph.size) == (nodes, edges)
    assert len(set(graph.degrees())) == 1
    assert networkx.girth(graph.to_networkx()) == girth


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("petersen", networkx.petersen_graph),
        ("heawood", networkx.heawood_graph),
        ("moebius-kantor", networkx.moebius_kantor_graph),
        ("pappus", networkx.pappus_graph),
        ("desargues", networkx.desargues_graph),
        ("dodecahedron", networkx.dodecahedral_graph),
    ],
)
def test_a_named_graph_is_that_of_networkx(name, twin):
    assert networkx.is_isomorphic(construct(name).to_networkx(), twin())


@pytest.mark.parametrize("q", [2, 3, 4, 5, 7, 8, 9])
def test_polarity_graphs_have_no_four_cycle_and_all_their_edges(q):
    graph = construct(f"polarity:{q}")
    assert (graph.nodes, graph.size) == (q * q + q + 1, q * (q + 1) ** 2 // 2)
    near = graph.adjacency().astype(int)
    assert ((near @ near)[~np.eye(graph.nodes, dtype=bool)] <= 1).all()


def test_two_pentagons_and_pentagrams_are_four_regular_of_girth_five():
    graph = pentagons(2).to_networkx()
    assert set(dict(graph.degree).values()) == {4}
    assert networkx.girth(graph) == 5


def test_the_name_of_an_amalgam_gives_its_base():
    assert construct("amalgam:C,q=8,k=8,l=8").size == 512


def test_names_may_be_written_in_capitals():
    assert construct(" Petersen ") == construct("petersen")


def test_every_listed_name_is_read():
    numbers = {":k": ":4", ":n": ":8", ":q": ":3"}
    for name in names():
        graph = construct(name[:-2] + numbers.get(name[-2:], name[-2:]))
        assert graph == from_edges(graph.nodes, graph.edges)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("peterson", "did you mean petersen"),
        ("cage:8", "cage:8 is not known"),
        ("cycle:2", "cycle:2 is no cycle"),
        ("projective:6", "q=6 is no order"),
        ("projective:23", "q=23 makes a graph of more than 1024 nodes"),
        ("polarity:x", "unknown graph"),
    ],
)
def test_a_name_that_is_not_known_is_refused(name, fault):
    with pytest.raises(TenfoldError, match=fault):
        construct(name)
