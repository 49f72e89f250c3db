import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream
from tenfold.parts.sae.formats import (
    FORMATS,
    Arrays,
    as_jumprelu,
    fold_scale,
    read_arrays,
    reference_forward,
    release_folder,
    with_pre_bias,
    write_arrays,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "sae"
CELLS = sorted(path.parent for path in GOLDEN.glob("*/*/probe.safetensors"))
KINDS = ("relu", "gated", "topk", "batchtopk", "matryoshka", "jumprelu")
WRITABLE = [name for name, entry in FORMATS.items() if entry.write is not None]
FITTING = [(name, kind) for name in WRITABLE for kind in FORMATS[name].kinds]
D, M, N, K = 8, 24, 16, 4


def make(kind="jumprelu", *, pre_bias=True, scale=2.5, d=D, m=M, seed=0, **values):
    rng = stream(seed, "formats", kind)
    shapes = {"w_enc": (d, m), "b_enc": (m,), "w_dec": (m, d), "b_dec": (d,)}
    if kind == "gated":
        shapes |= {"gain_log": (m,), "b_mag": (m,)}
    arrays = {n: rng.normal(scale=0.5, size=s).astype(np.float32) for n, s in shapes.items()}
    if kind == "jumprelu":
        arrays["threshold"] = rng.uniform(0.1, 0.6, size=m).astype(np.float32)
    if kind in ("batchtopk", "matryoshka"):
        arrays["threshold"] = np.array(0.4, np.float32)
    values = {"pre_bias": pre_bias, "scale": scale, "k": min(K, m)} | values
    return Arrays(kind=kind, arrays=arrays, values=values)


def inputs(d=D, *, seed=0):
    return stream(seed, "formats", "inputs").normal(size=(N, d)).astype(np.float32)


def assert_same_function(ours, theirs, x, *, latents_times=1.0, tolerance=1e-5):
    f, output = reference_forward(ours, x)
    g, other = reference_forward(theirs, x)
    assert ((f > 0) == (g > 0)).all()
    np.testing.assert_allclose(g, f * latents_times, rtol=0, atol=tolerance)
    np.testing.assert_allclose(other, output, rtol=0, atol=tolerance)


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(path, *, drop=(), **changes):
    tensors = {name: a for name, a in load_file(path).items() if name not in drop}
    save_file(tensors | {name.replace("__", "."): a for name, a in changes.items()}, path)


def edit_npz(path, *, drop=(), **changes):
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files if name not in drop}
    np.savez(path, **(arrays | changes))


@pytest.fixture
def golden(tmp_path):
    def copy(cell):
        return Path(shutil.copytree(GOLDEN / cell, tmp_path / "copy"))

    return copy


# Files written by the libraries


