import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.splice import splice
from tenfold.parts.text.tokens import BOUNDARY
from tenfold.rooms.scope.steer import (
    Edit,
    apply_edits,
    complete,
    edited,
    next_tokens,
    place_edits,
    spliced_loss,
    steering,
)
from tenfold.rooms.scope.suite import open_suite
from web.small import CONTEXT, LATENTS, WIDTH, make_dictionary, make_specimen, make_suite

SITE = "blocks.0"
KINDS = ("jumprelu", "relu", "gated", "topk", "batchtopk")


@pytest.fixture
def specimen():
    return make_specimen()


@pytest.fixture
def tokens(specimen):
    return specimen.encode("to be or not")


def activations(count=5, seed=0):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def plain_edited(f, edits):
    """The definition, one number at a time."""
    rows = [list(row) for row in f.tolist()]
    for row in rows:
        for edit in edits:
            old = row[edit.latent]
            new = {
                "ablate": 0.0,
                "clamp": edit.value,
                "scale": old * edit.value,
                "add": old + edit.value,
            }
            row[edit.latent] = new[edit.operation]
    return torch.tensor(rows)


edits_of_any_kind = st.lists(
    st.builds(
        Edit,
        latent=st.integers(0, 4),
        operation=st.sampled_from(["ablate", "clamp", "scale", "add"]),
        value=st.sampled_from([-1.5, 0.0, 0.5, 2.0]),
    ),
    max_size=6,
)


@given(edits=edits_of_any_kind, seed=st.integers(0, 9))
@settings(max_examples=30)
def test_edits_are_done_in_order_and_touch_nothing_else(edits, seed):
    f = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
    before = f.clone()
    assert torch.equal(apply_edits(f, edits), plain_edited(f, edits))
    assert torch.equal(f, before)


@pytest.mark.parametrize("kind", KINDS)
def test_keeping_the_error_without_edits_gives_the_very_bits_back(kind):
    x = activations()
    x[0, 0] = -0.0
    with torch.no_grad():
        same = edited(make_dictionary(kind=kind), [])(x)
    assert torch.equal(same.view(torch.int32), x.view(torch.int32))


@pytest.mark.parametrize("kind", KINDS)
def test_dropping_the_error_without_edits_is_the_reconstruction(kind):
    x, dictionary = activations(), make_dictionary(kind=kind)
    assert torch.equal(edited(dictionary, [], error="drop")(x), dictionary(x))


def test_keeping_the_error_moves_by_the_latents_directions_only():
    x, dictionary = activations(), make_dictionary()
    edits = [Edit(latent=2, operation="add", value=3.0), Edit(latent=7, operation="ablate")]
    f = dictionary.encode(x)
    expected = x + 3.0 * dictionary.w_dec[2] - f[:, 7:8] * dictionary.w_dec[7]
    torch.testing.assert_close(edited(dictionary, edits)(x), expected)


def test_positions_where_no_edit_changes_a_latent_keep_their_bits():
    x, dictionary = activations(200), make_dictionary()
    fires = dictionary.encode(x)[:, 3] > 0
    assert 0 < fires.sum() < 200
    moved = edited(dictionary, [Edit(latent=3, operation="ablate")])(x)
    assert torch.equal(moved[~fires], x[~fires])
    assert not torch.isclose(moved[fires], x[fires]).all(dim=-1).any()


def test_a_dictionary_before_folding_moves_in_raw_units():
    dictionary = make_dictionary()
    dictionary.scale = 4.0
    x = activations()
    edit = Edit(latent=2, operation="add", value=0.5)
    moved = edited(dictionary, [edit])(x)
    torch.testing.assert_close(moved - x, (4.0 * 0.5 * dictionary.w_dec[2]).expand_as(x))
    assert torch.allclose(
        edited(dictionary, [edit], error="drop")(x),
        dictionary.decode(apply_edits(dictionary.encode(x), [edit]), x),
    )


