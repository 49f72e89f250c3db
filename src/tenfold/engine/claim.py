"""Claims: what a room says about its paper, checked at a scale, and the pages that show it.

Nothing in a claim is typed in: the statement and the rules stand in the room's code before the
run, everything else is measured by it. `verdict` decides; this module keeps and shows.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from tenfold.engine.config import Json, decode, encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_json
from tenfold.engine.origin import source_commit
from tenfold.engine.report.figures import Axis, Effect, Figure, Table, effects
from tenfold.engine.report.numerals import (
    Cell,
    format_interval,
    format_number,
    format_seconds,
    with_unit,
)
from tenfold.engine.report.page import Block, Page, Section
from tenfold.engine.verdict import Comparison, Rule, Verdict, compare, decide

__all__ = [
    "ClaimResult", "Comparison", "Failure", "Rule", "Scale", "Statement", "Verdict",
    "claim_page", "compare", "decide", "from_json", "index_page", "machine_name", "read_claims",
    "save_claim", "source_commit", "summary", "to_json",
]  # fmt: skip

Scale = Literal["quick", "laptop", "full", "gpu"]

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """The paper's headline in one sentence, where it stands, and what its figure shows."""

    room: str
    sentence: str
    paper: str
    """Authors, year and arXiv number."""
    figure: str
    """What the paper's figure shows, in words with its numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimResult:
    """A claim as checked at one scale, with everything that its report shows."""

    statement: Statement
    scale: Scale
    comparisons: tuple[Comparison, ...]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """What limits the result, a sentence each."""
    seconds: float
    seeds: tuple[int, ...]
    config: Any
    """Plain JSON: the configs of the runs, as `encode` returns them."""
    command: str
    version: str
    commit: str
    machine: str
    date: str
    schema: int = SCHEMA

    @property
    def primary(self) -> tuple[Comparison, ...]:
        """The comparisons that decide."""
        return tuple(comparison for comparison in self.comparisons if comparison.primary)

    @property
    def verdict(self) -> Verdict:
        """Holds if every primary comparison does; does not hold if any of them does not."""
        found = {comparison.verdict for comparison in self.primary}
        if "does not hold" in found:
            return "does not hold"
        return "holds" if found == {"holds"} else "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A room whose claim crashed, with the error that it gave."""

    room: str
    error: str
    seconds: float = 0.0


def to_json(result: ClaimResult) -> Json:
    """Return the result as plain JSON values; a cell of a table that is no number is null."""
    tables = tuple(replace(table, rows=_finite_rows(table.rows)) for table in result.tables)
    data: Json = encode(replace(result, tables=tables))
    return data


