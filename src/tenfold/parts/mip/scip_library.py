"""SCIP's own library, called from compiled loops.

The wheel of PySCIPOpt carries SCIP as a shared library with its whole C interface. Loops compiled
by numba call it without a Python object in between, some hundred times faster than through
PySCIPOpt's objects. `find_obstacle` says why that cannot be done on a machine; `scip` then goes
through the objects.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

from tenfold.engine import kernel

_WHERE = ("pyscipopt.libs/libscip*", "pyscipopt/.dylibs/libscip*", "pyscipopt.libs/scip*.dll")
_NAMES: list[str] = []
ROW_KINDS = ("linear", "setppc", "logicor", "knapsack", "varbound")
"""Kinds of constraints that are rows; others, SOS for one, have columns and values as well."""


@functools.cache
def find_library() -> Path | None:
    """Return the library that PySCIPOpt calls; `None` if there is none in its wheel."""
    try:
        from pyscipopt import scip
    except ImportError:
        return None
    folder = Path(scip.__file__).parents[1]
    found = [path for pattern in _WHERE for path in sorted(folder.glob(pattern))]
    return found[0] if found else None


@functools.cache
def find_obstacle() -> str:
    """Return why SCIP cannot be called from compiled loops here, empty if it can."""
    if obstacle := kernel.find_obstacle():
        return obstacle
    library = find_library()
    if library is None:
        return "PySCIPOpt is missing or was built against another SCIP; pip install pyscipopt"
    from llvmlite import binding

    try:
        binding.load_library_permanently(str(library))
    except RuntimeError as error:
        # Without the folder, which may name a user.
        told = str(error).replace(str(library), library.name)
        return f"{library.name} cannot be loaded ({told})"
    missing = [name for name in _NAMES if not binding.address_of_symbol(name)]
    return f"{library.name} lacks {', '.join(missing)}" if missing else ""


def pointer_of(model: Any) -> int:
    """Return the SCIP pointer of a PySCIPOpt model; it is valid as long as the model lives."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    pointer = get(model.to_ptr(False), b"scip")
    assert pointer, "a model without a SCIP pointer"
    return int(pointer)


def _function(name: str, signature: str) -> Any:
    """Declare a function of the library as numba calls it.

    Letters: `p` any pointer as a number, `d` double, `i` int, `l` long, `b` SCIP_Bool, and for
    results `P`, `D`, `S` pointers to the first of many pointers, doubles, characters.
    """
    if kernel.find_obstacle():
        return None
    from numba import types

    pointer: Any = types.CPointer
    letters = {
        "p": types.intp,
        "d": types.float64,
        "i": types.int32,
        "l": types.int64,
        "b": types.uint32,
        "P": pointer(types.intp),
        "D": pointer(types.float64),
        "S": pointer(types.uint8),
    }
    result, arguments = signature[0], signature[1:].strip("()")
    _NAMES.append(name)
    return types.ExternalFunction(name, letters[result](*(letters[a] for a in arguments)))


# The problem: `orig` as it was read, else as it is after presolve.
count_original_columns = _function("SCIPgetNOrigVars", "i(p)")
original_columns = _function("SCIPgetOrigVars", "P(p)")
count_columns = _function("SCIPgetNVars", "i(p)")
columns = _function("SCIPgetVars", "P(p)")
count_original_rows = _function("SCIPgetNOrigConss", "i(p)")
original_rows = _function("SCIPgetOrigConss", "P(p)")
count_rows = _function("SCIPgetNConss", "i(p)")
rows = _function("SCIPgetConss", "P(p)")
infinity = _function("SCIPinfinity", "d(p)")

# A constraint of a linear kind; the last argument is whether it is one.
count_row_columns = _function("SCIPgetConsNVars", "i(pppp)")
row_columns = _function("SCIPgetConsVars", "i(pppip)")
row_values = _function("SCIPgetConsVals", "i(pppip)")
row_left = _function("SCIPconsGetLhs", "d(ppp)")
row_right = _function("SCIPconsGetRhs", "d(ppp)")
row_kind = _function("SCIPconsGetHdlr", "p(p)")
find_kind = _function("SCIPfindConshdlr", "p(pp)")
row_name = _function("SCIPconsGetName", "S(p)")

