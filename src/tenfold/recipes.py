"""Recipes: named configs of a verb, or a function in a file of the user's own.

`./FILE.py:NAME` runs the user's own Python, and only when the user writes it on the command
line; no run directory ever leads here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.verbs import Verb

_IN_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")


def is_recipe(verb: Verb, word: str) -> bool:
    """Say whether `word` names a recipe of `verb`, or could be one in a file."""
    return word in verb.recipes or bool(verb.recipes and _IN_FILE.fullmatch(word))


def recipe_config(verb: Verb, recipe: str) -> Any:
    """Return the config of a recipe, or of the default one if none is named.

    None stands for "a field without default must be given".
    """
    name = recipe or verb.default
    if name in verb.recipes:
        return verb.recipes[name]()
    if name:
        return _own_recipe(verb, name)
    required = [f for f in dataclasses.fields(verb.config) if not _has_default(f)]
    return None if required else verb.config()


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _own_recipe(verb: Verb, word: str) -> Any:
    """Run a function of the user's own file; it must return a config of this verb."""
    match = _IN_FILE.fullmatch(word)
    assert match, f"{word!r} is no recipe of a file"
    file, name = Path(match["file"]), match["name"]
    if not file.is_file():
        raise TenfoldError(f"there is no file {str(file)!r} to take the recipe {name!r} from")
    try:
        config = _function_in(file, name)()
    except TenfoldError:
        raise
    except (Exception, SystemExit) as error:
        raise TenfoldError(f"{word} raised {type(error).__name__}: {error}") from error
    if not isinstance(config, verb.config):
        wanted = verb.config.__name__
        raise TenfoldError(f"{word} returned {type(config).__name__}; it must return {wanted}")
    return config


def _function_in(file: Path, name: str) -> Callable[[], Any]:
    spec = importlib.util.spec_from_file_location(f"tenfold_recipes_{file.stem}", file)
    assert spec, f"{file} has no import spec"
    assert spec.loader, f"{file} has no loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look themselves up here
    spec.loader.exec_module(module)
    functions = {n: value for n, value in vars(module).items() if callable(value)}
    if name not in functions:
        raise unknown_name(f"function of {file.name}", name, functions)
    function: Callable[[], Any] = functions[name]
    return function
