"""The graph of a node's LP straight from SCIP, with all that has not changed kept from before.

Between two nodes bounds, values and duals change; columns, costs and most rows do not. A reader
keeps its arrays, knows rows and columns again by SCIP's pointers and running numbers, and fills
anew only what can be other than it was. `features.encode(lp_state.read_state(model))` says the
same slowly; it is the twin in tests.

Shapes: n columns, m rows, r told rows (one for each finite side), e edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip import node_loops as loops
from tenfold.parts.mip import scip_library as lib
from tenfold.parts.mip.features import COLUMN_FEATURES, ROW_FEATURES, Encoded, encode
from tenfold.parts.mip.lp_state import read_state

_GROWTH = 1.5


class NodeReader:
    """Reads the graph of each node's LP into arrays that are used again.

    One reader serves one search of one model; call `forget` when another search of the same model
    begins. What `read` returns is overwritten by the next `read`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._compiled = not lib.find_obstacle()
        self._scip = lib.pointer_of(model) if self._compiled else 0
        self._facts = np.zeros(loops.FACTS, dtype=np.int64)
        self._norm = np.zeros(1)
        self._graph: Encoded | None = None
        self._seen = -1
        self._starts = np.zeros(1, dtype=np.int64)
        self.forget()
        self._make_room(0, 0, 0, 0)

    @property
    def version(self) -> int:
        """A number that changes when edges, rows' places or columns' places do.

        What depends on `edges`, `edge_rows`, `edge_columns`, `starts` and `places` alone, for
        instance a transpose, may be kept while it stays the same.
        """
        return int(self._facts[loops.VERSION])

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where the edges of each told row begin, [r + 1]; valid until the next `read`."""
        return self._starts

    def forget(self) -> None:
        """Keep nothing of what was read, as for another search."""
        self._facts[loops.COLUMNS] = -1

    def read(self) -> Encoded:
        """Return the graph of the LP that SCIP has just solved; its arrays are the reader's."""
        if not self._compiled:
            return self._read_slowly()
        while not loops.read(
            self._scip, self._facts, self._norm, self._column_marks, self._cost, self._columns,
            self._places, self._row_marks, self._sums, self._rows, self._row_starts,
            self._edge_rows, self._edge_columns, self._edges,
        ):  # fmt: skip
            self._make_room(*loops.sizes(self._scip).tolist())
        if self._graph is None or self._seen != self._facts[loops.VERSION]:
            self._graph = self._view()
        return self._graph

    def candidates(self) -> NDArray[np.int64]:
        """Return the columns to branch on, [c], by their place in the graph.

        These are the integer columns with a broken value and, of them, those of highest branching
        priority, in SCIP's order: the first entries of what `getLPBranchCands` lists.
        """
        if not self._compiled:
            variables, *_, priority, _implied = self._model.getLPBranchCands()
            return np.array([v.getCol().getLPPos() for v in variables[:priority]], dtype=np.int64)
        places = np.empty(self._facts[loops.COLUMNS], dtype=np.int64)
        return places[: loops.read_candidates(self._scip, places)]

    def _read_slowly(self) -> Encoded:
        graph = encode(read_state(self._model))
        counts = np.bincount(graph.edge_rows, minlength=len(graph.rows))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._facts[loops.VERSION] += 1
        return graph

    def _make_room(self, n: int, m: int, r: int, e: int) -> None:
        """Allocate arrays for an LP of some size and a bit more; what they held is lost."""
        n, m, r, e = (int(_GROWTH * size) + 1 for size in (n, m, r, e))
        self._column_marks = np.zeros((n, 2), dtype=np.int64)
        self._cost = np.zeros(n)
        self._columns = np.zeros((n, len(COLUMN_FEATURES)), dtype=np.float32)
        self._places = np.zeros(n, dtype=np.int64)
        self._row_marks = np.zeros((m, 6), dtype=np.int64)
        self._sums = np.zeros((m, 2))
        self._rows = np.zeros((r, len(ROW_FEATURES)), dtype=np.float32)
        self._row_starts = np.zeros(r + 1, dtype=np.int64)
        self._edge_rows = np.zeros(e, dtype=np.int64)
        self._edge_columns = np.zeros(e, dtype=np.int64)
        self._edges = np.zeros(e, dtype=np.float32)
        self.forget()

    def _view(self) -> Encoded:
        n, _, r, e, version = self._facts[: loops.VERSION + 1].tolist()
        self._seen = version
        self._starts = self._row_starts[: r + 1]
        return Encoded(
            columns=self._columns[:n],
            rows=self._rows[:r],
            edge_rows=self._edge_rows[:e],
            edge_columns=self._edge_columns[:e],
            edges=self._edges[:e],
            places=self._places[:n],
        )
