"""The network of Neural Diving: chance of each slot's bit, and whether to assign it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tenfold.engine import rng
from tenfold.parts.mip.features import COLUMN_FEATURES, ROW_FEATURES
from tenfold.parts.nn.graph import BipartiteGCN, Incidence, PreNorm
from tenfold.parts.nn.linear import linear
from tenfold.rooms.diving.dive.config import GraphConvolution, Network
from tenfold.rooms.diving.dive.looks import OWN_COLUMNS, OWN_ROWS, Look

FARTHEST = 8.0
"""Scaled features are kept within so many spreads."""


class DivingNet(nn.Module):
    """Logits of slots and of coverage heads (Nair et al. 2020, section 5).

    Args:
        network: kind and size.
        extra: features that a hook gives, 0 without one.
        bits: most slots of a column.
        heads: coverage heads.
        dropout: of the last hidden units, while training.
        seed: of the first values.
    """

    def __init__(
        self,
        network: Network,
        *,
        extra: int,
        bits: int,
        heads: int,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        generator = rng.torch_stream(seed, "diving network")
        columns = len(COLUMN_FEATURES) + len(OWN_COLUMNS)
        rows = len(ROW_FEATURES) + len(OWN_ROWS)
        self.column_norm, self.row_norm = PreNorm(columns), PreNorm(rows)
        self.extra_norm = PreNorm(extra)
        self.body: BipartiteGCN | None = None
        known, width, hidden = extra, 0, 0
        if isinstance(network, GraphConvolution):
            self.body = BipartiteGCN(
                columns=columns, rows=rows, width=network.width, depth=network.depth,
                generator=generator,
            )  # fmt: skip
            known += self.body.out_width
            width = hidden = network.width
        else:
            width, hidden = network.width, network.hidden
        self.place = linear(bits, width, generator=generator)
        self.enter = linear(known, width, generator=generator, gain=2**0.5)
        self.middle = linear(width, hidden, generator=generator, gain=2**0.5)
        self.dropout = dropout
        self.likely = linear(hidden, 1, generator=generator, gain=0.1)
        self.choose = linear(hidden, heads, generator=generator, gain=0.1)
        self.bias = nn.Parameter(torch.zeros(1 + heads))

    def forward(
        self,
        look: Look,
        incidence: Incidence | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of the slots, [S], and of the coverage heads, [H, S].

        Args:
            look: the instance.
            incidence: of its graph, if it is known already.
            generator: of dropout; without one nothing is dropped.
        """
        known = _scaled(self.extra_norm, look.extra)
        column = torch.from_numpy(look.slots.column)
        if self.body is not None:
            assert look.graph is not None, "a graph network needs the graph"
            graph = look.graph
            scaled = type(graph)(
                columns=_scaled(self.column_norm, graph.columns),
                rows=_scaled(self.row_norm, graph.rows),
                edge_rows=graph.edge_rows,
                edge_columns=graph.edge_columns,
                edges=graph.edges,
            )
            told = self.body(scaled, incidence)
            known = torch.cat([told[column.to(told.device)], known], dim=1)
        bit = torch.from_numpy(look.slots.bit).to(known.device)
        inner = torch.relu(self.enter(known) + self.place.weight.T[bit])
        inner = torch.relu(self.middle(inner))
        if generator is not None and self.dropout:
            kept = torch.rand(inner.shape, generator=generator) >= self.dropout
            inner = inner * kept.to(inner) / (1 - self.dropout)
        logits = self.likely(inner)[:, 0] + self.bias[0]
        chosen = self.choose(inner).T + self.bias[1:, None]
        return logits, chosen


def _scaled(norm: PreNorm, values: Tensor) -> Tensor:
    scaled: Tensor = norm(values)
    return scaled.clamp(-FARTHEST, FARTHEST)
