"""Reports and dashboards, shown in frames that can reach nothing but their own files.

They are made to be opened from disk and bring their own script. Each gets an address with a
random key that stands for its folder in a table; the key takes the place of the cookie, which
a sandboxed frame is not given, and opens these files only.
"""

from __future__ import annotations

import mimetypes
import secrets
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

PREFIX = "/frames/"
RULES = "; ".join(
    (
        "sandbox allow-scripts allow-downloads",
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src data:",
        "connect-src 'none'",
        "frame-ancestors 'self'",
        "form-action 'none'",
        "base-uri 'none'",
    )
)
"""What a framed file may do: run its own script and show itself, nothing over the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    path: Path
    """A file, or a folder whose first file is `index.html`."""


class Frames:
    """Keys to the files and folders that are shown in frames."""

    def __init__(self) -> None:
        self._keys: dict[Path, str] = {}
        self._frames: dict[str, _Frame] = {}

    def address(self, path: Path) -> str:
        """Return the address under which a file, or a folder with `index.html`, is shown."""
        path = path.resolve()
        if path not in self._keys:
            key = secrets.token_urlsafe(24)
            self._keys[path], self._frames[key] = key, _Frame(path=path)
        first = path.name if path.is_file() else "index.html"
        return f"{PREFIX}{self._keys[path]}/{first}"

    def member(self, key: str, name: str) -> Path | None:
        """Return the file called `name` in the frame of `key`, None if there is none.

        The name is compared with those of the files that are there; links are not followed.
        """
        frame = self._frames.get(key)
        if frame is None:
            return None
        return members(frame.path).get(name)


def members(path: Path) -> dict[str, Path]:
    """Return the files of a folder, all levels down, by their names with slashes."""
    if path.is_file():
        return {path.name: path}
    return {
        file.relative_to(path).as_posix(): file
        for file in path.rglob("*")
        if file.is_file() and not _has_link(file, path)
    }


def _has_link(file: Path, folder: Path) -> bool:
    inside = [file, *file.parents]
    return any(part.is_symlink() for part in inside[: inside.index(folder)])


def media_type(name: str) -> str:
    """Return what a file is, by the end of its name."""
    # Not what the machine's own table says: some take .js for text/plain.
    kind = {"js": "text/javascript", "css": "text/css"}.get(name.rpartition(".")[2])
    return kind or mimetypes.guess_type(name)[0] or "application/octet-stream"


def frames_router(frames: Frames) -> APIRouter:
    """Return the route that serves framed files."""
    router = APIRouter()

    @router.get(PREFIX + "{key}/{name:path}")
    def framed(key: str, name: str) -> FileResponse:
        file = frames.member(key, name)
        if file is None:
            raise HTTPException(404, "no such file in this frame; open it anew from its run")
        headers = {"content-security-policy": RULES, "cache-control": "no-cache"}
        return FileResponse(file, media_type=media_type(name), headers=headers)

    return router
