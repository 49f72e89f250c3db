"""Extremal's live pages; they stand here because they are served by the shell of these fixtures."""

import dataclasses

import pytest

from tenfold.engine.run import Options, Run
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.pages import archive_folder, shows
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.run import search_run
from web.conftest import FIRST, checked, open_client

NAME = "2026-02-01_petersen"


@pytest.fixture
def searched(root):
    cfg = config.Search(problem=Problem(nodes=10), flips=4_000, threads=1)
    run = Run.create(
        cfg, room="extremal", verb="search", units=config.SEARCH_UNITS,
        options=Options(quiet=True), path=root / "extremal" / NAME,
    )  # fmt: skip
    return search_run(cfg, run=run).path


def test_only_what_has_graphs_is_listed(searched, page, root):
    found = page("/rooms/extremal/")
    assert f"{NAME} search 10 15 no graph has more" in found.text
    assert FIRST not in found.text
    assert shows(searched)
    assert not shows(root / "jumprelu" / FIRST)


def test_without_graphs_the_list_says_what_finds_one(page):
    assert "tenfold extremal search" in page("/rooms/extremal/").text


def test_a_search_s_page_has_its_curves_its_graph_and_the_certificate(searched, page):
    found = page(f"/rooms/extremal/{searched.name}")
    assert "15 edges on 10 nodes, which no graph exceeds." in found.text
    assert len(found.all("circle")) >= 10
    assert "girth 5, degrees 3^10" in found.text
    assert "120" in found.text  # automorphisms of the Petersen graph
    assert len(found.all("svg")) == 3


def test_an_archive_that_is_no_run_is_served_by_name(settings, tmp_path):
    archive = Archive(tmp_path / "mine", Problem(nodes=10))
    archive.put(construct("petersen"), method="ils")
    assert archive_folder(tmp_path / "mine") == tmp_path / "mine"
    named = dataclasses.replace(settings, named=(tmp_path / "mine",))
    with open_client(named) as asking:
        row = checked(asking.get("/rooms/extremal/")).text
        assert "mine archive 10 to 10 – 1 of 1 sizes at the best known value" in row
        assert "Edges over nodes^1.5" in checked(asking.get("/rooms/extremal/mine")).text


def test_a_damaged_archive_is_listed_with_its_fault(settings, tmp_path):
    Archive(tmp_path / "mine", Problem(nodes=10))
    (tmp_path / "mine" / "problem.json").write_text("{")
    named = dataclasses.replace(settings, named=(tmp_path / "mine",))
    with open_client(named) as asking:
        assert "problem.json" in checked(asking.get("/rooms/extremal/")).text
