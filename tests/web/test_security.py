import dataclasses
import re
from pathlib import Path

import pytest
from fastapi import APIRouter, WebSocketDisconnect
from fastapi.testclient import TestClient

import tenfold.rooms.scope
import tenfold.web
from tenfold.web import frames
from tenfold.web.app import create_app
from tenfold.web.security import MOST_BODY, Key
from web.conftest import FIRST, HOME, SUITE, TOKEN

PAGES = [
    "/",
    f"/runs/{FIRST}",
    f"/runs/{FIRST}/curve?metric=train/loss",
    f"/runs/{FIRST}/events",
    f"/compare?run={FIRST}&run={SUITE}",
    "/static/shell.css",
    "/rooms/scope/",
    f"/rooms/scope/{SUITE}",
    f"/rooms/scope/{SUITE}/prompt",
    f"/rooms/scope/{SUITE}/steer",
    "/nothing",
]


def test_without_the_token_nothing_is_shown(stranger):
    for address in PAGES:
        answer = stranger.get(address)
        assert answer.status_code == 403, address
        assert "needs the token that `tenfold serve` printed" in answer.text
        assert FIRST not in answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example"])
def test_a_foreign_host_is_refused_even_with_the_token(client, host):
    for address in PAGES:
        cookie = f"tenfold-test={TOKEN}"
        answer = client.get(address, headers={"host": host, "cookie": cookie})
        assert answer.status_code == 400, address


def test_the_machine_s_own_names_are_hosts(client):
    for host in ("127.0.0.1:8765", "localhost:8765", "localhost", "[::1]:8765"):
        answer = client.get("/", headers={"host": host, "cookie": f"tenfold-test={TOKEN}"})
        assert answer.status_code == 200, host


def test_the_token_becomes_a_cookie_and_leaves_the_address(stranger):
    answer = stranger.get(f"/?text=a&token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?text=a")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"tenfold-test={TOKEN};")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/").status_code == 200


def test_the_step_to_the_cookie_leads_to_no_other_host(stranger):
    answer = stranger.get(f"{HOME}//evil.example/?token={TOKEN}", follow_redirects=False)
    assert answer.headers["location"] == "/evil.example/"


def test_a_wrong_token_is_refused_with_and_without_a_cookie(stranger, client):
    for asking in (stranger, client):
        assert asking.get("/?token=wrong").status_code == 403
    assert stranger.get("/", headers={"cookie": "tenfold-test=wrong"}).status_code == 403


def writable(settings):
    """Return an application with one route that takes a form and says what it got."""
    app = create_app(settings)
    router = APIRouter()

    @router.post("/write")
    async def write(request: fastapi_request) -> dict[str, int]:
        return {"fields": len(await app.state.shell.fields(request))}

    app.include_router(router)
    return app


# FastAPI reads the annotation of the route above from the module.
from fastapi import Request as fastapi_request  # noqa: E402, N813


@pytest.fixture
def writer(settings):
    with TestClient(writable(settings), base_url=HOME) as client:
        client.get("/", params={"token": TOKEN})
        yield client


def test_a_write_from_our_own_page_is_let_in(writer):
    answer = writer.post("/write", data={"a": "1", "b": "2"}, headers={"origin": HOME})
    assert (answer.status_code, answer.json()) == (200, {"fields": 2})


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8765"],
)
def test_a_write_from_elsewhere_is_refused(writer, origin):
    headers = {"origin": origin} if origin else {}
    answer = writer.post("/write", data={"a": "1"}, headers=headers)
    assert answer.status_code == 403
    assert "own pages only" in answer.text


def test_every_other_method_is_a_write_too(writer):
    for method in ("put", "patch", "delete", "options"):
        assert getattr(writer, method)("/").status_code == 403


def test_pages_for_reading_take_no_writes(client):
    for address in ("/", f"/runs/{FIRST}", "/rooms/scope/"):
        assert client.post(address, headers={"origin": HOME}).status_code == 405


def test_a_form_of_another_kind_or_too_large_is_refused(writer):
    answer = writer.post("/write", json={"a": 1}, headers={"origin": HOME})
    assert (answer.status_code, "application/json" in answer.text) == (415, True)
    large = {"a": "x" * (MOST_BODY + 1)}
    answer = writer.post("/write", data=large, headers={"origin": HOME})
    assert answer.status_code == 413
    assert "65,536 bytes" in answer.text
    many = "&".join(f"a{i}=1" for i in range(300))
    kind = {"content-type": "application/x-www-form-urlencoded", "origin": HOME}
    assert writer.post("/write", content=many, headers=kind).status_code == 400
    assert writer.post("/write", content=b"\xff\xfe", headers=kind).status_code == 400


