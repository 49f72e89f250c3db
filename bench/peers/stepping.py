"""The child's side of `train_step.py` and `time_to_fvu.py`: a trainer that steps when told to.

Every library's script calls `serve` with its own way to build a trainer. It uses NumPy and
torch only, because it runs in each library's own environment.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch


@dataclass(frozen=True)
class Shape:
    """What is trained: D inputs, M latents, B rows a step, the L0 that is wanted."""

    d_in: int
    num_latents: int
    batch: int
    target_l0: float
    steps: int
    learning_rate: float
    """0 is the library's own."""


class Stepper(Protocol):
    """A library's trainer."""

    def step(self, x: torch.Tensor) -> None:
        """Take one training step on rows [B, D]."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return latents [B, M]."""

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        """Return reconstructions [B, D]."""


def serve(build: Callable[[Shape, torch.Tensor], Stepper]) -> None:
    """Answer each line "COUNT" on standard input with one JSON line about that many steps."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    setting = json.loads(sys.argv[1])
    torch.set_num_threads(setting["threads"])
    torch.manual_seed(0)
    rows = torch.from_numpy(np.load(setting["matrix"]))
    held_out = rows[: setting["held_out"]]
    rows = rows[setting["held_out"] :]
    shape = Shape(**setting["shape"])
    batches = rows[: len(rows) // shape.batch * shape.batch].split(shape.batch)
    if len(held_out):
        # What is loaded or compiled once a process is no part of training.
        spare = build(shape, rows)
        for batch in batches[:2]:
            spare.step(batch)
    stepper = build(shape, rows)
    done = 0
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            stepper.step(batches[done % len(batches)])
            done += 1
        seconds = time.perf_counter() - start
        answer = {"seconds": seconds, "l0": count_active(stepper.encode(batches[0]))}
        if len(held_out):
            answer |= measure(stepper, held_out)
        answers.write(json.dumps(answer) + "\n")


@torch.no_grad()
def measure(stepper: Stepper, x: torch.Tensor) -> dict[str, float]:
    """Return L0 and the fraction of variance unexplained of rows that are not trained on."""
    f = stepper.encode(x)
    missed = (stepper.decode(f) - x).square().sum() / (x - x.mean(dim=0)).square().sum()
    return {"l0": count_active(f), "fvu": float(missed)}


@torch.no_grad()
def count_active(f: torch.Tensor) -> float:
    """Return the L0 of latents [n, M]."""
    return float((f > 0).sum(dim=1).float().mean())


@torch.no_grad()
def thresholds(z: torch.Tensor, target_l0: float) -> torch.Tensor:
    """Return the thresholds [M] at which pre-activations z [n, M] have the wanted L0."""
    return z.quantile(1 - target_l0 / z.shape[1], dim=0)
