"""Pools of good points of an instance, what a network is to imitate (Nair et al. 2020, section 5).

A pool keeps one point for each integer part, best first, and where it came from. Weights of the
likelihood are softmax(-(objective - best) / (max(|best|, 1) T)): the paper's exp(-c'x) without a
scale would see only the best point of one instance and none in particular of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_bytes, write_json
from tenfold.parts.mip.check import TOLERANCE, check_point
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.solving import Limits, Point

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pool:
    """k points of one instance, best first, no two with the same integer part."""

    x: Floats
    """[k, n]."""
    objectives: Floats
    """[k], in the instance's own sense."""
    bound: float
    """What no point is better than, as far as the solver proved."""
    digest: str
    """Of the instance."""
    source: Json
    """Solver with version, limits, seed, status, seconds."""

    def weights(self, temperature: float) -> Floats:
        """Return the weight of each point, [k], which sum to 1; see the module for the formula.

        A temperature of 0.01 gives a point that is 1 % worse 1/e of the best one's weight.
        """
        if not len(self.objectives):
            return np.zeros(0)
        best = self.objectives[0]
        away = np.abs(self.objectives - best) / max(abs(best), 1.0)
        weights = np.exp(-away / temperature)
        return np.asarray(weights / weights.sum())


def pool_of(
    mip: Mip, points: Sequence[Point], *, bound: float, source: Json, most: int = 0
) -> Pool:
    """Return the pool of points: those that fit, one for each integer part, best first.

    Args:
        mip: the instance.
        points: in any order.
        bound: proved by the solver.
        source: where the points came from.
        most: keep the best so many, 0: all.
    """
    sign = 1.0 if mip.sense == "minimize" else -1.0
    kept: dict[bytes, tuple[float, Floats]] = {}
    for point in points:
        checked = check_point(mip, point.x, TOLERANCE)
        if not checked.feasible:
            continue
        part = np.rint(point.x[mip.whole]).astype(np.int64).tobytes()
        value = sign * checked.objective
        if part not in kept or value < kept[part][0]:
            kept[part] = (value, point.x)
    best = sorted(kept.values(), key=lambda entry: entry[0])[: most or None]
    return Pool(
        x=np.array([x for _, x in best]).reshape(-1, mip.shape[1]),
        objectives=np.array([sign * value for value, _ in best]),
        bound=bound,
        digest=mip.digest(),
        source=source,
    )


def collect(mip: Mip, solver: ModuleType, *, limits: Limits, seed: int = 0, most: int = 0) -> Pool:
    """Solve an instance and keep every improving point on the way.

    Args:
        mip: the instance.
        solver: `scip` or `highs`.
        limits: of nodes or iterations for a pool that can be made again, else of seconds.
        seed: of the solver.
        most: keep the best so many, 0: all.
    """
    found = solver.solve(mip, limits=limits, seed=seed, keep_points=True)
    points = list(found.points)
    if found.x is not None:
        points.append(Point(seconds=found.seconds, objective=found.objective, x=found.x))
    source: Json = {
        "solver": found.solver,
        "status": found.status,
        "seed": seed,
        "seconds": round(found.seconds, 3),
        "nodes": found.nodes,
        "iterations": found.iterations,
        "limit_seconds": limits.seconds if np.isfinite(limits.seconds) else None,
        "limit_nodes": limits.nodes or None,
    }
    return pool_of(mip, points, bound=found.bound, source=source, most=most)


# Files


def write_pool(pool: Pool, path: Path) -> None:
    """Write a pool as PATH.safetensors and PATH.json, the latter last: with it, it is whole."""
    arrays = {"x": pool.x, "objectives": pool.objectives}
    write_bytes(_beside(path, ".safetensors"), save(arrays))
    told: Json = {
        "schema": SCHEMA,
        "digest": pool.digest,
        "bound": pool.bound if np.isfinite(pool.bound) else None,
        "source": pool.source,
    }
    write_json(_beside(path, ".json"), told)


def _beside(path: Path, suffix: str) -> Path:
    # Not `with_suffix`, which would cut a name at its last dot.
    return path.with_name(path.name + suffix)


def read_pool(path: Path, mip: Mip) -> Pool:
    """Read a pool of an instance.

    Raises:
        TenfoldError: if it is of another instance, of a later version, or cannot be read.
    """
    try:
        told = read_json(_beside(path, ".json"))
        arrays = load_file(_beside(path, ".safetensors"))
    except (OSError, ValueError, SafetensorError) as error:
        raise TenfoldError(f"{path} cannot be read as a pool ({error}); collect it again") from None
    if told.get("schema") != SCHEMA:
        raise TenfoldError(f"{path} has schema {told.get('schema')}, this is {SCHEMA}; update")
    if told["digest"] != mip.digest():
        raise TenfoldError(
            f"{path} is a pool of instance {told['digest']}, not of {mip.name} ({mip.digest()}); "
            "collect it again"
        )
    bound = told["bound"]
    return Pool(
        x=arrays["x"],
        objectives=arrays["objectives"],
        bound=np.nan if bound is None else bound,
        digest=told["digest"],
        source=told["source"],
    )
