"""Live pages of graphs: the list of searches, ladders and archives, and each of them as it is now.

A page holds what `tenfold extremal report` writes, made anew at every visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError

TITLE = "Graphs"
ARCHIVE, BEST = "problem.json", Path("out", "best.json")


class Shell(Protocol):
    """What the web shell gives to a room's pages."""

    def paths(self) -> Mapping[str, Path]:
        """Return what is served, by name."""

    def path(self, name: str) -> Path:
        """Return where the run or folder of this name lies."""

    def page(
        self, request: Request, template: str, *, code: int = 200, **values: Any
    ) -> HTMLResponse:
        """Return a page from a template."""


def shows(path: Path) -> bool:
    """Tell whether a run or folder has graphs to show."""
    return (path / BEST).is_file() or archive_folder(path) is not None


def archive_folder(path: Path) -> Path | None:
    """Return the archive that a folder is or that a run has, None if there is none."""
    folders = (path, path / "out" / "archive")
    found = (f for f in folders if (f / ARCHIVE).is_file() and (f / "graphs.jsonl").is_file())
    return next(found, None)


def pages(router: APIRouter, shell: Shell) -> None:
    """Add the pages of this room to a router."""

    @router.get("/")
    def show_all(request: Request) -> HTMLResponse:
        found = [(name, path) for name, path in shell.paths().items() if shows(path)]
        rows = [_row(name, path) for name, path in reversed(found)]
        return shell.page(request, "extremal/graphs.html", rows=rows)

    @router.get("/{name}")
    def show_one(request: Request, name: str) -> HTMLResponse:
        from tenfold.rooms.extremal.draw import PLACE, draw_picture
        from tenfold.rooms.extremal.report import read_page

        page, shown = read_page(shell.path(name))
        picture = Markup(draw_picture(*shown, bare=True)) if shown else ""  # noqa: S704 - our own SVG
        return shell.page(
            request, "extremal/graph.html", name=name, page=page, picture=picture, place=PLACE
        )


def _row(name: str, path: Path) -> Json:
    """Tell in a few cells what a run or folder has, or what is wrong with it."""
    try:
        if (folder := archive_folder(path)) is not None:
            return {"name": name, "fault": ""} | _archive_cells(folder)
        return {"name": name, "fault": ""} | _search_cells(path)
    except TenfoldError as error:
        return {"name": name, "fault": str(error)}


def _archive_cells(folder: Path) -> Json:
    from tenfold.rooms.extremal.archive import Archive
    from tenfold.rooms.extremal.bounds import published

    archive = Archive(folder)
    table, sizes = published(archive.problem), archive.nodes()
    gaps = [table[n].lower - archive.edges(n) for n in sizes if n in table]
    return {
        "kind": "archive",
        "nodes": f"{sizes[0]} to {sizes[-1]}" if sizes else "none",
        "edges": None,
        "gap": f"{sum(gap <= 0 for gap in gaps)} of {len(gaps)} sizes at the best known value",
    }


def _search_cells(path: Path) -> Json:
    from tenfold.engine.files import read_json

    best = read_json(path / BEST)
    lower = best.get("known_lower")
    gap = "" if lower is None else f"{best['edges'] - lower:+d} to the best known value"
    proven = "no graph has more" if best.get("optimal") else gap
    return {"kind": "search", "nodes": best["nodes"], "edges": best["edges"], "gap": proven}
