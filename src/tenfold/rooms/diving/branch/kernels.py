"""The graph convolution of `parts.nn.graph.BipartiteGCN` for the candidates of one node, compiled.

Only what reaches a candidate is computed: after the last layer candidates alone, before it the
rows that they stand in, before that the columns of those rows, and so on. Where candidates are few
and rows short, as in facility location, that is a small part of the graph. Scales of features and
the first linear maps are folded into one. `Policy.logits` is the plain twin.

Shapes: n columns, r rows, e edges, c candidates, W width, L layers. What is known of a node is
[W (L + 1)], the newest layer first, so that the last W (l + 1) are what layer l sees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.engine.kernel import jit
from tenfold.parts.mip.features import Encoded
from tenfold.parts.nn.graph import BipartiteGCN, PreNorm
from tenfold.rooms.diving.branch.blocks import (
    BLOCK,
    gather,
    list_needed,
    multiply,
    rectify,
    scatter,
)
from tenfold.rooms.diving.branch.policy import BranchNet

Array = NDArray[Any]
_LAYER_NORM_EPSILON = 1e-5


class Loops:
    """A network's weights as loops want them, and buffers that grow with the graphs.

    Called with a graph and candidates it returns their logits, [c], in a buffer of its own.
    """

    def __init__(self, net: BranchNet) -> None:
        body = net.body
        assert isinstance(body, BipartiteGCN), "loops are for graph convolutions"
        self._depth = len(body.norms)
        self._width = width = body.out_width // (self._depth + 1)
        self._enter = _packed([
            *_folded(net.column_norm, body.enter_columns),
            *_folded(net.row_norm, body.enter_rows),
        ])  # fmt: skip
        self._layers = _packed([
            part
            for layer, norm in zip(body.layers, body.norms, strict=True)
            for part in (*_maps(layer), *norm.parameters())
        ])  # fmt: skip
        first, last = (layer.weight for layer in net.head if isinstance(layer, nn.Linear))
        # The head's first map has no bias.
        self._head = _packed([first.T, torch.zeros(width), last])
        largest = max(self._width * (self._depth + 1), len(net.column_norm.scale))
        self._blocks = np.zeros((2, largest, BLOCK), dtype=np.float32)
        self._make_room(0, 0, 0)

    def _make_room(self, n: int, r: int, c: int) -> None:
        n, r, c = (size + size // 2 + 1 for size in (n, r, c))
        wide = self._width * (self._depth + 1)
        self._column_known = np.zeros((n, wide), dtype=np.float32)
        self._row_known = np.zeros((r, wide), dtype=np.float32)
        self._column_told = np.zeros((n, self._width), dtype=np.float32)
        self._row_told = np.zeros((r, self._width), dtype=np.float32)
        self._column_need = np.zeros(n, dtype=np.int64)
        self._row_need = np.zeros(r, dtype=np.int64)
        self._starts = np.zeros(r + 1, dtype=np.int64)
        self._nodes = np.zeros(max(n, r), dtype=np.int64)
        self._logits = np.zeros(c, dtype=np.float32)

    def __call__(self, graph: Encoded, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits of the candidates; see the class."""
        n, r, c = len(graph.columns), len(graph.rows), len(candidates)
        if n > len(self._column_need) or r > len(self._row_need) or c > len(self._logits):
            self._make_room(n, r, c)
        _score(
            graph.columns, graph.rows, graph.edge_rows, graph.edge_columns, graph.edges,
            candidates, self._depth, self._width, self._enter, self._layers, self._head,
            self._column_known, self._row_known, self._column_told, self._row_told,
            self._column_need, self._row_need, self._starts, self._nodes, self._blocks,
            self._logits,
        )  # fmt: skip
        return self._logits[:c]


def _maps(layer: nn.Module) -> list[Tensor]:
    """Return weights, [in, out], and biases of a perceptron's linear maps."""
    maps = [part for part in layer.children() if isinstance(part, nn.Linear)]
    return [part for one in maps for part in (one.weight.T, one.bias)]


