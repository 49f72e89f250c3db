"""The web application: middleware, the shell's pages, and the pages of rooms by their names."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tenfold.engine.errors import TenfoldError
from tenfold.registry import ROOMS
from tenfold.web.frames import frames_router
from tenfold.web.places import Places, UnknownPlace
from tenfold.web.runs import runs_router
from tenfold.web.security import Gate, Key
from tenfold.web.shell import Shell
from tenfold.web.views import Link, Views, assets_router, wants_part

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one server serves, and to whom."""

    root: Path
    """Folder of all runs."""
    key: Key
    named: tuple[Path, ...] = ()
    """Runs and folders; if there are any, nothing else is served."""
    hosts: tuple[str, ...] = LOOPBACK
    """Names of this machine under which browsers may ask."""
    subject: str = ""
    """FILE.py:FUNCTION that may be run for suites made with it."""
    stopping: Callable[[], bool] = field(default=lambda: False)
    """Whether the server is going down, so that event streams end."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application; rooms with pages are imported now, their models later."""
    modules = {room: module for room in ROOMS if (module := _pages_of(room)) is not None}
    shell = Shell(
        places=Places(root=settings.root, named=settings.named),
        views=Views(
            packages={room: ROOMS[room].module for room in modules},
            links=[Link(title=m.TITLE, href=f"/rooms/{room}/") for room, m in modules.items()],
        ),
        subject=settings.subject,
        stopping=settings.stopping,
        rooms=modules,
    )
    # Its own pages of documentation load scripts from elsewhere.
    app = FastAPI(
        title="tenfold", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_life(shell)
    )
    app.include_router(assets_router(shell.views))
    app.include_router(frames_router(shell.frames))
    app.include_router(runs_router(shell))
    for room, module in modules.items():
        router = APIRouter(prefix=f"/rooms/{room}")
        module.pages(router, shell)
        app.include_router(router)
    _tell_faults(app, shell)
    # Added last is asked first.
    app.add_middleware(Gate, key=settings.key)
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False
    )
    app.state.shell = shell
    return app


def _pages_of(room: str) -> Any:
    """Import the module `pages` of a room; None if it has none."""
    name = f"{ROOMS[room].module}.pages"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _life(shell: Shell) -> Any:
    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for close in shell.closing:
                close()

    return life


def _tell_faults(app: FastAPI, shell: Shell) -> None:
    """Show faults as pages in plain words, or as a line where a part of a page was asked for."""

    def tell(request: Request, *, status: int, reason: str) -> HTMLResponse:
        part = wants_part(request)
        return shell.page(
            request, "fault_part.html" if part else "fault.html", code=status, reason=reason
        )

    @app.exception_handler(TenfoldError)
    async def wrong_use(request: Request, error: TenfoldError) -> HTMLResponse:
        status = 404 if isinstance(error, UnknownPlace) else 400
        return tell(request, status=status, reason=str(error))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> HTMLResponse:
        return tell(request, status=error.status_code, reason=str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> HTMLResponse:
        faults = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return tell(request, status=400, reason=f"the address cannot be read: {faults}")
