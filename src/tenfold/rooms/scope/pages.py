"""Live pages of suites: the list, one suite, a prompt seen through it, steering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.report.figures import Curve, Figure, axis, fronts
from tenfold.rooms.scope.asking import (
    MOST_EDITS,
    OPERATIONS,
    PromptAsked,
    SteerAsked,
    answer_prompt,
    answer_steering,
)
from tenfold.rooms.scope.suite import FOLDER, MANIFEST, Entry, SavedSuite, open_suite
from tenfold.rooms.scope.workbench import Busy, Workbench

TITLE = "Suites"
EVALUATION = Path("out", "evaluation", "evaluation.json")
DASH = Path("out", "dash")


class Shell(Protocol):
    """What the web shell gives to a room's pages."""

    @property
    def subject(self) -> str:
        """FILE.py:FUNCTION that the user allows to be run."""

    @property
    def stopping(self) -> Callable[[], bool]:
        """Whether the server is going down."""

    @property
    def closing(self) -> list[Callable[[], None]]:
        """Called when the server goes down."""

    def paths(self) -> Mapping[str, Path]:
        """Return what is served, by name."""

    def path(self, name: str) -> Path:
        """Return where the run or folder of this name lies."""

    def page(
        self, request: Request, template: str, *, code: int = 200, **values: Any
    ) -> HTMLResponse:
        """Return a page from a template."""

    def frame(self, path: Path) -> str:
        """Return an address to be shown in a sandboxed frame."""

    async def fields(self, request: Request) -> list[tuple[str, str]]:
        """Return the fields of a posted form."""

    def wants_part(self, request: Request) -> bool:
        """Tell whether a part of a page is asked for."""


def shows(path: Path) -> bool:
    """Tell whether a run has a suite to show."""
    return any((folder / MANIFEST).is_file() for folder in (path, path / "out" / FOLDER))


def pages(router: APIRouter, shell: Shell) -> None:
    """Add the pages of this room to a router."""
    bench = Workbench(allowed=shell.subject, stopping=shell.stopping)
    shell.closing.append(bench.close)

    @router.get("/")
    def show_suites(request: Request) -> HTMLResponse:
        found = [(name, path) for name, path in shell.paths().items() if shows(path)]
        rows = [_suite_row(name, path) for name, path in reversed(found)]
        return shell.page(request, "scope/suites.html", rows=rows)

    @router.get("/{name}")
    def show_suite(
        request: Request, name: str, sort: str = "", site: str = "", at: str = ""
    ) -> HTMLResponse:
        path = shell.path(name)
        suite, evaluation = open_suite(path), read_evaluation(path)
        dash, place = path / DASH, _place_in_dash(suite, at)
        return shell.page(
            request,
            "scope/suite.html",
            name=name,
            suite=suite,
            rows=list_entries(suite, evaluation, sort=sort, site=site),
            chosen={"sort": sort, "site": site},
            columns=COLUMNS,
            figures=draw_figures(suite, evaluation),
            evaluation=evaluation,
            dash=shell.frame(dash) + place if (dash / "index.html").is_file() else "",
        )

    @router.get("/{name}/prompt")
    def show_prompt(request: Request, name: str) -> HTMLResponse:
        asked = PromptAsked.read(request.query_params.multi_items())
        suite = open_suite(shell.path(name))
        return shell.page(
            request, "scope/prompt.html", name=name, suite=suite, asked=asked, answer=None
        )

    @router.post("/{name}/prompt")
    async def tell_prompt(request: Request, name: str) -> Response:
        asked = PromptAsked.read(await shell.fields(request))
        return await tell(request, name, asked, "prompt")

    @router.get("/{name}/steer")
    def show_steer(request: Request, name: str) -> HTMLResponse:
        asked = SteerAsked.read(request.query_params.multi_items())
        return shell.page(
            request,
            "scope/steer.html",
            name=name,
            suite=open_suite(shell.path(name)),
            asked=asked,
            rows=_edit_rows(asked),
            operations=OPERATIONS,
            answer=None,
        )

    @router.post("/{name}/steer")
    async def tell_steer(request: Request, name: str) -> Response:
        asked = SteerAsked.read(await shell.fields(request))
        return await tell(request, name, asked, "steer")

    async def tell(
        request: Request, name: str, asked: PromptAsked | SteerAsked, page: str
    ) -> Response:
        """Answer as a part of the page that is there, or as a whole page without script."""
        path = shell.path(name)
        suite = open_suite(path)
        values: dict[str, Any] = {"name": name, "suite": suite, "asked": asked}
        if isinstance(asked, SteerAsked):
            values |= {"rows": _edit_rows(asked), "operations": OPERATIONS}
        part = shell.wants_part(request)
        try:
            values["answer"] = await run_in_threadpool(_answer, bench, path, asked)
        except Busy as busy:
            values |= {"answer": None, "reason": str(busy), "page": page}
            template = "scope/waiting.html" if part else f"scope/{page}.html"
            return shell.page(request, template, **values)
        template = f"scope/{page}_answer.html" if part else f"scope/{page}.html"
        found = shell.page(request, template, **values)
        # So that the address in the browser is the one to share.
        found.headers["HX-Push-Url"] = f"{request.url.path}?{urlencode(asked.fields())}"
        return found


