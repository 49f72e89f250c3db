"""What `tenfold doctor` says of the solvers."""

from __future__ import annotations

from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs, scip_library, scip_models


def describe() -> list[str]:
    """Return a line for each solver: its version, and how SCIP's data are read."""
    try:
        scip = scip_models.version()
    except TenfoldError as error:
        return [str(error)]
    obstacle = scip_library.find_obstacle()
    way = f"read slowly, through objects: {obstacle}" if obstacle else "read at its pointers"
    try:
        return [f"{scip}, {way}", highs.version()]
    except TenfoldError as error:
        return [f"{scip}, {way}", str(error)]
