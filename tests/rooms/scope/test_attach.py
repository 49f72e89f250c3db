from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rooms.scope import written_by_hand as hand
from rooms.scope.language_models import HEAD_WIDTH, HEADS, WIDTH, write_model, write_texts
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.splice import bridge, splice
from tenfold.rooms.scope.config import Subject
from tenfold.rooms.scope.publish import attach
from tenfold.rooms.scope.subjects import open_subject

transformers = pytest.importorskip("transformers", reason="needs the extra hf")

INNER, LATENTS = HEADS * HEAD_WIDTH, 96
SITES = {
    "res": "model.layers.{}",
    "mlp": "model.layers.{}.post_feedforward_layernorm",
    "att": "model.layers.{}.self_attn.o_proj:in",
}
REPOSITORY = "gemma-scope-2b-pt"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, texts):
    return write_model(tmp_path_factory.mktemp("gemma"), texts)


@pytest.fixture(scope="module")
def specimen(folder, texts):
    return open_subject(Subject(source=str(folder), text=str(texts), context=24, batch=4))


@pytest.fixture(scope="module")
def model(folder):
    found = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return found.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Three repositories of two layers, two dictionaries each."""
    root, values = tmp_path_factory.mktemp("release"), {}
    for number, kind in enumerate(SITES):
        for layer in range(2):
            for l0 in (9, 41):
                width = INNER if kind == "att" else WIDTH
                made = hand.arrays(100 * number + 10 * layer + l0, width, LATENTS)
                values[kind, layer, l0] = made
                hand.write_first(root, f"{REPOSITORY}-{kind}", layer, l0, made)
    return root, values


def module_of(model, kind, layer):
    block = model.model.layers[layer]
    return {
        "res": block,
        "mlp": block.post_feedforward_layernorm,
        "att": block.self_attn.o_proj,
    }[kind]


def by_plain_hooks(model, tokens, kind, layer, change=None):
    """Return (activation, logits) of one pass, the activation replaced if so wished."""
    seen = {}

    def before(_module, args):
        seen["x"] = args[0].clone()
        return None if change is None else (change(args[0]), *args[1:])

    def after(_module, _args, out):
        seen["x"] = out.clone()
        return None if change is None else change(out)

    module = module_of(model, kind, layer)
    hook = (
        module.register_forward_pre_hook(before)
        if kind == "att"
        else module.register_forward_hook(after)
    )
    with hook:
        logits = model(tokens).logits
    return seen["x"], logits


def loss_of(logits, tokens, keep):
    """Mean nats over the pairs of kept tokens, in float64."""
    logs = F.log_softmax(logits.double(), dim=-1)[:, :-1]
    nats = -logs.gather(-1, tokens[:, 1:, None]).squeeze(-1)
    return float(nats[keep[:, :-1] & keep[:, 1:]].mean())


@pytest.mark.parametrize("kind", SITES)
@pytest.mark.parametrize("layer", [0, 1])
def test_active_sets_and_latents_are_those_of_an_independent_computation(
    released, specimen, model, kind, layer
):
    root, values = released
    found = attach(root / f"{REPOSITORY}-{kind}", specimen)
    assert list(found) == [SITES[kind].format(i) for i in range(2)]
    dictionaries = dict(found[SITES[kind].format(layer)])
    batch = next(specimen.batches("held_out"))
    x, _ = by_plain_hooks(model, batch.inputs[0], kind, layer)
    for l0 in (9, 41):
        wanted = hand.encode(values[kind, layer, l0], x.numpy())
        dictionary = dictionaries[f"layer_{layer}/width_16k/average_l0_{l0}"]
        latents = dictionary.encode(x).detach().numpy()
        assert np.array_equal(latents > 0, wanted > 0)
        assert 0.01 < (wanted > 0).mean() < 0.6
        np.testing.assert_allclose(latents, wanted, atol=1e-5)
        assert (dictionary.width, dictionary.input_width) == (LATENTS, x.shape[-1])


@pytest.mark.parametrize("kind", SITES)
def test_delta_loss_is_that_of_hand_written_hooks(released, specimen, model, kind):
    root, values = released
    found = attach(root, specimen, names=[f"*-{kind}/layer_1/*/average_l0_9"])
    ((site, ((_, dictionary),)),) = found.items()
    batch = next(specimen.batches("held_out"))
    (tokens,), keep = batch.inputs, batch.mask
    chosen = values[kind, 1, 9]

    def rebuilt(x):
        x_hat = torch.from_numpy(hand.decode(chosen, hand.encode(chosen, x.numpy())))
        return torch.where(keep[..., None], x_hat, x)

    _, spliced = by_plain_hooks(model, tokens, kind, 1, rebuilt)
    _, clean = by_plain_hooks(model, tokens, kind, 1)
    wanted = loss_of(spliced, tokens, keep) - loss_of(clean, tokens, keep)
    with torch.no_grad(), splice(specimen.module, {site: dictionary}, mask=keep):
        spliced_loss = specimen.loss(batch).double().nanmean()
    delta = float(spliced_loss - specimen.loss(batch).double().nanmean())
    assert delta == pytest.approx(wanted, abs=1e-6)
    assert abs(wanted) > 1e-3


def test_all_repositories_of_a_folder_are_put_in_place(released, specimen):
    found = attach(released[0], specimen)
    assert {*found} == {site.format(layer) for site in SITES.values() for layer in range(2)}
    assert all(len(pairs) == 2 for pairs in found.values())
    names = [name for name, _ in found["model.layers.0"]]
    assert names == [f"{REPOSITORY}-res/layer_0/width_16k/average_l0_{l0}" for l0 in (9, 41)]


def test_released_transcoders_read_the_norm_without_its_gain(tmp_path, specimen, model):
    values = hand.arrays(7, WIDTH, LATENTS)
    hand.write_first(tmp_path, f"{REPOSITORY}-transcoders", 1, 5, values)
    ((place, ((_, dictionary),)),) = attach(tmp_path, specimen).items()
    site, _, out = place.partition("->")
    assert site == "model.layers.1.pre_feedforward_layernorm"
    assert out == "model.layers.1.post_feedforward_layernorm"
    batch = next(specimen.batches("held_out"))
    seen, block = {}, model.model.layers[1]
    with (
        block.pre_feedforward_layernorm.register_forward_pre_hook(
            lambda _m, args: seen.update(stream=args[0])
        ),
        block.pre_feedforward_layernorm.register_forward_hook(
            lambda _m, _a, x: seen.update(normed=x)
        ),
    ):
        model(*batch.inputs)
    stream = seen["stream"].double().numpy()
    normed = stream / np.sqrt((stream**2).mean(-1, keepdims=True) + 1e-6)
    wanted = hand.encode(values, normed)
    latents = dictionary.encode(seen["normed"]).detach().numpy()
    # Neither side rounds as the other does: only latents at their threshold may differ.
    z = normed @ values["W_enc"] + values["b_enc"]
    clear = np.abs(z - values["threshold"]) > 1e-5
    assert np.array_equal((latents > 0)[clear], (wanted > 0)[clear])
    np.testing.assert_allclose(latents[clear], wanted[clear], atol=1e-5)
    with bridge(specimen.module, {(site, out): dictionary}) as counts:
        specimen.module(*batch.inputs)
    assert counts == {out: 1}


def test_the_second_edition_names_its_hook_points(tmp_path, specimen, model):
    layer = "model.layers.1"
    made = {
        "resid_post_all/layer_1_width_16k_l0_small": (f"{layer}.output",) * 2,
        "attn_out_all/layer_1_width_16k_l0_small": (f"{layer}.self_attn.o_proj.input",) * 2,
        "transcoder_all/layer_1_width_16k_l0_small_affine": (
            f"{layer}.pre_feedforward_layernorm.output",
            f"{layer}.post_feedforward_layernorm.output",
        ),
    }
    values = {
        name: hand.arrays(i, INNER if "attn" in name else WIDTH, LATENTS, out=0)
        for i, name in enumerate(made)
    }
    skip = hand.arrays(9, WIDTH, WIDTH)["W_enc"]
    for name, hooks in made.items():
        hand.write_second(
            tmp_path, name, *hooks, values[name], skip=skip if "affine" in name else None
        )
    found = attach(tmp_path, specimen)
    ends = f"{layer}.pre_feedforward_layernorm->{layer}.post_feedforward_layernorm"
    assert {*found} == {layer, f"{layer}.self_attn.o_proj:in", ends}
    batch = next(specimen.batches("train"))
    for kind, name in zip(("res", "att"), made, strict=False):
        x, _ = by_plain_hooks(model, batch.inputs[0], kind, 1)
        ((_, dictionary),) = found[SITES[kind].format(1)]
        wanted = hand.encode(values[name], x.numpy())
        assert np.array_equal(dictionary.encode(x).detach().numpy() > 0, wanted > 0)
    ((_, transcoder),) = found[ends]
    x = torch.randn(5, WIDTH)
    name = list(made)[2]
    y = hand.decode(values[name], hand.encode(values[name], x.numpy())) + x.numpy() @ skip
    np.testing.assert_allclose(transcoder(x).detach().numpy(), y, atol=1e-5)


def test_blocks_of_a_larger_model_are_found_by_their_number(tmp_path, specimen):
    class Around(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.language = specimen.module

        def forward(self, tokens):
            return self.language(tokens).logits

    hook = "model.layers.0.post_feedforward_layernorm.output"
    hand.write_second(tmp_path, "mlp_out/layer_0", hook, hook, hand.arrays(0, WIDTH, 8))
    around = Around()
    larger = replace(specimen, module=around, scores=around)
    assert list(attach(tmp_path, larger)) == [f"language.{hook.removesuffix('.output')}"]


def test_a_width_that_does_not_fit_is_told_with_both_shapes(tmp_path, specimen):
    # Heads taken for the width of the model, or the other way round (scope.md, pitfall 16).
    hand.write_first(tmp_path, f"{REPOSITORY}-att", 0, 5, hand.arrays(0, WIDTH, 8))
    with pytest.raises(TenfoldError, match=r"w_enc has shape \(32, 8\), but .*\(\.\.\., 48\)"):
        attach(tmp_path, specimen)
    hand.write_first(tmp_path, f"{REPOSITORY}-transcoders", 0, 5, hand.arrays(0, INNER, 8))
    with pytest.raises(TenfoldError, match=r"w_enc has shape \(48, 8\), but .*\(\.\.\., 32\)"):
        attach(tmp_path / f"{REPOSITORY}-transcoders", specimen)


def test_a_layer_that_is_not_there_is_told(tmp_path, specimen):
    hand.write_first(tmp_path, f"{REPOSITORY}-res", 5, 5, hand.arrays(0, WIDTH, 8))
    with pytest.raises(TenfoldError, match=r"is for layer 5, but .* has the layers \[0, 1\]"):
        attach(tmp_path, specimen)


def test_a_repository_that_does_not_say_its_site_wants_to_be_told(tmp_path, specimen):
    hand.write_first(tmp_path, "mine", 0, 5, hand.arrays(0, WIDTH, 8))
    with pytest.raises(TenfoldError, match="its site cannot be told; say kind="):
        attach(tmp_path, specimen)
    assert list(attach(tmp_path, specimen, kind="mlp")) == [SITES["mlp"].format(0)]


def test_an_unknown_hook_point_gets_the_nearest_names(tmp_path, specimen):
    hook = "model.layers.0.post_feedforward_norm.output"
    hand.write_second(tmp_path, "x", hook, hook, hand.arrays(0, WIDTH, 8))
    with pytest.raises(
        TenfoldError, match=r"did you mean model\.layers\.0\.post_feedforward_layer"
    ):
        attach(tmp_path, specimen)


def test_embeddings_are_left_out_aloud(tmp_path, specimen, capsys):
    values = hand.arrays(0, WIDTH, 8)
    hand.write_first(tmp_path, f"{REPOSITORY}-res", 0, 5, values)
    folder = tmp_path / f"{REPOSITORY}-res" / "embedding" / "width_4k" / "average_l0_6"
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **values)
    assert list(attach(tmp_path, specimen)) == ["model.layers.0"]
    assert "is of token embeddings" in capsys.readouterr().err


def test_an_empty_folder_holds_no_dictionary(tmp_path, specimen):
    with pytest.raises(TenfoldError, match="holds no dictionary; give the folder of a release"):
        attach(tmp_path, specimen)
