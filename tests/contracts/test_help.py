"""Help texts against tests/golden/help/<words>.txt.

A text that was changed on purpose is written anew by
`TENFOLD_REWRITE_GOLDEN=1 pytest tests/contracts/test_help.py`; read the difference.
"""

import itertools
import os
import re
from pathlib import Path

import pytest

from tenfold.cli import main
from tenfold.registry import COMMANDS, ROOMS, command_verbs, room_verbs

GOLDEN = Path(__file__).parents[1] / "golden" / "help"
WIDTH = 90
REWRITE = os.environ.get("TENFOLD_REWRITE_GOLDEN") == "1"


def all_words():
    """Yield the words before --help: none, each command, each room, each of their verbs."""
    yield ()
    for name, command in COMMANDS.items():
        yield (name,)
        if command.verbs:
            yield from ((name, verb) for verb in command_verbs(name))
    for name in ROOMS:
        yield (name,)
        yield from ((name, verb) for verb in room_verbs(name))


WORDS = {"-".join(("tenfold", *words)): words for words in all_words()}


def shown_help(words, capsys):
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    return shown.out


@pytest.fixture(autouse=True)
def _fixed_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))


@pytest.mark.parametrize("name", WORDS)
def test_help_is_as_written_down(name, capsys):
    text, file = shown_help(WORDS[name], capsys), GOLDEN / f"{name}.txt"
    if REWRITE:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"no {file.name}; write it with TENFOLD_REWRITE_GOLDEN=1 and read it"
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", WORDS)
def test_help_has_no_colour_and_keeps_to_the_width(name, capsys):
    text = shown_help(WORDS[name], capsys)
    assert "\x1b" not in text
    # The usage line is the reader's terminal's to wrap.
    assert all(len(line) <= WIDTH for line in text.splitlines() if not line.startswith("usage"))


def test_no_written_help_is_left_over():
    assert {file.stem for file in GOLDEN.glob("*.txt")} <= set(WORDS)


def explained_options(text):
    """Yield each option of a help text with what is written beside and below it."""
    lines = [line.strip("│ ") for line in text.splitlines() if line.startswith("│")]
    starts = [i for i, line in enumerate(lines) if line.startswith("--")]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        yield lines[start].split()[0], " ".join(lines[start:end])


@pytest.mark.parametrize("name", WORDS)
def test_every_option_is_explained_by_a_sentence(name, capsys):
    for option, told in explained_options(shown_help(WORDS[name], capsys)):
        assert re.search(r"[\w>)\]]\.(\s|$)", told.partition("(default")[0]), (
            f"{option} is unexplained"
        )
