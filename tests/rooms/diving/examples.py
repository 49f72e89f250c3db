"""Small instances, looks and networks for tests of diving."""

import numpy as np
import torch
from scipy import sparse

from tenfold.parts.mip.generate.assigning import facility_location
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.rooms.diving.dive.config import GraphConvolution, TrainDive
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.looks import look_at, solve_root
from tenfold.rooms.diving.dive.network import NeuralDiving, feature_means, new_network


def integers(lower, upper):
    """Return an instance of integer columns within bounds and without a row."""
    return from_rows(
        name="box",
        cost=np.ones(len(lower)),
        matrix=sparse.csr_array((0, len(lower))),
        left=np.zeros(0),
        right=np.zeros(0),
        lower=np.asarray(lower, dtype=float),
        upper=np.asarray(upper, dtype=float),
        kinds=Kind.INTEGER,
    )


def facilities(seed=0, *, customers=8, places=6):
    return facility_location(customers=customers, facilities=places, seed=seed)


def cover(seed=0, *, rows=30, columns=50):
    return set_cover(rows=rows, columns=columns, density=0.15, seed=seed)


def linear(sense="minimize"):
    """Return an LP: min x + y (or max -x - y) with x + y >= 3 and both in [0, 2]."""
    sign = 1.0 if sense == "minimize" else -1.0
    return from_rows(
        name="lp",
        sense=sense,
        cost=sign * np.ones(2),
        matrix=sparse.csr_array([[1.0, 1.0]]),
        left=np.array([3.0]),
        right=np.array([np.inf]),
        upper=2.0,
    )


def infeasible():
    """Return three binaries of which two must be one, and no two may."""
    pairs = np.array([[1.0, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    return from_rows(
        name="infeasible",
        cost=np.ones(3),
        matrix=sparse.csr_array(pairs),
        left=np.array([-np.inf, -np.inf, -np.inf, 2.0]),
        right=np.array([1.0, 1.0, 1.0, np.inf]),
        upper=1.0,
        kinds=Kind.BINARY,
    )


def untrained(mips, *, seed=0, root_lp="auto", coverage=0.5, **told):
    """Return a network with first values, scaled on some instances and seeing LP and rows."""
    config = TrainDive(
        network=GraphConvolution(width=8, depth=2), coverages=(0.5, 0.9), root_lp=root_lp, **told
    )
    net = new_network(config, extra=0, seed=seed)
    looks = [
        look_at(mip, bits=config.bits, hooks=Hooks(), graph=True, relaxed=relaxed)
        for mip in mips
        for relaxed in (None, solve_root(mip))
    ]
    net.column_norm.measure(torch.cat([look.graph.columns for look in looks]))
    net.row_norm.measure(torch.cat([look.graph.rows for look in looks]))
    means = np.array([feature_means(look) for look in looks])
    return NeuralDiving(
        net=net, told=config, extra=0, coverage=coverage,
        means=np.stack([means.mean(axis=0), means.std(axis=0)]),
    )  # fmt: skip
