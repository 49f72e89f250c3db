"""Dense graphs without short cycles, found, certified and kept (arXiv:2311.03583).

>>> from tenfold import extremal
>>> extremal.upper_bound(extremal.Problem(nodes=50)).value
175
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_HOMES = {
    "Problem": "problem",
    "Graph": "graph",
    "search": "search",
    "Found": "search",
    "verify": "verify",
    "Archive": "archive",
    "ladder_run": "run",
    "load": "run",
    "construct": "named",
    "amalgam": "amalgam",
    "solve_exact": "exact",
    "upper_bound": "bounds",
    "canonical_form": "canonical",
    "read_graphs": "codecs",
    "search_own": "own",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that configs and help texts need no torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)


class _Door(ModuleType):
    """A module whose functions keep their names when a submodule of that name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system sets `search` to the submodule that has the function of that name.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door