def _place_in_dash(suite: SavedSuite, at: str) -> str:
    """Return the part of a dashboard's address that opens a dictionary, or one of its latents.

    Args:
        suite: whose dashboard it is.
        at: NAME or NAME/LATENT; empty is the beginning.

    Raises:
        TenfoldError: with the nearest names, if there is no such dictionary.
    """
    if not at:
        return ""
    name, _, latent = at.rpartition("/")
    if not latent.isdecimal():
        name, latent = at, ""
    entry = suite.entry(name)
    return f"#/{quote(entry.name)}" + (f"/{latent}" if latent else "")


def _answer(bench: Workbench, path: Path, asked: PromptAsked | SteerAsked) -> Any:
    if isinstance(asked, PromptAsked):
        return bench.ask(path, asked, lambda opened, _: answer_prompt(bench, opened, asked))
    return bench.ask(
        path, asked, lambda opened, check: answer_steering(bench, opened, asked, check)
    )


def _edit_rows(asked: SteerAsked) -> list[Json]:
    """Return the edits as fields of a form, and at least two empty rows."""
    rows = [
        {"dictionary": name, "latent": e.latent, "operation": e.operation, "value": f"{e.value:g}"}
        for name, e in asked.edits
    ]
    last = rows[-1]["dictionary"] if rows else asked.dictionary
    empty = {"dictionary": last, "latent": "", "operation": "clamp", "value": "1"}
    return [*rows, *[empty] * min(max(1, 3 - len(rows)), MOST_EDITS - len(rows))]


def _suite_row(name: str, path: Path) -> Json:
    try:
        suite = open_suite(path)
    except TenfoldError as error:
        return {"name": name, "fault": str(error)}
    widths = sorted({entry.width for entry in suite.entries})
    return {
        "name": name,
        "fault": "",
        "model": suite.manifest.model,
        "dictionaries": len(suite.entries),
        "sites": len(suite.sites),
        "widths": ", ".join(f"{width:,}" for width in widths),
        "kinds": ", ".join(sorted({entry.kind for entry in suite.entries})),
        "evaluated": (path / EVALUATION).is_file(),
        "dash": (path / DASH / "index.html").is_file(),
    }


def read_evaluation(path: Path) -> Json:
    """Return the evaluation of a suite's run; empty if there is none yet.

    Raises:
        TenfoldError: if it is damaged.
    """
    from tenfold.engine import files

    if not (path / EVALUATION).is_file():
        return {}
    found: Json = files.read_json(path / EVALUATION)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of the table of dictionaries."""

    key: str
    title: str
    number: bool = True


COLUMNS = (
    Column(key="name", title="dictionary", number=False),
    Column(key="kind", title="kind", number=False),
    Column(key="width", title="latents"),
    Column(key="target_l0", title="target L0"),
    Column(key="l0", title="L0"),
    Column(key="fvu", title="FVU"),
    Column(key="delta_loss", title="delta loss"),
    Column(key="loss_recovered_zero", title="loss recovered"),
    Column(key="dead", title="dead"),
    Column(key="rows", title="rows"),
)


def list_entries(
    suite: SavedSuite, evaluation: Json, *, sort: str = "", site: str = ""
) -> list[Json]:
    """Return a row for each dictionary: the manifest's facts, and metrics as far as known.

    Args:
        suite: what was trained.
        evaluation: its metrics; where it has none, those of the training run stand.
        sort: key of a column, with "-" before it for the largest first.
        site: only dictionaries of this one.
    """
    rows = [entry_row(entry, evaluation) for entry in suite.entries if site in ("", entry.site)]
    key = sort.removeprefix("-")
    if key not in {column.key for column in COLUMNS}:
        return rows
    known = [row for row in rows if row[key] is not None]
    unknown = [row for row in rows if row[key] is None]
    return sorted(known, key=lambda row: row[key], reverse=sort.startswith("-")) + unknown


def entry_row(entry: Entry, evaluation: Json) -> Json:
    """Return the columns of one dictionary; None where a metric is not known."""
    metrics = dict(entry.metrics) | dict(evaluation.get("entries", {}).get(entry.name, {}))
    facts = {key: getattr(entry, key) for key in ("name", "kind", "width", "target_l0", "rows")}
    measured = {
        column.key: metrics.get(column.key) for column in COLUMNS if column.key not in facts
    }
    return facts | measured | {"site": entry.site}


def draw_figures(suite: SavedSuite, evaluation: Json) -> list[Figure]:
    """Return L0 against FVU and, if known, delta loss: a front for each site and width."""
    figures = []
    for key, title in (("fvu", "FVU"), ("delta_loss", "Delta loss")):
        series = _fronts(suite, evaluation, key)
        if series:
            unit = "nats" if key == "delta_loss" else ""
            figures.append(
                fronts(
                    f"{title} at each L0",
                    series,
                    x=axis("L0", log=True),
                    y=axis(title, unit=unit),
                    caption="Lower left is better. A line is one site and width.",
                )
            )
    return figures


def _fronts(suite: SavedSuite, evaluation: Json, key: str) -> dict[str, Curve]:
    points: dict[str, list[tuple[float, float]]] = {}
    several = len({entry.width for entry in suite.entries}) > 1
    for entry in suite.entries:
        row = entry_row(entry, evaluation)
        if row["l0"] and row[key] is not None:
            line = f"{entry.site} {entry.width:,}" if several else entry.site
            points.setdefault(line, []).append((row["l0"], row[key]))
    return {
        line: Curve(x=[p[0] for p in sorted(found)], y=[p[1] for p in sorted(found)])
        for line, found in points.items()
    }
