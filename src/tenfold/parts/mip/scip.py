"""SCIP as one of two solver adapters.

PySCIPOpt is imported at the first call. Models are built and read by compiled loops over SCIP's
pointers where `scip_library` can do that, else through PySCIPOpt's objects; both give the same.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tenfold.engine.errors import TenfoldError, require
from tenfold.parts.mip import scip_library
from tenfold.parts.mip.instance import Floats, Kind, Mip, from_rows
from tenfold.parts.mip.solving import (
    Limits,
    OnPoint,
    Recorder,
    Relaxed,
    Solved,
    Status,
    without_point,
)

_BASIS = (0, 1, 2, 3)
"""SCIP numbers the states of a column in a basis as we do: lower, basic, upper, zero."""
SUFFIXES = (".mps", ".lp", ".cip")
_ENDS: dict[str, Status] = {
    "optimal": "optimal",
    "infeasible": "infeasible",
    "unbounded": "unbounded",
    "inforunbd": "unclear",
    "userinterrupt": "stopped",
    "terminate": "stopped",
}


def _pyscipopt() -> Any:
    return require("pyscipopt", extra="mip", purpose="solving with SCIP")


@functools.cache
def version() -> str:
    """Return SCIP's version, for instance "SCIP 10.0.2"."""
    model = _pyscipopt().Model()
    numbers = (model.getMajorVersion(), model.getMinorVersion(), model.getTechVersion())
    return "SCIP " + ".".join(map(str, numbers))


def new_model() -> Any:
    """Return an empty model that prints nothing."""
    model = _pyscipopt().Model()
    model.hideOutput()
    return model


# Files


def read(path: Path) -> Mip:
    """Read an instance from .mps, .lp or .cip, or one of these with .gz.

    Raises:
        TenfoldError: if the file is missing, is of another kind, cannot be understood, or holds
            what is no linear row (named).
    """
    return read_model(path)[1]


def read_model(path: Path) -> tuple[Any, Mip]:
    """Read a file into a model; return it together with the instance."""
    if not path.is_file():
        raise TenfoldError(f"{path} is no file; check the path")
    name = path.name.removesuffix(".gz")
    kind = Path(name).suffix.lower()
    if kind not in SUFFIXES:
        raise TenfoldError(
            f"{path.name} ends in {kind or 'nothing'}; give {', '.join(SUFFIXES)}, or these "
            "with .gz"
        )
    model = new_model()
    with _told() as told:
        try:
            model.readProblem(str(path))
        except Exception as error:  # PySCIPOpt raises bare exceptions
            what = " ".join(told) or str(error)
            raise TenfoldError(f"{path} cannot be read as {kind}: {what}") from None
    return model, extract(model, name=name.removesuffix(kind), original=True)


@contextmanager
def _told() -> Iterator[list[str]]:
    """Collect what SCIP says of errors, which it would print."""
    lines: list[str] = []
    library = scip_library.find_library()
    if library is None:
        yield lines
        return

    def keep(_data: object, _file: object, text: bytes | None) -> None:
        said = (text or b"").decode(errors="replace").strip()
        # Other lines only tell where in SCIP's own source it was.
        if said and not said.startswith(("[", "Error <")):
            lines.append(said)

    shape = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
    kept = shape(keep)  # alive as long as SCIP may call it
    loaded = ctypes.CDLL(str(library))
    loaded.SCIPmessageSetErrorPrinting(kept, None)
    try:
        yield lines
    finally:
        loaded.SCIPmessageSetErrorPrintingDefault()


def write(mip: Mip, path: Path) -> None:
    """Write an instance as .mps, .lp or .cip."""
    build(mip).writeProblem(str(path), verbose=False)


# Models and arrays


