"""Networks that judge a graph: a logit for flipping each pair of nodes, and a value.

`PairNet` is the Pairformer of Mehrabian et al. (arXiv:2311.03583), reduced: the pair part of
AlphaFold 2's Evoformer (Jumper et al. 2021, supplement 1.6.6) with triangle self-attention along
rows and columns, no triangle multiplication. Any number of nodes; renaming the nodes permutes the
logits and leaves the value. Sizes are ours, the paper's are not known to us. Rows and columns
read the same normalised tensor, so that one product projects both.

Our addition: scores of attention grow with log N (`NetworkConfig.scale_scores`). A softmax over
more nodes is flatter; without it a network trained on at most 16 nodes overlooks the 4-cycles of
24: right on 75 to 76 % of the graphs of `cycles.py` (three seeds), with it on all (six seeds).

`ResNet` is the torso it is compared with: 3 x 3 convolutions over the adjacency matrix as an
image. Global pooling lets it be *applied* to any number of nodes, but what it says depends on how
the nodes are numbered: it is not equivariant.
"""

# B positions, N nodes, E = N (N - 1) / 2 unordered pairs u < v in rows of the upper triangle,
# C channels, H heads; IJ an ordered pair, K a third node

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.engine import rng
from tenfold.parts.nn.linear import linear
from tenfold.rooms.extremal.model_config import (
    FEATURES,
    SCALARS,
    Kind,
    NetworkConfig,
    Size,
    preset,
)

PAIRS_AT_ONCE = 8_192
"""Ordered pairs that `evaluate` sends through a network at once on a CPU: more leave the cache."""
REFERENCE_NODES = 16
"""Scores are multiplied by log N / log of this, so by 1 here."""
FIRST_LOGITS = 0.1
"""Spread of untrained logits and values, so that the first searches are nearly uniform."""


