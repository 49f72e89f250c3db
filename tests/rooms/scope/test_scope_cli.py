"""The verbs of the room through the command line, on one tiny suite."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from conftest import write_text
from tenfold.cli import main
from tenfold.engine.files import read_json
from tenfold.parts.sae.taps import capture
from tenfold.rooms.scope.config import Subject
from tenfold.rooms.scope.store import open_store
from tenfold.rooms.scope.subjects import open_subject
from tenfold.rooms.scope.suite import open_suite

pytestmark = pytest.mark.long
SITES = ("blocks.0", "blocks.1.mlp_post_norm")
NAMES = [f"{site}/w32_l0_{l0}_s0" for site in SITES for l0 in (2, 4)]
LATENTS = 32
CONTEXT = 32
"""Tokens of a window of the tiny model."""

OWN = """
import pathlib

import torch
from torch import nn

from tenfold import scope

HERE = pathlib.Path(__file__).parent


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embed = nn.Embedding(256, 12)
        self.block = nn.Linear(12, 12)
        self.head = nn.Linear(12, 256)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)

    def forward(self, tokens):
        x = self.embed(tokens)
        past = x.cumsum(dim=1) / torch.arange(1, 1 + x.shape[1])[:, None]
        return self.head(torch.tanh(self.block(past)))


def make():
    with (HERE / "ran.txt").open("a") as file:
        file.write("ran\\n")
    return scope.language_model(Reader(), HERE / "text", context=16, name="own reader")
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    root = tmp_path_factory.mktemp("text")
    write_text(root)
    return root


@pytest.fixture(scope="module")
def suite(text, tmp_path_factory):
    """Return the run of a tiny suite, evaluated, with pages."""
    path = tmp_path_factory.mktemp("cli") / "tiny"
    words = ("scope", "suite", "tiny", "--subject.text", text, "--path", path)
    assert main([str(w) for w in (*words, "--threads", 1, "--quiet")]) == 0
    return path


@pytest.fixture(scope="module")
def release(suite, tmp_path_factory):
    """Return the suite's release."""
    out = tmp_path_factory.mktemp("released") / "tiny"
    words = ("scope", "publish", suite, out, "--title", "Tiny ones", "--licence", "MIT", "--quiet")
    assert main([str(word) for word in words]) == 0
    return out


@pytest.fixture
def done(command):
    """Return a function that runs `scope WORDS --json` and gives what stdout says."""

    def run(*words):
        code, out, err = command("scope", *words, "--json", "--quiet")
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture
def refused(command):
    """Return a function that runs `scope WORDS` and gives the fault that it ends with."""

    def run(*words):
        code, out, err = command("scope", *words, "--quiet")
        assert (code, out) == (2, "")
        return err

    return run


def files_of(path):
    return {file for file in Path(path).rglob("*") if file.is_file()}


# sites


def test_sites_are_a_table_with_shapes_and_sizes(done, text):
    rows = {row["site"]: row for row in done("sites", "tiny", "--text", text)}
    row = rows["blocks.0.attn.out:in"]
    assert (row["shape"], row["width"], row["proposed"]) == ("32x32x16", 16, "yes")
    assert (row["bytes, float32"], row["bytes, bfloat16"]) == (4 * 16, 2 * 16)
    assert rows["embed"]["proposed"] == ""
    assert set(SITES) < set(rows)


def test_proposed_sites_alone_are_those_of_gemma_scope(done, text):
    rows = done("sites", "tiny", "--text", text, "--proposed")
    assert {row["site"] for row in rows} == {
        f"blocks.{block}{kind}"
        for block in (0, 1)
        for kind in ("", ".attn.out:in", ".mlp_post_norm")
    }


def test_sites_are_readable_without_json(command, text):
    code, out, _ = command("scope", "sites", "tiny", "--text", text, "--proposed", "--quiet")
    assert code == 0
    assert out.splitlines()[0].split() == [
        *("site", "shape", "width", "bytes,", "float32", "bytes,", "bfloat16", "proposed")
    ]


def test_an_unknown_source_is_told_with_all_kinds_of_sources(refused):
    told = refused("sites", "nothing here")
    for words in ("'nothing here'", "tiny, quick, laptop", "FILE.py:FUNCTION", "owner/name"):
        assert words in told


# suite, harvest, train


