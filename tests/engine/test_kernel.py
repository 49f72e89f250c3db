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


def test_a_change_in_a_module_with_loops_is_seen_by_those_that_reach_it(monkeypatch, tmp_path):
    root = tmp_path / "tenfold"
    (root / "deep").mkdir(parents=True)
    texts = {
        "top.py": "from tenfold.deep.loops import (\n    f,\n)\n\n\n@jit\ndef t(): return f()\n",
        "deep/loops.py": "from tenfold.deep import inner\n\n\n@jit\ndef f(): return inner.g()\n",
        "deep/inner.py": "from tenfold.plain import C\n\n\n@jit\ndef g(): return 1\n",
        "plain.py": "C = 1\n",
        "other.py": "\n@jit\ndef o(): return 1\n",
    }
    monkeypatch.setattr(kernel, "PACKAGE", root)

    def digests(**changed):
        for name, text in (texts | changed).items():
            (root / name).write_text(text, "utf-8")
        kernel._sources.cache_clear()
        kernel.sources_digest.cache_clear()
        return {
            name: kernel.sources_digest(name)
            for name in ("tenfold.top", "tenfold.deep.inner", "tenfold.other", "mine")
        }

    def changed_by(**changed):
        now = digests(**changed)
        return {name for name, digest in now.items() if digest != before[name]}

    before = digests()
    assert len(set(before.values())) == 4
    inner = {"deep/inner.py": texts["deep/inner.py"].replace("1", "2")}
    # A module outside tenfold may call any loop.
    assert changed_by(**inner) == {"tenfold.top", "tenfold.deep.inner", "mine"}
    assert changed_by(**{"other.py": "\n@jit\ndef o(): return 2\n"}) == {"tenfold.other", "mine"}
    assert changed_by(**{"plain.py": "C = 2\n"}) == set()
    kernel._sources.cache_clear()
    kernel.sources_digest.cache_clear()


def test_loops_that_count_no_references_are_plain_functions_without_numba(monkeypatch):
    def loop(x):
        return x

    monkeypatch.setattr(kernel, "jit", lambda function: function)
    assert kernel.bare(loop) is loop
    assert kernel.within(loop) is loop
