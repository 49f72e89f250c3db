import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.engine.verbs import Plain
from tenfold.serve import Serve, find_shown, is_loopback, make_settings
from tenfold.web.app import LOOPBACK
from web.conftest import FIRST, SECOND, SUITE, TOKEN, running_server


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.4", False),
        ("::", False),
        ("lab.example", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_what_only_this_machine_reaches_is_told_from_the_rest(host, own):
    assert is_loopback(host) == own


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"host": "192.168.1.4"}, "give a --token of your own"),
        ({"host": "0.0.0.0", "token": TOKEN}, "say with --names"),
        ({"token": "short"}, "a token of 5 letters; give at least 16"),
        ({"token": "a" * 15 + " "}, "give at least 16 of A-Z"),
        ({"port": 70_000}, "port 70000 does not exist"),
    ],
)
def test_what_would_open_the_door_is_refused(facts, told):
    with pytest.raises(ValueError, match=told):
        Serve(**facts)


def test_the_command_line_tells_it_in_one_line(command):
    code, out, err = command("serve", "--host", "0.0.0.0")
    assert (code, out) == (2, "")
    assert "give a --token of your own" in err
    assert len(err.splitlines()) == 1


def test_a_host_given_with_a_token_is_a_name_to_ask_under(root):
    config = Serve(host="192.168.1.4", token=TOKEN)
    settings = make_settings(config, Plain(runs=str(root)), port=1, token=TOKEN, stopping=bool)
    assert settings.hosts == (*LOOPBACK, "192.168.1.4")
    every = Serve(host="0.0.0.0", token=TOKEN, names=("lab.example",))
    settings = make_settings(every, Plain(runs=str(root)), port=1, token=TOKEN, stopping=bool)
    assert settings.hosts == (*LOOPBACK, "lab.example")


def test_runs_are_named_by_part_of_a_name_or_by_path(root):
    assert find_shown(FIRST[:-2], root) == root / "jumprelu" / FIRST
    assert find_shown(str(root / "scope" / SUITE), root) == root / "scope" / SUITE
    with pytest.raises(TenfoldError, match=f"did you mean {SECOND}"):
        find_shown("2026-01-02_secnd", root)


def test_a_port_that_is_taken_is_told_with_the_remedy(command, root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = command("serve", "--port", port, "--runs", root)
    assert code == 2
    assert f"cannot listen at 127.0.0.1 port {port}" in err
    assert "choose another --port" in err


def ask(address, path, **headers):
    """Return status and headers of one request, without following where it leads."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders())


def test_a_real_server_keeps_the_rules_and_stops_with_a_stream_open(settings, root):
    from tenfold.engine import lock
    from web.small import make_run

    run = make_run(root, "going", state="running", step=1)
    with lock.hold(run), running_server(settings) as address:
        assert ask(address, "/")[0] == 403
        assert ask(address, "/", Host="evil.example")[0] == 400
        status, headers = ask(address, f"/?token={TOKEN}")
        cookie = headers["set-cookie"].split(";")[0]
        assert (status, ask(address, "/", Cookie=cookie)[0]) == (303, 200)
        stream = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        stream.request("GET", "/runs/going/events", headers={"Cookie": cookie})
        assert b"event: status" in stream.getresponse().readline()
    stream.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
def test_ctrl_c_stops_the_command_cleanly(root):
    words = ["-m", "tenfold", "serve", "--port", "0", "--runs", str(root)]
    process = subprocess.Popen(
        [sys.executable, *words],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
    )
    try:
        told = ""
        while "Ctrl-C" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        start = next(word for word in told.split() if word.startswith("http://"))
        address, _, query = start.rpartition("/")
        wait_for(address)
        assert ask(address, f"/{query}")[0] == 303
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert process.returncode == 0
    assert rest == "stopped serving\n"


def wait_for(address):
    host, _, port = address.removeprefix("http://").partition(":")
    for _ in range(500):
        try:
            socket.create_connection((host, int(port)), timeout=20).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    pytest.fail(f"nobody listens at {address}")


def test_without_the_extra_the_command_says_what_brings_it(command, monkeypatch):
    import importlib

    real = importlib.import_module

    def without(name, *rest):
        if name == "fastapi":
            raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    code, _, err = command("serve")
    assert code == 2
    assert 'pip install "tenfold[web]"' in err