def test_a_suite_is_made_evaluated_and_shown(suite):
    assert [entry.name for entry in open_suite(suite).entries] == NAMES
    assert (suite / "report.html").is_file()
    assert (suite / "out" / "dash" / "index.html").is_file()
    assert set(read_json(suite / "out" / "evaluation" / "evaluation.json")["entries"]) == set(NAMES)


def test_a_suite_says_what_it_made_also_when_it_is_finished(done, suite, text):
    words = ("--subject.text", text, "--path", suite, "--threads", 1)
    told = done("suite", "tiny", *words)
    assert told == {
        "run": str(suite),
        "dictionaries": 4,
        "report": str(suite / "report.html"),
        "pages": str(suite / "out" / "dash" / "index.html"),
    }


def test_a_harvest_is_a_store_for_suites(done, text, tmp_path):
    subject = ("--subject.source", "tiny", "--subject.text", text, "--threads", 1)
    path = tmp_path / "harvest"
    told = done("harvest", *subject, "--tokens", 2_048, "--sites", *SITES, "--path", path)
    assert told["sites"] == list(SITES)
    assert told["items"] == open_store(told["store"]).items > 0
    trained = tmp_path / "trained"
    words = ("tiny", "--subject.text", text, "--threads", 1, "--tokens", 2_048)
    told = done("train", *words, "--store", path, "--path", trained)
    assert told == {
        "run": str(trained), "dictionaries": 4, "report": str(trained / "report.html")
    }  # fmt: skip
    assert not (trained / "harvest").exists()
    assert not (trained / "out" / "evaluation").exists()
    assert {entry.rows for entry in open_suite(trained).entries} == {2_048}


@pytest.mark.parametrize("recipe", ["tiny", "laptop", "gpu", "paper"])
def test_every_recipe_can_be_planned(done, recipe, tmp_path):
    told = done("suite", recipe, "--dry-run", "--runs", tmp_path / "none")
    assert told["work"]["steps"] * told["config"]["batch"] >= told["config"]["tokens"]
    assert not (tmp_path / "none").exists()


def test_a_harvest_and_the_claim_can_be_planned(done):
    assert done("harvest", "--tokens", 7, "--dry-run")["work"]["rows_a_site"] == 7
    work = done("claim", "--scale", "quick", "--dry-run")["work"]
    assert work["dictionaries"] == 54  # 3 sites x 2 widths x 2 targets x 3 seeds, 3 of one site


# eval


def test_the_model_of_a_suite_is_opened_again_to_measure_it(done, suite, tmp_path):
    told = done("eval", suite, "--tokens", 512, "--metrics", "loss", "--out", tmp_path / "found")
    assert told["evaluation"] == str(tmp_path / "found")
    assert [row["dictionary"] for row in told["dictionaries"]] == NAMES
    saved = read_json(tmp_path / "found" / "evaluation.json")
    assert told["tokens"] == saved["tokens"]
    for row in told["dictionaries"]:
        entry = saved["entries"][row["dictionary"]]
        assert (row["l0"], row["fvu"]) == (entry["l0"], entry["fvu"])
        assert row["delta_loss"] == entry["delta_loss"]
        assert "uniformity" not in row
    assert (tmp_path / "found" / "evaluation.csv").is_file()


def test_options_of_the_subject_count_beside_the_saved_ones(done, suite, tmp_path):
    words = ("--tokens", 100, "--metrics", "loss", "--subject.batch", 5, "--out", tmp_path)
    # Whole batches are taken.
    assert 100 <= done("eval", suite, *words)["tokens"] <= 5 * CONTEXT
    assert read_json(tmp_path / "evaluation.json")["items"] == 5


