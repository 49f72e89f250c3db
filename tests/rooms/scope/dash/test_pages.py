"""The whole folder: what is in it, what never is, that it goes on, that it opens nothing."""

import base64
import json
import re
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch

from rooms.scope.dash import world
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.scope import write_dash
from tenfold.rooms.scope.dash import build, bundles, items, layout, relations, shell

ADDRESS = re.compile(rb"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", re.IGNORECASE)
EVALUATION = {
    "tokens": 640,
    "entries": {
        "blocks.0/a": {
            "l0": 3.0,
            "fvu": 0.2,
            "delta_loss": float("nan"),
            "by_position": {"place": [0, 1], "error": [1.0, 2.0], "delta_loss": [0.1, 0.2]},
        }
    },
    "left_out": ["interpretability: human raters"],
}


def read(out, name):
    """Read a bundle back, by the description in its module."""
    text = (out / "data" / f"{name}.js").read_text()
    called, data = re.fullmatch(r'tenfold\("([\w/]+)","([A-Za-z0-9+/=]*)"\);\n', text).groups()
    assert called == name
    raw = zlib.decompress(base64.b64decode(data))
    (length,) = struct.unpack("<I", raw[:4])
    head = json.loads(raw[4 : 4 + length])
    arrays = {}
    for key, kind, shape, offset in head["arrays"]:
        begin = 4 + length + offset
        assert begin % 8 == 0, "typed arrays of a page start at multiples of their size"
        size = int(np.prod(shape, dtype=int))
        arrays[key] = np.frombuffer(raw, f"<{kind}", size, begin).reshape(shape)
    return head["facts"], arrays


def two_sites(folder, **given):
    store = world.write_store(folder / "store", sites=("blocks.0", "blocks.1"), **given)
    suite = world.write_suite(
        folder / "suite",
        {
            ("blocks.0", "a"): world.dictionary("jumprelu"),
            ("blocks.0", "b"): world.dictionary("topk"),
            ("blocks.1", "a"): world.dictionary("gated"),
        },
    )
    return suite, store


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    suite, store = two_sites(folder, dtype="bfloat16")
    out = folder / "dash"
    index = write_dash(suite, store, out, evaluation=EVALUATION, quiet=True, threads=2)
    assert index == out / "index.html"
    return suite, store, out


def every_file(out):
    return {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def test_no_file_names_an_address_outside(texts):
    for name, data in every_file(texts[2]).items():
        found = ADDRESS.search(data.replace(b"http://www.w3.org/2000/svg", b""))
        assert found is None, f"{name}: {found}"


def test_the_content_rules_allow_own_scripts_and_nothing_else(texts):
    page = (texts[2] / "index.html").read_text()
    rules = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page).group(1)
    assert rules == shell.RULES
    assert "default-src 'none'" in rules
    assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "*"} & set(
        re.split(r"[\s']+", rules)
    )
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", page)


def test_scripts_never_parse_text_as_markup_or_code(texts):
    for name in shell.SCRIPTS:
        script = (texts[2] / "assets" / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script
        )
        assert len(script.splitlines()) < 400
    assert (
        sum(len((texts[2] / "assets" / name).read_text().splitlines()) for name in shell.SCRIPTS)
        < 1_000
    )


def test_hostile_tokens_names_and_captions_stand_nowhere_as_they_are(texts):
    for name, data in every_file(texts[2]).items():
        if name.suffix == ".js" and name.parts[0] == "data":
            assert b"<" not in data
    assert "toy &lt;model&gt;" in (texts[2] / "index.html").read_text()
    assert read(texts[2], "vocabulary")[0]["strings"] == world.vocabulary()


