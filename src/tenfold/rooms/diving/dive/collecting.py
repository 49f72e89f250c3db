"""Labels: good points of an instance, by a plain solver or by LP-RENS and neighbourhoods."""

from __future__ import annotations

import math
import time
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.config import Json, encode
from tenfold.parts.mip import highs, labels, scip
from tenfold.parts.mip.instance import Floats, Mip, change_bounds, drop_fixed
from tenfold.parts.mip.labels import Pool
from tenfold.parts.mip.solving import Limits, Point, Relaxed, Solved
from tenfold.rooms.diving.dive.config import CollectDive
from tenfold.rooms.diving.dive.looks import solve_root
from tenfold.rooms.diving.dive.store import Labelled

SOLVERS: dict[str, ModuleType] = {"scip": scip, "highs": highs}
WHOLE = 1e-6
"""An LP value this close to a whole number is one."""


def label(mip: Mip, *, key: str, cfg: CollectDive) -> Labelled:
    """Return an instance with its root LP and a pool of good points."""
    relaxed = solve_root(mip, seconds=cfg.seconds)
    if cfg.improve == "rens" and relaxed is not None:
        pool = _by_neighbourhoods(mip, relaxed, cfg)
    else:
        pool = labels.collect(
            mip, SOLVERS[cfg.solver], limits=_limits(cfg, cfg.seconds), seed=cfg.seed,
            most=cfg.points,
        )  # fmt: skip
    return Labelled(key=key, mip=mip, pool=pool, relaxed=relaxed)


def _limits(cfg: CollectDive, seconds: float) -> Limits:
    return Limits(seconds=max(seconds, 0.01), nodes=cfg.nodes, gap=cfg.gap)


def fix_whole_values(mip: Mip, relaxed: Relaxed) -> NDArray[np.bool_]:
    """Return which whole columns the root LP leaves whole, [n] (RENS, Berthold 2014)."""
    return np.asarray(mip.whole & (np.abs(relaxed.x - np.rint(relaxed.x)) <= WHOLE))


def solve_fixed(
    mip: Mip,
    fixed: NDArray[np.bool_],
    values: Floats,
    *,
    solver: ModuleType,
    limits: Limits,
    start: Floats | None = None,
    seed: int = 0,
) -> tuple[Solved, Floats] | None:
    """Solve an instance in which some columns have given values.

    Returns:
        The answer to the smaller instance and the point of the whole one; `None` if no point was
        found.
    """
    lower, upper = mip.lower.copy(), mip.upper.copy()
    lower[fixed] = upper[fixed] = np.clip(np.rint(values[fixed]), lower[fixed], upper[fixed])
    reduced = drop_fixed(change_bounds(mip, lower, upper))
    if reduced is None:
        return None
    begin = None if start is None else start[reduced.kept]
    found = solver.solve(reduced.mip, limits=limits, start=begin, seed=seed)
    return None if found.x is None else (found, reduced.lift(found.x))


def _by_neighbourhoods(mip: Mip, relaxed: Relaxed, cfg: CollectDive) -> Pool:
    """Fix what the LP leaves whole, then free a part of the best point again and again."""
    began = time.monotonic()
    draw = rng.stream(cfg.seed, "neighbourhoods", mip.name)
    solver, sign = SOLVERS[cfg.solver], 1.0 if mip.sense == "minimize" else -1.0

    def left() -> float:
        return cfg.seconds - (time.monotonic() - began)

    def limits(share: float) -> Limits:
        seconds = max(share * cfg.seconds, 1.0) if math.isfinite(cfg.seconds) else math.inf
        return _limits(cfg, min(seconds, left()))

    points: list[Point] = []
    best: Floats | None = None
    fixed = fix_whole_values(mip, relaxed)
    found = solve_fixed(mip, fixed, relaxed.x, solver=solver, limits=limits(0.3))
    if found is None:
        return labels.collect(mip, solver, limits=_limits(cfg, left()), seed=cfg.seed)
    _, best = found
    points.append(_point(mip, best, began))
    free_share = 0.25
    for _ in range(cfg.rounds):
        if left() <= 0:
            break
        free = near_rows(mip, draw, share=free_share)
        found = solve_fixed(mip, mip.whole & ~free, best, solver=solver, limits=limits(0.1),
                            start=best, seed=cfg.seed)  # fmt: skip
        if found is None:
            continue
        solved, x = found
        # Neighbourhoods that are searched through grow, others shrink (Sonnerat et al. 2021).
        free_share *= 1.2 if solved.status == "optimal" else 1 / 1.3
        free_share = min(max(free_share, 0.02), 0.8)
        if sign * mip.objective(x) < sign * mip.objective(best) - 1e-9:
            best = x
            points.append(_point(mip, x, began))
    source: Json = {
        "solver": solver.version(),
        "method": "root LP, RENS, neighbourhoods",
        "settings": encode(cfg),
        "seconds": round(time.monotonic() - began, 3),
        "status": "limit",
    }
    return labels.pool_of(mip, points, bound=relaxed.objective, source=source, most=cfg.points)


def _point(mip: Mip, x: Floats, began: float) -> Point:
    return Point(seconds=time.monotonic() - began, objective=mip.objective(x), x=x)


def near_rows(mip: Mip, draw: np.random.Generator, *, share: float) -> NDArray[np.bool_]:
    """Return a random share of the whole columns that hang together by rows, [n].

    Columns are freed in walks from random rows: a column of the row, a row of that column, and so
    on, so that what is freed can move together.
    """
    whole, table = mip.whole, mip.matrix
    turned = table.tocsc()
    wanted = max(int(share * whole.sum()), 1)
    free = np.zeros(len(whole), dtype=np.bool_)
    count, tries = 0, 0
    while count < wanted and tries < 50 * wanted:
        row = int(draw.integers(table.shape[0]))
        for _ in range(max(wanted // 8, 4)):
            tries += 1
            columns = table.indices[table.indptr[row] : table.indptr[row + 1]]
            columns = columns[whole[columns]]
            if not len(columns):
                break
            some = columns[draw.integers(len(columns), size=min(4, len(columns)))]
            count += int(np.sum(~free[np.unique(some)]))
            free[some] = True
            column = int(some[0])
            rows = turned.indices[turned.indptr[column] : turned.indptr[column + 1]]
            row = int(rows[draw.integers(len(rows))])
            if count >= wanted:
                break
    return free