# A variable.
index = _function("SCIPvarGetIndex", "i(p)")
place = _function("SCIPvarGetProbindex", "i(p)")
cost = _function("SCIPvarGetObj", "d(p)")
original_lower = _function("SCIPvarGetLbOriginal", "d(p)")
original_upper = _function("SCIPvarGetUbOriginal", "d(p)")
lower = _function("SCIPvarGetLbGlobal", "d(p)")
upper = _function("SCIPvarGetUbGlobal", "d(p)")
kind = _function("SCIPvarGetType", "i(p)")
is_implied = _function("SCIPvarIsImpliedIntegral", "b(p)")
column_name = _function("SCIPvarGetName", "S(p)")
is_negated = _function("SCIPvarIsNegated", "b(p)")
negation = _function("SCIPvarGetNegationVar", "p(p)")
negation_constant = _function("SCIPvarGetNegationConstant", "d(p)")

# The LP of the node that is being worked on.
count_lps = _function("SCIPgetNLPs", "l(p)")
count_lp_columns = _function("SCIPgetNLPCols", "i(p)")
lp_columns = _function("SCIPgetLPCols", "P(p)")
count_lp_rows = _function("SCIPgetNLPRows", "i(p)")
lp_rows = _function("SCIPgetLPRows", "P(p)")
count_runs = _function("SCIPgetNRuns", "i(p)")
lp_column_index = _function("SCIPcolGetIndex", "i(p)")
lp_column_variable = _function("SCIPcolGetVar", "p(p)")
lp_column_place = _function("SCIPcolGetLPPos", "i(p)")
lp_column_cost = _function("SCIPcolGetObj", "d(p)")
lp_column_lower = _function("SCIPcolGetLb", "d(p)")
lp_column_upper = _function("SCIPcolGetUb", "d(p)")
lp_column_value = _function("SCIPcolGetPrimsol", "d(p)")
lp_column_basis = _function("SCIPcolGetBasisStatus", "i(p)")
lp_column_age = _function("SCIPcolGetAge", "i(p)")
lp_column_reduced_cost = _function("SCIPgetColRedcost", "d(pp)")
lp_row_index = _function("SCIProwGetIndex", "i(p)")
lp_row_columns = _function("SCIProwGetCols", "P(p)")
lp_row_values = _function("SCIProwGetVals", "D(p)")
lp_row_entries = _function("SCIProwGetNLPNonz", "i(p)")
lp_row_left = _function("SCIProwGetLhs", "d(p)")
lp_row_right = _function("SCIProwGetRhs", "d(p)")
lp_row_constant = _function("SCIProwGetConstant", "d(p)")
lp_row_dual = _function("SCIProwGetDualsol", "d(p)")
lp_row_age = _function("SCIProwGetAge", "i(p)")
lp_row_activity = _function("SCIPgetRowActivity", "d(pp)")
copy_bytes = _function("memcpy", "p(ppl)")
average_value = _function("SCIPvarGetAvgSol", "d(p)")
best_point = _function("SCIPgetBestSol", "p(p)")
count_points_found = _function("SCIPgetNSolsFound", "l(p)")
point_index = _function("SCIPsolGetIndex", "i(p)")
lp_candidates = _function("SCIPgetLPBranchCands", "i(ppppppp)")
lp_column_of = _function("SCIPvarGetCol", "p(p)")
point_value = _function("SCIPgetSolVal", "d(ppp)")
create_point = _function("SCIPcreateSol", "i(ppp)")
set_point_value = _function("SCIPsetSolVal", "i(pppd)")
free_point = _function("SCIPfreeSol", "i(pp)")

# Building.
create_column = _function("SCIPcreateVarBasic", "i(pppdddi)")
add_column = _function("SCIPaddVar", "i(pp)")
release_column = _function("SCIPreleaseVar", "i(pp)")
create_row = _function("SCIPcreateConsBasicLinear", "i(pppippdd)")
add_row = _function("SCIPaddCons", "i(pp)")
release_row = _function("SCIPreleaseCons", "i(pp)")
