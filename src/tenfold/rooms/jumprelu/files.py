"""Dictionaries in and out of files: between `Dictionary` and the plain arrays of the formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.formats import Arrays, read_arrays, write_arrays
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, Gated, JumpReLU, ReLU, TopK


def load(
    path: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Dictionary:
    """Load a dictionary from any known format.

    Args:
        path: the folder or the file that holds the arrays, or a finished run with one
            dictionary.
        device: where its parameters go.
        dtype: of its parameters; active sets are decided in it.

    Raises:
        TenfoldError: if nothing known is there, or the files are broken.
    """
    return from_arrays(read_arrays(find_dictionary(Path(path)))).to(device=device, dtype=dtype)


def find_dictionary(path: Path) -> Path:
    """Return where the only dictionary of a run lies, or `path` itself if it is no run.

    Raises:
        TenfoldError: if the run is unfinished or has several.
    """
    if not path.exists():
        raise TenfoldError(f"{path} does not exist; give the folder of a dictionary or of a run")
    if not (path / "config.json").is_file() or not (path / "out").is_dir():
        return path
    found = sorted(folder.parent for folder in path.glob("out/*/dictionary.safetensors"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise TenfoldError(f"run {path.name} has no dictionary yet; resume it to its end")
    names = ", ".join(folder.name for folder in found)
    raise TenfoldError(f"run {path.name} has {len(found)} dictionaries; name one: out/{names}")


def save(
    dictionary: Dictionary,
    path: str | Path,
    *,
    format: str = "tenfold",
    values: Json | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a dictionary into the folder `path` and return the file that holds its arrays.

    Args:
        dictionary: one, not a stack.
        path: a folder, made if it is not there.
        format: a name of `tenfold.parts.sae.formats.FORMATS`.
        values: facts to keep beside it, such as `model` and `site`.
        overwrite: replace a dictionary that is there.

    Raises:
        TenfoldError: if the format does not hold this kind, or something is there already.
    """
    path = Path(path)
    if path.is_file():
        raise TenfoldError(f"{path} is a file; name a folder to write the dictionary into")
    if not overwrite and path.exists() and any(path.iterdir()):
        raise TenfoldError(f"{path} is not empty; choose another folder or say --overwrite")
    return write_arrays(path, to_arrays(dictionary, values=values), format=format)


def to_arrays(dictionary: Dictionary, *, values: Json | None = None) -> Arrays:
    """Return a dictionary's parameters as float32 arrays with their facts."""
    if dictionary.w_enc.dim() != 2:
        raise ValueError(f"a stack of {len(dictionary.w_enc)} is no dictionary; take one .lane(i)")
    arrays = {name: getattr(dictionary, name) for name in ("w_enc", "b_enc", "w_dec", "b_dec")}
    facts: Json = {"scale": dictionary.scale, "pre_bias": dictionary.pre_bias}
    if dictionary.w_skip is not None:
        arrays["w_skip"] = dictionary.w_skip
    if dictionary.transcoder:
        facts["transcoder"] = True
    match dictionary.unit:
        case JumpReLU(threshold=threshold):
            arrays["threshold"] = threshold
        case Gated(gain_log=gain_log, b_mag=b_mag):
            arrays |= {"gain_log": gain_log, "b_mag": b_mag}
        case TopK(k=k):
            facts["k"] = int(k)
        case BatchTopK(k=k, threshold=threshold, prefixes=prefixes):
            arrays["threshold"] = threshold
            facts |= {"k": int(k), "prefixes": list(prefixes)}
    return Arrays(
        kind=dictionary.kind,
        arrays={name: _numpy(value) for name, value in arrays.items()},
        values=(values or {}) | facts,
    )


def _numpy(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().float().cpu().contiguous().numpy()
    return array


def from_arrays(given: Arrays) -> Dictionary:
    """Build a dictionary from plain arrays."""
    # Copies, because arrays of a mapped file may be read-only.
    tensors = {name: torch.tensor(value) for name, value in given.arrays.items()}
    return Dictionary(
        w_enc=tensors["w_enc"],
        b_enc=tensors["b_enc"],
        w_dec=tensors["w_dec"],
        b_dec=tensors["b_dec"],
        unit=_unit(given, tensors),
        scale=given.scale,
        pre_bias=given.pre_bias,
        w_skip=tensors.get("w_skip"),
        transcoder=given.transcoder,
    )


def _unit(given: Arrays, tensors: dict[str, Tensor]) -> nn.Module:
    match given.kind:
        case "jumprelu":
            return JumpReLU(tensors["threshold"])
        case "gated":
            return Gated(tensors["gain_log"], tensors["b_mag"])
        case "topk":
            return TopK(torch.tensor(int(given.values["k"])))
        case "batchtopk" | "matryoshka":
            # Other libraries keep the trained threshold but not always k; 0 is not known.
            k = torch.tensor(int(given.values.get("k") or 0))
            prefixes = tuple(given.values.get("prefixes") or ())
            if given.kind == "matryoshka":
                prefixes = prefixes or (given.shape[1],)
            return BatchTopK(k, tensors["threshold"], prefixes=prefixes)
        case "relu":
            return ReLU()
