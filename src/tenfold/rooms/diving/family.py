"""A user's family: files of instances, split once into those to learn from and those held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenfold.engine import rng
from tenfold.parts.mip import instances


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Files of instances that look alike."""

    train: tuple[Path, ...]
    valid: tuple[Path, ...]
    test: tuple[Path, ...]

    @staticmethod
    def from_dir(
        path: str | Path, *, split: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0
    ) -> Family:
        """Split the instances of a folder at random; copies of one instance are left out.

        Args:
            path: of the folder.
            split: shares to learn from, to validate on, to test on; they are scaled to sum to 1.
            seed: of the split.

        Raises:
            TenfoldError: if there is no folder or no instance in it.
            ValueError: if a share is negative or all are 0.
        """
        if min(split) < 0 or not sum(split) > 0:
            raise ValueError(f"split {split} must be shares from 0 on that are not all 0")
        files = instances.folder(Path(path)).files
        order = rng.stream(seed, "split of a family").permutation(len(files))
        ends = [round(len(files) * sum(split[:k]) / sum(split)) for k in range(1, len(split))]
        parts = [sorted(files[i] for i in some) for some in _cut(order.tolist(), ends)]
        return Family(train=tuple(parts[0]), valid=tuple(parts[1]), test=tuple(parts[2]))


def _cut(order: list[int], ends: list[int]) -> list[list[int]]:
    return [order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]]