@pytest.mark.parametrize("folder", CELLS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_golden_dictionary_gives_what_its_library_computed(folder):
    probe = load_file(folder / "probe.safetensors")
    latents, output = reference_forward(read_arrays(folder), probe["x"])
    assert ((latents > 0) == (probe["latents"] > 0)).all()
    np.testing.assert_allclose(latents, probe["latents"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(output, probe["output"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("folder", CELLS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_golden_dictionaries_are_neither_always_on_nor_always_off(folder):
    active = load_file(folder / "probe.safetensors")["latents"] > 0
    assert 0.05 < active.mean() < 0.95


def test_golden_files_cover_every_kind_each_library_saves():
    cells = {(path.parent.name, read_arrays(path).kind) for path in CELLS}
    saved = {("sae-lens", kind) for kind in ("relu", "gated", "topk", "jumprelu")}
    saved |= {("dictionary-learning", kind) for kind in KINDS} | {("sparsify", "topk")}
    assert cells == saved


def test_what_a_library_knows_beside_the_arrays_is_kept():
    batchtopk = read_arrays(GOLDEN / "sae-lens" / "batchtopk")
    assert batchtopk.values["trained_as"] == "batchtopk"
    matryoshka = read_arrays(GOLDEN / "dictionary-learning" / "matryoshka")
    assert matryoshka.values["prefixes"] == [4, 12, 24]
    assert (matryoshka.values["k"], matryoshka.values["layer"]) == (4, 3)
    relu = read_arrays(GOLDEN / "sae-lens" / "relu")
    np.testing.assert_allclose(relu.arrays["log_frequency"], np.linspace(-4, -0.5, 24), atol=1e-6)
    assert read_arrays(GOLDEN / "sparsify" / "transcoder").values["transcoder"] is True


# There and back


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize(("format", "kind"), FITTING)
def test_written_dictionary_reads_back_as_the_same_function(tmp_path, format, kind, pre_bias):
    dictionary = make(kind, pre_bias=pre_bias)
    write_arrays(tmp_path, dictionary, format=format)
    back = read_arrays(tmp_path)
    assert back.shape == (D, M)
    times = 1.0 if format == "tenfold" else 2.5  # where the scale is folded, latents grow by it
    assert_same_function(dictionary, back, inputs(), latents_times=times)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(FITTING), st.integers(1, 12), st.integers(1, 30), st.integers(0, 99))
def test_round_trip_holds_for_any_shape(tmp_path_factory, cell, d, m, seed):
    format, kind = cell
    dictionary = make(kind, d=d, m=m, seed=seed, scale=1.0, pre_bias=format == "sparsify")
    folder = tmp_path_factory.mktemp("any")
    write_arrays(folder, dictionary, format=format)
    assert_same_function(dictionary, read_arrays(folder), inputs(d, seed=seed))


def test_folded_dictionary_crosses_without_changing_a_bit(tmp_path):
    dictionary = make("jumprelu", pre_bias=False, scale=1.0)
    for format in ("gemma-scope", "gemma-scope-2", "sae-lens"):
        write_arrays(tmp_path / format, dictionary, format=format)
        back = read_arrays(tmp_path / format)
        assert set(back.arrays) == set(dictionary.arrays)
        for name, array in dictionary.arrays.items():
            np.testing.assert_array_equal(back.arrays[name], array)


@pytest.mark.parametrize("kind", KINDS)
def test_own_format_keeps_every_array_and_fact_as_it_is(tmp_path, kind):
    facts = {"prefixes": [4, 12, M], "model": "tiny", "average_l0": 31.5, "transcoder": True}
    dictionary = make(kind, pre_bias=False, **facts)
    write_arrays(tmp_path, dictionary, format="tenfold")
    back = read_arrays(tmp_path)
    assert (back.kind, back.values) == (kind, dictionary.values | {"format": "tenfold"})
    for name, array in dictionary.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)


def test_same_dictionary_is_written_as_the_same_bytes(tmp_path):
    for format in WRITABLE:
        kind = FORMATS[format].kinds[0]
        one = write_arrays(tmp_path / "one", make(kind), format=format)
        two = write_arrays(tmp_path / "two", make(kind), format=format)
        assert one.read_bytes() == two.read_bytes()


def test_facts_about_a_dictionary_survive_both_ways(tmp_path):
    facts = {"model": "tiny", "site": "blocks.1", "average_l0": 31.5}
    for format in ("sae-lens", "gemma-scope-2"):
        write_arrays(tmp_path / format, make("batchtopk", **facts), format=format)
        back = read_arrays(tmp_path / format)
        assert {name: back.values[name] for name in facts} == facts
    assert read_arrays(tmp_path / "sae-lens").values["trained_as"] == "batchtopk"


def test_firing_frequencies_travel_in_saelens_third_file(tmp_path):
    dictionary = make("relu")
    dictionary.arrays["log_frequency"] = np.linspace(-5, -1, M).astype(np.float32)
    write_arrays(tmp_path, dictionary, format="sae-lens")
    back = read_arrays(tmp_path).arrays["log_frequency"]
    np.testing.assert_array_equal(back, dictionary.arrays["log_frequency"])
    write_arrays(tmp_path, make("relu"), format="sae-lens")
    assert "log_frequency" not in read_arrays(tmp_path).arrays


def test_transcoders_come_back_as_transcoders(tmp_path):
    one = make("topk", pre_bias=False, scale=1.0, transcoder=True)
    write_arrays(tmp_path / "one", one, format="sparsify")
    two = make("jumprelu", pre_bias=False, transcoder=True, site="in", site_out="out")
    write_arrays(tmp_path / "two", two, format="gemma-scope-2")
    for name in ("one", "two"):
        assert read_arrays(tmp_path / name).values["transcoder"] is True
    assert_same_function(one, read_arrays(tmp_path / "one"), inputs())


# Transcoders, against a forward pass written out here


def bridge_arrays(kind="jumprelu", *, out=5, skip=True, scale=2.5, seed=0, **values):
    """A transcoder from width D to width `out`."""
    rng = stream(seed, "formats", "transcoder")
    values = {"transcoder": True, "site": "a", "site_out": "b"} | values
    whole = make(kind, pre_bias=False, scale=scale, seed=seed, **values)
    shapes = {"w_dec": (M, out), "b_dec": (out,)} | ({"w_skip": (D, out)} if skip else {})
    for name, shape in shapes.items():
        whole.arrays[name] = rng.normal(scale=0.5, size=shape).astype(np.float32)
    return whole


def plain_forward(whole, x):
    """The skip transcoder of Gemma Scope 2 in float64: y = C (f W_dec + b_dec + x / C W_skip)."""
    a = {name: array.astype(np.float64) for name, array in whole.arrays.items()}
    scale = whole.values["scale"]
    z = x / scale @ a["w_enc"] + a["b_enc"]
    f = np.where(z > a["threshold"], z, 0)
    y = scale * (f @ a["w_dec"] + a["b_dec"])
    return f, y + (x @ a["w_skip"] if "w_skip" in a else 0)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("format", ["gemma-scope-2", "tenfold"])
def test_transcoder_between_two_widths_reads_back_as_the_same_function(tmp_path, format, skip):
    whole, x = bridge_arrays(skip=skip), inputs()
    write_arrays(tmp_path, whole, format=format)
    back = read_arrays(tmp_path)
    assert (back.transcoder, back.shape, back.output_width) == (True, (D, M), 5)
    assert ("w_skip" in back.arrays) == skip
    f, y = plain_forward(whole, x)
    latents, output = reference_forward(back, x)
    assert 0.05 < (f > 0).mean() < 0.95
    assert ((latents > 0) == (f > 0)).all()
    np.testing.assert_allclose(latents, f * (1.0 if format == "tenfold" else 2.5), atol=1e-5)
    np.testing.assert_allclose(output, y, atol=2e-5)


def test_skip_connection_has_the_names_and_sides_of_the_release(tmp_path):
    whole = bridge_arrays(scale=1.0)
    found = load_file(write_arrays(tmp_path, whole, format="gemma-scope-2"))
    np.testing.assert_array_equal(found["affine_skip_connection"], whole.arrays["w_skip"])
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["affine_connection"] is True
    assert (config["hf_hook_point_in"], config["hf_hook_point_out"]) == ("a", "b")
    write_arrays(tmp_path / "none", bridge_arrays(skip=False), format="gemma-scope-2")
    assert json.loads((tmp_path / "none" / "config.json").read_text())["affine_connection"] is False


@pytest.mark.parametrize("transcoder", [True, False])
def test_sparsify_stores_the_skip_connection_with_the_output_first(tmp_path, transcoder):
    whole = make("topk", pre_bias=False, scale=1.0, transcoder=transcoder)
    whole.arrays["w_skip"] = stream(3, "skip").normal(size=(D, D)).astype(np.float32)
    path = write_arrays(tmp_path, whole, format="sparsify")
    np.testing.assert_array_equal(load_file(path)["W_skip"], whole.arrays["w_skip"].T)
    assert json.loads((tmp_path / "cfg.json").read_text())["skip_connection"] is True
    back = read_arrays(tmp_path)
    assert back.transcoder is transcoder
    assert_same_function(whole, back, inputs())


def test_folding_a_transcoder_leaves_its_skip_connection_alone():
    whole, x = bridge_arrays(), inputs()
    folded = fold_scale(whole)
    np.testing.assert_array_equal(folded.arrays["w_skip"], whole.arrays["w_skip"])
    np.testing.assert_allclose(
        reference_forward(folded, x)[1], plain_forward(whole, x)[1], atol=2e-5
    )


def test_what_a_format_cannot_say_of_a_transcoder_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="one width, this one has d_in 8 and d_out 5; use tenf"):
        write_arrays(tmp_path, bridge_arrays("topk"), format="sparsify")
    skipping = make("jumprelu")
    skipping.arrays["w_skip"] = np.zeros((D, D), np.float32)
    for format in ("gemma-scope", "sae-lens"):
        with pytest.raises(TenfoldError, match="no skip connections; use gemma-scope-2 or tenfold"):
            write_arrays(tmp_path, skipping, format=format)
    with pytest.raises(TenfoldError, match="cannot be subtracted from its inputs; set pre_bias"):
        write_arrays(tmp_path, make(transcoder=True), format="tenfold")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("w_skip", (5, D), r"w_skip has shape \(5, 8\), .* and w_dec \(24, 5\) ask for \(8, 5\)"),
        ("b_dec", (D,), r"b_dec has shape \(8,\), but w_enc .* w_dec \(24, 5\) ask for \(5,\)"),
        ("w_dec", (M - 1, 5), r"w_dec has shape \(23, 5\), but w_enc \(8, 24\) asks for \(24, 5\)"),
    ],
)
def test_transcoder_arrays_that_do_not_fit_are_refused(tmp_path, name, shape, message):
    whole = bridge_arrays()
    whole.arrays[name] = np.zeros(shape, np.float32)
    with pytest.raises(TenfoldError, match=message):
        write_arrays(tmp_path, whole, format="tenfold")


def test_file_itself_can_be_named_instead_of_its_folder(tmp_path):
    file = write_arrays(tmp_path, make(), format="gemma-scope")
    assert file.name == "params.npz"
    assert write_arrays(file, make(), format="gemma-scope") == file
    assert read_arrays(file).shape == read_arrays(tmp_path).shape


# Folding, against an independent computation in float64


@pytest.mark.parametrize("kind", KINDS)
def test_folding_equals_the_unfolded_function_in_float64(kind):
    dictionary, x = make(kind), inputs()
    folded = with_pre_bias(fold_scale(dictionary), False)
    assert (folded.scale, folded.pre_bias) == (1.0, False)
    assert_same_function(dictionary, folded, x, latents_times=2.5, tolerance=2e-5)
    if kind == "relu":
        a = {name: array.astype(np.float64) for name, array in dictionary.arrays.items()}
        f = np.maximum((x / 2.5 - a["b_dec"]) @ a["w_enc"] + a["b_enc"], 0)
        wanted = 2.5 * (f @ a["w_dec"] + a["b_dec"])
        np.testing.assert_allclose(reference_forward(folded, x)[1], wanted, atol=2e-5)


def test_folded_arrays_are_those_of_the_appendix():
    dictionary = make("jumprelu")
    a = {name: array.astype(np.float64) for name, array in dictionary.arrays.items()}
    folded = with_pre_bias(fold_scale(dictionary), False).arrays
    wanted = 2.5 * a["b_enc"] - 2.5 * a["w_enc"].T @ a["b_dec"]
    np.testing.assert_allclose(folded["b_enc"], wanted, atol=1e-6)
    np.testing.assert_allclose(folded["b_dec"], 2.5 * a["b_dec"], rtol=1e-6)
    np.testing.assert_allclose(folded["threshold"], 2.5 * a["threshold"], rtol=1e-6)
    np.testing.assert_array_equal(folded["w_enc"], dictionary.arrays["w_enc"])


def test_folding_twice_changes_nothing_more():
    once = with_pre_bias(fold_scale(make("gated")), False)
    twice = with_pre_bias(fold_scale(once), False)
    for name, array in once.arrays.items():
        np.testing.assert_array_equal(twice.arrays[name], array)


def test_value_at_the_threshold_is_off():
    arrays = {
        "w_enc": np.eye(2, dtype=np.float32),
        "b_enc": np.zeros(2, np.float32),
        "w_dec": np.eye(2, dtype=np.float32),
        "b_dec": np.zeros(2, np.float32),
        "threshold": np.array([0.5, 0.5], np.float32),
    }
    x = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1))]], np.float32)
    latents, _ = reference_forward(Arrays(kind="jumprelu", arrays=arrays), x)
    assert (latents[0, 0], latents[0, 1]) == (0, x[0, 1])


