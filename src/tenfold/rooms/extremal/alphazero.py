"""AlphaZero for extremal graphs: self-play over growing sizes, replay, and a network that learns.

Mehrabian et al. (arXiv:2311.03583), with the equations of `method.py`. A step is: choose a size,
begin games from padded graphs of smaller sizes (or from no edges), play them by tree search,
keep what was found, and learn from the newest games: the policy to follow the search, the value
to foresee the return.

Every graph that a game or a search walked over is a candidate; the best of each game is repaired,
checked by code that shares nothing with the engine, and put into `solutions`, which nothing else
fills, and into an archive if one is given. Flips are counted inside searches too: one is one
position that was reached and scored.
"""

# B positions, P pairs

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.checkpoint import flatten_optimizer, restore_optimizer
from tenfold.engine.config import Json
from tenfold.parts.search.curriculum import Turn, next_turn
from tenfold.rooms.extremal import model
from tenfold.rooms.extremal.actors import (
    Crew,
    Judge,
    Solutions,
    as_block,
    draw_starts,
    new_games,
    play,
    promising,
    searching,
)
from tenfold.rooms.extremal.alphazero_config import AlphaZeroConfig, Budget
from tenfold.rooms.extremal.bounds import upper_bound
from tenfold.rooms.extremal.data import Games, as_features
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.problem import Problem, resize
from tenfold.rooms.extremal.replay import Block, Replay

METHOD = "alphazero"


class Sink(Protocol):
    """Where finds go beside the learner itself: `archive.Archive`."""

    def put(
        self, graph: Graph, *, method: str, start: str, seed: int, flips: int, seconds: float
    ) -> bool:
        """Keep a graph; say whether it was wanted."""


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """What one step played and learned."""

    nodes: int
    """The size that was worked on."""
    edges: int
    """Most edges known on it after this step."""
    mean_best: float
    """Mean over the games of the best score that moves reached, without what searches met."""
    policy_loss: float
    """Mean cross-entropy to the searches, in nats, less their own entropy; NaN without steps."""
    value_loss: float
    """Mean squared error in units of `method.value_scale`; NaN without steps."""
    flips: int
    """All flips so far, those in searches included."""
    seconds: float
    """All seconds so far."""
    cpu_seconds: float
    """All seconds of processor time so far, of all threads."""


