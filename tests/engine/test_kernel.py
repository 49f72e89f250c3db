import importlib.metadata
import sys

import numpy as np
import pytest

from tenfold.engine import doctor, kernel


@pytest.fixture
def _without_numba(monkeypatch):
    kernel.find_obstacle.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    yield
    kernel.find_obstacle.cache_clear()


def total(values):
    found = 0.0
    for value in values:
        found += value
    return found


def test_a_compiled_loop_gives_what_the_plain_one_gives():
    compiled = kernel.jit(total)
    values = np.arange(10.0)
    assert compiled(values) == total(values) == 45
    assert compiled.py_func is total


def test_compiled_loops_keep_nan_and_divide_as_floats_do():
    def divide(values):
        for i in range(len(values)):
            values[i] = 1 / values[i]

    values = np.array([0.0, np.nan, 2.0])
    kernel.jit(divide)(values)
    assert values.tolist() == pytest.approx([np.inf, np.nan, 0.5], nan_ok=True)
    assert np.isnan(kernel.jit(total)(values))


@pytest.mark.usefixtures("_without_numba")
def test_without_numba_the_plain_function_is_left_and_the_remedy_told():
    assert kernel.jit(total) is total
    assert "pip install numba" in kernel.find_obstacle()


def test_the_report_of_the_machine_says_what_compiles(monkeypatch):
    assert f"kernels   numba {kernel.version()}" in doctor.format_report(doctor.examine())

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(kernel.importlib.metadata, "version", missing)
    assert kernel.version() == ""
    assert kernel.describe() == "numba missing: dense steps only"


def test_compiled_loops_are_kept_where_the_variable_says_or_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
    assert kernel.cache_folder() == tmp_path / "named"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    assert kernel.cache_folder() == tmp_path / "numba"


def test_a_folder_that_cannot_be_written_to_only_costs_time(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert not kernel._can_cache(tmp_path / "file" / "numba")


def test_a_change_in_any_module_with_loops_gives_another_folder(monkeypatch, tmp_path):
    def digest():
        kernel.sources_digest.cache_clear()
        return kernel.sources_digest()

    monkeypatch.setattr(kernel, "PACKAGE", tmp_path)
    loops, plain = tmp_path / "loops.py", tmp_path / "plain.py"
    loops.write_text("import x\n\n\n@jit\ndef f(): return 1\n", "utf-8")
    plain.write_text("def g(): return 1\n", "utf-8")
    first = digest()
    plain.write_text("def g(): return 2\n", "utf-8")
    assert digest() == first
    loops.write_text("import x\n\n\n@jit\ndef f(): return 2\n", "utf-8")
    assert digest() != first
    kernel.sources_digest.cache_clear()
