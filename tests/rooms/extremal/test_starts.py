"""Structured starts: cut amalgams, what is free around a base, neighbours in number of nodes."""

import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import local
from tenfold.rooms.extremal.amalgam import amalgam
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem, open_problem
from tenfold.rooms.extremal.starts import (
    build,
    cuts,
    open_around,
    read_cut,
    shrink_from,
)
from tenfold.rooms.extremal.verify import find_faults


def opened_on(nodes):
    return open_problem(Problem(nodes=nodes))


@pytest.mark.parametrize("nodes", [30, 54, 99, 163, 260])
def test_cuts_have_the_right_number_of_nodes_and_come_back_from_their_names(nodes):
    found = cuts(nodes)
    assert found
    assert [cut.reach for cut in found] == sorted((cut.reach for cut in found), reverse=True)
    for cut in found[:6]:
        assert read_cut(cut.name) == cut
        graph = build(cut)
        assert graph.nodes == nodes
        assert not find_faults(graph, Problem(nodes=nodes))


def test_an_amalgam_grows_by_isolated_nodes_where_that_is_worth_a_try():
    cut = read_cut("amalgam:L,q=9,k=9,l=9; 180 nodes, grown")
    assert cut in cuts(180)
    graph = build(cut)
    assert (graph.nodes, int((graph.degrees() == 0).sum())) == (180, 36)
    opened = open_around(graph, opened_on(180))
    # Two new nodes may always be joined, a new one to any old one.
    assert opened.allowed[144:, 144:].sum() == 36 * 35
    assert opened.allowed[144:, :144].all()
    assert not any("grown" in cut.name for cut in cuts(99))


@pytest.mark.parametrize("end", ["100 nodes, grown", "180 nodes, lines cut", "144 nodes, grown"])
def test_a_number_of_nodes_that_does_not_fit_the_word_is_refused(end):
    with pytest.raises(TenfoldError, match=r"amalgam:L,q=9,k=9,l=9 has 144 nodes"):
        read_cut(f"amalgam:L,q=9,k=9,l=9; {end}")


def test_a_whole_side_cannot_be_cut_away():
    with pytest.raises(TenfoldError, match=r"deletes 114 of 72 nodes"):
        read_cut("amalgam:L,q=9,k=9,l=9; 30 nodes, lines cut")


def test_what_is_no_cut_is_refused():
    with pytest.raises(TenfoldError, match=r"'amalgam:C' names no cut amalgam"):
        read_cut("amalgam:C")


@pytest.mark.parametrize("q", [4, 5, 7])
def test_around_a_whole_semiplane_the_pairs_inside_classes_are_free(q):
    source = amalgam("C", q=q)
    opened = open_around(source.base, opened_on(source.nodes))
    assert np.array_equal(opened.allowed, source.allowed)


def test_where_line_classes_are_left_out_points_of_different_classes_are_free():
    source = amalgam("C", q=5, points=5, lines=3)
    opened = open_around(source.base, opened_on(source.nodes))
    free = opened.allowed & ~source.base.adjacency()
    assert (source.allowed <= opened.allowed).all()
    assert (free & ~source.allowed).any()
    u, v = np.argwhere(np.triu(free & ~source.allowed))[0]
    larger = from_edges(source.nodes, [*source.base.edges.tolist(), (int(u), int(v))])
    assert not find_faults(larger, Problem(nodes=source.nodes))


def test_every_pair_that_is_not_free_closes_a_short_cycle_with_the_base_alone():
    base = construct("petersen")
    opened = open_around(base, opened_on(10))
    assert np.array_equal(opened.allowed, base.adjacency())  # of diameter 2 and no room for more


def test_the_classes_of_a_small_amalgam_are_filled_to_the_known_value():
    source = amalgam("C", q=7)
    opened = open_around(source.base, opened_on(98))
    chain = local.new_chain(opened, source.base, seed=0, patience=30_000, target=450)
    local.run("ils", chain, 2_000_000)
    assert local.best_graph(chain, opened).size == 450


def test_shrinking_takes_nodes_of_small_degree():
    star = from_edges(6, [(0, 1), (0, 2), (0, 3), (0, 4), (4, 5)])
    for seed in range(8):
        left = shrink_from(star, 4, generator=np.random.default_rng(seed))
        assert left.nodes == 4
        assert left.degrees().max() >= 2  # the centre stays
