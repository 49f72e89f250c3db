"""SAELens' folder: `cfg.json`, `sae_weights.safetensors` and, if known, `sparsity.safetensors`.

Semantics of SAELens 6.54: an optional pre-encoder bias (`apply_b_dec_to_input`), no scale (it
is folded in when training ends), thresholds of at least 0, BatchTopK and Matryoshka saved as
JumpReLU. Older folders (before 6.0) keep the activation under `activation_fn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.formats.arrays import (
    Array,
    Arrays,
    Kind,
    as_jumprelu,
    check,
    fold_scale,
    scale_decoder,
)
from tenfold.parts.sae.formats.tensors import (
    read_config,
    read_safetensors,
    refuse,
    take,
    write_safetensors,
)

LAYOUT = "6.54.12"
"""The release whose layout is written; readers of 6.0 and later take it."""

KINDS: dict[str, Kind] = {
    "standard": "relu",
    "gated": "gated",
    "topk": "topk",
    "jumprelu": "jumprelu",
}

OWN_NAMES: dict[Kind, dict[str, str]] = {
    "relu": {"b_enc": "b_enc"},
    "topk": {"b_enc": "b_enc"},
    "jumprelu": {"b_enc": "b_enc", "threshold": "threshold"},
    "gated": {"b_enc": "b_gate", "b_mag": "b_mag", "gain_log": "r_mag"},
}
"""Ours -> SAELens' name, beside W_enc, W_dec and b_dec."""

TRAINED_AS: dict[str, Kind] = {"batchtopk": "batchtopk", "matryoshka_batchtopk": "matryoshka"}


def read(path: Path) -> Arrays:
    """Read `sae_weights.safetensors` and the files beside it."""
    where = path.with_name("cfg.json")
    config = read_config(where)
    kind = _kind(config, where=where)
    _refuse_options(config, where=where)
    found = read_safetensors(path)
    refuse(found, reasons={"W_skip": "a linear skip connection"}, where=path)
    names = {"w_enc": "W_enc", "w_dec": "W_dec", "b_dec": "b_dec"} | OWN_NAMES[kind]
    if "log_threshold" in found:  # older training checkpoints
        found["threshold"] = np.exp(found["log_threshold"])
    arrays = {ours: take(found, theirs, where=path) for ours, theirs in names.items()}
    arrays |= _frequency(path.with_name("sparsity.safetensors"))
    if kind == "jumprelu":
        # SAELens rectifies before it compares, so that a negative threshold acts as 0
        arrays["threshold"] = np.maximum(arrays["threshold"], 0)
    dictionary = check(
        Arrays(kind=kind, arrays=arrays, values=_values(config, kind)), where=str(path)
    )
    if config.get("rescale_acts_by_decoder_norm"):
        dictionary = _rescaled(dictionary, where=str(path))
    return _fold_options(dictionary, found, where=str(path))


def write(path: Path, dictionary: Arrays) -> None:
    """Write `sae_weights.safetensors` and the files beside it."""
    folded = as_jumprelu(fold_scale(dictionary))
    names = {"w_enc": "W_enc", "w_dec": "W_dec", "b_dec": "b_dec"} | OWN_NAMES[folded.kind]
    write_safetensors(path, {theirs: folded.arrays[ours] for ours, theirs in names.items()})
    frequency = path.with_name("sparsity.safetensors")
    if "log_frequency" in folded.arrays:
        write_safetensors(frequency, {"sparsity": folded.arrays["log_frequency"]})
    else:
        frequency.unlink(missing_ok=True)  # of a dictionary that was here before
    files.write_json(path.with_name("cfg.json"), _config(folded))


def _kind(config: Json, *, where: Path) -> Kind:
    activation = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    name = "topk" if activation == "topk" else config.get("architecture", "standard")
    if name not in KINDS or activation not in ("relu", "topk"):
        odd = f"activation {activation!r}" if name in KINDS else f"architecture {name!r}"
        raise TenfoldError(
            f"{where}: {odd} is not supported; known are {', '.join(KINDS)} (a BatchTopK or "
            "Matryoshka checkpoint becomes jumprelu by SAELens' save_inference_model)"
        )
    return KINDS[name]


def _refuse_options(config: Json, *, where: Path) -> None:
    norm = config.get("normalize_activations") or "none"
    if norm != "none":
        raise TenfoldError(
            f"{where}: normalize_activations {norm!r} is not folded into the arrays; let SAELens "
            "fold it (fold_activation_norm_scaling_factor) and save again"
        )


def _fold_options(dictionary: Arrays, found: Mapping[str, Array], *, where: str) -> Arrays:
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        if name in found:
            dictionary = scale_decoder(dictionary, found[name], where=where)
    return dictionary


def _rescaled(dictionary: Arrays, *, where: str) -> Arrays:
    """Select by what a latent adds: TopK of z ||d||, with ||d|| divided out again."""
    arrays = dictionary.arrays
    norm_M = np.maximum(np.linalg.norm(arrays["w_dec"], axis=1), np.float32(1e-8))
    encoder = {name: arrays[name] * norm_M for name in ("w_enc", "b_enc")}
    return scale_decoder(replace(dictionary, arrays=arrays | encoder), 1 / norm_M, where=where)


def _frequency(path: Path) -> dict[str, Array]:
    if not path.exists():
        return {}
    return {"log_frequency": take(read_safetensors(path), "sparsity", where=path)}


def _values(config: Json, kind: Kind) -> Json:
    about = config | (config.get("metadata") or {})
    values: Json = {
        "format": "sae-lens",
        "pre_bias": bool(config.get("apply_b_dec_to_input", True)),
        "scale": 1.0,
    }
    if kind == "topk":
        values["k"] = config.get("k", (config.get("activation_fn_kwargs") or {}).get("k"))
    known = {"model": "model_name", "site": "hook_name", "average_l0": "l0"}
    values |= {ours: about[theirs] for ours, theirs in known.items() if about.get(theirs)}
    if about.get("training_architecture") in TRAINED_AS:
        values["trained_as"] = TRAINED_AS[about["training_architecture"]]
    return values


def _config(dictionary: Arrays) -> Json:
    known, (d_in, num_latents) = dictionary.values, dictionary.shape
    architecture = {kind: name for name, kind in KINDS.items()}[dictionary.kind]
    trained_as = [name for name, kind in TRAINED_AS.items() if kind == known.get("trained_as")]
    metadata = {
        "sae_lens_version": LAYOUT,
        "model_name": known.get("model"),
        "hook_name": known.get("site"),
        "l0": known.get("average_l0"),
        "training_architecture": next(iter(trained_as), None),
    }
    return {
        "d_in": d_in,
        "d_sae": num_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": dictionary.pre_bias,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {name: value for name, value in metadata.items() if value is not None},
        "architecture": architecture,
    } | ({"k": known["k"]} if dictionary.kind == "topk" else {})
