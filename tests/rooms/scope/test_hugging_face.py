import json
import shutil
import sys

import numpy as np
import pytest
import torch

from rooms.scope.language_models import HEAD_WIDTH, HEADS, LAYERS, WIDTH, write_model, write_texts
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.scope.anatomy import find_blocks, watch_modules
from tenfold.rooms.scope.config import Subject
from tenfold.rooms.scope.subjects import describe_sites, open_subject, propose_sites

transformers = pytest.importorskip("transformers", reason="needs the extra hf")

KINDS = ("gemma2", "llama", "gpt2")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, texts):
    root = tmp_path_factory.mktemp("models")
    return {
        "gemma2": write_model(root / "gemma2", texts),
        "llama": write_model(root / "llama", texts, kind="llama", side="left"),
        "gpt2": write_model(root / "gpt2", texts, kind="gpt2", begins=False, side="left"),
    }


def opened(folder, texts, **changes):
    return open_subject(Subject(source=str(folder), text=str(texts), context=24, **changes))


def hand_made(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)


def test_gemma_2_is_read_at_the_papers_sites(folders, texts):
    inner = HEADS * HEAD_WIDTH
    assert propose_sites(opened(folders["gemma2"], texts)) == {
        f"model.layers.{layer}{site}": width
        for layer in range(LAYERS)
        for site, width in (
            (".post_feedforward_layernorm", WIDTH),
            (".self_attn.o_proj:in", inner),
            ("", WIDTH),
        )
    }
    assert inner != WIDTH


@pytest.mark.parametrize(
    ("kind", "sites"),
    [
        ("llama", ["model.layers.0.mlp", "model.layers.0.self_attn.o_proj:in", "model.layers.0"]),
        ("gpt2", ["transformer.h.0.attn.c_proj:in", "transformer.h.0.mlp", "transformer.h.0"]),
    ],
)
def test_models_of_other_names_are_read_at_the_same_kinds_of_sites(folders, texts, kind, sites):
    proposed = list(propose_sites(opened(folders[kind], texts)))
    assert proposed[:3] == sites
    assert [site.replace(".0", ".1") for site in sites] == proposed[3:]


def test_sites_are_described_with_shapes_and_bytes_a_token(folders, texts):
    rows = {row.name: row for row in describe_sites(opened(folders["gemma2"], texts, batch=3))}
    heads = rows["model.layers.1.self_attn.o_proj:in"]
    assert heads.shape == (3, 24, HEADS * HEAD_WIDTH)
    assert (heads.float32_bytes, heads.bfloat16_bytes) == (4 * 48, 2 * 48)
    assert heads.proposed
    assert not rows["model.layers.1.self_attn.o_proj"].proposed
    assert "model.layers.0.mlp.down_proj" in rows


@pytest.mark.parametrize("kind", KINDS)
def test_each_window_is_what_the_model_alone_would_read(folders, texts, kind):
    specimen, model = opened(folders[kind], texts, batch=4), hand_made(folders[kind])
    batch = list(specimen.batches("held_out"))[-1]
    found = specimen.module(*batch.inputs, **batch.keywords).logits
    real = batch.labels["document"] >= 0
    assert not real[-1].all(), "the last window of a split is padded"
    for row in range(len(real)):
        tokens = batch.inputs[0][row][real[row]][None]
        assert torch.allclose(found[row][real[row]], model(tokens).logits[0], atol=2e-5)


@pytest.mark.parametrize(("kind", "side"), [("gemma2", 0), ("llama", -1), ("gpt2", -1)])
def test_padding_is_on_the_tokenizers_side(folders, texts, kind, side):
    specimen = opened(folders[kind], texts, batch=4)
    last = list(specimen.batches("train"))[-1]
    real = last.labels["document"][-1] >= 0
    assert bool(real[0 if side == 0 else -1])
    assert not bool(real[-1 if side == 0 else 0])
    places = last.keywords["position_ids"][-1][real]
    assert places.tolist() == list(range(int(real.sum())))


