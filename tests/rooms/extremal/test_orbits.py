"""Groups, orbits of pairs, and the search over orbits, each against a brute-force twin."""

import itertools

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import orbit_kernels as kernels
from tenfold.rooms.extremal.graph import Graph, empty, from_edges
from tenfold.rooms.extremal.groups import act, generators, pair_orbits, read_action, read_group
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.orbits import search_orbits
from tenfold.rooms.extremal.problem import Opened, Problem, open_problem, read_forbidden

GROUPS = ["Z1", "Z6", "D5", "Z7:Z3", "Z5:Z4", "Z3xZ3", "Z2xD3", "Z2xZ7:Z3"]


def is_legal(graph: Graph, forbid: str) -> bool:
    rules = read_forbidden(forbid)
    found = graph.to_networkx()
    near = graph.adjacency().astype(int)
    common = np.triu(near @ near, 1)
    longest = max(rules.lengths, default=2)
    cycles = networkx.simple_cycles(found, length_bound=longest)
    return not any(len(cycle) in rules.lengths for cycle in cycles) and (
        not rules.codegree or common.max(initial=0) < rules.codegree
    )


def search(nodes: int, group: str, forbid: str = "C3,C4", **settings) -> Graph:
    opened = open_problem(Problem(nodes=nodes, forbid=forbid))
    arguments = {"flips": 2000, "seed": 0, **settings}
    return search_orbits(opened, read_action(group, nodes), **arguments)


# Groups


@pytest.mark.parametrize("text", GROUPS)
def test_a_group_is_associative_with_neutral_element_and_inverses(text):
    group = read_group(text)
    x = np.arange(group.order)
    product = group.product
    assert (product[product[:, :, None], x] == product[x[:, None, None], product]).all()
    assert (product[0] == x).all()
    assert (product[:, 0] == x).all()
    assert (product[x, group.inverses()] == 0).all()


@pytest.mark.parametrize(
    ("text", "order"), [("Z29:Z7", 203), ("D12", 24), ("Z3xZ3", 9), ("Z7:Z3xZ2", 42), ("Z1", 1)]
)
def test_the_order_of_a_group_is_that_of_its_name(text, order):
    assert read_group(text).order == order


def test_a_semidirect_product_does_not_commute():
    product = read_group("Z7:Z3").product
    assert (product != product.T).any()


@pytest.mark.parametrize("text", GROUPS)
def test_generators_reach_every_element(text):
    group = read_group(text)
    reached = {0}
    while True:
        more = reached | {int(group.product[a, g]) for a in reached for g in generators(group)}
        if more == reached:
            break
        reached = more
    assert len(reached) == group.order


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Q8", "group 'Q8' is none"),
        ("Z0", "group 'Z0' is none"),
        ("D5:Z2", "group 'D5:Z2' is none"),
        ("Z40xZ40", "group 'Z40xZ40' is none of 1 to 1024"),
        ("Z7:Z5", "Z7:Z5 has no multiplier of order 5 modulo 7"),
    ],
)
def test_a_group_that_does_not_exist_is_refused(text, fault):
    with pytest.raises(TenfoldError, match=fault):
        read_group(text)


def test_a_group_must_divide_the_nodes():
    with pytest.raises(TenfoldError, match="Z7 of order 7 does not divide 20 nodes"):
        read_action("Z7", 20)


def test_a_cyclic_group_turns_its_blocks():
    assert read_action("Z3", 6).permutations.tolist() == [[1, 2, 0, 4, 5, 3]]


# Files of permutations


def test_a_file_has_a_permutation_a_line(tmp_path):
    path = tmp_path / "group.txt"
    path.write_text("1 0 2 3\n\n0,1,3,2\n")
    assert read_action(str(path), 4).permutations.tolist() == [[1, 0, 2, 3], [0, 1, 3, 2]]


@pytest.mark.parametrize("line", ["1 0 2", "1 0 2 4", "1 0 0 2", "1 0 2 x", "1 0 2 -3"])
def test_a_line_that_is_no_permutation_is_named(tmp_path, line):
    path = tmp_path / "group.txt"
    path.write_text(f"0 1 2 3\n{line}\n")
    with pytest.raises(TenfoldError, match=r"line 2 has \d images that are no permutation"):
        read_action(str(path), 4)


def test_an_empty_file_is_no_group(tmp_path):
    path = tmp_path / "group.txt"
    path.write_text("\n")
    with pytest.raises(TenfoldError, match="has no permutation"):
        read_action(str(path), 4)


# Orbits of pairs


@pytest.mark.parametrize(("text", "nodes"), [("Z4", 8), ("D3", 12), ("Z7:Z3", 21), ("Z1", 6)])
def test_pair_orbits_are_the_images_under_all_elements(text, nodes):
    group = read_group(text)
    orbits = pair_orbits(act(group, nodes))
    blocks = np.arange(nodes) // group.order * group.order
    for u, v in itertools.combinations(range(nodes), 2):
        images = {
            frozenset(
                (int(blocks[u] + row[u % group.order]), int(blocks[v] + row[v % group.order]))
            )
            for row in group.product
        }
        number = orbits.label[u, v]
        pairs = orbits.pairs[orbits.starts[number] : orbits.starts[number + 1]]
        assert images == {frozenset(pair) for pair in pairs.tolist()}


# Search


def brute_force(nodes: int, group: str, forbid: str) -> int:
    orbits = pair_orbits(read_action(group, nodes))
    pieces = np.split(orbits.pairs, orbits.starts[1:-1])
    sizes = [0]
    for count in range(1, len(pieces) + 1):
        for chosen in itertools.combinations(pieces, count):
            edges = np.concatenate(chosen)
            if len(edges) > max(sizes) and is_legal(from_edges(nodes, edges), forbid):
                sizes.append(len(edges))
    return max(sizes)


