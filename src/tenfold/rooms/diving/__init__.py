"""Neural Diving and Neural Branching for mixed-integer programs (arXiv:2012.13349).

>>> from tenfold import diving
>>> sorted(diving.__all__)[:3]
['Family', 'Hooks', 'NeuralDiving']
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Family": "family",
    "NeuralDiving": "dive.network",
    "Hooks": "dive.hooks",
    "Policy": "branch.policy",
    "RECIPES": "config",
    "Tools": "solving",
    "Train": "config",
    "bench": "door",
    "collect": "door",
    "load": "door",
    "mip": "door",
    "run_claim": "claim",
    "solve": "door",
    "train": "door",
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
