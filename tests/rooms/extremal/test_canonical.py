"""Canonical forms and groups of automorphisms, against known groups, counts and a peer."""

import itertools
import math
from types import SimpleNamespace

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.rooms.extremal import canonical
from tenfold.rooms.extremal.canonical import INVARIANT, canonical_form
from tenfold.rooms.extremal.graph import Graph, empty, from_edges, relabel


def convert(found: networkx.Graph) -> Graph:
    numbered = networkx.convert_node_labels_to_integers(found)
    return from_edges(len(numbered), numbered.edges)


def shuffled(graph: Graph, seed: int = 0) -> Graph:
    return relabel(graph, np.random.default_rng(seed).permutation(graph.nodes))


def union(*parts: networkx.Graph) -> Graph:
    return convert(networkx.disjoint_union_all(parts))


def all_graphs(nodes: int) -> list[Graph]:
    pairs = list(itertools.combinations(range(nodes), 2))
    chosen = itertools.product((False, True), repeat=len(pairs))
    return [from_edges(nodes, itertools.compress(pairs, mask)) for mask in chosen]


def lines_of_plane(order: int) -> Graph:
    """Points (x, y) against lines y = m x + b modulo a prime."""
    x, m, b = np.mgrid[:order, :order, :order].reshape(3, -1)
    points, lines = x * order + (m * x + b) % order, order**2 + m * order + b
    return from_edges(2 * order**2, np.stack([points, lines], axis=1))


def hoffman_singleton() -> Graph:
    pentagons = [(5 * i + j, 5 * i + (j + 1) % 5) for i in range(5) for j in range(5)]
    pentagrams = [(25 + 5 * i + j, 25 + 5 * i + (j + 2) % 5) for i in range(5) for j in range(5)]
    across = [
        (5 * i + j, 25 + 5 * k + (i * k + j) % 5)
        for i, j, k in itertools.product(range(5), repeat=3)
    ]
    return from_edges(50, pentagons + pentagrams + across)


def shrikhande() -> Graph:
    steps = [(0, 1), (1, 0), (1, 1)]
    edges = [
        (4 * a + b, 4 * ((a + i) % 4) + (b + j) % 4)
        for a, b in itertools.product(range(4), repeat=2)
        for i, j in steps
    ]
    return from_edges(16, edges)


def rook(size: int) -> Graph:
    return convert(networkx.line_graph(networkx.complete_bipartite_graph(size, size)))


SYMMETRIC = {
    "petersen": (convert(networkx.petersen_graph()), 120),
    "hoffman-singleton": (hoffman_singleton(), 252_000),
    "heawood": (convert(networkx.heawood_graph()), 336),
    "complete": (convert(networkx.complete_graph(40)), math.factorial(40)),
    "empty": (empty(30), math.factorial(30)),
    "star": (convert(networkx.star_graph(50)), math.factorial(50)),
    "cycle": (convert(networkx.cycle_graph(101)), 202),
    "path": (convert(networkx.path_graph(50)), 2),
    "cube": (convert(networkx.hypercube_graph(6)), math.factorial(6) << 6),
    "rook": (rook(8), 2 * math.factorial(8) ** 2),
    "shrikhande": (shrikhande(), 192),
    "plane of order 7": (lines_of_plane(7), 7**3 * 6**2 * 2),
    "unequal sides": (convert(networkx.complete_bipartite_graph(5, 7)), 120 * 5040),
    "petersen thrice": (union(*[networkx.petersen_graph()] * 3), 120**3 * 6),
    "fifteen edges": (union(*[networkx.path_graph(2)] * 15), 2**15 * math.factorial(15)),
    "cycles of two lengths": (
        union(*[networkx.cycle_graph(4)] * 2, *[networkx.cycle_graph(5)] * 3),
        8**2 * 2 * 10**3 * 6,
    ),
    "frucht": (convert(networkx.frucht_graph()), 1),
    "one node": (empty(1), 1),
}


@st.composite
def graphs(draw, most: int = 12) -> Graph:
    nodes = draw(st.integers(1, most))
    pairs = list(itertools.combinations(range(nodes), 2))
    mask = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    return from_edges(nodes, itertools.compress(pairs, mask))


@st.composite
def products(draw) -> Graph:
    """Graphs with many automorphisms."""
    left, right = (draw(graphs(most=4)).to_networkx() for _ in range(2))
    kinds = [networkx.cartesian_product, networkx.lexicographic_product, networkx.disjoint_union]
    return convert(draw(st.sampled_from(kinds))(left, right))


# Forms


@settings(max_examples=50, deadline=None)
@given(st.one_of(graphs(), products()), st.integers(0, 100))
def test_numbering_does_not_change_the_form(graph, seed):
    one, other = canonical_form(graph), canonical_form(shuffled(graph, seed))
    assert one.digest == other.digest
    assert one.graph == other.graph


@settings(max_examples=50, deadline=None)
@given(st.one_of(graphs(), products()))
def test_the_order_leads_to_the_form(graph):
    canon = canonical_form(graph)
    assert relabel(graph, canon.order) == canon.graph
    assert canonical_form(canon.graph).graph == canon.graph


