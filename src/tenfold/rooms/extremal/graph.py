"""A graph as data: its number of nodes and its sorted edges, nothing that a search keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError

Edges = NDArray[np.int32]
"""[e, 2], each row u < v, rows in lexicographic order, none twice."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A simple graph on nodes 0 .. nodes - 1; built by the functions below."""

    nodes: int
    edges: Edges

    def __eq__(self, other: object) -> bool:
        """Compare labelled graphs; for isomorphism see `canonical.canonical_form`."""
        if not isinstance(other, Graph):
            return NotImplemented
        return self.nodes == other.nodes and np.array_equal(self.edges, other.edges)

    def __hash__(self) -> int:
        return hash((self.nodes, self.edges.tobytes()))

    def __repr__(self) -> str:
        return f"Graph(nodes={self.nodes}, {self.size} edges)"

    @property
    def size(self) -> int:
        """Number of edges."""
        return len(self.edges)

    def degrees(self) -> NDArray[np.int64]:
        """Return the degree of every node, [nodes]."""
        return np.bincount(self.edges.ravel(), minlength=self.nodes)

    def adjacency(self) -> NDArray[np.bool_]:
        """Return the adjacency matrix, [nodes, nodes], symmetric, false on the diagonal."""
        matrix = np.zeros((self.nodes, self.nodes), dtype=bool)
        matrix[self.edges[:, 0], self.edges[:, 1]] = True
        return matrix | matrix.T

    def to_networkx(self) -> Any:
        """Return a `networkx.Graph` with all nodes, the isolated ones too."""
        import networkx

        found = networkx.empty_graph(self.nodes)
        found.add_edges_from(self.edges.tolist())
        return found


def empty(nodes: int) -> Graph:
    """Return the graph without edges."""
    return Graph(nodes, np.zeros((0, 2), dtype=np.int32))


def from_edges(nodes: int, edges: Iterable[Iterable[int]] | NDArray[Any]) -> Graph:
    """Build a graph from pairs of nodes, in any order.

    Raises:
        TenfoldError: naming a pair that is a loop, comes twice, or leaves 0 .. nodes - 1.
    """
    pairs = np.array([tuple(pair) for pair in edges], dtype=np.int64).reshape(-1, 2)
    outside = ((pairs < 0) | (pairs >= nodes)).any(axis=1) | (pairs[:, 0] == pairs[:, 1])
    if outside.any():
        u, v = pairs[outside.argmax()]
        raise TenfoldError(
            f"edge {u} - {v} is a loop or leaves the nodes 0 .. {nodes - 1}; "
            "number the nodes from 0 and leave loops out"
        )
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    twice = (pairs[1:] == pairs[:-1]).all(axis=1)
    if twice.any():
        u, v = pairs[twice.argmax()]
        raise TenfoldError(f"edge {u} - {v} comes twice; graphs here are simple, so leave one out")
    return Graph(nodes, pairs.astype(np.int32))


def from_adjacency(matrix: NDArray[Any]) -> Graph:
    """Build a graph from a symmetric [n, n] matrix; what is not zero is an edge.

    Raises:
        TenfoldError: if it is not square, not symmetric, or has a diagonal.
    """
    found = np.asarray(matrix) != 0
    square = found.ndim == 2 and found.shape[0] == found.shape[1]
    if not square or (found != found.T).any() or found.diagonal().any():
        raise TenfoldError(
            f"an adjacency matrix of shape {found.shape} must be square and symmetric "
            "with an empty diagonal"
        )
    return from_edges(len(found), np.argwhere(np.triu(found)))


def extend(graph: Graph, nodes: int) -> Graph:
    """Return `graph` with isolated nodes added, up to `nodes`."""
    assert nodes >= graph.nodes, f"{graph} has more than {nodes} nodes"
    return Graph(nodes, graph.edges)


def induced(graph: Graph, keep: NDArray[np.intp]) -> Graph:
    """Return the graph on the nodes `keep`, renumbered in that order."""
    place = np.full(graph.nodes, -1)
    place[keep] = np.arange(len(keep))
    moved = place[graph.edges]
    return from_edges(len(keep), moved[(moved >= 0).all(axis=1)])


def relabel(graph: Graph, order: NDArray[np.intp]) -> Graph:
    """Return the graph in which old node `order[i]` is node i."""
    return induced(graph, order)
