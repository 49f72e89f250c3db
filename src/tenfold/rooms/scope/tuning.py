"""The model of a claim tuned on other text, and models restricted to one kind of text."""

# B windows, T tokens of a window

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from tenfold.engine import files
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen, Split
from tenfold.parts.sae.subject import Subject
from tenfold.parts.text.corpus import load_corpus
from tenfold.rooms.scope import config
from tenfold.rooms.scope.subjects import specimen_of_subject

RATE = 3e-4
"""Adam's step size, a tenth of what the model was trained with."""
WINDOWS = 8
"""Windows of a batch."""


def only_kind(specimen: Specimen, kind: str) -> Specimen:
    """Return a language model whose batches keep the positions of one kind of text only.

    Raises:
        TenfoldError: if the specimen has no such kind.
    """
    if kind not in specimen.kinds:
        raise TenfoldError(f"{specimen.name} has no text of kind {kind!r}: {list(specimen.kinds)}")
    number = list(specimen.kinds).index(kind)

    def batches(split: Split, start: int = 0) -> Iterator[Batch]:
        for batch in specimen.batches(split, start):
            chosen = batch.labels["kind"] == number
            yield replace(batch, mask=chosen if batch.mask is None else batch.mask & chosen)

    identity = {"of": specimen.identity, "kind": kind}
    return replace(
        specimen, batches=batches, identity=identity, name=f"{specimen.name}, {kind} only"
    )


def tune(
    subject: Subject,
    *,
    text: str,
    steps: int,
    folder: Path,
    check_stop: Callable[[], None] = lambda: None,
) -> Specimen:
    """Return the model after some more steps on other text, with that text.

    Args:
        subject: the base model, left as it is.
        text: folder of the text; empty takes the prose of the model's own.
        steps: updates.
        folder: keeps the tuned weights, so that a killed claim does not tune again.
        check_stop: called before each step; may raise to stop.
    """
    corpus = load_corpus(text) if text else subject.corpus
    module = copy.deepcopy(subject.module)
    tuned = replace(subject, module=module, corpus=corpus)
    saved = folder / "weights.safetensors"
    if saved.is_file():
        module.load_state_dict(load_file(saved))
    else:
        base = specimen_of_subject(tuned, config.Subject(source="tuned", batch=WINDOWS))
        _train(base if text else only_kind(base, "prose"), steps=steps, check_stop=check_stop)
        weights = {name: value.contiguous() for name, value in module.state_dict().items()}
        files.write_bytes(saved, save(weights))
    module.eval().requires_grad_(False)
    whole = specimen_of_subject(tuned, config.Subject(source="tuned", text=text))
    return whole if text else only_kind(whole, "prose")


def _train(specimen: Specimen, *, steps: int, check_stop: Callable[[], None]) -> None:
    """Lower the specimen's loss on its training text, where its mask keeps."""
    module = specimen.module.train().requires_grad_(True)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, betas=(0.9, 0.95), fused=True)
    assert specimen.loss is not None, "a language model has a loss"
    for _, batch in zip(range(steps), specimen.batches("train"), strict=False):
        check_stop()
        loss = _kept_mean(specimen.loss(batch), batch)
        if loss is None:
            continue
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _kept_mean(losses_BT: Tensor, batch: Batch) -> Tensor | None:
    """Return the mean loss of what the mask keeps and something is predicted at; None if none."""
    keep_BT = losses_BT.isfinite()
    if batch.mask is not None:
        keep_BT &= batch.mask.to(keep_BT.device)
    return losses_BT[keep_BT].mean() if bool(keep_BT.any()) else None
