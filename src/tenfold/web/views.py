"""Pages out of templates and static files, ours and those of the rooms that have pages.

Templates and static files of a room lie in its folders `templates/` and `static/` and are
named `ROOM/...`. Static files are read once into a table; an address names one of its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from tenfold.engine.report.figures import Figure
from tenfold.engine.report.light import draw
from tenfold.engine.report.numerals import ABSENT, format_number, format_seconds
from tenfold.engine.report.traces import DARK_PALETTE, PALETTE
from tenfold.web.frames import media_type

STATIC = "/static/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """An entry of the navigation."""

    title: str
    href: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """A static file as it is sent."""

    data: bytes
    kind: str

    @property
    def version(self) -> str:
        """The beginning of its digest, so that a browser may keep it for ever."""
        return hashlib.sha256(self.data).hexdigest()[:12]


class Views:
    """Templates and static files of the shell and of rooms.

    Args:
        packages: room name to package, for those whose folders are looked into.
        links: the navigation beside the list of runs.
    """

    def __init__(self, *, packages: Mapping[str, str] = {}, links: Sequence[Link] = ()) -> None:
        self._packages = dict(packages)
        self.assets = _read_assets(self._packages)
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(self._source),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._environment.globals |= {"asset": self._address, "links": tuple(links)}
        self._environment.filters |= {
            "still": _still,
            "number": _number,
            "seconds": format_seconds,
            "bytes": format_bytes,
        }

    def _source(self, name: str) -> str | None:
        room, slash, rest = name.partition("/")
        package, name = (self._packages[room], rest) if slash else ("tenfold.web", name)
        file = files(package) / "templates" / name
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def _address(self, name: str) -> str:
        return f"{STATIC}{name}?v={self.assets[name].version}"

    def page(
        self, request: Request, template: str, *, code: int = 200, **values: Any
    ) -> HTMLResponse:
        """Return a template's page, with the nonce of this answer for its scripts."""
        html = self._environment.get_template(template).render(
            values | {"request": request, "nonce": request.state.nonce}
        )
        return HTMLResponse(html, code)


def wants_part(request: Request) -> bool:
    """Tell whether the page's script asks, which puts the answer into a page that is there."""
    return request.headers.get("hx-request") == "true"


def _read_assets(packages: Mapping[str, str]) -> dict[str, Asset]:
    found = {"page.css": files("tenfold.engine.report") / "templates" / "page.css"}
    found |= dict(_files_below(files("tenfold.web") / "static", ""))
    for room, package in packages.items():
        found |= dict(_files_below(files(package) / "static", f"{room}/"))
    assets = {name: _asset(name, file.read_bytes()) for name, file in found.items()}
    return assets | {"colours.css": _asset("colours.css", _colours().encode())}


def _files_below(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    if not folder.is_dir():
        return []
    found = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.is_dir():
            found += _files_below(file, f"{prefix}{file.name}/")
        elif not file.name.endswith(".LICENSE"):
            found.append((prefix + file.name, file))
    return found


def _asset(name: str, data: bytes) -> Asset:
    return Asset(data=data, kind=media_type(name))


def _colours() -> str:
    """Return the series' colours for light and dark pages, for scripts and for SVG pictures."""

    def named(palette: Sequence[str]) -> str:
        return ";".join(f"--series-{i}:{colour}" for i, colour in enumerate(palette))

    def swaps(theme: str) -> str:
        return "".join(
            f":root{theme} .still [{role}='{light}']{{{role}:{dark}}}"
            for light, dark in zip(PALETTE, DARK_PALETTE, strict=True)
            for role in ("fill", "stroke")
        )

    system, chosen = ":not([data-theme=light])", "[data-theme=dark]"
    return (
        f":root{{{named(PALETTE)}}}"
        f"@media screen{{:root{chosen}{{{named(DARK_PALETTE)}}}{swaps(chosen)}}}"
        "@media screen and (prefers-color-scheme:dark)"
        f"{{:root{system}{{{named(DARK_PALETTE)}}}{swaps(system)}}}"
    )


def assets_router(views: Views) -> APIRouter:
    """Return the route that serves static files."""
    router = APIRouter()

    @router.get(STATIC + "{name:path}")
    def static(name: str) -> Response:
        asset = views.assets.get(name)
        if asset is None:
            raise HTTPException(404, f"no static file {name!r}")
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return Response(asset.data, media_type=asset.kind, headers=headers)

    return router


def _still(figure: Figure) -> Markup:
    return Markup(draw(figure))  # noqa: S704 - `svg` escapes every text


def _number(value: Any) -> str:
    if value is None:
        return ABSENT
    return value if isinstance(value, str) else format_number(value)


def format_bytes(size: float) -> str:
    """Write a size in bytes.

    >>> format_bytes(512), format_bytes(2_048_000)
    ('512 B', '2.0 MB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
