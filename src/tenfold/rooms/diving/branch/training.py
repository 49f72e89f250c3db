"""Training a policy on the expert's answers; resumes exactly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.checkpoint import flatten_optimizer, restore_optimizer
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.nn.graph import Bipartite, Incidence
from tenfold.rooms.diving.branch.config import GraphConvolution, Network, TrainBranch
from tenfold.rooms.diving.branch.policy import BranchNet, Policy, bipartite
from tenfold.rooms.diving.branch.reach import cut_out
from tenfold.rooms.diving.branch.samples import Sample
from tenfold.rooms.diving.method import branching

UNITS = {
    "loss": "cross-entropy with the expert, nats a node, training",
    "validation loss": "cross-entropy with the expert, nats a node, held out",
    "learning rate": "of Adam",
    "top 1": "share of held-out nodes at which the first choice has the best score",
    "top 5": "share of held-out nodes at which one of the first five has the best score",
}
TOPS = (1, 3, 5, 10)
MANY = 20
"""Nodes with so many candidates are also told apart: with few, five of them are easily right."""
_MEASURED = 64
"""Graphs, spread over the training nodes, that fix the scales of features."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """A sample as tensors, with the products over its edges prepared."""

    graph: Bipartite
    incidence: Incidence
    candidates: Tensor
    """[c]."""
    target: Tensor
    """[c], the expert's distribution."""
    scores: np.ndarray
    """[c], of the expert."""


def prepare(samples: Sequence[Sample], network: Network, *, power: float = 1.0) -> list[Node]:
    """Return samples as tensors; those with equal edges share the work for them.

    Nodes at which all candidates have the same score teach nothing and are left out, and so is
    what the network cannot see from the candidates.
    """
    hops = network.depth if isinstance(network, GraphConvolution) else 2
    nodes: list[Node] = []
    incidences: dict[int, Incidence] = {}
    for sample in samples:
        if branching.best_of(sample.scores).all():
            continue
        seen, candidates = cut_out(sample.graph, sample.candidates, hops=hops)
        graph = bipartite(seen)
        # Samples of one search share arrays of edges, see `samples.keep`.
        known = id(seen.edges)
        if known not in incidences:
            incidences[known] = Incidence(graph)
        target = branching.soft_target(sample.scores, power).astype(np.float32)
        nodes.append(
            Node(
                graph=graph,
                incidence=incidences[known],
                candidates=torch.from_numpy(candidates),
                target=torch.from_numpy(target),
                scores=sample.scores,
            )
        )
    return nodes


