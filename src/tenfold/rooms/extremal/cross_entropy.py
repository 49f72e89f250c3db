"""Deep cross-entropy method, the baseline that the paper leaves far behind as graphs grow.

Wagner (arXiv:2104.14516): a network decides all pairs of nodes in fixed order, seeing the
decisions so far; the best graphs of many are imitated, and the very best compete again.
Constants are those of the published template (zawagner22/cross-entropy-for-combinatorics).
Differs from it: Adam in place of plain gradient steps, the score of Mehrabian et al.
(arXiv:2311.03583, e - t - q), and ties at a percentile are kept in the order of drawing.
"""

# S sessions, each one graph; N nodes, P = N (N - 1) / 2 pairs in rows of the upper triangle,
# H width of the first hidden layer, E elites, B decisions of a batch

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.engine import rng
from tenfold.engine.checkpoint import flatten_optimizer, restore_optimizer
from tenfold.engine.config import Json
from tenfold.rooms.extremal.cross_entropy_config import CrossEntropyConfig
from tenfold.rooms.extremal.cycles import count_short_cycles
from tenfold.rooms.extremal.graph import Graph, empty, from_adjacency


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """What one iteration drew and learned."""

    score: int
    """Best e - t - q of the new graphs."""
    mean: float
    """Mean e - t - q of the new graphs."""
    loss: float
    """Mean cross-entropy of the imitated decisions, in nats."""


