"""tenfold: ten published learning systems as tools for your own problems.

>>> import tenfold
>>> tenfold.list_rooms()[0]
'jumprelu'
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tenfold.registry import ROOMS, list_rooms, room_package

# OpenMP's threads spin while they wait, unless told otherwise before torch is imported. On a
# machine whose cores are shared that made training five to ten times slower.
if "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["__version__", "list_rooms", "load"]


def load(path: str | Path) -> Any:
    """Load what a run made, as the run's room gives it.

    Args:
        path: a run directory, or the name of a run below TENFOLD_RUNS or ./runs.
    """
    from tenfold.engine.files import runs_root
    from tenfold.engine.run import find_run, read_record

    found = find_run(str(path), runs_root())
    return room_package(read_record(found).room).load(found)


def __getattr__(name: str) -> Any:
    """Import a room when it is first asked for: `from tenfold import jumprelu`."""
    if name in ROOMS:
        return room_package(name)
    raise AttributeError(f"module 'tenfold' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names and the rooms."""
    return [*__all__, *ROOMS]
