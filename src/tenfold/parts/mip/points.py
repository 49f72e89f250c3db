"""Files with a point, in MIPLIB's dialect, which SCIP and HiGHS both read.

The first line tells the objective, `=obj= 15`, each further line a column and its value; columns
that are not named are 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_text
from tenfold.parts.mip.instance import Floats, Mip

OBJECTIVE = "=obj="
_OTHERS = ("objective value:", "solution status:", "#", "Model status")
"""How lines begin that other dialects have and that tell no value of a column."""


def write_point(mip: Mip, x: Floats, path: Path) -> None:
    """Write a point, [n]; columns at 0 are left out."""
    lines = [f"{OBJECTIVE} {mip.objective(x):.17g}"]
    named = zip(mip.columns, x.tolist(), strict=True)
    lines += [f"{name} {value:.17g}" for name, value in named if value]
    write_text(path, "\n".join(lines) + "\n")


def read_point(mip: Mip, path: Path) -> Floats:
    """Read a point, [n], in MIPLIB's dialect or in SCIP's.

    Raises:
        TenfoldError: naming the line, if it is no column of the instance or has no number.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TenfoldError(f"{path} cannot be read ({error}); check the path") from None
    place = {name: j for j, name in enumerate(mip.columns)}
    x = np.zeros(len(mip.columns))
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or line.startswith((OBJECTIVE, *_OTHERS)):
            continue
        if words[0] not in place:
            raise TenfoldError(
                f"{path} line {number}: {words[0]!r} is no column of {mip.name}; give a point of "
                "this instance in MIPLIB's or SCIP's dialect"
            )
        try:
            x[place[words[0]]] = float(words[1])
        except (IndexError, ValueError):
            raise TenfoldError(
                f"{path} line {number}: {line.strip()!r} should be a column and a number; mend it"
            ) from None
    return x
