"""Scored flips per second of our boards beside the GlobalFlipEnvironment of RLGT, one core each.

    python bench/extremal/rlgt_flips.py     about four minutes of one core, after `make peers`

A batch of 64 graphs; every flip is followed by its graph's score, edges - triangles - 4-cycles.
Both sides make the same flips on the same graphs, and their scores are compared. Two kinds:
`search` removes a random edge and adds a random pair that closes nothing, in turn, in graphs to
which nothing can be added; `episode` flips random pairs from the empty graph on, as many as one
episode has. Each goes back the way it came, so that it can be repeated. RLGT's cost does not
depend on the graph; ours does.

Ours twice: `boards` plays board after board, as our searches do; `lockstep` makes one flip in each
of the 64 a call, as an environment must. RLGT three times: see step_rlgt.py. Blocks take turns;
time is processor time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tenfold.engine.claim import machine_name
from tenfold.engine.kernel import jit
from tenfold.engine.rng import stream
from tenfold.rooms.extremal import kernels
from tenfold.rooms.extremal.bounds import upper_bound
from tenfold.rooms.extremal.data import board_at
from tenfold.rooms.extremal.graph import empty
from tenfold.rooms.extremal.kernels import (
    EDGE,
    FREE,
    KEPT,
    SCORE,
    Board,
    add,
    bare,
    below,
    flip,
    remove,
)
from tenfold.rooms.extremal.method import episode_length
from tenfold.rooms.extremal.problem import Problem, open_problem

HERE = Path(__file__).resolve().parent
RLGT = HERE.parent.parent / ".venv-rlgt" / "bin" / "python"
BATCH = 64
KINDS = ("search", "episode")
WAYS = {
    "whole": "rlgt, whole-number products",
    "single": "rlgt, float32 products (BLAS)",
    "difference": "rlgt, difference of one pair",
}
OURS = "tenfold, boards"
BLOCK = 1.0
"""CPU seconds that a block of theirs takes, about; at least one step."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

# T steps, B boards


@bare
def fill(board):
    while board.sizes[FREE]:
        add(board, np.int64(board.lists[FREE, below(board.random, board.sizes[FREE])]))


@bare
def wander(board, pairs):
    """Exchange edges, and note the pairs."""
    for step in range(len(pairs)):
        number = FREE if step % 2 else KEPT
        pair = np.int64(board.lists[number, below(board.random, board.sizes[number])])
        pairs[step] = pair
        if step % 2:
            add(board, pair)
        else:
            remove(board, pair)


@bare
def play(board, pairs, scores):
    for step in range(len(pairs)):
        flip(board, np.int64(pairs[step]))
        scores[step] = board.facts[SCORE]


@jit
def play_one_each(boards, pairs, scores):
    for index in range(len(pairs)):
        board = board_at(boards, index)
        flip(board, np.int64(pairs[index]))
        scores[index] = board.facts[SCORE]


@dataclass
class Game:
    """Graphs, flips that lead back to them, and the scores after each."""

    nodes: int
    boards: list[Board]
    stacked: Board
    actions: np.ndarray
    scores: np.ndarray
    """Both [T, B]."""


def new_game(nodes: int, kind: str, *, steps: int) -> Game:
    opened = open_problem(Problem(nodes=nodes))
    boards = [kernels.new_board(opened, empty(nodes), key=key, listed=1) for key in range(BATCH)]
    if kind == "episode":
        steps = episode_length(upper_bound(opened.problem).value, 0)
        forth_BT = stream(0, "flips", nodes).integers(0, len(boards[0].table), (BATCH, steps))
        forth_BT = forth_BT.astype(np.int32)
    else:
        forth_BT = np.empty((BATCH, steps), dtype=np.int32)
        for board, pairs in zip(boards, forth_BT, strict=True):
            fill(board)
            wander(board, pairs)
            play(board, pairs[::-1].copy(), np.empty(steps, dtype=np.int32))
    actions_TB = np.concatenate([forth_BT, forth_BT[:, ::-1]], axis=1).T.copy()
    scores_TB = np.empty(actions_TB.shape, dtype=np.int32)
    game = Game(nodes, boards, stack(boards), actions_TB, scores_TB)
    play_boards(game)
    return game


def stack(boards: list[Board]) -> Board:
    return Board(*(np.stack(parts) for parts in zip(*boards, strict=True)))


def play_boards(game: Game) -> None:
    for index, board in enumerate(game.boards):
        scores = np.empty(len(game.actions), dtype=np.int32)
        play(board, game.actions[:, index].copy(), scores)
        game.scores[:, index] = scores


