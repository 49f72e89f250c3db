"""Print the tables of claims/*.json in Markdown, put them into the READMEs, or check them there.

    python tools/claims_table.py            prints the tables
    python tools/claims_table.py --write    puts them between the marks of each README, and
                                            draws docs/pictures/<room>.svg
    python tools/claims_table.py --check    exits with 1 if a README is out of date

README.md has a row for each claim and scale; a room's README has a row for each comparison.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenfold.engine.claim import ClaimResult, Comparison, read_claims
from tenfold.engine.files import write_text
from tenfold.engine.report.light import draw
from tenfold.engine.report.numerals import format_interval, format_number, format_seconds, with_unit

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
NONE_YET = "No result is committed yet; `make reproduce` gives one on your machine."
CLAIM_COLUMNS = (
    "room",
    "claim and the paper's figure",
    "ours, with 95 % interval",
    "verdict",
    "seeds",
    "command and time",
    "commit",
    "machine and date",
)
COMPARISON_COLUMNS = (
    "scale",
    "comparison",
    "rule",
    "effect, with 95 % interval",
    "smallest effect",
    "decides",
    "verdict",
)


def make_tables(root: Path = ROOT) -> dict[Path, str]:
    """Return the table that belongs into each README below `root` that has the marks."""
    files = sorted((root / "claims").glob("*.json"))
    claims = {path.stem: list(read_claims(path).values()) for path in files}
    every = [result for results in claims.values() for result in results]
    tables = {root / "README.md": claims_table(every)}
    for readme in sorted((root / "src" / "tenfold" / "rooms").glob("*/README.md")):
        tables[readme] = comparisons_table(claims.get(readme.parent.name, []))
    return tables


def make_pictures(root: Path = ROOT) -> dict[Path, str]:
    """Return the first figure of each room's largest claim, as a picture for README.md."""
    pictures = {}
    for path in sorted((root / "claims").glob("*.json")):
        result = list(read_claims(path).values())[-1]
        if not result.figures:
            continue
        drawn = draw(result.figures[0])
        # A file of its own has no page to take names and colours from.
        style = 'xmlns="http://www.w3.org/2000/svg" style="color:#222;background:#fff"'
        style += ' font-family="system-ui, sans-serif"'
        picture = drawn.replace("<svg ", f"<svg {style} ", 1) + "\n"
        pictures[root / "docs" / "pictures" / f"{path.stem}.svg"] = picture
    return pictures


def claims_table(results: Sequence[ClaimResult]) -> str:
    """Return a row for each room and scale: the paper's figure, ours, and how it was made."""
    return markdown(CLAIM_COLUMNS, [_claim_row(result) for result in results])


def _claim_row(result: ClaimResult) -> tuple[str, ...]:
    statement = result.statement
    return (
        f"`{statement.room}`",
        f"{statement.sentence} {statement.figure}",
        "<br>".join(map(_measured, result.primary)),
        f"**{result.verdict}**",
        str(len(result.seeds)),
        f"`{result.command}`, {format_seconds(result.seconds)}",
        _commit(result),
        f"{result.machine}; {result.date}",
    )


def _measured(found: Comparison) -> str:
    return f"{found.name}: {_effect(found)}, rule: {_rule(found)}"


def comparisons_table(results: Sequence[ClaimResult]) -> str:
    """Return a row for each comparison of one room's claim, scale by scale."""
    rows = [_comparison_row(result, found) for result in results for found in result.comparisons]
    sources = [
        f"{result.scale}: **{result.verdict}**; {len(result.seeds)} seeds, `{result.command}`, "
        f"{format_seconds(result.seconds)}, commit {_commit(result)}, {result.machine}, "
        f"{result.date}."
        for result in results
    ]
    return "\n\n".join([markdown(COMPARISON_COLUMNS, rows), *sources])


def _comparison_row(result: ClaimResult, found: Comparison) -> tuple[str, ...]:
    smallest = found.smallest_effect
    return (
        result.scale,
        found.name,
        _rule(found),
        _effect(found),
        "" if smallest is None else with_unit(format_number(smallest), found.unit),
        "yes" if found.primary else "no",
        found.verdict,
    )


def _effect(found: Comparison) -> str:
    return format_interval(found.interval, unit=found.unit)


def _rule(found: Comparison) -> str:
    return str(found.rule)


def _commit(result: ClaimResult) -> str:
    return f"`{result.commit[:12]}`" if result.commit else "not from a checkout"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, or a sentence if there are no rows."""
    if not rows:
        return NONE_YET
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def put(text: str, table: str, *, where: str) -> str:
    """Return `text` with `table` between its two marks.

    Raises:
        SystemExit: if the marks are not there, each once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{where} must have {BEGIN} and {END}, each once")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def stale_files(tables: Mapping[Path, str]) -> dict[Path, str]:
    """Return what each README should hold whose table is not the one given."""
    found = {}
    for path, table in tables.items():
        text = path.read_text(encoding="utf-8")
        wanted = put(text, table, where=path.name)
        if wanted != text:
            found[path] = wanted
    return found


def main(words: list[str], *, root: Path = ROOT) -> int:
    """Print, write or check the tables and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true", help="put the tables into the READMEs")
    group.add_argument("--check", action="store_true", help="exit with 1 if one is out of date")
    asked = parser.parse_args(words)
    tables = make_tables(root)
    if not asked.write and not asked.check:
        print("\n\n".join(tables.values()))
        return 0
    stale = stale_files(tables)
    named = ", ".join(path.relative_to(root).as_posix() for path in stale)
    if asked.write:
        for path, text in (stale | make_pictures(root)).items():
            write_text(path, text)
    elif stale:
        print(f"out of date: {named}; run `python tools/claims_table.py --write`")
        return 1
    print(f"written: {named}" if stale else "the tables are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
