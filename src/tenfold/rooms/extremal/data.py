"""The edge-flipping game: many boards side by side, moved forward and back.

A move flips a pair of nodes; what it earns is in `method.py`, what a flip costs in `kernels.py`.
A game is over after T flips or once its best score meets a proven upper bound. The last h flips
must not be repeated. All games of one `Games` have the same number of nodes. Whatever graph is
walked over, also inside a search, is a candidate: the best one of each game is remembered.
"""

# G games, B of them (those that take part in a call), N nodes, P = N (N - 1) / 2 pairs in rows of
# the upper triangle, F features of an ordered pair

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit
from tenfold.rooms.extremal import method
from tenfold.rooms.extremal.alphazero_config import Objective
from tenfold.rooms.extremal.bounds import upper_bound
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.kernels import (
    BARRED,
    EDGE,
    SCORE,
    Board,
    flip,
    graph_of,
    new_board,
    repair,
)
from tenfold.rooms.extremal.model_config import FEATURES, SCALARS
from tenfold.rooms.extremal.problem import Opened, Problem, open_problem

Ints = NDArray[np.int64]
Seen = tuple[NDArray[Any], ...]
"""Positions as replay keeps them: C, plus PRESENT for an edge, uint8 [B, P]; how many flips ago a
pair was flipped, uint8 [B, P]; scalars, float32 [B, S]."""

PRESENT = 128
"""Added to the entry of an edge; counts are cut below it."""

NEVER, LONG_AGO = 0, 255
"""Flips ago: never flipped; this many or more."""
_has_ended = jit(method.has_ended)
_reward_best = jit(method.reward_best)
_reward_final = jit(method.reward_final)


class State(NamedTuple):
    """What there is to a game beside its board; L is its length and room for searching on."""

    last: NDArray[np.int32]
    """[G, P] number of the last flip of a pair, from 1; 0: never."""
    flipped: NDArray[np.int32]
    last_before: NDArray[np.int32]
    best: NDArray[np.int64]
    """[G, L] pairs in the order of their flips, `last` of each before it; best score after it."""
    moves: Ints
    length: Ints
    flips: Ints
    """[G] flips made here, also those that were taken back."""
    record: Ints
    """[G] best score of any graph met."""
    record_table: NDArray[np.int32]
    """[G, P] the table of that graph."""


