"""Suites of sparse dictionaries for every site of any torch model (arXiv:2408.05147).

>>> from tenfold import scope
>>> "Suite" in scope.__all__
True
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Subject": "config",
    "Suite": "config",
    "Specimen": "subjects",
    "language_model": "own_language",
    "open_subject": "subjects",
    "harvest": "harvest",
    "open_store": "store",
    "train": "run",
    "open_suite": "suite",
    "evaluate": "eval",
    "write_dash": "dash",
    "Edit": "steer",
    "steering": "steer",
    "publish": "publish",
    "attach": "publish",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that configs and help texts need no torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
