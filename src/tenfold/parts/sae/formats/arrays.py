"""One set of names and one meaning for a dictionary's arrays, whatever file they came from.

    z     = (x / C - b_dec) w_enc + b_enc      b_dec is subtracted only where `pre_bias`
    f     = unit(z)                            by kind, see `reference_forward`
    x_hat = C (f w_dec + b_dec)

A transcoder rebuilds another site's activation, of a width O that may differ from D, and has no
pre-encoder bias; x w_skip is added to its output where there is a skip connection.

Lieberum et al. 2024 (arXiv:2408.05147), equations 1 to 3 and appendix A (folding); Gated:
Rajamanoharan et al. 2024 (arXiv:2404.16014). NumPy only: parity of files is checked without
the code that trains.
"""

# N rows, D width of an activation, O width of what is rebuilt (D but in transcoders), M latents

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, unknown_name

Kind = Literal["relu", "gated", "topk", "batchtopk", "matryoshka", "jumprelu"]
Array: TypeAlias = NDArray[np.float32]

SHAPES: Mapping[str, str] = {
    "w_enc": "DM",
    "b_enc": "M",
    "w_dec": "MO",
    "b_dec": "O",
    "w_skip": "DO",
    "threshold": "M",
    "gain_log": "M",
    "b_mag": "M",
    "log_frequency": "M",
}
"""Letters of each array's axes; a global threshold (BatchTopK) has none."""

NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "relu": (),
    "gated": ("gain_log", "b_mag"),
    "topk": (),
    "batchtopk": ("threshold",),
    "matryoshka": ("threshold",),
    "jumprelu": ("threshold",),
}
"""What each kind holds beside the encoder and decoder."""