def test_the_loss_is_the_models_own_on_pairs_of_kept_tokens(folders, texts):
    specimen, model = opened(folders["gemma2"], texts, batch=4), hand_made(folders["gemma2"])
    batch = next(specimen.batches("train"))
    loss = specimen.loss(batch)
    tokens = batch.inputs[0]
    logs = model(tokens).logits.log_softmax(dim=-1)
    for row, place in np.ndindex(*tokens.shape):
        ends = place == tokens.shape[1] - 1
        if ends or not batch.mask[row, place] or not batch.mask[row, place + 1]:
            assert loss[row, place].isnan()
        else:
            nats = -logs[row, place, tokens[row, place + 1]]
            assert float(loss[row, place]) == pytest.approx(float(nats), abs=1e-5)


def test_special_tokens_are_masked_by_their_number(folders, tmp_path):
    (tmp_path / "marked.txt").write_text("one <turn> two <eos> three\n" * 30)
    (tmp_path / "other.txt").write_text("four five six\n" * 30)
    specimen = opened(folders["gemma2"], tmp_path)
    assert list(specimen.special) == [0, 1, 2, 3]
    seen = set()
    for split in ("train", "held_out"):
        for batch in specimen.batches(split):
            special = torch.isin(batch.inputs[0], torch.tensor([0, 1, 2, 3]))
            assert torch.equal(batch.mask, ~special)
            seen |= {*batch.inputs[0][special].tolist()}
    assert {1, 2, 3} <= seen


def test_every_window_begins_as_the_tokenizer_begins_a_text(folders, texts):
    for batch in opened(folders["gemma2"], texts).batches("train"):
        assert (batch.inputs[0][:, 0] == 2).all()
    plain = opened(folders["gpt2"], texts)
    assert not any((batch.inputs[0] == 2).any() for batch in plain.batches("train"))


def test_batches_depend_only_on_split_and_number(folders, texts):
    specimen, again = (opened(folders["llama"], texts, batch=3) for _ in range(2))
    whole = list(specimen.batches("train"))
    for number in (0, 2, len(whole) - 1):
        batch = next(again.batches("train", number))
        assert torch.equal(batch.inputs[0], whole[number].inputs[0])
        assert torch.equal(batch.mask, whole[number].mask)
    assert specimen.identity == again.identity


def test_the_splits_share_no_document(folders, texts):
    specimen = opened(folders["llama"], texts)
    said = {
        split: "".join(
            specimen.vocabulary[token]
            for batch in specimen.batches(split)
            for token in batch.inputs[0][batch.mask].tolist()
        ).replace("\\n", "\n")
        for split in ("train", "held_out")
    }
    documents = [path.read_text() for path in texts.rglob("*.txt")]
    # Windows cut documents at their starting tokens only, so that the text goes on through them.
    sides = [(text in said["train"], text in said["held_out"]) for text in documents]
    assert set(sides) == {(True, False), (False, True)}


