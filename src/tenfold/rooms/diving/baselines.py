"""What learning must beat: solvers, tuned SCIP, LP-RENS, majority vote, nearest neighbours.

LP-RENS and the two fixing baselines propose partial assignments and go through the very same
sub-MIPs as a network's dives (`dive.search.follow`), so that only the proposal differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.solving import Status
from tenfold.rooms.diving.dive.assign import Partial
from tenfold.rooms.diving.dive.collecting import fix_whole_values
from tenfold.rooms.diving.dive.looks import solve_root
from tenfold.rooms.diving.dive.search import Task, follow, solve_rest
from tenfold.rooms.diving.dive.store import Labelled

EMPHASES: tuple[dict[str, str], ...] = tuple(
    {"presolve": presolve, "heuristics": heuristics, "separating": separating}
    for presolve, heuristics, separating in product(
        ("default", "fast"), ("default", "fast", "aggressive"), ("default", "fast", "off")
    )
)
"""The grid of SCIP's emphases from which tuned SCIP is chosen."""
NEIGHBOURS = 5
"""Training instances that a nearest-neighbour vote asks."""


def rens(task: Task) -> Status:
    """Fix what the root LP leaves whole, solve the rest, then the whole (Berthold 2014)."""
    course, mip = task.course, task.mip
    relaxed = solve_root(mip, seconds=course.left) if mip.whole.any() else None
    if relaxed is None:
        return solve_rest(task)
    course.learn_bound(relaxed.objective)
    course.say(f"root LP in {relaxed.seconds:.2f} s")
    fixed = fix_whole_values(mip, relaxed)
    lower, upper = mip.lower.copy(), mip.upper.copy()
    lower[fixed] = upper[fixed] = np.rint(relaxed.x[fixed])
    partial = Partial(
        lower=lower, upper=upper, coverage=float(fixed[mip.whole].mean()),
        tightened=int(fixed.sum()),
    )  # fmt: skip

    def propose(_coverage: float, attempt: int) -> list[Partial]:
        return [partial if attempt == 0 else replace(partial, tightened=0)]

    cfg = replace(task.cfg, stages=(1.0, 0.0))
    return follow(replace(task, cfg=cfg), propose, coverage=1.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Memory:
    """Best points of training instances, by the names of columns."""

    names: tuple[str, ...]
    """Whole columns that any instance has, [V]."""
    values: Floats
    """[I, V], of the best point; NaN where an instance has no such column."""
    facts: Floats
    """[I, F], what instances are told apart by: their objective and row sides."""


def remember(entries: Sequence[Labelled]) -> Memory:
    """Return what the baselines keep of training instances."""
    names: dict[str, int] = {}
    for entry in entries:
        for j in np.flatnonzero(entry.mip.whole):
            names.setdefault(entry.mip.columns[j], len(names))
    values = np.full((len(entries), len(names)), np.nan)
    for number, entry in enumerate(entries):
        if len(entry.pool.objectives):
            places = [names[entry.mip.columns[j]] for j in np.flatnonzero(entry.mip.whole)]
            values[number, places] = np.rint(entry.pool.x[0][entry.mip.whole])
    return Memory(
        names=tuple(names), values=values, facts=np.array([facts_of(e.mip) for e in entries])
    )


def facts_of(mip: Mip, length: int = 256) -> Floats:
    """Return a vector of fixed length that says what an instance is like: quantiles of its data."""
    shares = np.linspace(0, 1, length // 4)
    sides = np.concatenate([mip.left[np.isfinite(mip.left)], mip.right[np.isfinite(mip.right)]])
    tables = (mip.cost, sides, mip.matrix.data, mip.upper[np.isfinite(mip.upper)])
    parts = [np.quantile(t, shares) if len(t) else np.zeros(len(shares)) for t in tables]
    told = np.concatenate(parts)
    return np.asarray(np.sign(told) * np.log1p(np.abs(told)))


def vote(task: Task, memory: Memory, *, nearest: int = 0, coverage: float = 0.8) -> Status:
    """Fix the columns on which training instances agree most.

    Args:
        task: the instance.
        memory: of training instances.
        nearest: ask only so many instances, the most similar ones; 0: all.
        coverage: share of the known columns to fix first.
    """
    mip, course = task.mip, task.course
    asked = np.arange(len(memory.values))
    if nearest:
        spread = memory.facts.std(axis=0) + 1e-9
        away = np.abs((memory.facts - facts_of(mip)) / spread).mean(axis=1)
        asked = np.argsort(away, kind="stable")[:nearest]
    place = {name: k for k, name in enumerate(memory.names)}
    columns = np.array(
        [j for j in np.flatnonzero(mip.whole) if mip.columns[j] in place], dtype=np.int64
    )
    if not len(columns):
        course.say("no column has a name that training instances know")
        return solve_rest(task)
    known = np.array([place[mip.columns[j]] for j in columns])
    votes = memory.values[np.ix_(asked, known)]
    seen = ~np.isnan(votes).all(axis=0)
    columns, votes = columns[seen], votes[:, seen]
    middle = np.nanmedian(votes, axis=0)
    agree = np.nanmean(np.where(np.isnan(votes), np.nan, votes == middle), axis=0)
    order = np.argsort(-agree, kind="stable")

    def propose(share: float, _attempt: int) -> list[Partial]:
        chosen = order[: round(share * len(order))]
        lower, upper = mip.lower.copy(), mip.upper.copy()
        value = np.clip(np.rint(middle[chosen]), lower[columns[chosen]], upper[columns[chosen]])
        lower[columns[chosen]] = upper[columns[chosen]] = value
        return [Partial(lower=lower, upper=upper, coverage=share, tightened=len(chosen))]

    return follow(task, propose, coverage=coverage)


def best_emphasis(scores: Mapping[int, float]) -> dict[str, str]:
    """Return the emphases with the least mean primal integral, by their place in `EMPHASES`."""
    return EMPHASES[min(scores, key=lambda number: (scores[number], number))]
