"""Training of Neural Diving: one instance a step; `Checkpointable`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.engine import rng
from tenfold.engine.checkpoint import flatten_optimizer, restore_optimizer
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.solving import Relaxed
from tenfold.parts.nn.graph import Incidence
from tenfold.rooms.diving.dive.config import GraphConvolution, TrainDive
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.looks import Look, look_at
from tenfold.rooms.diving.dive.model import DivingNet
from tenfold.rooms.diving.dive.network import feature_means, new_network
from tenfold.rooms.diving.dive.slots import bits_of
from tenfold.rooms.diving.dive.store import Labelled
from tenfold.rooms.diving.method.diving import (
    diving_loss,
    most_certain,
    neg_log_likelihood,
    soft_targets,
)

UNITS = {
    "loss": "nats a slot, training instance",
    "nll": "nats a slot, held-out instances",
    "wrong": "share of slots, held-out instances",
    "wrong_assigned": "share of assigned slots at the middle coverage, held-out instances",
    "coverage": "share of slots that the middle head assigns, held-out instances",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lesson:
    """One instance as it is trained on."""

    key: str
    looks: tuple[Look, ...]
    """Without the root LP, with it; one of them if training asks for one only."""
    incidences: tuple[Incidence | None, ...]
    targets: Tensor
    """[S], weighted mean of the points' bits."""


def lesson_of(labelled: Labelled, *, told: TrainDive, hooks: Hooks) -> Lesson | None:
    """Return the lesson of a labelled instance; `None` if there is nothing to learn from it."""
    mip, pool = labelled.mip, labelled.pool
    if not len(pool.objectives):
        return None
    graph = isinstance(told.network, GraphConvolution)
    versions: list[Relaxed | None] = [None] if told.root_lp != "always" or not graph else []
    if graph and told.root_lp != "never" and labelled.relaxed is not None:
        versions.append(labelled.relaxed)
    looks = tuple(
        look_at(mip, bits=told.bits, hooks=hooks, graph=graph, relaxed=relaxed)
        for relaxed in versions
    )
    if not looks or not len(looks[0].slots):
        return None
    bits = torch.from_numpy(bits_of(looks[0].slots, pool.x))
    return Lesson(
        key=labelled.key,
        looks=looks,
        incidences=tuple(Incidence(look.graph) if look.graph else None for look in looks),
        targets=soft_targets(bits, torch.from_numpy(pool.weights(told.temperature))),
    )


class Trainer:
    """The state of training between two steps."""

    def __init__(
        self, told: TrainDive, lessons: Sequence[Lesson], held_out: Sequence[Lesson], *, seed: int
    ) -> None:
        """Begin.

        Raises:
            TenfoldError: if there is no lesson.
        """
        if not lessons:
            raise TenfoldError(
                "no instance has both a point and a column to predict; collect with more time"
            )
        self.told, self.lessons, self.held_out, self.seed = told, lessons, held_out, seed
        self.extra = lessons[0].looks[0].extra.shape[1]
        self.net = new_network(told, extra=self.extra, seed=seed)
        _measure(self.net, lessons)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=told.learning_rate, weight_decay=told.weight_decay
        )
        self.means = _spreads(lessons)

    def update(self, step: int) -> Tensor:
        """Take one step and return the loss."""
        draw = rng.stream(self.seed, "lesson", step)
        lesson = self.lessons[int(draw.integers(len(self.lessons)))]
        version = int(draw.integers(len(lesson.looks)))
        dropout = rng.torch_stream(self.seed, "dropout", step)
        logits, chosen = self.net(lesson.looks[version], lesson.incidences[version], dropout)
        told = self.told
        loss = diving_loss(
            logits, chosen, lesson.targets, coverages=told.coverages, penalty=told.penalty,
            auxiliary=told.auxiliary,
        )  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(told, step)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def watch(self) -> dict[str, float]:
        """Return the metrics on held-out instances, means over them."""
        rows = []
        for lesson in self.held_out or self.lessons[:4]:
            logits, chosen = self.net(lesson.looks[-1], lesson.incidences[-1])
            rows.append(_measures(logits, chosen, lesson.targets, self.told))
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return network and optimiser."""
        tensors, values = flatten_optimizer(self.optimizer)
        weights = {f"net/{name}": value for name, value in self.net.state_dict().items()}
        return weights | tensors, {"optimizer": values}

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        weights = {
            name.removeprefix("net/"): value
            for name, value in tensors.items()
            if name.startswith("net/")
        }
        self.net.load_state_dict(weights)
        rest = {name: value for name, value in tensors.items() if not name.startswith("net/")}
        restore_optimizer(self.optimizer, rest, values["optimizer"])


def learning_rate(told: TrainDive, step: int) -> float:
    """Return the step size: up over the first 20th, then down by a cosine."""
    warm = max(told.steps // 20, 1)
    if step < warm:
        return told.learning_rate * (step + 1) / warm
    share = (step - warm) / max(told.steps - warm, 1)
    return told.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _measures(logits: Tensor, chosen: Tensor, targets: Tensor, told: TrainDive) -> dict[str, float]:
    middle = len(told.coverages) // 2
    wrong = (logits > 0) != (targets > 0.5)
    used = most_certain(chosen[middle], told.coverages[middle])
    return {
        "nll": float(neg_log_likelihood(logits, targets).mean()),
        "wrong": float(wrong.float().mean()),
        "wrong_assigned": float(wrong[used].float().mean()) if used.any() else 0.0,
        "coverage": float(chosen[middle].sigmoid().mean()),
    }


def _measure(net: DivingNet, lessons: Sequence[Lesson]) -> None:
    """Fix the scales of features by some of the training instances."""
    looks = [look for lesson in lessons[:16] for look in lesson.looks]
    if looks[0].extra.shape[1]:
        net.extra_norm.measure(torch.cat([look.extra for look in looks]))
    graphs = [look.graph for look in looks if look.graph is not None]
    if graphs:
        net.column_norm.measure(torch.cat([graph.columns for graph in graphs]))
        net.row_norm.measure(torch.cat([graph.rows for graph in graphs]))


def _spreads(lessons: Sequence[Lesson]) -> np.ndarray:
    """Return mean and spread over instances of each feature's mean, [2, F]."""
    told = np.array([feature_means(look) for lesson in lessons for look in lesson.looks])
    return np.stack([told.mean(axis=0), told.std(axis=0)])
