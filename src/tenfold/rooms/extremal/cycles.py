"""Does a graph have a short cycle? The proxy task on which the paper compares its networks.

Mehrabian et al. (arXiv:2311.03583) train both torsos to detect cycles before any search. Here:
graphs on at most 16 nodes, half of them of girth 5 and half with one 3- or 4-cycle planted by
moving one edge, so that numbers of edges tell nothing; tested on 16, 20 and 24 nodes. Networks
see the adjacency alone, not the path counts that the search gives them.

The label of a graph decides the accuracy: it is balanced, so guessing gets half. Labels of edges
(is this edge in a short cycle?) are learned beside it, as they say where to look; alone they
would flatter, since nine edges in ten are in none.
"""

# G graphs, N nodes, P = N (N - 1) / 2 pairs in rows of the upper triangle

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.kernel import jit
from tenfold.rooms.extremal import model
from tenfold.rooms.extremal.model_config import FEATURES, SCALARS, Kind, Size

TRAIN_NODES = (8, 16)
"""Fewest and most nodes of a training graph."""
TEST_NODES = (16, 20, 24)

Matrices = NDArray[np.uint8]
"""[G, N, N], symmetric adjacency."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A trained network and how often it is right."""

    network: model.Network
    accuracy: dict[int, float]
    """Share of test graphs told right, by their number of nodes; guessing gets a half."""
    loss: list[float]
    """Of each step."""
    seconds: float


def train_detector(
    kind: Kind,
    *,
    steps: int = 400,
    seed: int = 0,
    size: Size = "cpu",
    batch: int = 64,
    learning_rate: float = 3e-3,
    test_graphs: int = 1_000,
) -> Detector:
    """Train a network to tell graphs with a short cycle, and test it on larger ones.

    Adam with a rate that rises for 50 steps and falls to zero; gradients of norm above 1 are cut.
    """
    began = time.monotonic()
    network = model.build(kind, size, seed=seed)
    adam = torch.optim.Adam(network.parameters(), lr=learning_rate)
    losses = []
    for step in range(steps):
        adam.param_groups[0]["lr"] = learning_rate * min(1, (step + 1) / 50) * (1 - step / steps)
        losses.append(_train_step(network, adam, _training_batch(batch, step=step, seed=seed)))
    tests = {n: _test_graphs(test_graphs, nodes=n, seed=seed) for n in TEST_NODES}
    return Detector(
        network=network,
        accuracy={nodes: measure_accuracy(network, test) for nodes, test in tests.items()},
        loss=losses,
        seconds=time.monotonic() - began,
    )


def measure_accuracy(network: model.Network, examples: Examples) -> float:
    """Return the share of graphs whose label has the sign of the network's value."""
    _, value_G = model.evaluate(network, *as_inputs(examples.adjacency))
    told = value_G.numpy() > 0
    return float((told == examples.cyclic).mean())


def as_inputs(adjacency: Matrices) -> tuple[Tensor, Tensor]:
    """Return inputs of a network that hold the adjacency and which pairs are loops, no more."""
    count, nodes, _ = adjacency.shape
    pairs = torch.zeros(count, nodes, nodes, FEATURES)
    pairs[..., 0] = torch.from_numpy(adjacency)
    pairs[..., 2] = torch.eye(nodes)
    return pairs, torch.zeros(count, SCALARS)


def _train_step(network: model.Network, adam: torch.optim.Adam, examples: Examples) -> float:
    logits_GP, value_G = network(*as_inputs(examples.adjacency))
    u, v = np.triu_indices(examples.adjacency.shape[1], k=1)
    present_GP = torch.from_numpy(examples.adjacency[:, u, v] > 0)
    on_cycle_GP = torch.from_numpy(examples.edges[:, u, v]).float()
    loss = F.binary_cross_entropy_with_logits(
        value_G, torch.from_numpy(examples.cyclic).float()
    ) + F.binary_cross_entropy_with_logits(logits_GP[present_GP], on_cycle_GP[present_GP])
    adam.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    adam.step()
    return loss.item()


def _training_batch(count: int, *, step: int, seed: int) -> Examples:
    generator = rng.stream(seed, "cycles", "train", step)
    nodes = int(generator.integers(TRAIN_NODES[0], TRAIN_NODES[1] + 1))
    return draw_examples(count, nodes=nodes, generator=generator)


