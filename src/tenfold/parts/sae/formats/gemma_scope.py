"""Gemma Scope's `params.npz` and Gemma Scope 2's `params.safetensors` with `config.json`.

Both hold JumpReLU dictionaries in folded form: raw activations in, no pre-encoder bias, every
threshold positive (Lieberum et al. 2024, arXiv:2408.05147, appendix A; Gemma Scope 2, 2025).
BatchTopK and Matryoshka dictionaries are written as the JumpReLU they are at inference.

Gemma Scope 2 has transcoders too, whose two hook points differ, and skip transcoders: their
`affine_skip_connection` [d_in, d_out] is multiplied from the right, y_hat = f w_dec + b_dec +
x affine_skip_connection.

Dictionaries of token embeddings (`embedding/...`) are read as they are stored; for embeddings
that a model multiplies by sqrt(D), divide w_enc and multiply w_dec by sqrt(D).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.formats.arrays import (
    Array,
    Arrays,
    as_jumprelu,
    check,
    fold_scale,
    scale_decoder,
    with_pre_bias,
)
from tenfold.parts.sae.formats.tensors import (
    read_config,
    read_npz,
    read_safetensors,
    refuse,
    take,
    write_npz,
    write_safetensors,
)

ARCHITECTURE = "jump_relu"
SKIP = "affine_skip_connection"
RELEASED = ("w_enc", "b_enc", "w_dec", "b_dec", "threshold")


def release_folder(*, layer: int, num_latents: int, average_l0: float) -> str:
    """Return the release's folder name.

    >>> release_folder(layer=12, num_latents=16384, average_l0=82)
    'layer_12/width_16k/average_l0_82'
    """
    return f"layer_{layer}/width_{width_name(num_latents)}/average_l0_{average_l0:.0f}"


def width_name(num_latents: int) -> str:
    """Return a width as the release spells it: 16k, 131k, 1m; in full below a thousand."""
    for unit, letter in ((1_000_000, "m"), (1_000, "k")):
        if num_latents >= unit:
            return f"{num_latents // unit}{letter}"
    return str(num_latents)


def read_first(path: Path) -> Arrays:
    """Read `params.npz`; layer and average L0 come from the folder names, sizes never do."""
    values: Json = {"format": "gemma-scope"} | _of_folder(path.parent)
    found = read_npz(path)
    refuse(found, reasons={SKIP: "a linear skip connection"}, where=path)
    return _assemble(found, values=values, where=path)


def write_first(path: Path, dictionary: Arrays) -> None:
    """Write `params.npz`."""
    arrays = _released(dictionary, where=path).arrays
    write_npz(path, {_capital(name): array for name, array in arrays.items()})


def read_second(path: Path) -> Arrays:
    """Read `params.safetensors` and the `config.json` beside it."""
    where = path.with_name("config.json")
    config = read_config(where)
    if config.get("architecture") != ARCHITECTURE:
        raise TenfoldError(
            f"{where}: architecture {config.get('architecture')!r} is not {ARCHITECTURE!r}, "
            "the only one that Gemma Scope 2 releases"
        )
    values: Json = {"format": "gemma-scope-2"} | _of_folder(path.parent)
    names = {
        "model": "model_name",
        "site": "hf_hook_point_in",
        "site_out": "hf_hook_point_out",
        "average_l0": "l0",
    }
    values |= {ours: config[theirs] for ours, theirs in names.items() if config.get(theirs)}
    moved = values.get("site_out", values.get("site")) != values.get("site")
    if moved or config.get("type") == "transcoder":
        values["transcoder"] = True
    found = read_safetensors(path)
    if not config.get("affine_connection", SKIP in found):
        reason = f"a linear skip connection, which {where.name} denies"
        refuse(found, reasons={SKIP: reason}, where=path)
        return _assemble(found, values=values, where=path)
    return _assemble(found, values=values, where=path, more={"w_skip": SKIP})


def write_second(path: Path, dictionary: Arrays) -> None:
    """Write `params.safetensors` and the `config.json` beside it."""
    released, known = _released(dictionary, where=path), dictionary.values
    names = {"w_skip": SKIP}
    write_safetensors(path, {names.get(n, n): array for n, array in released.arrays.items()})
    config = {
        "architecture": ARCHITECTURE,
        "model_name": known.get("model", "unknown"),
        "hf_hook_point_in": known.get("site", "unknown"),
        "hf_hook_point_out": known.get("site_out", known.get("site", "unknown")),
        "width": released.shape[1],
        "l0": known.get("average_l0"),
        "affine_connection": "w_skip" in released.arrays,
        "type": "transcoder" if known.get("transcoder") else "sae",
    }
    files.write_json(path.with_name("config.json"), config)


def _assemble(
    found: dict[str, Array], *, values: Json, where: Path, more: Mapping[str, str] | None = None
) -> Arrays:
    names = {name: _capital(name) for name in RELEASED} | dict(more or {})
    arrays = {ours: take(found, theirs, ours, where=where) for ours, theirs in names.items()}
    _demand_positive(arrays["threshold"], where=where)
    values |= {"pre_bias": False, "scale": 1.0}
    dictionary = Arrays(kind="jumprelu", arrays=arrays, values=values)
    check(dictionary, where=str(where))
    factor = found.get("scaling_factor")
    return dictionary if factor is None else scale_decoder(dictionary, factor, where=str(where))


def _released(dictionary: Arrays, *, where: Path) -> Arrays:
    folded = as_jumprelu(with_pre_bias(fold_scale(dictionary), False))
    _demand_positive(folded.arrays["threshold"], where=where)
    kept = (*RELEASED, "w_skip")
    arrays = {name: array for name, array in folded.arrays.items() if name in kept}
    return Arrays(kind="jumprelu", arrays=arrays, values=folded.values)


def _demand_positive(threshold: Array, *, where: Path) -> None:
    if threshold.size and threshold.min() <= 0:
        latent = int(np.argmin(threshold))
        raise TenfoldError(
            f"{where}: {int((threshold <= 0).sum())} of {threshold.size} thresholds are not "
            f"positive, the least {threshold.flat[latent]:g} at latent {latent}; Gemma Scope's "
            "formats demand theta > 0, use sae-lens for thresholds of 0"
        )


def _capital(name: str) -> str:
    return f"W{name[1:]}" if name.startswith("w_") else name


def _of_folder(folder: Path) -> Json:
    name = folder.as_posix()
    found = {
        "layer": re.findall(r"layer_(\d+)", name),
        "average_l0": re.findall(r"average_l0_(\d+)", name),
    }
    return {key: int(numbers[-1]) for key, numbers in found.items() if numbers}
