"""SCIP's models and our arrays: files, building, reading, points.

PySCIPOpt is imported at the first call. Models are built and read by compiled loops over SCIP's
pointers where `scip_library` can do that, else through PySCIPOpt's objects; both give the same.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tenfold.engine.errors import TenfoldError, require
from tenfold.parts.mip import scip_library
from tenfold.parts.mip.instance import Floats, Kind, Mip, from_rows

SUFFIXES = (".mps", ".lp", ".cip")


def load_pyscipopt() -> Any:
    """Import PySCIPOpt, or say which extra brings it."""
    return require("pyscipopt", extra="mip", purpose="solving with SCIP")


@functools.cache
def version() -> str:
    """Return SCIP's version, for instance "SCIP 10.0.2"."""
    model = load_pyscipopt().Model()
    numbers = (model.getMajorVersion(), model.getMinorVersion(), model.getTechVersion())
    return "SCIP " + ".".join(map(str, numbers))


def new_model() -> Any:
    """Return an empty model that prints nothing."""
    model = load_pyscipopt().Model()
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
    mip = extract(model, name=name.removesuffix(kind), original=True)
    if not mip.columns:
        # The .lp parsers of both solvers take any text for an empty objective.
        raise TenfoldError(f"{path} holds no column; check that it is a whole {kind} file")
    return model, mip


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


def order_of(model: Any) -> NDArray[np.intp]:
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
        order = order_of(model)
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


def best_point(model: Any) -> Floats | None:
    """Return the best point that a model knows, in its original columns."""
    if model.getNSols() == 0:
        return None
    if scip_library.find_obstacle():
        point = model.getBestSol()
        found = [model.getSolVal(point, column) for column in model.getVars()]
        return np.array(found)[order_of(model)]
    from tenfold.parts.mip import scip_arrays

    x = np.zeros(model.getNVars(transformed=False))
    scip_arrays.read_best(scip_library.pointer_of(model), x)
    return x[order_of(model)]