class AlphaZero:
    """Network, optimiser, replay and the best graphs of every size; `Checkpointable`."""

    def __init__(
        self,
        cfg: AlphaZeroConfig,
        *,
        torch_device: str = "cpu",
        threads: int = 0,
        archive: Sink | None = None,
    ) -> None:
        self.cfg = cfg
        self.device = torch_device
        self.archive = archive
        self.problem = Problem(nodes=max(cfg.sizes), forbid=cfg.forbid)
        self.network = model.build_network(cfg.network, seed=cfg.seed).to(torch_device)
        self.adam = _optimizer(self.network, cfg)
        self.crew = Crew(torch_device=torch_device, threads=threads)
        self.mover = searching(Judge(self.network, crew=self.crew), cfg.search, seed=cfg.seed)
        self.replay = Replay(cfg.learn.positions)
        self.solutions = Solutions(self.problem, keep=cfg.keep)
        self.turn = Turn()
        self.flips = 0
        self.seconds = self.cpu_seconds = 0.0

    @property
    def finished(self) -> list[int]:
        """Sizes on which no more edges are possible, by a proven bound."""
        return [n for n in self.cfg.sizes if self.solutions.edges(n) >= self._upper(n)]

    def update(self, step: int) -> Iteration:
        """Play a batch of games on one size and learn from the newest games.

        Args:
            step: its number, from 0; names the streams of randomness.
        """
        began, began_cpu = time.monotonic(), time.process_time()
        cfg = self.cfg
        self.turn = next_turn(
            self.turn, sizes=cfg.sizes, finished=self.finished, patience=cfg.patience
        )
        games = self._begin(self.turn.size, step)
        moves, rewards = play(games, self.mover, name=f"{step}")
        self.replay.add(as_block(moves, rewards, nodes=games.nodes))
        self.flips += int(games.state.flips.sum())
        self._keep(games, seconds=self.seconds + time.monotonic() - began)
        policy_loss, value_loss = self._learn(step)
        self.seconds += time.monotonic() - began
        self.cpu_seconds += time.process_time() - began_cpu
        return Iteration(
            nodes=games.nodes,
            edges=self.solutions.edges(games.nodes),
            mean_best=float(games.bests.mean()),
            policy_loss=policy_loss,
            value_loss=value_loss,
            flips=self.flips,
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
        )

    def _upper(self, nodes: int) -> int:
        return upper_bound(resize(self.problem, nodes)).value

    def _begin(self, nodes: int, step: int) -> Games:
        cfg = self.cfg
        starts = draw_starts(
            self.solutions if cfg.curriculum else None,
            nodes=nodes,
            games=cfg.games,
            generator=rng.stream(cfg.seed, METHOD, "starts", step),
        )
        return new_games(cfg, starts)

    def _keep(self, games: Games, *, seconds: float) -> None:
        for graph in promising(games, self.solutions):
            self.solutions.put(graph)
            if self.archive is not None:
                self.archive.put(
                    graph,
                    method=METHOD,
                    start="curriculum" if self.cfg.curriculum else "empty",
                    seed=self.cfg.seed,
                    flips=self.flips,
                    seconds=seconds,
                )

    def _learn(self, step: int) -> tuple[float, float]:
        """Take steps of AdamW on positions of the newest games; return both mean losses."""
        cfg = self.cfg.learn
        generator = rng.stream(self.cfg.seed, METHOD, "replay", step)
        losses = []
        for _ in range(cfg.steps if self.replay.blocks else 0):
            block = self.replay.sample(cfg.batch, generator=generator)
            losses.append(self._descend(block))
            self.crew.call(self._step)
        found = np.mean(losses, axis=0) if losses else (np.nan, np.nan)
        return float(found[0]), float(found[1])

    def _descend(self, block: Block) -> tuple[float, float]:
        """Set the gradients of a batch, portion by portion; return both losses."""
        weights = list(self.network.parameters())

        def differentiate(portion: slice) -> tuple[float, float, tuple[Tensor, ...]]:
            part = block.take(np.arange(len(block))[portion])
            share = len(part) / len(block)
            policy, value = losses_of(self.network, part, tenure=self.cfg.tenure)
            loss = share * (policy + self.cfg.learn.value_weight * value)
            gradients = torch.autograd.grad(loss, weights)
            return share * policy.item(), share * value.item(), gradients

        found = self.crew.map(differentiate, self.crew.cut(len(block), nodes=block.nodes))
        for weight, *gradients in zip(weights, *(part[2] for part in found), strict=True):
            weight.grad = torch.stack(gradients).sum(dim=0)
        return sum(part[0] for part in found), sum(part[1] for part in found)

    def _step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.adam.step()

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything the next step depends on, all graphs and the counts."""
        tensors, values = flatten_optimizer(self.adam)
        tensors |= {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= self.replay.state()
        kept, forms = self.solutions.state()
        tensors |= kept
        counts = {"flips": self.flips, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        turn = {"size": self.turn.size, "spent": self.turn.spent}
        return tensors, {"optimizer": values, "forms": forms, "counts": counts, "turn": turn}

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        head = "network/"
        own = {name.removeprefix(head): v for name, v in tensors.items() if name.startswith(head)}
        self.network.load_state_dict(own)
        restore_optimizer(self.adam, tensors, values["optimizer"])
        self.replay.load_state(tensors)
        self.solutions.load_state(tensors, values["forms"])
        counts = values["counts"]
        self.flips, self.turn = int(counts["flips"]), Turn(**values["turn"])
        self.seconds, self.cpu_seconds = float(counts["seconds"]), float(counts["cpu_seconds"])


def losses_of(network: model.Network, block: Block, *, tenure: int) -> tuple[Tensor, Tensor]:
    """Return the divergence of the policy from the searches, and the squared error of the value."""
    device = next(network.parameters()).device
    pairs, scalars = as_features(block.seen, nodes=block.nodes)
    logits_BP, value_B = network(
        torch.from_numpy(pairs).to(device), torch.from_numpy(scalars).to(device)
    )
    tabu_BP = torch.from_numpy((block.ago > 0) & (block.ago <= tenure)).to(device)
    log_policy_BP = logits_BP.masked_fill(tabu_BP, -1e9).log_softmax(dim=1)
    target_BP = torch.from_numpy(block.policy).to(device)
    policy = F.kl_div(log_policy_BP, target_BP, reduction="batchmean")
    return policy, F.mse_loss(value_B, torch.from_numpy(block.value).to(device))


def _optimizer(network: model.Network, cfg: AlphaZeroConfig) -> torch.optim.Optimizer:
    learn = cfg.learn
    return torch.optim.AdamW(
        network.parameters(), lr=learn.learning_rate, weight_decay=learn.weight_decay, fused=True
    )


# Whole runs


def train(
    cfg: AlphaZeroConfig,
    budget: Budget,
    *,
    torch_device: str = "cpu",
    threads: int = 0,
    archive: Sink | None = None,
) -> tuple[AlphaZero, list[Iteration]]:
    """Train until the budget is spent or every size has met its upper bound.

    Returns:
        The learner (`network`, `solutions`) and its curve, a point for each step.
    """
    learner = AlphaZero(cfg, torch_device=torch_device, threads=threads, archive=archive)
    return learner, list(steps(learner, budget))


def steps(learner: AlphaZero, budget: Budget, *, first: int = 0) -> Iterator[Iteration]:
    """Yield step after step until the budget is spent or every size has met its upper bound."""
    step = first
    while (
        learner.seconds < budget.seconds
        and learner.flips < budget.flips
        and len(learner.finished) < len(learner.cfg.sizes)
    ):
        yield learner.update(step)
        step += 1
