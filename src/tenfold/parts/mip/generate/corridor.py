"""Wildlife corridors: connected parcels of land within a budget (Conrad et al. 2007).

The CORLAT instances are of this kind (Gomes, van Hoeve, Sabharwal 2008): a square lattice of
parcels with a cost and a utility each, reserves that must be joined, and flow of one commodity
that tells whether the chosen parcels hang together. A small budget makes it hard to find any
point at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from tenfold.engine import rng
from tenfold.parts.mip.generate.builder import Builder
from tenfold.parts.mip.instance import Floats, Kind, Mip

Nodes = NDArray[np.int64]


def corridor(*, side: int, seed: int, reserves: int = 3, budget: float = 1.3) -> Mip:
    """Choose connected parcels that hold all reserves and are worth most, within a budget.

    Every chosen parcel but the first reserve takes in one unit of flow, which comes from there
    and enters chosen parcels only.

    Args:
        side: parcels in a row of the lattice; cost and utility of each are drawn from 1..10.
        seed: of the instance.
        reserves: parcels that must be chosen, at no cost; they lie around the border, far apart.
        budget: factor to the least cost of any connected choice, the node-weighted Steiner tree.
            At 1 only the cheapest trees fit.
    """
    assert 2 <= reserves <= 2 * side - 2, f"{reserves} reserves around {side} x {side} parcels"
    assert budget >= 1, f"a budget of {budget} times the cheapest choice buys none"
    draw = rng.stream(seed, "corridor", side, reserves)
    parcels = side * side
    cost = draw.integers(1, 11, parcels).astype(np.float64)
    utility = draw.integers(1, 11, parcels).astype(np.float64)
    held = _around(draw, side, reserves)
    cost[held] = 0.0
    tails, heads = lattice(side)
    least = steiner_cost(cost, tails, heads, held.tolist())
    problem = Builder(f"corridor-{side}-{reserves}-{seed}", sense="maximize")
    must = np.zeros(parcels)
    must[held] = 1.0
    chosen = problem.add("x", parcels, cost=utility, lower=must, kind=Kind.BINARY)
    flow = problem.add("flow", len(tails), upper=parcels - 1.0)
    problem.rows("budget", (chosen, cost), right=np.floor(budget * least), sums=1)
    problem.rows("open", (flow, 1.0), (chosen[heads], -(parcels - 1.0)), right=0.0)
    source = int(held[0])
    # What comes in less what goes out; the source gives one unit to every other parcel.
    others = np.delete(np.arange(parcels), source)
    balance = _incidence(tails, heads, parcels)[others]
    takes = sparse.eye_array(parcels, format="csr")[others]
    problem.table(
        "keep",
        np.concatenate([flow, chosen]),
        sparse.hstack([balance, -takes]),
        left=0.0,
        right=0.0,
    )
    return problem.build()


def _around(draw: np.random.Generator, side: int, count: int) -> Nodes:
    """Draw parcels of the border, one from each of `count` equal stretches, near its middle."""
    number = np.arange(side * side).reshape(side, side)
    sides = (number[0, :-1], number[:-1, -1], number[-1, :0:-1], number[:0:-1, 0])
    border = np.concatenate(sides)
    stretch = len(border) / count
    places = draw.uniform(0, len(border)) + stretch * (np.arange(count) + draw.random(count) / 2)
    return np.asarray(border[places.astype(np.int64) % len(border)])


def lattice(side: int) -> tuple[Nodes, Nodes]:
    """Return tails and heads of all arcs of a square lattice, both ways, [4 side (side - 1)]."""
    number = np.arange(side * side).reshape(side, side)
    one = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    two = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    return np.concatenate([one, two]), np.concatenate([two, one])


def _incidence(tails: Nodes, heads: Nodes, nodes: int) -> sparse.csr_array:
    arcs = np.arange(len(tails))
    into = sparse.coo_array((np.ones(len(arcs)), (heads, arcs)), shape=(nodes, len(arcs)))
    out = sparse.coo_array((np.ones(len(arcs)), (tails, arcs)), shape=(nodes, len(arcs)))
    return sparse.csr_array(into - out)


def steiner_cost(cost: Floats, tails: Nodes, heads: Nodes, terminals: Sequence[int]) -> float:
    """Return the least cost of nodes that connect the terminals (Dreyfus and Wagner 1971).

    Exact; time and memory grow with 3^terminals.

    Args:
        cost: of each node, 0 or more, [n].
        tails: of arcs, [a], each arc in both directions.
        heads: [a].
        terminals: nodes to connect, whose costs count too.
    """
    arcs = sparse.csr_array((cost[heads], (tails, heads)), shape=(len(cost), len(cost)))
    # From a node to another: what the nodes after the first cost. Stored zeros are arcs too.
    far = csgraph.dijkstra(arcs)
    full = (1 << len(terminals)) - 1
    trees = np.full((full + 1, len(cost)), np.inf)
    for mask in range(1, full + 1):
        if mask & (mask - 1) == 0:
            root = terminals[mask.bit_length() - 1]
            trees[mask] = cost[root] + far[root]
            continue
        part = (mask - 1) & mask
        while part:
            np.minimum(trees[mask], trees[part] + trees[mask ^ part] - cost, out=trees[mask])
            part = (part - 1) & mask
        # A tree that ends at some node goes on to any other.
        trees[mask] = (trees[mask][:, None] + far).min(axis=0)
    return float(trees[full].min())
