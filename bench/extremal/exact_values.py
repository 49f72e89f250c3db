"""Every n = 3..53 from the empty graph by default settings: is f(n) found, and in which time?

python bench/extremal/exact_values.py [SEEDS]
"""

from __future__ import annotations

import sys
import time

from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.search import search

SIZES = range(3, 54)


def main(seeds: int) -> int:
    """Print a line for each seed and return how many values were missed."""
    table = known("C3,C4")
    search(Problem(nodes=6))  # compiles
    missed = 0
    for seed in range(seeds):
        slowest, total, hits = (0.0, 0), 0.0, 0
        for nodes in SIZES:
            began = time.perf_counter()
            found = search(Problem(nodes=nodes), seed=seed)
            seconds = time.perf_counter() - began
            hits += found.edges == table[nodes].lower
            total += seconds
            slowest = max(slowest, (seconds, nodes))
        missed += len(SIZES) - hits
        print(
            f"seed {seed}: {hits} of {len(SIZES)} exact in {total:.2f} s, "
            f"slowest n = {slowest[1]} with {slowest[0]:.2f} s",
            flush=True,
        )
    return missed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5) > 0)
