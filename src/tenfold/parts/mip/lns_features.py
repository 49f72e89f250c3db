"""What neighbourhood search adds to a column's features: its past, its kind, its bounds.

The columns of Sonnerat et al. 2021 (arXiv:2107.10201; data_utils.py of their release), appended
to those of `features`: value and presence in each of the last three incumbents, newest first,
whether the column must be whole, and its bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.mip import features
from tenfold.parts.mip.features import Encoded
from tenfold.parts.mip.instance import Floats, Mip

PAST = 3
"""Incumbents that are looked back on."""
HISTORY_FEATURES = (
    *(
        f"{what} {age}"
        for age in range(PAST)
        for what in ("value in incumbent", "there is incumbent")
    ),
    "must be whole",
    "lower bound",
    "upper bound",
)
"""The 9 columns that are appended; incumbent 0 is the newest. A bound that is not there is 0,
which "has lower bound" and "has upper bound" tell from a bound at 0."""
COLUMN_FEATURES = (*features.COLUMN_FEATURES, *HISTORY_FEATURES)
SCHEMA = 100 * features.SCHEMA + 1
"""A change of these columns, or of those before them, is a new number."""


def append_history(encoded: Encoded, mip: Mip, points: Sequence[Floats]) -> NDArray[np.float32]:
    """Return the features of columns with those of neighbourhood search, [n, 19 + 9].

    Args:
        encoded: an LP of the instance; its `places` say which column is which.
        mip: the instance, whose bounds are told.
        points: incumbents over all columns of the instance, newest first; the first three count.
    """
    size = len(mip.cost)
    told = np.zeros((size, len(HISTORY_FEATURES)), dtype=np.float32)
    for age, point in enumerate(points[:PAST]):
        assert point.shape == (size,), f"incumbent {age} has shape {point.shape}, not {(size,)}"
        told[:, 2 * age] = point
        told[:, 2 * age + 1] = 1.0
    told[:, -3] = mip.whole
    told[:, -2] = np.where(np.isfinite(mip.lower), mip.lower, 0.0)
    told[:, -1] = np.where(np.isfinite(mip.upper), mip.upper, 0.0)
    return np.concatenate([encoded.columns, told[encoded.places]], axis=1)
