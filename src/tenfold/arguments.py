"""Command line to config: recipe word, saved run, options, and the way back.

tyro turns a dataclass into options; `CascadeSubcommandArgs` lets options of a union stand
anywhere (brentyi/tyro#366). What tyro draws as boxes becomes one line here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from tenfold.engine.config import KIND, diff
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.verbs import Call, CallFromRun, Verb, read_config
from tenfold.recipes import is_recipe, recipe_config

_ASCII = str.maketrans("╭╮╰╯─│•", "++++-|*")
_UNION_KIND = r"[a-z][\w.-]*:[a-z][\w-]*"
_PARTS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


class HelpAsked(Exception):
    """Somebody asked for help; the text is the only argument."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """A verb's config and the way in which it is called."""

    config: Any
    call: Any


def parse(verb: Verb, args: Sequence[str], *, words: str) -> Invocation:
    """Read `[RECIPE] [options]` that stand after `words`, e.g. "jumprelu train".

    Raises:
        HelpAsked: with the help text, if `args` ask for it.
        TenfoldError: if `args` do not make a config of this verb.
    """
    recipe, rest = _take_recipe(verb, args)
    base = _starting_config(verb, args, recipe=recipe)
    form = _both(verb, base, recipe=recipe or ("" if _saved_name(verb, args) else verb.default))
    with _told_in_one_line(words):
        parsed, unknown = _tyro(verb, form, rest, words=words)
    if unknown:
        raise _unknown_word(verb, form, unknown, words=words)
    call = parsed.call
    if isinstance(call, Call):
        typed = tuple(word.partition("=")[0] for word in rest if word.startswith("--"))
        call = dataclasses.replace(call, typed=typed)
    return Invocation(config=parsed.config, call=call)


def _tyro(verb: Verb, form: Any, args: Sequence[str], *, words: str) -> tuple[Any, list[str]]:
    """Let tyro fill `form`; return it with the words that fit no option."""
    parsed, unknown = tyro.cli(
        form,
        prog=f"tenfold {words}" + (" [RECIPE]" if verb.recipes else ""),
        description=_description(verb),
        args=args,
        config=(tyro.conf.CascadeSubcommandArgs,),
        return_unknown_args=True,
    )
    return parsed, unknown


def _take_recipe(verb: Verb, args: Sequence[str]) -> tuple[str, list[str]]:
    if args and is_recipe(verb, args[0]):
        return args[0], list(args[1:])
    return "", list(args)


def _starting_config(verb: Verb, args: Sequence[str], *, recipe: str) -> Any:
    """Return the config that options then override; None if a field has no default."""
    saved = _saved_name(verb, args)
    if saved and recipe:
        option = _saved_option(verb)
        raise TenfoldError(f"recipe {recipe!r} and {option} {saved!r} exclude each other; give one")
    if saved:
        return _saved_config(verb, saved, runs=_value_after("--runs", args))
    return recipe_config(verb, recipe)


def _saved_option(verb: Verb) -> str:
    """Return the option that names a saved run; a config may have a --from of its own."""
    return "--from-run" if verb.call is CallFromRun else "--from"


def _saved_name(verb: Verb, args: Sequence[str]) -> str:
    return _value_after(_saved_option(verb), args) if issubclass(verb.call, Call) else ""


def _value_after(option: str, args: Sequence[str]) -> str:
    """Return what follows `option`, or its part after "="; empty if it is not there."""
    for word, following in itertools.pairwise([*args, ""]):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return ""


def _saved_config(verb: Verb, name: str, *, runs: str) -> Any:
    from tenfold.engine.files import runs_root
    from tenfold.engine.run import find_run

    return read_config(verb, find_run(name, runs_root(runs)))


def _both(verb: Verb, base: Any, *, recipe: str) -> type:
    """Build the dataclass that tyro reads: the config's options, and the call's in a group."""
    config: Any = Annotated[verb.config, tyro.conf.arg(name="")]
    call: Any = Annotated[(verb.call, *_PARTS)]
    start = verb.call(recipe=recipe) if issubclass(verb.call, Call) else verb.call()
    return dataclasses.make_dataclass(
        "Invocation",
        [
            ("config", config) if base is None else ("config", config, _constant(base)),
            ("call", call, _constant(start)),
        ],
        frozen=True,
        kw_only=True,
    )


