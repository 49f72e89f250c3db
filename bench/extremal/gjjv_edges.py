"""Beside searchMaxSizeMinGirth of Goedgebeur, Jooken, Joret and Van den Eede, from the empty graph.

    python bench/extremal/gjjv_edges.py --peer-dir DIR                   12 minutes of one core
    python bench/extremal/gjjv_edges.py --peer-dir DIR --peer-nodes 100 --seconds 10 --block 2

DIR is a checkout of github.com/AGT-Kulak/searchMaxSizeMinGirth in which its own `make` has been
run; it is GPL-3, and only the finished program is started. It runs in its two published settings,
deleting up to 3 edges an iteration or up to n / 10. Its process is stopped while ours works and
goes on afterwards, so that blocks take turns. Time is each side's own processor time (ours of the
one thread that searches). Needs Linux.

How edge changes are counted. Ours: every edge added or removed on the board, those taken back
included. Theirs: it prints its graph once an iteration, before it deletes 1 to d edges, each number
equally often, and adds edges again until none fits. So by iteration i it has deleted
D = (i - 1) (d + 1) / 2 edges in the mean (within 0.5 % after 10,000) and added D and as many as the
graph has, exactly.
"""

import argparse
import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from own_search import OwnSearch, warm_up

from tenfold.engine.claim import machine_name

WIDTHS = (64, 128, 192, 256)
"""Its program is built for so many nodes at most."""
FOREVER = 2_000_000_000
FROM_GRAPH6 = bytes((value - 63) % 256 for value in range(256))


@dataclass(frozen=True)
class Setting:
    """How many edges an iteration deletes at most, and for how many it leaves the others alone."""

    deletes: int
    recency: int

    @property
    def name(self) -> str:
        return f"searchMaxSizeMinGirth, d = {self.deletes}, R = {self.recency}"


