"""Set cover, auctions and independent sets: binary problems over random sets and graphs."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tenfold.engine import rng
from tenfold.parts.mip.generate.builder import Builder
from tenfold.parts.mip.instance import Mip


def set_cover(*, rows: int, columns: int, density: float, seed: int) -> Mip:
    """Cover every row at least cost (Balas and Ho 1980): costs 1..100, every row in 2 columns."""
    draw = rng.stream(seed, "set cover", rows, columns)
    count = max(int(density * rows * columns), 2 * rows)
    held = [set(draw.choice(columns, 2, replace=False).tolist()) for _ in range(rows)]
    # Every column covers something.
    for column in range(columns):
        held[int(draw.integers(rows))].add(column)
    filled = sum(map(len, held))
    while filled < count:
        row, column = int(draw.integers(rows)), int(draw.integers(columns))
        filled += column not in held[row]
        held[row].add(column)
    pairs = [(row, column) for row in range(rows) for column in sorted(held[row])]
    place = np.array(pairs)
    matrix = sparse.coo_array((np.ones(len(pairs)), tuple(place.T)), shape=(rows, columns))
    problem = Builder(f"setcover-{rows}x{columns}-{seed}")
    chosen = problem.binary("x", columns, cost=draw.integers(1, 101, columns))
    problem.table("cover", chosen, matrix, left=1.0)
    return problem.build()


def auction(*, items: int, bids: int, seed: int, substitutes: float = 0.65) -> Mip:
    """Sell items to bidders who bid on bundles (Leyton-Brown et al. 2000, arbitrary goods).

    A bidder's bids exclude each other, by a dummy item that all of them contain: without that,
    instances of this size are trivial.

    Args:
        items: to sell.
        bids: in all.
        seed: of the instance.
        substitutes: probability that a bidder makes a further bid.
    """
    draw = rng.stream(seed, "auction", items, bids)
    values = draw.integers(1, 101, items).astype(np.float64)
    likeness = np.triu(draw.random((items, items)), 1)
    likeness += likeness.T
    likeness /= likeness.sum(axis=1, keepdims=True)
    bundles: list[np.ndarray] = []
    prices: list[float] = []
    bidder: list[int] = []
    person = 0
    while len(bundles) < bids:
        own = values * (1 + 0.5 * (2 * draw.random(items) - 1))
        first = _bundle(draw, own / own.sum(), likeness)
        offers = [first]
        while len(offers) < 5 and draw.random() < substitutes:
            # A substitute shares one item with the first bundle and is as large.
            anchor = int(draw.choice(first))
            offers.append(_bundle(draw, _only(items, anchor), likeness, size=len(first)))
        for bundle in offers[: bids - len(bundles)]:
            price = float(own[bundle].sum() + len(bundle) ** 1.2)
            bundles.append(bundle)
            prices.append(round(price, 2))
            bidder.append(person)
        person += 1
    problem = Builder(f"auction-{items}x{bids}-{seed}", sense="maximize")
    accepted = problem.binary("bid", bids, cost=prices)
    number = np.repeat(np.arange(bids), [len(bundle) for bundle in bundles])
    places = np.concatenate(bundles)
    sold = sparse.coo_array((np.ones(len(places)), (places, number)), shape=(items, bids))
    problem.table("item", accepted, sparse.csr_array(sold)[np.unique(places)], right=1.0)
    people = sparse.csr_array(
        (np.ones(bids), (np.array(bidder), np.arange(bids))), shape=(person, bids)
    )
    several = np.flatnonzero(people.sum(axis=1) > 1)
    problem.table("bidder", accepted, people[several], right=1.0)
    return problem.build()


def _only(items: int, item: int) -> np.ndarray:
    weights = np.zeros(items)
    weights[item] = 1.0
    return weights


def _bundle(
    draw: np.random.Generator, weights: np.ndarray, likeness: np.ndarray, *, size: int = 0
) -> np.ndarray:
    """Draw a first item, then ever more that go with those in it."""
    chosen = [int(draw.choice(len(weights), p=weights))]
    while len(chosen) < size or (not size and draw.random() < 0.7 and len(chosen) < len(weights)):
        pull = likeness[chosen].mean(axis=0)
        pull[chosen] = 0.0
        chosen.append(int(draw.choice(len(weights), p=pull / pull.sum())))
    return np.sort(np.array(chosen))


def independent_set(*, nodes: int, attach: int, seed: int) -> Mip:
    """Find most nodes of a Barabasi-Albert graph of which no two are adjacent, by clique rows."""
    draw = rng.stream(seed, "independent set", nodes, attach)
    neighbours = _preferential(draw, nodes, attach)
    cliques = _clique_cover(neighbours)
    problem = Builder(f"indset-{nodes}-{attach}-{seed}", sense="maximize")
    chosen = problem.binary("x", nodes, cost=1.0)
    number = np.repeat(np.arange(len(cliques)), [len(clique) for clique in cliques])
    places = np.array([node for clique in cliques for node in clique])
    matrix = sparse.coo_array((np.ones(len(places)), (number, places)), shape=(len(cliques), nodes))
    problem.table("clique", chosen, matrix, right=1.0)
    return problem.build()


def _preferential(draw: np.random.Generator, nodes: int, attach: int) -> list[set[int]]:
    """Grow a graph: each new node takes `attach` neighbours, by their degrees."""
    neighbours: list[set[int]] = [set() for _ in range(nodes)]
    ends: list[int] = list(range(attach))
    for node in range(attach, nodes):
        taken: set[int] = set()
        while len(taken) < attach:
            taken.add(ends[int(draw.integers(len(ends)))])
        for other in sorted(taken):
            neighbours[node].add(other)
            neighbours[other].add(node)
            ends += [node, other]
    return neighbours


def _clique_cover(neighbours: list[set[int]]) -> list[list[int]]:
    """Cover all edges by cliques, greedily."""
    left = {(u, v) for u, near in enumerate(neighbours) for v in near if u < v}
    cliques = []
    for u, v in sorted(left):
        if (u, v) not in left:
            continue
        clique = [u, v]
        for w in sorted(neighbours[u] & neighbours[v]):
            if all(w in neighbours[node] for node in clique):
                clique.append(w)
        clique.sort()
        left -= {(a, b) for i, a in enumerate(clique) for b in clique[i + 1 :]}
        cliques.append(clique)
    return cliques
