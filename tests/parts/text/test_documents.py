import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.parts.text.documents import folder_documents, library_documents, split_source

MODULE = '''"""About the module.

More.
"""
import os


class Door:
    """A thing to open."""

    def open(self):
        """Open it."""
        return "no docstring"  # a comment


def one_line(): "Short."
'''


@pytest.fixture
def library(tmp_path):
    files = {
        "json/decoder.py": MODULE,
        "test/test_json.py": MODULE,
        "json/tests/test_x.py": MODULE,
        "encodings/cp1.py": MODULE,
        "site-packages/other.py": MODULE,
        "somebody_else.py": MODULE,
        "ast.py": "this is no Python",
        "abc.py": "# coding: latin-1\nname = 'caf\xe9'\n",
        "pydoc_data/topics.py": "topics = {'if': 'The if statement.', 'for': 'The for loop.'}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text, encoding="latin-1")
    return tmp_path


def test_docstrings_and_what_is_left_of_the_source_are_two_documents_of_one_group():
    prose, code = split_source("door.py", MODULE)
    assert (prose.kind, code.kind) == ("prose", "code")
    assert prose.group == code.group == "door.py"
    assert prose.text == "About the module.\n\nMore.\n\nA thing to open.\n\nOpen it.\n\nShort."
    assert 'return "no docstring"  # a comment' in code.text
    assert "About" not in code.text
    assert "Open it" not in code.text


def test_a_docstring_beside_other_code_stays_in_the_source():
    _, code = split_source("door.py", MODULE)
    assert 'def one_line(): "Short."' in code.text


def test_the_library_is_read_without_tests_encodings_and_other_packages(library):
    groups = {document.group for document in library_documents(library)}
    assert groups == {
        "json/decoder.py",
        "abc.py",
        "pydoc_data/topics.py#if",
        "pydoc_data/topics.py#for",
    }


def test_each_topic_of_the_language_reference_is_a_document(library):
    texts = {d.name: d.text for d in library_documents(library) if "topics" in d.name}
    assert texts["pydoc_data/topics.py#if"] == "The if statement."


def test_a_declared_encoding_is_followed(library):
    texts = {d.name: d.text for d in library_documents(library)}
    assert "café" in texts["abc.py"]


def test_names_and_texts_hold_no_path_of_this_machine(library):
    for document in library_documents(library):
        assert str(library) not in document.name + document.group + document.text


def test_reading_twice_gives_the_same(library):
    assert list(library_documents(library)) == list(library_documents(library))


def test_a_folder_gives_its_text_files_with_their_kind(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "notes.MD").write_text("prose")
    (tmp_path / "tool.c").write_text("code")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / ".hidden").write_text("secret")
    found = {d.name: (d.kind, d.text) for d in folder_documents(tmp_path)}
    assert found == {"deep/notes.MD": ("prose", "prose"), "tool.c": ("code", "code")}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(TenfoldError, match="nowhere' is not a folder"):
        list(folder_documents(tmp_path / "nowhere"))
