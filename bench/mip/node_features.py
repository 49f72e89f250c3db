"""Features of a node's LP: ours beside PySCIPOpt's getBipartiteGraphRepresentation, in one run.

    python bench/mip/node_features.py [ROWS COLUMNS]

Both are called at the same nodes of a set cover instance, in turn. The peer's lists become arrays,
as a network needs them; ours are arrays.
"""

import sys
import time

import numpy as np
import pyscipopt

from tenfold.parts.mip import scip
from tenfold.parts.mip.features import encode
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.lp_state import read_state

NODES, WARM = 40, 5


def ours(model):
    state = read_state(model)
    read = time.perf_counter()
    encode(state)
    return read


def peer(model):
    columns, edges, rows, *_ = model.getBipartiteGraphRepresentation(static_only=False)
    read = time.perf_counter()
    wide = [[np.nan if value is None else value for value in row] for row in columns]
    np.array(wide, dtype=np.float32)
    np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float32)
    np.array(edges, dtype=np.float32)
    return read


class Measure(pyscipopt.Branchrule):
    """Times both at every node."""

    def __init__(self):
        self.times = {"ours": [], "peer": []}

    def branchexeclp(self, allowaddcons):  # noqa: ARG002
        for name, work in (("ours", ours), ("peer", peer)):
            began = time.perf_counter()
            read = work(self.model)
            ended = time.perf_counter()
            self.times[name].append((1e3 * (read - began), 1e3 * (ended - read)))
        return {"result": pyscipopt.SCIP_RESULT.DIDNOTRUN}


def main(rows=500, columns=1000):
    model = scip.build(set_cover(rows=rows, columns=columns, density=0.05, seed=0))
    rule = Measure()
    model.includeBranchrule(rule, "measure", "", 1_000_000, -1, 1.0)
    model.setParams({"limits/nodes": NODES + WARM, "presolving/maxrounds": 0})
    model.setSeparating(pyscipopt.SCIP_PARAMSETTING.OFF)
    model.optimize()
    model.freeProb()
    told = {name: np.median(times[WARM:], axis=0) for name, times in rule.times.items()}
    for name, (read, made) in told.items():
        print(f"{name}: {read:.3f} ms to read, {made:.3f} ms to arrays and features")
    ratio = told["peer"].sum() / told["ours"].sum()
    print(f"{rows} x {columns}, {len(rule.times['ours']) - WARM} nodes: {ratio:.0f} times faster")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
