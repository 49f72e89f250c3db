"""The part of a graph that a network of some depth can see from the candidates.

What is farther away than the network is deep has no effect on a logit. In facility location that
is most of the graph, in set cover nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip.features import Encoded


def cut_out(
    graph: Encoded, candidates: NDArray[np.int64], *, hops: int
) -> tuple[Encoded, NDArray[np.int64]]:
    """Return the columns and rows within some edges of the candidates, and the latter's places.

    Logits of a network of this many layers are the same on it. If nothing is out of reach the
    graph itself is returned.

    Args:
        graph: whole.
        candidates: columns of it, [c].
        hops: edges to go at most.
    """
    columns = np.zeros(len(graph.columns), dtype=np.bool_)
    rows = np.zeros(len(graph.rows), dtype=np.bool_)
    columns[candidates] = True
    for hop in range(hops):
        if hop % 2 == 0:
            rows[graph.edge_rows[columns[graph.edge_columns]]] = True
        else:
            columns[graph.edge_columns[rows[graph.edge_rows]]] = True
    if columns.all() and rows.all():
        return graph, candidates
    kept = columns[graph.edge_columns] & rows[graph.edge_rows]
    new_column, new_row = np.cumsum(columns) - 1, np.cumsum(rows) - 1
    part = replace(
        graph,
        columns=graph.columns[columns],
        rows=graph.rows[rows],
        edge_rows=new_row[graph.edge_rows[kept]],
        edge_columns=new_column[graph.edge_columns[kept]],
        edges=graph.edges[kept],
        places=graph.places[columns],
    )
    return part, new_column[candidates]
