"""HiGHS as one of two solver adapters.

highspy is imported at the first call. HiGHS runs on one thread and without Python's global lock.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tenfold.engine.errors import TenfoldError, require
from tenfold.parts.mip.instance import Floats, Kind, Mip, from_rows
from tenfold.parts.mip.solving import (
    Limits,
    OnPoint,
    Recorder,
    Relaxed,
    Solved,
    Status,
    Stopping,
    without_point,
)

SUFFIXES = (".mps", ".lp")
_KINDS = {Kind.BINARY: "kInteger", Kind.INTEGER: "kInteger"}


def _highspy() -> Any:
    return require("highspy", extra="mip", purpose="solving with HiGHS")


@functools.cache
def version() -> str:
    """Return HiGHS's version, for instance "HiGHS 1.15.1"."""
    return f"HiGHS {_highspy().Highs().version()}"


def new_model() -> Any:
    """Return an empty model that prints nothing and works on one thread."""
    model = _highspy().Highs()
    model.setOptionValue("output_flag", False)
    model.setOptionValue("threads", 1)
    model.setOptionValue("parallel", "off")
    return model


# Files


def read(path: Path) -> Mip:
    """Read an instance from .mps or .lp, or one of these with .gz.

    Raises:
        TenfoldError: if the file is missing, is of another kind, cannot be understood, or has
            columns or terms that are not linear.
    """
    if not path.is_file():
        raise TenfoldError(f"{path} is no file; check the path")
    name = path.name.removesuffix(".gz")
    kind = Path(name).suffix.lower()
    if kind not in SUFFIXES:
        raise TenfoldError(
            f"{path.name} ends in {kind or 'nothing'}; give {' or '.join(SUFFIXES)}, or these "
            "with .gz"
        )
    model = new_model()
    if model.readModel(str(path)) == _highspy().HighsStatus.kError:
        raise TenfoldError(f"HiGHS cannot read {path} as {kind}; SCIP may, or mend the file")
    mip = extract(model, name=name.removesuffix(kind))
    if not mip.columns:
        # The .lp parsers of both solvers take any text for an empty objective.
        raise TenfoldError(f"{path} holds no column; check that it is a whole {kind} file")
    return mip


def write(mip: Mip, path: Path) -> None:
    """Write an instance as .mps or .lp."""
    if build(mip).writeModel(str(path)) == _highspy().HighsStatus.kError:
        raise TenfoldError(f"HiGHS cannot write {path}; check folder and suffix (.mps, .lp)")


# Models and arrays


def extract(model: Any, *, name: str) -> Mip:
    """Return the problem in a model as arrays.

    Raises:
        TenfoldError: for a quadratic objective, semi-continuous or semi-integer columns.
    """
    highspy = _highspy()
    whole = model.getModel()
    lp = whole.lp_
    if whole.hessian_.dim_:
        raise TenfoldError(f"{name}: the objective is quadratic; only linear ones can be learnt")
    integer, continuous = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    told = list(lp.integrality_) or [continuous] * lp.num_col_
    for column, kind in zip(lp.col_names_, told, strict=True):
        if kind not in (integer, continuous):
            raise TenfoldError(
                f"{name}: column {column!r} is semi-continuous; write it as a binary and two rows"
            )
    table = lp.a_matrix_
    shape = (lp.num_row_, lp.num_col_)
    parts = (np.array(table.value_), np.array(table.index_), np.array(table.start_))
    by_rows = table.format_ == highspy.MatrixFormat.kRowwise
    matrix = sparse.csr_array(parts, shape=shape) if by_rows else sparse.csc_array(
        parts, shape=shape
    )  # fmt: skip
    return from_rows(
        name=name,
        sense="maximize" if lp.sense_ == highspy.ObjSense.kMaximize else "minimize",
        cost=np.array(lp.col_cost_),
        offset=lp.offset_,
        lower=np.array(lp.col_lower_),
        upper=np.array(lp.col_upper_),
        kinds=np.array(
            [Kind.INTEGER if kind == integer else Kind.CONTINUOUS for kind in told], dtype=np.uint8
        ),
        matrix=matrix,
        left=np.array(lp.row_lower_),
        right=np.array(lp.row_upper_),
        columns=tuple(lp.col_names_),
        rows=tuple(lp.row_names_),
    )


def build(mip: Mip, *, relaxed: bool = False) -> Any:
    """Return a model that holds an instance, or its LP relaxation."""
    highspy = _highspy()
    lp = highspy.HighsLp()
    lp.model_name_ = mip.name
    lp.num_row_, lp.num_col_ = mip.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = mip.cost, mip.lower, mip.upper
    lp.row_lower_, lp.row_upper_ = mip.left, mip.right
    lp.offset_ = mip.offset
    lp.sense_ = (
        highspy.ObjSense.kMinimize if mip.sense == "minimize" else highspy.ObjSense.kMaximize
    )
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.num_row_, lp.a_matrix_.num_col_ = mip.shape
    lp.a_matrix_.start_ = mip.matrix.indptr
    lp.a_matrix_.index_ = mip.matrix.indices
    lp.a_matrix_.value_ = mip.matrix.data
    if mip.whole.any() and not relaxed:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(whole)] for whole in mip.whole]
    lp.col_names_, lp.row_names_ = list(mip.columns), list(mip.rows)
    model = new_model()
    if model.passModel(lp) == highspy.HighsStatus.kError:
        raise TenfoldError(f"HiGHS does not accept {mip.name}; check its numbers with `info`")
    return model


# Solving


