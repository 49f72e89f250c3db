"""Documents: the standard library's own text, or a user's folder (rooms jumprelu, scope)."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tenfold.engine.errors import TenfoldError

Kind = Literal["code", "prose"]

LEFT_OUT = {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages"}
"""Folders of the standard library that are not read: tests repeat, code pages are tables."""

TOPICS = "pydoc_data/topics.py"
PROSE = {"", ".txt", ".md", ".markdown", ".rst", ".tex", ".html", ".org"}
"""Suffixes of a user's files that count as prose; all others count as code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A piece of text that is learned from or held out as a whole.

    Documents of one `group` always lie in the same split.
    """

    name: str
    """Where the text is from, relative to its root: never a path of this machine."""
    group: str
    kind: Kind
    text: str


def library_files(root: Path | None = None) -> list[tuple[str, Path]]:
    """List the standard library's Python files that are read, by relative name."""
    root = root or Path(sysconfig.get_path("stdlib"))
    # From the known names down: a search from the root would walk all installed packages.
    tops = [path for path in root.iterdir() if path.stem in sys.stdlib_module_names]
    paths = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*.py"))]
    named = ((path.relative_to(root), path) for path in paths if path.suffix == ".py")
    return sorted((n.as_posix(), path) for n, path in named if LEFT_OUT.isdisjoint(n.parts))


def library_documents(root: Path | None = None) -> Iterator[Document]:
    """Read the standard library: of each module its docstrings and the source without them."""
    for name, path in library_files(root):
        try:
            source = importlib.util.decode_source(path.read_bytes())
            yield from _topics(source) if name == TOPICS else split_source(name, source)
        except (SyntaxError, UnicodeDecodeError):
            # Templates and deliberately broken examples are no text to learn from.
            continue


def split_source(name: str, source: str) -> Iterator[Document]:
    """Cut a module into its docstrings, as prose, and what is left, as code."""
    found = _docstrings(_parse(source))
    lines = source.splitlines(keepends=True)
    for string in found:
        indent = lines[string.lineno - 1][: string.col_offset]
        if indent.strip() == "":
            lines[string.lineno - 1 : string.end_lineno] = [""] * _height(string)
    prose = "\n\n".join(inspect.cleandoc(str(string.value)) for string in found)
    yield Document(name=f"{name}#docstrings", group=name, kind="prose", text=prose)
    yield Document(name=name, group=name, kind="code", text="".join(lines))


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        # An invalid escape in somebody's source is not our user's concern.
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _docstrings(tree: ast.Module) -> list[ast.Constant]:
    """List the docstrings of a module and of all that it defines, in order of lines."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            found += [first.value] if isinstance(first.value.value, str) else []
    return sorted(found, key=lambda string: string.lineno)


def _height(string: ast.Constant) -> int:
    return (string.end_lineno or string.lineno) - string.lineno + 1


def _topics(source: str) -> Iterator[Document]:
    """Read the language reference that `help()` shows, one document a topic."""
    for table in (node for node in ast.walk(_parse(source)) if isinstance(node, ast.Dict)):
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                name = f"{TOPICS}#{key.value!s}"
                yield Document(name=name, group=name, kind="prose", text=str(value.value))


def folder_documents(root: Path) -> Iterator[Document]:
    """Read a user's folder: each UTF-8 file is a document, hidden ones are left out.

    Raises:
        TenfoldError: if there is no such folder.
    """
    if not root.is_dir():
        raise TenfoldError(f"text folder {str(root)!r} is not a folder; give one with text files")
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        kind: Kind = "prose" if path.suffix.lower() in PROSE else "code"
        yield Document(name=name.as_posix(), group=name.as_posix(), kind=kind, text=text)
