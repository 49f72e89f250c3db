import itertools
import math

import numpy as np
import pytest
import torch

from tenfold.engine.config import decode, encode
from tenfold.engine.run import Options, RunStopped
from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.sae import subject as subjects
from tenfold.parts.sae.subject import load_or_train, subject_folder
from tenfold.parts.sae.subject_config import SubjectConfig, laptop, quick, tiny
from tenfold.parts.sae.taps import capture
from tenfold.parts.text.corpus import load_corpus

WORDS = np.array(["the", "cat", "sat", "on", "a", "mat", "under", "blue", "skies", "today"])
QUIET = Options(quiet=True)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    root = tmp_path_factory.mktemp("text")
    for i in range(40):
        words = np.random.default_rng(i).choice(WORDS, size=2_000)
        (root / f"{i}.{'py' if i % 2 else 'txt'}").write_text(" ".join(words))
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def trained(text, cache, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(cache))
    return load_or_train(tiny(str(text)), options=QUIET)


def weights(subject):
    return {name: value.clone() for name, value in subject.module.state_dict().items()}


def test_training_stopped_and_gone_on_with_is_bit_exact(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    with pytest.raises(RunStopped):
        load_or_train(trained.config, options=Options(quiet=True, stop_after=11))
    again = load_or_train(trained.config, options=QUIET)
    for name, value in weights(trained).items():
        assert torch.equal(weights(again)[name], value)
    assert again.report == trained.report


def test_a_second_load_trains_nothing_and_gives_the_same(trained, monkeypatch):
    monkeypatch.setattr(subjects, "train", None)
    again = load_or_train(trained.config, options=QUIET)
    for name, value in weights(trained).items():
        assert torch.equal(weights(again)[name], value)
    assert again.report == trained.report


def test_a_damaged_model_is_trained_anew(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    load_or_train(trained.config, options=QUIET)
    for file in tmp_path.glob("subjects/*/ckpt/*/tensors.safetensors"):
        file.write_bytes(b"broken")
    again = load_or_train(trained.config, options=QUIET)
    assert torch.equal(again.module.embed.weight, trained.module.embed.weight)


def test_the_place_of_the_text_is_no_part_of_the_name(text, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    corpus = load_corpus(str(text))
    here, there = tiny(str(text)), tiny("elsewhere")
    assert subject_folder(here, corpus) == subject_folder(there, corpus)
    assert subject_folder(here, corpus) != subject_folder(tiny(), load_corpus_of(corpus, "other"))


def load_corpus_of(corpus, digest):
    return type(corpus)(digest=digest, splits=corpus.splits)


def test_a_few_steps_already_lower_the_surprise_below_a_uniform_guess(trained):
    assert trained.report["bits_per_byte"] < 0.8 * math.log2(257)


def test_the_trigram_model_nearly_reaches_the_entropy_of_random_words(trained):
    # One of ten words at random every len(word) + 1 bytes.
    entropy = math.log2(len(WORDS)) / np.mean([len(word) + 1 for word in WORDS])
    assert 0.95 * entropy < trained.report["trigram_bits_per_byte"] < 1.5 * entropy


def test_code_and_prose_are_measured_apart(trained):
    report = trained.report
    low, high = sorted([report["bits_per_byte_code"], report["bits_per_byte_prose"]])
    assert low <= report["bits_per_byte"] <= high


def test_sites_are_found_with_the_widths_promised(trained):
    tokens = trained.tokens("held_out")[None, :32]
    sites = trained.sites()
    found = capture(trained.module, list(sites), lambda: trained.module(tokens))
    assert {name: x.shape[-1] for name, x in found.items()} == sites
    assert len(sites) == 3 * trained.config.decoder.depth


def test_loss_is_the_surprise_of_each_token_after_the_first(trained):
    tokens = trained.tokens("held_out")[:66].view(2, 33)
    nats = trained.loss(tokens)
    logs = trained.module(tokens[:, :-1]).log_softmax(-1)
    assert nats.shape == (2, 32)
    assert nats[1, 5].item() == pytest.approx(-logs[1, 5, tokens[1, 6]].item(), rel=1e-5)


def test_batches_from_the_middle_equal_those_from_the_beginning(trained):
    whole = list(itertools.islice(trained.batches(seed=3), 4))
    (late,) = itertools.islice(trained.batches(seed=3, start=3), 1)
    assert torch.equal(late.inputs[0], whole[3].inputs[0])
    assert not torch.equal(late.inputs[0], whole[2].inputs[0])


def test_batches_leave_out_boundaries_and_tell_document_and_kind(trained):
    batch = next(trained.batches(seed=0, split="held_out", batch=200))
    (tokens,) = batch.inputs
    assert torch.equal(batch.mask, tokens != 256)
    assert not batch.mask.all()
    packed = trained.corpus.splits["held_out"]
    kinds = [
        "prose" if packed.names[d].endswith("txt") else "code" for d in range(len(packed.names))
    ]
    document = batch.labels["document"][0, 0]
    assert ("code", "prose")[batch.labels["kind"][0, 0]] == kinds[document]


def test_the_model_is_frozen_and_lets_gradients_through(trained):
    assert not any(p.requires_grad for p in trained.module.parameters())
    assert not trained.module.training


@pytest.mark.parametrize("config", [tiny(), quick(), laptop()])
def test_configs_survive_a_round_trip_through_json(config):
    assert decode(SubjectConfig, encode(config)) == config


def test_a_vocabulary_too_small_for_bytes_is_refused():
    with pytest.raises(ValueError, match=r"decoder.vocab \(100\) is below 257"):
        SubjectConfig(decoder=DecoderConfig(vocab=100))


def test_a_subject_without_steps_is_refused():
    with pytest.raises(ValueError, match=r"steps \(0\) must be at least 1"):
        SubjectConfig(steps=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quick_model_beats_the_trigram_model_on_the_standard_library(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    report = load_or_train(quick(), options=QUIET).report
    for kind in ("", "_code", "_prose"):
        model, trigram = (report[f"{who}bits_per_byte{kind}"] for who in ("", "trigram_"))
        assert model < 0.97 * trigram
