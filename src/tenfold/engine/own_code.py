"""Functions in a Python file of the user's own.

The file is run as it is, with this process's rights: call this only with a file that the user
named in this very call, never with one that only a saved run names (decision 12).
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tenfold.engine.errors import TenfoldError, unknown_name

Function = Callable[..., Any]


def load_function(path: Path, name: str, *, called: str = "") -> Function:
    """Run a file and return one of its functions.

    Args:
        path: of the file.
        name: of the function.
        called: what the user calls it, for messages; empty: the path.

    Raises:
        TenfoldError: if there is no such file or function, or the file raises.
    """
    module = run_file(path, called=called)
    function = getattr(module, name, None)
    if not callable(function):
        names = [known for known, value in vars(module).items() if inspect.isfunction(value)]
        raise unknown_name(f"function of {path.name}", name, names)
    found: Function = function
    return found


def load_functions(path: Path, names: Sequence[str]) -> dict[str, Function]:
    """Run a file and return those of the named functions that it has.

    Raises:
        TenfoldError: if there is no such file, or it raises.
    """
    module = run_file(path)
    return {name: getattr(module, name) for name in names if callable(getattr(module, name, None))}


def run_file(path: Path, *, called: str = "") -> ModuleType:
    """Run a file, which may import its neighbours, and return it as a module.

    Raises:
        TenfoldError: if there is no such file, or it raises; `called` is what it is called then.
    """
    if not path.is_file():
        raise TenfoldError(f"{path} does not exist; name a Python file of yours")
    # Registered under a name of its own: dataclasses and workers look modules up.
    name = f"tenfold_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TenfoldError(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with importing_from(path.parent):
        try:
            spec.loader.exec_module(module)
        except TenfoldError:
            raise
        except (Exception, SystemExit) as error:
            raise TenfoldError(
                f"{called or path} raised {type(error).__name__}: {error}"
            ) from error
    return module


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as Python does for a script."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
