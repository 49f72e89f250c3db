import json

import pytest

from tenfold.engine.errors import TenfoldError, nearest_names, require, unknown_name


def test_near_names_come_best_first_and_far_ones_not_at_all():
    assert nearest_names("trian", ["strain", "train", "zebra"]) == ["train", "strain"]
    assert nearest_names("xyz", ["train"]) == []


def test_an_unknown_name_is_told_with_the_nearest_and_the_known():
    error = unknown_name("verb of toy", "trian", ["report", "train"])
    assert isinstance(error, TenfoldError)
    assert str(error) == ("unknown verb of toy 'trian'; did you mean train? known: report, train")


def test_an_unknown_name_without_a_likeness_gets_no_guess():
    assert str(unknown_name("run", "q", ["abc"])) == "unknown run 'q'; known: abc"
    assert str(unknown_name("run", "q", [])) == "unknown run 'q'; known: none"


def test_a_long_list_of_known_names_is_cut():
    text = str(unknown_name("site", "none", [f"s{i:03d}" for i in range(45)]))
    assert text.endswith("s039 and 5 more")
    assert "s040" not in text


def test_a_module_that_is_installed_is_returned():
    assert require("json", extra="x", purpose="a test") is json


def test_a_missing_module_is_told_with_the_extra_that_brings_it():
    with pytest.raises(TenfoldError, match=r"drawing needs .*'no_such_one'.*tenfold\[draw\]"):
        require("no_such_one.part", extra="draw", purpose="drawing")


def test_a_fault_inside_an_optional_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("half_there", extra="x", purpose="a test")