def _constant(value: Any) -> Any:
    return dataclasses.field(default_factory=lambda: value)


def _description(verb: Verb) -> str:
    if not verb.recipes:
        return verb.help
    names = [f"{n} (default)" if n == verb.default else n for n in verb.recipes]
    return f"{verb.help}\n\nRecipes: {', '.join(names)}; or a function of yours: ./FILE.py:NAME"


@contextlib.contextmanager
def _told_in_one_line(words: str) -> Iterator[None]:
    """Raise what tyro prints before it leaves: help without colour, a fault as one sentence."""
    out, err = _utf8_stream(), _utf8_stream()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    except SystemExit as leaving:
        if leaving.code:
            fault = _one_line(_text(err)).removeprefix("Error parsing call: ")
            raise TenfoldError(f"{words}: {fault}; see tenfold {words} --help") from None
        raise HelpAsked(_drawable(_text(out)).rstrip("\n")) from None
    except ValueError as error:  # a config's own check of its fields
        raise TenfoldError(f"{words}: {error}") from None


def _utf8_stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8")


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def _drawable(text: str) -> str:
    """Replace box drawing where stdout cannot show it."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return text if encoding.startswith("utf") else text.translate(_ASCII)


def _one_line(boxed: str) -> str:
    """Return the first paragraph of a box: what stands between its title and a rule."""
    lines = [line.strip("│ ") for line in boxed.splitlines()[1:]]
    end = next((i for i, line in enumerate(lines) if set(line) & set("─╰")), len(lines))
    return " ".join(line for line in lines[:end] if line)


def _unknown_word(verb: Verb, form: Any, unknown: Sequence[str], *, words: str) -> TenfoldError:
    word = next((w for w in unknown if w.startswith("-")), unknown[0])
    if word.startswith("-"):
        options = _names_in_help(r"--[a-z][\w.-]*", verb, form, words=words)
        return unknown_name(f"option of {words}", word.partition("=")[0], options)
    kinds = _names_in_help(rf"(?<= ){_UNION_KIND}(?= )", verb, form, words=words)
    if kinds and re.fullmatch(_UNION_KIND, word):
        return unknown_name(f"kind for {words}", word, kinds)
    if word in verb.recipes:
        return TenfoldError(f"recipe {word!r} must stand right after `tenfold {words}`")
    if verb.recipes:
        return unknown_name(f"recipe of {words}", word, verb.recipes)
    return TenfoldError(f"{words} takes no {word!r}; see tenfold {words} --help")


def _names_in_help(pattern: str, verb: Verb, form: Any, *, words: str) -> set[str]:
    """Return what matches `pattern` in the help: the options, or the kinds of unions."""
    out = _utf8_stream()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        _tyro(verb, form, ["--help"], words=words)
    return set(re.findall(pattern, _text(out)))


def repeat_command(verb: Verb, config: Any, *, words: str, recipe: str, path: Path) -> str:
    """Return the command that runs `config` again, by recipe and options if those suffice."""
    ours = not recipe or recipe in verb.recipes  # a user's own file is never run from a run
    base = recipe_config(verb, recipe) if ours else None
    options = None if base is None else _spelled(base, config)
    if options is not None:
        args = [recipe, *options] if recipe else options
        with contextlib.suppress(TenfoldError):
            if parse(verb, args, words=words).config == config:
                return shlex.join(["tenfold", *words.split(), *args])
    return shlex.join(["tenfold", *words.split(), _saved_option(verb), str(path)])


def _spelled(base: Any, config: Any) -> list[str] | None:
    """Spell the differences as options; None where a union changed its kind."""
    options: list[str] = []
    for change in diff(base, config):
        name, value = change.path.replace("_", "-"), change.after
        if name.rpartition(".")[2] == KIND or isinstance(value, dict):
            return None
        if isinstance(value, bool):
            options.append(f"--{name}" if value else _negated(name))
        else:
            values = value if isinstance(value, list) else [value]
            options += [f"--{name}", *map(str, values)]
    return options


def _negated(name: str) -> str:
    prefix, dot, last = name.rpartition(".")
    return f"--{prefix}{dot}no-{last}"