def test_batchtopk_as_jumprelu_is_the_same_function():
    for kind in ("batchtopk", "matryoshka"):
        jumprelu = as_jumprelu(make(kind))
        assert (jumprelu.kind, jumprelu.values["trained_as"]) == ("jumprelu", kind)
        assert_same_function(make(kind), jumprelu, inputs())


# Gemma Scope's names


@pytest.mark.parametrize(
    ("num_latents", "name"),
    [
        (24, "24"),
        (2**12, "4k"),
        (2**14, "16k"),
        (2**15, "32k"),
        (2**16, "65k"),
        (2**17, "131k"),
        (2**18, "262k"),
        (2**19, "524k"),
        (2**20, "1m"),
    ],
)
def test_width_is_spelled_as_in_the_release(num_latents, name):
    folder = release_folder(layer=12, num_latents=num_latents, average_l0=82.4)
    assert folder == f"layer_12/width_{name}/average_l0_82"


def test_sizes_come_from_the_arrays_not_from_folder_names(tmp_path):
    folder = tmp_path / "layer_5" / "width_16k" / "average_l0_71"
    write_arrays(folder, make(), format="gemma-scope")
    back = read_arrays(folder)
    assert back.shape == (D, M)
    assert (back.values["layer"], back.values["average_l0"]) == (5, 71)


