"""A hunt over many sizes at once: up, down and across, where gains come.

Best[m] for all m is the archive. A piece takes a start for some n (a cut amalgam, the best graph
of n - k or n + k with nodes added or deleted, k = 1 to 4, or one of n itself) and searches; what
it finds goes into the archive at once. A bandit draws the next piece: each pair of a size and a
kind of start has a hope, the running mean of edges gained a piece; where a neighbour in size has
improved, hope rises to what the neighbour promises.

A piece is chosen from the state after the one `config.Ladder.window` before it, and results are
taken in order, so that any number of workers gives the same hunt if flips are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.parts.search.curriculum import LARGEST_STEP
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.codecs import encode_sparse6
from tenfold.rooms.extremal.moves import KINDS, Kind, Outcome, Piece
from tenfold.rooms.extremal.starts import Cut, cuts

if TYPE_CHECKING:
    from torch import Tensor

REACH = LARGEST_STEP
"""Most sizes between a start and its goal."""
FLOOR = 0.02
"""Hope that every size and kind keeps, in edges a piece."""
MEMORY = 0.5
"""Weight of the newest piece in the running mean."""
LENGTHS, SHARES = (1, 2, 4, 8), np.array([8, 4, 2, 1]) / 15
"""Pieces are so many times as long as `flips`, and equally many flips go into each length: most
gains come at once, some (230 edges on 64 nodes) need ten million flips in one chain."""
CUTS = 16
"""Cut amalgams that are tried at each size."""


def mean_length() -> float:
    """Return how long a piece is in the mean, in short pieces."""
    return float(np.dot(LENGTHS, SHARES))


class Hunt:
    """What a ladder knows: the archive, hopes, and pieces under way; `Checkpointable`."""

    def __init__(
        self,
        archive: Archive,
        *,
        first: int,
        last: int,
        seed: int,
        flips: int,
        seconds: float = 0.0,
        reopen: Callable[[int], Archive] | None = None,
    ) -> None:
        """Begin a hunt.

        Args:
            archive: where graphs are read and put.
            first: fewest nodes.
            last: most nodes.
            seed: of all choices.
            flips: of a short piece; some are 2, 4 and 8 times as long.
            seconds: time limit of a piece, 0: none.
            reopen: gives the archive as it was at a byte, for exact resuming.
        """
        self.archive = archive
        self.first, self.last = first, last
        self.seed, self.flips, self.seconds = seed, flips, seconds
        self.structured = archive.problem.family() == "forbid C3,C4"
        self._reopen = reopen
        sizes = last - first + 1
        self.hope = np.zeros((sizes, len(KINDS)))
        self.tried = np.zeros((sizes, len(KINDS)), dtype=np.int64)
        self.gains = np.zeros(len(KINDS), dtype=np.int64)
        self.next_number = 0
        self.total_flips = 0
        self.pending: deque[Piece] = deque()
        self._set_first_hopes()

    def _set_first_hopes(self) -> None:
        """Structured starts first; where an archive has graphs, their neighbours too."""
        self.hope[:, KINDS.index("cut")] = 4.0 if self.structured else 0.0
        self.hope[:, KINDS.index("anew")] = 1.0
        for nodes in self.archive.nodes():
            if self.first <= nodes <= self.last:
                self.hope[nodes - self.first, KINDS.index("cut")] *= 0.1
            self._tell_neighbours(nodes)

    # Choosing

    def choose(self) -> Piece:
        """Draw the next piece."""
        number = self.next_number
        self.next_number += 1
        generator = rng.stream(self.seed, "ladder", number)
        weights = np.where(self._possible(), self.hope + FLOOR, 0.0).ravel()
        place = int(generator.choice(len(weights), p=weights / weights.sum()))
        nodes, kind = self.first + place // len(KINDS), KINDS[place % len(KINDS)]
        source, origin = self._source(nodes, kind, generator)
        # Hope is spent when it is used, so that pieces under way at a time differ.
        self.hope[place // len(KINDS), place % len(KINDS)] *= 0.7
        return Piece(
            number=number, nodes=nodes, kind=kind, source=source, origin=origin, seed=self.seed,
            flips=int(self.flips * generator.choice(LENGTHS, p=SHARES)), seconds=self.seconds,
        )  # fmt: skip

    def _possible(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        have = set(self.archive.nodes())
        rows = []
        for nodes in range(self.first, self.last + 1):
            near = range(1, REACH + 1)
            rows.append(
                [
                    self.structured and bool(cuts(nodes)),
                    any(nodes - k in have for k in near),
                    any(nodes + k in have for k in near),
                    nodes in have,
                    nodes <= 64 or not (self.structured and cuts(nodes)),
                ]
            )
        return np.array(rows)

    def _source(self, nodes: int, kind: Kind, generator: np.random.Generator) -> tuple[str, str]:
        if kind == "anew":
            return "", "empty"
        if kind == "cut":
            cut = self._draw_cut(nodes, generator)
            return cut.name, cut.name
        have = set(self.archive.nodes())
        sign = {"up": -1, "down": 1, "polish": 0}[kind]
        steps = [k for k in range(1, REACH + 1) if nodes + sign * k in have] if sign else [0]
        share = np.array([1.0 / max(k, 1) ** 2 for k in steps])
        step = int(generator.choice(steps, p=share / share.sum()))
        finds = self.archive.best(nodes + sign * step)
        find = finds[int(generator.integers(len(finds)))]
        change = {-1: f" and {step} more", 1: f" less {step}", 0: ""}[sign]
        root = find.start.split(" < ")[-1]
        return encode_sparse6(find.graph), f"{find.graph.nodes} nodes{change} < {root}"

    def _draw_cut(self, nodes: int, generator: np.random.Generator) -> Cut:
        """Take the cut that reaches farthest at first, later mostly one of the next ones."""
        found = cuts(nodes)[:CUTS]
        if not self.tried[nodes - self.first, KINDS.index("cut")]:
            return found[0]
        return found[min(int(generator.geometric(0.2)), len(found)) - 1]

    # Learning

    def take(self, piece: Piece, outcome: Outcome) -> int:
        """Put what a piece found into the archive, adjust hopes; return the edges gained."""
        row, column = piece.nodes - self.first, KINDS.index(piece.kind)
        before = self.archive.edges(piece.nodes)
        found = outcome.graph.size if outcome.graph is not None else -1
        if outcome.graph is not None:
            self.archive.put(
                outcome.graph,
                method=f"ladder {piece.kind}",
                start=piece.origin,
                seed=piece.seed,
                flips=outcome.flips,
                seconds=outcome.seconds,
            )
        gained = max(0, found - before) if before >= 0 else 0
        self.tried[row, column] += 1
        self.total_flips += outcome.flips
        self.gains[column] += gained
        if piece.kind == "cut" and self.tried[row, column] < 3:
            self.hope[row, column] = max(self.hope[row, column], 1.0)
        else:
            self.hope[row, column] += MEMORY * (gained - self.hope[row, column])
        if found > before:
            self._tell_neighbours(piece.nodes)
        return gained

    def refresh(self) -> None:
        """Read what others have put into the archive, and hope for its neighbours."""
        for find in self.archive.refresh():
            self._tell_neighbours(find.graph.nodes)

    def _tell_neighbours(self, nodes: int) -> None:
        """Raise hopes of sizes for which the graph on `nodes` nodes is a new start."""
        edges = self.archive.edges(nodes)
        mean = 2 * edges / nodes
        for k in range(1, REACH + 1):
            self._raise(nodes - k, "down", edges - int(0.97 * k * mean), share=1 / k)
            self._raise(nodes + k, "up", edges + int(0.5 * k * mean), share=1 / k)
        self._raise(nodes, "polish", edges, share=0.5)

    def _raise(self, nodes: int, kind: Kind, expected: int, *, share: float) -> None:
        if not self.first <= nodes <= self.last:
            return
        promise = share * min(8.0, max(0.3, expected - self.archive.edges(nodes)))
        row, column = nodes - self.first, KINDS.index(kind)
        self.hope[row, column] = max(self.hope[row, column], promise)

    # Saving

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return hopes, counts, and the pieces under way."""
        import torch

        tensors = {
            "hope": torch.from_numpy(self.hope.copy()),
            "tried": torch.from_numpy(self.tried.copy()),
            "gains": torch.from_numpy(self.gains.copy()),
        }
        values = {
            "next_number": self.next_number,
            "total_flips": self.total_flips,
            "offset": self.archive.offset(),
            "pending": [asdict(piece) for piece in self.pending],
        }
        return tensors, values

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned; the archive is seen as it was then, if asked for."""
        self.hope = tensors["hope"].numpy().copy()
        self.tried = tensors["tried"].numpy().copy()
        self.gains = tensors["gains"].numpy().copy()
        self.next_number = int(values["next_number"])
        self.total_flips = int(values["total_flips"])
        self.pending = deque(Piece(**piece) for piece in values["pending"])
        if self._reopen is not None:
            self.archive = self._reopen(int(values["offset"]))
