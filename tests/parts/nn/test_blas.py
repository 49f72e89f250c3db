import numpy as np
import pytest

from tenfold.engine.kernel import bare
from tenfold.parts.nn import blas


def draw(*size):
    return np.random.default_rng(sum(size)).standard_normal(size).astype(np.float32)


@bare
def call(which, a, b, out):
    if which == 0:
        blas.multiply(a, b, out)
    elif which == 1:
        blas.multiply_add(a, b, out)
    elif which == 2:
        blas.multiply_turned(a, b, out)
    elif which == 3:
        blas.multiply_over_rows(a, b, out)
    else:
        blas.multiply_add_over_rows(a, b, out)


@pytest.mark.parametrize(
    ("which", "sizes", "formula"),
    [
        (0, ((7, 5), (5, 3)), lambda a, b, _: a @ b),
        (1, ((7, 5), (5, 3)), lambda a, b, out: out + a @ b),
        (2, ((7, 5), (3, 5)), lambda a, b, _: a @ b.T),
        (3, ((7, 5), (7, 3)), lambda a, b, _: a.T @ b),
        (4, ((7, 5), (7, 3)), lambda a, b, out: out + a.T @ b),
    ],
    ids=["product", "added", "turned", "over rows", "over rows, added"],
)
def test_products_are_those_of_numpy(which, sizes, formula):
    a, b = (draw(*size) for size in sizes)
    out = np.full(formula(a, b, 0.0).shape, 2, np.float32)
    wanted = formula(a, b, out)
    call(which, a, b, out)
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5)


@bare
def call_on_parts(a, b, out):
    blas.multiply(a[1, :3], b[1], out[1, :3])


def test_leading_dimensions_count_as_one_and_parts_of_arrays_serve():
    a, b, out = draw(2, 4, 6, 5), draw(2, 5, 3), np.full((2, 4, 6, 3), 9, np.float32)
    call_on_parts(a, b, out)
    np.testing.assert_allclose(out[1, :3], a[1, :3] @ b[1], rtol=1e-5, atol=1e-5)
    assert (out[0] == 9).all()
    assert (out[1, 3] == 9).all()
