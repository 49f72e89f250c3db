"""Finite fields and planes against their axioms, over every element."""

import itertools

import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import algebra

ORDERS = [2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 25, 27, 32, 49, 64]


@pytest.mark.parametrize("order", ORDERS)
def test_addition_and_multiplication_are_those_of_a_field(order):
    f = algebra.field(order)
    x = np.arange(order)
    a, b, c = np.meshgrid(x, x, x, indexing="ij")
    assert (f.add[f.add[a, b], c] == f.add[a, f.add[b, c]]).all()
    assert (f.mul[f.mul[a, b], c] == f.mul[a, f.mul[b, c]]).all()
    assert (f.mul[a, f.add[b, c]] == f.add[f.mul[a, b], f.mul[a, c]]).all()
    assert (f.add == f.add.T).all()
    assert (f.mul == f.mul.T).all()
    assert (f.add[0] == x).all()
    assert (f.mul[1] == x).all()
    assert (f.add[x, f.neg] == 0).all()
    assert (f.mul[x, f.inv][1:] == 1).all()


@pytest.mark.parametrize("order", ORDERS)
def test_the_characteristic_is_how_often_one_adds_up_to_zero(order):
    f = algebra.field(order)
    total, count = 1, 1
    while total:
        total, count = f.add[total, 1], count + 1
    assert count == f.characteristic


def test_a_prime_field_counts_modulo_its_order():
    f = algebra.field(11)
    for a, b in itertools.product(range(11), repeat=2):
        assert f.add[a, b] == (a + b) % 11
        assert f.mul[a, b] == a * b % 11


def test_tables_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        algebra.field(4).add[0, 0] = 1


@pytest.mark.parametrize("order", [0, 1, 6, 10, 12, 36, 65, 81])
def test_an_order_without_a_field_is_refused_by_name(order):
    with pytest.raises(TenfoldError, match=f"q={order} is no order"):
        algebra.field(order)


def test_the_first_irreducible_polynomials_are_the_known_ones():
    assert algebra.find_irreducible(2, 2) == (1, 1, 1)
    assert algebra.find_irreducible(3, 2) == (1, 0, 1)
    assert algebra.find_irreducible(2, 3) in {(1, 1, 0, 1), (1, 0, 1, 1)}


@pytest.mark.parametrize("q", [2, 3, 4, 5, 8, 9])
def test_two_points_of_the_projective_plane_share_one_line(q):
    incident = algebra.projective_incidence(algebra.field(q)).astype(int)
    assert len(incident) == q * q + q + 1
    common = incident @ incident.T
    assert (common == 1 + q * np.eye(len(common), dtype=int)).all()


@pytest.mark.parametrize("q", [2, 3, 4, 7])
def test_affine_points_share_a_line_unless_one_is_above_the_other(q):
    incident = algebra.affine_incidence(algebra.field(q)).astype(int)
    x = algebra.vectors(algebra.field(q), 2)[:, 0]
    common = incident @ incident.T
    assert (common[x[:, None] != x] == 1).all()
    np.fill_diagonal(common, 0)
    assert (common[x[:, None] == x] == 0).all()


@pytest.mark.parametrize(("order", "inner"), [(4, 2), (9, 3), (16, 4), (64, 8), (64, 4)])
def test_a_subfield_is_closed_and_has_its_order(order, inner):
    f = algebra.field(order)
    marked = np.flatnonzero(algebra.subfield(f, inner))
    assert len(marked) == inner
    assert np.isin(f.add[np.ix_(marked, marked)], marked).all()
    assert np.isin(f.mul[np.ix_(marked, marked)], marked).all()
