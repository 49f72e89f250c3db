"""Writing an instance down as its formulas stand: blocks of columns, blocks of rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from tenfold.parts.mip.instance import Floats, Kind, Mip, Sense, from_rows

Block = NDArray[np.int64]
"""Numbers of columns, in the shape in which they were added; -1 stands for "no column"."""
NOTHING = -1


class Builder:
    """Collects blocks; `build` makes the instance."""

    def __init__(self, name: str, *, sense: Sense = "minimize") -> None:
        self.name, self.sense = name, sense
        self.offset = 0.0
        self._count = self._rows = 0
        self._columns: list[tuple[Floats, Floats, Floats, NDArray[np.uint8]]] = []
        self._names: list[str] = []
        self._entries: list[tuple[Block, Block, Floats]] = []
        self._sides: list[tuple[Floats, Floats]] = []
        self._row_names: list[str] = []

    def add(
        self,
        name: str,
        shape: int | tuple[int, ...],
        *,
        cost: ArrayLike = 0.0,
        lower: ArrayLike = 0.0,
        upper: ArrayLike = np.inf,
        kind: Kind = Kind.CONTINUOUS,
    ) -> Block:
        """Add a block of columns; cost and bounds are broadcast to its shape.

        Binary columns lie within [0, 1] if nothing else is said.
        """
        shape = (shape,) if isinstance(shape, int) else shape
        if kind == Kind.BINARY:
            upper = np.minimum(upper, 1.0)
        size = int(np.prod(shape))
        low, high = _fill(lower, shape), _fill(upper, shape)
        self._columns.append((_fill(cost, shape), low, high, np.full(size, kind, dtype=np.uint8)))
        self._names += _names(name, shape)
        block = np.arange(self._count, self._count + size).reshape(shape)
        self._count += size
        return block

    def binary(self, name: str, shape: int | tuple[int, ...], *, cost: ArrayLike = 0.0) -> Block:
        """Add a block of binary columns."""
        return self.add(name, shape, cost=cost, kind=Kind.BINARY)

    def rows(
        self,
        name: str,
        *terms: tuple[Block, ArrayLike],
        left: ArrayLike = -np.inf,
        right: ArrayLike = np.inf,
        sums: int = 0,
    ) -> None:
        """Add a block of rows: left <= sum of terms <= right.

        Args:
            name: of the block; a row's place in it is appended.
            terms: pairs of columns and coefficients. All blocks are broadcast against each other.
            left: broadcast to the block of rows.
            right: likewise.
            sums: the last so many axes are summed over; the others number the rows.
        """
        whole = np.broadcast_shapes(*map(np.shape, itertools.chain.from_iterable(terms)))
        shape = whole[: len(whole) - sums]
        count = int(np.prod(shape))
        number = np.arange(self._rows, self._rows + count).reshape(shape + (1,) * sums)
        for block, values in terms:
            # A block without summed axes of its own stands once in its row, not once a summand.
            once = block.shape[len(whole) - sums :] == (1,) * sums and block.ndim == len(whole)
            into = shape + ((1,) * sums if once else whole[len(whole) - sums :])
            places = np.broadcast_to(block, into)
            there = places != NOTHING
            self._entries.append((
                np.broadcast_to(number, into)[there],
                places[there],
                np.broadcast_to(np.asarray(values, dtype=np.float64), into)[there],
            ))  # fmt: skip
        self._sides.append((_fill(left, shape), _fill(right, shape)))
        self._row_names += _names(name, shape)
        self._rows += count

    def table(
        self,
        name: str,
        columns: Block,
        matrix: sparse.sparray,
        *,
        left: ArrayLike = -np.inf,
        right: ArrayLike = np.inf,
    ) -> None:
        """Add rows given as a sparse matrix over a flat block of columns."""
        entries = sparse.coo_array(matrix)
        count = entries.shape[0]
        self._entries.append((
            self._rows + entries.coords[0].astype(np.int64),
            columns.ravel()[entries.coords[1]],
            entries.data.astype(np.float64),
        ))  # fmt: skip
        self._sides.append((_fill(left, (count,)), _fill(right, (count,))))
        self._row_names += _names(name, (count,))
        self._rows += count

    def build(self) -> Mip:
        """Return the instance."""
        cost, lower, upper, kinds = (
            np.concatenate([block[i] for block in self._columns]) for i in range(4)
        )
        number, places, values = (
            np.concatenate([entry[i] for entry in self._entries]) for i in range(3)
        )
        left, right = (np.concatenate([side[i] for side in self._sides]) for i in range(2))
        return from_rows(
            name=self.name,
            sense=self.sense,
            cost=cost,
            offset=self.offset,
            lower=lower,
            upper=upper,
            kinds=kinds.astype(np.uint8),
            matrix=sparse.coo_array((values, (number, places)), shape=(self._rows, self._count)),
            left=left,
            right=right,
            columns=tuple(self._names),
            rows=tuple(self._row_names),
        )


def _fill(values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    return np.broadcast_to(np.asarray(values, dtype=np.float64), shape).ravel()


def _names(name: str, shape: Sequence[int]) -> list[str]:
    """Return a name for each place: `x_0_3`; the bare name for a single one."""
    if not shape:
        return [name]
    return ["_".join((name, *map(str, place))) for place in itertools.product(*map(range, shape))]
