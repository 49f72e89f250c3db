"""Which network judges a graph, and how large it is; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FEATURES = 6
"""Of an ordered pair: A_ij, age of its last flip (scaled) or 0, i == j, C_ij / 4 clipped to 1,
deg_i / sqrt(n), deg_j / sqrt(n)."""
SCALARS = 2
"""Of a whole position: steps left / T, and how far the score is below the best so far."""

Kind = Literal["pairnet", "resnet"]
Size = Literal["cpu", "gpu"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of a policy and value network."""

    torso: Kind = "pairnet"
    """Triangle self-attention, or convolutions over the adjacency image."""
    width: int = 16
    """Channels of a pair."""
    blocks: int = 2
    """Residual blocks."""
    heads: int = 2
    """Attention heads of each direction; not used by resnet."""
    scale_scores: bool = True
    """Whether scores of attention grow with the logarithm of the number of nodes."""
    bf16: bool = False
    """Whether blocks compute in bfloat16 on a GPU; on a CPU all is float32."""

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.width % self.heads:
            raise ValueError(
                f"width ({self.width}) is no multiple of heads ({self.heads}); "
                "all heads must be equally wide"
            )


PRESETS: dict[tuple[Kind, Size], NetworkConfig] = {
    ("pairnet", "cpu"): NetworkConfig(torso="pairnet", width=16, blocks=2, heads=2),
    ("pairnet", "gpu"): NetworkConfig(torso="pairnet", width=64, blocks=4, heads=4, bf16=True),
    # More parameters than the pair network, at most its time: the comparison favours resnet.
    ("resnet", "cpu"): NetworkConfig(torso="resnet", width=24, blocks=3),
    ("resnet", "gpu"): NetworkConfig(torso="resnet", width=96, blocks=8, bf16=True),
}


def preset(kind: Kind, size: Size) -> NetworkConfig:
    """Return the sizes of a network for a CPU core or a GPU.

    Raises:
        ValueError: naming what there is.
    """
    if (kind, size) not in PRESETS:
        known = ", ".join(f"{kind} {size}" for kind, size in PRESETS)
        raise ValueError(f"there is no network {kind!r} of size {size!r}; choose from {known}")
    return PRESETS[kind, size]
