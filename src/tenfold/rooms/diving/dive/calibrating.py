"""Which coverage a first dive should have, found out on held-out instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tenfold.engine.config import Json
from tenfold.parts.mip import highs
from tenfold.parts.mip.instance import change_bounds, drop_fixed
from tenfold.parts.mip.measure import gap
from tenfold.parts.mip.solving import Limits
from tenfold.rooms.diving.dive.assign import Predicted, partial_assignments
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.looks import look_at
from tenfold.rooms.diving.dive.network import NeuralDiving
from tenfold.rooms.diving.dive.store import Labelled

GRID = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
FEASIBLE = 0.95
"""Share of held-out instances whose sub-MIP must have a point."""
TARGET = 0.005
"""Mean gap to the best known point that a first dive should reach."""
NODES = 50
"""Of each sub-MIP; counted, so that a training run repeats."""


def calibrate(
    model: NeuralDiving,
    held_out: Sequence[Labelled],
    *,
    hooks: Hooks,
    check_stop: Callable[[], None] = lambda: None,
) -> tuple[float, Json]:
    """Return the coverage to begin with, and what every coverage tried came to.

    The largest one is taken at which sub-MIPs are feasible and good enough; if none is, the one
    with the smallest mean gap, an infeasible sub-MIP counting as a gap of 1.
    """
    asked = [(entry, _predict(model, entry, hooks)) for entry in held_out]
    asked = [(entry, predicted) for entry, predicted in asked if len(predicted.slots)]
    tried: list[Json] = []
    for coverage in GRID if asked else ():
        gaps = []
        for entry, predicted in asked:
            check_stop()
            gaps.append(_dive_gap(entry, predicted, coverage, hooks))
        feasible = float(np.mean([value < 1.0 for value in gaps]))
        tried.append({"coverage": coverage, "feasible": feasible, "mean_gap": float(np.mean(gaps))})
        if feasible >= FEASIBLE and np.mean(gaps) <= TARGET:
            break
    if not tried:
        return model.coverage, {"tried": [], "instances": 0}
    enough = [row for row in tried if row["feasible"] >= FEASIBLE and row["mean_gap"] <= TARGET]
    best = enough[0] if enough else min(tried, key=lambda row: row["mean_gap"])
    return best["coverage"], {"tried": tried, "instances": len(asked)}


def _predict(model: NeuralDiving, entry: Labelled, hooks: Hooks) -> Predicted:
    relaxed = entry.relaxed if model.told.root_lp != "never" else None
    look = look_at(
        entry.mip, bits=model.told.bits, hooks=hooks, graph=model.sees_graph, relaxed=relaxed
    )
    logits, chosen = model.predict(look)
    return Predicted(slots=look.slots, logits=logits, chosen=chosen, coverages=model.told.coverages)


def _dive_gap(entry: Labelled, predicted: Predicted, coverage: float, hooks: Hooks) -> float:
    """Return the gap between a sub-MIP's best point and the pool's; 1 if it has none."""
    mip = entry.mip
    partial = partial_assignments(mip, predicted, coverage=coverage, hooks=hooks)[0]
    reduced = drop_fixed(change_bounds(mip, partial.lower, partial.upper))
    if reduced is None:
        return 1.0
    if not len(reduced.kept):
        return gap(mip.objective(reduced.fixed), float(entry.pool.objectives[0]))
    solved = highs.solve(reduced.mip, limits=Limits(nodes=NODES, gap=1e-3))
    if solved.x is None:
        return 1.0
    best = float(entry.pool.objectives[0])
    better = mip.worse_by(solved.objective, best) <= 0
    return 0.0 if better else gap(solved.objective, best)
