"""One search of a presolved instance under one branching rule: time, nodes, fair nodes, overhead.

Strong branching finds out infeasible children without opening them, and SCIP does not count those:
it changes the bound, or ends the node. Branching on the same variable would have opened two
children there. So, in the spirit of Gamrath and Schubert 2018,

    fair nodes = nodes + 2 (bound changes + ends of nodes that branching rules found)

This is an upper figure for rules with strong branching: SCIP counts with them the bounds that hold
in both children, which propagation finds and no branching would have opened nodes for. With
relpscost these are few in set cover and nearly all in facility location (120 bound changes at one
root, none with branching/relpscost/probingbounds off). The truth lies between nodes and fair
nodes. Rules without strong branching find nothing, and their two numbers agree.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.parts.mip import scip, scip_library
from tenfold.parts.mip.instance import Mip
from tenfold.parts.mip.solving import Limits, Solved
from tenfold.rooms.diving.branch.config import Branching, Cuts
from tenfold.rooms.diving.branch.policy import Policy
from tenfold.rooms.diving.branch.rule import FIRST, Tally, include, search_settings

LEARNT = "learnt"
RULES = ("relpscost", "pscost", "random", "vanillafullstrong", "fullstrong", "mostinf")
"""SCIP's own rules that can be named; relpscost is its default."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Search:
    """What one search took."""

    rule: str
    solved: Solved
    fair_nodes: int
    """See the module: an upper figure, equal to nodes where rules found nothing."""
    seconds: float
    """Wall time of the search, reading features and network included."""
    processor_seconds: float
    """Processor time of this thread for the same, which other work on the machine hardly moves."""
    tally: Tally | None
    """Of the learnt rule."""


def search(
    mip: Mip,
    rule: str,
    *,
    policy: Policy | None = None,
    branching: Branching | None = None,
    limits: Limits | None = None,
    cuts: Cuts = "root",
    seed: int = 0,
) -> Search:
    """Solve a presolved instance under a branching rule.

    Args:
        mip: the same for all rules that are compared.
        rule: "learnt", or one of `RULES`.
        policy: of the learnt rule.
        branching: when the learnt rule leaves a node to SCIP; never, if not said.
        limits: of the search.
        cuts: see `rule.search_settings`.
        seed: shift of SCIP's seeds.

    Raises:
        TenfoldError: for a rule that there is not, or the learnt one without a policy.
    """
    if rule != LEARNT and rule not in RULES:
        raise unknown_name("branching rule", rule, (LEARNT, *RULES))
    model, tally = scip.build(mip), None
    settings = search_settings(cuts)
    if rule != LEARNT:
        settings[f"branching/{rule}/priority"] = FIRST
    elif policy is None:
        raise TenfoldError("the learnt rule needs a policy; give one that `train branch` made")
    else:
        tally = include(model, policy, cfg=branching or Branching())
    began, clock = time.monotonic(), time.thread_time()
    solved = scip.solve(mip, limits=limits, settings=settings, seed=seed, model=model)
    seconds, used = time.monotonic() - began, time.thread_time() - clock
    fair = solved.nodes + 2 * count_findings(model)
    model.freeProb()
    if tally is not None:
        tally.check()
    return Search(
        rule=rule,
        solved=solved,
        fair_nodes=fair,
        seconds=seconds,
        processor_seconds=used,
        tally=tally,
    )


def count_findings(model: Any) -> int:
    """Return how many bound changes and ends of nodes the branching rules of a model found.

    Raises:
        TenfoldError: if SCIP's library cannot be called, which alone knows.
    """
    path = scip_library.find_library()
    if path is None:
        raise TenfoldError(
            "fair nodes cannot be counted: PySCIPOpt's wheel has no SCIP library; pip install "
            "pyscipopt"
        )
    library = ctypes.CDLL(str(path))
    library.SCIPgetBranchrules.restype = ctypes.POINTER(ctypes.c_void_p)
    library.SCIPgetNBranchrules.restype = ctypes.c_int
    counters = (library.SCIPbranchruleGetNDomredsFound, library.SCIPbranchruleGetNCutoffs)
    for counter in counters:
        counter.restype, counter.argtypes = ctypes.c_longlong, [ctypes.c_void_p]
    pointer = ctypes.c_void_p(scip_library.pointer_of(model))
    rules = library.SCIPgetBranchrules(pointer)
    count = library.SCIPgetNBranchrules(pointer)
    return int(np.sum([counter(rules[k]) for counter in counters for k in range(count)]))
