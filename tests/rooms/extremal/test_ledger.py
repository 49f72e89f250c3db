"""The file of lines that several processes append to: what is read, what is told, what is kept."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal import ledger
from tenfold.rooms.extremal.ledger import Ledger

VALUES = st.one_of(
    st.integers(), st.text(max_size=9), st.none(), st.floats(allow_nan=False, allow_infinity=False)
)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "lines").touch()
    return tmp_path / "lines"


def write(path, *records):
    book = Ledger(path)
    for record in records:
        with book.writing():
            book.append(record)
    return book


def records(lines):
    return [line.record for line in lines]


def test_what_is_appended_is_read_with_its_number_and_its_end(path):
    write(path, {"a": 1}, {"b": "zwei\n"})
    one, other = Ledger(path).read()
    assert (one.number, one.record) == (1, {"a": 1})
    assert (other.number, other.record) == (2, {"b": "zwei\n"})
    assert path.read_bytes()[: one.end].count(b"\n") == 1
    assert other.end == path.stat().st_size


@given(st.dictionaries(st.text(max_size=9), VALUES, min_size=1))
def test_any_record_comes_back(record):
    assert ledger._parse(ledger._spell(record)) == record


def test_a_line_is_read_once(path):
    write(path, {"a": 1})
    reader = Ledger(path)
    assert len(reader.read()) == 1
    assert reader.read() == []
    write(path, {"a": 2})
    assert records(reader.read()) == [{"a": 2}]


def test_a_writer_is_given_what_others_wrote_and_then_its_own_line(path):
    book = write(path, {"a": 1})
    write(path, {"a": 2})
    with book.writing() as lines:
        assert records(lines) == [{"a": 2}]
        assert records(book.append({"a": 3})) == [{"a": 3}]
    assert book.read() == []


def test_reading_stops_at_a_byte(path):
    write(path, {"a": 1}, {"a": 2})
    first = Ledger(path).read()[0]
    reader = Ledger(path)
    assert records(reader.read(until=first.end)) == [{"a": 1}]
    assert reader.offset == first.end
    assert records(reader.read()) == [{"a": 2}]


@pytest.mark.parametrize("beside", [-1, 1, 1000])
def test_a_byte_where_no_line_ends_is_refused(path, beside):
    write(path, {"a": 1})
    byte = path.stat().st_size + beside
    with pytest.raises(TenfoldError, match=f"no line that ends at byte {byte}, .* start anew"):
        Ledger(path).read(until=byte)


def test_a_broken_line_is_told_once_and_the_others_are_kept(path):
    write(path, {"a": 1}, {"a": 2}, {"a": 3})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"2", b"7", 1) + lines[2])
    reader = Ledger(path)
    assert records(reader.read()) == [{"a": 1}, {"a": 3}]
    told = f"{path} line 2 is cut off or changed since it was written; the other lines are kept"
    assert reader.problems == [told]
    assert reader.read() == []
    assert reader.problems == [told]


def test_a_line_without_a_checksum_is_told_and_empty_lines_are_not(path):
    path.write_bytes(b"\n\r\n{}\n")
    reader = Ledger(path)
    assert reader.read() == []
    assert reader.problems == [
        f"{path} line 3 is cut off or none of an archive; the other lines are kept"
    ]


def test_a_cut_end_is_told_once_and_the_next_line_begins_anew(path):
    write(path, {"a": 1}, {"a": 2})
    path.write_bytes(path.read_bytes()[:-5])
    book = Ledger(path)
    assert records(book.read()) == [{"a": 1}]
    with book.writing() as lines:
        assert lines == []
        assert records(book.append({"a": 3})) == [{"a": 3}]
    assert len(book.problems) == 1
    assert "line 2 is cut off at its end" in book.problems[0]
    again = Ledger(path)
    assert [line.number for line in again.read()] == [1, 3]


def test_an_end_that_is_completed_later_is_read_then(path):
    write(path, {"a": 1}, {"a": 2})
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    reader = Ledger(path)
    assert records(reader.read()) == [{"a": 1}]
    path.write_bytes(whole)
    assert records(reader.read()) == [{"a": 2}]


def test_a_record_that_is_no_json_is_not_written(path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(path, {"a": float("nan")})
    assert path.read_bytes() == b""


def test_appending_needs_the_lock(path):
    with pytest.raises(AssertionError, match="outside of writing"):
        Ledger(path).append({"a": 1})


def test_a_file_that_is_missing_is_told(tmp_path):
    with pytest.raises(TenfoldError, match=r"absent cannot be read \(No such file"):
        Ledger(tmp_path / "absent").read()


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(TenfoldError, match=r"cannot be written .*; check the disk"):
        write(tmp_path, {"a": 1})  # a folder


def test_a_disk_without_locks_is_told(path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(ledger, "_lock", refuse)
    with pytest.raises(TenfoldError, match=r"cannot be locked \(No locks available\), .* merge"):
        write(path, {"a": 1})


def test_a_line_is_on_the_disk_before_the_lock_is_free(path, monkeypatch):
    steps = []
    unlock = ledger._unlock
    monkeypatch.setattr(os, "fsync", lambda _: steps.append("disk"))
    monkeypatch.setattr(ledger, "_unlock", lambda handle: (steps.append("free"), unlock(handle)))
    write(path, {"a": 1})
    assert steps == ["disk", "free"]
