"""The policy: a graph network with one logit a candidate, what it was trained on, and its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tenfold.engine import rng
from tenfold.engine.config import Json, decode, encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_bytes
from tenfold.parts.mip import features
from tenfold.parts.mip.features import COLUMN_FEATURES, ROW_FEATURES, Encoded
from tenfold.parts.nn.graph import Bipartite, BipartiteGCN, HalfConvolution, Incidence, PreNorm
from tenfold.parts.nn.linear import linear
from tenfold.rooms.diving.branch.config import SCHEMA, GraphConvolution, HalfConvolutions, Network

_KEY = "tenfold branching policy"
FAR = 4.0
"""A feature whose mean over a graph is so many spreads from training's is said to be far off."""
_STILL = 1e-2
"""Least spread that a feature is taken to have, so that constant ones can be far off as well."""


class BranchNet(nn.Module):
    """Logit of each candidate, t_c = MLP(v_c) with v from a graph network on scaled features.

    Args:
        network: kind and size.
        seed: of the first values.
    """

    body: BipartiteGCN | HalfConvolution

    def __init__(self, network: Network, *, seed: int = 0) -> None:
        super().__init__()
        generator = rng.torch_stream(seed, "branching policy")
        columns, rows = len(COLUMN_FEATURES), len(ROW_FEATURES)
        self.column_norm, self.row_norm = PreNorm(columns), PreNorm(rows)
        if isinstance(network, GraphConvolution):
            self.body = BipartiteGCN(
                columns=columns,
                rows=rows,
                width=network.width,
                depth=network.depth,
                generator=generator,
            )
        else:
            self.body = HalfConvolution(
                columns=columns, rows=rows, width=network.width, generator=generator
            )
        self.head = nn.Sequential(
            linear(self.body.out_width, network.width, generator=generator, gain=2**0.5),
            nn.ReLU(),
            # Softmax does not see a last bias.
            linear(network.width, 1, generator=generator, gain=0.1),
        )

    def measure(self, graphs: Sequence[Encoded]) -> None:
        """Fix the scales of features by the graphs of a training set."""
        self.column_norm.measure(torch.from_numpy(np.concatenate([g.columns for g in graphs])))
        self.row_norm.measure(torch.from_numpy(np.concatenate([g.rows for g in graphs])))
        if isinstance(self.body, HalfConvolution):
            with torch.no_grad():
                self.body.measure(self._scaled(bipartite(graphs[0])))

    def _scaled(self, graph: Bipartite) -> Bipartite:
        return Bipartite(
            columns=self.column_norm(graph.columns),
            rows=self.row_norm(graph.rows),
            edge_rows=graph.edge_rows,
            edge_columns=graph.edge_columns,
            edges=graph.edges,
        )

    def forward(
        self, graph: Bipartite, candidates: Tensor, incidence: Incidence | None = None
    ) -> Tensor:
        """Return the logits, [c], of the columns that are candidates, [c]."""
        scaled = self._scaled(graph)
        if isinstance(self.body, BipartiteGCN):
            known = self.body(scaled, incidence)
        else:
            known = self.body(scaled)
        logits: Tensor = self.head(known[candidates])[:, 0]
        return logits


def bipartite(graph: Encoded) -> Bipartite:
    """Return a graph as tensors that share its memory."""
    return Bipartite(
        columns=torch.from_numpy(graph.columns),
        rows=torch.from_numpy(graph.rows),
        edge_rows=torch.from_numpy(graph.edge_rows),
        edge_columns=torch.from_numpy(graph.edge_columns),
        edges=torch.from_numpy(graph.edges),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """A trained network and where it came from."""

    net: BranchNet
    network: Network
    report: Json = field(default_factory=dict)
    """Seed, samples, instances, accuracy: what its makers want to be known."""

    def logits(self, graph: Encoded, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logit of each candidate, [c], by plain torch."""
        with torch.no_grad():
            found = self.net(bipartite(graph), torch.from_numpy(candidates))
        return np.asarray(found.numpy())

    def find_mismatch(self, graph: Encoded) -> str:
        """Return which feature is far from what the policy was trained on; empty if none is."""
        for names, norm, told in (
            (COLUMN_FEATURES, self.net.column_norm, graph.columns),
            (ROW_FEATURES, self.net.row_norm, graph.rows),
        ):
            if not len(told):
                continue
            spread = np.maximum(1 / norm.scale.numpy(), _STILL)
            # A feature that was constant keeps the scale 1; its spread was nothing.
            spread = np.where(norm.scale.numpy() == 1, _STILL, spread)
            away = np.abs(told.mean(axis=0) + norm.shift.numpy()) / spread
            worst = int(np.argmax(away))
            if away[worst] > FAR:
                return (
                    f"{names[worst]!r} has a mean of {told[:, worst].mean():.3g}, "
                    f"{away[worst]:.0f} spreads from the {-float(norm.shift[worst]):.3g} that the "
                    "policy was trained on"
                )
        return ""


def save_policy(policy: Policy, path: Path) -> None:
    """Write a policy as one safetensors file, which says what it is in its header."""
    told = {
        "schema": SCHEMA,
        "features": features.SCHEMA,
        "network": encode(policy.network),
        "report": policy.report,
    }
    tensors = {name: value.contiguous() for name, value in policy.net.state_dict().items()}
    write_bytes(path, save(tensors, {_KEY: json.dumps(told)}))


def load_policy(path: Path) -> Policy:
    """Read a policy.

    Raises:
        TenfoldError: if it is none, is of another version, or was trained on features that mean
            something else now.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TenfoldError(f"{path} cannot be read as a policy ({error}); train it again") from None
    if _KEY not in header:
        raise TenfoldError(f"{path} is no branching policy; `train branch` makes one")
    told = json.loads(header[_KEY])
    for name, known in (("schema", SCHEMA), ("features", features.SCHEMA)):
        if told.get(name) != known:
            raise TenfoldError(
                f"{path} has {name} {told.get(name)!r}, this version reads {known}; train it again"
            )
    network = _network(told["network"], path)
    net = BranchNet(network)
    try:
        net.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise TenfoldError(f"{path} does not hold the network that it names: {error}") from None
    return Policy(net=net.eval(), network=network, report=told["report"])


def _network(told: Json, path: Path) -> Network:
    if told.get("kind") == HalfConvolutions.__name__:
        return decode(HalfConvolutions, told, path=str(path))
    return decode(GraphConvolution, told, path=str(path))
