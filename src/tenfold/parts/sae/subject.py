"""A small language model trained on the spot, to be looked into (rooms jumprelu, scope).

B windows, T tokens of a window, N tokens of a split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine import checkpoint
from tenfold.engine.config import Json, digest, encode
from tenfold.engine.files import cache_root, read_json
from tenfold.engine.run import Options, Run
from tenfold.parts.nn.transformer import Decoder
from tenfold.parts.sae.harvest import Batch
from tenfold.parts.sae.subject_config import SubjectConfig
from tenfold.parts.sae.subject_training import UNITS, Trainer, cross_entropy, measure, train
from tenfold.parts.text.corpus import Corpus, Split, load_corpus
from tenfold.parts.text.packing import Packed, Windows, cut
from tenfold.parts.text.tokens import BOUNDARY

REPORT = "report.json"
BATCH = 32
"""Windows in a batch, unless said otherwise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A trained language model with its text."""

    module: Decoder
    config: SubjectConfig
    corpus: Corpus
    report: Json
    """Bits per byte of model and trigram on the same held-out tokens, and what was read."""

    def sites(self) -> dict[str, int]:
        """Return the sites of Gemma Scope in this model with their widths."""
        decoder = self.config.decoder
        widths = {
            "blocks.{}": decoder.width,
            "blocks.{}.mlp_post_norm": decoder.width,
            "blocks.{}.attn.out:in": decoder.heads * decoder.head_width,
        }
        return {
            site.format(block): width
            for block in range(decoder.depth)
            for site, width in widths.items()
        }

    def tokens(self, split: Split) -> Tensor:
        """Return all tokens of a split in order [N]."""
        return torch.from_numpy(self.corpus.splits[split].tokens.astype(np.int64))

    def batches(
        self, *, seed: int, split: Split = "train", start: int = 0, batch: int = BATCH
    ) -> Iterator[Batch]:
        """Yield windows of text without end, from batch number `start` on.

        Boundary tokens are masked out: they stand for no text.

        Args:
            seed: of the order in which the windows come.
            split: which text.
            start: number of the first batch; the same whether earlier ones were drawn or not.
            batch: windows in each.
        """
        packed, length = self.corpus.splits[split], self.config.decoder.context
        windows = Windows(
            size=len(packed.tokens),
            length=length,
            batch=batch,
            seed=seed,
            name=f"subject/{split}",
        )
        while True:
            yield _read_batch(packed, windows.starts(start), length=length)
            start += 1

    @torch.no_grad()
    def loss(self, tokens: Tensor) -> Tensor:
        """Return the nats of each token but the first, given those before it.

        Args:
            tokens: windows [B, T], T at most one more than the context.

        Returns:
            Cross-entropy [B, T - 1].
        """
        tokens = tokens.to(self.module.embed.weight.device)
        return cross_entropy(self.module(tokens[:, :-1]), tokens[:, 1:])


def _read_batch(packed: Packed, starts: NDArray[np.int64], *, length: int) -> Batch:
    tokens = torch.from_numpy(cut(packed.tokens, starts, length=length))
    documents = packed.document_at(starts[:, None] + np.arange(length))
    labels = {
        "token": tokens,
        "document": torch.from_numpy(documents),
        "kind": torch.from_numpy(packed.kinds[documents]),
    }
    return Batch(inputs=(tokens,), mask=tokens != BOUNDARY, labels=labels)


def load_or_train(
    config: SubjectConfig,
    *,
    options: Options = Options(),  # noqa: B008 frozen
    device: str = "cpu",
) -> Subject:
    """Return the model of `config`, trained now or taken from the cache.

    The cache is a run directory named by the digest of config and text, so training that was
    stopped or killed goes on from its last checkpoint.

    Args:
        config: what to train; where its text lies does not matter, what it says does.
        options: how to carry the training.
        device: where the model is trained and kept.

    Raises:
        TenfoldError: if there is too little text, or another process is training this model.
        RunStopped: if a stop was asked for.
    """
    corpus = load_corpus(config.text)
    path = subject_folder(config, corpus)
    trainer = Trainer(config, device=device)
    # A finished model is read without the run's lock, so that many processes can share it.
    if not _load_finished(path, trainer):
        with _open_run(path, config, options=options) as run:
            train(run, trainer, corpus=corpus)
            run.write_json(REPORT, measure(trainer, corpus=corpus))
    report = read_json(path / "out" / REPORT)
    module = trainer.module.eval().requires_grad_(False)
    return Subject(module=module, config=config, corpus=corpus, report=report)


def subject_folder(config: SubjectConfig, corpus: Corpus) -> Path:
    """Return where the model of `config` trained on `corpus` is kept."""
    name = digest([encode(replace(config, text="")), corpus.digest])
    return cache_root() / "subjects" / name


def _load_finished(path: Path, trainer: Trainer) -> bool:
    """Load the model at `path` if it is there, trained to its end and undamaged."""
    found = checkpoint.latest(path / "ckpt")
    if found is None or not (path / "out" / REPORT).exists():
        return False
    return checkpoint.load(found[1], trainer) == trainer.config.steps


def _open_run(path: Path, config: SubjectConfig, *, options: Options) -> Run:
    if not (path / "config.json").exists():
        return Run.create(
            config,
            room="subject",
            verb="train",
            seed=config.seed,
            units=UNITS,
            options=options,
            path=path,
        )
    # The folder is named by the digest: only the place of the text can differ.
    return Run.resume(path, config, units=UNITS, options=options, accept_changes=True)
