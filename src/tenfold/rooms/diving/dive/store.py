"""A store of labelled instances: one instance, its root LP and its pool under each key.

KEY.mip.safetensors   the instance
KEY.lp.safetensors    its root LP, if it has a best point
KEY.pool.safetensors, KEY.pool.json   the pool; the latter is written last
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_bytes
from tenfold.parts.mip.instance import Mip
from tenfold.parts.mip.instance_files import load_mip, save_mip
from tenfold.parts.mip.labels import Pool, read_pool, write_pool
from tenfold.parts.mip.solving import Relaxed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labelled:
    """An instance with what a network is to imitate."""

    key: str
    mip: Mip
    pool: Pool
    relaxed: Relaxed | None
    """The root LP; `None` if it has no best point."""


def write_labelled(labelled: Labelled, folder: Path) -> None:
    """Write one entry; with its .pool.json it is whole."""
    save_mip(labelled.mip, folder / f"{labelled.key}.mip.safetensors")
    if labelled.relaxed is not None:
        relaxed = labelled.relaxed
        numbers = np.array([relaxed.objective, relaxed.iterations, relaxed.seconds])
        names = ("x", "duals", "reduced", "basis")
        arrays: dict[str, Any] = {name: getattr(relaxed, name) for name in names}
        arrays["numbers"] = numbers
        write_bytes(folder / f"{labelled.key}.lp.safetensors", save(arrays))
    write_pool(labelled.pool, folder / f"{labelled.key}.pool")


def read_labelled(folder: Path, key: str) -> Labelled:
    """Read one entry."""
    mip = load_mip(folder / f"{key}.mip.safetensors")
    relaxed = None
    file = folder / f"{key}.lp.safetensors"
    if file.exists():
        arrays = load_file(file)
        objective, iterations, seconds = arrays.pop("numbers").tolist()
        relaxed = Relaxed(
            status="optimal", objective=objective, iterations=int(iterations), seconds=seconds,
            x=arrays["x"], duals=arrays["duals"], reduced=arrays["reduced"],
            basis=arrays["basis"],
        )  # fmt: skip
    pool = read_pool(folder / f"{key}.pool", mip)
    return Labelled(key=key, mip=mip, pool=pool, relaxed=relaxed)


def store_folder(path: Path) -> Path:
    """Return the folder of a store that a path names: itself, or a run of `collect dive`.

    Raises:
        TenfoldError: if there is no store.
    """
    for folder in (path / "out" / "store", path):
        if any(folder.glob("*.pool.json")):
            return folder
    raise TenfoldError(
        f"{path} holds no labelled instances; make some with `tenfold diving collect dive`"
    )


def keys_of(folder: Path) -> list[str]:
    """Return the keys of whole entries, sorted."""
    return sorted(file.name.removesuffix(".pool.json") for file in folder.glob("*.pool.json"))