def play_lockstep(game: Game) -> None:
    scores = np.empty(BATCH, dtype=np.int32)
    for step, pairs in enumerate(game.actions):
        play_one_each(game.stacked, pairs, scores)
        assert step or (scores == game.scores[0]).all(), "our two ways differ"
    assert (scores == game.scores[-1]).all(), "our two ways differ"


def own_rate(work, game: Game) -> float:
    """Return scored flips per CPU second, repeating the game for half a block."""
    flips, begun = 0, time.thread_time()
    while (spent := time.thread_time() - begun) < BLOCK / 2:
        work(game)
        flips += game.actions.size
    return flips / spent


@dataclass
class Child:
    """RLGT's process with one way to score."""

    way: str
    process: subprocess.Popen
    steps: int = 1
    done: int = 0
    rates: list[float] = field(default_factory=list)

    def ask(self) -> dict:
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"rlgt ({self.way}) ended without an answer; its error is above")
        return json.loads(answer)

    def block(self, game: Game) -> float:
        """Let it make its steps, compare scores, return scored flips per CPU second."""
        self.process.stdin.write(f"{self.steps}\n")
        self.process.stdin.flush()
        answer = self.ask()
        self.done += self.steps
        expected = game.scores[(self.done - 1) % len(game.scores)]
        assert (expected == answer["scores"]).all(), f"rlgt ({self.way}) and ours differ"
        rate = self.steps * BATCH / answer["seconds"]
        self.steps = max(1, round(BLOCK * rate / BATCH))
        return rate

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def start(python: Path, way: str, setting: Path) -> Child:
    command = [str(python), str(HERE / "step_rlgt.py"), str(setting), way]
    pipe = subprocess.PIPE
    environment = os.environ | ONE_THREAD
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    return Child(way, child)


def compare(python: Path, nodes: int, kind: str, *, rounds: int) -> list[dict]:
    game = new_game(nodes, kind, steps=500)
    first = [(board.table & EDGE != 0).astype(np.uint8) for board in game.boards]
    with tempfile.TemporaryDirectory() as scratch:
        setting = Path(scratch) / "game.npz"
        np.savez(setting, start=np.stack(first), actions=game.actions, nodes=nodes)
        children = [start(python, way, setting) for way in WAYS]
        try:
            rates = take_turns(game, children, rounds=rounds)
        finally:
            for child in children:
                child.stop()
    base = rates[OURS]
    return [row(who, own, base, nodes=nodes, kind=kind) for who, own in rates.items()]


def take_turns(game: Game, children: list[Child], *, rounds: int) -> dict[str, list[float]]:
    """Return the rates of every side, round by round; the first rounds warm up."""
    rates = {OURS: [], "tenfold, lockstep": []} | {WAYS[child.way]: [] for child in children}
    play_lockstep(game)
    for child in children:
        child.ask()
        child.block(game)
        child.block(game)
    for _ in range(rounds):
        rates[OURS].append(own_rate(play_boards, game))
        rates["tenfold, lockstep"].append(own_rate(play_lockstep, game))
        for child in children:
            rates[WAYS[child.way]].append(child.block(game))
    return rates


def row(who: str, rates: list[float], base: list[float], *, nodes: int, kind: str) -> dict:
    ratios = [ours / theirs for ours, theirs in zip(base, rates, strict=True)]
    return {
        "nodes": nodes,
        "kind": kind,
        "who": who,
        "flips_per_cpu_second": statistics.median(rates),
        "rates": rates,
        "boards_are_faster_by": statistics.median(ratios),
    }


HEADING = """\
| n | flips | | scored flips / CPU s | range | boards are faster by |
|---|---|---|---|---|---|"""


def line(row: dict) -> str:
    low, high = min(row["rates"]), max(row["rates"])
    ratio = f"{row['boards_are_faster_by']:,.1f}" if row["who"] != OURS else ""
    return (
        f"| {row['nodes']} | {row['kind']} | {row['who']} | {row['flips_per_cpu_second']:,.0f} | "
        f"{low:,.0f}-{high:,.0f} | {ratio} |"
    )


def run(options: argparse.Namespace) -> list[dict]:
    """Print a table and return its rows."""
    print(HEADING, flush=True)
    rows = []
    for nodes in options.flip_nodes:
        for kind in KINDS:
            found = compare(options.rlgt_python, nodes, kind, rounds=options.rounds)
            print("\n".join(line(row) for row in found), flush=True)
            rows += found
    return rows


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rlgt-python", type=Path, default=RLGT, metavar="PYTHON", help="of its environment"
    )
    parser.add_argument("--flip-nodes", type=int, nargs="+", default=[20, 64, 128])
    parser.add_argument("--rounds", type=int, default=5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    load = os.getloadavg()
    print(f"{machine_name()}; load at the start {load[0]:.1f}")
    rows = run(options)
    if options.json:
        report = {"machine": machine_name(), "load": load, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
