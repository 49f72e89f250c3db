import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine import files
from tenfold.engine.errors import TenfoldError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip


@given(data=plain)
def test_json_comes_back_as_it_was_written(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("json") / "deep" / "data.json"
    files.write_json(path, data)
    assert files.read_json(path) == data


def test_floats_that_are_not_finite_become_null_at_any_depth(tmp_path):
    files.write_json(tmp_path / "x.json", {"a": (1.5, math.nan), "b": {"c": [-math.inf]}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1.5, None], "b": {"c": [None]}}


def test_keys_keep_their_order(tmp_path):
    files.write_json(tmp_path / "x.json", {"z": 1, "a": 2})
    assert list(files.read_json(tmp_path / "x.json")) == ["z", "a"]


def test_a_write_that_fails_leaves_the_old_bytes_and_no_rubbish(tmp_path):
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text(f"new {1 / 0}")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_seen_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_line_ends_are_written_as_given(tmp_path):
    files.write_text(tmp_path / "x.txt", "a\nb\r\nä")
    assert (tmp_path / "x.txt").read_bytes() == b"a\nb\r\n\xc3\xa4"


def test_broken_json_is_told_by_line_and_column(tmp_path):
    (tmp_path / "x.json").write_text('{\n "a": 1,\n "b" 2}')
    with pytest.raises(TenfoldError, match=r"x\.json is broken at line 3 column 6"):
        files.read_json(tmp_path / "x.json")


def test_json_that_is_no_text_is_told_by_byte(tmp_path):
    (tmp_path / "x.json").write_bytes(b'{"a\xff": 1}')
    with pytest.raises(TenfoldError, match="broken at byte 3"):
        files.read_json(tmp_path / "x.json")


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(TenfoldError, match=r"none\.json does not exist"):
        files.read_json(tmp_path / "none.json")


def test_sha256_agrees_with_the_published_value_for_abc(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256(tmp_path / "x") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_the_folder_of_runs_is_given_or_from_the_environment_or_here(monkeypatch):
    monkeypatch.setenv("TENFOLD_RUNS", "/elsewhere")
    assert files.runs_root("mine") == Path("mine")
    assert files.runs_root() == Path("/elsewhere")
    monkeypatch.delenv("TENFOLD_RUNS")
    assert files.runs_root() == Path("runs")


def test_the_cache_is_from_the_environment_or_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    assert files.cache_root() == tmp_path
    monkeypatch.delenv("TENFOLD_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_root() == tmp_path / ".cache" / "tenfold"
