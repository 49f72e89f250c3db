"""C4 alone to n = 32 and C3, C4, C5 to n = 42, by default settings: exact values, and the time.

python bench/extremal/other_sets.py [SEED]
"""

from __future__ import annotations

import sys
import time

from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.search import search

SETS = {"C4": range(3, 33), "C3,C4,C5": range(3, 43)}
LIMIT = 0.5
"""Minutes for a size."""


def main(seed: int) -> int:
    """Print a line for each set and each value that was missed; return how many were."""
    missed = 0
    for forbid, sizes in SETS.items():
        table = known(forbid)
        search(Problem(nodes=6, forbid=forbid))  # compiles
        began, slowest, hits = time.perf_counter(), (0.0, 0), 0
        for nodes in sizes:
            before = time.perf_counter()
            found = search(Problem(nodes=nodes, forbid=forbid), seed=seed, minutes=LIMIT)
            slowest = max(slowest, (time.perf_counter() - before, nodes))
            hits += found.edges == table[nodes].lower
            if found.edges != table[nodes].lower:
                print(f"{forbid} n = {nodes}: {found.edges}, known {table[nodes].lower}")
        missed += len(sizes) - hits
        print(
            f"{forbid}: {hits} of {len(sizes)} exact in {time.perf_counter() - began:.1f} s, "
            f"slowest n = {slowest[1]} with {slowest[0]:.2f} s",
            flush=True,
        )
    return missed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0) > 0)
