"""dictionary_learning's `ae.pt`, read only, with the trainer's `config.json` beside it if there.

The file is a pickle. It is opened with torch.load(weights_only=True), which builds tensors and
plain containers and nothing else; whatever else it holds is refused. Nothing is written in this
format, because nothing here writes pickles.

Semantics of dictionary_learning 0.1: all classes subtract the decoder bias before the encoder,
except `AutoEncoderNew` and `JumpReluAutoEncoder` (whose flag for it is not in the file and is
off when it is loaded). BatchTopK and Matryoshka use their global threshold at inference.
"""

from __future__ import annotations

import pickle  # for the name of its exception only
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.formats.arrays import Arrays, Kind, check
from tenfold.parts.sae.formats.tensors import first_line, read_config, reading

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class _Class:
    """How one of their classes names our arrays; a leading '^' means transposed."""

    kind: Kind
    names: Mapping[str, str]
    extra: tuple[str, ...] = ()
    pre_bias: bool = True

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(name.removeprefix("^") for name in self.names.values()) | set(self.extra)


_LINEAR = {"w_enc": "^encoder.weight", "w_dec": "^decoder.weight"}
_PLAIN = {"w_enc": "W_enc", "b_enc": "b_enc", "w_dec": "W_dec", "b_dec": "b_dec"}
_BIASED = _LINEAR | {"b_enc": "encoder.bias", "b_dec": "b_dec"}

CLASSES: Mapping[str, _Class] = {
    "AutoEncoder": _Class(kind="relu", names=_LINEAR | {"b_enc": "encoder.bias", "b_dec": "bias"}),
    "AutoEncoderNew": _Class(
        kind="relu",
        names=_LINEAR | {"b_enc": "encoder.bias", "b_dec": "decoder.bias"},
        pre_bias=False,
    ),
    "GatedAutoEncoder": _Class(
        kind="gated",
        names=_LINEAR
        | {"b_enc": "gate_bias", "b_mag": "mag_bias", "gain_log": "r_mag", "b_dec": "decoder_bias"},
    ),
    "AutoEncoderTopK": _Class(kind="topk", names=_BIASED, extra=("k", "threshold")),
    "BatchTopKSAE": _Class(
        kind="batchtopk", names=_BIASED | {"threshold": "threshold"}, extra=("k",)
    ),
    "MatryoshkaBatchTopKSAE": _Class(
        kind="matryoshka", names=_PLAIN | {"threshold": "threshold"}, extra=("k", "group_sizes")
    ),
    "JumpReluAutoEncoder": _Class(
        kind="jumprelu", names=_PLAIN | {"threshold": "threshold"}, pre_bias=False
    ),
}


def read(path: Path) -> Arrays:
    """Read `ae.pt`."""
    tensors = _load(path)
    trainer = _trainer(path.with_name("config.json"))
    layout = CLASSES[_class_name(tensors, trainer, where=path)]
    arrays = {}
    for ours, theirs in layout.names.items():
        array = tensors[theirs.removeprefix("^")].float().numpy()
        arrays[ours] = array.T if theirs.startswith("^") else array
    if "threshold" in arrays:
        # values are rectified before they are compared: a negative threshold (an untrained
        # BatchTopK has -1) acts as 0
        arrays["threshold"] = np.maximum(arrays["threshold"], 0)
    values: Json = {"format": "dictionary-learning", "pre_bias": layout.pre_bias, "scale": 1.0}
    if "k" in tensors:
        values["k"] = int(tensors["k"])
    if "group_sizes" in tensors:
        values["prefixes"] = tensors["group_sizes"].cumsum(0).tolist()
    known = {"model": "lm_name", "site": "submodule_name", "layer": "layer"}
    values |= {o: trainer[t] for o, t in known.items() if trainer.get(t) is not None}
    return check(Arrays(kind=layout.kind, arrays=arrays, values=values), where=str(path))


def _load(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        with reading(path):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TenfoldError(
            f"{path} holds more than plain tensors ({first_line(error)}); such files are read "
            "with weights_only=True and the rest is refused, save the model's state_dict() alone"
        ) from None
    except RuntimeError as error:
        raise TenfoldError(
            f"{path} is truncated or corrupt ({first_line(error)}); fetch or write it again"
        ) from None
    if not isinstance(state, dict):
        raise TenfoldError(f"{path} holds a {type(state).__name__}; it must be a state_dict()")
    odd = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise TenfoldError(
            f"{path} holds more than plain tensors ({', '.join(odd)}); save the model's "
            "state_dict() alone"
        )
    return state


def _trainer(path: Path) -> Json:
    trainer = read_config(path).get("trainer", {}) if path.exists() else {}
    if not isinstance(trainer, dict):
        raise TenfoldError(f"{path}: trainer is {trainer!r}; it must be a JSON object")
    return trainer


def _class_name(tensors: Mapping[str, Tensor], trainer: Json, *, where: Path) -> str:
    fitting = [name for name, layout in CLASSES.items() if layout.keys == set(tensors)]
    said = str(trainer.get("dict_class", ""))
    if said in fitting:
        return said
    if not fitting:
        wanted = f"; {said} has {sorted(CLASSES[said].keys)}" if said in CLASSES else ""
        raise TenfoldError(
            f"{where} holds {sorted(tensors)}, which fits none of {', '.join(CLASSES)}{wanted}"
        )
    if said or len(fitting) > 1:
        raise TenfoldError(
            f"{where} fits {' and '.join(fitting)}, and dict_class is {said or 'unknown'!r}; put "
            "the trainer's config.json beside it, with dict_class set to the class trained"
        )
    return fitting[0]
