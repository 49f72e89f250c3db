import dataclasses
import re
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tenfold.rooms.scope import workbench
from tenfold.web import places
from tenfold.web.app import Settings, create_app
from tenfold.web.security import Key
from web.markup import Page, page_faults, part_faults
from web.small import add_metrics, make_run, make_specimen, make_suite

TOKEN = "a-token-of-a-test-server"
HOME = "http://127.0.0.1:8765"
FIRST, SECOND, SUITE = "2026-01-01_first", "2026-01-02_second", "2026-01-03_suite"


@pytest.fixture(scope="session")
def made_root(tmp_path_factory):
    """Return a folder of two runs with metrics and one with a suite; nobody changes it."""
    root = tmp_path_factory.mktemp("web") / "runs"
    units = {"train/loss": "nats", "train/l0": "latents"}
    for number, name in enumerate((FIRST, SECOND)):
        run = make_run(root, name, room="jumprelu", verb="train", units=units, config={"k": number})
        add_metrics(run, [(s, "train/loss", 1 / (s + 1) + number) for s in range(20)])
        add_metrics(run, [(s, "train/l0", 10.0 + s) for s in range(0, 20, 5)])
    suite = make_run(root, SUITE, room="scope", verb="suite")
    make_suite(suite / "out" / "suite")
    return root


@pytest.fixture
def root(made_root, tmp_path):
    """Return a copy of that folder, to be changed at will."""
    return Path(shutil.copytree(made_root, tmp_path / "runs"))


@pytest.fixture
def settings(root, monkeypatch):
    monkeypatch.setattr(places, "FRESH_SECONDS", 0.0)
    return Settings(root=root, key=Key(token=TOKEN, cookie="tenfold-test"))


@contextmanager
def open_client(settings, *, token=TOKEN):
    """Yield a client that has been let in, and stop the application afterwards."""
    with TestClient(create_app(settings), base_url=HOME) as client:
        if token:
            client.get("/", params={"token": token})
        yield client


@pytest.fixture
def client(settings):
    with open_client(settings) as client:
        yield client


@pytest.fixture
def stranger(settings):
    """Return a client without the token."""
    with open_client(settings, token="") as client:
        yield client


@pytest.fixture
def page(client):
    """Return a function that gets an address and gives the page, checked by all rules."""

    def get(address, code=200, **params):
        answer = client.get(address, params=params or None)
        assert answer.status_code == code, answer.text
        return checked(answer)

    return get


def checked(answer):
    """Return the page of an answer; it keeps the rules of every page."""
    (nonce,) = re.findall(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])
    found = Page(answer.text)
    assert page_faults(found, nonce) == []
    return found


def checked_part(answer):
    """Return the part of a page in an answer; it keeps the rules of every part."""
    found = Page(answer.text)
    assert part_faults(found) == []
    return found


@pytest.fixture
def small_model(monkeypatch):
    """Let suites be opened with the small model, whatever they say of theirs."""
    monkeypatch.setattr(workbench, "reopen", lambda manifest, allowed="": make_specimen())  # noqa: ARG005


@contextmanager
def running_server(settings):
    """Yield the address of a real server in a thread, stopped cleanly afterwards."""
    import socket

    import uvicorn

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    settings = dataclasses.replace(settings, stopping=lambda: server.should_exit)
    config = uvicorn.Config(create_app(settings), log_level="warning", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended at its start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive(), "the server does not stop"
