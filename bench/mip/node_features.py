"""Features of a node's LP: ours beside PySCIPOpt's getBipartiteGraphRepresentation, in one run.

    python bench/mip/node_features.py [NODES]

All are called at the same nodes, in turn, on one thread. The peer's lists become arrays, as a
network needs them. Ours twice: `NodeReader`, which keeps what does not change between nodes, and
its plain twin `encode(read_state(model))`. Medians over nodes; the first nodes are left out.
"""

import sys
import time

import numpy as np
import pyscipopt

from tenfold.parts.mip import scip
from tenfold.parts.mip.features import encode
from tenfold.parts.mip.generate.assigning import facility_location
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.lp_state import read_state
from tenfold.parts.mip.node_reader import NodeReader

WARM = 5
INSTANCES = {
    "set cover 500x1000": (lambda: set_cover(rows=500, columns=1000, density=0.05, seed=0), False),
    "facilities 100x100": (lambda: facility_location(customers=100, facilities=100, seed=0), True),
}
"""By name: how to make it, and whether SCIP adds cuts."""


def peer(model):
    columns, edges, rows, *_ = model.getBipartiteGraphRepresentation(static_only=False)
    read = time.perf_counter()
    np.array([[np.nan if v is None else v for v in row] for row in columns], dtype=np.float32)
    np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float32)
    np.array(edges, dtype=np.float32)
    return read


class Measure(pyscipopt.Branchrule):
    """Times all at every node."""

    def __init__(self):
        self.times = {"reader": [], "twin": [], "peer list": [], "peer arrays": []}
        self.shapes = []

    def branchinitsol(self):
        self.reader = NodeReader(self.model)

    def branchexeclp(self, allowaddcons):  # noqa: ARG002
        ticks = [time.perf_counter()]
        graph = self.reader.read()
        ticks.append(time.perf_counter())
        encode(read_state(self.model))
        ticks.append(time.perf_counter())
        ticks += [peer(self.model), time.perf_counter()]
        for name, took in zip(self.times, np.diff(ticks), strict=True):
            self.times[name].append(1e3 * took)
        self.shapes.append((len(graph.columns), len(graph.rows), len(graph.edges)))
        return {"result": pyscipopt.SCIP_RESULT.DIDNOTRUN}


def measure(name, nodes):
    make, cuts = INSTANCES[name]
    model = scip.build(make())
    rule = Measure()
    model.includeBranchrule(rule, "measure", "", 1_000_000, -1, 1.0)
    model.setParams({"limits/nodes": nodes + WARM, "presolving/maxrounds": 0})
    if not cuts:
        model.setSeparating(pyscipopt.SCIP_PARAMSETTING.OFF)
    model.optimize()
    model.freeProb()
    told = {what: np.array(times[WARM:]) for what, times in rule.times.items()}
    whole = told["peer list"] + told["peer arrays"]
    columns, rows, edges = np.median(rule.shapes, axis=0).astype(int)
    print(f"{name}: {len(whole)} nodes, {columns} columns, {rows} rows, {edges} edges")
    print(f"  NodeReader        {np.median(told['reader']):8.3f} ms")
    print(f"  its plain twin    {np.median(told['twin']):8.3f} ms")
    print(
        f"  PySCIPOpt         {np.median(whole):8.3f} ms "
        f"({np.median(told['peer list']):.1f} lists, {np.median(told['peer arrays']):.1f} arrays)"
    )
    print(f"  {np.median(whole) / np.median(told['reader']):.0f} times faster")


if __name__ == "__main__":
    for title in INSTANCES:
        measure(title, int(sys.argv[1]) if len(sys.argv) > 1 else 60)
