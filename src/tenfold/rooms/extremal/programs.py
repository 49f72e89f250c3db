"""Integer programs of the exact search, and the two solvers that take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import require

Solver = Literal["cpsat", "highs"]
Status = Literal["optimal", "feasible", "infeasible", "unknown"]
Row = frozenset[int]
"""Variables that must not all be chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """A weighted count of variables has a least and a largest value."""

    counts: NDArray[np.int64]
    """Weight of variables 0, 1, ..; those beyond its end count nothing."""
    least: int
    most: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Choose variables of as much weight as possible."""

    weights: NDArray[np.int64]
    """[variables]: pairs that each one stands for."""
    rows: set[Row]
    limits: list[Limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What a solver says about a program."""

    status: Status
    chosen: NDArray[np.bool_] | None
    """[variables]; None if it found nothing."""
    bound: float
    """No choice has more weight; infinite if nothing is known."""


class Solve(Protocol):
    """A way to solve programs."""

    def __call__(
        self,
        program: Program,
        *,
        seconds: float,
        workers: int,
        hint: NDArray[np.bool_] | None,
        seed: int,
    ) -> Solution:
        """Solve a program within a time, on so many threads, beginning with a hint."""


def solve_cpsat(
    program: Program,
    *,
    seconds: float,
    workers: int,
    hint: NDArray[np.bool_] | None,
    seed: int,
) -> Solution:
    """Solve by CP-SAT of OR-tools.

    Raises:
        TenfoldError: if OR-tools is not installed.
    """
    cp_model: Any = require(
        "ortools.sat.python.cp_model",
        extra="extremal",
        purpose="exact search by CP-SAT (not by solver=highs)",
    )
    model = cp_model.CpModel()
    x = [model.new_bool_var("") for _ in program.weights]
    for row in sorted(map(sorted, program.rows)):
        model.add_bool_or([x[i].negated() for i in row])
    for limit in program.limits:
        used = np.flatnonzero(limit.counts).tolist()
        total = sum(int(limit.counts[i]) * x[i] for i in used)
        model.add_linear_constraint(total, limit.least, limit.most)
    model.maximize(sum(int(weight) * x[i] for i, weight in enumerate(program.weights)))
    for i, value in enumerate(() if hint is None else hint):
        model.add_hint(x[i], bool(value))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed % 2**31
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return Solution(status="infeasible", chosen=None, bound=0)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solution(status="unknown", chosen=None, bound=np.inf)
    return Solution(
        status="optimal" if status == cp_model.OPTIMAL else "feasible",
        chosen=np.array([solver.boolean_value(each) for each in x], dtype=bool),
        bound=solver.best_objective_bound,
    )


def solve_highs(
    program: Program,
    *,
    seconds: float,
    workers: int,  # noqa: ARG001  SciPy does not pass it on
    hint: NDArray[np.bool_] | None,  # noqa: ARG001  nor this
    seed: int,  # noqa: ARG001
) -> Solution:
    """Solve by HiGHS, which comes with SciPy and takes neither hint, threads nor seed."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    count = len(program.weights)
    if count == 0:
        # `milp` refuses a program without variables.
        fits = all(limit.least <= 0 <= limit.most for limit in program.limits)
        return Solution(
            status="optimal" if fits else "infeasible", chosen=np.zeros(0, dtype=bool), bound=0
        )
    rows = sorted(map(sorted, program.rows))
    entries = [(i, variable, 1) for i, row in enumerate(rows) for variable in row]
    for i, limit in enumerate(program.limits, start=len(rows)):
        used = np.flatnonzero(limit.counts).tolist()
        entries += [(i, j, int(limit.counts[j])) for j in used]
    where_row, where_column, values = np.array(entries, dtype=np.int64).reshape(-1, 3).T
    shape = (len(rows) + len(program.limits), count)
    least = [0] * len(rows) + [limit.least for limit in program.limits]
    most = [len(row) - 1 for row in rows] + [limit.most for limit in program.limits]
    result = milp(
        -program.weights,
        integrality=np.ones(count),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(
            coo_array((values, (where_row, where_column)), shape=shape).tocsr(), least, most
        ),
        options={"time_limit": seconds, "mip_rel_gap": 0},
    )
    if result.status == 2:
        return Solution(status="infeasible", chosen=None, bound=0)
    bound = np.inf if result.mip_dual_bound is None else -result.mip_dual_bound
    if result.x is None:
        return Solution(status="unknown", chosen=None, bound=bound)
    return Solution(
        status="optimal" if result.status == 0 else "feasible", chosen=result.x > 0.5, bound=bound
    )


SOLVERS: dict[Solver, Solve] = {"cpsat": solve_cpsat, "highs": solve_highs}
