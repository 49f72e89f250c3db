import numpy as np
import pytest

from parts.mip.examples import knapsack
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.parts.mip.labels import collect, pool_of, read_pool, write_pool
from tenfold.parts.mip.solving import Limits, Point

pytest.importorskip("highspy")

from tenfold.parts.mip import highs


def points(*rows):
    return [Point(seconds=i, objective=0.0, x=np.array(x, dtype=float)) for i, x in enumerate(rows)]


def test_a_pool_has_the_points_that_fit_best_first_one_for_each_integer_part():
    given = points([1, 0, 0], [2, 0, 1], [9, 9, 9], [0, 1, 0], [1 + 1e-9, 0, 0])
    pool = pool_of(knapsack(), given, bound=13.0, source={"solver": "me"})
    assert pool.objectives == pytest.approx([13.0, 5.0, 4.0])
    assert pool.x[0].tolist() == [2, 0, 1]
    assert len(pool_of(knapsack(), given, bound=13.0, source={}, most=2).objectives) == 2
    other = pool_of(knapsack("minimize"), given, bound=-13.0, source={})
    assert other.objectives == pytest.approx([-13.0, -5.0, -4.0])


def test_of_points_with_one_integer_part_the_better_stays():
    mip = from_rows(
        name="m", cost=np.array([0.0, 1.0]), matrix=np.zeros((0, 2)), left=np.zeros(0),
        right=np.zeros(0), upper=5.0, kinds=np.array([Kind.INTEGER, Kind.CONTINUOUS], np.uint8),
    )  # fmt: skip
    pool = pool_of(mip, points([3, 2.0], [3, 1.5], [3, 4.0]), bound=0.0, source={})
    assert pool.x.tolist() == [[3.0, 1.5]]


def test_weights_are_a_softmax_of_relative_loss():
    pool = pool_of(knapsack(), points([2, 0, 1], [1, 0, 0], [0, 0, 1]), bound=13.0, source={})
    weights = pool.weights(temperature=0.5)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[1] / weights[0] == pytest.approx(np.exp(-(8 / 13) / 0.5))
    assert weights[2] / weights[0] == pytest.approx(np.exp(-(10 / 13) / 0.5))
    assert pool.weights(1e-6) == pytest.approx([1.0, 0.0, 0.0])
    assert pool.weights(1e9) == pytest.approx([1 / 3] * 3)


def test_a_solver_s_way_to_the_optimum_becomes_a_pool_that_is_read_back(tmp_path):
    mip = set_cover(rows=80, columns=160, density=0.05, seed=2)
    pool = collect(mip, highs, limits=Limits(nodes=50), seed=3)
    again = collect(mip, highs, limits=Limits(nodes=50), seed=3)
    assert np.array_equal(pool.x, again.x)
    assert len(pool.objectives) >= 2
    assert (np.diff(pool.objectives) >= 0).all()
    assert pool.source["solver"].startswith("HiGHS")
    write_pool(pool, tmp_path / "one")
    back = read_pool(tmp_path / "one", mip)
    assert np.array_equal(back.x, pool.x)
    assert (back.bound, back.source) == (pool.bound, pool.source)
    with pytest.raises(TenfoldError, match="not of knapsack"):
        read_pool(tmp_path / "one", knapsack())
    with pytest.raises(TenfoldError, match="does not exist"):
        read_pool(tmp_path / "none", mip)
    (tmp_path / "one.safetensors").write_bytes(b"\x00")
    with pytest.raises(TenfoldError, match="cannot be read as a pool"):
        read_pool(tmp_path / "one", mip)


def test_an_instance_without_a_point_has_an_empty_pool(tmp_path):
    mip = knapsack()
    pool = pool_of(mip, [], bound=np.nan, source={})
    assert pool.x.shape == (0, 3)
    assert pool.weights(0.1).shape == (0,)
    write_pool(pool, tmp_path / "none")
    assert read_pool(tmp_path / "none", mip).x.shape == (0, 3)
