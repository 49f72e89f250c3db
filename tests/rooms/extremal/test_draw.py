"""Pictures of graphs: rotations that are automorphisms, and pages that need nothing else."""

import re
from html.parser import HTMLParser

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.rooms.extremal.canonical import canonical_form
from tenfold.rooms.extremal.codecs import encode_sparse6
from tenfold.rooms.extremal.draw import draw_graph, edge_orbits, layout, spell_count
from tenfold.rooms.extremal.graph import Graph, empty, from_edges, relabel
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.rotation import Rotation, find_rotation, place_rings
from tenfold.rooms.extremal.verify import verify


def convert(found: networkx.Graph) -> Graph:
    return from_edges(len(found), networkx.convert_node_labels_to_integers(found).edges)


PETERSEN = convert(networkx.petersen_graph())
ROUND = {
    "petersen": PETERSEN,
    "heawood": convert(networkx.heawood_graph()),
    "cycle": convert(networkx.cycle_graph(12)),
    "wheel": convert(networkx.wheel_graph(9)),
    "tutte": convert(networkx.tutte_graph()),
    "prism": convert(networkx.circular_ladder_graph(7)),
}
OTHERS = {
    "frucht": convert(networkx.frucht_graph()),
    "path": convert(networkx.path_graph(6)),
    "two parts": from_edges(6, [(0, 1), (1, 2), (3, 4)]),
    "one node": empty(1),
    "two nodes": empty(2),
}


def rotation_of(graph: Graph) -> Rotation:
    rotation = find_rotation(canonical_form(graph).generators)
    assert rotation is not None
    return rotation


def moved(rotation: Rotation) -> np.ndarray:
    images = np.arange(sum(map(len, rotation.cycles)))
    for cycle in rotation.cycles:
        images[cycle] = np.roll(cycle, -1)
    return images


# Rotations


@pytest.mark.parametrize("name", ROUND)
def test_a_rotation_is_an_automorphism(name):
    assert relabel(ROUND[name], moved(rotation_of(ROUND[name]))) == ROUND[name]


@pytest.mark.parametrize(
    ("name", "order"), [("petersen", 5), ("heawood", 7), ("cycle", 12), ("wheel", 8), ("tutte", 3)]
)
def test_the_rotation_has_the_greatest_order_whose_cycles_are_even(name, order):
    rotation = rotation_of(ROUND[name])
    assert (rotation.order, rotation.exact) == (order, True)


@pytest.mark.parametrize("name", ROUND)
def test_a_turn_takes_the_picture_to_itself(name):
    graph, rotation = ROUND[name], rotation_of(ROUND[name])
    place = place_rings(graph, rotation)
    turned = place * np.exp(2j * np.pi / rotation.order)
    images = np.abs(turned[:, None] - place).argmin(axis=1)
    assert np.allclose(turned, place[images])
    assert relabel(graph, images) == graph


def test_cycles_of_other_lengths_lie_inside():
    images = (np.array([0, 1, 2, 3, 4]), np.array([5, 6]), np.array([7]))
    place = place_rings(empty(8), Rotation(5, images))
    radii = np.abs(place)
    assert np.allclose(radii[:5], 1)
    assert (radii[5:7] < 1).all()
    assert radii[7] == 0


def test_a_group_without_long_cycles_has_no_rotation():
    assert find_rotation(canonical_form(OTHERS["path"]).generators) is None
    assert find_rotation(()) is None


# Places


@pytest.mark.parametrize("name", ROUND | OTHERS)
def test_places_are_apart_and_in_the_unit_disc(name):
    graph = (ROUND | OTHERS)[name]
    place = layout(graph, canonical_form(graph)) @ [1, 1j]
    apart = np.abs(place[:, None] - place) + np.eye(graph.nodes)
    assert apart.min() > 0.02
    assert np.abs(place).max() <= 1 + 1e-9


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 10), st.integers(0, 99))
def test_any_graph_has_finite_places(nodes, seed):
    graph = convert(networkx.gnp_random_graph(nodes, 0.3, seed=seed))
    place = layout(graph, canonical_form(graph))
    assert np.isfinite(place).all()


def test_a_path_is_drawn_as_a_line_in_its_order():
    graph = OTHERS["path"]
    place = layout(graph, canonical_form(graph)) @ [1, 1j]
    steps = np.diff(place)
    assert np.abs(steps / steps[0] - 1).max() < 0.05


# Edges and pages


def test_the_edges_of_a_prism_have_two_orbits():
    orbits = edge_orbits(ROUND["prism"], canonical_form(ROUND["prism"]))
    assert sorted(np.unique(orbits, return_counts=True)[1]) == [7, 14]


def test_a_picture_has_every_node_and_every_edge():
    page = draw_graph(ROUND["tutte"])
    assert page.count("<circle") == 46
    (steps,) = [re.findall(r'<path d="([^"]*)"', page)]
    assert "".join(steps).count("M") == 69


def test_a_page_shows_its_figures_and_the_text_to_copy():
    certificate = verify(PETERSEN, Problem(nodes=10))
    page = draw_graph(PETERSEN, certificate=certificate, title="Petersen's <graph>")
    words = text_of(page)
    for word in ("Petersen's <graph>", "10 of degree 3", "120", certificate.line()):
        assert word in words
    assert encode_sparse6(PETERSEN) in words


def test_an_unfinished_group_is_called_unknown():
    canon = canonical_form(PETERSEN, seconds=0)
    assert "not known" in text_of(draw_graph(PETERSEN, canon=canon))


def test_a_page_needs_nothing_from_anywhere():
    page = draw_graph(PETERSEN)
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "prefers-color-scheme" in page


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1"), (252_000, "252 000"), (10**40 * 9, "9.000e40")]
)
def test_counts_are_spelled_for_readers(count, text):
    assert spell_count(count) == text


def text_of(page: str) -> str:
    class Reader(HTMLParser):
        words = ""

        def handle_data(self, data: str) -> None:
            self.words += data

    reader = Reader()
    reader.feed(page)
    return reader.words
