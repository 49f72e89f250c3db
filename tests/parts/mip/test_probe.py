import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip import highs, probe, scip_library, scip_models
from tenfold.registry import PROBES

pytest.importorskip("pyscipopt")
pytest.importorskip("highspy")


def refuse():
    raise TenfoldError("it is missing; install it")


def test_versions_and_the_way_of_reading_are_told(monkeypatch):
    assert PROBES["solvers"] == probe.__name__
    scip, other = probe.describe()
    assert scip == f"{scip_models.version()}, read at its pointers"
    assert other == highs.version()
    monkeypatch.setattr(scip_library, "find_obstacle", lambda: "numba is missing")
    slow = probe.describe()[0]
    assert slow == f"{scip_models.version()}, read slowly, through objects: numba is missing"


def test_a_missing_solver_is_told_with_its_remedy(monkeypatch):
    monkeypatch.setattr(highs, "version", refuse)
    assert probe.describe()[1] == "it is missing; install it"
    monkeypatch.setattr(scip_models, "version", refuse)
    assert probe.describe() == ["it is missing; install it"]


def test_a_library_that_cannot_be_loaded_is_told_without_its_folder(monkeypatch, tmp_path):
    empty = tmp_path / "libscip-broken.so"
    empty.write_bytes(b"no library")
    monkeypatch.setattr(scip_library, "find_library", lambda: empty)
    told = scip_library.find_obstacle.__wrapped__()
    assert told.startswith("libscip-broken.so cannot be loaded (")
    assert str(tmp_path) not in told