def _folded(norm: PreNorm, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return weights, [in, out], and bias that take unscaled features."""
    weight = layer.weight.T
    return norm.scale[:, None] * weight, layer.bias + (norm.shift * norm.scale) @ weight


def _packed(parts: list[Tensor]) -> NDArray[np.float32]:
    """Return tensors one after the other in one flat array."""
    flat = [part.detach().cpu().contiguous().reshape(-1).float().numpy() for part in parts]
    return np.concatenate(flat)


@jit
def _score(
    columns: Array,
    rows: Array,
    edge_rows: Array,
    edge_columns: Array,
    edges: Array,
    candidates: Array,
    depth: int,
    width: int,
    enter: Array,
    layers: Array,
    head: Array,
    column_known: Array,
    row_known: Array,
    column_told: Array,
    row_told: Array,
    column_need: Array,
    row_need: Array,
    starts: Array,
    nodes: Array,
    blocks: Array,
    logits: Array,
) -> None:
    """Fill the logits of the candidates."""
    n, r = len(columns), len(rows)
    _find_starts(edge_rows, r, starts)
    _mark(edge_columns, candidates, n, r, depth, starts, column_need, row_need)
    own = depth * width
    split = (columns.shape[1] + 1) * width
    _enter(columns, n, width, enter, 0, column_need, nodes, blocks, column_known, own)
    _enter(rows, r, width, enter, split, row_need, nodes, blocks, row_known, own)
    at = 0
    for layer in range(depth):
        inputs = width * (layer + 1)
        seen, out = (depth - layer) * width, (depth - layer - 1) * width
        _tell(
            column_known, seen, n, inputs, width, layers, at, column_need, layer, nodes, blocks,
            column_told,
        )  # fmt: skip
        _tell(
            row_known, seen, r, inputs, width, layers, at, row_need, layer, nodes, blocks, row_told
        )
        _mix(
            edge_columns, edges, starts, n, r, width, layer, column_need, row_need, column_told,
            row_told, column_known, row_known, out,
        )  # fmt: skip
        at += (inputs + 1) * width + (width + 1) * width
        _normalise(column_known, out, n, width, layers, at, column_need, layer + 1)
        _normalise(row_known, out, r, width, layers, at, row_need, layer + 1)
        at += 2 * width
    _decide(column_known, (depth + 1) * width, width, head, candidates, blocks, logits)


@jit
def _find_starts(edge_rows: Array, r: int, starts: Array) -> None:
    """Fill where the edges of each row begin, [r + 1]."""
    row = 0
    starts[0] = 0
    for k in range(len(edge_rows)):
        while row < edge_rows[k]:
            row += 1
            starts[row] = k
    while row < r:
        row += 1
        starts[row] = len(edge_rows)


@jit
def _mark(
    edge_columns: Array,
    candidates: Array,
    n: int,
    r: int,
    depth: int,
    starts: Array,
    column_need: Array,
    row_need: Array,
) -> None:
    """Fill the last layer after which a column or row is looked at, -1 for never."""
    column_need[:n] = -1
    row_need[:r] = -1
    for k in range(len(candidates)):
        column_need[candidates[k]] = depth
    for layer in range(depth, 0, -1):
        for row in range(r):
            if row_need[row] >= layer - 1:
                continue
            for k in range(starts[row], starts[row + 1]):
                if column_need[edge_columns[k]] >= layer:
                    row_need[row] = layer - 1
                    break
        for row in range(r):
            if row_need[row] < layer:
                continue
            for k in range(starts[row], starts[row + 1]):
                column = edge_columns[k]
                column_need[column] = max(column_need[column], layer - 1)


@jit
def _enter(
    features: Array,
    count: int,
    width: int,
    weights: Array,
    at: int,
    need: Array,
    nodes: Array,
    blocks: Array,
    known: Array,
    out: int,
) -> None:
    """Fill what is known of each node before the first layer."""
    inputs = features.shape[1]
    found = list_needed(need, count, 0, nodes)
    for begin in range(0, found, BLOCK):
        size = min(BLOCK, found - begin)
        gather(features, 0, inputs, nodes, begin, size, blocks[0])
        multiply(blocks[0], inputs, weights, at, width, size, blocks[1])
        scatter(blocks[1], width, nodes, begin, size, known, out)


@jit
def _tell(
    known: Array,
    seen: int,
    count: int,
    inputs: int,
    width: int,
    weights: Array,
    at: int,
    need: Array,
    layer: int,
    nodes: Array,
    blocks: Array,
    told: Array,
) -> None:
    """Fill the two-layer perceptron of each node that is needed after the layers before."""
    found = list_needed(need, count, layer, nodes)
    second = at + (inputs + 1) * width
    for begin in range(0, found, BLOCK):
        size = min(BLOCK, found - begin)
        gather(known, seen, inputs, nodes, begin, size, blocks[0])
        multiply(blocks[0], inputs, weights, at, width, size, blocks[1])
        rectify(blocks[1], width, size)
        multiply(blocks[1], width, weights, second, width, size, blocks[0])
        scatter(blocks[0], width, nodes, begin, size, told, 0)


@jit
def _decide(
    known: Array, wide: int, width: int, head: Array, nodes: Array, blocks: Array, logits: Array
) -> None:
    """Fill the logit of each candidate from all that is known of it."""
    last = wide * width + width
    for begin in range(0, len(nodes), BLOCK):
        size = min(BLOCK, len(nodes) - begin)
        gather(known, 0, wide, nodes, begin, size, blocks[0])
        multiply(blocks[0], wide, head, 0, width, size, blocks[1])
        rectify(blocks[1], width, size)
        for i in range(size):
            total = np.float32(0.0)
            for j in range(width):
                total += blocks[1, j, i] * head[last + j]
            logits[begin + i] = total


@jit
def _mix(
    edge_columns: Array,
    edges: Array,
    starts: Array,
    n: int,
    r: int,
    width: int,
    layer: int,
    column_need: Array,
    row_need: Array,
    column_told: Array,
    row_told: Array,
    column_known: Array,
    row_known: Array,
    out: int,
) -> None:
    """Fill the product with the adjacency, ones on its diagonal, where it is looked at."""
    for i in range(n):
        if column_need[i] > layer:
            column_known[i, out : out + width] = column_told[i]
    for row in range(r):
        if row_need[row] < layer:
            continue
        whole = row_need[row] > layer
        own = row_told[row]
        if whole:
            target = row_known[row, out : out + width]
            target[:] = own
        for k in range(starts[row], starts[row + 1]):
            column, value = edge_columns[k], edges[k]
            if whole:
                other = column_told[column]
                for j in range(width):
                    target[j] += value * other[j]
            if column_need[column] > layer:
                above = column_known[column, out : out + width]
                for j in range(width):
                    above[j] += value * own[j]


@jit
def _normalise(
    known: Array, out: int, count: int, width: int, scale: Array, at: int, need: Array, least: int
) -> None:
    """Bring each node's newest layer to mean 0 and variance 1, then scale and shift it."""
    for i in range(count):
        if need[i] < least:
            continue
        target = known[i, out : out + width]
        mean, square = np.float32(0.0), np.float32(0.0)
        for j in range(width):
            mean += target[j]
        mean /= np.float32(width)
        for j in range(width):
            square += (target[j] - mean) * (target[j] - mean)
        spread = np.float32(1.0) / np.sqrt(
            square / np.float32(width) + np.float32(_LAYER_NORM_EPSILON)
        )
        for j in range(width):
            target[j] = (target[j] - mean) * spread * scale[at + j] + scale[at + width + j]
