"""Loops compiled by numba: one way to compile them, where they are kept, what if numba is missing.

Compiled code is kept on disk, so that a loop is compiled once a machine and not once a process.
Without numba `jit` returns the plain function: fit for small tests, far too slow to work with,
so ask `find_obstacle` before choosing code that needs compiled loops.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from tenfold.engine.files import cache_root

Function = TypeVar("Function", bound=Callable[..., Any])

Whole = Any
"""A whole number inside compiled loops: Python's, or one of numpy's of any width."""

PACKAGE = Path(__file__).parents[1]
IMPORT = re.compile(rb"^[ \t]*from (tenfold[.\w]*) import (?:([\w, ]+)|\(([^)]*)\))", re.MULTILINE)
MARKS = (b"\n@jit", b"\n@bare", b"\n@within", b"ExternalFunction(")
"""What a module with compiled loops has, or with functions of a library that loops call."""

FAST_MATH = {"contract", "reassoc", "nsz"}
"""Sums may be reordered and fused, so that they vectorise; NaN and infinity keep their meaning."""


def version() -> str:
    """Return numba's version, empty where it is missing; numba is not imported."""
    try:
        return importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        return ""


def describe() -> str:
    """Return what compiles loops on this machine, for a report."""
    return f"numba {version()}" if version() else "numba missing: dense steps only"


@functools.cache
def find_obstacle() -> str:
    """Return why loops cannot be compiled here, with the remedy; empty if they can."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return f"numba cannot be imported ({error}); pip install numba"
    return ""


def cache_folder() -> Path:
    """Return where compiled loops are kept: NUMBA_CACHE_DIR, else `numba` in the cache."""
    given = os.environ.get("NUMBA_CACHE_DIR", "")
    return Path(given).expanduser() if given else cache_root() / "numba"


@functools.cache
def _sources() -> dict[str, bytes]:
    """Return the text of each module of tenfold by its name."""
    root = PACKAGE.parent
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_bytes()
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def _imports(text: bytes) -> set[str]:
    """Return the modules that a text may import: those named, and names taken from packages."""
    names = set()
    for package, single, several in IMPORT.findall(text):
        words = re.findall(rb"\w+", several or single)
        names |= {package.decode()} | {(package + b"." + word).decode() for word in words}
    return names


@functools.cache
def sources_digest(module: str) -> str:
    """Return a digest of the modules with loops that a module reaches by its imports.

    numba asks whether a loop's own file has changed, not whether one has that the loop calls;
    under a new digest all are compiled anew. Loops of a module outside tenfold may call any.
    """
    sources = _sources()
    reached, ahead = set(), [module] if module in sources else list(sources)
    while ahead:
        name = ahead.pop()
        if name not in reached and name in sources:
            reached.add(name)
            ahead += _imports(sources[name])
    whole = hashlib.sha256()
    for name in sorted(reached):
        if any(mark in sources[name] for mark in MARKS):
            whole.update(name.encode() + sources[name])
    return whole.hexdigest()[:12]


def jit(function: Function) -> Function:
    """Compile a loop over arrays at its first call; it runs without Python's global lock.

    Division follows IEEE 754 (by zero gives infinity or NaN), and no index is checked. The
    plain function stays at hand as `.py_func` where numba is there.
    """
    if find_obstacle():
        return function
    import numba

    compiled = numba.njit(
        function,
        nogil=True,
        cache=_can_cache(cache_folder() / sources_digest(function.__module__)),
        fastmath=FAST_MATH,
        error_model="numpy",
    )
    return cast(Function, compiled)


def bare(function: Function) -> Function:
    """Compile a loop as `jit` does, but without counting references to arrays that it is given.

    Around each call numba counts every array up and down, two locked instructions each: 0.2 us for
    a structure of many arrays, as much as such a loop may take. It cannot make arrays of its own.
    """
    compiled = jit(function)
    if compiled is not function:
        vars(compiled)["targetoptions"]["_nrt"] = False
    return compiled


def within(function: Function) -> Function:
    """Compile a `bare` loop that becomes a part of its callers.

    A call hands a structure of many arrays over on the stack, which takes some 40 ns.
    """
    compiled = bare(function)
    if compiled is not function:
        vars(compiled)["targetoptions"]["forceinline"] = True
    return compiled


def _can_cache(folder: Path) -> bool:
    """Point numba to `folder`, and say whether it can be written to."""
    import numba

    if not _is_writable(folder):
        return False
    # The variable is read when numba is imported, which another library may have done.
    vars(numba.config)["CACHE_DIR"] = str(folder)
    return True


@functools.cache
def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
