"""Edge changes per second and core of the engine of moves, beside what they must cost at least.

    python bench/kernels/extremal_flips.py              about a minute, most of it compilation
    python bench/kernels/extremal_flips.py --rounds 50  steadier on a busy machine

Every flip changes the table at the ends of all paths of 2 and 3 edges through its edge, about
3 d^2 + 2 d places. `changes` counts them, in the table itself. Two floors are timed: a bare loop
that adds one at as many random places of a table of that size (`bare`), which is what memory
allows, and the sheet's count of one nanosecond a place (`counted`). Ours draws a random edge,
removes it, draws a random free pair, adds it, and keeps lists, degrees and score, in graphs of
girth 5 that are near the best known. Blocks of ours and of the bare loop take turns, so that
both share whatever else the machine does; times are of the thread's own processor time.
"""

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np

from tenfold.engine.kernel import bare
from tenfold.engine.rng import stream
from tenfold.rooms.extremal import kernels
from tenfold.rooms.extremal.amalgam import read_amalgam
from tenfold.rooms.extremal.graph import Graph, extend
from tenfold.rooms.extremal.kernels import FREE, KEPT, Board, add, below, remove
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem, open_problem

STARTS = {
    50: "hoffman-singleton",
    100: "amalgam:C,q=7,k=7,l=7",
    150: "amalgam:D,q=9,k=13,l=12",
    200: "amalgam:L,q=11,k=10,l=10",
}
FLIPS = 2_000
"""Flips a block."""


@bare
def fill(board):
    while board.sizes[FREE]:
        add(board, np.int64(board.lists[FREE, below(board.random, board.sizes[FREE])]))


@bare
def exchange(board, flips):
    """Remove a random edge, add a random free pair, over and over."""
    for _ in range(flips // 2):
        remove(board, np.int64(board.lists[KEPT, below(board.random, board.sizes[KEPT])]))
        add(board, np.int64(board.lists[FREE, below(board.random, board.sizes[FREE])]))


@bare
def change_at_random(table, places, rounds):
    for _ in range(rounds):
        for i in range(len(places)):
            table[places[i]] += np.int32(1)


@dataclass
class Measured:
    """Nanoseconds a flip."""

    nodes: int
    degree: float
    changes: float
    ours: list[float]
    bare: list[float]

    def row(self) -> str:
        ours, floor = min(self.ours), min(self.bare)
        share = statistics.median(b / o for b, o in zip(self.bare, self.ours, strict=True))
        return (
            f"| {self.nodes} | {self.degree:.2f} | {self.changes:.0f} | {1e3 / floor:.2f} | "
            f"{1e3 / self.changes:.2f} | {1e3 / ours:.2f} | {share:.0%} | "
            f"{self.changes / ours:.0%} |"
        )


def start(nodes: int) -> Graph:
    name = STARTS[nodes]
    base = read_amalgam(name).base if name.startswith("amalgam") else construct(name)
    return extend(base, nodes)


def open_board(nodes: int, listed: int) -> Board:
    opened = open_problem(Problem(nodes=nodes))
    board = kernels.new_board(opened, start(nodes), key=1, listed=listed)
    fill(board)
    exchange(board, 2 * FLIPS)
    return board


def count_changes(board: Board) -> float:
    """Return how many places of the table a flip of an edge changes, as a mean of 200."""
    rng = stream(0, "changes")
    total = 0
    for _ in range(200):
        pair = int(board.lists[KEPT, rng.integers(board.sizes[KEPT])])
        before = board.table.copy()
        remove(board, pair)
        change = np.abs(board.table - before)
        change[pair] = 0
        total += int(change.sum())
        add(board, pair)
    return total / 200


def time_block(work, flips: float) -> float:
    begun = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begun) / flips


def measure(nodes: int, *, listed: int, rounds: int) -> Measured:
    board = open_board(nodes, listed)
    changes = count_changes(board)
    # Ten flips' places at a time, so that no order of them can be learnt.
    places = stream(1, "places").integers(0, len(board.table), round(10 * changes))
    places, table = places.astype(np.uint32), board.table.copy()
    found = Measured(nodes, 2 * board.facts[kernels.EDGES] / nodes, changes, [], [])
    for i in range(rounds + 1):
        ours = time_block(lambda: exchange(board, FLIPS), FLIPS)
        floor = time_block(lambda: change_at_random(table, places, FLIPS // 10), FLIPS)
        if i:  # the first compiles and warms up
            found.ours.append(ours)
            found.bare.append(floor)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[*STARTS], choices=[*STARTS])
    parser.add_argument("--listed", type=int, default=1, choices=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(
        "| n | degree | changes a flip | bare M/s | counted M/s | ours M/s | of bare | of counted |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for nodes in arguments.nodes:
        print(measure(nodes, listed=arguments.listed, rounds=arguments.rounds).row(), flush=True)


if __name__ == "__main__":
    main()
