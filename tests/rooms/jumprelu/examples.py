"""What the tests of this room are run on: rows of known structure, dictionaries of every kind."""

import numpy as np
import torch

from tenfold.engine.rng import stream
from tenfold.rooms.jumprelu.model import (
    BatchTopK,
    Dictionary,
    Gated,
    JumpReLU,
    ReLU,
    TopK,
)

torch.set_num_threads(1)

D, M, B = 8, 24, 16
OUT = 5
KINDS = ("relu", "gated", "topk", "batchtopk", "matryoshka", "jumprelu")


def activations(rows=400, *, active=3, seed=0):
    """Rows that really are sums of few directions."""
    rng = stream(seed, "activations")
    directions = stream(0, "directions").normal(size=(M, D))
    weights = rng.uniform(0.5, 1.5, size=(rows, M)) * (rng.random((rows, M)) < active / M)
    return (weights @ directions + 0.3 * rng.normal(size=(rows, D)) + 0.5).astype(np.float32)


def random_start(kind, *, seed=0):
    """Parameters from which every path of the loss is taken."""
    rng = stream(seed, "parameters", kind)
    w_dec = rng.normal(size=(M, D))
    w_dec /= np.linalg.norm(w_dec, axis=1, keepdims=True)
    parameters = {
        "w_enc": w_dec.T + 0.2 * rng.normal(size=(D, M)),
        "b_enc": 0.1 * rng.normal(size=M),
        "w_dec": w_dec,
        "b_dec": 0.1 * rng.normal(size=D),
    }
    if kind == "gated":
        parameters |= {"gain_log": 0.3 * rng.normal(size=M), "b_mag": 0.2 * rng.normal(size=M)}
    if kind == "jumprelu":
        parameters["theta"] = rng.uniform(0.1, 0.4, size=M)
    return parameters


def dictionary(kind, *, seed=0, scale=1.0, pre_bias=True, dtype=torch.float64):
    """A dictionary with random parameters; float64, so that identities hold to many digits."""
    arrays = {
        name: torch.tensor(v, dtype=dtype) for name, v in random_start(kind, seed=seed).items()
    }
    k, threshold = torch.tensor(4), torch.tensor(0.3, dtype=dtype)
    units = {
        "relu": lambda: ReLU(),
        "gated": lambda: Gated(arrays["gain_log"], arrays["b_mag"]),
        "topk": lambda: TopK(k),
        "batchtopk": lambda: BatchTopK(k, threshold),
        "matryoshka": lambda: BatchTopK(k, threshold, prefixes=(6, 12, 24)),
        "jumprelu": lambda: JumpReLU(arrays["theta"]),
    }
    return Dictionary(
        w_enc=arrays["w_enc"],
        b_enc=arrays["b_enc"],
        w_dec=arrays["w_dec"],
        b_dec=arrays["b_dec"],
        unit=units[kind](),
        scale=scale,
        pre_bias=pre_bias,
    )


def transcoder(kind, *, out=OUT, skip=True, seed=0, scale=2.0, dtype=torch.float64):
    """A dictionary that rebuilds another site of width `out`, its decoder rows of norm 1."""
    same = dictionary(kind, seed=seed, scale=scale, pre_bias=False, dtype=dtype)
    rng = stream(seed, "transcoder", kind)
    arrays = {"w_dec": rng.normal(size=(M, out)), "b_dec": 0.1 * rng.normal(size=out)}
    arrays["w_dec"] /= np.linalg.norm(arrays["w_dec"], axis=1, keepdims=True)
    if skip:
        arrays["w_skip"] = 0.2 * rng.normal(size=(D, out))
    return Dictionary(
        w_enc=same.w_enc.detach(),
        b_enc=same.b_enc.detach(),
        unit=same.unit,
        scale=scale,
        transcoder=True,
        **{name: torch.tensor(value, dtype=dtype) for name, value in arrays.items()},
    )


def rows(count=B, *, seed=1):
    """Rows as float64."""
    return torch.tensor(activations(count, seed=seed), dtype=torch.float64)
