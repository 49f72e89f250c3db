"""Scores of candidates from batched approximate LPs beside exact strong branching, and the cost.

    python bench/mip/batched_lps.py [ITERATIONS [DEVICE]]

The root LPs of set cover 200x400 and 500x1000 (density 0.05), five seeds each; candidates are the
columns with the most broken values, up to 59 and 100. Exact values come from HiGHS' dual simplex
method, begun at the root's basis for each child. On one CPU core the exact way may be the faster
one; the batch pays on a GPU.
"""

import sys
import time

import highspy
import numpy as np
import torch
from scipy.stats import spearmanr

from tenfold.parts.mip import highs
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.lp_state import from_relaxed
from tenfold.parts.mip.lpbatch import LpBatch

SIZES = ((200, 400, 59), (500, 1000, 100))
SEEDS = range(5)
EPSILON = 1e-6


def candidates(relaxed, most):
    broken = np.abs(relaxed.x - np.rint(relaxed.x))
    order = np.argsort(-broken, kind="stable")[:most]
    return np.sort(order[broken[order] > 1e-6])


def children(mip, value, places):
    """Return bounds of all down children, then of all up children, [n, 2c]."""
    count, each = len(places), np.arange(len(places))
    lower, upper = (np.tile(ends[:, None], 2 * count) for ends in (mip.lower, mip.upper))
    upper[places, each] = np.floor(value[places])
    lower[places, count + each] = np.ceil(value[places])
    return lower, upper


def solve_exactly(mip, places, lower, upper):
    """Return the value of each child, infinite if it has no point."""
    model = highs.build(mip, relaxed=True)
    model.setOptionValue("presolve", "off")
    model.run()
    basis, values = model.getBasis(), np.full(lower.shape[1], np.inf)
    for k, j in enumerate(np.tile(places, 2).tolist()):
        model.changeColBounds(j, lower[j, k], upper[j, k])
        model.setBasis(basis)
        model.run()
        if model.getModelStatus() == highspy.HighsModelStatus.kOptimal:
            values[k] = model.getInfo().objective_function_value
        model.changeColBounds(j, mip.lower[j], mip.upper[j])
    return values


def scores(values, own):
    gains = np.maximum(values - own, 0) + EPSILON
    return gains[: len(gains) // 2] * gains[len(gains) // 2 :]


def measure(rows, columns, most, seed, iterations, device):
    mip = set_cover(rows=rows, columns=columns, density=0.05, seed=seed)
    relaxed = highs.relax(mip)
    places = candidates(relaxed, most)
    lower, upper = children(mip, relaxed.x, places)
    began = time.perf_counter()
    values = solve_exactly(mip, places, lower, upper)
    exact_seconds = time.perf_counter() - began
    began = time.perf_counter()
    batch = LpBatch(from_relaxed(mip, relaxed), device=device)
    prepared = time.perf_counter() - began
    answers = batch.solve(lower, upper, iterations=iterations)
    batch_seconds = time.perf_counter() - began
    above = np.max(answers.bounds - values)
    ours, right = scores(answers.estimates, relaxed.objective), scores(values, relaxed.objective)
    rank = spearmanr(ours, right).statistic
    best = right[np.argmax(ours)] / right.max()
    print(
        f"{rows}x{columns} seed {seed}: {len(places)} candidates, Spearman {rank:.4f}, chosen "
        f"{best:.3f} of the best, largest bound minus value {above:.1e}; "
        f"batch {batch_seconds:.2f} s ({prepared:.2f} to prepare), exact {exact_seconds:.2f} s",
        flush=True,
    )
    return rank, best, batch_seconds, exact_seconds


def main(iterations=100, device="cpu"):
    torch.set_num_threads(1)
    print(f"{iterations} iterations, {device}, torch {torch.__version__}, one thread")
    for rows, columns, most in SIZES:
        found = np.array(
            [measure(rows, columns, most, seed, iterations, device) for seed in SEEDS]
        )  # fmt: skip
        rank, best, batch, exact = np.median(found, axis=0)
        print(
            f"{rows}x{columns}: median Spearman {rank:.4f} (least {found[:, 0].min():.4f}), chosen "
            f"{best:.3f} of the best, batch {batch:.2f} s, exact {exact:.2f} s"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, *sys.argv[2:])
