"""Faults a user can mend: each states the fault, the value and the remedy."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class TenfoldError(Exception):
    """A fault of input or use, told in one sentence; the command line exits with code 2."""


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `known` that look like `name`, best first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def unknown_name(what: str, name: str, known: Iterable[str]) -> TenfoldError:
    """Build the error for a name that is not in `known`, with the nearest ones.

    Args:
        what: the kind of thing, for instance "verb of jumprelu".
        name: what the user wrote.
        known: what would have been right.
    """
    names = sorted(known)
    near = nearest_names(name, names)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    shown = ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
    return TenfoldError(f"unknown {what} {name!r}; {hint}known: {shown or 'none'}")


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional `module`, or say which extra brings it.

    Raises:
        TenfoldError: if the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise TenfoldError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which is not installed; "
            f'pip install "tenfold[{extra}]" brings it, everything else works without'
        ) from None
