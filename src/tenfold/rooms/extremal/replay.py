"""Positions of games played, kept in whole batches of games, the oldest dropped first."""

# P pairs of the nodes of a block, B positions

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.rooms.extremal.data import Seen

FIELDS = ("entries", "ago", "scalars", "policy", "value")


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """What a batch of games teaches; all games have the same number of nodes."""

    nodes: int
    entries: NDArray[np.uint8]
    """[B, P], as the next two what `Games.observe` returns."""
    ago: NDArray[np.uint8]
    scalars: NDArray[np.float32]
    policy: NDArray[np.float32]
    """[B, P] shares that sum to 1."""
    value: NDArray[np.float32]
    """[B] return that followed, in units of `method.value_scale`."""

    def __len__(self) -> int:
        """Return the number of positions."""
        return len(self.value)

    @property
    def seen(self) -> Seen:
        """What a network is shown."""
        return self.entries, self.ago, self.scalars

    def take(self, chosen: NDArray[np.int64]) -> Block:
        """Return some positions."""
        parts = {name: getattr(self, name)[chosen] for name in FIELDS}
        return Block(nodes=self.nodes, **parts)


class Replay:
    """The newest blocks, as many as hold a given number of positions."""

    def __init__(self, positions: int) -> None:
        self.positions = positions
        self.blocks: list[Block] = []

    def add(self, block: Block) -> None:
        """Add a block and drop the oldest while those that stay hold enough."""
        if len(block):
            self.blocks.append(block)
        while sum(map(len, self.blocks[1:])) >= self.positions:
            del self.blocks[0]

    def sample(self, batch: int, *, generator: np.random.Generator) -> Block:
        """Draw a block by its number of positions, and positions of it with replacement."""
        counts = np.array([len(block) for block in self.blocks])
        block = self.blocks[generator.choice(len(counts), p=counts / counts.sum())]
        return block.take(generator.integers(len(block), size=batch))

    def state(self) -> dict[str, Tensor]:
        """Return all blocks as tensors."""
        found = {}
        for number, block in enumerate(self.blocks):
            found[f"replay/{number}/nodes"] = torch.tensor(block.nodes)
            for name in FIELDS:
                found[f"replay/{number}/{name}"] = torch.from_numpy(getattr(block, name))
        return found

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` returned; other tensors are left alone."""
        self.blocks = []
        while (head := f"replay/{len(self.blocks)}") + "/nodes" in tensors:
            parts = {name: tensors[f"{head}/{name}"].cpu().numpy() for name in FIELDS}
            self.blocks.append(Block(nodes=int(tensors[f"{head}/nodes"]), **parts))
