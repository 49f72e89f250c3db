"""Released folders written and computed with NumPy alone; nothing of tenfold is imported here."""

import json
import struct

import numpy as np


def arrays(seed, width, latents, *, out=0):
    """A dictionary whose latents fire now and then on rows of about unit size."""
    rng = np.random.default_rng(seed)
    w_dec = rng.normal(size=(latents, out or width))
    return {
        "W_enc": (rng.normal(size=(width, latents)) / width**0.5).astype(np.float32),
        "W_dec": (0.3 * w_dec / np.linalg.norm(w_dec, axis=1)[:, None]).astype(np.float32),
        "b_enc": (0.1 * rng.normal(size=latents)).astype(np.float32),
        "b_dec": (0.1 * rng.normal(size=out or width)).astype(np.float32),
        "threshold": rng.uniform(0.2, 1.0, size=latents).astype(np.float32),
    }


def write_first(root, repository, layer, l0, values, *, width_name="16k"):
    """Gemma Scope: `params.npz`, in a folder whose width is not that of the arrays."""
    folder = root / repository / f"layer_{layer}" / f"width_{width_name}" / f"average_l0_{l0}"
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **values)


def write_second(root, name, hook_in, hook_out, values, *, skip=None):
    """Gemma Scope 2: `config.json` and `params.safetensors`, byte by byte."""
    folder = root / name
    folder.mkdir(parents=True)
    config = {
        "architecture": "jump_relu",
        "model_name": "google/gemma",
        "hf_hook_point_in": hook_in,
        "hf_hook_point_out": hook_out,
        "width": values["W_enc"].shape[1],
        "l0": 10,
        "affine_connection": skip is not None,
        "type": "transcoder" if hook_in != hook_out else "sae",
    }
    (folder / "config.json").write_text(json.dumps(config))
    named = {name.lower(): array for name, array in values.items()}
    if skip is not None:
        named["affine_skip_connection"] = skip
    (folder / "params.safetensors").write_bytes(safetensors(named))


def safetensors(named):
    """The format: length of the head, head in JSON, then the bytes."""
    head, blobs, at = {}, [], 0
    for name, array in named.items():
        blob = np.ascontiguousarray(array, dtype="<f4").tobytes()
        offsets = [at, at + len(blob)]
        head[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def encode(values, x):
    """Latents, as in the release's tutorial: z = x W + b; relu(z) where z > threshold."""
    z = x @ values["W_enc"] + values["b_enc"]
    return np.maximum(z, 0) * (z > values["threshold"])


def decode(values, f):
    return f @ values["W_dec"] + values["b_dec"]
