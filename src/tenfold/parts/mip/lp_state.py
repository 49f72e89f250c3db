"""A solved LP relaxation as arrays: what the features of a root or a node are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import scip_library
from tenfold.parts.mip.instance import Floats, Kind, Mip
from tenfold.parts.mip.solving import Relaxed

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LpState:
    """n columns and m rows of an LP, always a minimisation, and its best point.

    Rows are l <= A x <= r; a constant of a row is part of its sides.
    """

    kinds: NDArray[np.uint8]
    """[n], values of `Kind`."""
    cost: Floats
    """[n], negated if the instance is a maximisation."""
    lower: Floats
    """[n], of this node; infinite where unbounded."""
    upper: Floats
    """[n]."""
    value: Floats
    """[n]."""
    basis: NDArray[np.uint8]
    """[n]: 0 at lower, 1 basic, 2 at upper, 3 free at zero."""
    reduced: Floats
    """[n], reduced costs."""
    column_age: Ints
    """[n], LPs in a row in which the column was 0."""
    incumbent: Floats
    """[n], value in the best point; NaN if there is none."""
    average: Floats
    """[n], mean value in the points found; NaN if there is none."""
    places: Ints
    """[n], number of the column in the problem (SCIP's probindex)."""
    left: Floats
    """[m]."""
    right: Floats
    """[m]."""
    activity: Floats
    """[m]."""
    dual: Floats
    """[m], by how much the objective grows with the row's sides."""
    row_age: Ints
    """[m], LPs in a row in which the row was not tight."""
    starts: Ints
    """[m + 1], of each row's entries."""
    columns: Ints
    """[entries], number of the column in this LP."""
    entries: Floats
    """[entries]."""
    lps: int
    """LPs solved so far, the unit of ages."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.left), len(self.cost)


def from_relaxed(mip: Mip, relaxed: Relaxed, points: tuple[Floats, ...] = ()) -> LpState:
    """Return the state of a relaxation that was solved outside a search.

    Args:
        mip: the instance.
        relaxed: its relaxation, solved to the end.
        points: known points, [n] each, the best one last.

    Raises:
        TenfoldError: if the relaxation has no best point.
    """
    if relaxed.status != "optimal":
        raise TenfoldError(f"the LP relaxation of {mip.name} is {relaxed.status}; nothing to learn")
    sign = 1.0 if mip.sense == "minimize" else -1.0
    m, n = mip.shape
    none = np.full(n, np.nan)
    return LpState(
        kinds=mip.kinds,
        cost=sign * mip.cost,
        lower=mip.lower,
        upper=mip.upper,
        value=relaxed.x,
        basis=relaxed.basis,
        reduced=sign * relaxed.reduced,
        column_age=np.zeros(n, dtype=np.int64),
        incumbent=points[-1] if points else none,
        average=np.mean(points, axis=0) if points else none,
        places=np.arange(n),
        left=mip.left,
        right=mip.right,
        activity=mip.matrix @ relaxed.x,
        dual=sign * relaxed.duals,
        row_age=np.zeros(m, dtype=np.int64),
        starts=mip.matrix.indptr.astype(np.int64),
        columns=mip.matrix.indices.astype(np.int64),
        entries=mip.matrix.data,
        lps=1,
    )


def read_state(model: Any) -> LpState:
    """Return the state of the LP that SCIP has just solved; fit to be called in a plugin."""
    if scip_library.find_obstacle():
        return read_state_slowly(model)
    from tenfold.parts.mip import scip_lp

    scip = scip_library.pointer_of(model)
    n, m, entries = scip_lp.measure(scip).tolist()
    reals, wholes = np.empty((7, n)), np.empty((4, n), dtype=np.int64)
    row_reals, row_ages = np.empty((4, m)), np.empty(m, dtype=np.int64)
    starts, columns = np.empty(m + 1, dtype=np.int64), np.empty(entries, dtype=np.int64)
    values = np.empty(entries)
    lps = scip_lp.read(scip, reals, wholes, row_reals, row_ages, starts, columns, values)
    return LpState(
        cost=reals[0],
        lower=reals[1],
        upper=reals[2],
        value=reals[3],
        reduced=reals[4],
        incumbent=reals[5],
        average=reals[6],
        kinds=wholes[0].astype(np.uint8),
        basis=wholes[1].astype(np.uint8),
        column_age=wholes[2],
        places=wholes[3],
        left=row_reals[0],
        right=row_reals[1],
        activity=row_reals[2],
        dual=row_reals[3],
        row_age=row_ages,
        starts=starts,
        columns=columns,
        entries=values,
        lps=lps,
    )


_BASIS = {"lower": 0, "basic": 1, "upper": 2, "zero": 3}
_KINDS = {"BINARY": Kind.BINARY, "INTEGER": Kind.INTEGER, "IMPLINT": Kind.IMPLIED}


def read_state_slowly(model: Any) -> LpState:
    """Do the same through PySCIPOpt's Column and Row objects."""
    columns, rows = model.getLPColsData(), model.getLPRowsData()
    variables = [column.getVar() for column in columns]
    best = model.getBestSol() if model.getNSols() else None
    n, m = len(columns), len(rows)
    none = np.full(n, np.nan)
    place = {variable.ptr(): j for j, variable in enumerate(model.getVars(transformed=True))}
    table = [
        (column.getLPPos(), value)
        for row in rows
        for column, value in zip(row.getCols(), row.getVals(), strict=True)
        if column.getLPPos() >= 0
    ]
    counts = [sum(column.getLPPos() >= 0 for column in row.getCols()) for row in rows]
    constant = np.array([row.getConstant() for row in rows])
    left = np.array([_open(model, row.getLhs()) for row in rows]) - constant
    right = np.array([_open(model, row.getRhs()) for row in rows]) - constant
    kinds = [_KINDS.get(variable.vtype(), Kind.CONTINUOUS) for variable in variables]
    implied = [variable.isImpliedIntegral() for variable in variables]
    return LpState(
        kinds=np.array(
            [
                Kind.IMPLIED if kind == Kind.CONTINUOUS and also else kind
                for kind, also in zip(kinds, implied, strict=True)
            ],
            dtype=np.uint8,
        ),
        cost=np.array([column.getObjCoeff() for column in columns]),
        lower=np.array([_open(model, column.getLb()) for column in columns]),
        upper=np.array([_open(model, column.getUb()) for column in columns]),
        value=np.array([column.getPrimsol() for column in columns]),
        basis=np.array([_BASIS[column.getBasisStatus()] for column in columns], dtype=np.uint8),
        reduced=np.array([model.getColRedCost(column) for column in columns]),
        column_age=np.array([column.getAge() for column in columns], dtype=np.int64),
        incumbent=np.array([model.getSolVal(best, v) for v in variables]) if best else none,
        average=np.array([v.getAvgSol() for v in variables]) if best else none,
        places=np.array([place[variable.ptr()] for variable in variables], dtype=np.int64),
        left=left,
        right=right,
        activity=np.array([model.getRowActivity(row) for row in rows]).reshape(m) - constant,
        dual=np.array([model.getRowDualSol(row) for row in rows]).reshape(m),
        row_age=np.array([row.getAge() for row in rows], dtype=np.int64),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        columns=np.array([place for place, _ in table], dtype=np.int64),
        entries=np.array([value for _, value in table]),
        lps=int(model.getNLPs()),
    )


def _open(model: Any, value: float) -> float:
    return float(np.copysign(np.inf, value)) if model.isInfinity(abs(value)) else float(value)