def test_lower_case_weight_names_and_a_scaling_vector_are_understood(tmp_path):
    plain = make(pre_bias=False, scale=1.0)
    factor = np.linspace(0.5, 2, M).astype(np.float32)
    np.savez(tmp_path / "params.npz", scaling_factor=factor, **plain.arrays)
    x = inputs()
    latents, output = reference_forward(read_arrays(tmp_path), x)
    np.testing.assert_array_equal(latents, reference_forward(plain, x)[0])
    wanted = (latents * factor) @ plain.arrays["w_dec"] + plain.arrays["b_dec"]
    np.testing.assert_allclose(output, wanted, atol=1e-5)


def test_bfloat16_files_are_read_as_float32(tmp_path):
    write_arrays(tmp_path, make(), format="gemma-scope-2")
    path = tmp_path / "params.safetensors"
    tensors = {n: torch.from_numpy(a).to(torch.bfloat16) for n, a in load_file(path).items()}
    save_torch_file(tensors, path)
    back = read_arrays(tmp_path).arrays["w_enc"]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, tensors["w_enc"].float().numpy())


# SAELens' older folders


def test_saelens_folder_from_before_version_6_is_read(golden):
    folder = golden("sae-lens/topk")
    config = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "dtype": "float32"}
    (folder / "cfg.json").write_text(json.dumps(config | {"hook_name": "blocks.1"}))
    back = read_arrays(folder)
    assert (back.kind, back.values["k"], back.values["site"]) == ("topk", 4, "blocks.1")
    assert_same_function(read_arrays(GOLDEN / "sae-lens" / "topk"), back, inputs())


