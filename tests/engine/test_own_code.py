import dataclasses
import sys

import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.engine.own_code import load_function, load_functions, run_file


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file of a user's and gives its path."""

    def written(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_a_function_is_found_by_its_name(write):
    double = load_function(write("def double(x):\n    return 2 * x\n"), "double")
    assert double(21) == 42


def test_an_unknown_function_is_answered_with_those_that_the_file_has(write):
    path = write("limit = 3\ndef double(x):\n    return 2 * x\n")
    with pytest.raises(TenfoldError, match=r"function of mine\.py 'dubble'; did you mean double"):
        load_function(path, "dubble")
    with pytest.raises(TenfoldError, match="unknown function"):
        load_function(path, "limit")


def test_of_several_functions_those_are_given_that_the_file_has(write):
    found = load_functions(write("def b():\n    return 1\nc = 2\n"), ("a", "b", "c"))
    assert list(found) == ["b"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TenfoldError, match=r"none\.py does not exist; name a Python file"):
        run_file(tmp_path / "none.py")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(TenfoldError, match="does not exist"):
        run_file(tmp_path)


def test_a_file_that_python_does_not_know_is_refused(write):
    with pytest.raises(TenfoldError, match=r"its name must end in \.py"):
        run_file(write("x = 1\n", name="mine.txt"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0\n", "raised ZeroDivisionError: division by zero"),
        ("def broken(:\n", "raised SyntaxError"),
        ("import no_such_module_anywhere\n", "raised ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "raised SystemExit: 3"),
    ],
)
def test_a_file_that_raises_is_named_with_what_it_raised(write, text, told):
    with pytest.raises(TenfoldError, match=f"mine\\.py {told}"):
        run_file(write(text))


def test_a_fault_is_told_of_what_the_user_calls_the_file(write):
    with pytest.raises(TenfoldError, match=r"^mine\.py:f raised ZeroDivisionError"):
        load_function(write("1 / 0\n"), "f", called="mine.py:f")


def test_what_a_file_itself_says_to_the_user_is_passed_on(write):
    path = write(
        "from tenfold.engine.errors import TenfoldError\nraise TenfoldError('my own words')\n"
    )
    with pytest.raises(TenfoldError, match=r"^my own words$"):
        run_file(path)


def test_a_file_imports_its_neighbours_and_the_search_path_stays_as_it_was(write):
    write("value = 7\n", name="own_code_neighbour.py")
    before = list(sys.path)
    module = run_file(write("from own_code_neighbour import value\n"))
    assert module.value == 7
    assert sys.path == before


def test_the_search_path_stays_as_it_was_when_a_file_raises(write):
    before = list(sys.path)
    with pytest.raises(TenfoldError):
        run_file(write("1 / 0\n"))
    assert sys.path == before


def test_neighbours_of_a_file_may_be_imported_when_its_function_is_called(write):
    # Imports inside functions are common; the folder need not stay on the path for those done
    # while the file runs.
    write("value = 7\n", name="own_code_late.py")
    path = write("import own_code_late\ndef f():\n    import own_code_late\n"
                 "    return own_code_late.value\n")  # fmt: skip
    assert load_function(path, "f")() == 7


def test_dataclasses_of_a_file_find_their_own_module(write):
    module = run_file(
        write(
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass Pair:\n    one: int = 1\n    two: Pair | None = None\n"
        )
    )
    assert dataclasses.asdict(module.Pair()) == {"one": 1, "two": None}
    # Where workers look for it.
    assert sys.modules[module.Pair.__module__] is module


def test_a_file_is_run_anew_each_time(write):
    path = write("x = 1\n")
    assert run_file(path).x == 1
    # Longer, so that nobody takes the compiled file of a second ago for it.
    path.write_text("x = 1 + 1  # now two\n")
    assert run_file(path).x == 2
