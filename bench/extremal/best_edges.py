"""Most edges after 1, 10 and 60 CPU seconds on one core, from nothing and from cut amalgams.

python bench/extremal/best_edges.py                       16 minutes of one core
python bench/extremal/best_edges.py --nodes 64 98 --marks 1 10
"""

import argparse
import json
import os
import sys
from pathlib import Path

from own_search import CHAINS, OwnSearch, warm_up

from tenfold.engine.claim import machine_name
from tenfold.rooms.extremal.bounds import known

NODES = [40, 64, 74, 80, 98, 100, 128, 162]
MARKS = [1, 10, 60]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    load = os.getloadavg()
    print(f"{machine_name()}; load at the start {load[0]:.1f}")
    rows = run(options)
    if options.json:
        report = {"machine": machine_name(), "load": load, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1))
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES)
    parser.add_argument("--marks", type=float, nargs="+", default=MARKS, help="CPU seconds")
    parser.add_argument("--starts", nargs="+", default=[*CHAINS], choices=[*CHAINS])


def run(options: argparse.Namespace) -> list[dict]:
    """Print a table and return its rows."""
    warm_up()
    print(heading(options.marks), flush=True)
    rows = []
    for nodes in options.nodes:
        for start in options.starts:
            rows.append(climb(nodes, start, marks=options.marks, seed=options.seed))
            print(line(rows[-1]), flush=True)
    return rows


def climb(nodes: int, start: str, *, marks: list[float], seed: int) -> dict:
    """Search and note the edges at every mark; a proven optimum ends it."""
    search, edges = OwnSearch(nodes, start, seed), []
    for mark in marks:
        search.go_on(until=mark)
        edges.append(search.edges)
    bound = known("C3,C4").get(nodes)
    return {
        "nodes": nodes,
        "start": start,
        "marks": marks,
        "edges": edges,
        "published": bound.lower if bound else None,
        "found_from": search.searcher.start,
        "million_flips": search.flips / 1e6,
        "cpu_seconds": search.seconds,
    }


def heading(marks: list[float]) -> str:
    after = " | ".join(f"{mark:g} s" for mark in marks)
    rule = "---|" * (len(marks) + 4)
    return f"| n | start | {after} | published | million flips |\n|{rule}"


def line(row: dict) -> str:
    edges = " | ".join(str(value) for value in row["edges"])
    return (
        f"| {row['nodes']} | {row['start']} | {edges} | {row['published']} | "
        f"{row['million_flips']:.1f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
