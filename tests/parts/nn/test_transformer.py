import dataclasses

import pytest
import torch

from tenfold.parts.nn.config import DecoderConfig
from tenfold.parts.nn.transformer import Decoder

SMALL = DecoderConfig(
    vocab=11, context=9, width=8, depth=2, heads=2, kv_heads=1, head_width=4, hidden=12
)
GEMMA_2 = dataclasses.replace(SMALL, attention_cap=50.0, final_cap=30.0)
PLAIN = dataclasses.replace(SMALL, norms="pre", feedforward="gelu", embedding="own")


def build(config, seed=0):
    return Decoder(config, generator=torch.Generator().manual_seed(seed))


def draw(length=9, seed=0):
    return torch.randint(11, (2, length), generator=torch.Generator().manual_seed(seed))


def watch(model, tokens):
    """Run the model; return its scores and the output of every module by name."""
    seen = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    return model(tokens), seen


@pytest.mark.parametrize("config", [SMALL, GEMMA_2, PLAIN])
def test_a_later_token_changes_no_earlier_score(config):
    model, tokens = build(config), draw()
    changed = tokens.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    was, now = model(tokens), model(changed)
    torch.testing.assert_close(was[:, :5], now[:, :5])
    assert not torch.allclose(was[:, 5:], now[:, 5:])


def test_a_shorter_text_has_the_scores_of_the_longer_ones_beginning():
    model, tokens = build(SMALL), draw()
    torch.testing.assert_close(model(tokens[:, :4]), model(tokens)[:, :4])


def test_a_text_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match=r"10 tokens exceed the context \(9\); cut the text"):
        build(SMALL)(draw(length=10))


def test_the_stream_after_a_block_is_the_sum_of_all_that_was_added():
    model, tokens = build(SMALL), draw()
    _, seen = watch(model, tokens)
    start = seen["embed"] * 8**0.5
    added = [seen[f"blocks.{i}.{layer}_post_norm"] for i in range(2) for layer in ("attn", "mlp")]
    torch.testing.assert_close(seen["blocks.1"], start + sum(added))


def test_tied_scores_are_products_with_the_embedding():
    model, tokens = build(SMALL), draw()
    scores, seen = watch(model, tokens)
    torch.testing.assert_close(scores, seen["norm"] @ model.embed.weight.T)


def test_tied_models_have_no_second_matrix_and_own_ones_do():
    tied, own = build(SMALL), build(dataclasses.replace(SMALL, embedding="own"))
    assert set(dict(own.named_parameters())) - set(dict(tied.named_parameters())) == {
        "unembed.weight"
    }


def test_the_final_cap_bounds_all_scores():
    model = build(dataclasses.replace(SMALL, final_cap=0.1))
    assert 0.05 < model(draw()).abs().max() <= 0.1


def test_weights_depend_on_the_generator_alone():
    before = torch.get_rng_state()
    first, again, other = build(SMALL), build(SMALL), build(SMALL, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(draw()), again(draw()))
    assert not torch.allclose(first(draw()), other(draw()))


def test_scores_of_a_fresh_model_have_a_variance_near_one():
    scores = build(dataclasses.replace(SMALL, width=64, vocab=200, embedding="own"))(draw())
    assert 0.8 < scores.var() < 1.25
