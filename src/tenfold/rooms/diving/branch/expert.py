"""Full strong branching at a node of SCIP: the values of both children of every candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.lp_state import LpState
from tenfold.parts.mip.lpbatch import LpBatch
from tenfold.rooms.diving.branch.config import CollectBranch
from tenfold.rooms.diving.method import branching

Floats = NDArray[np.float64]

_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Children:
    """What became of c candidates' children, as LP values of a minimisation."""

    down: Floats
    """[c], infinite where infeasible."""
    up: Floats
    """[c]."""
    value: float
    """Of the node's own LP."""
    room: float
    """From there to the cutoff, infinite if there is none."""

    def scores(self) -> Floats:
        """Return the score of full strong branching of each candidate, [c]."""
        both = branching.gains(np.stack([self.down, self.up]), self.value, self.room)
        return branching.scores(both[0], both[1])

    def open_children(self) -> int:
        """Return how many children are neither infeasible nor beyond the cutoff."""
        limit = self.value + self.room
        return int(np.sum(self.down < limit) + np.sum(self.up < limit))


def room_of(model: Any) -> float:
    """Return the distance from the node's LP value to the cutoff; infinite without a cutoff."""
    cutoff = model.getCutoffbound()
    if model.isInfinity(cutoff):
        return float("inf")
    return max(float(cutoff - model.getLPObjVal()), 0.0)


def ask_exactly(model: Any, candidates: Sequence[Any], *, iterations: int = 0) -> Children:
    """Solve both LPs of every candidate by SCIP's strong branching, which leaves SCIP as it was.

    Args:
        model: inside a branching rule.
        candidates: variables with broken values.
        iterations: of the simplex method for one child; 0 is to the end.
    """
    value = float(model.getLPObjVal())
    found = np.empty((2, len(candidates)))
    model.startStrongbranch()
    try:
        for k, variable in enumerate(candidates):
            down, up, _, _, down_shut, up_shut, _, _, fault = model.getVarStrongbranch(
                variable, iterations or _NO_LIMIT, idempotent=True
            )
            found[:, k] = np.inf if down_shut else down, np.inf if up_shut else up
            if fault:
                # What SoPlex could not solve promises nothing.
                found[:, k] = value
    finally:
        model.endStrongbranch()
    return Children(down=found[0], up=found[1], value=value, room=room_of(model))


def ask_in_batch(
    state: LpState, places: NDArray[np.int64], *, room: float, iterations: int
) -> Children:
    """Solve both LPs of every candidate approximately, all of them in one batch of ADMM.

    Args:
        state: the node's LP, solved.
        places: of the candidates among its columns, [c].
        room: from its value to the cutoff.
        iterations: of ADMM.
    """
    count, value = len(places), state.value[places]
    lower = np.repeat(state.lower[:, None], 2 * count, axis=1)
    upper = np.repeat(state.upper[:, None], 2 * count, axis=1)
    each = np.arange(count)
    upper[places, each] = np.floor(value)
    lower[places, count + each] = np.ceil(value)
    answers = LpBatch(state).solve(lower, upper, iterations=iterations)
    own = float(state.cost @ state.value)
    # A safe bound beyond the cutoff proves what an estimate cannot.
    values = np.where(answers.bounds >= own + room, np.inf, answers.estimates)
    return Children(down=values[:count], up=values[count:], value=own, room=room)


def ask(
    model: Any,
    variables: Sequence[Any],
    places: NDArray[np.int64],
    state: LpState | None,
    *,
    cfg: CollectBranch,
) -> Children:
    """Ask the expert that a config names.

    Args:
        model: inside a branching rule.
        variables: the candidates.
        places: of the same among the LP's columns, [c].
        state: the node's LP; only the approximate expert needs it.
        cfg: of the collection.
    """
    if cfg.expert == "exact":
        return ask_exactly(model, variables, iterations=cfg.child_iterations)
    assert state is not None, "the approximate expert needs the node's LP"
    return ask_in_batch(state, places, room=room_of(model), iterations=cfg.admm_iterations)
