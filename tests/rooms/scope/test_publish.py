import json
import re
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rooms.jumprelu.examples import OUT, D, dictionary, rows, transcoder
from tenfold.engine import files, hub
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.jumprelu.files import save
from tenfold.rooms.scope import publish as publishing
from tenfold.rooms.scope.card import Card, read_licence
from tenfold.rooms.scope.publish import (
    attach,
    fetch_dictionary,
    publish,
    save_dictionary,
    site_of_release,
)
from tenfold.rooms.scope.suite import Entry, Manifest, SavedSuite, open_suite, write_manifest

SITES = ("blocks.0", "blocks.0.mlp_post_norm", "blocks.1.attn.out:in", "head")
X = rows(5).float()


def entry_of(made, root, *, site, l0, seed=0, target=8.0, site_out=""):
    name = f"{site.replace(':', '+')}/w{made.width}_l0_{target:g}_s{seed}"
    file = save(made, root / "saes" / name)
    return Entry(
        name=name,
        site=site,
        site_out=site_out,
        kind=made.kind,
        width=made.width,
        input_width=made.input_width,
        output_width=made.output_width,
        target_l0=target,
        seed=seed,
        rows=1_000,
        scale=1.0,
        schedule="short",
        path=f"saes/{name}",
        sha256=files.sha256(file),
        metrics={"l0": l0, "fvu": 0.25},
    )


def jumprelu(seed=0):
    return dictionary("jumprelu", seed=seed, dtype=torch.float32).fold()


@pytest.fixture
def suite(tmp_path):
    root = tmp_path / "run" / "out" / "suite"
    entries = [entry_of(jumprelu(i), root, site=site, l0=7.6) for i, site in enumerate(SITES)]
    entries.append(entry_of(jumprelu(9), root, site=SITES[0], l0=8.4, seed=1))
    write_manifest(
        root,
        Manifest(
            subject={"source": "/home/me/secret/model", "text": "/home/me/mails", "batch": 4},
            model="quick model",
            identity={"weights": "abc"},
            entries=tuple(entries),
            licence="model: gemma; data: my own",
        ),
    )
    evaluation = {"tokens": 1024, "entries": {entries[0].name: {"l0": 8.2, "delta_loss": 0.123}}}
    files.write_json(root.parent / "evaluation" / "evaluation.json", evaluation)
    return open_suite(tmp_path / "run")


def head_of(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1]
    return {k: json.loads(v) for k, v in (line.split(": ", 1) for line in head.split("\n"))}


