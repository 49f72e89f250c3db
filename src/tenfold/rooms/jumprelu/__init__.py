"""Sparse dictionaries of activations: JumpReLU and its rivals (arXiv:2407.14435).

>>> from tenfold import jumprelu
>>> sorted(jumprelu.__all__)[:3]
['Dictionary', 'Measures', 'Train']
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Dictionary": "model",
    "create": "model",
    "jumprelu_of_gated": "model",
    "Train": "config",
    "RECIPES": "config",
    "train": "run",
    "resume": "run",
    "load": "files",
    "save": "files",
    "measure": "eval",
    "Measures": "eval",
    "delta_loss": "eval",
    "run_claim": "claim",
    "write_report": "report",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that configs and help texts need no torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
