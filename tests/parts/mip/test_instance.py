import dataclasses

import numpy as np
import pytest
from scipy import sparse

from parts.mip.examples import knapsack, random_mip
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.instance import Kind, change_bounds, drop_fixed, from_rows
from tenfold.parts.mip.points import read_point, write_point


def test_doubles_are_added_zeros_dropped_and_unit_integers_are_binary():
    entries = ([1.0, 2.0, 0.0, 5.0], ([0, 0, 0, 0], [1, 1, 0, 2]))
    made = from_rows(
        name="m",
        cost=np.zeros(3),
        matrix=sparse.coo_array(entries, shape=(1, 3)),
        left=np.zeros(1),
        right=np.ones(1),
        upper=np.array([1.0, 2.0, 1.0]),
        kinds=np.array([Kind.INTEGER, Kind.INTEGER, Kind.CONTINUOUS], dtype=np.uint8),
    )
    assert made.matrix.toarray().tolist() == [[0.0, 3.0, 5.0]]
    assert made.matrix.nnz == 2
    assert made.kinds.tolist() == [Kind.BINARY, Kind.INTEGER, Kind.CONTINUOUS]
    assert made.columns == ("x0", "x1", "x2")


def test_columns_picked_in_any_order_are_sorted_in_each_row():
    whole = knapsack()
    turned = whole.matrix[:, [2, 0, 1]]
    made = from_rows(name="m", cost=np.zeros(3), matrix=turned, left=whole.left, right=whole.right)
    assert made.matrix.indices.tolist() == [0, 1, 2] * 3
    assert made.matrix.toarray().tolist() == turned.toarray().tolist()


def test_the_digest_sees_everything_but_names():
    whole = knapsack()
    assert dataclasses.replace(whole, name="other", rows=("u", "v", "w")).digest() == whole.digest()
    for change in (
        {"sense": "minimize"},
        {"offset": 1.0},
        {"cost": whole.cost + 1},
        {"lower": whole.lower - 1},
        {"right": whole.right + 1},
        {"kinds": np.full(3, Kind.CONTINUOUS, dtype=np.uint8)},
        {"matrix": whole.matrix * 2},
    ):
        assert dataclasses.replace(whole, **change).digest() != whole.digest()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cost": np.array([1.0, np.nan, 0.0])}, "objective is not finite"),
        ({"matrix": sparse.csr_array(np.full((3, 3), np.inf))}, "entry is not finite"),
        ({"lower": 11.0}, "column 'a' must lie between 11.0 and 10.0"),
        ({"left": np.array([0.0, 12.0, 0.0])}, "row 'r1' must lie between 12.0 and 11.0"),
        ({"columns": ("a", "b", "a")}, "two columns are called 'a'"),
        ({"rows": ("u", "u", "v")}, "two rows are called 'u'"),
    ],
)
def test_a_fault_is_told_with_its_name(change, told):
    whole = knapsack()
    given = {
        "name": "m", "cost": whole.cost, "matrix": whole.matrix, "left": whole.left,
        "right": whole.right, "upper": whole.upper, "columns": whole.columns,
    }  # fmt: skip
    with pytest.raises(TenfoldError, match=told):
        from_rows(**given | change)


@pytest.mark.parametrize("seed", range(20))
def test_without_its_fixed_columns_an_instance_says_the_same_of_every_point(seed):
    whole = random_mip(seed)
    draw = np.random.default_rng(seed)
    lower, upper = whole.lower.copy(), whole.upper.copy()
    shut = draw.random(5) < 0.5
    lower[shut] = upper[shut] = np.rint(draw.uniform(0, 3, 5))[shut]
    reduced = drop_fixed(change_bounds(whole, lower, upper))
    if reduced is None:
        assert not any(
            check_point(whole, draw.uniform(lower, upper)).row <= 1e-6 for _ in range(50)
        )
        return
    assert reduced.mip.columns == tuple(np.array(whole.columns)[~shut])
    for _ in range(20):
        inner = draw.integers(0, 4, int((~shut).sum())).astype(float)
        full = reduced.lift(inner)
        assert np.array_equal(full[shut], lower[shut])
        assert reduced.mip.objective(inner) == pytest.approx(whole.objective(full))
        assert check_point(reduced.mip, inner).feasible == check_point(whole, full).feasible


def test_fixed_columns_that_break_a_row_alone_are_found_out():
    whole = knapsack()
    at = np.array([2.0, 1.0, 0.0])  # 2 * 2 + 3 * 1 > 5
    assert drop_fixed(change_bounds(whole, at, at)) is None
    good = np.array([2.0, 0.0, 1.0])
    reduced = drop_fixed(change_bounds(whole, good, good))
    assert reduced.mip.shape == (0, 0)
    assert reduced.mip.offset == 13.0


def test_a_point_is_read_back_and_faults_name_the_line(tmp_path):
    whole, file = knapsack(), tmp_path / "x.sol"
    x = np.array([2.0, 0.0, 1 / 3])
    write_point(whole, x, file)
    assert file.read_text().splitlines() == ["=obj= 11", "a 2", f"c {1 / 3:.17g}"]
    assert np.array_equal(read_point(whole, file), x)
    file.write_text("objective value: 3\na 2 \t(obj:10)\n")
    assert read_point(whole, file).tolist() == [2.0, 0.0, 0.0]
    for text, told in (("a 1\nz 3\n", "line 2: 'z' is no column"), ("b x\n", "line 1: 'b x'")):
        file.write_text(text)
        with pytest.raises(TenfoldError, match=told):
            read_point(whole, file)
    with pytest.raises(TenfoldError, match="cannot be read"):
        read_point(whole, tmp_path / "none.sol")