@pytest.mark.parametrize(
    ("nodes", "group", "forbid"),
    [
        (10, "Z5", "C3,C4"),
        (10, "Z5", "C4"),
        (8, "Z4", "K2_3"),
        (8, "Z4", "C3,K2_2"),
        (10, "Z10", "C5"),
        (6, "D3", "C3"),
        (12, "Z6:Z2", "C4,C6"),
    ],
)
def test_the_search_finds_the_best_invariant_graph(nodes, group, forbid):
    assert search(nodes, group, forbid).size == brute_force(nodes, group, forbid)


@pytest.mark.parametrize(("nodes", "edges"), [(5, 5), (8, 10), (10, 15), (13, 21)])
def test_without_symmetry_it_finds_the_exact_values(nodes, edges):
    assert search(nodes, "Z1", flips=20_000, target=edges).size == edges


def test_it_finds_the_hoffman_singleton_graph_by_its_fivefold_symmetry():
    assert search(50, "Z5", flips=300_000, target=175).size == 175


@pytest.mark.parametrize(
    ("nodes", "group", "forbid", "edges"),
    [(30, "Z10", "girth8", 45), (26, "Z13", "girth6", 52), (203, "Z29:Z7", "C3,C4", 1218)],
)
def test_it_finds_cages_by_their_symmetry(nodes, group, forbid, edges):
    assert search(nodes, group, forbid, flips=20_000, target=edges).size == edges


@settings(max_examples=40, deadline=None)
@given(
    case=st.sampled_from([(9, "Z3"), (12, "Z4"), (12, "D3"), (14, "Z7"), (8, "Z1")]),
    forbid=st.sampled_from(["C3,C4", "C4", "C5,C7", "C8", "K2_2", "C3,K2_3", "girth7"]),
    cap=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_what_is_found_is_legal_invariant_and_within_the_degree(case, forbid, cap, seed):
    nodes, group = case
    action = read_action(group, nodes)
    opened = open_problem(Problem(nodes=nodes, forbid=forbid, max_degree=cap))
    found = search_orbits(opened, action, flips=60, seed=seed)
    assert is_legal(found, forbid)
    assert found.degrees().max(initial=0) <= (cap or nodes)
    matrix = found.adjacency()
    for row in action.permutations:
        assert np.array_equal(matrix[np.ix_(row, row)], matrix)


def test_the_same_seed_gives_the_same_graph():
    assert search(24, "Z6", seed=5) == search(24, "Z6", seed=5)


def test_frozen_edges_stay_and_barred_pairs_stay_out():
    problem = Problem(nodes=20)
    frozen = from_edges(20, [(i, i + 10) for i in range(10)])
    allowed = ~np.eye(20, dtype=bool)
    allowed[:10, :10] = False
    found = search_orbits(
        Opened(problem, allowed, frozen), read_action("Z10", 20), flips=500, seed=1
    )
    matrix = found.adjacency()
    assert not matrix[:10, :10].any()
    assert matrix[frozen.edges[:, 0], frozen.edges[:, 1]].all()
    assert is_legal(found, "C3,C4")


def test_a_start_is_not_made_worse():
    start = construct("petersen")
    found = search(10, "Z5", flips=1, start=start)
    assert found == start


def test_a_start_without_the_symmetry_is_refused():
    with pytest.raises(TenfoldError, match="start has the edge 0 - 1 but not all its images"):
        search(10, "Z5", start=from_edges(10, [(0, 1)]))


def test_frozen_edges_without_the_symmetry_are_refused():
    opened = Opened(Problem(nodes=6), ~np.eye(6, dtype=bool), from_edges(6, [(0, 3)]))
    with pytest.raises(TenfoldError, match="frozen has the edge 0 - 3"):
        search_orbits(opened, read_action("Z3", 6), flips=10, seed=0)


def test_an_empty_host_gives_the_empty_graph():
    opened = Opened(Problem(nodes=6), np.zeros((6, 6), dtype=bool), empty(6))
    assert search_orbits(opened, read_action("Z3", 6), flips=10, seed=0).size == 0


# Paths


@settings(max_examples=40, deadline=None)
@given(
    edges=st.sets(st.sampled_from(list(itertools.combinations(range(9), 2))), max_size=18),
    lengths=st.sets(st.integers(3, 8), min_size=1),
    ends=st.sampled_from(list(itertools.combinations(range(9), 2))),
)
def test_a_closing_path_is_found_if_and_only_if_there_is_one(edges, lengths, ends):
    graph = from_edges(9, edges)
    orbits = pair_orbits(read_action("Z1", 9))
    role = np.full(orbits.count, kernels.ABSENT, dtype=np.int8)
    role[orbits.label[tuple(graph.edges.T)]] = kernels.FROZEN
    rules = read_forbidden(",".join(map(str, lengths)))
    facts = kernels.new_facts(rules, cap=0, flips=0)
    state = kernels.new_state(orbits, role=role, facts=facts, key=0)
    found = kernels.find_path(state, *ends)
    without = graph.to_networkx()
    without.remove_edges_from([ends])
    paths = networkx.all_simple_paths(without, *ends, cutoff=7)
    assert bool(found) == any(len(path) in lengths for path in paths)
    assert not state.marks.any()
    if found:
        path = state.path[: found + 1].tolist()
        assert (path[0], path[-1]) == ends
        assert found + 1 in lengths
        assert all(without.has_edge(*edge) for edge in itertools.pairwise(path))
