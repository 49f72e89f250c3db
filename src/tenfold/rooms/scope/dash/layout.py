"""How the rows of a site lie: items, places, blocks of whole items, classes of places."""

# N rows of a site, P classes of places, C places of one item

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tenfold.rooms.scope.dash.kernels import Ints, Longs

if TYPE_CHECKING:
    from tenfold.rooms.scope.store import Store

BLOCK = 2_048
"""Rows read together, more if an item is longer."""
SEGMENTS = 16
"""Parts of the rows that are counted apart, however many threads there are."""
WINDOW = 128
"""Places of an item shown around the largest value of an example."""
_FIRST, _CLASSES, _CELLS = 8, 32, 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Classes of places, for profiles."""

    kind: Literal["sequence", "grid", "none"]
    class_of: Ints
    """Class of each place, [C]."""
    starts: tuple[int, ...]
    """First place of each class, for sequences; P + 1 numbers."""
    shape: tuple[int, ...]
    """Shape of the classes, for grids."""
    number: int
    """P."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The rows of one site that are read."""

    item: Ints
    """Item of each row, [N]; rows of an item are neighbours."""
    place: Ints
    """Place of each row in its item, [N]."""
    blocks: Longs
    """First row of each block of whole items, and N."""
    places: Places
    cells: int
    """Places of one item, C."""
    grid: tuple[int, ...] = ()
    """Shape of the places of one item."""

    @property
    def rows(self) -> int:
        """Rows N."""
        return len(self.item)

    @property
    def window(self) -> int:
        """Places that are shown of an item."""
        return min(self.cells, WINDOW) if self.places.kind == "sequence" else self.cells

    @property
    def rows_of_places(self) -> NDArray[np.int64]:
        """Rows in each class of places, [P]."""
        classes = self.places.class_of[self.place]
        return np.bincount(classes, minlength=self.places.number).astype(np.int64)

    def segments(self) -> list[list[tuple[int, int]]]:
        """Return the blocks (first row, end) in at most `SEGMENTS` groups of neighbours."""
        blocks = list(itertools.pairwise(self.blocks.tolist()))
        size = max(1, math.ceil(len(blocks) / SEGMENTS))
        return [blocks[first : first + size] for first in range(0, len(blocks), size)]


def read_layout(store: Store, site: str, *, rows: int = 0) -> Layout:
    """Read how the first `rows` rows of a site lie; 0 is all."""
    shards = store.rows(site)
    number = min(rows or shards.num_rows, shards.num_rows)
    item = np.asarray(shards.read("item", 0, number), dtype=np.int32)
    starts = np.flatnonzero(np.diff(item, prepend=item[:1] - 1))
    grid = tuple(store.grid(site))
    if any(column.name == "place" for column in shards.columns):
        place = np.asarray(shards.read("place", 0, number), dtype=np.int32)
    else:
        lengths = np.diff(starts, append=number)
        place = (np.arange(number) - np.repeat(starts, lengths)).astype(np.int32)
    cells = max(math.prod(grid), int(place.max(initial=0)) + 1)
    return Layout(
        item=item,
        place=place,
        blocks=_blocks(starts, number),
        places=_classes(grid, cells),
        cells=cells,
        grid=grid,
    )


def _blocks(starts: Longs, number: int) -> Longs:
    """Return the starts of items nearest after each multiple of `BLOCK`, and the end."""
    wanted = np.arange(0, number, BLOCK)
    found = np.searchsorted(starts, wanted)
    edges = starts[found[found < len(starts)]]
    return np.unique(np.append(edges, number)).astype(np.int64)


def _classes(grid: tuple[int, ...], cells: int) -> Places:
    if cells == 1:
        return _places("none", np.zeros(1), starts=(0, 1))
    if len(grid) == 2 and math.prod(grid) == cells:
        return _grid_classes(grid)
    single = np.arange(min(_FIRST, cells))
    growing = np.geomspace(_FIRST, cells, _CLASSES - _FIRST + 1)[:-1] if cells > _FIRST else single
    starts = np.unique(np.concatenate([single, np.round(growing)])).astype(np.int64)
    class_of = np.searchsorted(starts, np.arange(cells), side="right") - 1
    return _places("sequence", class_of, starts=(*starts.tolist(), cells))


def _grid_classes(grid: tuple[int, ...]) -> Places:
    """Return the cells of a map, several together where there are very many."""
    pool = max(1, math.ceil(math.sqrt(math.prod(grid) / _CELLS)))
    shape = tuple(math.ceil(size / pool) for size in grid)
    row, column = np.divmod(np.arange(math.prod(grid)), grid[1])
    return _places("grid", row // pool * shape[1] + column // pool, shape=shape)


def _places(
    kind: Literal["sequence", "grid", "none"],
    class_of: NDArray[np.int64] | NDArray[np.float64],
    *,
    starts: tuple[int, ...] = (),
    shape: tuple[int, ...] = (),
) -> Places:
    return Places(
        kind=kind,
        class_of=class_of.astype(np.int32),
        starts=starts,
        shape=shape,
        number=int(class_of.max()) + 1,
    )
