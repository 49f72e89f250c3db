"""One chain of a search: something that goes on for some flips and knows its best graph.

A board walker is a chain of `local`; an orbit walker flips whole orbits of a group (`orbits`).
Both go on exactly from a saved state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import rng
from tenfold.engine.config import Json
from tenfold.rooms.extremal import local
from tenfold.rooms.extremal.graph import Graph, empty, from_edges
from tenfold.rooms.extremal.groups import Action
from tenfold.rooms.extremal.openings import Opening
from tenfold.rooms.extremal.orbits import search_orbits
from tenfold.rooms.extremal.problem import Opened
from tenfold.rooms.extremal.starts import open_around

if TYPE_CHECKING:
    from torch import Tensor

KEPT_IDLE = 1_500_000
"""Flips without gain after which the edges of an amalgam may move too."""
KEPT_PATIENCE = 30_000
"""Flips without gain before the free pairs around an amalgam are filled anew."""
SCRATCH = ("buffer", "values", "paths", "marks")
"""Arrays of a board that nothing depends on between two flips."""
ANEW_EVERY = 8
"""An orbit walker begins every eighth round from its opening."""


class Walker(Protocol):
    """One chain of a search."""

    opening: Opening

    def advance(self, flips: int) -> None:
        """Go on for about so many flips."""

    def news(self) -> Graph | None:
        """Return the best graph if it is legal and better than when this was last asked."""

    @property
    def flips(self) -> int:
        """Flips so far."""

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything that later flips depend on."""

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""


class BoardWalker:
    """A chain of local search, perhaps at first with the edges of its start kept."""

    def __init__(
        self,
        opened: Opened,
        opening: Opening,
        *,
        method: local.Method,
        seed: int,
        number: int,
        patience: int,
        tenure: int,
        target: int,
    ) -> None:
        self.opening = opening
        self.method = method
        self._seed, self._number = seed, number
        self._patience, self._tenure, self._target = patience, tenure, target
        self._all = opened
        self._kept = open_around(opening.graph, opened) if opening.kept else None
        self._known = -1
        self._before = self._gained_at = 0
        self._lay_out(self._kept or opened, opening.graph)
        local.run(method, self.chain, 0)  # compiles, before a clock runs

    def _lay_out(self, opened: Opened, start: Graph) -> None:
        around = opened is self._kept
        self._opened = opened
        self.chain = local.new_chain(
            opened,
            start,
            seed=self._seed,
            number=2 * self._number + (self._kept is not None and not around),
            method=self.method,
            tenure=self._tenure,
            patience=KEPT_PATIENCE if around else self._patience,
            target=self._target,
        )
        self._first = local.flips_of(self.chain)

    @property
    def flips(self) -> int:
        """Flips so far, without those that laid out the start."""
        return self._before + local.flips_of(self.chain) - self._first

    def advance(self, flips: int) -> None:
        """Go on for about so many flips; let go of kept edges when nothing is gained."""
        around = self._kept is not None and self._opened is self._kept
        if around and self.flips - self._gained_at > KEPT_IDLE:
            self._before = self.flips
            self._lay_out(self._all, local.best_graph(self.chain, self._opened))
        before = self.chain.facts[local.BEST]
        local.run(self.method, self.chain, flips)
        if self.chain.facts[local.BEST] > before:
            self._gained_at = self.flips

    def news(self) -> Graph | None:
        """Return the best graph if it is legal and better than when this was last asked."""
        value = int(self.chain.facts[local.BEST])
        if value <= self._known:
            return None
        self._known = value
        graph = local.best_graph(self.chain, self._opened)
        if graph.degrees().min() >= self._all.problem.min_degree:
            return graph
        if value >= self.chain.facts[local.TARGET]:  # so that it does not rest on an illegal graph
            self.chain.facts[local.TARGET] = value + 1
        return None

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return all arrays of the chain."""
        import torch

        tensors = {name: torch.from_numpy(_plain(array)) for name, array in _arrays(self.chain)}
        for row, size in zip(tensors["board/lists"], self.chain.board.sizes, strict=True):
            row[int(size) :] = 0  # what was never written there differs from process to process
        return tensors, {
            "around": self._opened is self._kept,
            "known": self._known,
            "before": self._before,
            "first": self._first,
            "gained_at": self._gained_at,
        }

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over all arrays of the chain."""
        opened = self._kept if values["around"] else self._all
        assert opened is not None, "only a walker with a kept start is saved around one"
        self._lay_out(opened, empty(opened.problem.nodes))
        for name, array in _arrays(self.chain):
            array[...] = tensors[name].numpy().view(array.dtype)
        self._known, self._before = int(values["known"]), int(values["before"])
        self._first, self._gained_at = int(values["first"]), int(values["gained_at"])


def _arrays(chain: local.Chain) -> list[tuple[str, NDArray[Any]]]:
    """List the arrays of a chain and of its board by name."""
    board = chain.board
    kept = [name for name in board._fields if name not in SCRATCH]
    on_board = [(f"board/{name}", getattr(board, name)) for name in kept]
    return on_board + [(name, getattr(chain, name)) for name in chain._fields if name != "board"]


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in a type that every version of torch and safetensors knows."""
    copy = array.copy()
    return copy.view(np.int64) if copy.dtype == np.uint64 else copy


class OrbitWalker:
    """A search among the graphs that a group leaves as they are, round after round."""

    def __init__(
        self,
        opened: Opened,
        action: Action,
        opening: Opening,
        *,
        seed: int,
        number: int,
        target: int,
    ) -> None:
        self.opening = opening
        self._opened, self._action = opened, action
        self._seed, self._number, self._target = seed, number, target
        self._best = opening.graph
        self._known = -1
        self._round = 0
        self.flips = 0

    def advance(self, flips: int) -> None:
        """Search from the best graph, every so often from the opening."""
        anew = self._round % ANEW_EVERY == 0
        found = search_orbits(
            self._opened,
            self._action,
            flips=flips,
            seed=rng.key(self._seed, "orbits", self._number, self._round) % 2**63,
            target=self._target,
            start=self.opening.graph if anew else self._best,
        )
        self._round += 1
        self.flips += flips
        if self._round == 1 or self._worth(found) > self._worth(self._best):
            self._best = found

    def _worth(self, graph: Graph) -> tuple[bool, int]:
        """Rank graphs that have the least degree before all others, then by edges."""
        return graph.degrees().min() >= self._opened.problem.min_degree, graph.size

    def news(self) -> Graph | None:
        """Return the best graph if it is legal and better than when this was last asked."""
        legal, size = self._worth(self._best)
        if size <= self._known or not legal or not self._round:
            return None
        self._known = size
        return self._best

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return the best graph and the counts."""
        import torch

        values = {"known": self._known, "round": self._round, "flips": self.flips}
        return {"best": torch.from_numpy(self._best.edges.copy())}, values

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        self._best = from_edges(self._opened.problem.nodes, tensors["best"].numpy())
        self._known, self._round = int(values["known"]), int(values["round"])
        self.flips = int(values["flips"])