class PairNet(nn.Module):
    """Triangle self-attention over all ordered pairs; O(N^3) a block."""

    def __init__(self, config: NetworkConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.embed = Embedding(config.width, generator=generator)
        self.blocks = nn.ModuleList(
            PairBlock(config, generator=generator) for _ in range(config.blocks)
        )
        self.heads = Heads(config.width, generator=generator)

    def forward(self, pairs_BIJF: Tensor, scalars_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, E] and values [B]; for the features see `model_config`."""
        with _autocast(self.config, pairs_BIJF):
            x_BIJC = self.embed(pairs_BIJF, scalars_BS)
            for block in self.blocks:
                x_BIJC = block(x_BIJC)
        return _judge(self.heads, x_BIJC)


class ResNet(nn.Module):
    """Residual convolutions over the adjacency image; O(N^2) a block, not equivariant."""

    def __init__(self, config: NetworkConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.embed = Embedding(config.width, generator=generator)
        self.blocks = nn.ModuleList(
            ImageBlock(config.width, gain=_residual_gain(config), generator=generator)
            for _ in range(config.blocks)
        )
        self.heads = Heads(config.width, generator=generator)

    def forward(self, pairs_BIJF: Tensor, scalars_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, E] and values [B]; for the features see `model_config`."""
        with _autocast(self.config, pairs_BIJF):
            x_BIJC = self.embed(pairs_BIJF, scalars_BS)
            for block in self.blocks:
                x_BIJC = block(x_BIJC)
        return _judge(self.heads, x_BIJC)


Network = PairNet | ResNet


def build(kind: Kind, size: Size, *, seed: int = 0) -> Network:
    """Return an untrained network of a preset size; a pure function of its arguments.

    Raises:
        ValueError: if there is no such preset.
    """
    return build_network(preset(kind, size), seed=seed)


def build_network(config: NetworkConfig, *, seed: int = 0) -> Network:
    """Return an untrained network of any size."""
    generator = rng.torch_stream(seed, "network", config.torso)
    made = PairNet if config.torso == "pairnet" else ResNet
    return made(config, generator=generator)


@torch.inference_mode()
def evaluate(network: Network, pairs_BIJF: Tensor, scalars_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `network` says, without gradients, in portions that fit a CPU's cache."""
    nodes = pairs_BIJF.shape[1]
    most = len(pairs_BIJF) if pairs_BIJF.is_cuda else max(1, PAIRS_AT_ONCE // nodes**2)
    said = [
        network(pairs, scalars)
        for pairs, scalars in zip(
            torch.split(pairs_BIJF, most), torch.split(scalars_BS, most), strict=True
        )
    ]
    return torch.cat([logits for logits, _ in said]), torch.cat([value for _, value in said])


# Parts


class Embedding(nn.Module):
    """Sum of what the features of a pair and of the whole position say, and a constant."""

    def __init__(self, width: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.pairs = linear(FEATURES, width, gain=FEATURES**0.5, generator=generator)
        self.scalars = linear(SCALARS, width, generator=generator)
        self.constant = nn.Parameter(torch.randn(width, generator=generator))

    def forward(self, pairs_BIJF: Tensor, scalars_BS: Tensor) -> Tensor:
        """Return [B, N, N, C]."""
        whole_BC = self.scalars(scalars_BS) + self.constant
        out: Tensor = self.pairs(pairs_BIJF) + whole_BC[:, None, None]
        return out


class PairBlock(nn.Module):
    """Attention in rows and columns, then a transition of every pair, each added to x."""

    def __init__(self, config: NetworkConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        width, gain = config.width, _residual_gain(config)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = TriangleAttention(config, gain=gain, generator=generator)
        self.transition_norm = nn.LayerNorm(width)
        self.up = linear(width, 4 * width, generator=generator)
        self.down = linear(4 * width, width, gain=gain, generator=generator)

    def forward(self, x_BIJC: Tensor) -> Tensor:
        """Return x after this block."""
        x_BIJC = x_BIJC + self.attention(self.attention_norm(x_BIJC))
        out: Tensor = x_BIJC + self.down(F.gelu(self.up(self.transition_norm(x_BIJC))))
        return out


class TriangleAttention(nn.Module):
    """Gated self-attention within each row and each column, with a bias from the third side.

    Row i: a_ijk = softmax_k(s (q_ij . k_ik / sqrt(C / H) + b_jk)), s = log N / log 16, then
    gate_ij * sum_k a_ijk v_ik; columns exchange the two nodes of every pair.
    """

    def __init__(self, config: NetworkConfig, *, gain: float, generator: torch.Generator) -> None:
        super().__init__()
        self.width, self.heads = config.width, config.heads
        self.scale_scores = config.scale_scores
        # Queries, keys, values, gates and biases of both directions from one product.
        self.project = linear(self.width, 2 * (4 * self.width + self.heads), generator=generator)
        self.out = linear(2 * self.width, self.width, gain=gain, generator=generator)

    def forward(self, z_BIJC: Tensor) -> Tensor:
        """Return what rows and columns add to x."""
        rows, columns = self.project(z_BIJC).chunk(2, dim=-1)
        found = [self._attend(rows), self._attend(columns.transpose(1, 2)).transpose(1, 2)]
        out: Tensor = self.out(torch.cat(found, dim=-1))
        return out

    def _attend(self, projected_BIJP: Tensor) -> Tensor:
        *qkv, gate, bias = torch.split(projected_BIJP, [self.width] * 4 + [self.heads], dim=-1)
        sharpness = self._sharpness(projected_BIJP.shape[1])
        scale = sharpness * (self.width // self.heads) ** -0.5
        bias_HBJK = bias.movedim(-1, 0).contiguous() * sharpness
        # A call for each head, with rows in the place of heads: so one bias serves all rows of a
        # graph without being copied N times.
        queries, keys, values = (part.chunk(self.heads, dim=-1) for part in qkv)
        found = [
            F.scaled_dot_product_attention(q, k, v, attn_mask=bias_BJK[:, None], scale=scale)
            for q, k, v, bias_BJK in zip(queries, keys, values, bias_HBJK, strict=True)
        ]
        # Strided memory would cost the sigmoid its vector instructions.
        out: Tensor = torch.cat(found, dim=-1) * gate.contiguous().sigmoid()
        return out

    def _sharpness(self, nodes: int) -> float:
        return math.log(nodes) / math.log(REFERENCE_NODES) if self.scale_scores else 1.0


class ImageBlock(nn.Module):
    """Two 3 x 3 convolutions, each after a norm over the channels, added to x."""

    def __init__(self, width: int, *, gain: float, generator: torch.Generator) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.first = _convolution(width, gain=1.0, generator=generator)
        self.second = _convolution(width, gain=gain, generator=generator)

    def forward(self, x_BIJC: Tensor) -> Tensor:
        """Return x after this block."""
        # Channels last already: the images below are views.
        image_BCIJ = self.first(self.first_norm(x_BIJC).movedim(-1, 1))
        inner_BIJC = self.second_norm(F.gelu(image_BCIJ).movedim(1, -1))
        out: Tensor = x_BIJC + self.second(inner_BIJC.movedim(-1, 1)).movedim(1, -1)
        return out


class Heads(nn.Module):
    """Logits l_ij = r(x_ij) + r(x_ji) of unordered pairs, value from mean and maximum."""

    def __init__(self, width: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.pair = linear(width, width, generator=generator)
        self.logit = linear(width, 1, gain=FIRST_LOGITS, generator=generator)
        self.pooled = linear(2 * width, 2 * width, generator=generator)
        self.value = linear(2 * width, 1, gain=FIRST_LOGITS, generator=generator)

    def forward(self, x_BIJC: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, E] and values [B]."""
        x_BIJC = self.norm(x_BIJC)
        ordered_BIJ = self.logit(x_BIJC + F.gelu(self.pair(x_BIJC))).squeeze(-1)
        nodes = x_BIJC.shape[1]
        u, v = torch.triu_indices(nodes, nodes, offset=1, device=x_BIJC.device)
        logits_BE = ordered_BIJ[:, u, v] + ordered_BIJ[:, v, u]
        pooled_BC = torch.cat([x_BIJC.mean(dim=(1, 2)), x_BIJC.amax(dim=(1, 2))], dim=-1)
        value_B1: Tensor = self.value(F.gelu(self.pooled(pooled_BC)))
        return logits_BE, value_B1.squeeze(-1)


def _judge(heads: nn.Module, x_BIJC: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the heads in float32: small differences between pairs decide a search."""
    logits_BE, value_B = heads(x_BIJC.float())
    return logits_BE, value_B


def _autocast(config: NetworkConfig, like: Tensor) -> AbstractContextManager[None]:
    if config.bf16 and like.is_cuda:
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def _residual_gain(config: NetworkConfig) -> float:
    """Return the spread of a residual branch with which their sum stays near the embedding's."""
    return float((2 * config.blocks) ** -0.5)


def _convolution(width: int, *, gain: float, generator: torch.Generator) -> nn.Conv2d:
    layer = nn.Conv2d(width, width, 3, padding=1, bias=False, device="meta").to_empty(device="cpu")
    nn.init.normal_(layer.weight, std=gain * (9 * width) ** -0.5, generator=generator)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return layer