def solve(
    mip: Mip,
    *,
    limits: Limits | None = None,
    start: Floats | None = None,
    settings: dict[str, object] | None = None,
    seed: int = 0,
    keep_points: bool = False,
    on_point: OnPoint | None = None,
    stopping: Stopping | None = None,
    model: Any = None,
) -> Solved:
    """Solve an instance with HiGHS.

    Args:
        mip: the instance.
        limits: when to give up.
        start: a point that fits, [n]; one that does not fit is repaired or passed over. The
            trace begins with it if it fits.
        settings: HiGHS's options by name.
        seed: of HiGHS's own random numbers.
        keep_points: keep every improving point in the answer.
        on_point: called with every improving point; raising `StopIteration` ends the search.
        stopping: asked now and then whether to end the search.
        model: of the instance, from `build`.

    Raises:
        TenfoldError: for an option that HiGHS does not know, or a limit of iterations.
    """
    began = time.monotonic()
    limits = limits or Limits()
    model = model or build(mip)
    _set(model, settings or {}, limits, seed)
    record = Recorder(began=began, keep=keep_points, on_point=on_point, stopping=stopping)
    _listen(model, record)
    if start is not None:
        _give(model, start)
        record.begin(mip, start)
    left = limits.seconds - (time.monotonic() - began)
    # HiGHS counts on over several calls of a model.
    model.setOptionValue("time_limit", model.getRunTime() + max(left, 0.0))
    model.run()
    status = _status(model)
    info = model.getInfo()
    there = info.primal_solution_status == 2 and status != "unbounded"
    x = np.array(model.getSolution().col_value) if there else None
    objective = float(info.objective_function_value) if there else np.nan
    bound = float(info.mip_dual_bound) if mip.whole.any() else objective
    record.note(objective, bound)
    return Solved(
        status=status,
        x=x,
        objective=objective,
        bound=bound,
        trace=tuple(record.trace),
        points=tuple(record.points),
        nodes=max(int(info.mip_node_count), 0),
        iterations=int(info.simplex_iteration_count),
        seconds=time.monotonic() - began,
        solver=version(),
    )


def _set(model: Any, settings: dict[str, object], limits: Limits, seed: int) -> None:
    if limits.iterations:
        raise TenfoldError(
            f"HiGHS cannot stop a search after {limits.iterations} iterations of the simplex "
            "method; limit nodes, or ask SCIP"
        )
    plain = dict(settings) | {"random_seed": seed, "mip_rel_gap": limits.gap}
    if limits.nodes:
        plain["mip_max_nodes"] = limits.nodes
    if limits.points:
        plain["mip_max_improving_sols"] = limits.points
    bad = _highspy().HighsStatus.kError
    for name, value in plain.items():
        if model.setOptionValue(name, value) == bad:
            raise TenfoldError(
                f"HiGHS does not take {name} = {value!r}; its options stand in its documentation"
            )


def _give(model: Any, start: Floats) -> None:
    point = _highspy().HighsSolution()
    point.col_value = start.tolist()
    model.setSolution(point)


def _status(model: Any) -> Status:
    kinds = _highspy().HighsModelStatus
    told: dict[Any, Status] = {
        kinds.kOptimal: "optimal",
        kinds.kModelEmpty: "optimal",
        kinds.kInfeasible: "infeasible",
        kinds.kUnbounded: "unbounded",
        kinds.kUnboundedOrInfeasible: "unclear",
        kinds.kInterrupt: "stopped",
    }
    return told.get(model.getModelStatus(), "limit")


def _listen(model: Any, record: Recorder) -> None:
    """Let a recorder know of points and bounds as HiGHS finds them, and stop it if asked to."""

    def found(event: Any) -> None:
        value = float(event.data_out.objective_function_value)
        record.note(value, float(event.data_out.mip_dual_bound))
        if record.wants_points:
            record.found(value, np.array(event.data_out.mip_solution, dtype=np.float64))

    def asked(event: Any) -> None:
        """Called often: notes a better bound, and says whether to stop."""
        dual = float(event.data_out.mip_dual_bound)
        if not record.trace or (np.isfinite(dual) and dual != record.trace[-1].dual):
            primal = float(event.data_out.mip_primal_bound)
            record.note(primal if np.isfinite(primal) else np.nan, dual)
        if record.stopped:
            event.interrupt()

    model.cbMipImprovingSolution += found
    model.cbMipInterrupt += asked


# The LP relaxation


def relax(mip: Mip, *, seconds: float = np.inf) -> Relaxed:
    """Solve the LP relaxation with HiGHS's simplex method."""
    began = time.monotonic()
    model = build(mip, relaxed=True)
    model.setOptionValue("solver", "simplex")
    model.setOptionValue("time_limit", seconds)
    model.run()
    status = _status(model)
    if status != "optimal":
        return without_point(mip, status, seconds=time.monotonic() - began)
    point, info = model.getSolution(), model.getInfo()
    return Relaxed(
        status="optimal",
        x=np.array(point.col_value),
        duals=np.array(point.row_dual),
        reduced=np.array(point.col_dual),
        basis=_basis(model),
        objective=float(info.objective_function_value),
        iterations=int(info.simplex_iteration_count),
        seconds=time.monotonic() - began,
    )


def _basis(model: Any) -> NDArray[np.uint8]:
    kinds = _highspy().HighsBasisStatus
    number = {kinds.kLower: 0, kinds.kBasic: 1, kinds.kUpper: 2}
    return np.array([number.get(s, 3) for s in model.getBasis().col_status], dtype=np.uint8)
