"""Cooperative teams: values of agents added up, learnt as one (arXiv:1706.05296).

>>> from tenfold import vdn
>>> vdn.arch_of("V.S.Id").title
'V.+S.+Id'
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Arch": "config",
    "arch_of": "config",
    "Train": "config",
    "Learning": "config",
    "train": "run",
    "resume": "run",
    "Trainer": "trainer",
    "open_task": "tasks",
    "GameMap": "games.maps",
    "GameBatch": "games.batch",
    "load_teams": "files",
    "agents_of": "tools",
    "load_agent": "agents",
    "explain": "eval",
    "probe_task": "probe",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Lazy, so that configs and help texts need no torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
