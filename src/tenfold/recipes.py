"""Recipes: named configs of a verb, or a function in a file of the user's own.

`./FILE.py:NAME` runs the user's own Python, and only when the user writes it on the command
line; no run directory ever leads here.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from tenfold.engine.errors import TenfoldError
from tenfold.engine.own_code import load_function
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
    function = load_function(file, name, called=word)
    try:
        config = function()
    except TenfoldError:
        raise
    except (Exception, SystemExit) as error:
        raise TenfoldError(f"{word} raised {type(error).__name__}: {error}") from error
    if not isinstance(config, verb.config):
        wanted = verb.config.__name__
        raise TenfoldError(f"{word} returned {type(config).__name__}; it must return {wanted}")
    return config
