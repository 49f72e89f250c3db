import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog
from scipy.stats import spearmanr

from tenfold.parts.mip import lpbatch
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.parts.mip.lp_state import from_relaxed
from tenfold.parts.mip.lpbatch import LpBatch

pytest.importorskip("highspy")

from tenfold.parts.mip import highs


def random_lp(seed, *, rows, columns, unbounded=0.0):
    """Return an LP with a best point, some bounds and sides infinite."""
    draw = np.random.default_rng(seed)
    dense = draw.normal(size=(rows, columns)) * (draw.random((rows, columns)) < 0.6)
    inside = draw.uniform(-1, 1, columns)
    activity = dense @ inside
    left = np.where(draw.random(rows) < 0.6, activity - draw.uniform(0, 1, rows), -np.inf)
    right = np.where(draw.random(rows) < 0.6, activity + draw.uniform(0, 1, rows), np.inf)
    # A cost that some duals and bounds support, so that the LP is bounded.
    duals = np.where(np.isfinite(right), -draw.random(rows), 0.0)
    duals = np.where(np.isfinite(left) & (draw.random(rows) < 0.5), draw.random(rows), duals)
    lower, upper = inside - draw.uniform(0, 2, columns), inside + draw.uniform(0, 2, columns)
    reduced = draw.normal(size=columns)
    upper = np.where((reduced > 0) & (draw.random(columns) < unbounded), np.inf, upper)
    lower = np.where((reduced < 0) & (draw.random(columns) < unbounded), -np.inf, lower)
    return from_rows(
        name=f"lp-{seed}", cost=dense.T @ duals + reduced, matrix=sparse.csr_array(dense),
        left=left, right=right, lower=lower, upper=upper, kinds=Kind.CONTINUOUS,
    )  # fmt: skip


def exact(mip, lower, upper):
    """Return the value of the LP with other bounds, infinite if it has no point."""
    table = mip.matrix.toarray()
    has_left, has_right = np.isfinite(mip.left), np.isfinite(mip.right)
    found = linprog(
        mip.cost,
        np.concatenate([-table[has_left], table[has_right]]),
        np.concatenate([-mip.left[has_left], mip.right[has_right]]),
        bounds=np.stack([lower, upper], axis=1),
    )
    if found.status == 4 and mip.cost.any():
        # Infeasible or unbounded: without a cost it is one or the other.
        told = exact(dataclasses.replace(mip, cost=0 * mip.cost), lower, upper)
        return np.inf if told == np.inf else -np.inf
    assert found.status in (0, 2, 3), found.message
    return {0: found.fun, 2: np.inf, 3: -np.inf}[found.status]


def children(mip, value, seed, count):
    """Return bounds, [n, count]: one bound of one column is moved across its value in each."""
    draw = np.random.default_rng(seed)
    lower, upper = (np.tile(ends[:, None], count) for ends in (mip.lower, mip.upper))
    for k in range(count):
        j = int(draw.integers(len(value)))
        if draw.random() < 0.5:
            upper[j, k] = max(value[j] - draw.uniform(0, 1), mip.lower[j])
        else:
            lower[j, k] = min(value[j] + draw.uniform(0, 1), mip.upper[j])
    return lower, upper


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(3, 8), (8, 3), (6, 6)]),
    penalty=st.sampled_from([0.1, 1.0, 10.0]),
    iterations=st.sampled_from([0, 3, 60]),
    unbounded=st.sampled_from([0.0, 0.5]),
)
def test_the_bound_is_never_above_the_value(seed, shape, penalty, iterations, unbounded):
    mip = random_lp(seed, rows=shape[0], columns=shape[1], unbounded=unbounded)
    state = from_relaxed(mip, highs.relax(mip))
    lower, upper = children(mip, state.value, seed, 6)
    answers = LpBatch(state, penalty=penalty).solve(lower, upper, iterations=iterations)
    assert (answers.estimates >= answers.bounds).all()
    for k in range(6):
        value = exact(mip, lower[:, k], upper[:, k])
        # linprog itself is right to about 1e-7 of its sums.
        assert answers.bounds[k] <= value + 1e-6 * max(1.0, abs(value))


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), spread=st.floats(-3, 6))
def test_the_bound_holds_for_any_duals_whatsoever(seed, spread):
    mip = random_lp(seed, rows=5, columns=7, unbounded=0.3)
    state = from_relaxed(mip, highs.relax(mip))
    batch = LpBatch(state)
    duals = np.random.default_rng(seed).normal(size=(len(batch._left), 4)) * 10.0**spread
    bounds = [np.tile(ends[:, None], 4) for ends in (mip.lower, mip.upper)]
    value = exact(mip, mip.lower, mip.upper)
    told = batch._unit * batch.bound(*bounds, duals)
    assert (told <= value + 1e-6 * max(1.0, abs(value))).all()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    opened=st.sampled_from([0.1, 0.5, 1.0]),
    spread=st.sampled_from([None, -2.0, 0.0, 4.0]),
)
def test_the_bound_holds_with_bounds_opened_to_infinity(seed, opened, spread):
    """Whatever ends are opened, also those that made the LP bounded; duals of ADMM or any."""
    mip = random_lp(seed, rows=5, columns=6)
    batch = LpBatch(from_relaxed(mip, highs.relax(mip)))
    draw = np.random.default_rng(seed)
    lower, upper = (np.tile(ends[:, None], 4) for ends in (mip.lower, mip.upper))
    lower = np.where(draw.random(lower.shape) < opened, -np.inf, lower)
    upper = np.where(draw.random(upper.shape) < opened, np.inf, upper)
    if spread is None:
        told = batch.solve(lower, upper, iterations=30).bounds
    else:
        duals = draw.normal(size=(len(batch._left), 4)) * 10.0**spread
        told = batch._unit * batch.bound(lower, upper, duals)
    assert not np.isnan(told).any()
    for k in range(4):
        value = exact(mip, lower[:, k], upper[:, k])
        assert told[k] <= value + 1e-6 * max(1.0, abs(value)) or value == told[k]