def test_saelens_log_threshold_is_read_as_threshold(golden):
    folder = golden("sae-lens/jumprelu")
    path = folder / "sae_weights.safetensors"
    log_threshold = np.log(load_file(path)["threshold"])
    edit_tensors(path, drop=["threshold"], log_threshold=log_threshold)
    assert_same_function(read_arrays(GOLDEN / "sae-lens/jumprelu"), read_arrays(folder), inputs())


def test_saelens_finetuning_factor_moves_into_the_decoder(golden):
    folder = golden("sae-lens/relu")
    edit_tensors(folder / "sae_weights.safetensors", scaling_factor=np.full(24, 3, np.float32))
    plain = read_arrays(GOLDEN / "sae-lens" / "relu").arrays["w_dec"]
    np.testing.assert_allclose(read_arrays(folder).arrays["w_dec"], 3 * plain, rtol=1e-6)


# Refusals


@pytest.mark.parametrize(
    ("format", "kind"),
    [(name, kind) for name in WRITABLE for kind in KINDS if kind not in FORMATS[name].kinds],
)
def test_kind_that_does_not_fit_is_refused_by_name(tmp_path, format, kind):
    with pytest.raises(TenfoldError, match=rf"'{format}' holds .*, not {kind}; use .*sae-lens"):
        write_arrays(tmp_path / "out", make(kind), format=format)
    assert not (tmp_path / "out").exists()


def test_refusal_names_what_the_format_holds_and_what_to_use(tmp_path):
    with pytest.raises(TenfoldError) as caught:
        write_arrays(tmp_path, make("gated"), format="gemma-scope")
    assert str(caught.value) == (
        "format 'gemma-scope' holds jumprelu, batchtopk and matryoshka, not gated; use sae-lens "
        "or tenfold"
    )


