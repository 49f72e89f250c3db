"""Compile all loops over SCIP's data, once a machine: `python -m tenfold.parts.mip.warm`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tenfold.engine.progress import say
from tenfold.parts.mip import features, lp_state, node_reader, scip, scip_library, scip_models
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.instance import Mip


def steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what there is to compile, by name."""
    mip = set_cover(rows=30, columns=60, density=0.1, seed=0)
    yield "models to arrays and back", lambda: _there_and_back(mip)
    yield "features", lambda: features.encode(lp_state.from_relaxed(mip, scip.relax(mip)))
    yield "features of nodes", lambda: _read_nodes(mip)


def _there_and_back(mip: Mip) -> None:
    left = scip.presolve(mip)
    if left.mip is not None:
        left.restore(np.zeros(left.mip.shape[1]))
    scip.solve(mip)


def _read_nodes(mip: Mip) -> None:
    """Read the root as a plugin does; SCIP calls plugins and swallows what they raise."""
    known = scip_models.load_pyscipopt()
    from pyscipopt import Branchrule

    class Rule(Branchrule):
        read = False

        def branchexeclp(self, allowaddcons: bool) -> dict[str, Any]:  # noqa: ARG002
            lp_state.read_state(self.model)
            reader = node_reader.NodeReader(self.model)
            reader.read()
            reader.candidates()
            self.read = True
            return {"result": known.SCIP_RESULT.DIDNOTRUN}

    model, rule = scip.build(mip), Rule()
    model.includeBranchrule(rule, "warm", "", 1_000_000, -1, 1.0)
    model.setParams({"limits/nodes": 1, "presolving/maxrounds": 0})
    model.setSeparating(known.SCIP_PARAMSETTING.OFF)
    model.setHeuristics(known.SCIP_PARAMSETTING.OFF)
    model.optimize()
    model.freeProb()
    assert rule.read, "the instance was solved without a branching"


def main() -> None:
    """Compile, with a line for each part."""
    if obstacle := scip_library.find_obstacle():
        say(f"nothing is compiled: {obstacle}")
        return
    for name, work in steps():
        began = time.monotonic()
        work()
        say(f"loops over SCIP ready: {name} ({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main()
