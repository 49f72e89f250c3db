"""The equations of "Finding Increasingly Large Extremal Graphs" (arXiv:2311.03583), pure.

Mehrabian et al. look for f(n), the most edges of a graph on n nodes without 3- and 4-cycles.

    s(G) = e(G) - t(G) - q(G), edges less triangles less 4-cycles     -> `score`
    max over all graphs of s(G) is f(n): repair keeps s(G) edges      -> `repaired_edges`
    flipping uv changes s by 1 - C(u, v), or by C(u, v) - 1           -> `flip_gain`
    C(u, v): simple paths of 2 or 3 edges between u and v             -> `path_count`
    reward R(G, uv) = s(G xor uv) - s(G), "final"                     -> `reward_final`
    our other objective, what the best so far gains, "best"           -> `reward_best`
    return of an episode; both kinds of reward telescope              -> `returns_to_go`
    tabu search: the best of the pairs not flipped lately             -> `tabu_choices`, `is_tabu`
    curriculum: n - k nodes, k uniform in 1..4, and k isolated ones   -> `parts.search.curriculum`

Not in the accounts of the paper we know, so ours: how long an episode is (`episode_length`), what
a value is measured in (`value_scale`), that an episode ends at a proven upper bound
(`has_ended`), and that AlphaZero may not undo its last flips, as tabu search may not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[Any]
"""[n, n] adjacency, symmetric, 0 or 1."""

LEAST_LENGTH = 30
"""Flips of an episode, at least."""
SLACK = 1.5
"""Flips of an episode for each edge that may be missing: fewer than one could never reach it."""


# The score


def triangles(adjacency: Matrix) -> int:
    """Return t(G): closed walks of three steps, each triangle counted six times."""
    one = adjacency.astype(np.int64)
    return int(np.trace(one @ one @ one)) // 6


def squares(adjacency: Matrix) -> int:
    """Return q(G): pairs of common neighbours, each 4-cycle seen from its two diagonals."""
    one = adjacency.astype(np.int64)
    shared = np.triu(one @ one, k=1)
    return int((shared * (shared - 1) // 2).sum()) // 2


def score(adjacency: Matrix) -> int:
    """Return s(G) = e(G) - t(G) - q(G)."""
    return int(adjacency.sum()) // 2 - triangles(adjacency) - squares(adjacency)


def repaired_edges(adjacency: Matrix) -> int:
    """Return how many edges are sure to remain when one edge of each short cycle is deleted."""
    return max(0, score(adjacency))


def path_count(adjacency: Matrix, u: int, v: int) -> int:
    """Return C(u, v): simple paths of two or three edges between u and v, without uv itself."""
    one = adjacency.astype(np.int64)
    one[u, v] = one[v, u] = 0
    middle = one.copy()
    middle[[u, v]] = middle[:, [u, v]] = 0
    return int(one[u] @ one[v] + one[u] @ middle @ one[v])


def flip_gain(adjacent: bool, paths: int) -> int:
    """Return the change of s by a flip of a pair with C = `paths`."""
    return paths - 1 if adjacent else 1 - paths


# Episodes


def reward_final(before: int, after: int) -> int:
    """Return s(G xor uv) - s(G); an episode returns s(last) - s(first)."""
    return after - before


def reward_best(best: int, after: int) -> int:
    """Return by how much the best score so far rises; an episode returns best - s(first)."""
    return max(0, after - best)


def returns_to_go(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of this reward and all later ones of an episode, at every move."""
    return np.cumsum(rewards[::-1])[::-1]


def episode_length(upper: int, start_edges: int) -> int:
    """Return how many flips an episode has, T = max(30, 1.5 (upper bound - edges at its start))."""
    return max(LEAST_LENGTH, math.ceil(SLACK * (upper - start_edges)))


def has_ended(moves: int, length: int, best: int, upper: int) -> bool:
    """Say whether an episode is over: all its flips made, or nothing left that could be gained."""
    return moves >= length or best >= upper


def value_scale(nodes: int) -> float:
    """Return n^1.5 / 2, about f(n) by the conjecture of Erdos: values in it do not grow with n."""
    return float(0.5 * nodes**1.5)


# Tabu


def is_tabu(moves: int, last: int, tenure: int) -> bool:
    """Say whether a pair is among the last `tenure` flips; `last` counts from 1, 0 is never."""
    return last > 0 and moves - last < tenure


def tabu_choices(gains: NDArray[Any], tabu: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the pairs of largest gain that are not tabu; one of them is flipped, at random."""
    allowed = np.where(tabu, -np.inf, gains)
    return np.flatnonzero((allowed == allowed.max()) & ~tabu)
