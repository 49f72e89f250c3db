"""Logits of a node's candidates, by compiled loops if the network and the machine allow it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tenfold.engine import kernel
from tenfold.parts.mip.features import Encoded
from tenfold.rooms.diving.branch import kernels
from tenfold.rooms.diving.branch.config import GraphConvolution
from tenfold.rooms.diving.branch.policy import Policy

Score = Callable[[Encoded, NDArray[np.int64]], NDArray[np.float32]]
"""Gives the logits, [c], of the columns, [c], of a graph; they are overwritten by its next call."""


def find_obstacle(policy: Policy) -> str:
    """Return why the policy cannot be run by compiled loops, empty if it can."""
    if not isinstance(policy.network, GraphConvolution):
        return f"there are no loops for {type(policy.network).__name__}"
    return kernel.find_obstacle()


def scorer(policy: Policy) -> Score:
    """Return the fastest way to score; loops and torch agree up to rounding."""
    if find_obstacle(policy):
        return policy.logits
    return kernels.Loops(policy.net)