def test_format_that_is_only_read_is_refused_for_writing(tmp_path):
    with pytest.raises(TenfoldError, match=r"only read .* use sae-lens, sparsify or tenfold"):
        write_arrays(tmp_path, make("topk"), format="dictionary-learning")


def test_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(TenfoldError, match=r"did you mean sae-lens"):
        write_arrays(tmp_path, make(), format="saelens")


def test_transcoder_is_refused_where_files_cannot_say_so(tmp_path):
    dictionary = make("topk", transcoder=True)
    with pytest.raises(
        TenfoldError, match=r"autoencoders, not transcoders; use sparsify or tenfold"
    ):
        write_arrays(tmp_path, dictionary, format="sae-lens")


@pytest.mark.parametrize("format", ["gemma-scope", "gemma-scope-2"])
def test_threshold_of_zero_is_refused_where_it_must_be_positive(tmp_path, format):
    dictionary = make()
    dictionary.arrays["threshold"][7] = 0
    with pytest.raises(
        TenfoldError, match=r"1 of 24 thresholds .* least 0 at latent 7; .*sae-lens"
    ):
        write_arrays(tmp_path, dictionary, format=format)


def test_threshold_of_zero_in_a_release_file_is_refused(tmp_path):
    path = write_arrays(tmp_path, make(), format="gemma-scope")
    edit_npz(path, threshold=np.zeros(M, np.float32))
    with pytest.raises(TenfoldError, match=r"24 of 24 thresholds are not positive"):
        read_arrays(tmp_path)


def test_negative_threshold_is_refused_for_writing(tmp_path):
    dictionary = make("batchtopk")
    dictionary.arrays["threshold"] = np.array(-1, np.float32)
    with pytest.raises(TenfoldError, match=r"1 of 1 thresholds are negative, the least -1"):
        write_arrays(tmp_path, dictionary, format="sae-lens")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b_dec": None}, r"jumprelu dictionary needs \['b_dec'\]; got \['b_enc'"),
        (
            {"w_dec": np.zeros((M, 5))},
            r"d_in 8 and d_out 5 differ \(w_enc \(8, 24\), w_dec \(24, 5",
        ),
        (
            {"w_dec": np.zeros((D, M))},
            r"w_dec has shape \(8, 24\), but w_enc .* asks for \(24, 8\)",
        ),
        ({"threshold": np.ones(())}, r"threshold has shape \(\), .* asks for \(24,\)"),
        ({"w_enc": np.zeros(M)}, r"w_enc has shape \(24,\); it must be \(d_in, latents\)"),
        ({"b_enc": np.full(M, np.nan)}, r"b_enc holds 24 values that are not finite, .* \(0,\)"),
        ({"w_encoder": np.zeros(1)}, "unknown array .*did you mean w_enc"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, change, message):
    dictionary = make()
    for name, array in change.items():
        if array is None:
            del dictionary.arrays[name]
        else:
            dictionary.arrays[name] = array.astype(np.float32)
    with pytest.raises(TenfoldError, match=message):
        write_arrays(tmp_path, dictionary, format="sae-lens")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 25}, r"k is 25; it must be a whole number in \[1, 24\]"),
        ({"k": None}, "k is None"),
        ({"scale": 0.0}, "scale is 0.0; it must be positive"),
    ],
)
def test_facts_out_of_range_are_refused(tmp_path, values, message):
    dictionary = make("topk", **values)
    with pytest.raises(TenfoldError, match=message):
        write_arrays(tmp_path, dictionary, format="sparsify")


def test_missing_array_in_a_file_is_named_with_those_that_are_there(tmp_path):
    path = write_arrays(tmp_path, make(), format="gemma-scope")
    edit_npz(path, drop=["b_enc"])
    with pytest.raises(TenfoldError, match=r"no 'b_enc'; it holds W_dec, W_enc, b_dec, threshold"):
        read_arrays(tmp_path)


def test_scaling_vector_of_the_wrong_length_is_refused(tmp_path):
    path = write_arrays(tmp_path, make(), format="gemma-scope")
    edit_npz(path, scaling_factor=np.ones(5, np.float32))
    with pytest.raises(TenfoldError, match=r"scaling_factor has shape \(5,\), but w_dec \(24, 8\)"):
        read_arrays(tmp_path)


