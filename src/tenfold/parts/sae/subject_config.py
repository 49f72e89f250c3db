"""Facts about the language model that is looked into, without torch (rooms jumprelu, scope)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenfold.parts.nn.config import DecoderConfig, OptimConfig
from tenfold.parts.text.tokens import VOCAB


@dataclass(frozen=True, kw_only=True)
class SubjectConfig:
    """A small language model of bytes and how it is trained on the spot."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    text: str = ""
    """Folder of text files; "" = docstrings and sources of Python's standard library."""
    steps: int = 1_200
    """Updates."""
    batch: int = 8
    """Windows of text in an update, each of `decoder.context` tokens."""
    held_out_tokens: int = 131_072
    """Tokens of held-out text on which the model is measured, at most."""
    seed: int = 0
    """Of the initial weights and the order of the text."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "held_out_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.decoder.vocab < VOCAB:
            raise ValueError(
                f"decoder.vocab ({self.decoder.vocab}) is below {VOCAB}, "
                "the number of bytes and the boundary of documents"
            )


def tiny(text: str = "") -> SubjectConfig:
    """A second; it learns hardly more than which bytes are frequent."""
    decoder = DecoderConfig(context=32, width=16, depth=2, heads=2, kv_heads=1, head_width=8)
    return SubjectConfig(decoder=decoder, text=text, steps=30, held_out_tokens=4_096)


def quick(text: str = "") -> SubjectConfig:
    """A quarter of a minute on two cores; it beats the trigram model by a tenth and more."""
    decoder = DecoderConfig(width=64, depth=3, heads=2, kv_heads=2, hidden=192)
    return SubjectConfig(decoder=decoder, text=text, steps=400)


def laptop(text: str = "") -> SubjectConfig:
    """A minute and a half on two cores."""
    return SubjectConfig(text=text)
