"""Compile this room's loops ahead, as set-up does: `python -m tenfold.rooms.diving.warm`."""

from __future__ import annotations

import numpy as np

from tenfold.engine import kernel
from tenfold.parts.mip import families
from tenfold.parts.mip.propagate import grant_wishes
from tenfold.rooms.diving.branch.config import GraphConvolution
from tenfold.rooms.diving.branch.policy import BranchNet, Policy
from tenfold.rooms.diving.branch.scoring import scorer
from tenfold.rooms.diving.commitment import hooks


def main() -> None:
    """Call every loop once on a small instance."""
    if kernel.find_obstacle():
        return
    mip = families.find_family("unit_commitment").make(0, units=3, hours=4)
    columns, _ = hooks.features(mip)
    likely = np.full(len(mip.cost), np.nan)
    likely[columns] = 0.5
    hooks.decode(mip, likely, 0.5)
    grant_wishes(mip, columns, np.zeros(len(columns)), np.zeros(len(columns)))
    score_once()


def score_once() -> None:
    """Let a policy score the columns of a small graph."""
    from tenfold.parts.mip import highs
    from tenfold.parts.mip.features import encode
    from tenfold.parts.mip.lp_state import from_relaxed

    mip = families.find_family("set_cover").make(0, rows=8, columns=16, density=0.2)
    network = GraphConvolution(width=8, depth=2)
    graph = encode(from_relaxed(mip, highs.relax(mip)))
    scorer(Policy(net=BranchNet(network), network=network))(graph, np.arange(4))


if __name__ == "__main__":
    main()