def extract(model: Any, *, name: str, original: bool) -> Mip:
    """Return the problem in a model as arrays: as it was given, or as presolve left it.

    Raises:
        TenfoldError: naming a constraint that is not linear.
    """
    if scip_library.find_obstacle():
        return _extract_slowly(model, name=name, original=original)
    from tenfold.parts.mip import scip_arrays

    scip = scip_library.pointer_of(model)
    n, m, entries, column_bytes, row_bytes, bad = scip_arrays.measure(scip, original).tolist()
    if bad >= 0:
        raise _not_linear(model, bad, name=name)
    cost, lower, upper = (np.zeros(n) for _ in range(3))
    kinds = np.zeros(n, dtype=np.uint8)
    column_names = np.zeros(column_bytes, dtype=np.uint8)
    scip_arrays.read_columns(scip, original, cost, lower, upper, kinds, column_names)
    starts, places = np.zeros(m + 1, dtype=np.int64), np.zeros(entries, dtype=np.int32)
    values, left, right = np.zeros(entries), np.zeros(m), np.zeros(m)
    row_names = np.zeros(row_bytes, dtype=np.uint8)
    bad = scip_arrays.read_rows(
        scip, original, starts, places, values, left, right, row_names
    )  # fmt: skip
    if bad >= 0:
        raise _not_linear(model, bad, name=name)
    filled = starts[-1]
    return _finish(
        model,
        name=name,
        original=original,
        cost=cost,
        lower=lower,
        upper=upper,
        kinds=kinds,
        matrix=sparse.csr_array((values[:filled], places[:filled], starts), shape=(m, n)),
        left=left,
        right=right,
        columns=_split(column_names),
        rows=_split(row_names),
    )


def _order(model: Any) -> NDArray[np.intp]:
    """Return where each original column, in the order of its making, stands in SCIP's list, [n].

    SCIP sorts its columns by kind; files and our own arrays do not.
    """
    if scip_library.find_obstacle():
        indices = np.array([column.getIndex() for column in model.getVars()], dtype=np.int64)
    else:
        from tenfold.parts.mip import scip_arrays

        indices = np.zeros(model.getNVars(transformed=False), dtype=np.int64)
        scip_arrays.read_indices(scip_library.pointer_of(model), indices)
    return np.argsort(indices, kind="stable")