def _test_graphs(count: int, *, nodes: int, seed: int) -> Examples:
    return draw_examples(count, nodes=nodes, generator=rng.stream(seed, "cycles", "test", nodes))


# Graphs


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Graphs of one number of nodes with their labels."""

    adjacency: Matrices
    cyclic: NDArray[np.bool_]
    """[G]: whether a 3- or 4-cycle is there."""
    edges: NDArray[np.bool_]
    """[G, N, N]: whether an edge is on one."""


def draw_examples(count: int, *, nodes: int, generator: np.random.Generator) -> Examples:
    """Draw `count` graphs, every second one with a short cycle, of equally many edges on average.

    Edges are added in random order where they close no short cycle; of those that fit, the first
    70 to 100 % stay.
    """
    u, v = np.triu_indices(nodes, k=1)
    orders = generator.permuted(np.tile(np.arange(len(u)), (count, 1)), axis=1)
    ranks = np.zeros((count, nodes, nodes), dtype=np.int32)
    _grow(ranks, u[orders], v[orders])
    shares = generator.uniform(0.7, 1.0, size=(count, 1, 1))
    most = np.ceil(shares * ranks.max(axis=(1, 2), keepdims=True))
    adjacency = ((ranks > 0) & (ranks <= most)).astype(np.uint8)
    for index in range(1, count, 2):
        _plant(adjacency[index], length=3 + int(generator.integers(2)), generator=generator)
    edges = edges_on_short_cycles(adjacency)
    cyclic = np.asarray(edges.any(axis=(1, 2)))
    return Examples(adjacency=adjacency, cyclic=cyclic, edges=edges)


def edges_on_short_cycles(adjacency: Matrices) -> NDArray[np.bool_]:
    """Say of each pair [G, N, N] whether it is an edge of a 3- or 4-cycle."""
    return count_short_cycles(adjacency) > 0


def count_short_cycles(adjacency: NDArray[Any]) -> NDArray[np.int64]:
    """Return on how many 3- and 4-cycles each edge is, [..., N, N]; 0 where none is an edge."""
    one = adjacency.astype(np.int64)
    two = one @ one
    degrees = one.sum(axis=-1)
    # Walks of three edges that go over uv itself: at u first, at v first, or both and back.
    over = degrees[..., :, None] + degrees[..., None, :] - 1
    found: NDArray[np.int64] = one * (two + two @ one - over)
    return found


@jit
def _is_near(ranks: NDArray[np.int32], a: int, b: int) -> bool:
    """Say whether a path of two or three edges joins two nodes that are not adjacent."""
    nodes = len(ranks)
    for c in range(nodes):
        if ranks[a, c]:
            if ranks[c, b]:
                return True
            for d in range(nodes):
                if ranks[c, d] and ranks[d, b]:
                    return True
    return False


@jit
def _grow(ranks: NDArray[np.int32], u: NDArray[np.int64], v: NDArray[np.int64]) -> None:
    """Number the edges of each graph [G, N, N] from 1 in the order in which they fit."""
    for g in range(len(ranks)):
        edges = 0
        for a, b in zip(u[g], v[g]):  # noqa: B905 (numba)
            if not _is_near(ranks[g], a, b):
                edges += 1
                ranks[g, a, b] = ranks[g, b, a] = edges


def _plant(adjacency: NDArray[np.uint8], *, length: int, generator: np.random.Generator) -> None:
    """Move one edge of a girth-5 graph so that exactly one short cycle arises.

    It has `length` edges, or, where that fits nowhere, the other of 3 and 4.
    """
    present = np.argwhere(np.triu(adjacency))
    a, b = present[generator.integers(len(present))]
    adjacency[a, b] = adjacency[b, a] = 0
    one = adjacency.astype(np.int64)
    two = one @ one
    free = np.triu(one == 0, k=1)
    free[a, b] = False
    closing = {3: two, 4: two @ one}
    single = free & (closing[3] + closing[4] == 1)
    wanted = single & (closing[length] == 1)
    places = np.argwhere(wanted if wanted.any() else single)
    # On very few nodes nothing may fit: then the edge goes back and the graph stays without.
    c, d = places[generator.integers(len(places))] if len(places) else (a, b)
    adjacency[c, d] = adjacency[d, c] = 1