class Trainer:
    """Network, optimizer and the best weights so far; `Checkpointable`.

    An epoch is a pass over the training nodes in an order of its own. After it the validation
    loss decides: the learning rate falls after `patience` epochs without a better one, and
    `finished` becomes true after `stop_after`.

    Args:
        cfg: of the training.
        training: nodes to learn from.
        validation: nodes that decide when to stop, of other instances.
    """

    def __init__(
        self, cfg: TrainBranch, *, training: Sequence[Sample], validation: Sequence[Sample]
    ) -> None:
        self.cfg = cfg
        self.training, self.validation = (
            prepare(nodes, cfg.network, power=cfg.target_power) for nodes in (training, validation)
        )
        for what, nodes in (("training", self.training), ("validation", self.validation)):
            if not nodes:
                raise TenfoldError(
                    f"there is no {what} node at which candidates differ; collect more instances, "
                    "or harder ones"
                )
        self.net = BranchNet(cfg.network, seed=cfg.seed)
        every = max(1, len(training) // _MEASURED)
        self.net.measure([sample.graph for sample in training[::every]])
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=cfg.learning_rate)
        self.best = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.best_loss, self.stale = float("inf"), 0

    @property
    def epoch_steps(self) -> int:
        """Steps between two looks at the validation nodes."""
        return self.cfg.epoch_steps or -(-len(self.training) // self.cfg.batch)

    @property
    def finished(self) -> bool:
        """Whether more steps are not expected to help."""
        return self.stale >= self.cfg.stop_after

    def update(self, step: int) -> dict[str, float]:
        """Take one step; return what was measured, at the end of an epoch also on validation.

        Args:
            step: its number, from 0.
        """
        self.net.train()
        self.optimizer.zero_grad()
        loss = 0.0
        chosen = self._batch(step)
        # One graph after the other: each stays in the cache, and no joint graph has to be made.
        for node in chosen:
            part = self._loss(node) / len(chosen)
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
        self.optimizer.step()
        told = {"loss": loss, "learning rate": float(self.optimizer.param_groups[0]["lr"])}
        if (step + 1) % self.epoch_steps == 0:
            told |= self._look()
        return told

    def _batch(self, step: int) -> list[Node]:
        """Return the nodes of a step: the next of an endless row of shuffled passes."""
        count, first = len(self.training), step * self.cfg.batch
        orders: dict[int, np.ndarray] = {}
        chosen = []
        for place in range(first, first + self.cfg.batch):
            turn = place // count
            if turn not in orders:
                orders[turn] = rng.stream(self.cfg.seed, "order", turn).permutation(count)
            chosen.append(self.training[orders[turn][place % count]])
        return chosen

    def _loss(self, node: Node) -> Tensor:
        logits = self.net(node.graph, node.candidates, node.incidence)
        return branching.imitation_loss(logits, node.target)

    def _look(self) -> dict[str, float]:
        """Measure on the validation nodes, and keep, slow down or stop accordingly."""
        found = evaluate(self.net, self.validation)
        loss = found["loss"]
        if loss < self.best_loss:
            self.best_loss, self.stale = loss, 0
            self.best = {name: value.clone() for name, value in self.net.state_dict().items()}
        else:
            self.stale += 1
            if self.stale % self.cfg.patience == 0:
                for group in self.optimizer.param_groups:
                    group["lr"] *= self.cfg.fall
        return {"validation loss": loss, "top 1": found["top 1"], "top 5": found["top 5"]}

    def policy(self, report: Json | None = None) -> Policy:
        """Return the policy with the best weights so far."""
        net = BranchNet(self.cfg.network)
        net.load_state_dict(self.best)
        return Policy(net=net.eval(), network=self.cfg.network, report=report or {})

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything the next step depends on."""
        tensors, values = flatten_optimizer(self.optimizer)
        tensors |= {f"net/{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        told = {"optimizer": values, "best_loss": self.best_loss, "stale": self.stale}
        return tensors, told

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Put back what `state` returned."""
        restore_optimizer(self.optimizer, tensors, values["optimizer"])
        self.net.load_state_dict(_below("net/", tensors))
        self.best = _below("best/", tensors)
        self.best_loss, self.stale = float(values["best_loss"]), int(values["stale"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value.clone()
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


@torch.no_grad()
def evaluate(net: BranchNet, nodes: Sequence[Node]) -> dict[str, float]:
    """Return loss and accuracies of a network on prepared nodes.

    Keys: "loss", "nodes"; "top K" and, for a blind choice, "chance K"; the same among nodes with
    20 and more candidates, "top K of 20+", "chance K of 20+", NaN if there is none, and their
    number "nodes of 20+".
    """
    net.eval()
    logits = [net(node.graph, node.candidates, node.incidence) for node in nodes]
    losses = [
        float(branching.imitation_loss(found, node.target))
        for found, node in zip(logits, nodes, strict=True)
    ]
    told = {"loss": float(np.mean(losses)), "nodes": float(len(nodes))}
    pairs = [(found.numpy(), node.scores) for found, node in zip(logits, nodes, strict=True)]
    many = [(found, scores) for found, scores in pairs if len(scores) >= MANY]
    told["nodes of 20+"] = float(len(many))
    for count in TOPS:
        for name, some in (("", pairs), (" of 20+", many)):
            hits = [branching.hit(found, scores, count) for found, scores in some]
            blind = [branching.chance(scores, count) for _, scores in some]
            told[f"top {count}{name}"] = float(np.mean(hits)) if some else float("nan")
            told[f"chance {count}{name}"] = float(np.mean(blind)) if some else float("nan")
    return told


def train(
    cfg: TrainBranch,
    *,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    seconds: float = float("inf"),
) -> Policy:
    """Train to the end in one go and return the best policy; a time limit is not repeatable."""
    began = time.monotonic()
    trainer = Trainer(cfg, training=training, validation=validation)
    for step in range(cfg.steps):
        trainer.update(step)
        if trainer.finished or time.monotonic() - began > seconds:
            break
    report: Json = {"training nodes": len(trainer.training), "seed": cfg.seed, "steps": step + 1}
    found = evaluate(trainer.policy().net, trainer.validation)
    return trainer.policy(report | {"validation": found})
