"""Facility location, generalised assignment and balanced placement: who goes where."""

from __future__ import annotations

import numpy as np

from tenfold.engine import rng
from tenfold.parts.mip.generate.builder import Builder
from tenfold.parts.mip.instance import Mip


def facility_location(*, customers: int, facilities: int, seed: int, ratio: float = 5.0) -> Mip:
    """Open facilities and serve all demand at least cost (Cornuejols et al. 1991).

    Args:
        customers: with demand 5..35.
        facilities: with capacity 10..160, scaled so that all together hold `ratio` times the
            demand, and fixed cost that grows with the root of the capacity.
        seed: of the instance.
        ratio: of capacity to demand.
    """
    draw = rng.stream(seed, "facility location", customers, facilities)
    at, of = draw.random((customers, 2)), draw.random((facilities, 2))
    demand = draw.integers(5, 36, customers).astype(np.float64)
    capacity = draw.integers(10, 161, facilities).astype(np.float64)
    fixed = draw.integers(100, 111, facilities) * np.sqrt(capacity) + draw.integers(
        0, 91, facilities
    )
    capacity = np.floor(capacity * ratio * demand.sum() / capacity.sum())
    distance = np.sqrt(((at[:, None] - of[None]) ** 2).sum(axis=2))
    cost = np.round(10 * distance * demand[:, None], 4)
    problem = Builder(f"facilities-{customers}x{facilities}-{seed}")
    opened = problem.binary("open", facilities, cost=np.round(fixed))
    served = problem.add("serve", (customers, facilities), cost=cost, upper=1.0)
    problem.rows("demand", (served, 1.0), left=1.0, sums=1)
    problem.rows("capacity", (served.T, demand), (opened[:, None], -capacity[:, None]),
                 right=0.0, sums=1)  # fmt: skip
    problem.rows("total", (opened, capacity), left=demand.sum(), sums=1)
    problem.rows("tight", (served, 1.0), (opened[None], -1.0), right=0.0)
    return problem.build()


def generalized_assignment(*, agents: int, jobs: int, seed: int, kind: str = "d") -> Mip:
    """Give every job to an agent within its capacity (Chu and Beasley 1997; types d and e)."""
    assert kind in "de", f"type {kind!r} is not d or e"
    draw = rng.stream(seed, "assignment", agents, jobs, kind)
    if kind == "d":
        load = draw.integers(1, 101, (agents, jobs)).astype(np.float64)
        cost = 111 - load + draw.integers(-10, 11, (agents, jobs))
    else:
        load = np.round(1 - 10 * np.log(1 - draw.random((agents, jobs))))
        cost = np.round(1000 / load - 10 * draw.random((agents, jobs)))
    capacity = np.floor(0.8 * load.sum(axis=1) / agents)
    problem = Builder(f"assignment-{kind}-{agents}x{jobs}-{seed}")
    given = problem.binary("x", (agents, jobs), cost=cost)
    problem.rows("job", (given.T, 1.0), left=1.0, right=1.0, sums=1)
    problem.rows("capacity", (given, load), right=capacity, sums=1)
    return problem.build()


def item_placement(*, items: int, bins: int, resources: int, seed: int) -> Mip:
    """Place items into bins so that all resources are used evenly (ML4CO 2021, item placement).

    The objective is the largest overuse of each resource, weighted, plus the mean deviation.
    """
    draw = rng.stream(seed, "item placement", items, bins, resources)
    sizes = draw.integers(1, 21, (items, resources)).astype(np.float64)
    room = np.ceil(1.3 * sizes.sum(axis=0) / bins)
    fair = np.round(sizes.sum(axis=0) / bins, 9)  # files do not keep all digits
    weights = draw.integers(1, 11, resources).astype(np.float64)
    problem = Builder(f"placement-{items}x{bins}x{resources}-{seed}")
    placed = problem.binary("x", (items, bins))
    over = problem.add("over", (bins, resources), cost=np.round(weights / (bins * fair), 9))
    worst = problem.add("worst", resources, cost=np.round(weights / fair, 9))
    problem.rows("item", (placed, 1.0), left=1.0, right=1.0, sums=1)
    # Rows of bins and resources, sums over items.
    load = placed.T[:, None, :]
    problem.rows("room", (load, sizes.T[None]), right=room[None], sums=1)
    problem.rows("overuse", (load, sizes.T[None]), (over[:, :, None], -1.0), right=fair[None],
                 sums=1)  # fmt: skip
    problem.rows("largest", (over, 1.0), (np.broadcast_to(worst, over.shape), -1.0), right=0.0)
    return problem.build()
