"""All extremal graphs up to isomorphism for n = 5..32: how many are found, and in which time?

python bench/extremal/classes.py [FROM] [TO] [MINUTES A SIZE]
"""

from __future__ import annotations

import sys
import time

from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.gather import gather
from tenfold.rooms.extremal.problem import Problem


def main(first: int, last: int, minutes: float) -> int:
    """Print a line for each size; return at how many the count differs from the table."""
    table = known("C3,C4")
    differ, total = 0, time.perf_counter()
    for nodes in range(first, last + 1):
        began = time.perf_counter()
        wanted = table[nodes].classes
        found = gather(Problem(nodes=nodes), edges=table[nodes].lower, minutes=minutes)
        differ += found.classes != wanted
        print(
            f"n = {nodes}: {found.classes} of {wanted} classes, the last after "
            f"{found.last_new:,} of {found.visits:,} visits, {time.perf_counter() - began:.1f} s",
            flush=True,
        )
    print(f"{differ} sizes differ, {time.perf_counter() - total:.0f} s in all")
    return differ


if __name__ == "__main__":
    words = sys.argv[1:]
    first = int(words[0]) if words else 5
    last = int(words[1]) if len(words) > 1 else 32
    sys.exit(main(first, last, float(words[2]) if len(words) > 2 else 0.2) > 0)
