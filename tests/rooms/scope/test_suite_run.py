import json
from dataclasses import replace

import pytest
import torch

from rooms.scope.small_models import looker, reader
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.metrics import read_metrics
from tenfold.engine.records import read_record
from tenfold.engine.run import Options, RunStopped
from tenfold.rooms.jumprelu.eval import measure
from tenfold.rooms.scope import live
from tenfold.rooms.scope import run as module
from tenfold.rooms.scope.config import Harvest, Subject, Suite
from tenfold.rooms.scope.run import fill_store, resume, train
from tenfold.rooms.scope.store import open_store
from tenfold.rooms.scope.suite import open_suite
from tenfold.rooms.scope.training import store_data

CFG = Suite(
    subject=Subject(source="tiny"),
    widths=(24,),
    target_l0=(2.0, 4.0),
    tokens=600,
    batch=32,
    held_out=0.1,
    threads=1,
    log_every=5,
    evaluation_tokens=64,
    evaluate=False,
    dash=False,
)
QUIET = Options(quiet=True)


@pytest.fixture(autouse=True)
def _no_report(monkeypatch):
    monkeypatch.setitem(module.STAGES, "report", lambda _work: None)


def make(specimen=None, cfg=CFG, **changes):
    return train(replace(cfg, **changes), specimen or reader(), options=QUIET)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a finished run with evaluation, pages and report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_RUNS", str(tmp_path_factory.mktemp("runs")))
        return make(evaluate=True, dash=True)


def test_a_run_goes_from_the_model_to_the_pages(whole):
    assert read_record(whole.path).state == "done"
    assert {file.stem for file in (whole.path / "stages").iterdir()} == {
        *("train", "evaluate", "dash", "report")
    }
    suite = open_suite(whole.path)
    assert (suite.manifest.model, suite.manifest.licence) == ("reader", "CC0-1.0")
    assert suite.sites == ("blocks.0", "blocks.1")
    entries = read_json(whole.out / "evaluation" / "evaluation.json")["entries"]
    assert set(entries) == {entry.name for entry in suite.entries}
    assert (whole.out / "dash" / "index.html").is_file()
    assert (whole.path / "report.html").is_file()


def test_the_manifest_tells_each_dictionary_and_its_file(whole):
    suite = open_suite(whole.path)
    entry = suite.entry("blocks.1/w24_l0_4_s0")
    assert (entry.site, entry.site_out, entry.target_l0, entry.seed) == ("blocks.1", "", 4.0, 0)
    assert (entry.input_width, entry.output_width, entry.width, entry.kind) == (
        4,
        4,
        24,
        "jumprelu",
    )
    assert entry.schedule == "short"
    dictionary = suite.load(entry, verify=True)
    store = open_store(whole.path / "harvest")
    data = store_data(CFG, store, [module.Place(site="blocks.1")])
    found = measure(dictionary, data.held_out("blocks.1"))
    assert entry.metrics["fvu"] == pytest.approx(found.fvu)
    assert entry.metrics["l0"] == pytest.approx(found.l0)
    mean_square = data.sample("blocks.1").square().sum(dim=1).mean()
    assert entry.scale == pytest.approx(float(mean_square.sqrt()), rel=1e-5)


def test_what_was_chosen_is_told_before_the_first_step(whole):
    told = (whole.path / "log.txt").read_text()
    for words in ("2: blocks.0 [8] x 6", "4 = 2 places", "short (auto", "kernels: ", "GB at most"):
        assert words in told


def test_metrics_are_logged_for_the_suite_and_each_dictionary(whole):
    metrics = read_metrics(whole.path / "metrics.jsonl")
    assert {"fvu", "l0_error", "dead_share", "fvu/blocks.0/w24_l0_2_s0"} <= set(metrics)
    assert metrics["fvu"][-1][1] < metrics["fvu"][0][1]


def test_a_finished_run_is_only_read(whole):
    before = {file: file.stat().st_mtime_ns for file in whole.out.rglob("*") if file.is_file()}
    resume(whole.path, looker(), options=QUIET)  # not even its model is looked at
    assert before == {
        file: file.stat().st_mtime_ns for file in whole.out.rglob("*") if file.is_file()
    }


def test_a_store_serves_several_suites_and_stays(whole):
    store = whole.path / "harvest"
    again = make(store=str(store), keep_store=False)
    assert not (again.path / "harvest").exists()
    assert open_store(store).items
    entries = zip(open_suite(again.path).entries, open_suite(whole.path).entries, strict=True)
    assert all(ours.sha256 == theirs.sha256 for ours, theirs in entries)


def test_a_harvest_of_its_own_serves_as_store():
    first = fill_store(Harvest(tokens=600, sites=("blocks.1",)), reader(), options=QUIET)
    run = make(store=str(first.path), sites=("blocks.1",))
    assert open_suite(run.path).sites == ("blocks.1",)
    with pytest.raises(TenfoldError, match=r"site of the store .*'blocks\.0'"):
        make(store=str(first.path), sites=("blocks.0",))


