"""The verbs of the room through the command line, on facilities of 35 columns."""

import gzip
import json

import numpy as np
import pytest

from rooms.diving.examples import infeasible, linear
from tenfold.cli import main
from tenfold.parts.mip import highs, instances, points
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.families import FAMILIES
from tenfold.rooms.diving.dive.network import load_network
from tenfold.rooms.diving.dive.store import keys_of, read_labelled

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")

SIZE = ("--numbers", "customers=6", "facilities=5")
COUNTED = ("--dive.nodes", "20", "--dive.seconds", "inf")
NAME = "facility_location-small-customers6-facilities5"
OWN_HOOKS = """
import pathlib
pathlib.Path(__file__).with_suffix(".ran").touch()

def features(mip):
    places = [j for j, whole in enumerate(mip.whole) if whole]
    return places, [[mip.cost[j], 1.0] for j in places]
"""


def call(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Return a folder with instances, the labels of six of them, and a network."""
    here = tmp_path_factory.mktemp("diving")
    gen = ("diving", "gen", "facility_location", *SIZE, "--quiet")
    assert call(*gen, "--out", here / "fam", "--count", 6) == 0
    assert call(*gen, "--out", here / "new", "--count", 2, "--seed", 100) == 0
    assert call("diving", "collect", "dive", here / "fam", *COUNTED, "--path", here / "labels",
                "--quiet") == 0  # fmt: skip
    assert call("diving", "train", "tiny", "dive", here / "labels", "--path", here / "net",
                "--quiet") == 0  # fmt: skip
    return here


@pytest.fixture
def done(command):
    """Return a function that runs `diving WORDS --json` and gives what stdout says."""

    def run(*words):
        code, out, err = command("diving", *words, "--json", "--quiet")
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture
def refused(command):
    """Return a function that runs `diving WORDS` and gives the sentence of its refusal."""

    def run(*words):
        code, out, err = command("diving", *words, "--quiet")
        assert (code, out) == (2, "")
        assert err.startswith("tenfold: ")
        assert "Traceback" not in err
        return err

    return run


# Instances


def test_gen_writes_the_instances_that_the_family_makes_and_keeps_those_that_are_there(
    done, tmp_path
):
    told = done("gen", "facility_location", *SIZE, "--out", tmp_path, "--count", 2)
    assert told["instances"] == 2
    first = tmp_path / told["first"]
    assert first.name == f"{NAME}-0.mps.gz"
    made = FAMILIES["facility_location"].make(0, customers=6, facilities=5)
    assert instances.read(first).digest() == made.digest()
    first.write_bytes(b"mine")
    done("gen", "facility_location", *SIZE, "--out", tmp_path, "--count", 3)
    assert first.read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_gen_takes_a_function_of_one_s_own(done, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from tenfold.parts.mip.generate.graphs import set_cover\n"
        "def make(seed, rows=10):\n"
        "    return set_cover(rows=rows, columns=20, density=0.2, seed=seed)\n"
    )
    told = done("gen", f"{tmp_path}/mine.py:make", "--numbers", "rows=12", "--out",
                tmp_path / "out", "--count", 2, "--format", "lp")  # fmt: skip
    assert instances.read(tmp_path / "out" / told["first"]).shape == (12, 20)


def test_info_tells_sizes_before_and_after_presolve_copies_and_faults(done, here, tmp_path):
    source = here / "new" / f"{NAME}-100.mps.gz"
    (tmp_path / "a.mps.gz").write_bytes(source.read_bytes())
    (tmp_path / "b.mps").write_bytes(gzip.decompress(source.read_bytes()))
    (tmp_path / "c.mps").write_text("no instance\n")
    told = done("info", tmp_path)
    assert told["count"] == 1
    assert told["instances"]["a.mps.gz"]["binary"] == 5
    assert "rows" in told["instances"]["a.mps.gz"]["after_presolve"]
    assert list(told["copies"]) == [str(tmp_path / "b.mps")]
    assert list(told["unreadable"]) == [str(tmp_path / "c.mps")]


def test_info_says_of_an_lp_that_it_is_one(done, tmp_path):
    instances.write(linear(), tmp_path / "lp.mps")
    (told,) = done("info", tmp_path / "lp.mps").values()
    assert told["note"] == "no column is whole: this is an LP"


# Labels and networks


def test_collect_labels_every_instance_with_points_that_fit(here):
    store = here / "labels" / "out" / "store"
    assert len(keys_of(store)) == 6
    for key in keys_of(store):
        entry = read_labelled(store, key)
        assert entry.relaxed is not None
        assert all(check_point(entry.mip, x).feasible for x in entry.pool.x)
        assert "SCIP" in entry.pool.source["solver"]


def test_labels_with_a_counted_budget_are_made_again_exactly(done, here, tmp_path):
    done("collect", "dive", here / "fam", *COUNTED, "--path", tmp_path / "again", "--first", 2)
    stores = [run / "out" / "store" for run in (here / "labels", tmp_path / "again")]
    for key in keys_of(stores[1]):
        one, two = (read_labelled(store, key).pool for store in stores)
        assert np.array_equal(one.x, two.x)
        assert np.array_equal(one.objectives, two.objectives)


def test_training_twice_gives_the_same_file(done, here, tmp_path):
    done("train", "tiny", "dive", here / "labels", "--path", tmp_path / "again")
    files = [run / "out" / "dive.safetensors" for run in (here / "net", tmp_path / "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_network_that_is_exported_and_imported_is_the_same(done, here, tmp_path):
    out = tmp_path / "net.safetensors"
    told = done("export", here / "net", out)
    assert told["kind"] == "dive"
    assert told["bytes"] == out.stat().st_size
    assert load_network(out).report["instances"] == 6
    done("import", out, "--path", tmp_path / "mine")
    made = tmp_path / "mine" / "out" / "dive.safetensors"
    assert made.read_bytes() == out.read_bytes()


def test_export_replaces_a_file_only_if_it_is_told_to(done, refused, here, tmp_path):
    out = tmp_path / "net.safetensors"
    out.write_bytes(b"mine")
    assert "exists; give --overwrite" in refused("export", here / "net", out)
    assert out.read_bytes() == b"mine"
    done("export", here / "net", out, "--overwrite")
    load_network(out)


# Solving


def test_solve_ends_at_the_optimum_with_a_solution_that_highs_takes_as_feasible(
    done, here, tmp_path
):
    file = here / "new" / f"{NAME}-100.mps.gz"
    told = done("solve", file, "--model", here / "net", "--time", 30, "--sol", tmp_path / "a.sol",
                "--log", tmp_path / "a.jsonl", "--path", tmp_path / "run")  # fmt: skip
    mip = instances.read(file)
    assert told["status"] == "optimal"
    assert told["objective"] == pytest.approx(highs.solve(mip).objective, rel=2e-4)
    assert "fits at tolerance" in told["certificate"]
    x = points.read_point(mip, tmp_path / "a.sol")
    assert check_point(mip, x).objective == pytest.approx(told["objective"])
    assert check_point(mip, x).feasible
    model = highs.build(mip)
    assert model.readSolution(str(tmp_path / "a.sol"), 0).name == "kOk"
    assert np.allclose(np.array(model.getSolution().col_value), x)
    trace = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert trace[-1]["primal"] == pytest.approx(told["objective"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert file.name in page


def test_a_run_is_found_by_its_name(done, here, tmp_path):
    net = here / "named" / "diving" / "2026-first"
    done("import", here / "net" / "out" / "dive.safetensors", "--path", net)
    told = done("solve", here / "new" / f"{NAME}-101.mps.gz", "--model", "2026-first",
                "--runs", here / "named", "--path", tmp_path / "run")  # fmt: skip
    assert told["status"] == "optimal"


def test_a_solve_may_begin_with_the_solution_of_another(done, here, tmp_path):
    file, sol = here / "new" / f"{NAME}-101.mps.gz", tmp_path / "a.sol"
    first = done("solve", file, "--sol", sol, "--path", tmp_path / "one")
    told = done("solve", file, "--start", sol, "--with", "dive", "--model", here / "net",
                "--nodes", 1, "--path", tmp_path / "two")  # fmt: skip
    assert told["objective"] == pytest.approx(first["objective"])
    answer = json.loads((tmp_path / "two" / "out" / "answer.json").read_text())
    seconds, primal, _ = answer["trace"][0]
    assert primal == pytest.approx(first["objective"])
    assert seconds <= told["seconds"]


def test_an_infeasible_file_is_told_to_be_so(done, tmp_path):
    instances.write(infeasible(), tmp_path / "i.lp")
    told = done("solve", tmp_path / "i.lp", "--sol", tmp_path / "i.sol", "--path", tmp_path / "run")
    assert told["status"] == "infeasible"
    assert told["objective"] is None
    assert not (tmp_path / "i.sol").exists()


def test_an_lp_is_told_to_be_one_and_solved(done, here, tmp_path):
    instances.write(linear(), tmp_path / "lp.mps")
    told = done("solve", tmp_path / "lp.mps", "--model", here / "net", "--with", "dive",
                "--path", tmp_path / "run")  # fmt: skip
    assert told["objective"] == pytest.approx(3.0)
    assert any("this is an LP" in note for note in told["notes"])


def test_settings_of_scip_are_read_from_its_own_files(done, refused, here, tmp_path):
    file = here / "new" / f"{NAME}-100.mps.gz"
    good, bad = tmp_path / "good.set", tmp_path / "bad.set"
    good.write_text("# SCIP 10\nlimits/nodes = 1\nmisc/usesymmetry = 0 # off\n\n")
    done("solve", file, "--settings", good, "--path", tmp_path / "run")
    bad.write_text("limits/nodes = 1\nno value\n")
    assert f"{bad} line 2" in refused("solve", file, "--settings", bad)


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [("dive", "a diving network"), ("joint", "a diving network"), ("branch", "a branching policy")],
)
def test_a_way_of_solving_without_what_it_needs_is_refused(refused, here, kind, lacks):
    told = refused("solve", here / "new" / f"{NAME}-100.mps.gz", "--with", kind)
    assert f"{kind} needs {lacks}" in told


def test_a_collection_that_was_stopped_goes_on_with_what_is_left(command, done, here, tmp_path):
    run = tmp_path / "run"
    done("collect", "dive", here / "fam", *COUNTED, "--path", run, "--first", 3)
    piece = next((run / "out" / "pieces").iterdir())
    piece.unlink()
    before = {file: file.stat().st_mtime_ns for file in (run / "out" / "pieces").iterdir()}
    code, _, err = command("runs", "resume", run, "--quiet")
    assert (code, err) == (0, "")
    assert piece.exists()
    assert all(file.stat().st_mtime_ns == moment for file, moment in before.items())


def test_reports_are_written_of_every_kind_of_run(done, here, tmp_path):
    done("solve", here / "new" / f"{NAME}-100.mps.gz", "--path", tmp_path / "run")
    for run in (here / "labels", here / "net", tmp_path / "run"):
        page = done("report", run, "--light")["report"]
        text = (run / "report.html").read_text()
        assert page.endswith("report.html")
        assert "<script" not in text


# A user's own hooks


def test_hooks_of_one_s_own_train_and_solve_and_are_run_only_if_they_are_typed(
    done, command, here, tmp_path
):
    own = tmp_path / "own.py"
    own.write_text(OWN_HOOKS)
    ran = own.with_suffix(".ran")
    done("train", "tiny", "dive", here / "labels", "--dive.hooks", own, "--path", tmp_path / "net")
    assert ran.exists()
    file = here / "new" / f"{NAME}-100.mps.gz"
    told = done("solve", file, "--model", tmp_path / "net", "--hooks", own, "--diving.force",
                "--path", tmp_path / "run")  # fmt: skip
    assert any(note.startswith("dive at") for note in told["notes"])
    ran.unlink()
    for words in (
        ("solve", file, "--model", tmp_path / "net"),
        ("solve", file, "--from", tmp_path / "run"),
        ("train", "--from", tmp_path / "net"),
    ):
        code, _, err = command("diving", *words, "--quiet")
        assert code == 2
        assert "not run unless you name it" in err
        assert not ran.exists()


# What is refused


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("gen", "facilities", "--out", "out"), "unknown family 'facilities'"),
        (("gen", "set_cover", "--out", "out", "--size", "huge"), "unknown size of set_cover"),
        (("gen", "set_cover", "--out", "out", "--numbers", "rows"), "write it as units=50"),
        (("gen", "set_cover", "--out", "out", "--count", 0), "count (0) must be at least 1"),
        (("info", "none"), "none is no folder"),
        (("collect", "dive", "none"), "none is no folder"),
        (("train", "tiny", "dive", "a/none"), "holds no labelled instances"),
        (("train", "tiny", "dive"), "no store is given"),
        (("train", "tiny", "dive", "none"), "unknown run"),
        (("solve", "none.mps"), "none.mps is no file"),
        (("export", "a/none", "net.safetensors"), "cannot be read"),
        (("import", "none.safetensors"), "cannot be read as a network"),
    ],
)
def test_what_is_missing_or_unknown_is_told_in_a_sentence(
    refused, words, sentence, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(*words, "--runs", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--diving.coverage", 2), "coverage (2.0) must lie in [0, 1]"),
        (("--time", 0), "time (0.0) must be positive"),
        (("--diving.shrink", 1), "shrink (1.0) must lie in (0, 1)"),
        (("--diving.stages", 0.5, 0.8), "must fall"),
        (("--model", "a/none"), "cannot be read as a network"),
        (("--policy", "a/none"), "cannot be read as a policy"),
        (("--hooks", "none.py"), "does not exist"),
        (("--start", "none.sol"), "cannot be read"),
    ],
)
def test_settings_of_a_solve_that_cannot_be_are_refused(refused, here, words, sentence):
    assert sentence in refused("solve", here / "new" / f"{NAME}-100.mps.gz", *words)


@pytest.mark.parametrize(
    ("name", "content"),
    [("bad.mps", b"ROWS\n nonsense\n"), ("bad.lp", b"\x00\x01"), ("bad.mps.gz", b"no gzip"),
     ("bad.txt", b"min: x;")],
)  # fmt: skip
def test_a_file_that_is_no_instance_is_refused_with_its_name(refused, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    told = refused("solve", tmp_path / name, "--path", tmp_path / "run")
    assert name in told


def test_a_folder_without_an_instance_is_refused(refused, tmp_path):
    (tmp_path / "a.txt").write_text("")
    assert "holds no instance" in refused("collect", "dive", tmp_path)
