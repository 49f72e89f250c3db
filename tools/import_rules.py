"""Check who imports whom, and that words, names and calls stay out of where they do not belong.

    python tools/import_rules.py [PACKAGE FOLDER]

Prints one line for each fault and exits with 1 if there is one. Only parses, imports nothing.

| layer | may import |
|---|---|
| engine | engine |
| parts | engine, parts |
| a room | engine, parts, itself, and the rooms in its `edges` in `registry.py` |
| the rest (command line, registry, web) | engine and the rest; inside functions anything |
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "tenfold"
ROOMS = ["jumprelu", "scope", "omni", "extremal", "lns", "diving", "triad", "vdn", "ctf", "scan"]
SCIENCE = re.compile(
    r"(?<![a-z])(policy|policies|(reward|agent|logit|latent|incumbent)s?)(?![a-z])", re.IGNORECASE
)
# A term of the web, not of science.
BROWSER_TERM = re.compile(r"content.security.policy", re.IGNORECASE)
FILE_NAMES = {"util", "utils", "common", "helper", "helpers", "misc", "base", "core"}
CLASS_NAMES = re.compile(r"(Manager|Handler|Wrapper)s?$")
USERS = re.compile(r"\brooms ([a-z]+(?:, [a-z]+)*)\)\.?$")
PICKLERS = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
CALLS = {"eval", "exec", "torch.save", "torch.load", "yaml.load", "joblib.load", "joblib.dump"}
# The one place that reads foreign pickled files, as plain tensors only.
UNPICKLER = "parts.sae.formats"


@dataclass(frozen=True, kw_only=True)
class Module:
    """One parsed source file; `name` is dotted and starts below the package."""

    path: Path
    name: str
    tree: ast.Module
    text: str

    @property
    def layer(self) -> str:
        """Where it stands: engine, parts, rooms.<name> or "rest"."""
        return find_layer(self.name)


def main(words: list[str]) -> int:
    """Print the faults of a package folder and return the exit code."""
    faults = find_faults(Path(words[0]) if words else PACKAGE)
    print("\n".join(faults) or "imports, words, names and calls are as they should be")
    return int(bool(faults))


def find_faults(package: Path) -> list[str]:
    """Return one line for each fault in the package at this folder."""
    modules = [read_module(path, package) for path in sorted(package.rglob("*.py"))]
    edges = read_edges(package / "registry.py")
    firsts = {module.name: first_line(module) for module in modules}
    return [
        f"{module.path.relative_to(package.parent)}:{line}: {fault}"
        for module in modules
        for line, fault in [
            *edge_faults(module, package.name, edges),
            *word_faults(module),
            *name_faults(module),
            *user_faults(module, firsts),
            *call_faults(module),
        ]
    ]


def read_module(path: Path, package: Path) -> Module:
    """Parse one file."""
    name = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix("__init__")
    text = path.read_text(encoding="utf-8")
    return Module(path=path, name=name.rstrip("."), tree=ast.parse(text), text=text)


def read_edges(registry: Path) -> dict[str, list[str]]:
    """Return which rooms each room may import, from the `Room(name=..., edges=...)` calls."""
    edges = {}
    for node in ast.walk(ast.parse(registry.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and dotted(node.func) == "Room":
            given = {word.arg: word.value for word in node.keywords}
            name = ast.literal_eval(given["name"])
            edges[name] = list(ast.literal_eval(given["edges"])) if "edges" in given else []
    return edges


def find_layer(name: str) -> str:
    """Return the layer of a dotted name below the package."""
    words = name.split(".")
    if words[0] == "rooms" and len(words) > 1:
        return f"rooms.{words[1]}"
    return words[0] if words[0] in ("engine", "parts") else "rest"


def allowed_layers(layer: str, edges: dict[str, list[str]]) -> set[str]:
    """Return the layers that one layer may import when it is itself imported."""
    if layer.startswith("rooms."):
        declared = edges.get(layer.removeprefix("rooms."), [])
        return {"engine", "parts", layer, *(f"rooms.{room}" for room in declared)}
    return {"engine"} if layer == "engine" else {"engine", layer}


def edge_faults(
    module: Module, package: str, edges: dict[str, list[str]]
) -> Iterator[tuple[int, str]]:
    """Yield imports that the layer of the module does not allow."""
    allowed = allowed_layers(module.layer, edges)
    for line, target, lazy in imports(module.tree, inside_function=False):
        if target.startswith("."):
            yield line, f"the relative import {target!r} hides its layer; write the whole name"
        if target.split(".")[0] == package:
            layer = find_layer(target.partition(".")[2])
            if layer not in allowed and not (lazy and module.layer == "rest"):
                yield line, f"{module.layer} imports {target}"


def imports(node: ast.AST, *, inside_function: bool) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, dotted target, whether it waits for a call) of the imports below a node."""
    for target in import_targets(node):
        yield getattr(node, "lineno", 1), target, inside_function
    waits = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    typing_only = isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING")
    for child in ast.iter_child_nodes(node):
        yield from imports(child, inside_function=inside_function or waits or typing_only)


def import_targets(node: ast.AST) -> list[str]:
    """Return what this one node imports: a statement, or `import_module("...")`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
        return [str(word.value) for word in node.args if isinstance(word, ast.Constant)]
    return []


def word_faults(module: Module) -> Iterator[tuple[int, str]]:
    """Yield words of science in the engine, which knows none."""
    if module.layer == "engine":
        for number, line in enumerate(module.text.splitlines(), start=1):
            for found in SCIENCE.finditer(BROWSER_TERM.sub("", line)):
                yield number, f"the engine knows no science, but says {found[0]!r}"


def name_faults(module: Module) -> Iterator[tuple[int, str]]:
    """Yield names of files and classes that say nothing."""
    for word in module.name.split("."):
        if word in FILE_NAMES:
            yield 1, f"a file called {word!r} does not say what it holds"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and CLASS_NAMES.search(node.name):
            yield node.lineno, f"class {node.name} does not say what it is"


def user_faults(module: Module, firsts: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield parts whose users are not told.

    "(rooms a, b)" ends the first line of the module's docstring, or of a package's above it.
    """
    words = module.name.split(".")
    if words[0] == "parts" and len(words) > 1:
        above = [".".join(words[:count]) for count in range(2, len(words) + 1)]
        found = [USERS.search(firsts.get(name, "")) for name in above]
        if not any(found):
            yield 1, 'the first docstring line does not end with "(rooms a, b)"'
        for unknown in {room for hit in found if hit for room in hit[1].split(", ")} - {*ROOMS}:
            yield 1, f"the docstring names a room {unknown!r}, which is none of {ROOMS}"


def first_line(module: Module) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(module.tree) or "").partition("\n")[0]


def call_faults(module: Module) -> Iterator[tuple[int, str]]:
    """Yield calls and imports through which a file could run code."""
    unpickler = module.name.startswith(UNPICKLER)
    for line, target, _ in imports(module.tree, inside_function=False):
        if target.split(".")[0] in PICKLERS and not unpickler:
            yield line, f"{target} runs code found in files"
    for call in (node for node in ast.walk(module.tree) if isinstance(node, ast.Call)):
        name = dotted(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        tensors_only = name == "torch.load" and given.get("weights_only") == "True" and unpickler
        if name in CALLS and not tensors_only:
            yield call.lineno, f"{name}() can run code found in files"
        if given.get("allow_pickle", "False") != "False":
            yield call.lineno, f"{name}(allow_pickle=...) runs code found in files"


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a name or an attribute of one, else an empty string."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
