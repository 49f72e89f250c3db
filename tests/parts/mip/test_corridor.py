from itertools import combinations

import networkx
import numpy as np
import pytest

from tenfold.parts.mip.generate.corridor import corridor, lattice, steiner_cost
from tenfold.parts.mip.instance import change_bounds

pytest.importorskip("highspy")

from tenfold.parts.mip import highs
from tenfold.parts.mip.check import check_point


def graph_of(side):
    tails, heads = lattice(side)
    graph = networkx.Graph()
    graph.add_nodes_from(range(side * side))
    graph.add_edges_from(zip(tails.tolist(), heads.tolist(), strict=True))
    return graph


def parts_of(mip):
    """Return utility, cost and reserves of the parcels, and the budget."""
    parcels = sum(name.startswith("x_") for name in mip.columns)
    row = mip.matrix[[mip.rows.index("budget")]].toarray()[0, :parcels]
    held = np.flatnonzero(mip.lower[:parcels] == 1).tolist()
    return mip.cost[:parcels], row, held, mip.right[mip.rows.index("budget")]


def connected_choices(graph, held):
    """Yield every connected set of nodes that holds some."""
    others = [node for node in graph if node not in held]
    for size in range(len(others) + 1):
        for more in combinations(others, size):
            chosen = [*held, *more]
            if networkx.is_connected(graph.subgraph(chosen)):
                yield chosen


def test_a_lattice_has_an_arc_both_ways_for_each_pair_of_neighbours():
    tails, heads = lattice(4)
    assert len(tails) == 4 * 4 * 3
    grid = networkx.convert_node_labels_to_integers(networkx.grid_2d_graph(4, 4), ordering="sorted")
    arcs = set(zip(tails.tolist(), heads.tolist(), strict=True))
    assert arcs == set(grid.to_directed().edges)


@pytest.mark.parametrize("seed", range(4))
def test_cheapest_trees_and_best_corridors_are_those_of_a_search_through_all(seed):
    mip = corridor(side=3, seed=seed, reserves=3, budget=1.6)
    utility, cost, held, budget = parts_of(mip)
    graph = graph_of(3)
    choices = list(connected_choices(graph, held))
    least = min(cost[chosen].sum() for chosen in choices)
    assert steiner_cost(cost, *lattice(3), held) == least
    assert budget == np.floor(1.6 * least)
    best = max(utility[chosen].sum() for chosen in choices if cost[chosen].sum() <= budget)
    assert highs.solve(mip).objective == pytest.approx(best)


def test_a_tree_for_two_nodes_is_a_shortest_path():
    draw = np.random.default_rng(0)
    tails, heads = lattice(6)
    cost = draw.integers(0, 4, 36).astype(float)  # with zeros, which are costs too
    graph = networkx.DiGraph()
    graph.add_weighted_edges_from(zip(tails.tolist(), heads.tolist(), cost[heads], strict=True))
    for one, two in draw.integers(0, 36, (10, 2)).tolist():
        path = networkx.shortest_path_length(graph, one, two, weight="weight")
        assert steiner_cost(cost, tails, heads, [one, two]) == path + cost[one]


def test_flow_lets_exactly_the_connected_choices_through():
    mip = corridor(side=3, seed=1, reserves=2, budget=1.0)
    mip.right[mip.rows.index("budget")] = np.inf
    held = parts_of(mip)[2]
    graph = graph_of(3)
    draw = np.random.default_rng(0)
    told = {True: 0, False: 0}
    for _ in range(60):
        pattern = draw.random(9) < 0.6
        pattern[held] = True
        lower, upper = mip.lower.copy(), mip.upper.copy()
        lower[:9] = upper[:9] = pattern
        found = highs.solve(change_bounds(mip, lower, upper)).x is not None
        assert found == networkx.is_connected(graph.subgraph(np.flatnonzero(pattern).tolist()))
        told[found] += 1
    assert min(told.values()) > 5


def test_a_budget_of_one_buys_a_cheapest_tree_and_less_buys_nothing():
    mip = corridor(side=4, seed=2, budget=1.0)
    _, cost, held, budget = parts_of(mip)
    found = highs.solve(mip)
    assert check_point(mip, found.x).feasible
    assert cost @ np.rint(found.x[:16]) == budget == steiner_cost(cost, *lattice(4), held)
    mip.right[mip.rows.index("budget")] = budget - 1
    assert highs.solve(mip).status == "infeasible"


@pytest.mark.parametrize("reserves", [2, 3, 4, 6])
def test_reserves_are_free_and_lie_on_the_border_apart(reserves):
    for seed in range(20):
        mip = corridor(side=6, seed=seed, reserves=reserves)
        _, cost, held, _ = parts_of(mip)
        assert len(held) == reserves
        assert (cost[held] == 0).all()
        assert ((np.delete(cost, held) >= 1) & (np.delete(cost, held) <= 10)).all()
        place = np.stack(np.divmod(held, 6))
        assert ((place == 0) | (place == 5)).any(axis=0).all()


def test_an_instance_has_the_size_of_corlat_and_is_what_its_seed_says():
    one, again, other = (corridor(side=10, seed=seed) for seed in (0, 0, 1))
    assert one.digest() == again.digest() != other.digest()
    assert one.counts()["binary"] == 100
    assert one.shape == (1 + 360 + 99, 100 + 360)
