import json
import re

import plotly.graph_objects as plotly
import pytest
import torch

from tenfold.cli import main
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_json
from tenfold.engine.run import Options, Run
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.archive_report import archive_page, record_graph, start_kind
from tenfold.rooms.extremal.codecs import read_graphs
from tenfold.rooms.extremal.compare import compare_run
from tenfold.rooms.extremal.compare_config import UNITS, Compare
from tenfold.rooms.extremal.graph import empty, from_edges
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.report import find_place, staircase, write_report
from tenfold.rooms.extremal.run import ladder_run, search_run
from tenfold.rooms.extremal.shelf import Find

torch.set_num_threads(1)
QUIET = Options(quiet=True)


def make(cfg, verb, path, units):
    return Run.create(cfg, room="extremal", verb=verb, units=units, options=QUIET, path=path)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "a-search-of-twenty"
    cfg = config.Search(problem=Problem(nodes=20), flips=40_000, threads=1)
    return search_run(cfg, run=make(cfg, "search", path, config.SEARCH_UNITS)).path


@pytest.fixture(scope="module")
def hunted(tmp_path_factory):
    path = tmp_path_factory.mktemp("ladder") / "run"
    cfg = config.Ladder(first=18, last=22, pieces=10, piece_flips=4_000, workers="1")
    return ladder_run(cfg, run=make(cfg, "ladder", path, config.LADDER_UNITS)).path


def page_of(path, **options):
    return write_report(path, **options).read_text(encoding="utf-8")


def figures_in(page):
    islands = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    found = [json.loads(island) for island in islands]
    for figure in found:
        plotly.Figure(data=figure["data"], layout=figure["layout"])
    return found


def copy_of(path, folder):
    """Copy what a report reads."""
    for name in ("config.json", "metrics.jsonl"):
        (folder / name).write_bytes((path / name).read_bytes())
    (folder / "out").mkdir()
    for file in (path / "out").iterdir():
        if file.is_file():
            (folder / "out" / file.name).write_bytes(file.read_bytes())
    return folder


# Searches


def test_a_search_shows_edges_the_graph_and_its_certificate(searched):
    page, result = page_of(searched), read_json(searched / "out" / "result.json")
    figures = figures_in(page)
    assert "41 edges on 20 nodes, which no graph exceeds." in page
    assert result["certificate"] in page
    assert result["graph6"] in page.replace("&#34;", '"').replace("&lt;", "<").replace("&amp;", "&")
    assert page.count("<circle") >= 20
    assert [trace["name"] for trace in figures[0]["data"]] == ["found", "best known", "upper bound"]
    assert figures[0]["data"][0]["y"][-1] == 41


def test_a_page_is_the_same_each_time_and_needs_no_network(searched):
    page = page_of(searched)
    assert page == page_of(searched)
    assert "src=" not in page.partition("<body")[2].partition("<script")[0]


def test_a_light_page_has_no_script(searched):
    page = page_of(searched, light=True)
    assert "<script" not in page
    assert page.count("<circle") >= 20


def test_a_search_that_is_not_at_its_end_shows_the_best_so_far(searched, tmp_path):
    path = copy_of(searched, tmp_path)
    (path / "out" / "result.json").unlink()
    page = page_of(path)
    assert "41 edges on 20 nodes" in page
    assert figures_in(page)


def test_a_search_that_met_no_graph_says_so(searched, tmp_path):
    path = copy_of(searched, tmp_path)
    for file in (path / "out").iterdir():
        file.unlink()
    (path / "metrics.jsonl").write_text("")
    with pytest.raises(TenfoldError, match="has found no graph yet; let it go on"):
        write_report(path)
    write_json(
        path / "out" / "result.json", {"edges": None, "total_flips": 9, "total_seconds": 1.0}
    )
    assert "No graph that fits the problem was met." in page_of(path)


def test_the_command_writes_the_report_of_a_run_by_its_name(searched, capsys):
    assert main(["extremal", "report", searched.name, "--runs", str(searched.parents[1])]) == 0
    assert main(["extremal", "report", str(searched)]) == 0
    assert str(searched / "report.html") in capsys.readouterr().out


def test_a_staircase_keeps_each_value_until_the_next():
    assert staircase([1.0, 2.0, 4.0], [5.0, 6.0, 6.0]) == (
        [1.0, 2.0, 2.0, 4.0],
        [5.0, 5.0, 6.0, 6.0],
    )


# Ladders and archives