class Policy(nn.Module):
    """Logit of taking the next pair, from the decisions so far and the place in the order."""

    def __init__(self, cfg: CrossEntropyConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.pairs = cfg.pairs
        self.first = _layer(2 * cfg.pairs, cfg.hidden[0], generator=generator)
        widths = [*cfg.hidden, 1]
        self.later = nn.ModuleList(_layer(a, b, generator=generator) for a, b in pairwise(widths))

    def forward(self, state_BQ: Tensor) -> Tensor:
        """Return logits [B] from decisions so far and a one-hot place, 2 P numbers."""
        return self.decide(self.first(state_BQ))

    def decide(self, inner_BH: Tensor) -> Tensor:
        """Return logits [B] from what the first layer says before its rectifier."""
        for layer in self.later:
            inner_BH = layer(inner_BH.relu())
        return inner_BH.squeeze(-1)


class CrossEntropy:
    """Policy, optimiser, survivors and the best graph so far; `Checkpointable`."""

    def __init__(self, cfg: CrossEntropyConfig, *, torch_device: str = "cpu") -> None:
        self.cfg = cfg
        self.device = torch_device
        generator = rng.torch_stream(cfg.seed, "cross-entropy", "policy")
        self.policy = Policy(cfg, generator=generator).to(torch_device)
        self.adam = torch.optim.Adam(self.policy.parameters(), lr=cfg.learning_rate, fused=True)
        self.survivors = torch.zeros(0, cfg.pairs, dtype=torch.bool, device=torch_device)
        self.best: Graph = empty(cfg.nodes)
        self.best_score = 0
        self.flips = 0
        self.seconds = 0.0

    def update(self, step: int) -> Iteration:
        """Draw graphs, imitate the elite, keep the survivors.

        Args:
            step: its number, from 0; names the streams of randomness.
        """
        began = time.monotonic()
        cfg = self.cfg
        new_SP = play(self.policy, cfg.sessions, generator=self._stream("sessions", step))
        new_scores = score(new_SP, nodes=cfg.nodes)
        self._keep_best(new_SP[new_scores.argmax()], int(new_scores.max()))
        graphs_SP = torch.cat([self.survivors, new_SP])
        scores_S = score(graphs_SP, nodes=cfg.nodes)
        elite = select(scores_S, percentile=cfg.elite_percentile, sessions=cfg.sessions)
        kept = select(scores_S, percentile=cfg.survivor_percentile, sessions=cfg.sessions)
        loss = self._imitate(graphs_SP[elite], step)
        self.survivors = graphs_SP[kept]
        self.flips += cfg.sessions * cfg.pairs
        self.seconds += time.monotonic() - began
        return Iteration(
            score=int(new_scores.max()), mean=float(new_scores.float().mean()), loss=loss
        )

    def _imitate(self, elite_EP: Tensor, step: int) -> float:
        """Take a step of Adam for every batch of decisions, in random order."""
        pairs = self.cfg.pairs
        decisions_EP = elite_EP.float()
        # Which numbers of a state are known at each place: earlier decisions, and the place.
        whole_EQ = torch.cat([decisions_EP, torch.ones_like(decisions_EP)], dim=1)
        square_PP = torch.ones(pairs, pairs, device=self.device)
        known_PQ = torch.cat([square_PP.tril(-1), torch.eye(pairs, device=self.device)], dim=1)
        order = torch.randperm(
            elite_EP.numel(), generator=self._stream("order", step), device=self.device
        )
        total = torch.zeros((), device=self.device)
        for chosen in torch.split(order, self.cfg.batch):
            logits = self.policy(whole_EQ[chosen // pairs] * known_PQ[chosen % pairs])
            loss = F.binary_cross_entropy_with_logits(logits, decisions_EP.view(-1)[chosen])
            self.adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.adam.step()
            total += loss.detach() * len(chosen)
        return float(total) / len(order)

    def _keep_best(self, graph_P: Tensor, found: int) -> None:
        if found > self.best_score:
            self.best_score = found
            self.best = repair(as_adjacency(graph_P[None], nodes=self.cfg.nodes)[0].cpu().numpy())

    def _stream(self, name: str, step: int) -> torch.Generator:
        return rng.torch_stream(self.cfg.seed, "cross-entropy", name, step, device=self.device)

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything the next iteration depends on, the best graph and the counts."""
        tensors, values = flatten_optimizer(self.adam)
        tensors |= {f"policy/{name}": value for name, value in self.policy.state_dict().items()}
        tensors |= {"survivors": self.survivors, "best": torch.from_numpy(self.best.edges)}
        counts = {"score": self.best_score, "flips": self.flips, "seconds": self.seconds}
        return tensors, {"optimizer": values, "counts": counts}

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        prefix = "policy/"
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        self.policy.load_state_dict(own)
        restore_optimizer(self.adam, tensors, values["optimizer"])
        self.survivors = tensors["survivors"].to(self.device)
        self.best = Graph(self.cfg.nodes, tensors["best"].cpu().numpy())
        counts = values["counts"]
        self.best_score, self.flips = int(counts["score"]), int(counts["flips"])
        self.seconds = float(counts["seconds"])


# Graphs as decisions


@torch.inference_mode()
def play(policy: Policy, sessions: int, *, generator: torch.Generator) -> Tensor:
    """Draw graphs [S, P] by deciding one pair after the other, all sessions at once."""
    pairs = policy.pairs
    device = policy.first.weight.device
    chances_PS = torch.rand(pairs, sessions, generator=generator, device=device)
    decisions_PH, places_PH = torch.split(policy.first.weight.T.contiguous(), pairs)
    taken_PS = torch.zeros(pairs, sessions, device=device)
    # What the first layer has summed up grows by one column with each edge that is taken.
    inner_SH = policy.first.bias.expand(sessions, -1).clone()
    for pair in range(pairs):
        chance = policy.decide(inner_SH + places_PH[pair]).sigmoid()
        taken_PS[pair] = chances_PS[pair] < chance
        inner_SH.addr_(taken_PS[pair], decisions_PH[pair])
    return taken_PS.T.bool().contiguous()


def score(graphs_SP: Tensor, *, nodes: int) -> Tensor:
    """Return edges less triangles less 4-cycles of each graph [S]."""
    one = as_adjacency(graphs_SP, nodes=nodes).float()
    two = one @ one
    edges = graphs_SP.sum(dim=1)
    triangles = (one * two).sum(dim=(1, 2)).long() // 6
    # Each 4-cycle has two diagonals, each of them counted in both directions.
    two.diagonal(dim1=1, dim2=2).zero_()
    squares = (two * (two - 1) / 2).sum(dim=(1, 2)).long() // 4
    return edges - triangles - squares


def as_adjacency(graphs_SP: Tensor, *, nodes: int) -> Tensor:
    """Return the adjacency matrices [S, N, N] of decisions [S, P]."""
    u, v = torch.triu_indices(nodes, nodes, offset=1, device=graphs_SP.device)
    matrix = graphs_SP.new_zeros(len(graphs_SP), nodes, nodes)
    matrix[:, u, v] = graphs_SP
    matrix[:, v, u] = graphs_SP
    return matrix


def select(scores_S: Tensor, *, percentile: float, sessions: int) -> Tensor:
    """Return which graphs lie at or above a percentile of the scores, best first.

    Of those that lie exactly on it no more stay than make up the share of `sessions` above it.
    """
    scores = scores_S.cpu().numpy()
    threshold = np.percentile(scores, percentile)
    above, reaching = int((scores > threshold).sum()), int((scores >= threshold).sum())
    share = round(sessions * (100 - percentile) / 100)
    best_first = torch.argsort(scores_S, descending=True, stable=True)
    return best_first[: max(1, above, min(reaching, share))]


def repair(adjacency: NDArray[np.bool_]) -> Graph:
    """Delete an edge on most 3- and 4-cycles until there are none; e - t - q edges or more stay."""
    left = adjacency.astype(np.int64)
    while (counts := count_short_cycles(left)).any():
        u, v = np.unravel_index(counts.argmax(), counts.shape)
        left[u, v] = left[v, u] = 0
    return from_adjacency(left)


def _layer(inputs: int, outputs: int, *, generator: torch.Generator) -> nn.Linear:
    """Return a layer as Keras begins it, which the template uses: Glorot's uniform, no bias."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
