"""The pages in a real browser, opened from disk."""

from pathlib import Path

import pytest

from rooms.scope.dash import world
from tenfold.rooms.scope import write_dash

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make browser` installs it"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


def make(folder, **given):
    store = world.write_store(folder / "store", sites=("blocks.0", "blocks.1"), **given)
    dictionaries = {
        ("blocks.0", "w20 & <i>"): world.dictionary("jumprelu"),
        ("blocks.1", "b"): world.dictionary("topk"),
    }
    suite = world.write_suite(folder / "suite", dictionaries)
    position = {"place": [0, 1, 2], "error": [1.0, 2.0, 3.0], "delta_loss": [0.1, 0.2, 0.3]}
    entry = {"l0": 3.0, "fvu": 0.2, "delta_loss": 0.5, "by_position": position}
    evaluation = {"tokens": 64, "entries": {"blocks.1/b": entry}, "left_out": ["raters"]}
    return write_dash(suite, store, folder / "dash", evaluation=evaluation, quiet=True)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return make(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def page(browser, texts):
    """A page whose faults and requests are watched."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    faults, requests = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("dialog", lambda dialog: faults.append(f"a token ran: {dialog.message}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(texts.as_uri())
    yield page
    assert faults == []
    assert requests
    assert all(url.startswith("file://") for url in requests), requests
    context.close()


def first_cells(page, number=5):
    return page.locator("main tbody tr th").all_inner_texts()[:number]


def test_the_suite_opens_sorts_and_searches(page):
    page.wait_for_selector("h1")
    assert page.inner_text("h1") == "toy <model>"
    assert first_cells(page, 2) == ["blocks.0/w20 & <i>", "blocks.1/b"]
    page.get_by_role("button", name="FVU").click()
    assert first_cells(page, 2) == ["blocks.0/w20 & <i>", "blocks.1/b"]
    page.get_by_role("button", name="FVU").click()
    assert first_cells(page, 2) == ["blocks.1/b", "blocks.0/w20 & <i>"]
    assert page.get_attribute("th[aria-sort=ascending]", "class") == "number"
    page.get_by_label("Search").fill("topk")
    assert first_cells(page, 2) == ["blocks.1/b"]
    assert page.inner_text("#told") == "1 of 2 rows"


def test_curves_follow_the_chosen_site_and_have_their_numbers_as_tables(page):
    page.wait_for_selector("figure")
    assert "Squared error by position" not in page.inner_text("main")
    page.get_by_label("Site").select_option("blocks.1")
    assert "Squared error by position" in page.inner_text("main")
    for plot in page.locator("svg.plot").all():
        assert plot.get_attribute("aria-label")
    assert page.locator("figure details table").count() == page.locator("figure").count()


def test_latents_are_sorted_searched_and_opened_by_the_keyboard(page):
    page.get_by_role("link", name="blocks.0/w20 & <i>").first.click()
    page.wait_for_selector("h2:has-text('Latents')")
    rates = [
        float(text.split()[0]) for text in page.locator("tbody td:nth-child(2)").all_inner_texts()
    ]
    assert rates == sorted(rates, reverse=True)
    assert len(rates) == world.M
    page.get_by_role("button", name="Latent", exact=True).press("Enter")
    page.get_by_role("button", name="Latent", exact=True).press("Enter")
    assert first_cells(page, 3) == ["0", "1", "2"]
    page.get_by_label("Search number or token").fill("7")
    assert first_cells(page) == ["7"]
    page.get_by_role("link", name="7", exact=True).press("Enter")
    page.wait_for_selector("h1:has-text('Latent 7')")
    page.locator("#main").press("ArrowRight")
    page.wait_for_selector("h1:has-text('Latent 8')")
    page.go_back()
    page.wait_for_selector("h1:has-text('Latent 7')")


def test_a_shared_address_opens_the_latent_with_its_coloured_tokens(page, texts):
    page.goto(texts.as_uri() + "#/blocks.0/w20%20%26%20%3Ci%3E/3")
    page.wait_for_selector("mark.token.hot")
    ground = "element => getComputedStyle(element).backgroundColor"
    assert page.locator("mark.token").first.evaluate(ground) not in ("", "rgba(0, 0, 0, 0)")
    assert page.locator(".list").first.locator("li").count() == 12
    assert page.locator(".masked").count() > 0
    text = page.inner_text("main")
    for heading in ("Raises the score of", "Fires together with", "Nearest decoder directions"):
        assert heading in text
    values = [float(v) for v in page.locator(".list").first.locator(".peak b").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    assert page.title() == "Latent 3 of blocks.0/w20 & <i>"


def test_tokens_that_look_like_markup_are_shown_and_not_run(page, texts):
    page.goto(texts.as_uri() + "#/blocks.0/w20%20%26%20%3Ci%3E/3")
    page.wait_for_selector("mark.token")
    assert "<script>alert(1)</script>" in page.locator(".examples").inner_text()
    assert page.locator("main script").count() == 0
    assert page.locator("main i").count() == 0


def test_an_address_of_nothing_says_so(page, texts):
    page.goto(texts.as_uri() + "#/blocks.1/b/999")
    page.wait_for_selector("[role=alert]")
    assert page.inner_text("[role=alert]") == "blocks.1/b has latents 0 to 19, not 999."
    page.goto(texts.as_uri() + "#/blocks.5/b")
    page.wait_for_selector("[role=alert]:has-text('There is no dictionary')")


def test_the_theme_can_be_turned_and_nothing_sticks_out_on_a_phone(page, texts):
    page.set_viewport_size({"width": 390, "height": 800})
    for address in ("#/", "#/blocks.1/b", "#/blocks.1/b/2"):
        page.goto(texts.as_uri() + address)
        page.wait_for_selector("h1")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, (address, wide)
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Show in dark colours").click()
    assert page.evaluate(ground) != before


def test_pictures_show_the_cell_that_fires(browser, tmp_path):
    index = make(tmp_path, shows="picture", grid=(2, 3), items=40)
    page = browser.new_page()
    page.goto(index.as_uri() + "#/blocks.1/b/2")
    page.wait_for_selector("canvas")
    assert page.locator(".list").first.locator("canvas").count() == 12
    colours = """canvas => {
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return data.filter((_, k) => k % 4 === 0 && data[k] > data[k + 2] + 40).length;
    }"""
    assert page.locator("canvas").first.evaluate(colours) > 100
    assert "digit" in page.locator(".list li").first.inner_text()
    assert page.locator("svg.map rect").count() == 6
    page.close()


def test_plain_rows_are_shown_by_their_number(browser, tmp_path):
    index = make(tmp_path, shows="row", grid=(), items=90)
    page = browser.new_page()
    page.goto(index.as_uri() + "#/blocks.0/w20%20%26%20%3Ci%3E/3")
    page.wait_for_selector(".list li")
    assert "item" in page.locator(".list li").first.inner_text()
    assert "digit" in page.locator(".list li").first.inner_text()
    page.close()