@pytest.mark.parametrize("address", PAGES)
def test_every_answer_has_the_headers_that_protect_it(client, address):
    headers = client.get(address).headers
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'nonce-[\w-]{20,}'", rules["script-src"])
    assert rules["style-src"] == rules["connect-src"] == rules["frame-src"] == "'self'"
    assert rules["form-action"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"


def test_each_answer_has_a_nonce_of_its_own(client):
    rules = {client.get("/").headers["content-security-policy"] for _ in range(3)}
    assert len(rules) == 3


def test_pages_are_not_kept_and_static_files_are(client):
    assert client.get("/").headers["cache-control"] == "no-store"
    assert "immutable" in client.get("/static/shell.css").headers["cache-control"]


HOSTILE = [
    "../config.json",
    "..%2f..%2fconfig.json",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "....//config.json",
    "..\\config.json",
    "index.html/../../config.json",
    "\x00",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_in_an_address_leads_out_of_its_table(client, root, name):
    dash = root / "scope" / SUITE / "out" / "dash"
    dash.mkdir(parents=True)
    (dash / "index.html").write_text("<p>dash")
    key = client.app.state.shell.frames.address(dash).split("/")[2]
    for before in (f"/frames/{key}/", "/static/", "/runs/", "/rooms/scope/"):
        answer = client.get(before + name.replace("\x00", "%00"))
        assert answer.status_code in (403, 404, 405), (before, answer.text)
        assert "root:" not in answer.text


def test_links_inside_a_frame_s_folder_are_not_followed(client, root, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.txt").write_text("secret")
    dash = root / "dash"
    dash.mkdir()
    (dash / "index.html").write_text("<p>dash")
    try:
        (dash / "link.txt").symlink_to(tmp_path / "secret.txt")
        (dash / "folder").symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("links cannot be made here")
    address = client.app.state.shell.frames.address(dash)
    assert client.get(address).status_code == 200
    for name in ("link.txt", "folder/secret.txt"):
        assert client.get(address.replace("index.html", name)).status_code == 404


def test_framed_files_need_their_key_and_nothing_else(stranger, root):
    report = root / "jumprelu" / FIRST / "report.html"
    report.write_text("<p>report")
    address = stranger.app.state.shell.frames.address(report)
    assert stranger.get(address).text == "<p>report"
    assert stranger.get("/frames/wrong-key/report.html").status_code == 404
    assert stranger.get(address.replace("report.html", "config.json")).status_code == 404
    assert stranger.post(address).status_code == 403


def test_framed_files_are_sandboxed_even_when_opened_alone(client, root):
    report = root / "jumprelu" / FIRST / "report.html"
    report.write_text("<p>report")
    headers = client.get(client.app.state.shell.frames.address(report)).headers
    assert headers["content-security-policy"] == frames.RULES
    assert headers["content-security-policy"].startswith("sandbox allow-scripts ")
    assert "allow-same-origin" not in frames.RULES
    assert "connect-src 'none'" in frames.RULES


def test_the_same_folder_keeps_its_key_and_another_gets_another(root):
    table = frames.Frames()
    assert table.address(root) == table.address(root / ".." / root.name)
    assert table.address(root) != table.address(root / "scope")
    assert table.member("no key", "index.html") is None


def test_web_sockets_are_not_let_in(client):
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("/", headers={"host": "127.0.0.1:8765"}),
    ):
        pass
    assert refused.value.code == 1008


def test_no_file_of_the_pages_names_an_outside_address():
    folders = [Path(package.__path__[0]) for package in (tenfold.web, tenfold.rooms.scope)]
    # A comment in uPlot names its home; a name space is no address to fetch.
    known = {"https://github.com/leeoniya/uPlot", "http://www.w3.org/2000/svg"}
    files = [
        file
        for folder in folders
        for name in ("templates", "static")
        for file in (folder / name).rglob("*")
        if file.is_file() and not file.name.endswith(".LICENSE")
    ]
    assert len(files) > 15
    for file in files:
        text = file.read_text(encoding="utf-8")
        found = set(re.findall(r"(?:https?:|wss?:)?//[\w-]+\.[\w./-]+", text)) - known
        assert not found, f"{file.name}: {found}"


def test_a_token_is_compared_in_full():
    key = Key(token=TOKEN, cookie="c")
    assert key.fits(TOKEN)
    assert not any(key.fits(wrong) for wrong in ("", TOKEN[:-1], TOKEN + "x", "\u00e9"))


def test_the_application_has_no_pages_of_documentation(client):
    for address in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(address).status_code == 404


def test_a_name_given_on_the_command_line_is_a_host(settings):
    named = dataclasses.replace(settings, hosts=(*settings.hosts, "lab.example"))
    with TestClient(create_app(named), base_url="http://lab.example:8765") as client:
        assert client.get("/", params={"token": TOKEN}).status_code == 200