@pytest.mark.parametrize("error", ["keep", "drop"])
def test_gradients_flow_through_the_reconstruction(error):
    x, dictionary = activations().requires_grad_(), make_dictionary()
    edit = Edit(latent=5, operation="scale", value=2.0)
    edited(dictionary, [edit], error=error)(x).square().sum().backward()
    y = x.detach().clone().requires_grad_()
    hat = dictionary.decode(apply_edits(dictionary.encode(y), [edit]), y)
    value = edited(dictionary, [edit], error=error)(x).detach()
    (hat * 2 * value).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    assert x.grad.abs().sum() > 0


def test_the_type_of_the_activation_stays():
    x = activations().bfloat16()
    for error in ("keep", "drop"):
        found = edited(make_dictionary(), [Edit(latent=0, operation="add", value=1.0)], error=error)
        assert found(x).dtype == torch.bfloat16


def test_an_edited_function_can_be_spliced_by_hand(specimen, tokens):
    change = edited(make_dictionary(), [Edit(latent=1, operation="add", value=5.0)])
    with splice(specimen.module, {SITE: change}):
        by_hand = specimen.scores(tokens)
    with steering(
        dataclasses.replace(specimen, special=()),
        {SITE: (make_dictionary(), [Edit(latent=1, operation="add", value=5.0)])},
    ):
        steered = specimen.scores(tokens)
    assert torch.equal(by_hand, steered)


def test_steering_without_edits_leaves_every_bit_of_the_forward_pass(specimen, tokens):
    clean = specimen.scores(tokens)
    edits = {site: (make_dictionary(), []) for site in ("blocks.0", "blocks.1")}
    with steering(specimen, edits) as counts:
        assert torch.equal(specimen.scores(tokens), clean)
    assert counts == {"blocks.0": 1, "blocks.1": 1}
    assert torch.equal(specimen.scores(tokens), clean)


def test_special_tokens_keep_their_clean_values(specimen, tokens):
    with steering(specimen, {SITE: (make_dictionary(), [])}, error="drop"):
        steered = capture_site(specimen, tokens)
    clean = capture_site(specimen, tokens)
    assert tokens[0, 0] == BOUNDARY
    assert torch.equal(steered[0, 0], clean[0, 0])
    torch.testing.assert_close(steered[0, 1:], make_dictionary()(clean[0, 1:]))


def capture_site(specimen, tokens):
    from tenfold.parts.sae.taps import capture

    return capture(specimen.module, SITE, lambda: specimen.scores(tokens))[SITE]


