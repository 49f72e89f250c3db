"""Compiled loops of the canonical form against their definitions."""

import itertools

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.rooms.extremal import refinement
from tenfold.rooms.extremal.canonical import neighbour_lists
from tenfold.rooms.extremal.graph import empty, from_edges, relabel
from tenfold.rooms.extremal.refinement import CELL, CELLS, MARKS, ORDER, PLACE, SIZE

NOTHING = np.zeros(0, dtype=np.int64)


@st.composite
def graphs(draw, most=9):
    nodes = draw(st.integers(1, most))
    pairs = list(itertools.combinations(range(nodes), 2))
    mask = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    return from_edges(nodes, itertools.compress(pairs, mask))


def refined(graph, *singled):
    """Return the partition and its marks after nodes were put in cells of their own, in turn."""
    starts, near = neighbour_lists(graph)
    state, cells, cell, marks = refinement.unit_partition(graph.nodes), 1, 0, []
    for node in (None, *singled):
        if node is not None and state[SIZE, state[CELL, node]] > 1:
            cell, cells = refinement.individualise(state, node), cells + 1
        found = np.empty(2 * graph.nodes, dtype=np.int64)
        report = np.array([cells, 0, 0, 1])
        refinement.refine(starts, near, state, cell, NOTHING, NOTHING, found, report)
        cells = int(report[CELLS])
        marks += found[: report[MARKS]].tolist()
    return state, marks


def cells_of(state):
    """Return the nodes of every cell, in the order of the cells."""
    starts = sorted(set(state[CELL].tolist()))
    return [sorted(state[ORDER, s : s + state[SIZE, s]].tolist()) for s in starts]


def refined_plainly(graph, *singled):
    """Return the coarsest even partition finer than the given one, as a set of sets."""
    near = graph.adjacency()
    colours = [singled.index(u) + 1 if u in singled else 0 for u in range(graph.nodes)]
    for _ in range(graph.nodes):
        seen = [
            (colours[u], sorted(colours[v] for v in np.flatnonzero(near[u])))
            for u in range(graph.nodes)
        ]
        kinds = sorted(set(map(str, seen)))
        colours = [kinds.index(str(each)) for each in seen]
    return {frozenset(np.flatnonzero(np.array(colours) == c).tolist()) for c in set(colours)}


@given(graphs(), st.data())
def test_refining_gives_the_coarsest_even_partition(graph, data):
    singled = data.draw(st.lists(st.integers(0, graph.nodes - 1), max_size=3, unique=True))
    state, _ = refined(graph, *singled)
    assert {frozenset(cell) for cell in cells_of(state)} == refined_plainly(graph, *singled)


@given(graphs(), st.data())
def test_isomorphic_graphs_have_cells_and_marks_that_correspond(graph, data):
    order = np.array(data.draw(st.permutations(range(graph.nodes))))
    node = data.draw(st.integers(0, graph.nodes - 1))
    one, marks = refined(graph, node)
    other, other_marks = refined(relabel(graph, order), int(np.flatnonzero(order == node)[0]))
    assert marks == other_marks
    assert cells_of(one) == [sorted(order[cell].tolist()) for cell in cells_of(other)]


@given(graphs(), st.data())
def test_the_rows_of_a_partition_agree(graph, data):
    state, _ = refined(graph, data.draw(st.integers(0, graph.nodes - 1)))
    assert state[ORDER, state[PLACE]].tolist() == list(range(graph.nodes))
    assert sorted(itertools.chain(*cells_of(state))) == list(range(graph.nodes))
    for cell, nodes in zip(sorted(set(state[CELL].tolist())), cells_of(state), strict=True):
        assert set(state[CELL, nodes].tolist()) == {cell}


def test_a_node_in_a_cell_of_its_own_stands_in_front():
    state = refinement.unit_partition(5)
    assert refinement.individualise(state, 3) == 0
    assert cells_of(state) == [[3], [0, 1, 2, 4]]
    assert state[ORDER, 0] == 3


def test_a_branch_that_is_behind_is_left_unfinished():
    graph = from_edges(12, networkx.path_graph(12).edges)
    starts, near = neighbour_lists(graph)
    state, report = refinement.unit_partition(12), np.array([1, 0, 0, 0])
    ahead = np.full(9, 1 << 62)
    refinement.refine(starts, near, state, 0, NOTHING, ahead, np.empty(24, np.int64), report)
    assert report[refinement.VERSUS] == -1
    assert report[MARKS] == 1
    assert report[CELLS] < len(refined_plainly(graph))


def test_the_first_of_the_largest_cells_is_chosen():
    state, _ = refined(from_edges(7, [(0, 1), (2, 3), (4, 5)]))  # cells of one and of six
    assert state[SIZE, refinement.choose_cell(state)] == 6
    even, _ = refined(from_edges(4, [(0, 1), (1, 2), (2, 3)]))  # two cells of two
    assert refinement.choose_cell(even) == 0


@pytest.mark.parametrize("numbers", [[], [4], [3, 1, 2], [9, 9, 1, 0, 5], [2, 1, 2, 1]])
def test_a_row_is_sorted_up_to_its_count(numbers):
    row = np.array([*numbers, -1, -2], dtype=np.int32)
    refinement._sort(row, len(numbers))
    assert row.tolist() == [*sorted(numbers), -1, -2]


@given(graphs())
def test_twins_have_the_same_other_neighbours(graph):
    near = graph.adjacency()

    def are_twins(u, v):
        others = [w for w in range(graph.nodes) if w not in (u, v)]
        return np.array_equal(near[u, others], near[v, others])

    found = refinement.find_twins(*neighbour_lists(graph))
    for u in range(graph.nodes):
        assert found[u] == max((v for v in range(u) if are_twins(u, v)), default=-1)


@given(graphs(), st.data())
@settings(max_examples=30)
def test_the_form_of_a_numbering_lists_the_renumbered_neighbours(graph, data):
    order = np.array(data.draw(st.permutations(range(graph.nodes))), dtype=np.int32)
    state = refinement.unit_partition(graph.nodes)
    state[ORDER], state[PLACE, order] = order, np.arange(graph.nodes)
    form = refinement.write_form(*neighbour_lists(graph), state)
    assert form.tolist() == neighbour_lists(relabel(graph, order))[1].tolist()


def test_forms_are_compared_by_their_first_difference():
    one, other = np.array([1, 5, 2], dtype=np.int32), np.array([1, 4, 9], dtype=np.int32)
    assert refinement.compare_forms(one, other) == 1
    assert refinement.compare_forms(other, one) == -1
    assert refinement.compare_forms(one, one) == 0


def test_orbits_are_joined_by_permutations_that_fix_the_given_nodes_only():
    turn = np.array([[1, 2, 0, 3, 4], [0, 1, 2, 4, 3]], dtype=np.int32)
    for fixed, orbits in (([], [0, 0, 0, 3, 3]), ([0], [0, 1, 2, 3, 3]), ([0, 3], [0, 1, 2, 3, 4])):
        found = np.arange(5, dtype=np.int32)
        refinement.join_orbits(found, turn, np.array(fixed, dtype=np.int32))
        assert found.tolist() == orbits


def test_a_graph_without_edges_has_one_cell():
    assert cells_of(refined(empty(4))[0]) == [[0, 1, 2, 3]]