def settings(nodes: int) -> list[Setting]:
    """Return the two of its own scripts."""
    return [Setting(3, nodes), Setting(max(nodes // 10, 3), nodes // 3)]


@dataclass
class Tally:
    """What a side has done; a block is one of work between two turns."""

    name: str
    seconds: float = 0.0
    changes: float = 0.0
    edges: int = 0
    rates: list[float] = field(default_factory=list)

    def note(self, *, seconds: float, changes: float, edges: int) -> None:
        self.rates.append((changes - self.changes) / (seconds - self.seconds))
        self.seconds, self.changes, self.edges = seconds, changes, edges


class Ours:
    def __init__(self, nodes: int, *, seed: int) -> None:
        self.tally = Tally("tenfold, ils")
        self.search = OwnSearch(nodes, "empty", seed=seed)

    def work(self, until: float) -> None:
        self.search.go_on(until)
        done = self.search
        self.tally.note(seconds=done.seconds, changes=done.flips, edges=done.edges)

    def stop(self) -> None:
        pass


class Theirs:
    """Its process, stopped between blocks, and a thread that reads what it prints."""

    def __init__(self, folder: Path, nodes: int, setting: Setting) -> None:
        self.tally, self.setting = Tally(setting.name), setting
        self.iterations = self.edges = self.best = 0
        self.header = 1 if nodes <= 62 else 4
        command = [
            str(program(folder, nodes)),
            *(f"-n{nodes}", "-g5", "-p0.5", f"-d{setting.deletes}", f"-R{setting.recency}"),
            f"-i{FOREVER}",
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=1 << 16
        )
        self.process.send_signal(signal.SIGSTOP)
        self.clock = clock_of(self.process.pid)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        next(self.process.stdout)  # the empty start
        for graph6 in self.process.stdout:
            bits = graph6[self.header : -1].translate(FROM_GRAPH6)
            self.edges = int.from_bytes(bits).bit_count()
            self.best = max(self.best, self.edges)
            self.iterations += 1

    def work(self, until: float) -> None:
        self.process.send_signal(signal.SIGCONT)
        while time.clock_gettime(self.clock) < until:
            if self.process.poll() is not None:
                sys.exit(f"{self.tally.name} ended by itself")
            time.sleep(0.02)
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)  # until what it printed is read
        deleted = max(0, self.iterations - 1) * (self.setting.deletes + 1) / 2
        self.tally.note(
            seconds=time.clock_gettime(self.clock),
            changes=2 * deleted + self.edges,
            edges=self.best,
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()


def program(folder: Path, nodes: int) -> Path:
    """Return its program for so many nodes, or end with what is missing."""
    width = next(width for width in WIDTHS if nodes <= width)
    path = folder.resolve() / f"searchMaxSizeMinGirth{width}"
    if not path.exists():
        sys.exit(f"there is no {path}; run `make` in {folder}")
    return path


def clock_of(pid: int) -> int:
    """Return the clock of another process' processor time."""
    clock = ctypes.c_int()
    fault = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    assert fault == 0, f"process {pid} has no clock ({os.strerror(fault)})"
    return clock.value


def compare(folder: Path, nodes: int, *, seconds: float, block: float, seed: int) -> list[dict]:
    """Let ours and theirs take turns until each has spent its CPU seconds."""
    sides = [Ours(nodes, seed=seed)]
    try:
        sides += [Theirs(folder, nodes, setting) for setting in settings(nodes)]
        for turn in range(1, round(seconds / block) + 1):
            for side in sides:
                side.work(until=turn * block)
    finally:
        for side in sides:
            side.stop()
    ours = sides[0].tally
    return [row(side.tally, ours, nodes=nodes) for side in sides]


def row(tally: Tally, ours: Tally, *, nodes: int) -> dict:
    """Return the medians over blocks, and of the ratio to ours in the same turn."""
    ratios = [own / their for own, their in zip(ours.rates, tally.rates, strict=True)]
    return {
        "nodes": nodes,
        "who": tally.name,
        "changes_per_cpu_second": statistics.median(tally.rates),
        "rates": tally.rates,
        "ours_is_faster_by": statistics.median(ratios),
        "edges": tally.edges,
        "cpu_seconds": tally.seconds,
    }


HEADING = """\
| n | | changes / CPU s | range | ours is faster by | best edges | CPU s |
|---|---|---|---|---|---|---|"""


def line(row: dict) -> str:
    low, high = min(row["rates"]), max(row["rates"])
    ratio = f"{row['ours_is_faster_by']:.0f}" if not row["who"].startswith("tenfold") else ""
    return (
        f"| {row['nodes']} | {row['who']} | {row['changes_per_cpu_second']:,.0f} | "
        f"{low:,.0f}-{high:,.0f} | {ratio} | {row['edges']} | {row['cpu_seconds']:.1f} |"
    )


def run(options: argparse.Namespace) -> list[dict]:
    """Print a table and return its rows."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no stopped process stays
    warm_up()
    print(HEADING, flush=True)
    rows = []
    for nodes in options.peer_nodes:
        rows += compare(
            options.peer_dir,
            nodes,
            seconds=options.seconds,
            block=options.block,
            seed=options.seed,
        )
        print("\n".join(line(row) for row in rows if row["nodes"] == nodes), flush=True)
    return rows


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer-dir", type=Path, metavar="DIR", help="searchMaxSizeMinGirth, built")
    parser.add_argument("--peer-nodes", type=int, nargs="+", default=[100, 150])
    parser.add_argument("--seconds", type=float, default=60, help="CPU seconds of each side")
    parser.add_argument("--block", type=float, default=10, help="CPU seconds between turns")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.peer_dir is None:
        parser.error("--peer-dir is needed")
    load = os.getloadavg()
    print(f"{machine_name()}; load at the start {load[0]:.1f}")
    rows = run(options)
    if options.json:
        report = {"machine": machine_name(), "load": load, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
