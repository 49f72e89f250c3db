"""Products of matrices inside compiled loops: BLAS's own `sgemm`, with nothing in between.

A product of torch takes a few microseconds of calls, as long as the arithmetic of a small one; a
loop that calls the library itself can go through many of them while its data are in cache. What
torch multiplies with serves where it can be found; in builds for x86 it is MKL and goes by
`torch.set_num_threads`. Elsewhere scipy's library does, which goes by variables of its own, such as
OPENBLAS_NUM_THREADS. (rooms triad, vdn, ctf)
"""

from __future__ import annotations

import contextlib
import ctypes
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tenfold.engine.kernel import find_obstacle, within

SYMBOL = "tenfold_sgemm"
"""What compiled loops call the function."""


def _address() -> int:
    """Return where the Fortran function `sgemm` begins."""
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        with contextlib.suppress(OSError, AttributeError):
            found = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name)).sgemm_
            return int(ctypes.cast(found, ctypes.c_void_p).value or 0)
    from numba.extending import get_cython_function_address

    return int(get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))


def _product(a: Any, b: Any, out: Any, turn_a: bool, turn_b: bool, add: bool) -> None:
    """Compute what the compiled `_sgemm` does: for Python without numba."""
    left, right = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    found = (left.T if turn_a else left) @ (right.T if turn_b else right)
    goal = out.reshape(found.shape)
    goal[:] = goal + found if add else found


def _compiled_product() -> Any:
    """Return the product as numba builds it into loops."""
    from llvmlite import binding, ir
    from numba import types
    from numba.extending import intrinsic

    cgutils: Any = import_module("numba.core.cgutils")
    binding.add_symbol(SYMBOL, _address())
    word, number = ir.IntType(32), ir.FloatType()

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = ir.Constant(context.get_value_type(types.intp), 1)

        def opened(place: int) -> tuple[Any, Any, Any]:
            """Return data, rows (all leading dimensions as one) and columns of an array."""
            kind = signature.args[place]
            array = context.make_array(kind)(context, builder, value=arguments[place])
            *leading, columns = cgutils.unpack_tuple(builder, array.shape, kind.ndim)
            rows = one
            for size in leading:
                rows = builder.mul(rows, size)
            return array.data, rows, columns

        def stored(value: Any) -> Any:
            return cgutils.alloca_once_value(builder, value)

        def whole(value: Any) -> Any:
            return stored(builder.trunc(value, word))

        def letter(turned: Any) -> Any:
            kinds = [ir.Constant(ir.IntType(8), ord(kind)) for kind in "TN"]
            return stored(builder.select(cgutils.is_not_null(builder, turned), *kinds))

        (a, a_rows, a_columns), (b, _, b_columns), (out, _, out_columns) = map(opened, range(3))
        turn_a, turn_b, add = arguments[3:]
        turned = cgutils.is_not_null(builder, turn_a)
        rows = builder.select(turned, a_columns, a_rows)
        inner = builder.select(turned, a_rows, a_columns)
        beta = builder.select(
            cgutils.is_not_null(builder, add), ir.Constant(number, 1.0), ir.Constant(number, 0.0)
        )
        # Fortran sees every array turned, so it multiplies in the other order.
        passed = [
            letter(turn_b), letter(turn_a), whole(out_columns), whole(rows), whole(inner),
            stored(ir.Constant(number, 1.0)), b, whole(b_columns), a, whole(a_columns),
            stored(beta), out, whole(out_columns),
        ]  # fmt: skip
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [value.type for value in passed]),
            SYMBOL,
        )
        builder.call(function, passed)
        return context.get_dummy_value()

    @intrinsic
    def _sgemm(_: Any, a: Any, b: Any, out: Any, turn_a: Any, turn_b: Any, add: Any) -> Any:
        for array in (a, b, out):
            assert (array.layout, array.dtype) == ("C", types.float32), f"{array} in a product"
        return types.void(a, b, out, turn_a, turn_b, add), generate

    return _sgemm


_sgemm = _product if find_obstacle() else _compiled_product()


@within
def multiply(a: Any, b: Any, out: Any) -> None:
    """Write a b to `out`; C-contiguous float32, leading dimensions count as one."""
    _sgemm(a, b, out, False, False, False)


@within
def multiply_add(a: Any, b: Any, out: Any) -> None:
    """Add a b to `out`; see `multiply`."""
    _sgemm(a, b, out, False, False, True)


@within
def multiply_turned(a: Any, b: Any, out: Any) -> None:
    """Write a times b transposed to `out`; see `multiply`."""
    _sgemm(a, b, out, False, True, False)


@within
def multiply_over_rows(a: Any, b: Any, out: Any) -> None:
    """Write a transposed times b to `out`, a sum over rows of both; see `multiply`."""
    _sgemm(a, b, out, True, False, False)


@within
def multiply_add_over_rows(a: Any, b: Any, out: Any) -> None:
    """Add a transposed times b to `out`; see `multiply_over_rows`."""
    _sgemm(a, b, out, True, False, True)
