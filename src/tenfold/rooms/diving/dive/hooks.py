"""What a family's own code can tell a dive: two plain functions, either of which may be missing.

    def features(mip: Mip) -> tuple[columns, values]
        Numbers of k whole columns [k] and what is known of them [k, F], finite. Only these columns
        are predicted.

    def decode(mip: Mip, likely, coverage) -> tuple[lower, upper]
        Bounds [n] of a sub-MIP from the likelihood of 1 of each binary column, [n] with NaN where
        nothing was predicted; about `coverage` of the predicted columns should be fixed.

A name stands for hooks that ship with the room, a path for a file of the user's own, which is run
as it is. Code that only a saved run names is not run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.own_code import load_functions
from tenfold.parts.mip.instance import Floats, Mip
from tenfold.rooms.diving.dive.slots import Ints

Features = Callable[[Mip], tuple[Ints, Floats]]
Decode = Callable[[Mip, Floats, float], tuple[Floats, Floats]]
SHIPPED = {"commitment": "tenfold.rooms.diving.commitment.hooks"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """The two functions, checked at every call."""

    name: str = ""
    features: Features | None = None
    decode: Decode | None = None

    def look(self, mip: Mip) -> tuple[Ints, Floats]:
        """Return what `features` says.

        Raises:
            TenfoldError: if it raises, or says what does not fit the instance.
        """
        assert self.features is not None, "asked for features without a function that gives them"
        columns, values = self._call(self.features, mip)
        columns, values = np.asarray(columns), np.asarray(values, dtype=np.float64)
        if columns.ndim != 1 or values.ndim != 2 or len(columns) != len(values):
            raise TenfoldError(
                f"features of {self.name} gave shapes {columns.shape} and {values.shape}; "
                "give [k] and [k, F]"
            )
        if not np.isfinite(values).all():
            raise TenfoldError(f"features of {self.name} gave NaN or infinity; give finite numbers")
        whole = mip.whole
        if np.any((columns < 0) | (columns >= len(whole))) or not whole[columns].all():
            raise TenfoldError(
                f"features of {self.name} named columns that are not whole ones of {mip.name}"
            )
        return columns, values

    def bounds(self, mip: Mip, likely: Floats, coverage: float) -> tuple[Floats, Floats]:
        """Return what `decode` says, kept within the instance's own bounds."""
        assert self.decode is not None, "asked to decode without a function that does"
        lower, upper = self._call(self.decode, mip, likely, coverage)
        if np.shape(lower) != mip.lower.shape or np.shape(upper) != mip.upper.shape:
            raise TenfoldError(
                f"decode of {self.name} gave bounds of shapes {np.shape(lower)} and "
                f"{np.shape(upper)}; give [{len(mip.lower)}] each"
            )
        return np.maximum(lower, mip.lower), np.minimum(upper, mip.upper)

    def _call(self, function: Callable[..., Any], *values: Any) -> Any:
        try:
            return function(*values)
        except TenfoldError:
            raise
        except Exception as error:
            raise TenfoldError(
                f"{function.__name__} of {self.name} raised {type(error).__name__}: {error}"
            ) from error


def load_hooks(name: str, *, trusted: bool = True) -> Hooks:
    """Return the hooks of a name or file; empty: none.

    Args:
        name: of hooks, or FILE.py.
        trusted: whether a file may be run; not if only a saved run or network names it
            (decision 12).

    Raises:
        TenfoldError: if there is neither such a name nor such a file, it has neither function, or
            it is code that the user did not name.
    """
    if name.endswith(".py") and not trusted:
        raise TenfoldError(
            f"the hooks are code, {name}, which is not run unless you name it: give {name} as the "
            "hooks of this call"
        )
    if not name:
        return Hooks()
    if name.endswith(".py"):
        found = load_functions(Path(name), ("features", "decode"))
        if not found:
            raise TenfoldError(f"{name} has neither features nor decode; write one of them")
        return Hooks(name=name, features=found.get("features"), decode=found.get("decode"))
    if name not in SHIPPED:
        raise unknown_name("hooks", name, SHIPPED)
    module = import_module(SHIPPED[name])
    return Hooks(name=name, features=module.features, decode=module.decode)