def _split(names: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(names.tobytes().decode(errors="replace").split("\0")[:-1])


def _join(names: tuple[str, ...]) -> NDArray[np.uint8]:
    return np.frombuffer("".join(f"{name}\0" for name in names).encode() or b"\0", dtype=np.uint8)


def _not_linear(model: Any, number: int, *, name: str) -> TenfoldError:
    row = model.getConss(transformed=model.getStage() > 1)[number]
    return TenfoldError(
        f"{name}: constraint {row.name!r} is of kind {row.getConshdlrName()!r}; only linear rows "
        "can be learnt from, so write it as such, or solve the file with SCIP alone"
    )


def _finish(model: Any, *, name: str, original: bool, **arrays: Any) -> Mip:
    """Give columns their order, and the objective its sense.

    Inside SCIP a presolved problem is always a minimisation.
    """
    sense = model.getObjectiveSense()
    sign = 1.0 if original or sense == "minimize" else -1.0
    offset = model.getObjoffset(original=True)
    if not original:
        offset += sign * model.getObjoffset(original=False)
    arrays["cost"] = sign * arrays["cost"]
    if original:
        order = _order(model)
        for what in ("cost", "lower", "upper", "kinds"):
            arrays[what] = arrays[what][order]
        arrays["matrix"] = sparse.csr_array(arrays["matrix"])[:, order]
        arrays["columns"] = tuple(arrays["columns"][j] for j in order)
    return from_rows(name=name, sense=sense, offset=offset, **arrays)


def _extract_slowly(model: Any, *, name: str, original: bool) -> Mip:
    """Do the same through PySCIPOpt's objects."""
    columns = model.getVars(transformed=not original)
    place = {column.ptr(): j for j, column in enumerate(columns)}
    named = {column.name: j for j, column in enumerate(columns)}
    rows = model.getConss(transformed=not original)
    entries: list[tuple[int, int, float]] = []
    left, right = np.zeros(len(rows)), np.zeros(len(rows))
    for i, row in enumerate(rows):
        if row.getConshdlrName() not in scip_library.ROW_KINDS:
            raise _not_linear(model, i, name=name)
        held, values = model.getConsVars(row), model.getConsVals(row)
        shift = 0.0
        for column, value in zip(held, values, strict=True):
            at = place.get(column.ptr(), -1)
            if at < 0:
                # A negated column, lower + upper - x, which goes by its name alone.
                at = named[column.name.removeprefix("~")]
                shift += value * (columns[at].getLbGlobal() + columns[at].getUbGlobal())
                value = -value
            entries.append((i, at, value))
        left[i] = _open(model, model.getLhs(row), shift)
        right[i] = _open(model, model.getRhs(row), shift)
    table = np.array(entries, dtype=np.float64).reshape(-1, 3)
    ends = [
        (column.getLbOriginal(), column.getUbOriginal())
        if original
        else (column.getLbGlobal(), column.getUbGlobal())
        for column in columns
    ]
    bounds = np.array([[_open(model, v) for v in pair] for pair in ends]).reshape(-1, 2)
    return _finish(
        model,
        name=name,
        original=original,
        cost=np.array([column.getObj() for column in columns]),
        lower=bounds[:, 0],
        upper=bounds[:, 1],
        kinds=np.array([_kind(column) for column in columns], dtype=np.uint8),
        matrix=sparse.csr_array(
            (table[:, 2], (table[:, 0].astype(int), table[:, 1].astype(int))),
            shape=(len(rows), len(columns)),
        ),
        left=left,
        right=right,
        columns=tuple(column.name for column in columns),
        rows=tuple(row.name for row in rows),
    )


def _open(model: Any, value: float, shift: float = 0.0) -> float:
    if model.isInfinity(abs(value)):
        return float(np.copysign(np.inf, value))
    return value - shift


def _kind(column: Any) -> Kind:
    kind = {"BINARY": Kind.BINARY, "INTEGER": Kind.INTEGER, "IMPLINT": Kind.IMPLIED}
    told = kind.get(column.vtype(), Kind.CONTINUOUS)
    return Kind.IMPLIED if told == Kind.CONTINUOUS and column.isImpliedIntegral() else told


def build(mip: Mip) -> Any:
    """Return a model that holds an instance."""
    model = new_model()
    model.setProbName(mip.name)
    if scip_library.find_obstacle():
        _build_slowly(model, mip)
    else:
        from tenfold.parts.mip import scip_arrays

        code = scip_arrays.build(
            scip_library.pointer_of(model),
            mip.cost,
            mip.lower,
            mip.upper,
            mip.kinds,
            _join(mip.columns),
            mip.matrix.indptr.astype(np.int64),
            mip.matrix.indices.astype(np.int32),
            mip.matrix.data,
            mip.left,
            mip.right,
            _join(mip.rows),
        )
        if code != 1:
            raise TenfoldError(f"SCIP could not build {mip.name} (its code {code})")
    (model.setMinimize if mip.sense == "minimize" else model.setMaximize)()
    if mip.offset:
        model.addObjoffset(mip.offset)
    return model


def _build_slowly(model: Any, mip: Mip) -> None:
    """Do the same through PySCIPOpt's objects."""
    from pyscipopt import quicksum

    letters = {Kind.BINARY: "B", Kind.INTEGER: "I"}
    columns = zip(mip.columns, mip.kinds, _ends(mip.lower), _ends(mip.upper), mip.cost, strict=True)
    made = [
        model.addVar(name=name, vtype=letters.get(Kind(kind), "C"), lb=low, ub=high, obj=cost)
        for name, kind, low, high, cost in columns
    ]
    rows = zip(mip.rows, _ends(mip.left), _ends(mip.right), strict=True)
    for i, (name, low, high) in enumerate(rows):
        span = slice(mip.matrix.indptr[i], mip.matrix.indptr[i + 1])
        pairs = zip(mip.matrix.data[span], mip.matrix.indices[span], strict=True)
        total = quicksum(value * made[j] for value, j in pairs)
        row = model.addCons(total >= (low if low is not None else -model.infinity()), name=name)
        if high is not None:
            model.chgRhs(row, high)


def _ends(values: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


# Presolve


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Presolved:
    """What SCIP's presolve left of an instance, and the way back."""

    status: Status
    """`optimal` if nothing is left to do, `limit` if there is; else what presolve found out."""
    mip: Mip | None
    """The smaller instance; objectives are those of the whole one. `None` if presolve ended it."""
    model: Any
    seconds: float

    def restore(self, x: Floats) -> Floats:
        """Return the point of the whole instance, [n], that a point of the smaller one stands for.

        Columns that presolve took out are set as it knew; check the point, as rounding may have
        broken a row that has only continuous columns.
        """
        assert self.mip is not None, "nothing was left of the instance"
        point = self.model.createSol()
        if scip_library.find_obstacle():
            for column, value in zip(self.model.getVars(transformed=True), x, strict=True):
                self.model.setSolVal(point, column, float(value))
            found = [self.model.getSolVal(point, column) for column in self.model.getVars()]
            self.model.freeSol(point)
            return np.array(found)[_order(self.model)]
        from tenfold.parts.mip import scip_arrays

        scip = scip_library.pointer_of(self.model)
        full = np.zeros(self.model.getNVars(transformed=False))
        code = scip_arrays.restore(scip, np.ascontiguousarray(x, dtype=np.float64), full)
        assert code == 1, f"SCIP refused a point of its own problem (its code {code})"
        return full[_order(self.model)]

    def best(self) -> Floats | None:
        """Return the best point of the whole instance that presolve itself found, if any."""
        return _best_point(self.model)


def presolve(mip: Mip, *, seconds: float = np.inf, seed: int = 0) -> Presolved:
    """Let SCIP presolve an instance, once, so that learning and solving work on what is left.

    Symmetry handling and restarts are off: they would add rows that are not linear, or make what
    is left depend on the search.
    """
    began = time.monotonic()
    model = build(mip)
    # Scaling would give the two objectives different units.
    model.setParams(
        {
            "misc/scaleobj": False,
            "misc/usesymmetry": 0,
            "presolving/maxrestarts": 0,
            "randomization/randomseedshift": seed,
            "limits/time": min(seconds, 1e20),
        }
    )
    model.presolve()
    status = _ENDS.get(model.getStatus(), "limit")
    left = None if status != "limit" else extract(model, name=mip.name, original=False)
    return Presolved(
        status=status, mip=left, model=model, seconds=time.monotonic() - began
    )  # fmt: skip


def _best_point(model: Any) -> Floats | None:
    """Return the best point that a model knows, in its original columns."""
    if model.getNSols() == 0:
        return None
    if scip_library.find_obstacle():
        point = model.getBestSol()
        found = [model.getSolVal(point, column) for column in model.getVars()]
        return np.array(found)[_order(model)]
    from tenfold.parts.mip import scip_arrays

    x = np.zeros(model.getNVars(transformed=False))
    scip_arrays.read_best(scip_library.pointer_of(model), x)
    return x[_order(model)]


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
    model: Any = None,
) -> Solved:
    """Solve an instance with SCIP, on one thread and without Python's global lock.

    Args:
        mip: the instance.
        limits: when to give up.
        start: a point that fits, [n]; one that does not fit is passed over. The trace begins
            with it.
        settings: SCIP's parameters by name; "presolve", "heuristics" and "separating" take an
            emphasis: default, aggressive, fast or off.
        seed: shift of SCIP's own seeds.
        keep_points: keep every improving point in the answer.
        on_point: called with every improving point; raising `StopIteration` ends the search.
        model: of the instance, from `build` or `read_model`, perhaps with plugins of one's own.

    Raises:
        TenfoldError: for a parameter that SCIP does not know.
    """
    began = time.monotonic()
    limits = limits or Limits()
    model = model or build(mip)
    _set(model, settings or {}, limits, seed)
    record = Recorder(began=began, keep=keep_points, on_point=on_point)
    watch = _Watch(model, limits, record)
    if start is not None:
        _give(model, start)
        record.begin(mip, start)
    model.setParam("limits/time", _left(limits.seconds, began))
    model.optimizeNogil()
    watch.look()
    watch.heard.clear()
    return Solved(
        status="limit" if watch.spent else _ENDS.get(model.getStatus(), "limit"),
        x=_best_point(model),
        objective=watch.primal(),
        bound=_plain(model, model.getDualbound()),
        trace=tuple(record.trace),
        points=tuple(record.points),
        nodes=int(model.getNTotalNodes()),
        iterations=int(model.getNLPIterations()),
        seconds=time.monotonic() - began,
        solver=version(),
    )


def _left(seconds: float, began: float) -> float:
    """Return what is left of a time limit: building the model has its part of it."""
    return float(np.clip(seconds - (time.monotonic() - began), 0.0, 1e20))


def _set(model: Any, settings: dict[str, object], limits: Limits, seed: int) -> None:
    known = _pyscipopt().SCIP_PARAMSETTING
    emphases = {
        "presolve": model.setPresolve,
        "heuristics": model.setHeuristics,
        "separating": model.setSeparating,
    }
    for name, value in settings.items():
        if name in emphases:
            emphases[name](getattr(known, str(value).upper()))
    plain = {name: value for name, value in settings.items() if name not in emphases}
    plain |= {"randomization/randomseedshift": seed, "limits/gap": limits.gap}
    if limits.nodes:
        plain["limits/totalnodes"] = limits.nodes
    if limits.points:
        plain["limits/bestsol"] = limits.points
    if np.isfinite(limits.megabytes):
        plain["limits/memory"] = limits.megabytes
    for name, value in plain.items():
        try:
            model.setParam(name, value)
        except KeyError:
            raise TenfoldError(
                f"SCIP has no parameter {name!r}; its list stands in SCIP's documentation"
            ) from None


def _give(model: Any, start: Floats) -> None:
    point = model.createOrigSol()
    columns = model.getVars()
    for place, value in zip(_order(model), start.tolist(), strict=True):
        if value:
            model.setSolVal(point, columns[place], value)
    model.addSol(point)


def _plain(model: Any, value: float) -> float:
    return float(np.copysign(np.inf, value)) if model.isInfinity(abs(value)) else float(value)


class _Watch:
    """Tells a recorder of points and bounds as SCIP finds them, and ends a spent budget."""

    def __init__(self, model: Any, limits: Limits, record: Recorder) -> None:
        scip = _pyscipopt()
        self.record, self.iterations, self.spent = record, limits.iterations, False
        # SCIP owns the handler, and the handler must not own SCIP.
        self.model = weakref.proxy(model)
        types = scip.SCIP_EVENTTYPE
        # Emptied at the end: SCIP also tells of what happens while it is taken down.
        self.heard = heard = {types.BESTSOLFOUND: self.found, types.DUALBOUNDIMPROVED: self.look}
        if limits.iterations:
            heard |= {types.FIRSTLPSOLVED: self.count, types.LPSOLVED: self.count}

        class Ear(scip.Eventhdlr):  # type: ignore[misc,name-defined]
            """Hears SCIP's events."""

            def eventinit(self) -> None:
                for kind in heard:
                    self.model.catchEvent(kind, self)

            def eventexec(self, event: Any) -> None:
                if heard:
                    heard[event.getType()]()

        model.includeEventhdlr(Ear(), "tenfold watch", "notes points and bounds")

    def primal(self) -> float:
        """Return the objective of the best point; inside an event, SCIP's own bound is late."""
        if self.model.getNSols() == 0:
            return np.nan
        return float(self.model.getSolObjVal(self.model.getBestSol()))

    def look(self) -> None:
        """Note what is known now."""
        self.record.note(self.primal(), _plain(self.model, self.model.getDualbound()))

    def found(self) -> None:
        """Note a new best point."""
        self.look()
        if self.record.wants_points:
            x = _best_point(self.model)
            assert x is not None, "a point was found and is not there"
            self.record.found(self.record.trace[-1].primal, x)
        if self.record.stopped:
            self.model.interruptSolve()

    def count(self) -> None:
        """End the search after an LP with which the budget of iterations is spent."""
        if self.model.getNLPIterations() >= self.iterations:
            self.spent = True
            self.model.interruptSolve()


# The LP relaxation


def relax(mip: Mip, *, seconds: float = np.inf) -> Relaxed:
    """Solve the LP relaxation with SoPlex, SCIP's own LP solver, without presolve."""
    began = time.monotonic()
    lp = _pyscipopt().LP(mip.name, mip.sense)
    if np.isfinite(seconds):
        lp.setRealParam(_pyscipopt().SCIP_LPPARAM.LPTILIM, seconds)
    empty: list[list[tuple[int, float]]] = [[] for _ in mip.columns]
    lp.addCols(
        empty, objs=mip.cost.tolist(), lbs=_within(mip.lower, lp), ubs=_within(mip.upper, lp)
    )
    pairs = list(zip(mip.matrix.indices.tolist(), mip.matrix.data.tolist(), strict=True))
    ends = mip.matrix.indptr.tolist()
    rows = [pairs[low:high] for low, high in itertools.pairwise(ends)]
    if rows:
        lp.addRows(rows, lhss=_within(mip.left, lp), rhss=_within(mip.right, lp))
    lp.solve()
    if not lp.isOptimal():
        return without_point(mip, _fault(lp), seconds=time.monotonic() - began)
    states, _ = lp.getBase()
    return Relaxed(
        status="optimal",
        x=np.array(lp.getPrimal()),
        duals=np.array(lp.getDual()),
        reduced=np.array(lp.getRedcost()),
        basis=np.array([_BASIS[state] for state in states], dtype=np.uint8),
        objective=lp.getObjVal() + mip.offset,
        iterations=lp.getNIterations(),
        seconds=time.monotonic() - began,
    )


def _within(values: Floats, lp: Any) -> list[float]:
    infinite = lp.infinity()
    return [float(value) for value in np.clip(values, -infinite, infinite)]


def _fault(lp: Any) -> Status:
    if lp.getDualRay() is not None:
        return "infeasible"
    return "unbounded" if lp.getPrimalRay() is not None else "limit"
