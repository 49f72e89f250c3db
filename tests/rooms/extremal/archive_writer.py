"""Processes that put random trees into one archive; `--die` kills them in the midst of a line.

Called as a program with a folder and seeds, this file forks a writer for each seed, all at once,
and writes their exit codes to stdout. Forking loads the compiled loops once for all of them.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from tenfold.rooms.extremal import ledger
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.canonical import canonical_form
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.problem import Problem

TREES = 12
KEEP = 1_000


def trees(seed):
    """Return random trees on eight and nine nodes; the first is a star for every seed."""
    rng = np.random.default_rng(seed)
    found = [from_edges(8, [(0, v) for v in range(1, 8)])]
    for number in range(TREES):
        nodes = 8 + number % 2
        found.append(from_edges(nodes, [(int(rng.integers(v)), v) for v in range(1, nodes)]))
    return found


def write(folder, seed, *, die):
    archive = Archive(folder, Problem(nodes=8), keep=KEEP)
    if die:  # the next line is written in half, and no time is left to flush it
        spell = ledger._spell
        ledger._spell = lambda record: spell(record)[:-30]
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    for tree in trees(seed):
        archive.put(tree, method="random", seed=seed)


def fork_writer(folder, seed, *, die):
    child = os.fork()
    if child:
        return child
    try:
        write(folder, seed, die=die)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    canonical_form(trees(0)[0])
    place, *words = sys.argv[1:]
    seeds = [int(word) for word in words if word != "--die"]
    children = [fork_writer(Path(place), seed, die="--die" in words) for seed in seeds]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.stdout.write(json.dumps(codes))
