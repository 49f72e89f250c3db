"""Small instances with known answers, drawn and written by hand."""

from itertools import product

import numpy as np
from scipy import sparse

from tenfold.parts.mip.instance import Kind, from_rows


def knapsack(sense="maximize", offset=0.0):
    """Return max 5a + 4b + 3c with 2a + 3b + c <= 5, 4a + b + 2c <= 11, 3a + 4b + 2c <= 8."""
    sign = 1.0 if sense == "maximize" else -1.0
    return from_rows(
        name="knapsack",
        sense=sense,
        offset=offset,
        cost=sign * np.array([5.0, 4.0, 3.0]),
        matrix=sparse.csr_array([[2.0, 3.0, 1.0], [4.0, 1.0, 2.0], [3.0, 4.0, 2.0]]),
        left=np.full(3, -np.inf),
        right=np.array([5.0, 11.0, 8.0]),
        upper=np.full(3, 10.0),
        kinds=Kind.INTEGER,
        columns=("a", "b", "c"),
    )


def random_mip(seed, *, rows=4, whole=3, loose=2, sense="minimize"):
    """Return a small instance that has a point: integers within 0..3, continuous within 0..5."""
    draw = np.random.default_rng(seed)
    n = whole + loose
    dense = draw.integers(-4, 5, (rows, n)) * (draw.random((rows, n)) < 0.8)
    inside = np.concatenate([draw.integers(0, 4, whole), draw.uniform(0, 5, loose)])
    activity = dense @ inside
    left = np.where(draw.random(rows) < 0.5, activity - draw.uniform(0, 2, rows), -np.inf)
    right = np.where(draw.random(rows) < 0.7, activity + draw.uniform(0, 2, rows), np.inf)
    return from_rows(
        name=f"random-{seed}",
        sense=sense,
        offset=float(draw.integers(-3, 4)),
        cost=draw.integers(-5, 6, n).astype(float),
        matrix=sparse.csr_array(dense.astype(float)),
        left=left,
        right=right,
        upper=np.concatenate([np.full(whole, 3.0), np.full(loose, 5.0)]),
        kinds=np.array([Kind.INTEGER] * whole + [Kind.CONTINUOUS] * loose, dtype=np.uint8),
    )


def brute_force(mip, lp):
    """Return the best objective over all whole parts; `lp` solves what is left, None if it fails.

    `lp(cost, A, left, right, lower, upper)` gives the least value of an LP.
    """
    places = np.flatnonzero(mip.whole)
    rest = np.flatnonzero(~mip.whole)
    ranges = [range(int(mip.lower[j]), int(mip.upper[j]) + 1) for j in places]
    sign = 1.0 if mip.sense == "minimize" else -1.0
    dense = mip.matrix.toarray()
    values = []
    for chosen in product(*ranges):
        used = dense[:, places] @ np.array(chosen, dtype=float)
        value = lp(
            sign * mip.cost[rest], dense[:, rest], mip.left - used, mip.right - used,
            mip.lower[rest], mip.upper[rest],
        )  # fmt: skip
        if value is not None:
            values.append(sign * (mip.cost[places] @ np.array(chosen)) + value)
    return sign * min(values) + mip.offset if values else None


def as_json(system):
    """Return a system of unit commitment as pglib-uc writes it."""
    units = {
        f"g{g}": {
            "must_run": int(system.must_run[g]),
            "power_output_minimum": system.least[g],
            "power_output_maximum": system.most[g],
            "ramp_up_limit": system.ramp_up[g],
            "ramp_down_limit": system.ramp_down[g],
            "ramp_startup_limit": system.ramp_start[g],
            "ramp_shutdown_limit": system.ramp_stop[g],
            "time_up_minimum": int(system.hours_up[g]),
            "time_down_minimum": int(system.hours_down[g]),
            "power_output_t0": system.power_before[g],
            "unit_on_t0": int(system.on_before[g]),
            "time_up_t0": int(system.time_before[g]) if system.on_before[g] else 0,
            "time_down_t0": 0 if system.on_before[g] else int(system.time_before[g]),
            "startup": [{"lag": lag, "cost": cost} for lag, cost in system.starts[g]],
            "piecewise_production": [{"mw": mw, "cost": cost} for mw, cost in system.pieces[g]],
        }
        for g in range(len(system.most))
    }
    winds = {
        f"w{w}": {
            "power_output_minimum": system.wind_least[w].tolist(),
            "power_output_maximum": system.wind_most[w].tolist(),
        }
        for w in range(len(system.wind_most))
    }
    return {
        "time_periods": system.hours,
        "demand": system.demand.tolist(),
        "reserves": system.reserve.tolist(),
        "thermal_generators": units,
        "renewable_generators": winds,
    }
