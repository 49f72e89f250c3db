import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from tenfold.engine.report.figures import Curve, Table, axis, curves
from tenfold.engine.report.page import BUNDLE, Block, Page, Section, render, slug, write_page
from tenfold.engine.report.traces import DARK_PALETTE, PALETTE

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Elements(HTMLParser):
    """Every element with its attributes and text; wrong nesting is an error."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.found, self.open = [], []
        self.feed(html)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append(len(self.found) - 1)

    def handle_endtag(self, tag):
        opened = self.found[self.open.pop()][0]
        assert opened == tag, f"{opened} closed by {tag}"

    def handle_data(self, data):
        if self.open:
            self.found[self.open[-1]][2] += data

    def all(self, tag):
        return [(attrs, text) for name, attrs, text in self.found if name == tag]


def figure(title="Loss", caption="It falls."):
    lines = {"ours": Curve(x=[0, 1, 2], y=[3, 2, 1]), "theirs": Curve(x=[0, 2], y=[3, 2])}
    return curves(title, lines, x=axis("Step"), y=axis("Loss", unit="nats"), caption=caption)


def page(**changes):
    section = {
        "title": "What was seen",
        "paragraphs": ("A paragraph.",),
        "facts": (("Machine", "2 cores"),),
        "figures": (figure(), figure("Again")),
        "tables": (Table(title="Rows", columns=("name", "n"), rows=(("a", 1), ("b", 22))),),
        "blocks": (Block(title="Command", text="tenfold doctor"),),
    }
    return Page(
        title="A report",
        subtitle="It says something.",
        verdict="holds",
        sections=(Section(**section | changes),),
    )


def outside_bundle(html):
    return html.replace(read_bundle(), "")


def read_bundle():
    from importlib.resources import files

    return (files("tenfold.engine.report") / "vendor" / BUNDLE).read_text(encoding="utf-8")


def test_the_same_page_gives_the_same_bytes():
    assert render(page()) == render(page())


def test_several_figures_share_one_bundle():
    html = render(page())
    assert html.count(read_bundle()) == 1
    assert len(Elements(html).all("figure")) == 2


def test_a_page_without_figures_carries_no_bundle():
    assert len(render(page(figures=()))) < 60_000


@pytest.mark.parametrize("light", [False, True])
def test_no_outside_address_is_named_beside_the_bundle(light):
    html = outside_bundle(render(page(), light=light))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html.replace("// ", ""))
    attributes = [attrs for _, attrs, _ in Elements(html).found]
    assert not any("src" in attrs for attrs in attributes)
    assert all(attrs["href"].startswith("#") for attrs in attributes if "href" in attrs)


@pytest.mark.parametrize("light", [False, True])
def test_the_content_rules_allow_exactly_the_scripts_of_the_page(light):
    elements = Elements(render(page(), light=light))
    (rules,) = [a["content"] for a, _ in elements.all("meta") if "http-equiv" in a]
    programs = [text for attrs, text in elements.all("script") if "type" not in attrs]
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in programs]
    assert "default-src 'none'" in rules
    assert re.findall(r"'sha256-([^']+)'", rules) == sums
    assert len(sums) == (0 if light else 2)
    assert "script-src 'none'" in rules or not light


def test_no_element_carries_a_script_of_its_own():
    elements = Elements(render(page()))
    assert not [name for _, attrs, _ in elements.found for name in attrs if name.startswith("on")]


def test_the_light_page_has_pictures_and_no_script():
    elements = Elements(render(page(), light=True))
    assert elements.all("script") == []
    assert len(elements.all("svg")) == 2
    assert elements.all("button") == []


def test_every_figure_can_be_read_without_script():
    elements = Elements(render(page()))
    assert len(elements.all("svg")) == 2
    captions = [text for _, text in elements.all("figcaption")]
    assert captions == ["It falls.", "It falls."]
    tables = [text for _, text in elements.all("caption")]
    assert tables == ["Loss", "Again", "Rows"]


def test_the_figures_reach_the_script_as_they_are():
    islands = [
        json.loads(text)
        for attrs, text in Elements(render(page())).all("script")
        if "type" in attrs
    ]
    wanted = figure()
    assert islands[0] == {"data": list(wanted.data), "layout": wanted.layout}


@pytest.mark.parametrize("light", [False, True])
def test_hostile_text_stays_text_wherever_it_stands(light):
    evil_figure = curves(
        EVIL, {EVIL: Curve(x=[1], y=[1])}, x=axis(EVIL), y=axis(EVIL), caption=EVIL
    )
    hostile = Page(
        title=EVIL,
        subtitle=EVIL,
        kicker=EVIL,
        verdict=EVIL,
        facts=((EVIL, EVIL),),
        sections=(
            Section(
                title=EVIL,
                paragraphs=(EVIL,),
                verdict=EVIL,
                figures=(evil_figure,),
                tables=(Table(title=EVIL, columns=(EVIL,), rows=((EVIL,),)),),
                blocks=(Block(title=EVIL, text=EVIL, folded=True),),
            ),
        ),
    )
    elements = Elements(render(hostile, light=light))
    assert elements.all("img") == []
    assert len(elements.all("script")) == (0 if light else 3)
    assert EVIL in [text for _, text in elements.all("p")]


def test_every_section_is_reached_from_the_navigation():
    elements = Elements(render(page()))
    targets = {attrs["href"] for attrs, _ in elements.all("a")}
    assert {f"#{attrs['id']}" for attrs, _ in elements.all("section")} <= targets


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [("holds", "holds"), ("does not hold", "fails"), ("undecided", "open"), ("crashed", "broken")],
)
def test_a_verdict_in_a_table_is_shown_as_a_badge(verdict, kind):
    rows = Table(title="Rows", columns=("room", "verdict"), rows=(("toy", verdict),))
    elements = Elements(render(Page(title="T", sections=(Section(title="S", tables=(rows,)),))))
    assert elements.all("span") == [({"class": f"badge {kind}"}, verdict)]


def test_columns_of_numbers_are_set_flush_right():
    elements = Elements(render(page(figures=())))
    assert [attrs["class"] for attrs, _ in elements.all("td")] == ["number", "number"]


def test_a_table_without_rows_shows_its_heads():
    empty = Table(title="None", columns=("name", "n"), rows=())
    elements = Elements(render(page(figures=(), tables=(empty,))))
    assert [text for _, text in elements.all("th")] == ["name", "n"]


def test_the_dark_page_swaps_every_series_colour():
    html = outside_bundle(render(page()))
    for light, dark in zip(PALETTE, DARK_PALETTE, strict=True):
        assert html.count(f"[stroke='{light}']{{stroke:{dark}}}") == 2  # chosen, and by system


def test_a_page_is_written_whole(tmp_path):
    path = tmp_path / "new" / "report.html"
    write_page(path, page(), light=True)
    assert path.read_text(encoding="utf-8") == render(page(), light=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_title_without_letters_still_has_an_anchor():
    assert slug("§§") == "section"
