"""EleutherAI sparsify's folder: `cfg.json` and `sae.safetensors`.

Semantics of sparsify 1.3: the k largest of relu(z); an autoencoder subtracts b_dec before the
encoder, a transcoder (`transcode`) does not. Both may add x W_skip^T to their output; input and
output have one width.
"""

from __future__ import annotations

from pathlib import Path

from tenfold.engine import files
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.formats.arrays import Arrays, check, fold_scale, with_pre_bias
from tenfold.parts.sae.formats.tensors import (
    read_config,
    read_safetensors,
    refuse,
    take,
    write_safetensors,
)


def read(path: Path) -> Arrays:
    """Read `sae.safetensors` and the `cfg.json` beside it."""
    where = path.with_name("cfg.json")
    config = read_config(where)
    activation = config.get("activation", "topk")
    if activation != "topk":
        raise TenfoldError(f"{where}: activation {activation!r} is not supported; only 'topk' is")
    refuse(config, reasons={"signed": "signed latents"}, where=where)
    found = read_safetensors(path)
    arrays = {
        "w_enc": take(found, "encoder.weight", where=path).T,
        "b_enc": take(found, "encoder.bias", where=path),
        "w_dec": take(found, "W_dec", where=path),
        "b_dec": take(found, "b_dec", where=path),
    }
    if config.get("skip_connection", False):
        arrays["w_skip"] = take(found, "W_skip", where=path).T
    else:
        reason = f"a linear skip connection, which {where.name} denies"
        refuse(found, reasons={"W_skip": reason}, where=path)
    transcoder = bool(config.get("transcode", False))
    values: Json = {
        "format": "sparsify",
        "pre_bias": not transcoder,
        "scale": 1.0,
        "k": config.get("k"),
    } | ({"transcoder": True} if transcoder else {})
    return check(Arrays(kind="topk", arrays=arrays, values=values), where=str(path))


def write(path: Path, dictionary: Arrays) -> None:
    """Write `sae.safetensors` and the `cfg.json` beside it.

    Raises:
        TenfoldError: for a transcoder between sites of two widths.
    """
    transcoder = dictionary.transcoder
    if dictionary.output_width != dictionary.shape[0]:
        raise TenfoldError(
            f"{path}: sparsify's transcoders have one width, this one has d_in "
            f"{dictionary.shape[0]} and d_out {dictionary.output_width}; use tenfold"
        )
    folded = with_pre_bias(fold_scale(dictionary), not transcoder)
    arrays, (d_in, num_latents) = folded.arrays, folded.shape
    tensors = {
        "encoder.weight": arrays["w_enc"].T,
        "encoder.bias": arrays["b_enc"],
        "W_dec": arrays["w_dec"],
        "b_dec": arrays["b_dec"],
    }
    if "w_skip" in arrays:
        tensors["W_skip"] = arrays["w_skip"].T
    write_safetensors(path, tensors)
    config = {
        "activation": "topk",
        "expansion_factor": max(1, num_latents // d_in),
        "normalize_decoder": True,
        "num_latents": num_latents,
        "k": folded.values["k"],
        "multi_topk": False,
        "skip_connection": "w_skip" in arrays,
        "transcode": transcoder,
        "d_in": d_in,
    }
    files.write_json(path.with_name("cfg.json"), config)
