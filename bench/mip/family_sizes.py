"""How long SCIP takes for each size of each family: the table behind `families.FAMILIES`.

    python bench/mip/family_sizes.py [--families NAME ...] [--sizes SIZE ...] [--kept FILE.json]

SCIP with default settings, one thread, its own processor clock, so that a busy machine does not
count; a run stops at 65 seconds. Results are kept by the instance's digest, so that a second call
measures only what is new, and a change of a generator or of numbers is measured anew. Two
instances beyond the limit decide a median of three, so the third is then left out.
"""

import argparse
import json
import statistics
from pathlib import Path

from tenfold.engine.files import write_json
from tenfold.parts.mip import scip
from tenfold.parts.mip.families import FAMILIES
from tenfold.parts.mip.solving import Limits

SIZES = ("small", "mid", "hard")
BANDS = {"small": (1, 5), "mid": (10, 60), "hard": (60, float("inf"))}
LIMIT = 65.0
PROCESSOR = 1  # SCIP's number of that clock


def measure(mip):
    """Return how SCIP did on an instance."""
    model = scip.build(mip)
    solved = scip.solve(
        mip, limits=Limits(seconds=LIMIT), settings={"timing/clocktype": PROCESSOR}, model=model
    )
    return {
        "seconds": round(model.getSolvingTime(), 1),
        "status": solved.status,
        "objective": solved.objective,
        "bound": solved.bound,
        "nodes": solved.nodes,
    }


def rows(family, size, *, seeds, kept, path, measuring):
    """Yield counts and result of each seed, measuring those that are not kept."""
    beyond = 0
    for seed in seeds:
        if beyond * 2 > len(seeds):
            return
        mip = family.make(seed, size)
        key = mip.digest()
        if key not in kept and not measuring:
            continue
        if key not in kept:
            kept[key] = measure(mip)
            write_json(path, kept)
        beyond += kept[key]["seconds"] >= 60
        yield mip.counts(), kept[key]


def line(family, size, told, *, seeds):
    """Return a line of the table."""
    counts = told[0][0]
    seconds = [result["seconds"] for _, result in told]
    decided = sum(s >= 60 for s in seconds) * 2 > seeds
    # A seed that was left out cannot change on which side of the limit the median is.
    median = LIMIT if decided else statistics.median(seconds)
    low, high = BANDS.get(size, (0, float("inf")))
    note = "" if low <= median <= high else " (outside)"
    note += "" if decided or len(seconds) == seeds else f" (of {len(seconds)} seeds)"
    numbers = ", ".join(f"{name} {value}" for name, value in family.sizes[size].items())
    cells = (
        family.name,
        size,
        numbers,
        f"{counts['rows']} x {counts['columns']}",
        counts["binary"],
        " / ".join(f"{s:g}" for s in seconds),
        " / ".join(f"{result['status']}" for _, result in told),
        f"{median:g}{note}",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--sizes", nargs="+", default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--kept", type=Path, default=Path("runs/family_sizes.json"))
    parser.add_argument("--only-kept", action="store_true", help="print, measure nothing")
    given = parser.parse_args()
    kept = json.loads(given.kept.read_text()) if given.kept.is_file() else {}
    print("| family | size | numbers | rows x columns | binaries | SCIP, CPU s | status | median |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in given.families:
        for size in given.sizes:
            told = list(
                rows(FAMILIES[name], size, seeds=given.seeds, kept=kept, path=given.kept,
                     measuring=not given.only_kept)
            )  # fmt: skip
            if told:
                print(line(FAMILIES[name], size, told, seeds=len(given.seeds)), flush=True)


if __name__ == "__main__":
    main()
