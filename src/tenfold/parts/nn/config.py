"""Facts about a decoder and how it is optimised, without torch (rooms jumprelu, omni)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A causal transformer; with every option at its Gemma 2 setting it is that architecture."""

    vocab: int = 257
    """Different tokens."""
    context: int = 128
    """Tokens seen at once, at most."""
    width: int = 128
    """Width of the residual stream."""
    depth: int = 4
    """Blocks."""
    heads: int = 4
    """Query heads."""
    kv_heads: int = 4
    """Key and value heads; each serves `heads / kv_heads` query heads."""
    head_width: int = 32
    """Width of one head; even."""
    hidden: int = 384
    """Width inside the feed-forward layer."""
    feedforward: Literal["geglu", "gelu"] = "geglu"
    """`geglu` multiplies by a second projection, `gelu` has none."""
    norms: Literal["pre", "pre_and_post"] = "pre_and_post"
    """Where a block normalises: before each layer, or also what the layer returns (Gemma 2)."""
    embedding: Literal["tied", "own"] = "tied"
    """Whether tokens are scored by the embedding itself or by a matrix of its own."""
    attention_cap: float = 0.0
    """Soft cap of the attention scores; 0 is none, which is faster (Gemma 2: 50)."""
    final_cap: float = 0.0
    """Soft cap of the token scores; 0 is none (Gemma 2: 30)."""
    rope_base: float = 10_000.0
    """Base of the rotary wavelengths."""
    epsilon: float = 1e-6
    """Added to the mean square in a norm."""

    def __post_init__(self) -> None:
        sizes = ("vocab", "context", "width", "depth", "heads", "kv_heads", "head_width", "hidden")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        for name in ("attention_cap", "final_cap"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} ({getattr(self, name)}) must be at least 0, which is none"
                )
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads ({self.heads}) is no multiple of kv_heads ({self.kv_heads}); "
                "each key head must serve equally many query heads"
            )
        if self.head_width % 2:
            raise ValueError(f"head_width ({self.head_width}) is odd; rotation needs pairs")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Muon for matrices between hidden layers, AdamW for all else; no weight decay."""

    muon_rate: float = 0.03
    """Length of a Muon step: the singular values of an update of a square matrix."""
    muon_momentum: float = 0.85
    """Share of the past kept in Muon's running gradient; longer runs want 0.95."""
    adam_rate: float = 0.01
    """Length of an AdamW step, about the change of one entry."""
    adam_betas: tuple[float, float] = (0.9, 0.95)
    """Memory of AdamW's mean and mean square."""
    warmup_steps: int = 20
    """Steps in which the rates rise from zero."""
    decay: Literal["linear", "cosine"] = "linear"
    """How the rates fall to zero at the last step."""

    def __post_init__(self) -> None:
        for name in ("muon_rate", "adam_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be above 0")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be at least 0")
