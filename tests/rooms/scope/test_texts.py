import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.parts.text.corpus import load_corpus
from tenfold.rooms.scope import texts
from tenfold.rooms.scope.texts import Packing, Text, load_windows, pack, read_texts, split_texts

PAD, BEGIN = 0, 1


def packing(context=5, *, begin=(BEGIN,), between=None, side="right"):
    between = begin if between is None else between
    return Packing(context=context, begin=begin, between=between, pad=PAD, side=side)


def rows(documents, chosen):
    return list(pack([np.array(d, np.int32) for d in documents], chosen))


def letters(documents):
    return [[ord(letter) for letter in text] for text in documents]


def test_windows_begin_as_texts_do_and_go_on_where_the_last_one_ended():
    first, second = rows([[10, 11, 12, 13, 14, 15], [20]], packing(5))
    assert first[0].tolist() == [BEGIN, 10, 11, 12, 13]
    assert second[0].tolist() == [BEGIN, 14, 15, BEGIN, 20]
    assert second[1].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("side", "wanted"), [("right", [BEGIN, 10, PAD, PAD]), ("left", [PAD, PAD, BEGIN, 10])]
)
def test_the_last_window_is_padded_on_the_side_that_was_said(side, wanted):
    ((tokens, owners),) = rows([[10]], packing(4, side=side))
    assert tokens.tolist() == wanted
    assert (owners == texts.PADDING).tolist() == [token == PAD for token in wanted]


def test_a_tokenizer_without_a_beginning_separates_by_its_end():
    (window,) = rows([[10, 11], [20]], packing(4, begin=(), between=(2,)))
    assert window[0].tolist() == [10, 11, 2, 20]


@given(
    documents=st.lists(st.lists(st.integers(5, 99), max_size=12), max_size=6),
    context=st.integers(2, 7),
    begins=st.booleans(),
    side=st.sampled_from(["left", "right"]),
)
@settings(max_examples=60)
def test_no_token_of_the_text_is_lost_or_moved(documents, context, begins, side):
    begin = (BEGIN,) if begins else ()
    chosen = packing(context, begin=begin, between=begin or (2,), side=side)
    windows = rows(documents, chosen)
    found = [(int(t), int(o)) for w in windows for t, o in w.T if t >= 5]
    assert found == [(t, number) for number, d in enumerate(documents) for t in d]
    assert all(window.shape == (2, context) for window in windows)
    assert all((window[1] >= 0).all() for window in windows[:-1])


def test_a_window_that_holds_no_text_is_refused():
    with pytest.raises(TenfoldError, match="windows of 1 tokens hold no text"):
        packing(1)


def test_splits_are_decided_by_what_documents_say():
    documents = [Text(text=f"document {i}") for i in range(400)]
    splits = split_texts(documents)
    assert 20 <= len(splits["held_out"]) <= 60
    again = split_texts([*documents[::-1], Text(text="one more")])
    assert {t.text for t in again["held_out"]} - {"one more"} == {
        t.text for t in splits["held_out"]
    }


def test_equal_documents_fall_on_one_side():
    documents = [Text(text=f"document {i % 7}", kind=str(i)) for i in range(70)]
    splits = split_texts(documents)
    assert {t.text for t in splits["train"]}.isdisjoint(t.text for t in splits["held_out"])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_documents_still_give_two_splits(count):
    for seed in range(20):
        splits = split_texts([Text(text=f"{seed} {i}") for i in range(count)])
        assert splits["train"]
        assert splits["held_out"]


def test_a_single_document_is_refused():
    with pytest.raises(TenfoldError, match="all 3 documents say the same"):
        split_texts([Text(text="again")] * 3)


def test_long_text_files_are_cut_at_ends_of_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "LONGEST", 50)
    whole = "\n".join(f"line number {i}" for i in range(40))
    (tmp_path / "book.txt").write_text(whole)
    pieces = [text.text for text in read_texts(str(tmp_path / "book.txt"))]
    assert "".join(pieces) == whole
    assert len(pieces) > 5
    assert all(piece.endswith("\n") for piece in pieces[:-1])


def test_folders_and_fields_name_the_kinds(tmp_path):
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "a.txt").write_text("dear all")
    (tmp_path / "top.txt").write_text("top")
    (tmp_path / "left_out.csv").write_text("1,2")
    (tmp_path / ".hidden.txt").write_text("hidden")
    lines = [{"body": "one", "kind": "web"}, {"body": "two"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    found = {(t.text, t.kind) for t in read_texts(str(tmp_path), field="body")}
    assert found == {("dear all", "mails"), ("top", ""), ("one", "web"), ("two", "")}
    assert texts.describe_kinds(("", "mails")) == ("other", "mails")
    assert texts.describe_kinds(("",)) == ()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', r"a.jsonl, line 2, is no JSON"),
        ("a.jsonl", b'{"body": "x"}\n', r"no text under 'text' but \['body'\]"),
        ("a.jsonl", b"[1]\n", r"no text under 'text' but list"),
        ("a.txt", b"abc\xff", r"a.txt is not UTF-8 at byte 3"),
        ("a.txt", b"  \n", r"holds no text; give files of .txt"),
    ],
)
def test_broken_texts_are_refused(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TenfoldError, match=message):
        read_texts(str(tmp_path))


def test_a_text_that_is_not_there_is_refused():
    with pytest.raises(TenfoldError, match="does not exist"):
        read_texts("no-such-folder")


def test_parquet_without_its_package_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(TenfoldError, match=r"tenfold\[parquet\]"):
        read_texts(str(tmp_path))


def test_rows_of_parquet_are_documents(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": ["one", "two"], "kind": ["a", "b"], "other": [1, 2]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [(t.text, t.kind) for t in read_texts(str(tmp_path))] == [("one", "a"), ("two", "b")]
    with pytest.raises(TenfoldError, match=r"no column 'body' but \['text', 'kind', 'other'\]"):
        read_texts(str(tmp_path), field="body")


def test_no_text_is_the_corpus_that_models_are_trained_on_here(small_text, monkeypatch):
    monkeypatch.setattr(texts, "load_corpus", lambda: load_corpus(str(small_text)))
    found = {text.text: text.kind for text in read_texts("")}
    said = {path.read_text(): path.suffix for path in small_text.iterdir()}
    assert found == {text: "code" if said[text] == ".py" else "prose" for text in found}
    assert len(found) > len(said) // 2


def test_windows_are_made_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    documents = [Text(text="abcdefgh" * 3 + str(i), kind=str(i % 2)) for i in range(12)]
    made = load_windows(documents, packing(6), letters, tokenizer_digest="letters")

    def never(_texts):
        raise AssertionError("the windows are in the cache")

    again = load_windows(documents, packing(6), never, tokenizer_digest="letters")
    assert made.digest == again.digest
    store = again.splits["train"]
    document, kind = (store.read(name, 0, store.num_rows) for name in ("document", "kind"))
    kinds = [t.kind for t in split_texts(documents)["train"]]
    assert all(
        made.kinds[int(k)] == kinds[int(d)]
        for d, k in zip(document.flatten(), kind.flatten(), strict=True)
        if d >= 0
    )
    assert not list(tmp_path.rglob(".tmp-*"))
    other = load_windows(documents, packing(7), letters, tokenizer_digest="letters")
    assert other.digest != made.digest
