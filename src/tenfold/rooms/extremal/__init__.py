"""Dense graphs without short cycles, found, certified and kept (arXiv:2311.03583).

>>> from tenfold import extremal
>>> extremal.upper_bound(extremal.Problem(nodes=50)).value
175
"""

from __future__ import annotations

from importlib import import_module
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