def test_the_suite_bundle_says_what_is_known_of_each_dictionary(texts):
    facts, _ = read(texts[2], "suite")
    assert [entry["name"] for entry in facts["entries"]] == [
        "blocks.0/a",
        "blocks.0/b",
        "blocks.1/a",
    ]
    first, second, _ = facts["entries"]
    assert first["evaluation"]["fvu"] == 0.2
    assert first["evaluation"]["delta_loss"] is None
    assert second["evaluation"] == {}
    assert second["harvest"] == {"l0": 3.5, "fvu": 0.25}
    assert sum(first["found"]["frequency_counts"]) == world.M
    assert facts["left_out"] == EVALUATION["left_out"]


def test_details_of_a_latent_are_those_of_the_dense_latents(texts):
    suite, store, out = texts
    entry, dictionary = next(iter(suite.dictionaries()))
    x, item, place = world.rows_of(store)
    with torch.no_grad():
        f = dictionary.encode(x).numpy()
    facts, table = read(out, "d0/table")
    _, details = read(out, "d0/0")
    assert table["fired"].tolist() == (f > 0).sum(axis=0).tolist()
    np.testing.assert_allclose(table["largest"], f.max(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table["threshold"], dictionary.unit.threshold.detach())
    np.testing.assert_allclose(table["mean"], f.sum(axis=0) / (f > 0).sum(axis=0), rtol=1e-4)
    assert facts["rows"] == len(f)
    for i in range(entry.width):
        row = f[:, i].argmax()
        assert details["item"][i, 0] == item[row] + 1
        assert details["place"][i, 0] == place[row]
        assert details["value"][i, 0] == 32_767
        assert details["colour"][i, 0, place[row]] == 255


def test_tokens_are_ranked_by_the_scores_that_a_direction_adds(texts):
    suite, store, out = texts
    _, details = read(out, "d0/0")
    _, table = read(out, "d0/table")
    dictionary = suite.load("blocks.0/a")
    effect = (dictionary.w_dec.detach() @ store.unembedding()).numpy()
    effect -= effect.mean(axis=1, keepdims=True)
    order = np.argsort(-effect, axis=1)
    assert details["up_id"].tolist() == order[:, :8].tolist()
    assert details["down_id"].tolist() == order[:, ::-1][:, :8].tolist()
    assert table["promoted"].tolist() == order[:, 0].tolist()
    shown = details["up_value"] / 32_767 * details["score_scale"][:, None]
    np.testing.assert_allclose(shown, -np.sort(-effect, axis=1)[:, :8], atol=1e-3)


def test_neighbours_are_the_nearest_by_cosine(texts):
    suite, _, out = texts
    _, details = read(out, "d0/0")
    dictionary = suite.load("blocks.0/a")
    for name, rows in (("decoder", dictionary.w_dec), ("encoder", dictionary.w_enc.T)):
        unit = torch.nn.functional.normalize(rows.detach().double(), dim=1).numpy()
        cosine = unit @ unit.T
        np.fill_diagonal(cosine, -2)
        assert details[f"{name}_id"].tolist() == np.argsort(-cosine, axis=1)[:, :8].tolist()
        best = -np.sort(-cosine, axis=1)[:, :8]
        np.testing.assert_allclose(details[f"{name}_value"] / 32_767, best, atol=1e-4)


def test_labels_are_the_commonest_tokens_of_the_largest_examples(texts):
    _, store, out = texts
    _, table = read(out, "d0/table")
    _, details = read(out, "d0/0")
    corpus = store.corpus.read("token", 0, store.items).numpy()
    for i in range(world.M):
        top = (details["group"][i] == 0) & (details["item"][i] > 0)
        tokens = corpus[details["item"][i][top] - 1, details["place"][i][top]]
        kinds, number = np.unique(tokens, return_counts=True)
        assert table["label"][i] == kinds[number.argmax()]


def test_every_item_that_is_shown_is_there_as_it_was_read(texts):
    _, store, out = texts
    facts, _ = read(out, "suite")
    per = facts["items"]["per"]
    tokens = store.corpus.read("token", 0, store.items).numpy()
    kept = store.corpus.read("kept", 0, store.items).numpy()
    for name in ("d0/0", "d1/0", "d2/0"):
        _, details = read(out, name)
        for number in np.unique(details["item"][details["item"] > 0]).astype(int) - 1:
            _, found = read(out, f"items/{number // per}")
            at = found["number"].tolist().index(number % per)
            assert found["token"][at].tolist() == tokens[number].tolist()
            assert found["kept"][at].tolist() == kept[number].tolist()


def test_equal_inputs_give_equal_bytes(texts, tmp_path):
    suite, store, out = texts
    write_dash(suite, store, tmp_path / "again", evaluation=EVALUATION, quiet=True, threads=1)
    assert every_file(tmp_path / "again") == every_file(out)


def test_a_stopped_call_goes_on_and_makes_no_finished_site_again(texts, tmp_path, monkeypatch):
    suite, store, out = texts
    scanned = []

    def scan(shards, *given, **named):
        scanned.append(shards.path.name)
        return scan_site(shards, *given, **named)

    def stop():
        if scanned[-1:] == ["blocks.1"]:
            raise KeyboardInterrupt

    scan_site = build.scan_site
    monkeypatch.setattr(build, "scan_site", scan)
    given = {"evaluation": EVALUATION, "quiet": True}
    with pytest.raises(KeyboardInterrupt):
        write_dash(suite, store, tmp_path / "half", check_stop=stop, **given)
    assert not (tmp_path / "half" / "index.html").exists()
    write_dash(suite, store, tmp_path / "half", **given)
    assert scanned == ["blocks.0", "blocks.1", "blocks.1"]
    assert every_file(tmp_path / "half") == every_file(out)


def test_other_settings_make_the_sites_again(texts, tmp_path):
    suite, store, out = texts
    shutil.copytree(out, tmp_path / "dash")
    write_dash(suite, store, tmp_path / "dash", rows=200, quiet=True)
    facts, _ = read(tmp_path / "dash", "suite")
    assert {entry["found"]["rows"] for entry in facts["entries"]} == {200}


def test_pictures_are_kept_once_with_their_captions(tmp_path, monkeypatch):
    monkeypatch.setattr(items, "_BYTES", 36 * 20)
    suite, store = two_sites(tmp_path, shows="picture", grid=(2, 3), items=45)
    out = tmp_path / "dash"
    write_dash(suite, store, out, quiet=True)
    facts, _ = read(out, "suite")
    assert facts["items"] == {"per": 20, "corpus": True, "captions": True}
    assert facts["shows"] == "picture"
    said, found = read(out, "items/2")
    numbers = 40 + found["number"].astype(int)
    pictures = store.corpus.read("picture", 0, 45).numpy()
    assert found["picture"].tolist() == pictures[numbers].tolist()
    assert said["captions"] == [f"digit {number % 3} <b>" for number in numbers]
    table, arrays = read(out, "d0/table")
    assert table["captions"] == ["digit 0 <b>", "digit 1 <b>", "digit 2 <b>"]
    assert table["places"]["kind"] == "grid"
    assert table["places"]["shape"] == [2, 3]
    assert arrays["label"].max() <= 2
    _, details = read(out, "d0/0")
    assert details["colour"].shape[2] == 6


def test_plain_rows_need_neither_corpus_nor_place(tmp_path):
    suite, store = two_sites(tmp_path, shows="row", grid=(), items=90)
    (store.path / "captions.json").unlink()
    out = tmp_path / "dash"
    write_dash(suite, store, out, quiet=True)
    assert read(out, "suite")[0]["items"] == {"per": 1_024, "corpus": False, "captions": False}
    assert not (out / "data" / "items").exists()
    facts, arrays = read(out, "d0/table")
    assert facts["places"]["kind"] == "none"
    assert (arrays["label"] == -1).all()


def test_transcoders_are_read_by_their_encoder_and_named_by_where_they_write(tmp_path):
    store = world.write_store(tmp_path / "store")
    one = world.dictionary("jumprelu", out=world.D)
    suite = world.write_suite(tmp_path / "suite", {(world.SITE, "t"): one})
    write_dash(suite, store, tmp_path / "dash", quiet=True)
    facts, _ = read(tmp_path / "dash", "suite")
    assert facts["entries"][0]["site_out"] == "blocks.1"
    _, table = read(tmp_path / "dash", "d0/table")
    x, _, _ = world.rows_of(store)
    with torch.no_grad():
        assert table["fired"].tolist() == (one.encode(x) > 0).sum(dim=0).tolist()


def test_a_wide_dictionary_is_split_into_bundles_that_load_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tenfold.rooms.scope.dash.tables.LATENTS", 16)
    store = world.write_store(tmp_path / "store")
    suite = world.write_suite(
        tmp_path / "suite", {(world.SITE, "w"): world.dictionary("relu", width=37)}
    )
    write_dash(suite, store, tmp_path / "dash", quiet=True)
    assert read(tmp_path / "dash", "d0/table")[0]["per"] == 16
    assert [len(read(tmp_path / "dash", f"d0/{b}")[1]["span"]) for b in range(3)] == [16, 16, 5]


def test_heads_before_their_projection_are_not_read_as_scores():
    matrix = torch.zeros(8, 5)
    assert relations.reaches_scores("blocks.0", 8, matrix)
    assert relations.reaches_scores("blocks.1.mlp_post_norm", 8, matrix)
    assert relations.reaches_scores("blocks.0:in", 8, matrix)
    assert not relations.reaches_scores("blocks.0.attn.out:in", 8, matrix)
    assert not relations.reaches_scores("model.layers.3.self_attn.o_proj:in[0]", 8, matrix)
    assert not relations.reaches_scores("blocks.0", 9, matrix)
    assert not relations.reaches_scores("blocks.0", 8, None)


def test_classes_of_places_are_single_at_first_and_cover_all():
    places = layout._classes((1_024,), 1_024)
    assert places.number <= 32
    assert places.class_of[:8].tolist() == list(range(8))
    assert (np.diff(places.class_of) >= 0).all()
    assert [int(np.argmax(places.class_of == k)) for k in range(places.number)] == list(
        places.starts[:-1]
    )
    assert places.starts[-1] == 1_024
    grid = layout._classes((40, 40), 1_600)
    assert grid.number <= 256
    assert grid.class_of.reshape(40, 40)[39, 39] == grid.number - 1


def test_bundles_give_back_arrays_of_every_type(tmp_path):
    arrays = {f"a{kind}": np.arange(5).astype(kind) for kind in bundles._TYPES}
    bundles.write_bundle(tmp_path / "data", "b", facts={"text": "</script>\u2028"}, arrays=arrays)
    facts, found = read(tmp_path, "b")
    assert facts == {"text": "</script>\u2028"}
    for name, array in arrays.items():
        assert found[name].dtype.str.lstrip("<|") == array.dtype.str.lstrip("<|")
        assert found[name].tolist() == array.tolist()


def test_a_suite_without_dictionaries_is_refused(tmp_path):
    store = world.write_store(tmp_path / "store")
    with pytest.raises(TenfoldError, match="has no dictionary"):
        write_dash(world.write_suite(tmp_path / "suite", {}), store, tmp_path / "dash")


def test_settings_out_of_range_and_sites_that_are_not_there_are_refused(texts, tmp_path):
    suite, store, _ = texts
    with pytest.raises(TenfoldError, match=r"cofiring_share \(0\)"):
        write_dash(suite, store, tmp_path / "a", cofiring_share=0, quiet=True)
    lonely = world.write_suite(tmp_path / "suite", {("blocks.7", "a"): world.dictionary("relu")})
    with pytest.raises(TenfoldError, match=r"blocks\.7"):
        write_dash(lonely, store, tmp_path / "b", quiet=True)
