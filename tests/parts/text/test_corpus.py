import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.parts.text import corpus as corpora
from tenfold.parts.text.corpus import build_splits, describe, held_out_groups, load_corpus
from tenfold.parts.text.documents import Document

WORDS = np.array([f"word{number}" for number in range(300)])


def write(seed, count=1_500):
    return " ".join(np.random.default_rng(seed).choice(WORDS, size=count))


def make_documents(count=40):
    return [
        Document(name=f"{i}#{kind}", group=f"{i}", kind=kind, text=write(2 * i + (kind == "code")))
        for i in range(count)
        for kind in ("code", "prose")
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "text"
    root.mkdir()
    for i in range(40):
        (root / f"{i}.txt").write_text(write(i))
    return root


def test_documents_of_one_group_lie_in_one_split():
    splits = build_splits(make_documents(), origin="here")
    groups = {
        split: {name.split("#")[0] for name in packed.names} for split, packed in splits.items()
    }
    assert groups["train"].isdisjoint(groups["held_out"])
    assert len(splits["train"].names) + len(splits["held_out"].names) == 80


def test_about_a_tenth_of_the_text_is_held_out():
    splits = build_splits(make_documents(), origin="here")
    held_out, train = (len(splits[split].tokens) for split in ("held_out", "train"))
    assert 0.06 < held_out / (held_out + train) <= 0.1


def test_a_group_larger_than_the_whole_share_is_never_held_out():
    documents = make_documents(12)
    giant = Document(name="giant", group="giant", kind="prose", text="x" * 10_000_000)
    assert "giant" not in held_out_groups([*documents, giant])


def test_another_document_moves_no_other_group_between_splits_but_at_the_edge():
    before = held_out_groups(make_documents(60))
    after = held_out_groups(make_documents(61))
    assert len(before - after) <= 1


def test_no_passage_of_a_held_out_copy_is_learned():
    documents = make_documents()
    copies = [
        Document(name=f"copy{i}", group=f"copy{i}", kind="prose", text=d.text + " end")
        for i, d in enumerate(documents)
    ]
    splits = build_splits(documents + copies, origin="here")
    assert len(splits["train"].names) + len(splits["held_out"].names) == 80


def test_short_documents_are_dropped():
    short = Document(name="short", group="short", kind="prose", text="word " * 10)
    splits = build_splits([*make_documents(), short], origin="here")
    assert all("short" not in packed.names for packed in splits.values())


def test_too_little_text_is_refused_with_its_origin_and_size():
    with pytest.raises(TenfoldError, match=r"my/text: 0 bytes in 0 documents .* at least 20000"):
        build_splits([], origin="my/text")


def test_a_second_load_reads_the_cache_and_gives_the_same(folder, monkeypatch):
    first = load_corpus(str(folder))
    monkeypatch.setattr(corpora, "build_splits", None)
    second = load_corpus(str(folder))
    assert describe(second) == describe(first)
    for split in ("train", "held_out"):
        assert np.array_equal(second.splits[split].tokens, first.splits[split].tokens)
        assert second.splits[split].names == first.splits[split].names


def test_the_digest_follows_the_text_and_not_its_place(folder, tmp_path):
    first = load_corpus(str(folder)).digest
    folder.rename(tmp_path / "moved")
    assert load_corpus(str(tmp_path / "moved")).digest == first
    (tmp_path / "moved" / "0.txt").write_text(write(99))
    assert load_corpus(str(tmp_path / "moved")).digest != first


def test_the_cached_file_holds_no_path_of_this_machine(folder, tmp_path):
    load_corpus(str(folder))
    (file,) = (tmp_path / "cache" / "corpora").iterdir()
    assert str(tmp_path).encode() not in file.read_bytes()


def test_the_standard_library_is_the_text_if_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    monkeypatch.setattr(corpora, "library_documents", make_documents)
    assert describe(load_corpus())["train_code_documents"] > 30
    assert load_corpus().digest == load_corpus().digest
