"""A network to be looked into, with its data and what can be asked of it (rooms scope, jumprelu).

Each room with a network gives one by `subject.load(run) -> Specimen`; users write their own.
B sequences or pictures of a batch, T positions, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from tenfold.engine.config import Json
from tenfold.parts.sae.rows import Batch

Split = Literal["train", "held_out"]


class Batches(Protocol):
    """Gives the batches of a split from number `start` on, always the same ones."""

    def __call__(self, split: Split, start: int = 0) -> Iterator[Batch]:
        """Yield batches, with or without end; all but the last hold the same number of items."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimen:
    """A network with its data; everything beside these three is optional.

    Batches may carry labels beside those of the room that gives them; `token` [B, T] is what
    pages show of a text. Items (windows of text, pictures, rows) are numbered by
    batch number * batch size + place in the batch.
    """

    module: nn.Module
    """In evaluation mode, on its device."""
    batches: Batches
    """Inputs with masks and labels; the splits share no item."""
    identity: Json
    """What fixes its activations: digests of weights and data."""
    name: str = "model"
    """For titles, manifests and cards."""
    shows: Literal["text", "picture", "row"] = "row"
    """What an item is: a window of tokens, a picture, or just a numbered row."""
    batch_size: int = 32
    """Items of each batch but the last."""
    sites: Mapping[str, int] = field(default_factory=dict)
    """Sites worth looking at with their widths; empty: ask the module."""
    run: Callable[[Batch], Any] | None = None
    """Runs the module on a batch; None is `module(*inputs, **keywords)`."""
    loss: Callable[[Batch], Tensor] | None = None
    """Runs the module and returns what it is trained to make small, at each position [B, T] or
    item [B]; NaN where nothing is predicted."""
    vocabulary: Sequence[str] = ()
    """How each token reads, [V]; for texts."""
    kinds: Sequence[str] = ()
    """Names of the numbers in the label `kind`, such as code and prose."""
    pictures: Callable[[Batch], Tensor] | None = None
    """The pictures of a batch, uint8 [B, height, width, 1 or 3]; for pictures."""
    captions: Callable[[Batch], list[str]] | None = None
    """A line of text for each item of a batch, such as its class."""
    unembedding: Callable[[], Tensor] | None = None
    """The matrix [D, V] from the last residual stream to scores, the last norm's gain folded
    in."""
    encode: Callable[[str], Tensor] | None = None
    """A prompt as tokens [1, T]."""
    scores: Callable[[Tensor], Tensor] | None = None
    """Tokens [B, T] to the scores [B, T, V] of each next token."""
    context: int = 0
    """Most tokens that `scores` takes; 0 if it takes any number."""
    special: Sequence[int] = ()
    """Tokens that stand for no text, such as boundaries; no dictionary is put in their place."""
    licence: str = ""
    """Terms of model and data, for cards."""