def _finite_rows(rows: tuple[tuple[Cell, ...], ...]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(
        tuple(None if isinstance(c, float) and not math.isfinite(c) else c for c in row)
        for row in rows
    )


def from_json(data: Any) -> ClaimResult:
    """Build the result from what `to_json` returned.

    Raises:
        TenfoldError: if it is of another schema or not whole.
    """
    _check_schema(data, "claim")
    return decode(ClaimResult, data, path="claim")


def summary(result: ClaimResult) -> Json:
    """Return the verdict and each comparison as a verb `claim` prints them."""
    rows = {
        found.name: {
            "verdict": found.verdict,
            "rule": str(found.rule),
            "estimate": found.interval and found.interval.estimate,
            "low": found.interval and found.interval.low,
            "high": found.interval and found.interval.high,
        }
        for found in result.comparisons
    }
    return {"verdict": result.verdict, "comparisons": rows, "seconds": result.seconds}


def save_claim(result: ClaimResult, folder: Path) -> Path:
    """Write the result into `folder`/<room>.json, beside those of other scales.

    Raises:
        TenfoldError: if a file is there that is broken or of another schema.
    """
    path = folder / f"{result.statement.room}.json"
    scales = read_claims(path) if path.exists() else {}
    scales[result.scale] = result
    ordered = {scale: to_json(scales[scale]) for scale in get_args(Scale) if scale in scales}
    write_json(path, {"schema": SCHEMA, "room": result.statement.room, "scales": ordered})
    return path


def read_claims(path: Path) -> dict[str, ClaimResult]:
    """Read the results of every scale that a claim file holds.

    Raises:
        TenfoldError: if the file is missing, broken or of another schema.
    """
    data = read_json(path)
    _check_schema(data, str(path))
    return {scale: from_json(found) for scale, found in data["scales"].items()}


def _check_schema(data: Any, what: str) -> None:
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise TenfoldError(
            f"{what} has schema {schema}, this version reads {SCHEMA}; repeat the claim"
        )


def machine_name() -> str:
    """Say what kind of machine this is, for instance "2 cores, x86_64, Linux, 24 GB, no GPU"."""
    cores = f"{_usable_cores()} cores"
    parts = [cores, platform.machine(), platform.system(), _memory(), _accelerator()]
    return ", ".join(part for part in parts if part)


def _usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory() -> str:
    if not hasattr(os, "sysconf"):  # Windows
        return ""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{round(total / 2**30)} GB"


def _accelerator() -> str:
    import torch  # late: it takes seconds, and reading a claim needs none of it

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def claim_page(result: ClaimResult) -> Page:
    """Build a claim's report: verdict, figures, measured rows, limits, how to repeat."""
    statement = result.statement
    paper = (("Paper", statement.paper), ("The paper's figure", statement.figure))
    sections = [
        Section(
            title="Verdict",
            paragraphs=(_reason(result),),
            facts=paper,
            figures=_effect_figures(result.comparisons),
            tables=(_comparison_table(result.comparisons), _seed_table(result)),
        ),
        *([Section(title="Figures", figures=result.figures)] if result.figures else []),
        *([Section(title="Measurements", tables=result.tables)] if result.tables else []),
        Section(title="Limits", paragraphs=_limits(result)),
        Section(title="How to repeat", blocks=_repeat_blocks(result)),
    ]
    return Page(
        title=statement.room,
        kicker=f"Claim, {result.scale} scale",
        subtitle=statement.sentence,
        verdict=result.verdict,
        facts=_facts(result),
        sections=tuple(sections),
    )


def index_page(rows: Sequence[ClaimResult | Failure]) -> Page:
    """Build the page of `tenfold reproduce`: a row a room, then a section a room.

    A room that crashed has its error in its own row and costs nothing else.
    """
    results = [row for row in rows if isinstance(row, ClaimResult)]
    overview = Table(
        title="Claims",
        columns=("room", "statement", "the paper's figure", "ours", "verdict", "seconds"),
        rows=tuple(
            _result_row(row) if isinstance(row, ClaimResult) else _failure_row(row) for row in rows
        ),
    )
    return Page(
        title="Reproduction",
        kicker="Headline claims of the papers",
        subtitle=_count_verdicts(rows),
        facts=_common_facts(results, seconds=sum(row.seconds for row in rows)),
        sections=(
            Section(title="Claims", tables=(overview,), blocks=_overview_blocks(results)),
            *(_room_section(result) for result in results),
        ),
    )


_POWER = (
    "The smallest effect of a comparison is the true effect that so many seeds of this spread "
    "would have shown with a probability of 80 % (two-sided paired t test at 5 %). An interval "
    "that contains its margin decides nothing at this scale."
)


def _reason(result: ClaimResult) -> str:
    """Say in words what the verdict rests on."""
    where = f"At the {result.scale} scale, with {len(result.seeds)} seeds,"
    deciding = [found.name for found in result.primary if found.verdict == result.verdict]
    names = "; ".join(deciding)
    if result.verdict == "holds":
        return f"{where} the whole interval meets its rule in every deciding comparison: {names}."
    if result.verdict == "does not hold":
        return f"{where} the whole interval lies beyond its margin in: {names}."
    return f"{where} no deciding comparison fails, but these are not settled: {names}."


def _limits(result: ClaimResult) -> tuple[str, ...]:
    notes = (f"{found.name}: {found.note}" for found in result.comparisons if found.note)
    return (*result.notes, *notes, _POWER)


def _facts(result: ClaimResult) -> tuple[tuple[str, str], ...]:
    return (
        ("Scale", result.scale),
        ("Seeds", str(len(result.seeds))),
        ("Time", format_seconds(result.seconds)),
        ("Machine", result.machine),
        ("Version", result.version),
        ("Commit", result.commit[:12] or "not from a checkout"),
        ("Date", result.date),
    )


def _common_facts(results: Sequence[ClaimResult], *, seconds: float) -> tuple[tuple[str, str], ...]:
    """Gather the facts of all results, each value once; their times are summed."""
    facts = {name: "" for result in results for name, _ in _facts(result)} | {"Time": ""}
    for name in facts:
        found = (dict(_facts(result))[name] for result in results)
        facts[name] = "; ".join(dict.fromkeys(found))
    return tuple((facts | {"Time": format_seconds(seconds)}).items())


def _effect_figures(comparisons: Sequence[Comparison]) -> tuple[Figure, ...]:
    """Draw the effects with their margins, those of one unit in one figure."""
    units = dict.fromkeys(found.unit for found in comparisons)
    return tuple(
        effects(
            f"Effects{f' in {unit}' if unit else ''} and the margins fixed before the run",
            {found.name: _effect(found) for found in comparisons if found.unit == unit},
            x=Axis(title="Effect", unit=unit),
        )
        for unit in units
    )


def _effect(found: Comparison) -> Effect:
    values = tuple(value for value in found.effects if value is not None)
    return Effect(interval=found.interval, values=values, margins=found.rule.bounds)


def _comparison_table(comparisons: Sequence[Comparison]) -> Table:
    columns = ("comparison", "rule", "effect [95 %]", "smallest effect", "decides", "verdict")
    return Table(
        title="Comparisons with intervals over seeds",
        columns=columns,
        rows=tuple(_comparison_row(found) for found in comparisons),
    )


def _comparison_row(found: Comparison) -> tuple[Cell, ...]:
    unit, smallest = found.unit, found.smallest_effect
    return (
        found.name,
        str(found.rule),
        format_interval(found.interval, unit=unit),
        None if smallest is None else with_unit(format_number(smallest), unit),
        "yes" if found.primary else "no",
        found.verdict,
    )


def _seed_table(result: ClaimResult) -> Table:
    """List each seed's effects; a comparison may have fewer of them than the claim has seeds."""
    columns = [found.effects for found in result.comparisons]
    rows = list(itertools.zip_longest(*columns))
    seeds = result.seeds if len(result.seeds) == len(rows) else range(len(rows))
    names = (Axis(title=found.name, unit=found.unit).label for found in result.comparisons)
    return Table(
        title="Effects of single seeds",
        columns=("", *names),
        rows=tuple((f"seed {seed}", *row) for seed, row in zip(seeds, rows, strict=True)),
    )


def _repeat_blocks(result: ClaimResult) -> tuple[Block, ...]:
    config = json.dumps(result.config, indent=1, ensure_ascii=False)
    return (
        Block(title="Command", text=result.command),
        Block(title="Configs of the runs", text=config, folded=True),
    )


def _overview_blocks(results: Sequence[ClaimResult]) -> tuple[Block, ...]:
    scales = dict.fromkeys(result.scale for result in results)
    commands = "\n".join(f"tenfold reproduce --scale {scale}" for scale in scales)
    return (Block(title="How to repeat", text=commands),) if commands else ()


def _result_row(result: ClaimResult) -> tuple[Cell, ...]:
    measured = "\n\n".join(_measured(found) for found in result.primary)
    statement = result.statement
    return (
        statement.room, statement.sentence, statement.figure, measured, result.verdict,
        round(result.seconds),
    )  # fmt: skip


def _measured(found: Comparison) -> str:
    interval = format_interval(found.interval, unit=found.unit)
    return f"{found.name}:\n{interval}\nrule: {found.rule}"


def _failure_row(failure: Failure) -> tuple[Cell, ...]:
    return (failure.room, None, None, failure.error, "crashed", round(failure.seconds))


def _room_section(result: ClaimResult) -> Section:
    return Section(
        title=result.statement.room,
        verdict=result.verdict,
        paragraphs=(result.statement.sentence, _reason(result)),
        facts=(("Paper", result.statement.paper), *_facts(result)[:3]),
        figures=result.figures[:1] or _effect_figures(result.comparisons),
        tables=(_comparison_table(result.comparisons),),
        blocks=(Block(title="How to repeat", text=result.command),),
    )


def _count_verdicts(rows: Sequence[ClaimResult | Failure]) -> str:
    """Sum the page up, e.g. "2 claims: 1 holds, 1 crashed."."""
    found = [row.verdict if isinstance(row, ClaimResult) else "crashed" for row in rows]
    counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in dict.fromkeys(found))
    return f"{len(rows)} {'claim' if len(rows) == 1 else 'claims'}: {counts or 'none checked'}."