def test_a_suite_is_laid_out_as_gemma_scope_is(suite, tmp_path):
    out = publish(suite, tmp_path / "out")
    found = {path.parent.relative_to(out).as_posix() for path in out.rglob("params.npz")}
    assert found == {
        "quick-model-res/layer_0/width_24/average_l0_8",
        "quick-model-res/layer_0/width_24/average_l0_8_2",
        "quick-model-mlp/layer_0/width_24/average_l0_8",
        "quick-model-att/layer_1/width_24/average_l0_8",
        "quick-model-other/head/width_24/average_l0_8",
    }
    with np.load(out / "quick-model-res/layer_0/width_24/average_l0_8/params.npz") as arrays:
        assert {*arrays.files} == {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"}
        assert arrays["W_enc"].shape == (D, 24)
        assert arrays["W_dec"].shape == (24, D)


@pytest.mark.parametrize("format", ["gemma-scope", "gemma-scope-2", "sae-lens", "tenfold"])
def test_what_was_published_is_the_same_function(suite, tmp_path, format):
    again = open_suite(publish(suite, tmp_path / "out", format=format))
    assert [entry.name for entry in again.entries] == [entry.name for entry in suite.entries]
    for entry in again.entries:
        wanted, found = suite.load(entry.name), again.load(entry, verify=True)
        assert torch.equal(found.encode(X) > 0, wanted.encode(X) > 0)
        assert torch.allclose(found(X), wanted(X), atol=1e-6)


def test_the_second_edition_names_its_hook_points(suite, tmp_path):
    out = publish(suite, tmp_path / "out", format="gemma-scope-2")
    config = files.read_json(out / "attn_out" / "layer_1_width_24_l0_8" / "config.json")
    assert config["hf_hook_point_in"] == "blocks.1.attn.out.input"
    assert config["architecture"] == "jump_relu"
    config = files.read_json(out / "resid_post" / "layer_0_width_24_l0_8" / "config.json")
    assert config["hf_hook_point_in"] == config["hf_hook_point_out"] == "blocks.0.output"


def test_the_card_tells_what_a_user_must_know(suite, tmp_path):
    card = Card(licence="cc-by-4.0", base_model="me/model", datasets=("me/data",), notes="Mine.")
    out = publish(suite, tmp_path / "out", card=card)
    head = head_of(out)
    assert head["library_name"] == "tenfold"
    assert {"tenfold", "scope"} <= {*head["tags"]}
    assert (head["license"], head["base_model"]) == ("cc-by-4.0", "me/model")
    text = (out / "README.md").read_text()
    for words in (
        "seeds: 0, 1",
        "| delta loss |",
        "| 8.2 | 0.25 | 0.123 |",
        "`quick-model-res/layer_0/width_24/average_l0_8_2` is blocks.0/w24_l0_8_s1 (seed 1",
        "`quick-model-other/head/width_24/average_l0_8`: site `head`",
        "model: gemma; data: my own",
        "Limits",
        "Mine.",
    ):
        assert words in text
    assert read_licence(out) == "cc-by-4.0"


def test_no_path_of_this_machine_is_published(suite, tmp_path):
    out = publish(suite, tmp_path / "out")
    for path in out.rglob("*"):
        if path.suffix in (".json", ".md"):
            assert "/home/me" not in path.read_text()
            assert str(tmp_path) not in path.read_text()
    assert files.read_json(out / "manifest.json")["subject"]["source"] == "model"


def test_a_hostile_name_stays_inside_its_field(suite, tmp_path):
    name = 'x"\nlicense: mit\n`|<script>'
    hostile = SavedSuite(path=suite.path, manifest=replace(suite.manifest, model=name))
    out = publish(hostile, tmp_path / "out", card=Card(base_model=name))
    assert head_of(out)["license"] == "other"
    assert head_of(out)["base_model"] == name


@pytest.mark.parametrize(
    ("site", "wanted"),
    [
        ("model.layers.12", ("res", 12)),
        ("model.layers.12:out[0]", ("res", 12)),
        ("transformer.h.3.mlp", ("mlp", 3)),
        ("model.decoder.layers.0.fc2", ("mlp", 0)),
        ("model.layers.1.post_feedforward_layernorm", ("mlp", 1)),
        ("model.layers.1.self_attn.o_proj:in", ("att", 1)),
        ("transformer.h.1.attn.c_proj:in", ("att", 1)),
        ("gpt_neox.layers.1.attention.dense:in", ("att", 1)),
        ("model.layers.1.self_attn.o_proj", ("other", None)),
        ("model.layers.1.mlp.act_fn", ("other", None)),
        ("model.layers.1:in", ("other", None)),
        ("features.3@1", ("other", None)),
        ("blocks.3@1", ("other", None)),
        ("head", ("other", None)),
        ("3", ("other", None)),
        (":out", ("other", None)),
    ],
)
def test_sites_are_known_by_their_words(suite, site, wanted):
    assert site_of_release(replace(suite.entries[0], site=site)) == wanted


def test_transcoders_are_published_where_the_format_has_them(tmp_path):
    root = tmp_path / "suite"
    made = transcoder("jumprelu", dtype=torch.float32).fold()
    site, out = "blocks.2.mlp_norm", "blocks.2.mlp_post_norm"
    entry = entry_of(made, root, site=site, site_out=out, l0=3.0)
    manifest = Manifest(subject={}, model="m", identity={}, entries=(entry,))
    write_manifest(root, manifest)
    with pytest.raises(TenfoldError, match="holds autoencoders, not transcoders; use"):
        publish(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    again = open_suite(publish(root, tmp_path / "out", format="gemma-scope-2"))
    assert again.entries[0].path == "transcoder/layer_2_width_24_l0_3"
    found = again.load(again.entries[0])
    assert found.output_width == OUT
    assert torch.allclose(found(X), made(X), atol=1e-6)


def test_kinds_that_the_format_does_not_hold_leave_nothing_behind(suite, tmp_path):
    root = tmp_path / "other"
    entry = entry_of(dictionary("topk", dtype=torch.float32).fold(), root, site="blocks.0", l0=4.0)
    write_manifest(root, replace(suite.manifest, entries=(entry,)))
    with pytest.raises(TenfoldError, match="not topk"):
        publish(root, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "other"}


def test_only_releases_are_overwritten_and_only_when_asked(suite, tmp_path):
    out = publish(suite, tmp_path / "out")
    (out / "old").write_text("old")
    with pytest.raises(TenfoldError, match="is not empty; choose another folder or say"):
        publish(suite, out)
    publish(suite, out, overwrite=True)
    assert not (out / "old").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(TenfoldError, match="was not written by tenfold"):
        publish(suite, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_an_unknown_format_gets_the_nearest_name(suite, tmp_path):
    with pytest.raises(TenfoldError, match="did you mean gemma-scope"):
        publish(suite, tmp_path / "out", format="gemma_scope")


def test_saving_pretrained_keeps_kinds_that_others_do_not_have(suite, tmp_path):
    root = tmp_path / "other"
    made = dictionary("gated", dtype=torch.float32).fold()
    write_manifest(
        root,
        replace(suite.manifest, entries=(entry_of(made, root, site="blocks.0", l0=4.0),)),
    )
    folder = open_suite(root).save_pretrained(tmp_path / "saved")
    again = SavedSuite.from_pretrained(folder)
    assert again.entries[0].kind == "gated"
    assert torch.equal(again.load(again.entries[0])(X), made(X))
    assert files.read_json(folder / "config.json")["library_name"] == "tenfold"


def test_pushing_a_suite_uploads_what_save_pretrained_writes(suite, monkeypatch):
    seen = {}

    def push(folder, repository, *, private, token):
        seen.update(repository=repository, private=private, token=token)
        seen["names"] = [entry.name for entry in open_suite(folder).entries]
        seen["card"] = (folder / "README.md").is_file()
        return "address"

    monkeypatch.setattr(hub, "push_folder", push)
    assert suite.push_to_hub("me/suite") == "address"
    assert seen["names"] == [entry.name for entry in suite.entries]
    assert (seen["private"], seen["token"], seen["card"]) == (True, None, True)


def test_a_suite_comes_back_from_the_hub_by_name(suite, tmp_path, monkeypatch):
    folder = suite.save_pretrained(tmp_path / "saved")
    fake = types.ModuleType("huggingface_hub")
    fake.HfApi = lambda: types.SimpleNamespace(
        model_info=lambda *_a, **_k: types.SimpleNamespace(siblings=[])
    )
    fake.snapshot_download = lambda name, **wanted: str(folder) if wanted["revision"] else name
    fake.errors = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    again = SavedSuite.from_pretrained("me/suite", revision="abc")
    assert len(again.entries) == len(suite.entries)


def test_one_dictionary_is_saved_with_a_card_and_found_again(tmp_path):
    made = jumprelu()
    folder = save_dictionary(
        made, tmp_path / "one", values={"site": "blocks.3", "model": "m", "seed": 4}
    )
    assert "`blocks.3`" in (folder / "README.md").read_text()
    assert torch.equal(fetch_dictionary(folder)(X), made(X))
    assert open_suite(folder).entries[0].seed == 4


def test_a_manifest_that_points_outside_its_folder_is_refused(suite, tmp_path):
    save(jumprelu(), tmp_path / "elsewhere")
    entry = replace(suite.entries[0], path="../../../elsewhere")
    with pytest.raises(TenfoldError, match="outside its folder"):
        suite.load(entry)


class Small(nn.Module):
    """Blocks whose sites are called as in the suite above."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict() for _ in range(2)])
        for block in self.blocks:
            block["mlp_post_norm"] = nn.Identity()
            block["attn"] = nn.ModuleDict({"out": nn.Linear(D, D)})
            block.forward = lambda x, block=block: block["mlp_post_norm"](block["attn"]["out"](x))
        self.head = nn.Linear(D, D)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_a_published_suite_is_attached_by_its_manifest(suite, tmp_path):
    out = publish(suite, tmp_path / "out")
    specimen = Specimen(
        module=Small(),
        batches=lambda _split, _start=0: iter([Batch(inputs=(X[None],))]),
        identity={},
    )
    found = attach(out, specimen)
    assert {*found} == {*SITES}
    assert [name for name, _ in found["blocks.0"]] == [
        e.name for e in suite.entries if e.site == "blocks.0"
    ]
    assert list(attach(out, specimen, names=["head/*"])) == ["head"]
    with pytest.raises(TenfoldError, match="no dictionary called nothing"):
        attach(out, specimen, names=["nothing"])


def test_the_rooms_door_leads_here():
    from tenfold import scope

    assert scope.publish is not None
    assert scope.attach is publishing.attach
