"""Who may ask: the start token kept as a cookie, and writes from our own pages only.

A page on the web can make a browser send requests to this machine, and can point a name of its
own at 127.0.0.1 (DNS rebinding). So the host name is checked first (`app.create_app`), then a
secret that only the start address carries, then, for whatever is no plain reading, where the
request comes from.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import HTTPException, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.web.frames import PREFIX as FRAMES

LEAST_TOKEN = 16
"""Letters of a token that somebody chose; ours have 43."""
MOST_BODY = 65_536
"""Bytes of a form."""

_READING = ("GET", "HEAD")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    # Not no-referrer: a browser would then send forms with the origin "null".
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """The secret of one server."""

    token: str
    cookie: str
    """Name of the cookie; cookies of one host are shared by all its ports."""

    def fits(self, given: str) -> bool:
        """Compare in a time that says nothing about the token."""
        return secrets.compare_digest(given.encode(), self.token.encode())


def content_rules(nonce: str) -> str:
    """Return the content security policy of our own pages.

    A script runs only if it carries the nonce of this very answer; styles, pictures and data
    come from this server only, and nobody else may frame a page.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "frame-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


class Gate:
    """ASGI middleware that lets in what carries the key and adds the headers of every answer."""

    def __init__(self, app: ASGIApp, *, key: Key) -> None:
        self.app = app
        self.key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            # Life cycle events pass; no page uses web sockets, so none is let in.
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        answer = self._answer(Request(scope))
        await (answer or self.app)(scope, receive, _with_headers(send, nonce))

    def _answer(self, request: Request) -> Response | None:
        """Return the refusal, or the step from start address to cookie; None to go on."""
        if request.url.path.startswith(FRAMES) and request.method in _READING:
            return None  # its own key is in the address
        given = request.query_params.get("token")
        if given is not None and request.method in _READING:
            return self._welcome(request) if self.key.fits(given) else _refused(_WRONG)
        if not self.key.fits(request.cookies.get(self.key.cookie, "")):
            return _refused(_ABSENT)
        if request.method not in _READING and not _is_own(request):
            return _refused(_FOREIGN)
        return None

    def _welcome(self, request: Request) -> Response:
        """Keep the token as a cookie and take it out of the address."""
        rest = [(n, v) for n, v in request.query_params.multi_items() if n != "token"]
        # A path that begins with two slashes would be read as another host.
        path = "/" + request.url.path.lstrip("/")
        answer = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        answer.set_cookie(self.key.cookie, self.key.token, httponly=True, samesite="strict")
        return answer


_WRONG = "The token in this address is not that of this server.\n"
_ABSENT = (
    "This page needs the token that `tenfold serve` printed when it started: "
    "open the whole address from there, once in each browser.\n"
)
_FOREIGN = "Writing is allowed from this server's own pages only.\n"


def _refused(reason: str) -> Response:
    return PlainTextResponse(reason, 403)


def _is_own(request: Request) -> bool:
    """Tell whether a page of this server sent the request; the host is checked already."""
    origin = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return request.headers.get("origin", "") == origin


def _with_headers(send: Send, nonce: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("content-security-policy", content_rules(nonce))
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending


async def read_fields(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a posted form, in order.

    Raises:
        HTTPException: 415 for another kind of body, 413 for one above `MOST_BODY`.
    """
    from urllib.parse import parse_qsl

    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, f"a body of kind {kind!r}; send a form")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            raise HTTPException(413, f"the form has more than {MOST_BODY:,} bytes; send less")
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=256)
    except ValueError as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from None
