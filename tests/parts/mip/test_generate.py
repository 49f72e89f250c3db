import networkx
import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.generate import assigning, graphs
from tenfold.parts.mip.generate.builder import NOTHING, Builder
from tenfold.parts.mip.instance import Kind

pytest.importorskip("highspy")

from tenfold.parts.mip import highs
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.solving import Limits

FAMILIES = {
    "set cover": lambda seed: graphs.set_cover(rows=40, columns=80, density=0.05, seed=seed),
    "auction": lambda seed: graphs.auction(items=20, bids=60, seed=seed),
    "independent set": lambda seed: graphs.independent_set(nodes=40, attach=3, seed=seed),
    "facility": lambda seed: assigning.facility_location(customers=10, facilities=6, seed=seed),
    "assignment d": lambda seed: assigning.generalized_assignment(agents=4, jobs=16, seed=seed),
    "assignment e": lambda seed: assigning.generalized_assignment(
        agents=4, jobs=16, seed=seed, kind="e"
    ),
    "placement": lambda seed: assigning.item_placement(items=9, bins=3, resources=2, seed=seed),
}


# Formulas to rows


def test_blocks_become_rows_as_written():
    problem = Builder("b", sense="maximize")
    x = problem.binary("x", (2, 3), cost=[[1, 2, 3], [4, 5, 6]])
    y = problem.add("y", 2, lower=-1.0, upper=[5.0, 6.0])
    z = problem.add("z", (), kind=Kind.INTEGER, upper=9.0).reshape(())
    problem.rows("each", (x, 1.0), (y[:, None], [[-2.0], [-3.0]]), right=[7.0, 8.0], sums=1)
    problem.rows("pair", (x[0], 1.0), (x[1], -1.0), left=0.0, right=0.0)
    problem.rows("all", (x, 10.0), left=1.0, sums=2)
    problem.rows("one", (z, 4.0), right=3.0)
    made = problem.build()
    assert made.columns[:3] == ("x_0_0", "x_0_1", "x_0_2")
    assert made.columns[-3:] == ("y_0", "y_1", "z")
    assert made.rows == ("each_0", "each_1", "pair_0", "pair_1", "pair_2", "all", "one")
    assert made.cost.tolist() == [1, 2, 3, 4, 5, 6, 0, 0, 0]
    assert made.upper.tolist() == [1] * 6 + [5, 6, 9]
    assert made.matrix.toarray().tolist() == [
        [1, 1, 1, 0, 0, 0, -2, 0, 0],
        [0, 0, 0, 1, 1, 1, 0, -3, 0],
        [1, 0, 0, -1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, -1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, -1, 0, 0, 0],
        [10, 10, 10, 10, 10, 10, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 4],
    ]
    assert made.right.tolist() == [7, 8, 0, 0, 0, np.inf, 3]


def test_places_without_a_column_are_left_out():
    problem = Builder("b")
    x = problem.add("x", 3)
    before = np.array([NOTHING, *x[:-1]])
    problem.rows("step", (x, 1.0), (before, -1.0), left=0.0)
    assert problem.build().matrix.toarray().tolist() == [[1, 0, 0], [-1, 1, 0], [0, -1, 1]]


# Families


@pytest.mark.parametrize("family", FAMILIES)
def test_an_instance_is_what_its_seed_says_and_has_a_point(family):
    one, again, other = (FAMILIES[family](seed) for seed in (0, 0, 1))
    assert one.digest() == again.digest() != other.digest()
    assert one.columns == again.columns
    found = highs.solve(one, limits=Limits(seconds=20, gap=0.05))
    checked = check_point(one, found.x)
    assert checked.feasible, checked.line()


def test_every_row_of_a_set_cover_has_two_columns_and_every_column_a_row():
    mip = graphs.set_cover(rows=40, columns=80, density=0.02, seed=3)
    assert np.diff(mip.matrix.indptr).min() >= 2
    assert np.diff(mip.matrix.tocsc().indptr).min() >= 1
    assert set(np.unique(mip.cost)) <= set(range(1, 101))
    dense = graphs.set_cover(rows=40, columns=80, density=0.2, seed=3)
    assert dense.matrix.nnz == pytest.approx(0.2 * 40 * 80, rel=0.02)


def test_clique_rows_are_exactly_the_edges_of_a_graph():
    mip = graphs.independent_set(nodes=40, attach=3, seed=1)
    table = mip.matrix.toarray() > 0
    graph = networkx.Graph()
    for row in table:
        members = np.flatnonzero(row).tolist()
        graph.add_edges_from((u, v) for u in members for v in members if u < v)
    # A Barabasi-Albert graph: each node after the first three brings three edges.
    assert graph.number_of_edges() == 3 * (40 - 3)
    best = max(len(c) for c in networkx.find_cliques(networkx.complement(graph)))
    assert highs.solve(mip).objective == pytest.approx(best)


def test_bids_of_one_bidder_exclude_each_other():
    mip = graphs.auction(items=20, bids=60, seed=2)
    rows = [name for name in mip.rows if name.startswith("bidder")]
    assert rows
    bidders = mip.matrix.toarray()[[mip.rows.index(name) for name in rows]]
    assert (bidders.sum(axis=0) <= 1).all()
    assert (bidders.sum(axis=1) >= 2).all()


def test_facilities_hold_the_demand_as_often_as_the_ratio_says():
    mip = assigning.facility_location(customers=30, facilities=10, seed=0, ratio=5.0)
    total = mip.rows.index("total")
    assert mip.matrix[[total]].sum() == pytest.approx(5 * mip.left[total], rel=0.02)


def test_an_even_placement_costs_nothing_but_rounding():
    mip = assigning.item_placement(items=9, bins=3, resources=2, seed=0)
    found = highs.solve(mip, limits=Limits(seconds=20))
    placed = np.rint(found.x[:27]).reshape(9, 3)
    assert (placed.sum(axis=1) == 1).all()
    assert found.objective < highs.solve(_all_in_few_bins(mip)).objective


def _all_in_few_bins(mip):
    """Return the instance with one bin closed."""
    from tenfold.parts.mip.instance import change_bounds

    upper = mip.upper.copy()
    upper[[mip.columns.index(f"x_{item}_0") for item in range(9)]] = 0.0
    room = [mip.rows.index(name) for name in mip.rows if name.startswith("room")]
    loose = change_bounds(mip, mip.lower, upper)
    loose.right[room] = np.inf
    return loose


def test_an_unknown_number_of_hours_is_told():
    from tenfold.parts.mip.generate import unit_commitment as uc

    system = uc.draw_system(units=5, hours=6, seed=0)
    with pytest.raises(TenfoldError, match="has 6 hours, not 7"):
        uc.first_hours(system, 7)
