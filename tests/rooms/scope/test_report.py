import re

import plotly.graph_objects as plotly
import pytest

from rooms.scope.evaluated import D, drawn, speaker, write_suite
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_json
from tenfold.rooms.scope.eval import evaluate
from tenfold.rooms.scope.evaluation import figures
from tenfold.rooms.scope.evaluation.matched import open_evaluation
from tenfold.rooms.scope.evaluation.tables import dictionary_table, matched_table
from tenfold.rooms.scope.report import suite_page, write_report

SAVED = {
    "schema": 1,
    "room": "scope",
    "verb": "suite",
    "recipe": "tiny",
    "version": "0.1",
    "commit": "",
    "config": {"widths": [16]},
}


def make_run(path, *, evaluated=True, **changes):
    names = {f"t{i}_s{seed}": (i, seed) for i in range(3) for seed in (0, 1)}
    made = {
        (name, site): drawn(D, threshold=0.2 + 0.4 * i, seed=seed)
        for site in ("blocks.0", "blocks.1", "blocks.1.inner")
        for name, (i, seed) in names.items()
    }
    suite = write_suite(
        path / "out" / "suite",
        made,
        targets={name: 4.0 - i for name, (i, _) in names.items()},
        seeds={name: seed for name, (_, seed) in names.items()},
    )
    write_json(path / "config.json", SAVED)
    if evaluated:
        folder = path / "out" / "evaluation"
        specimen = speaker(**changes)
        evaluate(suite, specimen, tokens=10**9, part_tokens=60, out=folder, quiet=True)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


def figures_of(page):
    return [figure for section in page.sections for figure in section.figures]


def test_the_page_of_an_evaluated_suite_has_every_section_and_names_no_address(run):
    text = write_report(run).read_text()
    for words in (
        "L0 against FVU: blocks.*",
        "At equal L0",
        "Delta loss by position",
        "By kind of data",
        "Baselines",
        "raters",
        "tenfold scope suite tiny",
        "How often latents fire",
    ):
        assert words in text, words
    light = write_report(run, light=True).read_text()
    assert "<script" not in light
    assert not re.findall(r"(?:src|href)=[\"']?https?:", light)


def test_plotly_accepts_every_figure_of_the_page(run):
    found = figures_of(suite_page(run, SAVED))
    assert len(found) > 8
    for figure in found:
        plotly.Figure(data=list(figure.data), layout=figure.layout)


def test_the_same_run_gives_the_same_page(run):
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_a_run_without_evaluation_has_a_page_that_says_so(tmp_path):
    make_run(tmp_path, evaluated=False)
    text = write_report(tmp_path).read_text()
    assert "has not been evaluated" in text
    assert "Delta loss by position" not in text


def test_a_model_without_a_loss_has_a_page_without_its_curves(tmp_path):
    make_run(tmp_path, loss=None)
    text = write_report(tmp_path).read_text()
    assert "Error by position" in text
    assert "Delta loss by position" not in text
    assert "the model has none" in text


def test_a_run_without_a_suite_is_refused(tmp_path):
    write_json(tmp_path / "config.json", SAVED | {"verb": "harvest"})
    with pytest.raises(TenfoldError, match="has no suite to report on"):
        write_report(tmp_path)
    write_json(tmp_path / "config.json", SAVED | {"verb": "claim"})
    with pytest.raises(TenfoldError, match="is unfinished"):
        write_report(tmp_path)


def test_tables_hold_the_numbers_of_the_evaluation(run):
    evaluation = open_evaluation(run)
    entries = evaluation.result["entries"]
    table = dictionary_table(entries)
    place = table.columns.index("delta loss")
    assert [row[place] for row in table.rows] == [e["delta_loss"] for e in entries.values()]
    matched = matched_table(evaluation, "fvu")
    assert {row[0] for row in matched.rows} == {"blocks.0", "blocks.1", "blocks.1.inner"}
    assert {row[-1] for row in matched.rows} == {"seeds"}
    for row in matched.rows:
        estimate, low, high = row[4:7]
        assert low <= estimate <= high


def test_sites_that_differ_in_their_numbers_share_a_figure():
    sites = ["h.0", "h.11", "h.0.mlp", "stem"]
    assert figures.groups_of_sites(sites) == {
        "h.*": ["h.0", "h.11"],
        "h.*.mlp": ["h.0.mlp"],
        "stem": ["stem"],
    }


def test_many_sites_are_spread_over_several_figures_in_order():
    entries = {
        f"{i}": {
            "site": f"h.{i}",
            "site_out": "",
            "kind": "jumprelu",
            "width": 8,
            "target_l0": 2.0,
            "seed": 0,
            "l0": 2.0,
            "fvu": 0.5,
        }
        for i in range(16)
    }
    found = figures.front_figures(entries, "fvu")
    assert [figure.title for figure in found] == [
        f"L0 against FVU: h.*, part {part} of 3" for part in (1, 2, 3)
    ]
    names = [trace["name"] for figure in found for trace in figure.data]
    assert names == [f"h.{i}" for i in range(16)]


def test_a_loss_that_falls_leaves_a_gap_on_a_logarithmic_axis_and_no_error(tmp_path):
    make_run(tmp_path)
    path = tmp_path / "out" / "evaluation" / "evaluation.json"
    result = read_json(path)
    for entry in result["entries"].values():
        entry["delta_loss"] = -entry["delta_loss"]
    write_json(path, result)
    for light in (True, False):
        write_report(tmp_path, light=light)
    for figure in figures_of(suite_page(tmp_path, SAVED)):
        plotly.Figure(data=list(figure.data), layout=figure.layout)
