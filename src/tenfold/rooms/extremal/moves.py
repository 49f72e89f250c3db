"""One piece of a ladder: a start on some number of nodes, some flips, the graph that came of it.

A piece holds everything that it depends on, its start as text, so that it can run in any thread,
process or host, and again after a kill with the same result (if its budget is counted in flips).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tenfold.engine import rng
from tenfold.rooms.extremal import local
from tenfold.rooms.extremal.codecs import decode_graph, encode_sparse6
from tenfold.rooms.extremal.graph import Graph, empty, extend
from tenfold.rooms.extremal.problem import Opened, Problem, open_problem, resize
from tenfold.rooms.extremal.starts import (
    build,
    open_around,
    read_cut,
    shrink_from,
)

Kind = Literal["cut", "up", "down", "polish", "anew"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""A cut amalgam, a smaller or a larger archived graph, one of the same size, or nothing."""

CHUNK = 20_000
"""Flips between looks at the clock."""
KEPT_SHARES = (0.1, 0.9)
"""Least and largest share of a piece's flips for which a cut amalgam is kept as it is, before all
its edges may move; drawn for each piece."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What one task of a ladder does."""

    number: int
    nodes: int
    kind: Kind
    source: str
    """Name of a cut amalgam, or a graph as sparse6; empty for `anew`."""
    origin: str
    """What the archive says that it began from."""
    seed: int
    flips: int
    """Budget."""
    seconds: float = 0.0
    """Time limit; 0: none, and then the result depends on the piece alone."""

    @property
    def key(self) -> str:
        """Name as a file's."""
        return f"{self.number:07d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a piece gave."""

    graph: Graph | None
    """The best graph; None if none has the least degree that is asked."""
    flips: int
    seconds: float


def run_piece(piece: Piece, problem: Problem) -> Outcome:
    """Search from the start of a piece."""
    began = time.monotonic()
    opened = open_problem(resize(problem, piece.nodes))
    clock = _Clock(began, piece)
    found, flips = _search(piece, opened, clock)
    fits = found.degrees().min() >= opened.problem.min_degree
    return Outcome(graph=found if fits else None, flips=flips, seconds=time.monotonic() - began)


def run_task(task: dict[str, Any]) -> dict[str, Any]:
    """Run a piece given as plain data, for other processes and hosts."""
    outcome = run_piece(Piece(**task["piece"]), Problem(**task["problem"]))
    return {
        "graph": encode_sparse6(outcome.graph) if outcome.graph is not None else "",
        "flips": outcome.flips,
        "seconds": outcome.seconds,
    }


@dataclass(frozen=True, slots=True)
class _Clock:
    began: float
    piece: Piece

    def over(self, share: float) -> bool:
        """Say whether this share of the time limit has passed."""
        limit = self.piece.seconds * share
        return bool(limit) and time.monotonic() - self.began >= limit


def _search(piece: Piece, opened: Opened, clock: _Clock) -> tuple[Graph, int]:
    start, flips = _start(piece, opened), 0
    if piece.kind == "cut":
        base = build(read_cut(piece.source))
        kept = open_around(base, opened)
        share = float(rng.stream(piece.seed, "kept", piece.number).uniform(*KEPT_SHARES))
        start, flips = _improve(
            piece, kept, base, clock, flips=int(share * piece.flips), share=share,
            patience=30 * 1_000,
        )  # fmt: skip
    patience = 300_000 if piece.kind == "anew" else 0
    found, more = _improve(
        piece, opened, start, clock, flips=piece.flips - flips, share=1.0, patience=patience
    )
    least = opened.problem.min_degree
    keeps = found.size >= start.size or start.degrees().min() < least
    return (found if keeps else start), flips + more


def _start(piece: Piece, opened: Opened) -> Graph:
    nodes = opened.problem.nodes
    if piece.kind in ("cut", "anew"):
        return empty(nodes)
    graph = decode_graph(piece.source)
    if graph.nodes > nodes:
        return shrink_from(graph, nodes, generator=rng.stream(piece.seed, "shrink", piece.number))
    return extend(graph, nodes)


def _improve(
    piece: Piece,
    opened: Opened,
    start: Graph,
    clock: _Clock,
    *,
    flips: int,
    share: float,
    patience: int,
) -> tuple[Graph, int]:
    """Run ILS from a start; return the best graph and the flips it took."""
    chain = local.new_chain(opened, start, seed=piece.seed, number=piece.number, patience=patience)
    before = local.flips_of(chain)
    while (left := flips - (local.flips_of(chain) - before)) > 0 and not clock.over(share):
        local.run("ils", chain, min(left, CHUNK))
    return local.best_graph(chain, opened), local.flips_of(chain) - before