def test_a_folder_without_a_store_is_left_alone(tmp_path):
    with pytest.raises(TenfoldError, match="no finished harvest at"):
        make(store=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_store_of_another_type_is_taken_as_it_is():
    first = fill_store(Harvest(tokens=600, dtype="float32"), reader(), options=QUIET)
    run = make(store=str(first.path))
    assert len(open_suite(run.path).entries) == 4


def test_a_store_is_removed_once_everything_is_done_if_it_is_not_to_stay():
    run = make(keep_store=False)
    assert not (run.path / "harvest").exists()
    resume(run.path, reader(), options=QUIET)
    assert not (run.path / "harvest").exists()


def test_a_stopped_run_keeps_its_store():
    options = replace(QUIET, stop_after=3)
    with pytest.raises(RunStopped) as stop:
        train(replace(CFG, keep_store=False), reader(), options=options)
    assert (stop.value.path / "harvest" / "store.json").exists()
    assert resume(stop.value.path, reader(), options=QUIET).path == stop.value.path


def test_transcoders_are_written_with_both_sites_and_measured_on_pairs():
    run = make(sites=("blocks.0->blocks.1", "blocks.0"), skip=True)
    suite = open_suite(run.path)
    entry = suite.entry("blocks.0++blocks.1/w24_l0_2_s0")
    assert (entry.site, entry.site_out, entry.transcodes) == ("blocks.0", "blocks.1", True)
    assert (entry.input_width, entry.output_width) == (6, 4)
    dictionary = suite.load(entry)
    assert dictionary.w_skip is not None
    store = open_store(run.path / "harvest")
    x_ND, y_ND = (store.rows(site).read("x", 0, 600).float() for site in ("blocks.0", "blocks.1"))
    rest = (dictionary(x_ND) - y_ND).square().sum() / (y_ND - y_ND.mean(dim=0)).square().sum()
    assert float(rest.detach()) == pytest.approx(entry.metrics["fvu"], rel=0.5)
    assert entry.metrics["fvu"] < 0.9


def test_pictures_and_maps_are_trained_on_too():
    run = make(looker(num_batches=30), dash=True)
    suite = open_suite(run.path)
    assert suite.sites == ("conv@1", "head")
    assert all(entry.metrics["fvu"] < 1 for entry in suite.entries)
    assert (run.out / "dash" / "index.html").is_file()


def test_a_live_suite_leaves_no_store_and_no_pages(monkeypatch):
    monkeypatch.setattr(live, "SAMPLE_ROWS", 500)
    monkeypatch.setattr(live, "HELD_OUT_ROWS", 100)
    run = make(live=True, dash=True)
    assert not (run.path / "harvest").exists()
    assert not (run.out / "dash").exists()
    assert "none: the model runs while" in (run.path / "log.txt").read_text()
    assert all(entry.metrics["fvu"] < 1 for entry in open_suite(run.path).entries)


# Bad input


def test_an_unknown_site_is_told_with_the_nearest():
    with pytest.raises(TenfoldError, match=r"unknown module 'blocks\.2'; did you mean blocks\.\d"):
        make(sites=("blocks.2",))


def test_a_store_of_another_width_is_told_with_both_shapes():
    store = fill_store(Harvest(tokens=100), reader(), options=QUIET).path / "harvest"
    other = reader()
    other.module.blocks[0] = torch.nn.Linear(6, 5)
    other.module.blocks[1] = torch.nn.Linear(5, 4)
    with pytest.raises(TenfoldError, match=r"shape \[8, 6\] an item at blocks\.0, .*\[8, 5\]"):
        make(other, store=str(store))


def test_a_transcoder_between_different_positions_is_told_with_both_shapes():
    with pytest.raises(TenfoldError, match=r"conv@1 has .*\[270, 3, 3\], head \[30\]"):
        make(looker(num_batches=6, last=5), sites=("conv@1->head",), tokens=10_000)


def test_a_store_cut_short_is_told_by_shard_and_byte():
    store = fill_store(Harvest(tokens=100), reader(), options=QUIET).path / "harvest"
    file = open_store(store).rows("blocks.0").path / "00000.x.bin"
    file.write_bytes(file.read_bytes()[:99])
    with pytest.raises(TenfoldError, match=r"shard 0 .*00000\.x\.bin ends at byte 99"):
        make(store=str(store))


def test_other_activations_than_those_begun_with_are_refused():
    with pytest.raises(RunStopped) as stop:
        train(CFG, reader(), options=replace(QUIET, stop_after=2))
    described = json.loads((stop.value.path / "data.json").read_text())
    described["identity"] = {"reader": 0}
    (stop.value.path / "data.json").write_text(json.dumps(described))
    with pytest.raises(TenfoldError, match=r"activations are not those that .* began with"):
        resume(stop.value.path, reader(), options=QUIET)


def test_live_training_does_not_spread():
    with pytest.raises(TenfoldError, match="live training runs the model in this process"):
        make(live=True, workers="2")


def test_code_named_by_a_saved_run_is_not_run_unasked(tmp_path):
    script = tmp_path / "own.py"
    script.write_text("raise RuntimeError('it was run')\n")
    cfg = replace(CFG, subject=Subject(source=f"{script}:model"))
    path = module.create_run(cfg, verb="suite", options=QUIET).path
    with pytest.raises(TenfoldError, match=r"--subject\.source"):
        resume(path, options=QUIET)
    with pytest.raises(Exception, match="it was run"):
        resume(path, options=QUIET, trusted=True)
