"""What every page has at hand: the table of places, templates, frames, curves, room pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from tenfold.web import security
from tenfold.web.frames import Frames
from tenfold.web.live import CurvesOfRuns
from tenfold.web.places import Place, Places
from tenfold.web.views import Link, Views, wants_part


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Handed to `pages(router, shell)` of each room that has pages."""

    places: Places
    views: Views
    subject: str = ""
    """FILE.py:FUNCTION that the user allows to be run."""
    stopping: Callable[[], bool] = lambda: False
    """Whether the server is going down."""
    frames: Frames = field(default_factory=Frames)
    curves: CurvesOfRuns = field(default_factory=CurvesOfRuns)
    rooms: Mapping[str, Any] = field(default_factory=dict)
    """The modules `pages` of rooms, by room."""
    closing: list[Callable[[], None]] = field(default_factory=list)
    """Called in turn when the server goes down."""

    def paths(self) -> dict[str, Path]:
        """Return runs and named folders by their names in addresses, oldest first."""
        return {name: place.path for name, place in self.places.all().items()}

    def path(self, name: str) -> Path:
        """Return where the run or folder called `name` lies.

        Raises:
            TenfoldError: if there is none; the answer is then 404.
        """
        return self.places.find(name).path

    def page(
        self, request: Request, template: str, *, code: int = 200, **values: Any
    ) -> HTMLResponse:
        """Return a page from the template `ROOM/NAME.html`."""
        return self.views.page(request, template, code=code, **values)

    def frame(self, path: Path) -> str:
        """Return the address of a file, or a folder with `index.html`, for a sandboxed frame."""
        return self.frames.address(path)

    async def fields(self, request: Request) -> list[tuple[str, str]]:
        """Return the fields of a posted form, of bounded size."""
        return await security.read_fields(request)

    def wants_part(self, request: Request) -> bool:
        """Tell whether a page's script asks for a part of a page."""
        return wants_part(request)

    def room_links(self, place: Place) -> list[Link]:
        """Return the room pages that show this run."""
        room = place.record.room if place.record else ""
        pages = self.rooms.get(room)
        if pages is None or not pages.shows(place.path):
            return []
        return [Link(title=pages.TITLE, href=f"/rooms/{room}/{place.name}")]