def test_a_mask_limits_what_is_replaced(specimen, tokens):
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    mask[0, 3] = True
    with steering(specimen, {SITE: (make_dictionary(), [])}, error="drop", mask=mask):
        steered = capture_site(specimen, tokens)
    clean = capture_site(specimen, tokens)
    changed = (steered != clean).any(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == [3]


def transcoder():
    return make_dictionary(transcoder=True)


def test_a_transcoder_is_steered_at_the_site_it_replaces(specimen, tokens):
    coder = transcoder()
    where = ("blocks.0", "blocks.1")
    clean = specimen.scores(tokens)
    with steering(specimen, {where: (coder, [])}):
        assert torch.equal(specimen.scores(tokens), clean)
    from tenfold.parts.sae.taps import capture

    def read():
        return capture(specimen.module, list(where), lambda: specimen.scores(tokens))

    before = read()
    edit = Edit(latent=4, operation="add", value=2.0)
    with steering(specimen, {where: (coder, [edit])}):
        kept = read()
    with steering(specimen, {where: (coder, [edit])}, error="drop"):
        dropped = read()
    torch.testing.assert_close(
        kept["blocks.1"][0, 1:], before["blocks.1"][0, 1:] + 2.0 * coder.w_dec[4]
    )
    torch.testing.assert_close(
        dropped["blocks.1"][0, 1:], coder(before["blocks.0"][0, 1:]) + 2.0 * coder.w_dec[4]
    )


def test_a_transcoder_whose_sites_are_the_wrong_way_round_is_told(specimen, tokens):
    edits = {("blocks.1", "blocks.0"): (transcoder(), [])}
    with (
        pytest.raises(TenfoldError, match=r"passed before 'blocks\.1'"),
        steering(specimen, edits, error="drop"),
    ):
        specimen.scores(tokens)


def test_dictionaries_and_places_that_do_not_fit_are_refused(specimen):
    with (
        pytest.raises(TenfoldError, match=r"'blocks\.0' does not fit .* \(site read"),
        steering(specimen, {SITE: (transcoder(), [])}),
    ):
        pass
    with (
        pytest.raises(TenfoldError, match="wants one site"),
        steering(specimen, {("blocks.0", "blocks.1"): (make_dictionary(), [])}),
    ):
        pass
    with pytest.raises(TenfoldError, match="use steering"):
        edited(transcoder(), [])


def test_a_latent_that_does_not_exist_is_told_with_the_width():
    with pytest.raises(TenfoldError, match="latent 24 does not exist: the dictionary has 24"):
        edited(make_dictionary(), [Edit(latent=LATENTS, operation="ablate")])


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"latent": -1, "operation": "ablate"}, "latent -1 does not exist"),
        ({"latent": 0, "operation": "abate"}, "did you mean ablate"),
        ({"latent": 0, "operation": "add", "value": math.inf}, "value inf"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(facts, told):
    with pytest.raises(TenfoldError, match=told):
        Edit(**facts)


def test_activations_of_another_width_are_refused_with_both_shapes():
    with pytest.raises(TenfoldError, match=r"\[2, 5\] have width 5, the dictionary is D 12"):
        edited(make_dictionary(), [])(torch.zeros(2, 5))


def plain_complete(specimen, tokens, count):
    row = tokens[0].tolist()
    for _ in range(count):
        window = torch.tensor([row[-CONTEXT:]])
        row.append(int(specimen.module(window)[0, -1].argmax()))
    return row


def test_a_greedy_completion_takes_the_best_token_each_time_within_the_context(specimen, tokens):
    found = complete(specimen, tokens, count=CONTEXT)
    assert found.shape == (1, tokens.shape[1] + CONTEXT)
    assert found[0].tolist() == plain_complete(specimen, tokens, CONTEXT)


def test_a_drawn_completion_depends_on_the_seed_and_on_nothing_else(specimen, tokens):
    def draw(seed):
        return complete(specimen, tokens, count=12, temperature=1.0, seed=seed)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    shorter = complete(specimen, tokens, count=5, temperature=1.0, seed=1)
    assert torch.equal(shorter, draw(1)[:, :-7])


def test_draws_follow_the_model_s_chances():
    chances = torch.tensor([0.5, 0.3, 0.2, 0.0])

    def scores(tokens):
        return chances.log().expand(*tokens.shape, 4)

    specimen = make_specimen(scores=scores, context=4)
    found = complete(specimen, torch.zeros(4_000, 1, dtype=torch.long), count=1, temperature=1.0)
    shares = torch.bincount(found[:, 1], minlength=4) / 4_000
    assert (shares - chances).abs().max() < 0.03  # 3.8 standard errors
    assert shares[3] == 0


def test_a_completion_that_is_asked_to_stop_stops(specimen, tokens):
    class Enough(Exception):
        pass

    seen = []

    def check():
        seen.append(1)
        if len(seen) == 3:
            raise Enough

    with pytest.raises(Enough):
        complete(specimen, tokens, count=10, check=check)
    assert len(seen) == 3


def test_completions_that_cannot_be_are_refused(specimen, tokens):
    with pytest.raises(TenfoldError, match="0 tokens"):
        complete(specimen, tokens[:, :0], count=1)
    with pytest.raises(TenfoldError, match=r"count \(-1\)"):
        complete(specimen, tokens, count=-1)
    with pytest.raises(TenfoldError, match="scores no next tokens"):
        complete(make_specimen(scores=None), tokens, count=1)


def test_the_table_of_next_tokens_holds_both_models_chances(specimen, tokens):
    edits = {SITE: (make_dictionary(), [Edit(latent=1, operation="add", value=8.0)])}
    rows = next_tokens(specimen, tokens, edits, count=5)
    plain = torch.softmax(specimen.scores(tokens)[0, -1].double(), dim=-1)
    with steering(specimen, edits):
        steered = torch.softmax(specimen.scores(tokens)[0, -1].double(), dim=-1)
    best = {*plain.topk(5).indices.tolist(), *steered.topk(5).indices.tolist()}
    assert {row.token for row in rows} == best
    for row in rows:
        assert row.plain == pytest.approx(float(plain[row.token]))
        assert row.steered == pytest.approx(float(steered[row.token]))
        assert row.text == specimen.vocabulary[row.token]
    changes = [abs(row.change) for row in rows]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0.01


def test_without_edits_no_next_token_changes(specimen, tokens):
    assert all(row.change == 0 for row in next_tokens(specimen, tokens, {}))


def test_several_sites_are_spliced_at_once_as_by_hand(specimen):
    batch = next(specimen.batches("held_out"))
    first, second = make_dictionary(0), make_dictionary(1)
    edits = {"blocks.0": (first, []), "blocks.1": (second, [])}
    mask = batch.mask.unsqueeze(-1)

    def by_hand(tokens):
        model = specimen.module
        x = model.blocks[0](model.embed[tokens])
        x = model.blocks[1](torch.where(mask, first(x), x))
        chances = torch.log_softmax((torch.where(mask, second(x), x) @ model.head)[:, :-1], dim=-1)
        return -chances.gather(-1, tokens[:, 1:, None]).mean()

    found = spliced_loss(specimen, edits, batch)
    assert found == pytest.approx(float(by_hand(batch.inputs[0])), rel=1e-6)
    assert spliced_loss(specimen, edits, batch.inputs[0]) == pytest.approx(found)
    clean = spliced_loss(specimen, {}, batch)
    assert clean == pytest.approx(float(specimen.loss(batch).nanmean()))
    assert found > clean
    assert spliced_loss(specimen, edits, batch, error="keep") == clean


def test_a_mask_longer_than_what_the_loss_runs_on_is_cut(specimen):
    batch = next(specimen.batches("held_out"))

    def loss(batch):
        tokens = batch.inputs[0]
        chances = torch.log_softmax(specimen.module(tokens[:, :-1]), dim=-1)
        return -chances.gather(-1, tokens[:, 1:, None]).squeeze(-1)

    edits = {SITE: (make_dictionary(), [])}
    shorter = dataclasses.replace(specimen, loss=loss)
    assert spliced_loss(shorter, edits, batch) == pytest.approx(
        spliced_loss(specimen, edits, batch), rel=1e-6
    )


def test_pictures_have_a_spliced_loss_too():
    module = nn.Sequential(nn.Linear(6, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 3)).eval()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))

    def loss(batch):
        return torch.logsumexp(module(batch.inputs[0]), dim=-1)

    specimen = make_specimen(
        module=module, loss=loss, shows="picture", special=(), encode=None, scores=None
    )
    dictionary, batch = make_dictionary(), Batch(inputs=(x,))
    found = spliced_loss(specimen, {"1": (dictionary, [])}, batch)
    with torch.no_grad():
        expected = torch.logsumexp(module[2](dictionary(module[1](module[0](x)))), dim=-1).mean()
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_losses_that_cannot_be_are_refused(specimen):
    with pytest.raises(TenfoldError, match="has no loss"):
        spliced_loss(make_specimen(loss=None), {}, torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(TenfoldError, match=r"nothing is predicted in a batch of losses \[1, 1\]"):
        spliced_loss(specimen, {}, torch.zeros(1, 1, dtype=torch.long))


def test_edits_are_placed_by_the_names_of_a_suite(tmp_path):
    suite = open_suite(make_suite(tmp_path))
    edit = Edit(latent=1, operation="ablate")
    first, second = suite.entries[0], suite.entries[2]
    placed = place_edits(suite, {first.name: [edit], second.name: []})
    assert list(placed) == ["blocks.0", "blocks.1"]
    dictionary, edits = placed["blocks.0"]
    assert list(edits) == [edit]
    assert torch.equal(dictionary.w_dec, suite.load(first).w_dec)
    with pytest.raises(TenfoldError, match=r"both stand at blocks\.0"):
        place_edits(suite, {first.name: [edit], suite.entries[1].name: [edit]})
    with pytest.raises(TenfoldError, match="unknown dictionary of the suite"):
        place_edits(suite, {"blocks.0/w24": [edit]})
