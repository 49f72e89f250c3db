"""Small graphs and nodes for tests of branching."""

import numpy as np

from tenfold.parts.mip.features import COLUMN_FEATURES, ROW_FEATURES, Encoded
from tenfold.parts.mip.generate.assigning import generalized_assignment
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.scip import presolve
from tenfold.rooms.diving.branch.samples import Sample


def random_graph(seed, *, columns=12, rows=7, share=0.4):
    """Return a graph with features drawn at random; some rows have no edge."""
    draw = np.random.default_rng(seed)
    table = draw.normal(size=(rows, columns)) * (draw.random((rows, columns)) < share)
    edge_rows, edge_columns = np.nonzero(table)
    return Encoded(
        columns=draw.normal(size=(columns, len(COLUMN_FEATURES))).astype(np.float32),
        rows=draw.normal(size=(rows, len(ROW_FEATURES))).astype(np.float32),
        edge_rows=edge_rows,
        edge_columns=edge_columns,
        edges=table[edge_rows, edge_columns].astype(np.float32),
        places=np.arange(columns),
    )


def random_sample(seed, *, candidates=6, **sizes):
    """Return a node whose best candidate is seen in its features: a large fourth one is good."""
    graph = random_graph(seed, **sizes)
    places = np.sort(np.random.default_rng(seed).permutation(len(graph.columns))[:candidates])
    scores = np.exp(2.0 * graph.columns[places, 4].astype(np.float64))
    return Sample(graph=graph, candidates=places, scores=scores, depth=seed % 5)


def small_search():
    """Return an instance that takes some tens of nodes and little time."""
    left = presolve(generalized_assignment(agents=4, jobs=16, seed=0)).mip
    assert left is not None
    return left


def small_cover(seed=2, *, rows=120, columns=240):
    """Return a presolved set cover that takes some branching."""
    left = presolve(set_cover(rows=rows, columns=columns, density=0.1, seed=seed)).mip
    assert left is not None
    return left