@pytest.mark.parametrize(
    "cell",
    [
        "gemma-scope",
        "gemma-scope-2",
        "sae-lens/relu",
        "sparsify/topk",
        "dictionary-learning/topk",
        "tenfold",
    ],
)
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_truncated_file_is_named(tmp_path, golden, cell, keep):
    folder = tmp_path / "copy"
    if cell in WRITABLE:
        write_arrays(folder, make(), format=cell)
    else:
        golden(cell)
    marker = FORMATS[cell.split("/")[0]].marker
    data = (folder / marker).read_bytes()
    size = keep if isinstance(keep, int) else int(len(data) * keep)
    (folder / marker).write_bytes(data[:size])
    with pytest.raises(TenfoldError, match=rf"{marker} (is truncated or corrupt|holds more)"):
        read_arrays(folder)


@pytest.mark.parametrize(
    ("cell", "config"), [("sae-lens/relu", "cfg.json"), ("sparsify/topk", "cfg.json")]
)
def test_broken_or_missing_config_is_named(golden, cell, config):
    folder = golden(cell)
    (folder / config).write_text('{"k": ')
    with pytest.raises(TenfoldError, match=r"cfg.json is broken at line 1"):
        read_arrays(folder)
    (folder / config).write_text("[]")
    with pytest.raises(TenfoldError, match=r"cfg.json holds a list, not a JSON object"):
        read_arrays(folder)
    (folder / config).unlink()
    with pytest.raises(TenfoldError, match=r"cfg.json does not exist"):
        read_arrays(folder)


def test_missing_file_named_by_the_user_is_told(tmp_path):
    with pytest.raises(TenfoldError, match=r"params.npz does not exist"):
        read_arrays(tmp_path / "params.npz")


def test_folder_without_a_dictionary_lists_what_would_be_one(tmp_path):
    with pytest.raises(TenfoldError, match=r"no dictionary; .* params.npz, .* ae.pt"):
        read_arrays(tmp_path)


def test_folder_with_two_dictionaries_asks_for_one(tmp_path):
    write_arrays(tmp_path, make(), format="gemma-scope")
    write_arrays(tmp_path, make(), format="sae-lens")
    with pytest.raises(TenfoldError, match=r"several .*params.npz, sae_weights.safetensors; name"):
        read_arrays(tmp_path)
    assert read_arrays(tmp_path / "params.npz").values["format"] == "gemma-scope"


def test_single_array_under_the_name_of_an_archive_is_refused(tmp_path):
    with (tmp_path / "params.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(TenfoldError, match=r"params.npz .*one array without a name"):
        read_arrays(tmp_path)


def test_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "params.npz", W_enc=np.array([{}], dtype=object))
    with pytest.raises(TenfoldError, match=r"Object arrays cannot be loaded"):
        read_arrays(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "temporal"}, "architecture 'temporal' is not supported; known are"),
        ({"architecture": "batchtopk"}, "'batchtopk' is not supported; .*save_inference_model"),
        ({"activation_fn": "tanh-relu"}, "activation 'tanh-relu' is not supported"),
        ({"normalize_activations": "layer_norm"}, "'layer_norm' is not folded into the arrays"),
    ],
)
def test_saelens_option_that_cannot_be_carried_is_refused(golden, changes, message):
    folder = golden("sae-lens/relu")
    edit_json(folder / "cfg.json", **changes)
    with pytest.raises(TenfoldError, match=message):
        read_arrays(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "groupmax"}, "activation 'groupmax' is not supported"),
        ({"skip_connection": True}, r"has no 'W_skip'; it holds W_dec, b_dec, encoder.bias"),
        ({"signed": True}, "'signed' .*is not supported"),
        ({"k": 99}, r"k is 99; it must be a whole number in \[1, 24\]"),
    ],
)
def test_sparsify_option_that_cannot_be_carried_is_refused(golden, changes, message):
    folder = golden("sparsify/topk")
    edit_json(folder / "cfg.json", **changes)
    with pytest.raises(TenfoldError, match=message):
        read_arrays(folder)


