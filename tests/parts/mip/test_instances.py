import gzip
import shutil

import pytest

from parts.mip.examples import knapsack, random_mip
from tenfold.engine.errors import TenfoldError

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")

from tenfold.parts.mip import highs, instances, scip

BROKEN = "Minimize\n obj: x +\nSubject To\n c: x y >= z 1 2\nBounds\n x <= q\nEnd\n"


def zip_file(path):
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.fixture
def filled(tmp_path):
    """Return a folder with two instances in several files, and other things."""
    scip.write(knapsack(), tmp_path / "b.mps")
    scip.write(knapsack(), tmp_path / "c.lp")
    zip_file(tmp_path / "c.lp")
    (tmp_path / "a").mkdir()
    scip.write(random_mip(1), tmp_path / "a" / "r.cip")
    shutil.copy(tmp_path / "b.mps", tmp_path / "z.MPS")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "best.sol").write_text("x")
    (tmp_path / ".hidden.mps").write_text("x")
    (tmp_path / "d.mps").mkdir()
    return tmp_path


def test_files_of_instances_are_found_by_their_endings_in_the_order_of_their_paths(filled):
    names = [str(file.relative_to(filled)) for file in instances.files_in(filled)]
    assert names == ["a/r.cip", "b.mps", "c.lp.gz", "z.MPS"]


def test_copies_are_told_with_the_file_that_stays(filled):
    told = instances.folder(filled)
    assert [file.name for file in told.files] == ["r.cip", "b.mps"]
    assert told.copies == {filled / "c.lp.gz": filled / "b.mps", filled / "z.MPS": filled / "b.mps"}
    assert not told.faults
    assert told.counts[filled / "b.mps"]["integer"] == 3
    assert told.counts[filled / "a" / "r.cip"] == random_mip(1).counts()


def test_files_that_cannot_be_read_are_told_and_left_out(filled):
    (filled / "broken.lp").write_text(BROKEN)
    told = instances.folder(filled)
    assert [file.name for file in told.files] == ["r.cip", "b.mps"]
    assert "cannot be read as .lp" in told.faults[filled / "broken.lp"]


def test_what_scip_cannot_read_highs_may(tmp_path, monkeypatch):
    scip.write(knapsack(), tmp_path / "k.mps")

    def refuse(path):
        raise TenfoldError(f"{path} cannot be read")

    monkeypatch.setattr(scip, "read", refuse)
    assert instances.read(tmp_path / "k.mps").digest() == highs.read(tmp_path / "k.mps").digest()
    with pytest.raises(TenfoldError, match="cannot be read"):
        instances.read(tmp_path / "k.cip")
    (tmp_path / "bad.lp").write_text(BROKEN)
    with pytest.raises(TenfoldError, match=r"bad.lp cannot be read$"):
        instances.read(tmp_path / "bad.lp")


def test_folders_without_an_instance_are_told(tmp_path):
    with pytest.raises(TenfoldError, match="is no folder; check the path"):
        instances.folder(tmp_path / "none")
    with pytest.raises(TenfoldError, match=r"holds no instance; put files ending in \.mps, \.lp"):
        instances.folder(tmp_path)
    (tmp_path / "bad.lp").write_text(BROKEN)
    with pytest.raises(TenfoldError, match=r"none of the 1 instances in .*can be read; bad\.lp: "):
        instances.folder(tmp_path)
