"""Files whose solving does not end with a proved best point, and files that are none."""

import gzip

import pytest

from tenfold.engine.errors import TenfoldError

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")

from tenfold.parts.mip import highs, scip
from tenfold.parts.mip.lp_state import from_relaxed

TEXTS = {
    "infeasible": "Minimize\n obj: x + y\nSubject To\n a: x + y <= 1\n b: 2 x + 3 y >= 7\n"
    "General\n x y\nEnd\n",
    "unbounded": "Maximize\n obj: x + y\nSubject To\n a: x - y <= 1\nGeneral\n x y\nEnd\n",
    "pure LP": "Maximize\n obj: x + y\nSubject To\n a: x + 2 y <= 4\n b: 3 x + y <= 6\nEnd\n",
}


@pytest.mark.parametrize("solver", [scip, highs], ids=["scip", "highs"])
@pytest.mark.parametrize(
    ("name", "ends", "relaxes"),
    [
        ("infeasible", {"infeasible"}, "infeasible"),
        ("unbounded", {"unbounded", "unclear"}, "unbounded"),
        ("pure LP", {"optimal"}, "optimal"),
    ],
)
def test_how_a_file_ends_is_told(solver, name, ends, relaxes, tmp_path):
    file = tmp_path / "m.lp"
    file.write_text(TEXTS[name])
    mip = solver.read(file)
    solved, relaxed = solver.solve(mip), solver.relax(mip)
    assert solved.status in ends
    assert relaxed.status == relaxes
    if name == "pure LP":
        assert not mip.whole.any()
        # The corner where both rows are tight: x = 1.6, y = 1.2.
        assert solved.objective == pytest.approx(2.8)
        assert relaxed.objective == pytest.approx(2.8)
    else:
        with pytest.raises(TenfoldError, match=f"the LP relaxation of m is {relaxes}; nothing to"):
            from_relaxed(mip, relaxed)


QUADRATIC = "Minimize\n obj: x\nSubject To\n q: [ x^2 + y^2 ] <= 4\nEnd\n"


def test_what_is_not_linear_is_refused_by_both(tmp_path):
    file = tmp_path / "m.lp"
    file.write_text(QUADRATIC)
    with pytest.raises(TenfoldError, match="constraint 'q' is of kind 'nonlinear'; only linear"):
        scip.read(file)
    with pytest.raises(TenfoldError, match=r"HiGHS cannot read .* as \.lp; SCIP may, or mend"):
        highs.read(file)


MPS = (
    "NAME m\nROWS\n N obj\n L c\nCOLUMNS\n x obj 1 c 1\nRHS\n RHS c 4\n"
    "BOUNDS\n UP BND x 3\nENDATA\n"
)


@pytest.mark.parametrize("solver", [scip, highs], ids=["scip", "highs"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.mps", MPS[:60].encode()),
        ("noise.mps", bytes(range(256)) * 8),
        ("noise.lp", bytes(range(128, 256)) * 8),
        ("page.lp", b"<html>not found</html>"),
        ("empty.lp", b""),
        ("noise.mps.gz", b"\x1f\x8b" + bytes(range(256))),
        ("cut.mps.gz", gzip.compress(MPS.encode() * 1000, mtime=0)[:60]),
    ],
    # Named, as pytest would put the bytes into the name.
    ids=["cut.mps", "noise.mps", "noise.lp", "page.lp", "empty.lp", "noise.mps.gz", "cut.mps.gz"],
)
def test_corrupt_files_are_refused_with_their_name(solver, name, content, tmp_path):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(TenfoldError, match=name.replace(".", r"\.")):
        solver.read(file)


@pytest.mark.parametrize("solver", [scip, highs], ids=["scip", "highs"])
def test_the_whole_file_reads(solver, tmp_path):
    """What the cut ones above are cut from."""
    for name, content in (("m.mps", MPS.encode()), ("m.mps.gz", gzip.compress(MPS.encode()))):
        (tmp_path / name).write_bytes(content)
        assert solver.read(tmp_path / name).upper.tolist() == [3.0]