def test_a_ladder_shows_every_size_beside_what_is_known(hunted):
    page = page_of(hunted)
    figures = figures_in(page)
    rows = read_json(hunted / "out" / "records.json")
    density = {trace["name"]: trace for trace in figures[0]["data"]}
    assert density["found"]["x"] == [row["nodes"] for row in rows]
    assert density["found"]["y"] == pytest.approx([r["edges"] / r["nodes"] ** 1.5 for r in rows])
    assert density["best known"]["y"] == pytest.approx(
        [r["known"] / r["nodes"] ** 1.5 for r in rows]
    )
    for title in ("Which start won each size", "Orders of automorphism groups", "Over time"):
        assert title in page
    assert "<circle" in page
    assert "How to repeat" in page


def test_an_archive_by_itself_has_a_page_too(hunted):
    folder = hunted / "out" / "archive"
    assert find_place(str(folder)) == folder
    page = page_of(folder)
    assert (folder / "report.html").exists()
    assert "Best graphs on 18 to 22 nodes" in page
    assert "Over time" not in page
    assert figures_in(page)


def test_an_empty_archive_has_a_page_without_figures(tmp_path):
    Archive(tmp_path / "a", Problem(nodes=9))
    page = page_of(tmp_path / "a")
    assert "No graph so far" in page
    assert not figures_in(page)


def test_the_shown_graph_is_the_one_farthest_above_what_is_known_else_the_densest(tmp_path):
    archive = Archive(tmp_path / "a", Problem(nodes=10))
    assert record_graph(archive) is None
    archive.put(construct("petersen"), method="test")
    archive.put(from_edges(30, [(0, 1)]), method="test")
    assert record_graph(archive) == construct("petersen")


def test_what_is_below_the_best_known_value_is_counted_and_drawn(tmp_path):
    archive = Archive(tmp_path / "a", Problem(nodes=10))
    archive.put(construct("petersen"), method="test")
    archive.put(from_edges(8, [(0, 1), (1, 2)]), method="test")
    page = archive_page(archive, name="a")
    assert dict(page.facts)["Below it"] == "1"
    over, distance = page.sections[0].figures[1:]
    assert over.data[0]["x"] == distance.data[0]["x"] == [8, 10]
    assert over.data[0]["y"] == [2 - 10, 0]
    assert distance.data[0]["y"] == [10 - 2, 0]


@pytest.mark.parametrize(
    ("method", "start", "kind"),
    [
        ("ladder cut", "amalgam:C,q=9,k=9,l=9", "cut amalgam"),
        ("ladder up", "20 and 1 nodes more < empty", "fewer nodes"),
        ("ladder down", "23 less 1 nodes < empty", "more nodes"),
        ("ladder polish", "22 itself < empty", "the same size"),
        ("ladder anew", "empty", "nothing"),
        ("ils", "empty", "nothing"),
        ("ils", "amalgam:L,q=9,k=9,l=9", "cut amalgam"),
        ("alphazero", "curriculum", "fewer nodes"),
        ("file", "mine.g6", "other"),
    ],
)
def test_the_kind_of_start_is_told_in_few_words(method, start, kind):
    find = Find(
        graph=empty(3), method=method, seed=0, start=start, flips=0, seconds=0.0, by="", time="",
        version="", form="", group_order=6,
    )  # fmt: skip
    assert start_kind(find) == kind


# Comparisons


def test_a_comparison_shows_every_method(tmp_path):
    cfg = Compare(problem=Problem(nodes=10), methods=("ils", "tabu"), seeds=(0, 1), flips=2_000)
    path = compare_run(cfg, run=make(cfg, "compare", tmp_path / "run", UNITS)).path
    page = page_of(path)
    bars, curves = figures_in(page)
    assert {trace["name"] for trace in curves["data"]} == {"ils", "tabu"}
    assert {trace["y"][0] for trace in bars["data"] if trace["type"] == "bar"} == {15}
    (path / "out" / "compare.json").unlink()
    with pytest.raises(TenfoldError, match="comparison run is unfinished"):
        write_report(path)


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(TenfoldError, match="nothing-here"):
        find_place("nothing-here", runs=str(tmp_path))


def test_the_graph_of_the_page_is_the_one_that_was_written(searched):
    (graph,) = read_graphs(searched / "out" / "best.s6")
    degrees = sorted({*graph.degrees().tolist()})
    page = page_of(searched)
    assert all(f"of degree {degree}" in page for degree in degrees)
