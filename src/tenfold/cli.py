"""The command `tenfold`: two-word dispatch, exit codes, and where output goes.

Results go to stdout, talk to stderr. Exit codes: 0 done, 1 a run crashed, 2 wrong use,
130 stopped with the state saved. Only the room that is named is imported.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.registry import COMMANDS, ROOMS, command_verbs, find_verb, room_verbs

if TYPE_CHECKING:
    from tenfold.engine.verbs import Verb

DONE, CRASHED, WRONG_USE, STOPPED = 0, 1, 2, 130
TRACEBACK_IN = "traceback in "
"""How the note begins by which a run says that its log has an exception's traceback."""


def entry() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    import logging

    logging.basicConfig(format="tenfold: %(message)s", level=logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code = main(sys.argv[1:])
    with _reader_may_leave():
        sys.stdout.flush()
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Do what `argv` asks for and return the exit code."""
    try:
        return _dispatch(list(argv))
    except TenfoldError as error:
        return _leave(str(error), WRONG_USE)
    except KeyboardInterrupt:
        return _leave("interrupted", STOPPED)
    except Exception as error:
        return _leave(_crash(error), CRASHED)


def _dispatch(argv: list[str]) -> int:
    match argv:
        case [] | [("--help" | "-h" | "help")]:
            return _print(_overview())
        case ["--version"]:
            from tenfold import __version__

            return _print(f"tenfold {__version__}")
        case [name, *rest] if name in COMMANDS and not COMMANDS[name].verbs:
            return _perform(command_verbs(name)[name], rest, words=name)
        case [name] | [name, ("--help" | "-h" | "help")] if name in COMMANDS or name in ROOMS:
            return _print(_verbs_of(name))
        case [name, word, *rest] if name in COMMANDS or name in ROOMS:
            return _perform(find_verb(name, word), rest, words=f"{name} {word}")
        case _:
            raise unknown_name("room or command", argv[0], [*ROOMS, *COMMANDS])


def _perform(verb: Verb, args: Sequence[str], *, words: str) -> int:
    from tenfold.arguments import HelpAsked, parse
    from tenfold.engine.run import RunStopped
    from tenfold.engine.verbs import Stopped

    try:
        invocation = parse(verb, args, words=words)
    except HelpAsked as help_text:
        return _print(str(help_text))
    config, call = invocation.config, invocation.call
    if getattr(call, "dry_run", False):
        return _show(_plan(verb, config), json=call.json)
    try:
        result = verb.run(config, call)
    except RunStopped as stop:
        go_on = shlex.join(["tenfold", "runs", "resume", str(stop.path)])
        return _leave(f"stopped, {stop.reason}; go on with `{go_on}`", STOPPED)
    except Stopped as stop:
        return _leave(f"stopped, {stop}; go on with `{stop.go_on}`", STOPPED)
    _show(result, json=call.json)
    return DONE if verb.succeeded(result) else CRASHED


def _plan(verb: Verb, config: object) -> dict[str, object]:
    """Return what a dry run shows: the resolved config and the size of the work."""
    from tenfold.engine.config import encode

    return {"config": encode(config)} | ({"work": verb.plan(config)} if verb.plan else {})


def _show(result: object, *, json: bool) -> int:
    from tenfold.output import as_json, as_text

    return DONE if result is None else _print(as_json(result) if json else as_text(result))


def _print(text: str) -> int:
    with _reader_may_leave():
        print(text)
    return DONE


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Let `| head` close stdout; without another one Python would complain at exit."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(reason: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        print("tenfold:", " ".join(reason.splitlines()), file=sys.stderr)
    return code


def _overview() -> str:
    return "\n".join(
        [
            "tenfold: ten published learning systems as tools for your own problems",
            "",
            "usage: tenfold ROOM VERB [RECIPE] [options]",
            "       tenfold COMMAND [options]",
            "",
            "rooms",
            *_listed((room.name, room.sentence) for room in ROOMS.values()),
            "",
            "commands",
            *_listed((command.name, command.sentence) for command in COMMANDS.values()),
            "",
            "`tenfold ROOM --help` lists a room's verbs, `tenfold ROOM VERB --help` the options.",
        ]
    )


def _verbs_of(name: str) -> str:
    verbs = command_verbs(name) if name in COMMANDS else room_verbs(name)
    recipes = " [RECIPE]" if any(verb.recipes for verb in verbs.values()) else ""
    return "\n".join(
        [
            *_heading(name),
            "",
            f"usage: tenfold {name} VERB{recipes} [options]",
            "",
            "verbs",
            *_listed((word, verb.help) for word, verb in verbs.items()),
            "",
            f"`tenfold {name} VERB --help` lists the options of a verb.",
        ]
    )


def _heading(name: str) -> list[str]:
    if name in COMMANDS:
        return [f"{name}: {COMMANDS[name].sentence}"]
    return [f"{name}: {ROOMS[name].sentence}", ROOMS[name].paper]


def _listed(pairs: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(pairs)
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {sentence}" for name, sentence in rows]


def _crash(error: Exception) -> str:
    """Tell a crash in one line, with the place of its traceback."""
    places = [note for note in getattr(error, "__notes__", []) if note.startswith(TRACEBACK_IN)]
    place = places[-1] if places else _log_crash(error)
    return f"{type(error).__name__}: {str(error) or 'no message'}; {place}"


def _log_crash(error: Exception) -> str:
    """Write down the traceback of a crash outside every run, and say where."""
    from tenfold.engine.files import cache_root, write_text

    log = cache_root() / "crash.log"
    try:
        write_text(log, "".join(traceback.format_exception(error)))
    except OSError:
        traceback.print_exception(error)
        return "traceback above"
    return f"{TRACEBACK_IN}{log}"
