"""Small dense products for chosen nodes of a table, compiled; `kernels` is made of them.

A block holds up to `BLOCK` nodes side by side, [features, nodes], so that the inner loops run over
nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.kernel import jit

Array = NDArray[Any]
BLOCK = 64
"""Nodes that go through a perceptron together: what they need stays in the fastest cache."""


@jit
def gather(
    source: Array, first: int, inputs: int, nodes: Array, begin: int, count: int, block: Array
) -> None:
    """Fill a block, [inputs, count], from columns `first`.. of some rows of a table."""
    for i in range(count):
        row = source[nodes[begin + i]]
        for k in range(inputs):
            block[k, i] = row[first + k]


@jit
def multiply(
    block: Array, inputs: int, weights: Array, at: int, width: int, count: int, out: Array
) -> None:
    """Fill out, [width, count], with [inputs, width] weights and a bias, at `at`, of a block.

    The inner loop runs over nodes, as it is the longest; four inputs at once save three of four
    loads and stores of the sums.
    """
    for j in range(width):
        total = out[j]
        bias = weights[at + inputs * width + j]
        for i in range(count):
            total[i] = bias
        k = 0
        while k + 4 <= inputs:
            w = at + k * width + j
            a, b = weights[w], weights[w + width]
            c, d = weights[w + 2 * width], weights[w + 3 * width]
            one, two, three, four = block[k], block[k + 1], block[k + 2], block[k + 3]
            for i in range(count):
                total[i] += a * one[i] + b * two[i] + c * three[i] + d * four[i]
            k += 4
        while k < inputs:
            a, one = weights[at + k * width + j], block[k]
            for i in range(count):
                total[i] += a * one[i]
            k += 1


@jit
def rectify(block: Array, width: int, count: int) -> None:
    """Set what is negative in a block, [width, count], to 0."""
    for j in range(width):
        row = block[j]
        for i in range(count):
            row[i] = max(row[i], np.float32(0.0))


@jit
def scatter(
    block: Array, width: int, nodes: Array, begin: int, count: int, target: Array, out: int
) -> None:
    """Write a block, [width, count], into columns `out`.. of some rows of a table."""
    for i in range(count):
        row = target[nodes[begin + i]]
        for j in range(width):
            row[out + j] = block[j, i]


@jit
def list_needed(need: Array, count: int, least: int, nodes: Array) -> Any:
    """Fill the nodes that are looked at after layer `least` or later; return how many."""
    found = 0
    for i in range(count):
        if need[i] >= least:
            nodes[found] = i
            found += 1
    return found