GLOBAL_THRESHOLD: tuple[Kind, ...] = ("batchtopk", "matryoshka")


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """A dictionary as arrays and facts.

    Attributes:
        kind: which unit turns pre-activations into latents.
        arrays: float32 by name: w_enc [D, M], b_enc [M], w_dec [M, O], b_dec [O]; w_skip
            [D, O] where there is a skip connection;
            threshold [M] (jumprelu) or [] (batchtopk, matryoshka); gain_log [M] and b_mag [M]
            (gated, whose b_enc is the gate's bias); log_frequency [M] (base 10) where known.
        values: `pre_bias` (default false), `scale` C (default 1, folded), `k` (latents a row),
            `prefixes` (nested latent counts ending in M), and where known `model`, `site`,
            `site_out`, `layer`, `average_l0`, `trained_as`, `transcoder`, `format`.
    """

    kind: Kind
    arrays: dict[str, Array]
    values: Json = field(default_factory=dict)

    @property
    def pre_bias(self) -> bool:
        """Whether the encoder sees x / C - b_dec instead of x / C."""
        return bool(self.values.get("pre_bias", False))

    @property
    def scale(self) -> float:
        """C, by which inputs are divided and outputs multiplied."""
        return float(self.values.get("scale", 1.0))

    @property
    def transcoder(self) -> bool:
        """Whether another site's activation is rebuilt."""
        return bool(self.values.get("transcoder", False))

    @property
    def output_width(self) -> int:
        """O, from the arrays."""
        return int(self.arrays["w_dec"].shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(D, M), from the arrays."""
        d_in, num_latents = self.arrays["w_enc"].shape
        return d_in, num_latents


def reference_forward(dictionary: Arrays, x_ND: Array) -> tuple[Array, Array]:
    """Return latents f [N, M] and reconstructions [N, O] of raw activations."""
    arrays = dictionary.arrays
    inputs_ND: Array = np.divide(x_ND, dictionary.scale, dtype=np.float32)
    shift_D = arrays["b_dec"] if dictionary.pre_bias else np.zeros((), np.float32)
    centred_ND: Array = inputs_ND - shift_D
    z_NM = centred_ND @ arrays["w_enc"] + arrays["b_enc"]
    f_NM = _UNITS[dictionary.kind](z_NM, dictionary)
    output_NO: Array = f_NM @ arrays["w_dec"] + arrays["b_dec"]
    if "w_skip" in arrays:
        output_NO = output_NO + inputs_ND @ arrays["w_skip"]
    return f_NM, np.multiply(output_NO, dictionary.scale, dtype=np.float32)


def _relu(z_NM: Array, _: Arrays) -> Array:
    return np.maximum(z_NM, np.float32(0))


def _above_threshold(z_NM: Array, dictionary: Arrays) -> Array:
    on_NM = z_NM > dictionary.arrays["threshold"]
    return _relu(z_NM, dictionary) * on_NM


def _gated(z_NM: Array, dictionary: Arrays) -> Array:
    arrays = dictionary.arrays
    magnitude_NM = (z_NM - arrays["b_enc"]) * np.exp(arrays["gain_log"]) + arrays["b_mag"]
    return _relu(magnitude_NM, dictionary) * (z_NM > 0)


def _topk(z_NM: Array, dictionary: Arrays) -> Array:
    f_NM = _relu(z_NM, dictionary)
    kept_NK = np.argsort(-f_NM, axis=1, kind="stable")[:, : dictionary.values["k"]]
    mask_NM = np.zeros(f_NM.shape, bool)
    np.put_along_axis(mask_NM, kept_NK, True, axis=1)
    return f_NM * mask_NM


_UNITS: Mapping[Kind, Callable[[Array, Arrays], Array]] = {
    "relu": _relu,
    "gated": _gated,
    "topk": _topk,
    "batchtopk": _above_threshold,
    "matryoshka": _above_threshold,
    "jumprelu": _above_threshold,
}


def fold_scale(dictionary: Arrays) -> Arrays:
    """Return the same function with C = 1: biases and thresholds times C (appendix A).

    Latents become C f. Every unit is positively homogeneous, so that this holds for all kinds.
    C cancels in a skip connection.
    """
    grown = ("b_enc", "b_dec", "threshold", "b_mag")
    arrays = {
        name: array * (dictionary.scale if name in grown else 1.0)
        for name, array in _float64(dictionary.arrays).items()
    }
    values = dictionary.values | {"scale": 1.0}
    return replace(dictionary, arrays=_float32(arrays), values=values)


def with_pre_bias(dictionary: Arrays, wanted: bool) -> Arrays:
    """Return the same function with b_dec subtracted before the encoder, or not.

    b_enc' = b_enc - w_enc^T b_dec takes the subtraction away (appendix A), the opposite sign
    brings it in. A gated dictionary's magnitude path shares the encoder and moves alike.
    """
    if dictionary.pre_bias == wanted:
        return dictionary
    arrays = _float64(dictionary.arrays)
    shift_M = arrays["b_dec"] @ arrays["w_enc"] * (1 if wanted else -1)
    arrays["b_enc"] = arrays["b_enc"] + shift_M
    if "b_mag" in arrays:
        arrays["b_mag"] = arrays["b_mag"] + shift_M * np.exp(arrays["gain_log"])
    values = dictionary.values | {"pre_bias": wanted}
    return replace(dictionary, arrays=_float32(arrays), values=values)


def scale_decoder(dictionary: Arrays, factor: Array, *, where: str) -> Arrays:
    """Return `dictionary` with each latent multiplied by its `factor` [M] after encoding."""
    w_dec = dictionary.arrays["w_dec"]
    if factor.shape != w_dec.shape[:1]:
        raise TenfoldError(
            f"{where}: scaling_factor has shape {factor.shape}, but w_dec {w_dec.shape} asks for "
            f"{w_dec.shape[:1]}"
        )
    return replace(dictionary, arrays=dictionary.arrays | {"w_dec": w_dec * factor[:, None]})


def as_jumprelu(dictionary: Arrays) -> Arrays:
    """Return a BatchTopK or Matryoshka dictionary as the JumpReLU it is at inference."""
    if dictionary.kind not in GLOBAL_THRESHOLD:
        return dictionary
    threshold = dictionary.arrays["threshold"]
    _, num_latents = dictionary.shape
    arrays = dictionary.arrays | {"threshold": np.full(num_latents, threshold, np.float32)}
    values = {"trained_as": dictionary.kind} | dictionary.values
    return replace(dictionary, kind="jumprelu", arrays=arrays, values=values)


def check(dictionary: Arrays, *, where: str) -> Arrays:
    """Return `dictionary` if its arrays are all there, of fitting shapes and finite.

    Args:
        dictionary: what was read or is to be written.
        where: the file to name in the message.

    Raises:
        TenfoldError: naming the array, with both shapes where shapes differ.
    """
    arrays, kind = dictionary.arrays, dictionary.kind
    missing = [n for n in ("w_enc", "b_enc", "w_dec", "b_dec", *NEEDED[kind]) if n not in arrays]
    if missing:
        raise TenfoldError(f"{where}: a {kind} dictionary needs {missing}; got {sorted(arrays)}")
    for name, array in arrays.items():
        _check_shape(name, dictionary, where=where)
        if not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise TenfoldError(
                f"{where}: {name} holds {bad} values that are not finite, the first at {first}; "
                "the dictionary is broken, write it again from its source"
            )
    _check_unit(dictionary, where=where)
    return dictionary


def _check_shape(name: str, dictionary: Arrays, *, where: str) -> None:
    arrays = dictionary.arrays
    encoder = arrays["w_enc"].shape
    if len(encoder) != 2:
        raise TenfoldError(f"{where}: w_enc has shape {encoder}; it must be (d_in, latents)")
    if name not in SHAPES:
        raise unknown_name(f"array in {where}", name, SHAPES)
    letters = "" if name == "threshold" and dictionary.kind in GLOBAL_THRESHOLD else SHAPES[name]
    sizes = dict(zip("DM", encoder, strict=True))
    sizes["O"] = _output_width(dictionary)
    wanted, shape = tuple(sizes[letter] for letter in letters), arrays[name].shape
    if shape == wanted:
        return
    if name == "w_dec" and len(shape) == 2 and shape[0] == sizes["M"]:
        raise TenfoldError(
            f"{where}: d_in {encoder[0]} and d_out {shape[1]} differ (w_enc {encoder}, w_dec "
            f"{shape}), but the file does not say that it holds a transcoder; an autoencoder has "
            "one width"
        )
    asking = f"w_enc {encoder}"
    if dictionary.transcoder and name in ("b_dec", "w_skip"):
        asking += f" and w_dec {arrays['w_dec'].shape}"
    verb = "ask" if " and " in asking else "asks"
    raise TenfoldError(f"{where}: {name} has shape {shape}, but {asking} {verb} for {wanted}")


def _output_width(dictionary: Arrays) -> int:
    """Return O: what w_dec says in a transcoder, D in all others."""
    w_dec = dictionary.arrays["w_dec"]
    changes = dictionary.transcoder and w_dec.ndim == 2
    return int(w_dec.shape[1]) if changes else dictionary.shape[0]


def _check_unit(dictionary: Arrays, *, where: str) -> None:
    k, (_, num_latents) = dictionary.values.get("k"), dictionary.shape
    if dictionary.kind == "topk" and not (isinstance(k, int) and 1 <= k <= num_latents):
        raise TenfoldError(f"{where}: k is {k!r}; it must be a whole number in [1, {num_latents}]")
    threshold = dictionary.arrays.get("threshold", np.zeros((), np.float32))
    if threshold.min() < 0:
        raise TenfoldError(
            f"{where}: {_count_below(threshold, 0)} thresholds are negative, the least "
            f"{threshold.min():g}; they must be at least 0"
        )
    if dictionary.transcoder and dictionary.pre_bias:
        raise TenfoldError(
            f"{where}: a transcoder's b_dec lies at the site it rebuilds and cannot be subtracted "
            "from its inputs; set pre_bias to false"
        )
    if not dictionary.scale > 0:
        raise TenfoldError(f"{where}: scale is {dictionary.scale}; it must be positive")


def _count_below(array: Array, limit: float) -> str:
    return f"{int((array < limit).sum())} of {array.size}"


def _float64(arrays: Mapping[str, Array]) -> dict[str, NDArray[np.float64]]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def _float32(arrays: Mapping[str, NDArray[np.floating]]) -> dict[str, Array]:
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}
