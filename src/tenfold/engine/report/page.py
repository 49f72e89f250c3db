"""Self-contained pages: one HTML file that needs no network, reads without script and prints.

Each figure is first an SVG of our own; the script then draws it anew with plotly, from the
one bundle inlined at the end, in the colours of a light or dark page. The same page gives the
same bytes.

The content security policy forbids every outside address, those inside the bundle too. A
static file can have no nonce, so scripts are allowed by their SHA-256; styles have to be
'unsafe-inline', because plotly writes style attributes and a style sheet while it draws.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from tenfold.engine.files import write_text
from tenfold.engine.report.figures import Figure, Table
from tenfold.engine.report.light import draw
from tenfold.engine.report.numerals import Cell, format_column, is_numeric
from tenfold.engine.report.traces import DARK_PALETTE, PALETTE

BUNDLE = "plotly-cartesian.min.js"
_VERDICTS = {"holds": "holds", "does not hold": "fails", "undecided": "open", "crashed": "broken"}
_SHORT = 28  # letters up to which the cells of a column never break
_LONG = 48  # letters of a cell beyond which narrow screens show each row as a card


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Text shown letter for letter: a command to copy, or a config; folded away if long."""

    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One part of a page under its heading, with an entry in the navigation."""

    title: str
    paragraphs: tuple[str, ...] = ()
    verdict: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A whole page: what it states, the verdict on it, facts of the run, and sections."""

    title: str
    subtitle: str = ""
    kicker: str = ""
    """A few words above the title that say what kind of page this is."""
    verdict: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()


def render(page: Page, *, light: bool = False) -> str:
    """Return the page as HTML; `light` leaves out every script, for mail and pull requests."""
    shown = not light and any(section.figures for section in page.sections)
    scripts = [] if light else [_source("page.js")]
    scripts += [_source(BUNDLE, folder="vendor")] if shown else []
    environment = _environment()
    return environment.get_template("page.html").render(
        page=page,
        content_rules=_content_rules(scripts),
        style=Markup(_source("page.css") + _dark_marks()),  # noqa: S704 - our own files
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own files
        light=light,
    )


def write_page(path: Path, page: Page, *, light: bool = False) -> None:
    """Write the page as one HTML file."""
    write_text(path, render(page, light=light))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"island": _island, "still": _still, "slug": slug}
    environment.globals |= {"set_table": _set_table, "verdict_class": _VERDICTS.get}
    return environment


@functools.cache
def _source(name: str, *, folder: str = "templates") -> str:
    return (files("tenfold.engine.report") / folder / name).read_text(encoding="utf-8")


def _content_rules(scripts: list[str]) -> str:
    """Allow these scripts and inline styles, and nothing from anywhere else."""
    hashes = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = [f"'sha256-{base64.b64encode(found).decode()}'" for found in hashes]
    rules = (
        "default-src 'none'",
        f"script-src {' '.join(allowed) or repr('none')}",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",  # plotly saves pictures by way of these
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)


def _dark_marks() -> str:
    """Return both palettes for the script, and the rules that swap them in SVG pictures."""
    names = f":root{{--series-light:{' '.join(PALETTE)};--series-dark:{' '.join(DARK_PALETTE)}}}"
    swaps = [
        f"[{role}='{light}']{{{role}:{dark}}}"
        for light, dark in zip(PALETTE, DARK_PALETTE, strict=True)
        for role in ("fill", "stroke")
    ]
    chosen = "".join(f":root[data-theme=dark] .still {swap}" for swap in swaps)
    system = "".join(f":root:not([data-theme=light]) .still {swap}" for swap in swaps)
    dark = "@media screen and (prefers-color-scheme:dark)"
    return f"{names}@media screen{{{chosen}}}{dark}{{{system}}}"


def _island(figure: Figure) -> Markup:
    """Return a figure's dict as JSON that cannot end its script element early."""
    data = {"data": figure.data, "layout": figure.layout}
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - escaped for a script element


def _still(figure: Figure) -> Markup:
    return Markup(draw(figure))  # noqa: S704 - `svg` escapes every text


def slug(title: str) -> str:
    """Return a title as the name of an anchor.

    >>> slug("What was run (laptop)")
    'what-was-run-laptop'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


@dataclass(frozen=True, kw_only=True, slots=True)
class _SetCell:
    text: str
    kind: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _SetTable:
    """A table as the template sets it: texts, with the class each cell takes."""

    title: str
    heads: tuple[_SetCell, ...]
    rows: tuple[tuple[_SetCell, ...], ...]
    kind: str


def _set_table(table: Table) -> _SetTable:
    columns = [
        _set_column(name, cells) for name, cells in zip(table.columns, _turn(table), strict=True)
    ]
    wordy = any(
        str(cell) in _VERDICTS or len(str(cell)) > _LONG for row in table.rows for cell in row
    )
    return _SetTable(
        title=table.title,
        heads=tuple(column[0] for column in columns),
        rows=tuple(zip(*(column[1:] for column in columns), strict=True)),
        kind="cards" if wordy else "plain",
    )


def _turn(table: Table) -> list[tuple[Cell, ...]]:
    return list(zip(*table.rows, strict=True)) or [() for _ in table.columns]


def _set_column(name: str, cells: tuple[Cell, ...]) -> list[_SetCell]:
    """Return the head and the cells of one column."""
    texts = format_column(cells)
    kind = "number" if is_numeric(cells) else "word"
    if kind == "word" and max(map(len, texts), default=0) <= _SHORT:
        kind = "short"
    return [_SetCell(text=name, kind=kind, label="")] + [
        _SetCell(text=text, kind="verdict" if text in _VERDICTS else kind, label=name)
        for text in texts
    ]
