"""Training of the language model that is looked into, and its measure (rooms jumprelu, scope).

B windows, T tokens of a window, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine.config import Json
from tenfold.engine.rng import torch_stream
from tenfold.engine.run import Run
from tenfold.parts.nn.optim import Optimizer, rate_factor
from tenfold.parts.nn.transformer import Decoder
from tenfold.parts.sae.subject_config import SubjectConfig
from tenfold.parts.text.corpus import Corpus, describe
from tenfold.parts.text.ngram import fit_trigram, surprise
from tenfold.parts.text.packing import KINDS, Windows, cut, spread_starts
from tenfold.parts.text.tokens import BOUNDARY

UNITS: Mapping[str, str] = {"subject/loss": "nats per token", "subject/rate": "share of the peak"}
LOG_EVERY = 20
EVALUATION_BATCH = 32


class Trainer:
    """Everything that a step of training changes; Checkpointable."""

    def __init__(self, config: SubjectConfig, *, device: str = "cpu") -> None:
        self.config = config
        generator = torch_stream(config.seed, "subject", "initial")
        self.module = Decoder(config.decoder, generator=generator).to(device)
        matrices = [p for p in self.module.blocks.parameters() if p.ndim == 2]
        inner = {id(p) for p in matrices}
        others = [p for p in self.module.parameters() if id(p) not in inner]
        self.optimizer = Optimizer(config.optim, matrices=matrices, others=others)

    def step(self, windows_BT: Tensor, *, factor: float) -> Tensor:
        """Learn from windows of text; return their mean nats per token."""
        loss = cross_entropy(self.module(windows_BT[:, :-1]), windows_BT[:, 1:]).mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch 2.13
        self.optimizer.step(factor=factor)
        return loss.detach()

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return the weights and the optimisers' running means."""
        tensors, values = self.optimizer.state()
        weights = {f"module/{name}": w for name, w in self.module.state_dict().items()}
        return tensors | weights, values

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        self.optimizer.load_state(tensors, values)
        names = self.module.state_dict()
        self.module.load_state_dict({name: tensors[f"module/{name}"] for name in names})


def train(run: Run, trainer: Trainer, *, corpus: Corpus) -> None:
    """Take the steps that `run` has left."""
    config = trainer.config
    packed, length = corpus.splits["train"], config.decoder.context + 1
    windows = Windows(
        size=len(packed.tokens),
        length=length,
        batch=config.batch,
        seed=config.seed,
        name="subject/learn",
    )
    device = trainer.module.embed.weight.device
    for step in run.steps(config.steps, trainer):
        batch = torch.from_numpy(cut(packed.tokens, windows.starts(step), length=length))
        factor = rate_factor(config.optim, step=step, total=config.steps)
        loss = trainer.step(batch.to(device), factor=factor)
        if step % LOG_EVERY == 0:
            run.log(step, {"subject/loss": loss, "subject/rate": factor})


def measure(trainer: Trainer, *, corpus: Corpus) -> Json:
    """Compare the model with a trigram model on the same held-out tokens."""
    module, config = trainer.module, trainer.config
    packed, context = corpus.splits["held_out"], config.decoder.context
    count = max(1, config.held_out_tokens // context)
    # From the second token on, so that the trigram model has its two before each target.
    starts = 1 + spread_starts(len(packed.tokens) - 1, length=context + 1, count=count)
    targets = starts[:, None] + np.arange(1, context + 1)
    trigram = fit_trigram(corpus.splits["train"].tokens, vocab=config.decoder.vocab)
    nats = {
        "": _held_out_nats(module, cut(packed.tokens, starts, length=context + 1)),
        "trigram_": surprise(trigram, packed.tokens, targets),
    }
    is_byte, kinds = packed.tokens[targets] != BOUNDARY, packed.kinds[packed.document_at(targets)]
    report: Json = {}
    for model, values in nats.items():
        report[f"{model}bits_per_byte"] = _bits_per_byte(values, is_byte)
        for index, kind in enumerate(KINDS):
            chosen = kinds == index
            report[f"{model}bits_per_byte_{kind}"] = _bits_per_byte(values[chosen], is_byte[chosen])
    counts = {
        "held_out_tokens": targets.size,
        "parameters": sum(p.numel() for p in module.parameters()),
        "training_tokens": config.steps * config.batch * context,
    }
    return report | counts | {"corpus": describe(corpus)}


def cross_entropy(scores_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Return the nats of each target under the softmax of its scores [B, T]."""
    nats = F.cross_entropy(scores_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none")
    return nats.view_as(targets_BT)


@torch.no_grad()
def _held_out_nats(module: Decoder, windows: NDArray[np.int64]) -> NDArray[np.float64]:
    device = module.embed.weight.device
    batches = torch.split(torch.from_numpy(windows).to(device), EVALUATION_BATCH)
    losses = [cross_entropy(module(batch[:, :-1]), batch[:, 1:]) for batch in batches]
    return torch.cat(losses).double().cpu().numpy()


def _bits_per_byte(nats: NDArray[np.float64], is_byte: NDArray[np.bool_]) -> float | None:
    """Return all bits, those of boundaries too, over the number of bytes; None without any."""
    return float(nats.sum() / math.log(2) / is_byte.sum()) if is_byte.any() else None
