"""The policy as a branching rule of SCIP, with SCIP's own rules for what it is not sure of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.features import Encoded
from tenfold.parts.mip.node_reader import NodeReader
from tenfold.parts.mip.scip_models import load_pyscipopt
from tenfold.rooms.diving.branch.config import Branching, Cuts
from tenfold.rooms.diving.branch.policy import Policy
from tenfold.rooms.diving.branch.scoring import scorer

FIRST = 10_000_000
"""Priority before all of SCIP's rules."""


def search_settings(cuts: Cuts) -> dict[str, object]:
    """Return SCIP's parameters for a search of a presolved instance.

    "root": separation at the root alone and no restart, so that rules differ by their choices
    only. (limits/restarts = 0 would end the search at the first restart instead.)
    """
    settings: dict[str, object] = {"presolving/maxrounds": 0, "misc/usesymmetry": 0}
    if cuts == "root":
        settings |= {
            "separating/maxrounds": 0,
            "presolving/maxrestarts": 0,
            "estimation/restarts/restartpolicy": "n",
        }
    return settings


def candidates_of(model: Any) -> list[Any]:
    """Return the variables to branch on, those of highest priority, in SCIP's order."""
    variables, _, _, _, priority, _ = model.getLPBranchCands()
    return list(variables[:priority])


@dataclass(kw_only=True, slots=True)
class Tally:
    """What the rule did in one search; filled while it runs."""

    calls: int = 0
    """Nodes at which it was asked."""
    branched: int = 0
    """Nodes at which the policy chose."""
    deep: int = 0
    """Nodes left to SCIP as too deep."""
    few: int = 0
    """Nodes left to SCIP as they had too few candidates."""
    flat: int = 0
    """Nodes left to SCIP as the policy was not sure."""
    seconds: float = 0.0
    """Wall time of reading, scoring and choosing, all calls together."""
    mismatch: str = ""
    """What at the first node was far from training, if anything was; see
    `Policy.find_mismatch`."""
    fault: BaseException | None = None
    """What went wrong; SCIP itself passes exceptions of plugins over."""

    def check(self) -> None:
        """Raise what went wrong inside the search; to be called after it."""
        if self.fault is not None:
            raise self.fault

    @property
    def seconds_per_call(self) -> float:
        """Mean overhead of a node, 0 before the first."""
        return self.seconds / self.calls if self.calls else 0.0


def include(model: Any, policy: Policy, *, cfg: Branching) -> Tally:
    """Let a policy branch in a model, before all other rules; call `check` after the search.

    Args:
        model: not yet solved.
        policy: trained on the family.
        cfg: when a node is left to SCIP's rule of next priority.

    Returns:
        What the rule does, filled while the model is solved.
    """
    pyscipopt, tally = load_pyscipopt(), Tally()
    choose = _chooser(policy, cfg, tally)

    class Learnt(pyscipopt.Branchrule):  # type: ignore[misc,name-defined]
        """Branches as the policy says."""

        def branchexeclp(self, allowaddcons: bool) -> dict[str, Any]:  # noqa: ARG002
            results = pyscipopt.SCIP_RESULT
            if tally.fault is None:
                try:
                    variable = choose(self.model)
                    if variable is not None:
                        self.model.branchVar(variable)
                        return {"result": results.BRANCHED}
                except BaseException as fault:
                    tally.fault = fault
                    self.model.interruptSolve()
            return {"result": results.DIDNOTRUN}

    model.includeBranchrule(Learnt(), "tenfold policy", "branches as learnt", FIRST, -1, 1.0)
    return tally


def _chooser(policy: Policy, cfg: Branching, tally: Tally) -> Callable[[Any], Any]:
    """Return what chooses the variable at a node, `None` where SCIP is to."""
    score = scorer(policy)
    readers: list[NodeReader] = []
    known = _Variables()

    def choose(model: Any) -> Any:
        began = time.perf_counter()
        tally.calls += 1
        if 0 <= cfg.deepest < model.getDepth():
            tally.deep += 1
            return None
        if not readers:
            readers.append(NodeReader(model))
        graph, places = readers[0].read(), readers[0].candidates()
        if tally.calls == 1:
            tally.mismatch = policy.find_mismatch(graph)
        place = _pick(score, graph, places, cfg, tally)
        variable = None if place < 0 else known.find(model, graph, place)
        tally.seconds += time.perf_counter() - began
        return variable

    return choose


def _pick(
    score: Callable[[Encoded, NDArray[np.int64]], NDArray[np.float32]],
    graph: Encoded,
    places: NDArray[np.int64],
    cfg: Branching,
    tally: Tally,
) -> int:
    """Return the column to branch on, -1 for none."""
    if len(places) < cfg.fewest:
        tally.few += 1
        return -1
    logits = score(graph, places)
    if cfg.flatness < 1 and flatness(logits) > cfg.flatness:
        tally.flat += 1
        return -1
    tally.branched += 1
    return int(places[np.argmax(logits)])


def flatness(logits: NDArray[np.float32]) -> float:
    """Return the policy's entropy over that of a blind choice, in [0, 1]; 1 for one candidate."""
    if len(logits) < 2:
        return 1.0
    logs = logits - logits.max()
    weights = np.exp(logs)
    total = float(weights.sum())
    entropy = np.log(total) - float((weights * logs).sum()) / total
    return float(entropy / np.log(len(logits)))


class _Variables:
    """The problem's variables by their place; asking SCIP for all of them takes a while."""

    def __init__(self) -> None:
        self._table: list[Any] = []

    def find(self, model: Any, graph: Encoded, place: int) -> Any:
        """Return the variable of a column of the graph."""
        number = int(graph.places[place])
        # A restart renumbers variables, and the LP value tells: a column's is read from both.
        told = float(graph.columns[place, _LP_VALUE])
        for _ in range(2):
            if number < len(self._table):
                variable = self._table[number]
                if abs(variable.getLPSol() - told) <= _SAME * max(1.0, abs(told)):
                    return variable
            self._table = model.getVars(transformed=True)
        raise AssertionError(f"variable {number} has not the LP value {told} of its column")


_LP_VALUE = 16
_SAME = 1e-5
"""The graph holds single precision."""