class Games:
    """Games that have begun; `parts.search.puct.Game`."""

    def __init__(
        self,
        problem: Problem,
        starts: Sequence[Graph],
        *,
        objective: Objective = "best",
        tenure: int = 5,
        ahead: int = 64,
    ) -> None:
        """Lay the starts out.

        Args:
            problem: forbidden subgraphs and number of nodes.
            starts: a graph on that many nodes for each game.
            objective: what is rewarded.
            tenure: h, how many of the last flips must not be repeated.
            ahead: how many flips a search may look beyond the game at hand.
        """
        self.problem, self.nodes = problem, problem.nodes
        self.final = objective == "final"
        self.tenure = tenure
        self.upper: int = upper_bound(problem).value
        self.opened = open_problem(problem)
        self.boards = stack(self.opened, starts)
        self.state = _new_state(self.boards, starts, upper=self.upper, ahead=ahead)

    @property
    def actions(self) -> int:
        """Number of pairs."""
        return int(self.boards.table.shape[1])

    @property
    def scores(self) -> Ints:
        """Score of each game's graph, [G]."""
        return self.boards.facts[:, SCORE]

    @property
    def bests(self) -> Ints:
        """Best score of each game so far, its start included, [G]; searches do not count."""
        found: Ints = self.state.best[np.arange(len(self.state.moves)), self.state.moves]
        return found

    def running(self) -> Ints:
        """Return which games have not ended."""
        over = (self.state.moves >= self.state.length) | (self.bests >= self.upper)
        return np.flatnonzero(~over)

    def legal(self, which: Ints) -> NDArray[np.bool_]:
        """Say which pairs may be flipped, [B, P]."""
        last, moves = self.state.last[which], self.state.moves[which, None]
        tabu = (last > 0) & (moves - last < self.tenure)
        return ~tabu & (self.boards.table[which] < BARRED)

    def apply(self, which: Ints, actions: Ints) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Flip a pair in each of the games; return rewards and which have ended."""
        rewards, ended = np.empty(len(which)), np.empty(len(which), dtype=np.bool_)
        _apply(self.boards, self.state, which, actions, self.final, self.upper, rewards, ended)
        return rewards, ended

    def undo(self, which: Ints) -> None:
        """Take back the last flip of each of the games."""
        _undo(self.boards, self.state, which)

    def observe(self, which: Ints) -> Seen:
        """Return positions in the short form that replay keeps."""
        state = self.state
        last, moves = state.last[which], state.moves[which]
        ago = np.where(last > 0, np.minimum(moves[:, None] - last + 1, LONG_AGO), NEVER)
        below = (self.bests[which] - self.scores[which]) / self.nodes**0.5
        left = 1.0 - moves / state.length[which]
        scalars = np.stack([left, below], axis=1).astype(np.float32)
        return _entries(self.boards.table[which]), ago.astype(np.uint8), scalars

    def records(self, *, least: int = 0) -> list[Graph]:
        """Return the best graph met in each game, repaired, of those that score `least` or more."""
        return [
            repaired(self.opened, self.boards, self.state.record_table[g], key=int(g))
            for g in np.flatnonzero(self.state.record >= least)
        ]


# Boards


def stack(opened: Opened, starts: Sequence[Graph]) -> Board:
    """Return boards whose arrays have one more dimension, the first one."""
    boards = [new_board(opened, start, key=key, listed=1) for key, start in enumerate(starts)]
    return Board(*(np.stack(parts) for parts in zip(*boards, strict=True)))


@jit
def board_at(boards: Any, index: int) -> Any:
    """Return one of many boards; what is done to it is done to them."""
    return Board(
        boards.table[index],
        boards.where[index],
        boards.lists[index],
        boards.sizes[index],
        boards.low[index],
        boards.high[index],
        boards.row[index],
        boards.near[index],
        boards.degree[index],
        boards.buffer[index],
        boards.values[index],
        boards.codegrees[index],
        boards.crossings[index],
        boards.paths[index],
        boards.marks[index],
        boards.facts[index],
        boards.random[index],
    )


def repaired(opened: Opened, boards: Board, table: NDArray[np.int32], *, key: int) -> Graph:
    """Return the graph of a table with an edge of each forbidden subgraph deleted."""
    chosen = table & EDGE != 0
    edges = np.stack([boards.low[0, chosen], boards.high[0, chosen]], axis=1)
    graph = Graph(opened.problem.nodes, edges.astype(np.int32))
    board = new_board(opened, graph, key=key, listed=1)
    repair(board)
    return graph_of(board)


def _new_state(boards: Board, starts: Sequence[Graph], *, upper: int, ahead: int) -> State:
    games, pairs = boards.table.shape
    length = np.array([method.episode_length(upper, start.size) for start in starts])
    room = int(length.max()) + ahead + 1
    score = boards.facts[:, SCORE].copy()
    best = np.zeros((games, room), dtype=np.int64)
    best[:, 0] = score
    return State(
        last=np.zeros((games, pairs), dtype=np.int32),
        flipped=np.zeros((games, room), dtype=np.int32),
        last_before=np.zeros((games, room), dtype=np.int32),
        best=best,
        moves=np.zeros(games, dtype=np.int64),
        length=length,
        flips=np.zeros(games, dtype=np.int64),
        record=score,
        record_table=boards.table.copy(),
    )


@jit
def _apply(
    boards: Any,
    state: Any,
    which: Any,
    actions: Any,
    final: bool,
    upper: int,
    rewards: Any,
    ended: Any,
) -> None:
    for i in range(len(which)):
        g, pair = which[i], actions[i]
        board = board_at(boards, g)
        move, before, best = state.moves[g], board.facts[SCORE], state.best[g, state.moves[g]]
        flip(board, pair)
        after = board.facts[SCORE]
        state.flipped[g, move] = pair
        state.last_before[g, move] = state.last[g, pair]
        state.last[g, pair] = move + 1
        state.best[g, move + 1] = max(best, after)
        state.moves[g] = move + 1
        state.flips[g] += 1
        if after > state.record[g]:
            state.record[g] = after
            state.record_table[g] = board.table
        rewards[i] = _reward_final(before, after) if final else _reward_best(best, after)
        ended[i] = _has_ended(move + 1, state.length[g], max(best, after), upper)


@jit
def _undo(boards: Any, state: Any, which: Any) -> None:
    for i in range(len(which)):
        g = which[i]
        move = state.moves[g] - 1
        pair = state.flipped[g, move]
        flip(board_at(boards, g), pair)
        state.last[g, pair] = state.last_before[g, move]
        state.moves[g] = move


# What a network sees


def _entries(table_BP: NDArray[Any]) -> NDArray[np.uint8]:
    counts = np.minimum(table_BP & (EDGE - 1), PRESENT - 1)
    paths: NDArray[np.uint8] = counts.astype(np.uint8)
    paths[table_BP & EDGE != 0] += PRESENT
    return paths


def as_features(seen: Seen, *, nodes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features of ordered pairs [B, N, N, F] and of whole positions [B, S]."""
    entries_BP, ago_BP, scalars_BS = seen
    pairs_BNNF = np.empty((len(entries_BP), nodes, nodes, FEATURES), dtype=np.float32)
    _write_features(entries_BP, ago_BP, pairs_BNNF)
    assert scalars_BS.shape[1] == SCALARS, "features and networks disagree"
    return pairs_BNNF, scalars_BS


@jit
def _write_features(entries: Any, ago: Any, out: Any) -> None:
    batch, nodes = out.shape[0], out.shape[1]
    root = np.sqrt(nodes)
    for b in range(batch):
        degree = np.zeros(nodes, dtype=np.float32)
        pair = 0
        for u in range(nodes):
            for v in range(u + 1, nodes):
                edge = entries[b, pair] >= PRESENT
                if edge:
                    degree[u] += 1
                    degree[v] += 1
                paths = min(1.0, (entries[b, pair] % PRESENT) / 4)
                recent = 1.0 / ago[b, pair] if ago[b, pair] else 0.0
                for i, j in ((u, v), (v, u)):
                    out[b, i, j, 0] = 1.0 if edge else 0.0
                    out[b, i, j, 1] = recent
                    out[b, i, j, 2] = 0.0
                    out[b, i, j, 3] = paths
                pair += 1
        for u in range(nodes):
            for f in range(4):
                out[b, u, u, f] = 1.0 if f == 2 else 0.0
            for v in range(nodes):
                out[b, u, v, 4] = degree[u] / root
                out[b, u, v, 5] = degree[v] / root
