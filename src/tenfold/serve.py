"""`tenfold serve`: the web shell on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tenfold.engine.errors import TenfoldError, require
from tenfold.engine.files import runs_root
from tenfold.engine.records import find_run
from tenfold.engine.verbs import Plain, Verb

if TYPE_CHECKING:
    from tenfold.web.app import Settings

RunNames = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 (recognised here, not bound)
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Serve:
    """What is shown, at which address, to whom."""

    runs_shown: RunNames = ()
    """Runs, or folders of suites, by name or path; none: every run there is."""
    host: str = "127.0.0.1"
    """Address to listen at. Another one than this machine's own loopback needs --token."""
    port: int = 8765
    """Port to listen at; 0 takes a free one."""
    token: str = ""
    """Secret of the start address, 16 letters or more; empty: a new random one."""
    names: tuple[str, ...] = ()
    """Further host names under which browsers may ask, such as this machine's in its network."""
    subject: str = ""
    """FILE.py:FUNCTION that made a suite's model; your file is run to prompt and steer it."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} does not exist; give 0 to 65535")
        if self.token and (len(self.token) < 16 or not _TOKEN.fullmatch(self.token)):
            raise ValueError(
                f"a token of {len(self.token)} letters; give at least 16 of A-Z a-z 0-9 . _ ~ -"
            )
        if not is_loopback(self.host) and not self.token:
            raise ValueError(
                f"host {self.host} can be reached from other machines; give a --token of your own "
                "with it, or stay at 127.0.0.1"
            )
        if self.host in _ALL_ADDRESSES and not self.names:
            raise ValueError(
                f"host {self.host} is every address of this machine; say with --names under which "
                "of them browsers ask"
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(config: Serve, call: Plain) -> None:
    """Serve until Ctrl-C; the start address goes to stderr.

    Raises:
        TenfoldError: if the extra `web` is missing, a run is unknown, or the port is taken.
    """
    for module in ("fastapi", "uvicorn"):
        require(module, extra="web", purpose="tenfold serve")
    import uvicorn

    from tenfold.web.app import create_app

    bound = _bind(config.host, config.port)
    with bound:
        port = bound.getsockname()[1]
        token = config.token or secrets.token_urlsafe(32)
        server: uvicorn.Server
        settings = make_settings(
            config, call, port=port, token=token, stopping=lambda: server.should_exit
        )
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(settings),
                log_level="warning",
                access_log=False,  # addresses may hold prompts, the first one the token
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        if not call.quiet:
            _announce(config, port=port, token=token, root=settings.root)
        # uvicorn raises the signal again once it has shut down.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[bound])
    if not call.quiet:
        print("stopped serving", file=sys.stderr)  # noqa: T201


def make_settings(
    config: Serve, call: Plain, *, port: int, token: str, stopping: Callable[[], bool]
) -> Settings:
    """Return what the application is told.

    Raises:
        TenfoldError: if a run that was named is not there.
    """
    from tenfold.web.app import LOOPBACK, Settings
    from tenfold.web.security import Key

    own = () if config.host in _ALL_ADDRESSES else (config.host,)
    root = runs_root(call.runs)
    return Settings(
        root=root,
        named=tuple(find_shown(name, root) for name in config.runs_shown),
        key=Key(token=token, cookie=f"tenfold-{port}"),
        hosts=tuple(dict.fromkeys((*LOOPBACK, *own, *config.names))),
        subject=config.subject,
        stopping=stopping,
    )


def find_shown(name: str, root: Path) -> Path:
    """Return the folder or run that is meant.

    Raises:
        TenfoldError: with the nearest names, if there is none.
    """
    return Path(name) if Path(name).is_dir() else find_run(name, root)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    if os.name != "nt":  # on Windows it would let two servers share one port
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise TenfoldError(
            f"cannot listen at {host} port {port}: {error.strerror or error}; "
            "choose another --port, or 0 for any that is free"
        ) from None
    return bound


def _announce(config: Serve, *, port: int, token: str, root: Path) -> None:
    """Print the start address, which holds the token, where only the user reads."""
    host = config.names[0] if config.host in _ALL_ADDRESSES else config.host
    shown = f"[{host}]" if ":" in host else host
    what = f"{len(config.runs_shown)} named" if config.runs_shown else f"the runs in {root}"
    print(  # noqa: T201
        f"serving {what}; open\n\n    http://{shown}:{port}/?token={token}\n\nCtrl-C stops",
        file=sys.stderr,
        flush=True,
    )


VERBS = {
    "serve": Verb(
        config=Serve,
        run=serve,
        help="Show runs with live curves, and the pages of rooms, in a browser.",
        call=Plain,
    )
}
