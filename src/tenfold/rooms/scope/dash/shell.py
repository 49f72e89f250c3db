"""The frame of the pages: index.html, scripts and style, the same for every suite."""

from __future__ import annotations

from html import escape
from importlib.resources import files as resources
from pathlib import Path

from tenfold.engine import files

SCRIPTS = ("load.js", "draw.js", "tables.js", "suite.js", "dictionary.js", "latent.js", "start.js")
STYLE = "dash.css"
ASSETS = "assets"
# `file:` because browsers do not agree on whether 'self' is a page on disk.
RULES = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' file:",
        "style-src 'self' file:",
        "base-uri 'none'",
        "form-action 'none'",
    )
)


def write_shell(out: Path, *, title: str) -> Path:
    """Write all that is no data, and return the path of index.html, which is written last."""
    for name in (*SCRIPTS, STYLE):
        files.write_text(out / ASSETS / name, _source(name))
    scripts = "\n".join(f'<script src="{ASSETS}/{name}" defer></script>' for name in SCRIPTS)
    page = _source("index.html")
    for place, text in (("RULES", RULES), ("TITLE", escape(title)), ("SCRIPTS", scripts)):
        page = page.replace(f"{{{{{place}}}}}", text)
    files.write_text(out / "index.html", page)
    return out / "index.html"


def _source(name: str) -> str:
    return (resources("tenfold.rooms.scope.dash") / ASSETS / name).read_text(encoding="utf-8")