def test_a_suite_may_be_measured_on_other_text(done, suite, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in range(30):
        words = " ".join(f"word{(file * 31 + i * i) % 97}" for i in range(2_000))
        (other / f"{file}.txt").write_text(words)
    words = ("--tokens", 512, "--metrics", "loss")
    told = [
        done("eval", suite, *words, "--out", tmp_path / name, *more)
        for name, more in (("own", ()), ("foreign", ("--subject.text", other)))
    ]
    clean = [read_json(Path(one["evaluation"]) / "evaluation.json")["clean_loss"] for one in told]
    assert clean[0] != clean[1]


def test_another_model_is_not_taken_for_the_suites_own(refused, suite, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(suite / "out" / "suite", copy)
    manifest = read_json(copy / "manifest.json")
    manifest["identity"]["weights"] = "others"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    told = refused("eval", copy, "--tokens", 64, "--metrics", "loss")
    assert "weights or data differ" in told
    assert "--subject.source" in told
    (copy / "manifest.json").write_text(json.dumps(manifest | {"subject": {}}))
    told = refused("eval", copy, "--tokens", 64)
    assert "does not say how to open tiny; name the model by --subject.source" in told


def test_an_unknown_metric_is_told_with_the_nearest(refused, suite, tmp_path):
    told = refused("eval", suite, "--metrics", "los", "--out", tmp_path)
    assert "unknown metric 'los'; did you mean loss" in told


# compare


@pytest.fixture(scope="module")
def wide(text, tmp_path_factory):
    """Return a suite of two widths at two sites, with a transcoder, measured on little."""
    path = tmp_path_factory.mktemp("cli") / "wide"
    words = ("scope", "suite", "tiny", "--subject.text", text, "--path", path, "--widths", 16, 64)
    sites = ("--sites", "blocks.0", "blocks.1", "blocks.0->blocks.1")
    more = ("--threads", 1, "--no-dash", "--quiet", "--tokens", 2_048)
    assert main([str(w) for w in (*words, *sites, *more)]) == 0
    return path


def test_sites_are_compared_at_equal_l0(done, suite):
    rows = done("compare", suite, "--by", "site")
    assert rows
    for row in rows:
        assert (row["which"], row["against"]) == (SITES[1], SITES[0])
        assert row["% lower"] == pytest.approx(100 * (1 - row["value"] / row["its"]))
        assert row["low"] <= row["% lower"] <= row["high"]
        assert row["over"] == "items"


def test_the_reference_and_the_l0_can_be_named(done, suite):
    (there,) = done("compare", suite, "--by", "site", "--l0", 1.9)
    (back,) = done("compare", suite, "--by", "site", "--l0", 1.9, "--reference", SITES[1])
    assert there["L0"] == back["L0"] == 1.9
    assert (back["which"], back["value"], back["its"]) == (SITES[0], there["its"], there["value"])


def test_widths_are_compared_at_one_site(done, wide):
    rows = done("compare", wide, "--site", "blocks.1", "--measure", "delta_loss")
    assert {(row["which"], row["against"]) for row in rows} <= {("64", "16")}


def test_transcoders_have_a_place_of_their_own(done, refused, wide, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(wide / "out" / "evaluation", again)
    entries = read_json(again / "evaluation.json")["entries"]
    for site, out in (("blocks.0", ""), ("blocks.0->blocks.1", "blocks.1")):
        here = [e for e in entries.values() if (e["site"], e["site_out"]) == ("blocks.0", out)]
        assert len(here) == 4
        l0 = sorted(e["l0"] for e in here)[1]
        (row,) = done("compare", wide, again, "--site", site, "--l0", l0)
        assert row["value"] in [pytest.approx(e["fvu"]) for e in here if e["l0"] == l0]
    told = refused("compare", wide, "--by", "site")
    assert "blocks.0, blocks.0++blocks.1, have no common scale; name one with --site" in told


def test_sites_without_a_common_scale_are_not_mixed(refused, wide, suite):
    for words in ((wide,), (wide, suite)):
        told = refused("compare", *words)
        assert "have no common scale; name one with --site, or compare --by site" in told


def test_two_suites_are_compared_at_a_site(done, suite, wide, release):
    rows = done("compare", suite, wide, "--site", "blocks.0", "--l0", 2.0)
    assert [(row["which"], row["against"]) for row in rows] == [("wide", "tiny")]
    # Equal last words of the paths: the whole paths are the names.
    (row,) = done("compare", suite, release, "--site", "blocks.0", "--l0", 1.7)
    assert (row["which"], row["against"]) == (str(release), str(suite))
    assert row["% lower"] == 0


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--site", "blocks.7"), "unknown site of the evaluation 'blocks.7'; did you mean blocks."),
        (("--site", "blocks.0"), "there is one width, 32, and nothing to compare it with"),
        (("--site", "blocks.0", "--by", "site"), "there is one site, blocks.0, and nothing to"),
        (("--by", "site", "--reference", "blocks.9"), "unknown front 'blocks.9'"),
    ],
)
def test_what_cannot_be_compared_is_refused(refused, suite, words, fault):
    assert fault in refused("compare", suite, *words)


def test_one_suite_twice_or_three_are_refused(refused, suite):
    told = refused("compare", suite, suite, "--site", "blocks.0")
    assert "there is one evaluation" in told
    assert "3 evaluations; give one, or two" in refused("compare", suite, suite, suite)


def test_a_suite_without_evaluation_is_told_what_to_run(refused, suite, tmp_path):
    shutil.copytree(suite / "out" / "suite", tmp_path / "bare")
    assert "run `tenfold scope eval`" in refused("compare", tmp_path / "bare")


def test_a_folder_of_a_suite_keeps_its_own_evaluation(done, suite, tmp_path):
    copy = tmp_path / "bare"
    shutil.copytree(suite / "out" / "suite", copy)
    told = done("eval", copy, "--tokens", 512, "--metrics", "loss")
    assert Path(told["evaluation"]).parent == copy
    assert done("compare", copy, "--by", "site", "--measure", "delta_loss")


# dash


def test_pages_are_made_anew_from_some_of_the_rows(done, suite, tmp_path):
    told = done("dash", suite, "--out", tmp_path / "pages", "--rows", 1_000, "--threads", 1)
    assert told == {"pages": str(tmp_path / "pages" / "index.html")}
    assert Path(told["pages"]).is_file()
    assert len(files_of(tmp_path / "pages" / "data")) >= len(NAMES)


def test_pages_of_a_folder_need_a_store_and_a_place(done, refused, suite, tmp_path):
    folder = tmp_path / "suite"
    shutil.copytree(suite / "out" / "suite", folder)
    assert "say with --out where the pages go" in refused("dash", folder)
    out = ("--out", tmp_path / "pages", "--rows", 500, "--threads", 1)
    assert "no finished harvest" in refused("dash", folder, *out)
    told = done("dash", folder, *out, "--store", suite)
    assert Path(told["pages"]).is_file()


# steer


def steer(done, suite, *words, prompt="the cat"):
    return done("steer", suite, prompt, "--dictionary", NAMES[1], "--tokens", 6, *words)


def busiest(suite, text):
    """Return the latent that fires most on the prompt."""
    specimen = open_subject(Subject(source="tiny", text=str(text)))
    tokens = specimen.encode("the cat")
    x = capture(specimen.module, "blocks.0", lambda: specimen.module(tokens))["blocks.0"]
    return int(open_suite(suite).load(NAMES[1]).encode(x[:, 1:]).sum(dim=(0, 1)).argmax())


def test_a_prompt_is_completed_plainly_and_steered(done, suite, text):
    latent = busiest(suite, text)
    plain = steer(done, suite)
    assert plain["plain"] == plain["steered"]
    assert all(row["plain"] == row["steered"] for row in plain["next token"])
    told = {
        edit: steer(done, suite, "--edit", f"{latent}:{edit}")
        for edit in ("ablate", "scale:0", "clamp:0", "clamp:9", "add:9.5", "scale:-2", "add:1e1")
    }
    # Three ways to write the same.
    assert told["ablate"] == told["scale:0"] == told["clamp:0"]
    chances = {
        edit: tuple((row["token"], row["steered"]) for row in one["next token"])
        for edit, one in told.items()
    }
    assert len(set(chances.values())) == 5
    for one in told.values():
        assert one["plain"] == plain["plain"]
        assert any(row["plain"] != row["steered"] for row in one["next token"])


def test_edits_are_done_in_their_order(done, suite):
    first = steer(done, suite, "--edit", "3:clamp:4", "3:add:2")
    assert first == steer(done, suite, "--edit", "3:clamp:6")
    assert first != steer(done, suite, "--edit", "3:add:2", "3:clamp:4")


def test_without_its_error_a_dictionary_changes_the_model_unedited(done, suite):
    told = steer(done, suite, "--error", "drop")
    assert any(row["plain"] != row["steered"] for row in told["next token"])


def test_a_draw_is_the_seeds(done, suite):
    one, again, other = (
        steer(done, suite, "--temperature", 2, "--seed", seed)["plain"] for seed in (1, 1, 2)
    )
    assert one == again != other


@pytest.mark.parametrize(
    "edit", ["3", "3:clamp", "x:ablate", "-1:ablate", "3:ablate:2", "3:zero:1", "3:add:two"]
)
def test_a_bad_edit_is_refused_with_how_edits_are_written(refused, suite, edit):
    told = refused("steer", suite, "the", "--dictionary", NAMES[0], f"--edit={edit}")
    assert edit in told
    assert "LATENT:ablate, LATENT:clamp:VALUE, LATENT:scale:VALUE, LATENT:add:VALUE" in told


def test_a_latent_beyond_the_width_is_refused(refused, suite):
    words = ("steer", suite, "the", "--dictionary", NAMES[0], "--edit", f"{LATENTS}:ablate")
    assert "latent 32 does not exist: the dictionary has 32, 0 to 31" in refused(*words)


def test_an_unknown_dictionary_is_told_with_the_nearest(refused, suite):
    told = refused("steer", suite, "the", "--dictionary", "blocks.0/w32_l0_3_s0")
    assert NAMES[0] in told.partition("did you mean ")[2]


# publish, attach, info


def test_a_release_says_what_it_holds(done, release):
    told = done("info", release)
    assert (told["model"], told["sites"], told["verified"]) == ("tiny", 2, "no")
    assert [row["dictionary"] for row in told["dictionaries"]] == NAMES
    card = (release / "README.md").read_text(encoding="utf-8")
    assert "Tiny ones" in card
    assert "MIT" in card
    assert len(list(release.rglob("params.npz"))) == 4


@pytest.mark.parametrize("format", ["gemma-scope-2", "sae-lens", "tenfold"])
def test_every_layout_can_be_written_and_is_the_same_suite(done, suite, tmp_path, format):
    told = done("publish", suite, tmp_path / "out", "--format", format)
    written = files_of(tmp_path / "out")
    assert told["files"] == len(written)
    assert told["mb"] == pytest.approx(sum(file.stat().st_size for file in written) / 1e6)
    assert done("info", tmp_path / "out", "--verify")["verified"] == "yes"
    ours, theirs = (open_suite(path).load(NAMES[0]) for path in (tmp_path / "out", suite))
    assert torch.equal(ours.w_dec, theirs.w_dec)


def test_a_release_is_replaced_only_if_told(done, refused, suite, tmp_path):
    out = tmp_path / "out"
    done("publish", suite, out)
    assert "is not empty; choose another folder or say --overwrite" in refused(
        "publish", suite, out
    )
    done("publish", suite, out, "--overwrite", "--title", "Again")
    assert "Again" in (out / "README.md").read_text(encoding="utf-8")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    assert "was not written by tenfold" in refused("publish", suite, other, "--overwrite")
    assert (other / "mine.txt").read_text() == "mine"


def test_released_dictionaries_are_put_on_a_model_and_measured(done, release, text):
    subject = ("--subject.source", "tiny", "--subject.text", text)
    rows = done("attach", release, *subject, "--tokens", 2_048)
    assert {row["dictionary"]: row["site"] for row in rows} == {
        name: name.rpartition("/")[0] for name in NAMES
    }
    assert {(row["D"], row["M"]) for row in rows} == {(16, LATENTS)}
    assert all(row["delta loss"] > 0 for row in rows)
    less, more = (row["delta loss"] for row in rows if row["site"] == "blocks.0")
    assert less > more  # the denser of the two rebuilds better
    bare = done("attach", release, *subject, "--tokens", 0)
    assert all("delta loss" not in row for row in bare)
    assert len(bare) == 4


def test_the_cost_of_attached_dictionaries_is_that_of_the_evaluation(done, release, text, tmp_path):
    subject = ("--subject.source", "tiny", "--subject.text", text)
    # One batch, so that the mean over batches is that over tokens.
    rows = done("attach", release, *subject, "--tokens", 1_000)
    told = done(
        "eval", release, *subject, "--tokens", 1_000, "--metrics", "loss", "--out", tmp_path
    )
    for ours, theirs in zip(rows, told["dictionaries"], strict=True):
        assert ours["dictionary"] == theirs["dictionary"]
        assert ours["delta loss"] == pytest.approx(theirs["delta_loss"], rel=1e-3)


def test_a_damaged_file_is_told(done, refused, suite, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(suite / "out" / "suite", copy)
    assert done("info", copy, "--verify")["verified"] == "yes"
    file = next(file for file in files_of(copy) if file.suffix == ".safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    told = refused("info", copy, "--verify")
    assert str(file) in told
    assert "sha256" in told
    assert done("info", copy)["verified"] == "no"


def test_there_must_be_a_suite(refused, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    assert "is no manifest of a suite" in refused("info", tmp_path)


# report


def test_a_report_is_written_anew_with_and_without_scripts(done, suite, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(suite, run)
    page = run / "report.html"
    page.unlink()
    assert done("report", run) == {"report": str(page)}
    assert "<script" in page.read_text(encoding="utf-8")
    assert done("report", run, "--light") == {"report": str(page)}
    told = page.read_text(encoding="utf-8")
    assert "<script" not in told
    assert NAMES[0] in told


# Code of one's own


@pytest.fixture(scope="module")
def own(text, tmp_path_factory):
    """Return the source FILE.py:FUNCTION of a model of bytes, and a suite of it, stopped."""
    root = tmp_path_factory.mktemp("own")
    shutil.copytree(text, root / "text")
    (root / "own.py").write_text(OWN)
    source = f"{root / 'own.py'}:make"
    words = ("scope", "suite", "--subject.source", source, "--sites", "block", "--widths", 24)
    size = ("--target-l0", 2, 4, "--tokens", 2_048, "--batch", 64, "--evaluation-tokens", 256)
    more = ("--no-dash", "--threads", 1, "--quiet", "--path", root / "run", "--stop-after", 5)
    assert main([str(word) for word in (*words, *size, *more)]) == 130
    return root, source


def times_run(root):
    return len((root / "ran.txt").read_text().splitlines())


def test_saved_code_goes_on_only_if_it_is_trusted(own, command, done):
    root, source = own
    before = times_run(root)
    code, _, told = command("runs", "resume", root / "run", "--quiet")
    assert code == 2
    assert f"{source}, which is not run unless you name it" in told
    assert "--trust-code" in told
    assert times_run(root) == before
    code, _, told = command("runs", "resume", root / "run", "--trust-code", "--quiet")
    assert (code, told) == (0, "")
    assert times_run(root) == before + 1
    assert done("info", root / "run")["model"] == "own reader"


def test_naming_the_source_again_goes_on_too(own, command, tmp_path):
    words = ("--subject.source", own[1], "--sites", "block", "--widths", 24, "--target-l0", 2, 4)
    size = ("--tokens", 1_024, "--batch", 64, "--no-evaluate", "--no-dash", "--threads", 1)
    call = ("scope", "suite", *words, *size, "--path", tmp_path / "run", "--quiet")
    assert command(*call, "--stop-after", 3)[0] == 130
    assert command(*call)[0] == 0
    assert len(open_suite(tmp_path / "run").entries) == 2


def test_a_saved_config_taken_for_a_new_run_runs_no_code(own, command, tmp_path):
    root, _ = own
    before = times_run(root)
    words = ("--from", root / "run", "--path", tmp_path / "run", "--quiet")
    code, _, told = command("scope", "suite", *words)
    assert code == 2
    assert "is not run unless you name it" in told
    assert times_run(root) == before


def test_code_of_a_suite_is_run_only_if_it_is_named(own, refused, done, command, tmp_path):
    root, source = own
    command("runs", "resume", root / "run", "--trust-code", "--quiet")
    before = times_run(root)
    measure = ("eval", root / "run", "--tokens", 256, "--metrics", "loss", "--out", tmp_path)
    name = "block/w24_l0_2_s0"
    prompt = ("steer", root / "run", "the", "--dictionary", name, "--tokens", 3)
    for words in (measure, prompt):
        told = refused(*words)
        assert f"add --subject.source {source}" in told
    assert times_run(root) == before
    told = done(*measure, "--subject.source", source)
    assert [row["dictionary"] for row in told["dictionaries"]] == [name, "block/w24_l0_4_s0"]
    told = done(*prompt, "--subject.source", source, "--edit", "0:clamp:5")
    assert len(told["next token"]) >= 8
    assert times_run(root) == before + 2


def test_sites_of_code_of_ones_own_are_listed(own, done):
    rows = {row["site"]: row for row in done("sites", own[1])}
    assert rows["block"]["width"] == 12