def test_kinds_are_the_folders_of_the_text(folders, texts):
    specimen = opened(folders["llama"], texts)
    assert specimen.kinds == ("code", "prose")
    batch = next(specimen.batches("train"))
    assert set(batch.labels["kind"].unique().tolist()) <= {-1, 0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_the_unembedding_turns_normalised_streams_into_scores(folders, texts, kind):
    specimen, seen = opened(folders[kind], texts), {}
    block = specimen.module.get_submodule(list(propose_sites(specimen))[-1])
    with block.register_forward_hook(lambda _m, _a, out: seen.update(x=out)):
        scores = specimen.scores(specimen.encode("word1 word2"))
    x = seen["x"]
    if kind == "gpt2":
        x = x - x.mean(dim=-1, keepdim=True)
    found = x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() @ specimen.unembedding()
    if kind == "gemma2":
        found = torch.tanh(found / 30) * 30
    off = found - scores
    if kind == "gpt2":  # a layer norm's bias moves every position alike and is no part of it
        off = off - off.mean(dim=(0, 1))
    assert off.abs().max() < 1e-3


def test_vocabulary_reads_as_text_and_covers_the_models_numbers(folders, texts):
    specimen = opened(folders["gemma2"], texts)
    assert len(specimen.vocabulary) == 300
    assert specimen.vocabulary[-1] == "[299]"
    ids = specimen.encode("word1 é\n")[0].tolist()
    assert ids[0] == 2
    assert "".join(specimen.vocabulary[i] for i in ids[1:]) == "word1 é\\n"


def test_gradients_reach_the_embeddings_through_scores(folders, texts):
    specimen = opened(folders["gemma2"], texts)
    seen = {}

    def keep(_module, _args, out):
        seen["x"] = out.requires_grad_()

    with specimen.module.model.layers[0].register_forward_hook(keep):
        specimen.scores(specimen.encode("word1")).sum().backward()
    assert seen["x"].grad.abs().sum() > 0


def test_a_window_longer_than_the_context_is_refused(folders, texts):
    cfg = Subject(source=str(folders["llama"]), text=str(texts), context=65)
    with pytest.raises(TenfoldError, match=r"subject.context 65 exceeds the 64 positions"):
        open_subject(cfg)


def test_a_name_is_not_downloaded_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(TenfoldError, match=r"nothing is downloaded unasked; .*subject.download"):
        open_subject(Subject(source="nobody/nothing"))


def test_without_transformers_the_extra_is_named(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(TenfoldError, match=r'pip install "tenfold\[hf\]"'):
        open_subject(Subject(source=str(folders["gemma2"])))


def test_pickled_weights_and_foreign_code_are_refused(folders, texts, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(folders["llama"], folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(TenfoldError, match="with safetensors weights"):
        opened(folder, texts)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "mine.Mine"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('code of a repository was run')")
    with pytest.raises(TenfoldError, match="could not be opened"):
        opened(folder, texts)


def test_a_model_without_a_tokenizer_is_refused(folders, texts, tmp_path):
    folder = tmp_path / "mute"
    shutil.copytree(folders["llama"], folder)
    for path in folder.glob("token*"):
        path.unlink()
    with pytest.raises(TenfoldError, match="no tokenizer that can be read"):
        opened(folder, texts)


def test_the_licence_of_the_folders_card_is_told(folders, texts, tmp_path):
    folder = tmp_path / "licensed"
    shutil.copytree(folders["llama"], folder)
    (folder / "README.md").write_text("---\nlicense: gemma\nlicense_link: https://a.b/c\n---\nHi")
    assert opened(folder, texts).licence == "gemma, https://a.b/c"


@pytest.mark.parametrize(
    ("name", "sizes", "wanted"),
    [
        (
            "Bloom",  # its feed-forward module adds the residual stream itself
            {"hidden_size": 32, "n_layer": 1, "n_head": 4},
            [".self_attention.dense:in", ".mlp.dense_4h_to_h", ":out[0]"],
        ),
        (
            "OPT",
            {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "ffn_dim": 48},
            [".self_attn.out_proj:in", ".fc2", ""],
        ),
        (
            "GPTNeoX",
            {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4},
            [".attention.dense:in", ".mlp", ""],
        ),
    ],
)
def test_blocks_of_other_families_are_known_by_what_they_do(name, sizes, wanted):
    sizes |= {"word_embed_proj_dim": 32} if name == "OPT" else {}
    config = getattr(transformers, f"{name}Config")(
        vocab_size=60, bos_token_id=1, eos_token_id=2, **sizes
    )
    module = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    visits = watch_modules(module, lambda: module(torch.ones(2, 6, dtype=torch.int64)))
    (block,) = find_blocks(module, visits)
    found = [*block.attention, block.feed_forward, block.residual]
    assert [site.removeprefix(block.name) for site in found] == wanted
