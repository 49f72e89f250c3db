"""The verbs of the room through the command line, on a matrix of 300 rows."""

import json

import numpy as np
import pytest
import scipy.sparse
import torch

from rooms.jumprelu import examples
from tenfold.cli import main
from tenfold.engine.run import list_records, saved_config
from tenfold.rooms.jumprelu import files

ROWS, WIDTH, LATENTS = 300, 8, 16
SIZE = ("--width", LATENTS, "--batch", 64, "--rows", 1_000, "--target-l0", 3, "--quiet")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Return a folder with a matrix, a file of two, and a run of the first."""
    here = tmp_path_factory.mktemp("verbs")
    noise = np.random.default_rng(0).standard_normal((ROWS, WIDTH))
    x = (noise * np.linspace(0.2, 2, WIDTH) + 1).astype("float32")
    np.save(here / "x.npy", x)
    np.savez(here / "two.npz", x=x, y=2 * x)
    words = ("jumprelu", "train", "tiny", "--data.path", here / "x.npy", *SIZE)
    assert main([str(word) for word in (*words, "--path", here / "run")]) == 0
    return here


@pytest.fixture
def done(command):
    """Return a function that runs `jumprelu WORDS --json` and gives what stdout says."""

    def run(*words):
        code, out, err = command("jumprelu", *words, "--json", "--quiet")
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture
def x(here):
    return torch.from_numpy(np.load(here / "x.npy"))


@pytest.fixture
def dictionary(here):
    return files.load(here / "run")


# train


def test_training_gives_a_dictionary_with_its_held_out_metrics(here, done):
    told = done("train", "tiny", "--data.path", here / "x.npy", *SIZE[:-1])
    (metrics,) = told["dictionaries"].values()
    assert metrics["fvu"] < 0.9
    assert 1 < metrics["l0"] < LATENTS / 2
    again = json.loads((here / "run" / "out" / "metrics.json").read_text())
    assert told["dictionaries"] == again


def test_a_dry_run_tells_config_and_work_and_makes_no_run(here, done):
    told = done("train", "tiny", *SIZE[:-1], "--dry-run", "--runs", here / "none", "--seeds", 0, 1)
    assert told["config"]["batch"] == 64
    assert told["work"]["dictionaries"] == 2
    assert told["work"]["steps"] == 16  # 1000 rows in batches of 64
    assert not (here / "none").exists()


@pytest.mark.parametrize("recipe", ["tiny", "laptop", "gpu", "paper"])
def test_every_recipe_can_be_planned_without_data(recipe, done):
    told = done("train", recipe, "--dry-run")
    assert told["work"]["steps"] * told["config"]["batch"] >= told["config"]["rows"]


def test_the_claim_can_be_planned(done):
    work = done("claim", "--scale", "quick", "--dry-run")["work"]
    assert work["dictionaries"] == 5 * 2 * 3  # kinds, targets, seeds


def test_a_saved_run_is_the_start_of_another_with_one_change(here, done, tmp_path):
    again = ("train", "--from", here / "run", "--runs", tmp_path)
    done(*again, "--seeds", 5)
    (record,) = list_records(tmp_path)
    before, after = (saved_config(path)["config"] for path in (here / "run", record.path))
    assert after == before | {"seeds": [5]}


def test_the_same_command_on_a_finished_run_gives_its_results_again(here, done, dictionary):
    told = done("train", "tiny", "--data.path", here / "x.npy", *SIZE[:-1], "--path", here / "run")
    assert told["run"] == str(here / "run")
    assert torch.equal(files.load(here / "run").w_dec, dictionary.w_dec)


def test_a_stopped_training_says_how_to_go_on(here, command, tmp_path):
    words = ("train", "tiny", "--data.path", here / "x.npy", *SIZE, "--path", tmp_path / "run")
    code, out, err = command("jumprelu", *words, "--stop-after", 2)
    assert (code, out) == (130, "")
    assert f"`tenfold runs resume {tmp_path / 'run'}`" in err
    assert command("runs", "resume", tmp_path / "run", "--quiet")[0] == 0
    assert torch.equal(files.load(tmp_path / "run").w_enc, files.load(here / "run").w_enc)


# encode


def test_scipy_reads_the_sparse_latents_and_they_equal_the_dense_ones(
    here, done, x, dictionary, tmp_path
):
    told = done("encode", here / "run", here / "x.npy", "--out", tmp_path / "f.npz")
    sparse = scipy.sparse.load_npz(tmp_path / "f.npz")
    dense = dictionary.encode(x).detach().numpy()
    assert np.array_equal(sparse.toarray(), dense)
    assert sparse.nnz == (dense > 0).sum() == round(told["l0"] * ROWS)
    assert told["rows"] == ROWS


def test_one_array_of_several_is_encoded_by_its_key(here, done, x, dictionary, tmp_path):
    done("encode", here / "run", here / "two.npz", "--key", "y", "--out", tmp_path / "f.npz")
    dense = dictionary.encode(2 * x).detach().numpy()
    assert np.array_equal(scipy.sparse.load_npz(tmp_path / "f.npz").toarray(), dense)


# eval


def test_eval_gives_l0_and_the_share_of_variance_that_is_left(here, done, x, dictionary):
    told = done("eval", here / "run", "--data.path", here / "x.npy")
    with torch.no_grad():
        left = (x - dictionary(x)).double().square().sum()
        active = (dictionary.encode(x) > 0).double()
    fvu = left / (x - x.mean(dim=0)).double().square().sum()
    assert told["fvu"] == pytest.approx(fvu.item(), rel=1e-5)
    assert told["l0"] == pytest.approx(active.sum(dim=1).mean().item())
    assert told["dead"] == (active.sum(dim=0) == 0).sum()
    assert told["above_10_percent"] == (active.mean(dim=0) > 0.1).sum()
    assert told["rows"] == ROWS


# convert, info


@pytest.mark.parametrize("format", ["tenfold", "gemma-scope", "gemma-scope-2", "sae-lens"])
def test_a_converted_dictionary_is_the_same_function(format, here, done, x, dictionary, tmp_path):
    told = done("convert", here / "run", tmp_path / "new", "--format", format)
    assert told["parity"]["active_sets_differ"] == 0
    other = files.load(tmp_path / "new")
    assert torch.equal(other.encode(x) > 0, dictionary.encode(x) > 0)
    torch.testing.assert_close(other(x), dictionary(x), rtol=1e-5, atol=1e-5)


def test_info_tells_kind_shape_and_thresholds(here, done, dictionary):
    told = done("info", here / "run")
    assert (told["kind"], told["input_width"], told["latents"]) == ("jumprelu", WIDTH, LATENTS)
    assert told["decoder_norms"] == "1 to 1"
    low, high = map(float, told["thresholds"].split(" to "))
    threshold = dictionary.unit.threshold
    assert low == pytest.approx(threshold.min().item(), rel=1e-3)
    assert high == pytest.approx(threshold.max().item(), rel=1e-3)


# report, and talk


def test_a_report_is_written_anew_and_light_has_no_script(here, done):
    page = here / "run" / "report.html"
    page.unlink()
    assert done("report", here / "run") == {"report": str(page)}
    assert "<script" in page.read_text()
    done("report", here / "run", "--light")
    assert "<script" not in page.read_text()
    assert "L0 while training" in page.read_text()


def test_results_are_for_stdout_and_progress_is_for_stderr(here, command, tmp_path):
    words = ("encode", here / "run", here / "x.npy", "--out", tmp_path / "f.npz")
    code, out, err = command("jumprelu", *words)
    assert code == 0
    assert out.splitlines()[0] == f"out   {tmp_path / 'f.npz'}"
    assert "300 of 300" in err


# Transcoders


@pytest.fixture
def transcoder(tmp_path):
    made = examples.transcoder("jumprelu", dtype=torch.float32)
    files.save(made, tmp_path / "transcoder")
    return tmp_path / "transcoder"


def test_a_transcoder_is_converted_with_a_parity_check(transcoder, tmp_path, done):
    done("convert", transcoder, tmp_path / "second", "--format", "gemma-scope-2")
    assert files.load(tmp_path / "second").transcoder


def test_a_transcoder_is_not_measured_against_its_own_input(transcoder, here, command):
    code, _, err = command("jumprelu", "eval", transcoder, "--data.path", here / "x.npy")
    assert code == 2
    assert "rebuilds another site's output" in err
