"""The pages in Debian's Chromium, clicked through as a user does."""

import shutil
from contextlib import contextmanager

import pytest

from tenfold.engine import lock
from web.conftest import FIRST, SECOND, SUITE, TOKEN, running_server
from web.small import add_metrics, make_run

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the package `playwright` is not installed"
)
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium; `make browser` installs Debian's"),
]
GOING = "2026-01-04_going"


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(executable_path=CHROMIUM, timeout=60_000)
        yield browser
        browser.close()


def is_fault(said):
    # Chromium calls an answer with a status above 400 an error; what it says is looked at.
    return said.type == "error" and "Failed to load resource" not in said.text


@contextmanager
def tab(chromium, address, **context):
    """Yield a page that lets nothing out of this server and has told no fault at the end."""
    faults, outside = [], []
    opened = chromium.new_context(**context)
    page = opened.new_page()
    page.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: outside.append(asked.url))
    page.goto(f"{address}/?token={TOKEN}")
    try:
        yield page
    finally:
        opened.close()
    assert faults == []
    assert [url for url in outside if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture
def served(settings, root, small_model):  # noqa: ARG001
    """Yield the address of a server with a run that is going on, a report and a dashboard."""
    going = make_run(root, GOING, room="jumprelu", verb="train", state="running", step=20, total=99)
    add_metrics(going, [(s, "train/loss", 1.0 / (s + 1)) for s in range(20)])
    script = "<h1>report</h1><script>document.querySelector('h1').textContent = 'drawn'</script>"
    (root / "jumprelu" / FIRST / "report.html").write_text(f"<!doctype html>{script}")
    dash = root / "scope" / SUITE / "out" / "dash"
    (dash / "data").mkdir(parents=True)
    (dash / "index.html").write_text(DASH)
    (dash / "data" / "a.js").write_text(DASH_SCRIPT)
    with lock.hold(going), running_server(settings) as address:
        yield address


# As made for opening from disk; what a frame forbids must not stop it.
DASH = (
    "<!doctype html><meta http-equiv=Content-Security-Policy "
    "content=\"default-src 'none'; script-src 'self' file:\"><h1>dash</h1>"
    '<script src="data/a.js" defer></script>'
)
DASH_SCRIPT = """
const tried = (reach) => { try { reach(); return "reached"; } catch { return "kept out"; } };
document.querySelector("h1").textContent = [
  location.hash,
  tried(() => parent.document.body),
  tried(() => document.cookie.length),
  tried(() => localStorage.length),
].join(" | ");
"""


def test_from_the_runs_to_a_live_curve(chromium, served, root):
    with tab(chromium, served) as page:
        assert page.url == f"{served}/"
        page.fill("input[name=text]", "going")
        expect(page.locator("#rows tbody tr")).to_have_count(1)
        page.click(f"text={GOING}")
        page.wait_for_selector("figure.curve canvas")
        assert not page.locator("figure.curve svg").is_visible()
        row = 'tr[data-last="train/loss"]'
        page.click("summary:has-text('Last values')")
        assert page.locator(row).inner_text().split()[-2] == "19"
        add_metrics(root / "jumprelu" / GOING, [(25, "train/loss", 0.125)])
        expect(page.locator(row)).to_contain_text("0.125")
        page.hover("figure.curve .u-over", position={"x": 1, "y": 20})
        assert "0" in page.locator("figure.curve .u-value").first.inner_text()
        # A metric that begins later is drawn by the server, so the page comes anew.
        add_metrics(root / "jumprelu" / GOING, [(26, "train/later", 1.0)])
        page.wait_for_selector('figure[data-metric="train/later"] canvas')


def test_runs_are_marked_and_compared(chromium, served):
    with tab(chromium, served) as page:
        for name in (FIRST, SECOND):
            page.check(f'input[value="{name}"]')
        page.click("text=Compare those marked")
        page.wait_for_selector("figure.curve canvas")
        legend = page.locator('figure[data-metric="train/loss"] .u-legend').inner_text()
        assert FIRST in legend
        assert SECOND in legend


def test_a_report_runs_its_own_script_in_a_frame_of_its_own(chromium, served):
    with tab(chromium, served) as page:
        page.goto(f"{served}/runs/{FIRST}")
        page.locator("iframe").scroll_into_view_if_needed()
        page.frame_locator("iframe").locator("h1:has-text('drawn')").wait_for()


def test_from_the_suites_to_a_prompt_to_steering(chromium, served):
    with tab(chromium, served) as page:
        page.click("nav >> text=Suites")
        page.click(f"text={SUITE}")
        page.click("tbody tr:nth-child(2) >> text=prompt")
        page.fill("textarea", "to be or not")
        page.click("text=Read")
        page.wait_for_selector("#answer .tokens .shade-9")
        assert "text=to+be+or+not" in page.url
        assert "l0_4" in page.url
        page.click(".chips .chip:nth-child(2)")
        page.wait_for_url("**latent=*")
        latent = page.inner_text("#answer h2").split()[1]
        # The address alone brings the same page back.
        page.goto(page.url)
        page.wait_for_selector(f"#answer h2:has-text('Latent {latent}')")
        page.click("text=Steer with it")
        page.wait_for_selector("#answer .sides")
        assert page.input_value("fieldset:nth-of-type(1) input[name=latent]") == latent
        page.fill("fieldset:nth-of-type(1) input[name=value]", "40")
        page.click("text=Complete")
        page.wait_for_selector("#answer .changed")
        page.fill("fieldset:nth-of-type(1) input[name=latent]", "99")
        page.click("text=Complete")
        expect(page.locator("#answer .fault")).to_contain_text("latent 99 does not exist")


def test_a_dashboard_is_shown_at_a_latent_and_cannot_reach_the_shell(chromium, served):
    with tab(chromium, served) as page:
        name = "blocks.0/w24_l0_2_s0"
        page.goto(f"{served}/rooms/scope/{SUITE}?at={name}/7")
        page.locator("iframe").scroll_into_view_if_needed()
        head = page.frame_locator("iframe").locator("h1")
        expect(head).to_have_text(f"#/{name}/7 | kept out | kept out | kept out")


def test_without_script_everything_can_be_read(chromium, served):
    with tab(chromium, served, java_script_enabled=False) as page:
        page.click(f"text={FIRST}")
        assert page.locator("figure.curve svg").first.is_visible()
        page.goto(f"{served}/rooms/scope/{SUITE}/prompt?text=to be&dictionary=blocks.0/w24_l0_2_s0")
        page.click("text=Read")
        assert page.locator("#answer .tokens .shade-9").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_light_and_dark_shows_no_sideways_scroll(chromium, served, scheme):
    screen = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    with tab(chromium, served, **screen) as page:
        for path in ("/", f"/runs/{FIRST}", "/rooms/scope/", f"/rooms/scope/{SUITE}/steer"):
            page.goto(served + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(251, 251, 249)", "dark": "rgb(18, 20, 23)"}[scheme]
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
