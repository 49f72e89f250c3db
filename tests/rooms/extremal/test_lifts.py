"""Cayley graphs and lifts: what their text says is what the graph is."""

import re

import networkx
import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.groups import read_group
from tenfold.rooms.extremal.lifts import Multigraph, read_base, search_cayley, search_lift


def test_a_twelve_regular_graph_of_girth_five_is_found_over_a_frobenius_group():
    found = search_cayley(read_group("Z29:Z7"), degree=12, tries=10)
    assert set(found.graph.degrees()) == {12}
    assert networkx.girth(found.graph.to_networkx()) == 5


@pytest.mark.parametrize("text", ["Z13", "D7", "Z7:Z3", "Z5:Z4"])
def test_a_cayley_graph_is_what_its_connection_set_says(text):
    group = read_group(text)
    found = search_cayley(group, tries=5)
    members = [int(word) for word in re.search(r"\{(.*)\}", found.text)[1].split()]
    assert set(group.inverses()[members]) == set(members)
    edges = {frozenset((x, int(group.product[x, s]))) for x in range(group.order) for s in members}
    assert found.graph == from_edges(group.order, edges)


def test_a_degree_limit_is_kept_and_reached():
    found = search_cayley(read_group("Z31:Z5"), degree=6, tries=20)
    assert set(found.graph.degrees()) == {6}


def test_the_same_seed_gives_the_same_cayley_graph():
    group = read_group("Z31:Z5")
    assert search_cayley(group, tries=2, seed=3) == search_cayley(group, tries=2, seed=3)


def test_the_petersen_graph_is_a_lift_of_the_dumbbell():
    found = search_lift(read_base("dumbbell:1"), read_group("Z5"), tries=20)
    assert networkx.is_isomorphic(found.graph.to_networkx(), networkx.petersen_graph())
    assert found.text.startswith("lift of dumbbell:1 over Z5, voltages 0-0 {")


@pytest.mark.parametrize(("order", "degree"), [(7, 3), (13, 4), (21, 5), (31, 6)])
def test_planes_with_a_perfect_difference_set_are_lifts_of_dipoles(order, degree):
    base, group = read_base(f"dipole:{degree}"), read_group(f"Z{order}")
    found = search_lift(base, group, forbid="C3,C4,C5", tries=200)
    assert set(found.graph.degrees()) == {degree}
    assert networkx.girth(found.graph.to_networkx()) == 6


def test_a_lift_has_the_voltages_of_its_text():
    base, group = read_base("dumbbell:2"), read_group("Z7:Z3")
    found = search_lift(base, group, tries=20, seed=2)
    edges = set()
    for tail, head, listed in re.findall(r"(\d+)-(\d+) \{([\d ]*)\}", found.text):
        for x in range(21):
            for s in map(int, listed.split()):
                edges.add(frozenset((int(tail) * 21 + x, int(head) * 21 + group.product[x, s])))
    assert found.graph == from_edges(42, edges)


def test_no_more_edges_are_lifted_than_the_base_has():
    found = search_lift(Multigraph("path", 3, ((0, 1), (2, 1))), read_group("Z6"), tries=3)
    assert found.graph.size == 12
    assert set(np.unique(found.graph.edges // 6, axis=0).ravel()) == {0, 1, 2}
    assert "left out" not in found.text


def test_edges_that_cannot_be_lifted_are_counted():
    found = search_lift(read_base("bouquet:2"), read_group("Z7"), tries=5)
    assert found.text.endswith("; 1 of 2 edges left out")


def test_a_base_may_be_a_named_graph():
    found = search_lift(read_base("petersen"), read_group("Z5"), tries=5)
    assert (found.graph.nodes, found.graph.size) == (50, 75)


def test_a_base_without_a_name_is_refused():
    with pytest.raises(TenfoldError, match="unknown graph 'triple:3'"):
        read_base("triple:3")


def test_a_lift_of_too_many_nodes_is_refused():
    with pytest.raises(TenfoldError, match=r"dipole:3 over Z600 has 1200 nodes"):
        search_lift(read_base("dipole:3"), read_group("Z600"))
