"""Decoder language model with the options of Gemma 2 (arXiv:2408.00118; rooms jumprelu, omni).

B sequences, T positions, D width, V vocabulary.

Sites of Gemma Scope are the modules `blocks.i` (residual stream after the block),
`blocks.i.mlp_post_norm` (what the feed-forward layer adds) and the input of `blocks.i.attn.out`
(the heads side by side).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.parts.nn.attention import Attention, soft_cap
from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.nn.feedforward import FeedForward
from tenfold.parts.nn.linear import embedding, linear
from tenfold.parts.nn.norms import RMSNorm
from tenfold.parts.nn.rope import rotation_tables


class Block(nn.Module):
    """Attention and feed-forward layer, each normalised and added to the residual stream."""

    def __init__(self, config: DecoderConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.attn_norm = _norm(config)
        self.attn = Attention(config, generator=generator)
        self.attn_post_norm = _post_norm(config)
        self.mlp_norm = _norm(config)
        self.mlp = FeedForward(config, generator=generator)
        self.mlp_post_norm = _post_norm(config)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Return the residual stream after this block."""
        x_BTD = x_BTD + self.attn_post_norm(self.attn(self.attn_norm(x_BTD), rotation))
        out: Tensor = x_BTD + self.mlp_post_norm(self.mlp(self.mlp_norm(x_BTD)))
        return out


def _norm(config: DecoderConfig) -> RMSNorm:
    return RMSNorm(config.width, epsilon=config.epsilon)


def _post_norm(config: DecoderConfig) -> nn.Module:
    return _norm(config) if config.norms == "pre_and_post" else nn.Identity()


class Decoder(nn.Module):
    """Causal language model: tokens to scores of the next token."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: DecoderConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.embed = embedding(config.vocab, config.width, generator=generator)
        self.blocks = nn.ModuleList(Block(config, generator=generator) for _ in range(config.depth))
        self.norm = _norm(config)
        own = config.embedding == "own"
        self.unembed = linear(config.width, config.vocab, generator=generator) if own else None
        cos_TH, sin_TH = rotation_tables(
            config.context, head_width=config.head_width, base=config.rope_base
        )
        self.register_buffer("cos", cos_TH, persistent=False)
        self.register_buffer("sin", sin_TH, persistent=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the scores of each next token [B, T, V] before the softmax.

        Raises:
            ValueError: if there are more positions than the context holds.
        """
        length, context = tokens_BT.shape[1], self.config.context
        if length > context:
            raise ValueError(f"{length} tokens exceed the context ({context}); cut the text")
        rotation = (self.cos[:length], self.sin[:length])
        # Rows of the embedding have length one; the stream starts with entries of variance one.
        x_BTD = self.embed(tokens_BT) * self.config.width**0.5
        for block in self.blocks:
            x_BTD = block(x_BTD, rotation)
        matrix_VD = self.embed.weight if self.unembed is None else self.unembed.weight
        return soft_cap(F.linear(self.norm(x_BTD), matrix_VD), cap=self.config.final_cap)
