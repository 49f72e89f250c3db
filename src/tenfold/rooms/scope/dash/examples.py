"""The examples shown of each latent, and what of their items is shown."""

# M latents, X examples of a latent, S places of a window, N rows

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tenfold.rooms.scope.dash import kernels, show_kernels
from tenfold.rooms.scope.dash.kernels import Counts, Floats, Ints, Longs, Marks
from tenfold.rooms.scope.dash.layout import Layout

GROUPS = 4
"""Parts of the range of values from which examples are drawn."""
SHOWN = kernels.TOP + GROUPS * kernels.DRAWN


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Examples of the latents of one dictionary; arrays are [M, X]."""

    row: Longs
    """Row of the store, -1 where there are no more examples."""
    value: Floats
    group: Marks
    """0 is the largest values; 1 to GROUPS parts of the range, the uppermost first."""
    item: Ints
    place: Ints
    window: Ints
    """First place of what is shown."""
    colour: Marks
    """Values along the window, 0 inactive, 255 the latent's largest, [M, X, S]."""
    scale: Floats
    """Colour a unit of value, [M]."""


def choose(counts: Counts, layout: Layout) -> Examples:
    """Choose the examples of one dictionary; colours are filled in later."""
    shape = (len(counts.fired), SHOWN)
    row, value = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
    group = np.zeros(shape, np.uint8)
    show_kernels.choose_examples(counts, layout.item, GROUPS, row, value, group)
    place = np.where(row >= 0, layout.place[row], 0).astype(np.int32)
    last = max(layout.cells - layout.window, 0)
    largest = np.maximum(counts.top_value[:, 0], 0)
    return Examples(
        row=row,
        value=value,
        group=group,
        item=np.where(row >= 0, layout.item[row], -1).astype(np.int32),
        place=place,
        window=np.clip(place - layout.window // 2, 0, last).astype(np.int32),
        colour=np.zeros((*shape, layout.window), np.uint8),
        scale=np.divide(254, largest, out=np.zeros_like(largest), where=largest > 0),
    )