@pytest.mark.parametrize("cell", ["sparsify/topk", "sae-lens/relu"])
def test_skip_connection_that_the_config_does_not_know_is_refused(golden, cell):
    folder = golden(cell)
    marker = FORMATS[cell.split("/")[0]].marker
    edit_tensors(folder / marker, W_skip=np.zeros((8, 8), np.float32))
    with pytest.raises(
        TenfoldError, match=r"'W_skip' .a linear skip connection.* is not supported"
    ):
        read_arrays(folder)


def test_gemma_scope_2_files_and_their_config_must_agree_on_a_skip_connection(tmp_path):
    path = write_arrays(tmp_path, make(), format="gemma-scope-2")
    edit_json(tmp_path / "config.json", affine_connection=True)
    with pytest.raises(TenfoldError, match=r"no 'affine_skip_connection' or 'w_skip'; it holds b_"):
        read_arrays(tmp_path)
    edit_tensors(path, affine_skip_connection=np.zeros((8, 8), np.float32))
    assert read_arrays(tmp_path).arrays["w_skip"].shape == (8, 8)
    edit_json(tmp_path / "config.json", affine_connection=False)
    with pytest.raises(TenfoldError, match=r"'affine_skip_connection' .*which config.json denies"):
        read_arrays(tmp_path)


def test_gemma_scope_2_has_no_other_architecture(tmp_path):
    write_arrays(tmp_path, make(), format="gemma-scope-2")
    edit_json(tmp_path / "config.json", architecture="topk")
    with pytest.raises(TenfoldError, match=r"architecture 'topk' is not 'jump_relu'"):
        read_arrays(tmp_path)


# Our own file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no facts under 'tenfold' in its metadata"),
        ("[]", "holds no facts under 'tenfold'"),
        ('{"schema": 2, "kind": "relu"}', r"has schema 2, this version reads 1; update tenfold"),
        ('{"schema": 1, "kind": "jumprlu"}', r"unknown dictionary kind .* did you mean jumprelu"),
    ],
)
def test_own_file_with_other_facts_is_refused(tmp_path, text, message):
    path = write_arrays(tmp_path, make("relu"), format="tenfold")
    save_file(load_file(path), path, metadata={"tenfold": text})
    with pytest.raises(TenfoldError, match=message):
        read_arrays(tmp_path)


# dictionary_learning's pickles


class Trap:
    def __reduce__(self):
        return (open, ("sprung", "w"))


def test_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"encoder.weight": Trap()}, tmp_path / "ae.pt")
    with pytest.raises(TenfoldError, match=r"more than plain tensors .* weights_only=True"):
        read_arrays(tmp_path)
    (tmp_path / "ae.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(TenfoldError, match=r"ae.pt"):
        read_arrays(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "holds a list; it must be a state_dict"),
        ({"encoder.weight": 3}, r"more than plain tensors \(encoder.weight\)"),
        ({"weight": torch.zeros(2)}, r"holds \['weight'\], which fits none of AutoEncoder,"),
    ],
)
def test_pickle_of_something_else_is_refused(tmp_path, state, message):
    torch.save(state, tmp_path / "ae.pt")
    with pytest.raises(TenfoldError, match=message):
        read_arrays(tmp_path)


def test_topk_and_batchtopk_cannot_be_told_apart_without_config(golden):
    folder = golden("dictionary-learning/topk")
    (folder / "config.json").unlink()
    with pytest.raises(TenfoldError, match=r"fits AutoEncoderTopK and BatchTopKSAE, .* 'unknown'"):
        read_arrays(folder)


def test_config_that_contradicts_the_arrays_is_refused(golden):
    folder = golden("dictionary-learning/relu")
    edit_json(folder / "config.json", trainer={"dict_class": "GatedAutoEncoder"})
    with pytest.raises(TenfoldError, match=r"fits AutoEncoder, and dict_class is 'GatedAuto"):
        read_arrays(folder)
    edit_json(folder / "config.json", trainer=3)
    with pytest.raises(TenfoldError, match=r"trainer is 3; it must be a JSON object"):
        read_arrays(folder)


def test_class_is_found_by_its_arrays_where_they_are_unambiguous(golden):
    folder = golden("dictionary-learning/gated")
    (folder / "config.json").unlink()
    assert read_arrays(folder).kind == "gated"