def test_at_the_duals_of_the_solved_lp_the_bound_is_its_value():
    mip = random_lp(3, rows=6, columns=9)
    relaxed = highs.relax(mip)
    batch = LpBatch(from_relaxed(mip, relaxed))
    same = batch.solve(mip.lower[:, None], mip.upper[:, None], iterations=0)
    assert same.bounds[0] == pytest.approx(relaxed.objective, rel=1e-5)
    assert same.estimates[0] == pytest.approx(relaxed.objective, rel=1e-5)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_many_iterations_end_at_the_value(shape):
    mip = random_lp(1, rows=shape[0], columns=shape[1])
    state = from_relaxed(mip, highs.relax(mip))
    lower, upper = children(mip, state.value, 0, 10)
    batch = LpBatch(state, penalty=1.0, dtype=torch.float64)
    answers = batch.solve(lower, upper, iterations=6_000)
    values = np.array([exact(mip, lower[:, k], upper[:, k]) for k in range(10)])
    there = np.isfinite(values)
    assert there.sum() >= 3
    assert answers.estimates[there] == pytest.approx(values[there], abs=1e-4)
    assert answers.bounds[there] == pytest.approx(values[there], abs=1e-3)
    assert (answers.residuals[there] < 1e-4).all()


def test_every_way_to_solve_the_system_gives_the_same(monkeypatch):
    for shape in ((6, 15), (15, 6)):
        mip = random_lp(2, rows=shape[0], columns=shape[1])
        state = from_relaxed(mip, highs.relax(mip))
        lower, upper = children(mip, state.value, 0, 5)
        told = []
        for entries, system in ((10**9, 10**9), (0, 10**9), (10**9, 0), (0, 0)):
            monkeypatch.setattr(lpbatch, "DENSE_ENTRIES", entries)
            monkeypatch.setattr(lpbatch, "DENSE_SYSTEM", system)
            batch = LpBatch(state, dtype=torch.float64)
            told.append(batch.solve(lower, upper, iterations=30))
        for other in told[1:]:
            assert other.estimates == pytest.approx(told[0].estimates, rel=1e-9)
            assert other.bounds == pytest.approx(told[0].bounds, rel=1e-9)


def test_crossed_bounds_are_infeasible_at_once():
    mip = random_lp(0, rows=4, columns=6)
    batch = LpBatch(from_relaxed(mip, highs.relax(mip)))
    told = batch.solve(mip.upper[:, None] + 1, mip.upper[:, None], iterations=1)
    assert (told.bounds, told.estimates) == (np.inf, np.inf)


def test_candidates_are_ranked_as_exact_strong_branching_ranks_them():
    mip = set_cover(rows=100, columns=200, density=0.06, seed=2)
    relaxed = highs.relax(mip)
    state = from_relaxed(mip, relaxed)
    loose = np.flatnonzero((relaxed.x > 1e-6) & (relaxed.x < 1 - 1e-6))
    count = len(loose)
    assert count >= 15
    lower, upper = (np.tile(ends[:, None], 2 * count) for ends in (mip.lower, mip.upper))
    upper[loose, np.arange(count)] = 0.0
    lower[loose, count + np.arange(count)] = 1.0
    values = np.array([exact(mip, lower[:, k], upper[:, k]) for k in range(2 * count)])

    def scores(found):
        gains = np.maximum(found - relaxed.objective, 0) + 1e-6
        return gains[:count] * gains[count:]

    answers = LpBatch(state).solve(lower, upper, iterations=100)
    ours, right = scores(answers.estimates), scores(values)
    assert spearmanr(ours, right).statistic > 0.97
    assert right[np.argmax(ours)] > 0.9 * right.max()
