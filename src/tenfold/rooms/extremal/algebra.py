"""Finite fields as tables, and the planes over them.

A field GF(p^k) is polynomials over Z_p modulo an irreducible one of degree k, which is found by
search; element i is the polynomial whose coefficients are the digits of i in base p, the lowest
power first. So 0 and 1 are the field's zero and one, and 0 .. p - 1 is its prime field.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError

MAX_ORDER = 64
"""Largest field; its tables are built in milliseconds."""

Table = NDArray[np.int64]
Polynomial = tuple[int, ...]
"""Coefficients, lowest power first."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """GF(order): elements are 0 .. order - 1, operations are look-ups."""

    order: int
    characteristic: int
    add: Table
    """[order, order]"""
    mul: Table
    """[order, order]"""
    neg: Table
    """[order]"""
    inv: Table
    """[order]; inv[0] is 0, though zero has no inverse."""


def prime_power(order: int) -> tuple[int, int]:
    """Return the prime p and the exponent k with order = p^k.

    Raises:
        TenfoldError: if there are none, or the order is outside 2 .. 64.
    """
    if 2 <= order <= MAX_ORDER:
        prime = next(d for d in range(2, order + 1) if order % d == 0)
        exponent = round(np.log(order) / np.log(prime))
        if prime**exponent == order:
            return prime, exponent
    raise TenfoldError(
        f"q={order} is no order of a finite field here; give a prime power from 2 to {MAX_ORDER}, "
        "such as 7, 8, 9 or 11"
    )


@functools.cache
def field(order: int) -> Field:
    """Return GF(order); its tables are shared and cannot be written to."""
    prime, exponent = prime_power(order)
    weights = prime ** np.arange(exponent)
    digits = np.arange(order)[:, None] // weights % prime
    add = (digits[:, None] + digits) % prime @ weights
    mul = _products(digits, prime=prime) % prime @ weights
    inv = np.append(0, (mul[1:] == 1).argmax(axis=1))
    tables = add, mul, (add == 0).argmax(axis=1), inv
    for table in tables:
        table.setflags(write=False)
    return Field(order, prime, *tables)


def _products(digits: Table, *, prime: int) -> Table:
    """Return the coefficients of all products modulo the irreducible polynomial, [q, q, k]."""
    order, exponent = digits.shape
    full = np.zeros((order, order, 2 * exponent - 1), dtype=np.int64)
    for i, j in itertools.product(range(exponent), repeat=2):
        full[:, :, i + j] += np.multiply.outer(digits[:, i], digits[:, j])
    return full @ _powers(find_irreducible(prime, exponent), prime=prime)


def _powers(modulus: Polynomial, *, prime: int) -> Table:
    """Return x^0 .. x^(2k - 2) modulo a monic polynomial of degree k, one a row."""
    exponent = len(modulus) - 1
    rows = [np.eye(exponent, dtype=np.int64)[0]]
    for _ in range(2 * exponent - 2):
        carry = rows[-1][-1]
        shifted = np.append(0, rows[-1][:-1])
        rows.append((shifted - carry * np.array(modulus[:-1])) % prime)
    return np.array(rows)


def find_irreducible(prime: int, degree: int) -> Polynomial:
    """Return the first monic polynomial over Z_p that is no product of two smaller ones."""
    reducible = {
        _multiply(a, b, prime=prime)
        for lower in range(1, degree // 2 + 1)
        for a in _monic(prime, lower)
        for b in _monic(prime, degree - lower)
    }
    return next(found for found in _monic(prime, degree) if found not in reducible)


def _monic(prime: int, degree: int) -> list[Polynomial]:
    return [(*low, 1) for low in itertools.product(range(prime), repeat=degree)]


def _multiply(a: Polynomial, b: Polynomial, *, prime: int) -> Polynomial:
    return tuple(int(c) % prime for c in np.convolve(a, b))


# Vectors and planes


def dot(space: Field, left: Table, right: Table) -> Table:
    """Return the products of all rows of `left` [m, d] with all rows of `right` [n, d], [m, n]."""
    total = np.zeros((len(left), len(right)), dtype=np.int64)
    for axis in range(left.shape[1]):
        total = space.add[total, space.mul[left[:, axis][:, None], right[:, axis]]]
    return total


def vectors(space: Field, dimension: int) -> Table:
    """Return all vectors in lexicographic order, [q^dimension, dimension]."""
    return np.array(list(itertools.product(range(space.order), repeat=dimension)))


def projective_points(space: Field, dimension: int = 2) -> Table:
    """Return one vector per line through the origin: the one whose first non-zero entry is 1."""
    found = vectors(space, dimension + 1)[1:]
    first = (found != 0).argmax(axis=1)
    normal: Table = found[found[np.arange(len(found)), first] == 1]
    return normal


def projective_incidence(space: Field) -> NDArray[np.bool_]:
    """Return which point of PG(2, q) lies on which line; symmetric, by the standard polarity."""
    points = projective_points(space)
    incident: NDArray[np.bool_] = dot(space, points, points) == 0
    return incident


def affine_incidence(space: Field) -> NDArray[np.bool_]:
    """Return which point (x, y) lies on which line [m, b], y = m x + b, both in that order.

    The vertical lines are left out, so points of equal x lie on no common line.
    """
    pairs = vectors(space, 2)
    x, y = pairs.T
    height = space.add[space.mul[x[:, None], pairs[:, 0]], pairs[:, 1]]
    incident: NDArray[np.bool_] = height == y[:, None]
    return incident


def subfield(space: Field, order: int) -> NDArray[np.bool_]:
    """Mark the elements with x^order = x, which are GF(order) if that lies in the field."""
    elements = np.arange(space.order)
    power = np.ones(space.order, dtype=np.int64)
    for _ in range(order):
        power = space.mul[power, elements]
    fixed: NDArray[np.bool_] = power == elements
    return fixed
