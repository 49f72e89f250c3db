"""What the guides and READMEs say, held against what is there."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from tenfold.arguments import parse
from tenfold.cli import main
from tenfold.engine.claim import ClaimResult, Statement, compare, save_claim
from tenfold.engine.rng import stream
from tenfold.engine.verdict import Rule
from tenfold.parts.sae.formats import FORMATS, Arrays, read_arrays, write_arrays
from tenfold.registry import COMMANDS, command_verbs, find_verb

PROJECT = Path(__file__).parents[1]
ROOM = PROJECT / "src" / "tenfold" / "rooms" / "jumprelu" / "README.md"
SCOPE = PROJECT / "src" / "tenfold" / "rooms" / "scope" / "README.md"
EXTREMAL = PROJECT / "src" / "tenfold" / "rooms" / "extremal" / "README.md"
DIVING = PROJECT / "src" / "tenfold" / "rooms" / "diving" / "README.md"
VDN = PROJECT / "src" / "tenfold" / "rooms" / "vdn" / "README.md"
GUIDES = [PROJECT / "docs" / "start.md", PROJECT / "docs" / "rooms" / "jumprelu.md"]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    ROOM,
    SCOPE,
    EXTREMAL,
    DIVING,
    VDN,
    *GUIDES,
]
KINDS = ("relu", "gated", "topk", "batchtopk", "matryoshka", "jumprelu")


def blocks(page):
    """Return (language, text) of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(text):
    """Return the words after `tenfold` of each line that calls it."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [
        shlex.split(line)[1:]
        for line in lines
        if re.match(r"(\.venv/bin/)?tenfold .", line) and not line.endswith("--help")
    ]


# Commands


def understood(words):
    name, *rest = words
    if name in COMMANDS and not COMMANDS[name].verbs:
        return parse(command_verbs(name)[name], rest, words=name)
    return parse(find_verb(name, rest[0]), rest[1:], words=f"{name} {rest[0]}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_understood(page):
    fenced = [words for _, text in blocks(page) for words in commands(text)]
    inline = re.findall(r"`(tenfold [a-z]+ [^`]+)`", page.read_text("utf-8"))
    told = [*fenced, *(shlex.split(line)[1:] for line in inline if not re.search("[A-Z]{3}", line))]
    for words in told:
        if "--from" not in words:  # names a run that an earlier command makes
            understood(words)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)
def test_a_guide_runs_as_written(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENFOLD_RUNS")
    for language, text in blocks(guide):
        if language == "python":
            exec(compile(text, guide.name, "exec"), {"__name__": "guide"})
        elif language == "sh":
            for words in commands(text):
                assert main(words) == 0, words


# Formats


def make(kind):
    d, m = 6, 12
    rng = stream(0, "guides", kind)
    shapes = {"w_enc": (d, m), "b_enc": (m,), "w_dec": (m, d), "b_dec": (d,)}
    shapes |= {"gain_log": (m,), "b_mag": (m,)} if kind == "gated" else {}
    shapes |= {"threshold": (m,)} if kind == "jumprelu" else {}
    shapes |= {"threshold": ()} if kind in ("batchtopk", "matryoshka") else {}
    arrays = {n: np.asarray(rng.uniform(0.1, 1.0, size=s), np.float32) for n, s in shapes.items()}
    return Arrays(kind=kind, arrays=arrays, values={"k": 3})


def said_of_formats():
    """Return (format, file, {kind: cell}) of each row of the README's table."""
    section = ROOM.read_text("utf-8").partition("## Which dictionary fits which file")[2]
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    kinds = rows[0][2:]
    return [(row[0], row[1], dict(zip(kinds, row[2:], strict=True))) for row in rows[2:]]


def found_of_format(name, kind, folder):
    """Find out by doing it what the table's cell must say."""
    entry = FORMATS[name]
    if kind not in entry.kinds:
        return "-"
    if entry.write is None:
        return "read"
    write_arrays(folder, make(kind), format=name)
    return "both" if read_arrays(folder).kind == kind else "write"


def test_the_table_of_formats_says_what_fits(tmp_path):
    said = said_of_formats()
    assert [name for name, _, _ in said] == list(FORMATS)
    for name, file, cells in said:
        assert file == FORMATS[name].marker
        assert cells == {
            kind: found_of_format(name, kind, tmp_path / name / kind) for kind in KINDS
        }


# Claims


@pytest.fixture(scope="module")
def tool():
    script = PROJECT / "tools" / "claims_table.py"
    spec = importlib.util.spec_from_file_location("claims_table_tool", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules["claims_table_tool"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["claims_table_tool"]


@pytest.fixture
def project(tmp_path, tool):
    """Return a folder with two READMEs that have the marks, and one claim."""
    marks = f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n"
    room = tmp_path / "src" / "tenfold" / "rooms" / "toy"
    room.mkdir(parents=True)
    for folder in (tmp_path, room):
        (folder / "README.md").write_text(marks, "utf-8")
    rule = Rule(kind="at_least", margin=5, unit="% lower")
    result = ClaimResult(
        statement=Statement(room="toy", sentence="A | B.", paper="P", figure="F."),
        scale="quick",
        comparisons=(
            compare("deciding", rule, [10.0, 11.0, 12.0]),
            compare("other", rule, [1.0], primary=False),
        ),
        seconds=75.0,
        seeds=(0, 1, 2),
        config={},
        command="tenfold toy claim",
        version="0.1.0",
        commit="0123456789abcdef",
        machine="2 cores",
        date="2026-01-01",
    )
    save_claim(result, tmp_path / "claims")
    return tmp_path


def test_the_tables_of_claims_in_the_readmes_are_up_to_date(tool, capsys):
    assert tool.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_table_is_told_then_written_then_up_to_date(tool, project, capsys):
    assert tool.main(["--check"], root=project) == 1
    assert "README.md" in capsys.readouterr().out
    assert tool.main(["--write"], root=project) == 0
    assert tool.main(["--check"], root=project) == 0
    text = (project / "README.md").read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\nold\n" not in text


def test_a_readme_has_a_row_a_claim_and_a_rooms_readme_a_row_a_comparison(tool, project):
    whole, room = tool.make_tables(project).values()
    (row,) = whole.splitlines()[2:]
    for part in (
        "A \\| B.",
        "11.0",
        "**holds**",
        "`tenfold toy claim`, 1 min 15 s",
        "0123456789ab",
    ):
        assert part in row
    assert "other" not in row
    rows = [line for line in room.splitlines()[2:] if line.startswith("|")]
    assert [row.split(" | ")[1] for row in rows] == ["deciding", "other"]
    assert "undecided" in rows[1]


def test_without_claims_the_table_says_so(tool):
    assert tool.claims_table([]) == tool.NONE_YET
    assert tool.comparisons_table([]) == tool.NONE_YET


def test_a_readme_without_the_marks_is_refused(tool, project):
    (project / "README.md").write_text("no marks", "utf-8")
    with pytest.raises(SystemExit, match=r"README.md must have"):
        tool.main(["--check"], root=project)
