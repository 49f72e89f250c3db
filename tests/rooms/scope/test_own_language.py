import math

import pytest
import torch
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import torch_stream
from tenfold.parts.sae.harvest import stream
from tenfold.rooms.scope.own_language import BYTES, bytes_of, language_model
from tenfold.rooms.scope.texts import PADDING

LETTERS = "abcdefgh"
BEGIN, END = len(LETTERS), len(LETTERS) + 1
VOCABULARY = [*LETTERS, "<begin>", "<end>"]
CONTEXT, BATCH = 10, 4


class Bigram(nn.Module):
    """Tokens [B, T] to scores [B, T, V] that depend on the token itself only."""

    def __init__(self, vocabulary=10):
        super().__init__()
        self.table = nn.Embedding(vocabulary, vocabulary)
        nn.init.normal_(self.table.weight, generator=torch_stream(0, "bigram"))

    def forward(self, tokens):
        return self.table(tokens)


def letters(text):
    """Know eight letters and a mark for an end, and nothing else."""
    return [END if letter == "." else LETTERS.index(letter) for letter in text]


def document(number, length=30):
    chosen = torch.randint(len(LETTERS), (length,), generator=torch_stream(number, "document"))
    return "".join(LETTERS[letter] for letter in chosen)


@pytest.fixture
def text(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(f"{document(number, 20 + number)}.")
    return tmp_path


def model(text, **changes):
    told = {
        "context": CONTEXT,
        "encode": letters,
        "vocabulary": VOCABULARY,
        "begin": (BEGIN,),
        "special": (BEGIN, END),
        "batch": BATCH,
    }
    return language_model(Bigram(), text, **(told | changes))


def all_batches(specimen):
    return [batch for split in ("train", "held_out") for batch in specimen.batches(split)]


# Windows


def test_windows_have_the_context_and_begin_as_the_tokenizer_says(text):
    for batch in all_batches(model(text)):
        (tokens,) = batch.inputs
        assert tokens.shape[1] == CONTEXT
        assert (tokens[:, 0] == BEGIN).all()


def test_all_batches_but_the_last_of_a_split_are_full(text):
    specimen = model(text)
    for split in ("train", "held_out"):
        sizes = [len(batch.inputs[0]) for batch in specimen.batches(split)]
        assert set(sizes[:-1]) <= {BATCH}
        assert 1 <= sizes[-1] <= BATCH


def test_every_document_is_read_whole_and_once(text):
    found = []
    for split in ("train", "held_out"):
        rows = {}
        for batch in model(text).batches(split):
            tokens, owners = batch.inputs[0].flatten(), batch.labels["document"].flatten()
            for token, owner in zip(tokens.tolist(), owners.tolist(), strict=True):
                if owner != PADDING and token != BEGIN:
                    rows.setdefault(owner, []).append(token)
        found += rows.values()
    written = [letters(file.read_text()) for file in text.iterdir()]
    assert sorted(found) == sorted(written)


def test_special_tokens_and_padding_are_masked_out_and_nothing_else(text):
    padded = 0
    for batch in all_batches(model(text)):
        (tokens,) = batch.inputs
        is_padding = batch.labels["document"] == PADDING
        assert torch.equal(batch.mask, ~is_padding & (tokens != BEGIN) & (tokens != END))
        padded += int(is_padding.sum())
    assert padded


def test_nothing_is_special_unless_told(text):
    for batch in all_batches(model(text, special=())):
        assert torch.equal(batch.mask, batch.labels["document"] != PADDING)


def test_held_out_and_training_text_share_no_document(text):
    seen = {}
    for split in ("train", "held_out"):
        specimen = model(text, begin=(), special=(END,))
        tokens = torch.cat([batch.inputs[0].flatten() for batch in specimen.batches(split)])
        told = "".join(VOCABULARY[token] for token in tokens.tolist())
        seen[split] = {words for words in told.split("<end>") if len(words) >= 20}
    assert seen["train"]
    assert seen["held_out"]
    assert not seen["train"] & seen["held_out"]
    assert len(seen["train"]) > len(seen["held_out"])


def test_batches_are_a_pure_function_of_split_and_number(text):
    specimen, again = model(text), model(text)
    for split in ("train", "held_out"):
        whole = list(specimen.batches(split))
        for start in (0, 1, len(whole) - 1, len(whole), len(whole) + 5):
            for made in (specimen, again):
                rest = list(made.batches(split, start))
                assert len(rest) == max(0, len(whole) - start)
                for ours, theirs in zip(rest, whole[start:], strict=True):
                    assert torch.equal(ours.inputs[0], theirs.inputs[0])
                    assert torch.equal(ours.mask, theirs.mask)
    assert specimen.identity == again.identity


def test_folders_are_kinds_of_text(tmp_path):
    for kind in ("poems", "songs"):
        (tmp_path / kind).mkdir()
        for number in range(12):
            words = document(number + 100 * (kind == "songs"))
            (tmp_path / kind / f"{number}.txt").write_text(words)
    specimen = model(tmp_path)
    assert specimen.kinds == ("poems", "songs")
    seen = torch.cat([batch.labels["kind"].flatten() for batch in specimen.batches("train")])
    assert {0, 1} <= set(seen.tolist()) <= {PADDING, 0, 1}


# Loss and scores


def test_the_loss_is_the_cross_entropy_of_the_next_token(text):
    specimen = model(text)
    batch = next(specimen.batches("train"))
    (tokens,) = batch.inputs
    table = specimen.module.table.weight
    losses = specimen.loss(batch)
    assert losses.shape == tokens.shape
    for row in range(len(tokens)):
        for place in range(CONTEXT):
            known = place + 1 < CONTEXT and batch.mask[row, place] and batch.mask[row, place + 1]
            if not known:
                assert math.isnan(losses[row, place])
                continue
            now, then = int(tokens[row, place]), int(tokens[row, place + 1])
            weights = [math.exp(score) for score in table[now].tolist()]
            expected = -math.log(weights[then] / sum(weights))
            assert float(losses[row, place]) == pytest.approx(expected, rel=1e-5)


def test_scores_may_come_from_elsewhere_than_the_module(text):
    specimen = model(text, scores=lambda tokens: torch.zeros(*tokens.shape, len(VOCABULARY)))
    losses = specimen.loss(next(specimen.batches("train")))
    found = losses[losses.isfinite()]
    assert found.tolist() == pytest.approx([math.log(len(VOCABULARY))] * len(found))


def test_a_prompt_begins_as_windows_do(text):
    assert model(text).encode("abc").tolist() == [[BEGIN, 0, 1, 2]]
    assert model(text, begin=()).encode("abc").tolist() == [[0, 1, 2]]


def test_the_module_is_frozen_and_its_sites_can_be_read(text):
    specimen = model(text)
    assert not specimen.module.training
    assert not any(parameter.requires_grad for parameter in specimen.module.parameters())
    rows = next(stream(specimen.module, "table", specimen.batches("held_out")))
    batch = next(specimen.batches("held_out"))
    kept = batch.inputs[0][batch.mask]
    assert torch.equal(rows["table"], specimen.module.table.weight[kept])


def test_bytes_are_what_is_read_unless_told(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"é {document(number)}", encoding="utf-8")
    specimen = language_model(Bigram(256), tmp_path, context=16)
    assert specimen.vocabulary == list(BYTES)
    assert len(BYTES) == 256
    assert specimen.encode("é").tolist() == [[0xC3, 0xA9]] == [bytes_of("é")]
    tokens = torch.cat([batch.inputs[0][batch.mask] for batch in all_batches(specimen)])
    assert bytes(tokens.tolist()).decode().count("é") == 8


# What tells one specimen from another


def test_other_text_other_tokens_and_other_weights_are_another_identity(text):
    def turned(words):
        return [7 - token if token < 8 else token for token in letters(words)]

    base = model(text).identity
    assert model(text, encode=turned).identity["windows"] != base["windows"]
    assert model(text, context=CONTEXT + 1).identity["windows"] != base["windows"]
    other = Bigram()
    other.table.weight.data[0, 0] += 1
    changed = language_model(
        other, text, context=CONTEXT, encode=letters, vocabulary=VOCABULARY, begin=(BEGIN,)
    )
    assert changed.identity["weights"] != base["weights"]
    assert changed.identity["windows"] == base["windows"]
    (text / "more.txt").write_text(document(99))
    assert model(text).identity["windows"] != base["windows"]


# Bad input


@pytest.mark.parametrize("token", [len(VOCABULARY), -1])
def test_a_token_outside_the_vocabulary_is_refused(text, token):
    with pytest.raises(TenfoldError, match=rf"encode gave token {token}, the vocabulary has 10;"):
        model(text, encode=lambda words: [*letters(words), token])
    with pytest.raises(TenfoldError, match=rf"begin has token {token}, the vocabulary has 10;"):
        model(text, begin=(token,))


def test_a_token_outside_the_vocabulary_late_in_one_document_is_refused(text):
    (text / "late.txt").write_text(f"{document(7, 400)}.{document(8)}.")

    def encode(words):
        return [77] if words.count(".") > 1 else letters(words)

    with pytest.raises(TenfoldError, match="encode gave token 77"):
        model(text, encode=encode)


def test_a_context_without_room_for_text_is_refused(text):
    with pytest.raises(TenfoldError, match="windows of 1 tokens hold no text"):
        model(text, context=1)
