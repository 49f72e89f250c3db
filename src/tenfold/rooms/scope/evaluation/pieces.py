"""Finished pieces of an evaluation, kept so that it can go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import safetensors.torch

from tenfold.engine.files import write_bytes
from tenfold.rooms.scope.evaluation.sums import Sums


class Pieces:
    """Sums by name: in a folder, or in memory where there is none."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._held: dict[str, Sums] = {}

    def has(self, name: str) -> bool:
        """Say whether a piece is finished."""
        if self.folder is None:
            return name in self._held
        return self._path(self.folder, name).exists()

    def put(self, name: str, sums: Sums) -> None:
        """Keep a finished piece."""
        if self.folder is None:
            self._held[name] = sums
        else:
            write_bytes(self._path(self.folder, name), safetensors.torch.save(sums))

    def get(self, name: str) -> Sums:
        """Return a finished piece."""
        if self.folder is None:
            return self._held[name]
        return safetensors.torch.load_file(self._path(self.folder, name))

    def clear(self) -> None:
        """Forget all pieces; those of other settings beside them too."""
        self._held.clear()
        if self.folder is not None:
            shutil.rmtree(self.folder.parent, ignore_errors=True)

    @staticmethod
    def _path(folder: Path, name: str) -> Path:
        return folder / f"{name}.safetensors"