@pytest.mark.parametrize("name", SYMMETRIC)
def test_numbering_does_not_change_the_form_of_symmetric_graphs(name):
    graph, _ = SYMMETRIC[name]
    digests = {canonical_form(shuffled(graph, seed)).digest for seed in range(5)}
    assert len(digests) == 1


@pytest.mark.parametrize(("nodes", "classes"), [(1, 1), (2, 2), (3, 4), (4, 11), (5, 34)])
def test_all_graphs_on_few_nodes_fall_into_the_known_number_of_classes(nodes, classes):
    assert len({canonical_form(graph).digest for graph in all_graphs(nodes)}) == classes


def test_the_atlas_of_graphs_has_no_two_equal_forms():
    atlas = [graph for graph in networkx.graph_atlas_g() if graph.number_of_nodes() in (6, 7)]
    assert len(atlas) == 156 + 1044
    assert len({canonical_form(convert(graph)).digest for graph in atlas}) == len(atlas)


def test_random_cubic_graphs_on_ten_nodes_fall_into_the_known_number_of_classes():
    found = [networkx.random_regular_graph(3, 10, seed=seed) for seed in range(600)]
    connected = [convert(graph) for graph in found if networkx.is_connected(graph)]
    assert len({canonical_form(graph).digest for graph in connected}) == 19


def test_strongly_regular_graphs_of_equal_parameters_differ():
    assert canonical_form(shrikhande()).digest != canonical_form(rook(4)).digest


def test_cycles_that_only_lie_together_differently_differ():
    hexagon, triangles = networkx.cycle_graph(6), union(*[networkx.cycle_graph(3)] * 2)
    assert canonical_form(convert(hexagon)).digest != canonical_form(triangles).digest


def test_isolated_nodes_count():
    assert canonical_form(empty(3)).digest != canonical_form(empty(4)).digest


# Automorphisms


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_order_of_a_known_group_is_found(name):
    graph, order = SYMMETRIC[name]
    assert canonical_form(shuffled(graph)).group_order == order


@settings(max_examples=50, deadline=None)
@given(st.one_of(graphs(most=6), products()))
def test_generators_are_automorphisms(graph):
    for generator in canonical_form(graph).generators:
        assert relabel(graph, generator) == graph


@settings(max_examples=30, deadline=None)
@given(graphs(most=6))
def test_order_and_orbits_are_those_of_all_permutations(graph):
    matrix = graph.adjacency()
    group = [
        permutation
        for permutation in map(list, itertools.permutations(range(graph.nodes)))
        if (matrix[np.ix_(permutation, permutation)] == matrix).all()
    ]
    canon = canonical_form(graph)
    assert canon.group_order == len(group)
    assert canon.orbits.tolist() == np.min(group, axis=0).tolist()


def test_orbits_of_a_wheel_are_its_hub_and_its_rim():
    assert canonical_form(convert(networkx.wheel_graph(8))).orbits.tolist() == [0] + [1] * 7


@settings(max_examples=50, deadline=None)
@given(st.one_of(graphs(), products()))
def test_groups_are_those_of_nauty(graph):
    pynauty = pytest.importorskip("pynauty")
    rows = {u: graph.edges[graph.edges[:, 0] == u, 1].tolist() for u in range(graph.nodes)}
    peer = pynauty.Graph(graph.nodes, adjacency_dict=rows)
    _, mantissa, exponent, orbits, _ = pynauty.autgrp(peer)
    canon = canonical_form(graph)
    assert float(canon.group_order) == pytest.approx(mantissa * 10**exponent)
    assert canon.orbits.tolist() == orbits


# Time


def test_without_time_the_digest_is_an_invariant():
    plane = lines_of_plane(5)
    one, other = (canonical_form(shuffled(plane, seed), seconds=0) for seed in (1, 2))
    assert (one.exact, one.group_order) == (False, 0)
    assert one.digest == other.digest
    assert one.digest.startswith(INVARIANT)


def test_without_time_the_form_is_still_the_graph_in_its_order():
    graph = shuffled(hoffman_singleton())
    canon = canonical_form(graph, seconds=0)
    assert relabel(graph, canon.order) == canon.graph


@pytest.mark.parametrize("nodes", range(1, 6))
def test_without_time_paths_and_stars_have_invariants_too(nodes):
    for graph in (networkx.path_graph(nodes), networkx.star_graph(nodes)):
        first, other = (canonical_form(shuffled(convert(graph), s), seconds=-1) for s in (1, 2))
        assert first.digest == other.digest


def test_compiling_the_loops_is_no_part_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(canonical, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(canonical, "_load_loops", lambda: now.append(now.pop() + 60))
    assert canonical_form(hoffman_singleton(), seconds=10).exact


def test_an_invariant_tells_most_graphs_apart():
    found = [convert(networkx.random_regular_graph(4, 20, seed=seed)) for seed in range(20)]
    digests = {canonical_form(graph, seconds=0).digest for graph in found}
    assert len(digests) == len(found)


def test_neighbour_lists_are_sorted():
    starts, near = canonical.neighbour_lists(from_edges(4, [(2, 3), (0, 3), (0, 1)]))
    assert starts.tolist() == [0, 2, 3, 4, 6]
    assert near.tolist() == [1, 3, 0, 3, 0, 2]
