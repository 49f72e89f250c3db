"""The room extremal beside its peers, on one core: three tables.

    python bench/extremal/peers.py --peer-dir DIR --json FILE
    python bench/extremal/peers.py --tables rlgt --rlgt-python PYTHON

Scored flips beside RLGT (rlgt_flips.py), edge changes and best edges beside searchMaxSizeMinGirth
(gjjv_edges.py), and our best edges after 1, 10 and 60 CPU seconds (best_edges.py). A peer that is
not there is left out: `make peers` makes .venv-rlgt, and DIR is a checkout that its own `make` has
built. All three take about half an hour of one core.
"""

import argparse
import datetime
import json
import os
import sys
from pathlib import Path

import best_edges
import gjjv_edges
import rlgt_flips

from tenfold.engine.claim import machine_name

TABLES = ("rlgt", "gjjv", "best")


def main() -> int:
    options = parse()
    report = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": machine_name(),
        "load": os.getloadavg(),
    }
    print(f"{report['date']}; {report['machine']}; load at the start {report['load'][0]:.1f}")
    for table, work in (("rlgt", rlgt), ("gjjv", gjjv), ("best", best_edges.run)):
        if table in options.tables:
            report[table] = work(options)
            if options.json:
                options.json.write_text(json.dumps(report, indent=1))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=[*TABLES], choices=TABLES)
    rlgt_flips.add_options(parser)
    gjjv_edges.add_options(parser)
    best_edges.add_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def rlgt(options: argparse.Namespace) -> list[dict]:
    if not options.rlgt_python.exists():
        print(f"rlgt is left out: there is no {options.rlgt_python}; `make peers` makes one")
        return []
    return rlgt_flips.run(options)


def gjjv(options: argparse.Namespace) -> list[dict]:
    if options.peer_dir is None:
        print("searchMaxSizeMinGirth is left out: no --peer-dir")
        return []
    return gjjv_edges.run(options)


if __name__ == "__main__":
    sys.exit(main())
