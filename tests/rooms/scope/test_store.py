import itertools
import json

import pytest
import torch

from rooms.scope.small_models import LENGTH, VOCABULARY, WIDTH, looker, pictures_of, reader
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.taps import capture
from tenfold.rooms.scope.config import Harvest
from tenfold.rooms.scope.harvest import harvest
from tenfold.rooms.scope.store import open_store


def fill(folder, specimen, *sites, **options):
    cfg = Harvest(sites=sites, **{"tokens": 100, "dtype": "float32"} | options)
    return harvest(specimen, cfg, folder=folder, quiet=True)


def column(store, site, name):
    rows = store.rows(site)
    return rows.read(name, 0, rows.num_rows)


def test_each_row_of_a_text_is_the_activation_of_its_token_at_its_place(tmp_path):
    specimen = reader()
    store = fill(tmp_path, specimen)
    item, place, token = (column(store, "blocks.0", name) for name in ("item", "place", "token"))
    batches = itertools.islice(specimen.batches("train"), 20)
    windows = torch.cat([batch.inputs[0] for batch in batches])
    assert torch.equal(windows[item.long(), place.long()], token.long())
    whole = capture(specimen.module, "blocks.0", lambda: specimen.module(windows))["blocks.0"]
    torch.testing.assert_close(column(store, "blocks.0", "x"), whole[item.long(), place.long()])
    assert not (token == 0).any()
    assert len(item) == store.site("blocks.0").rows == 100


def test_the_corpus_holds_every_window_with_its_mask_also_where_rows_end_early(tmp_path):
    store = fill(tmp_path, reader(batch_size=3), tokens=50)
    corpus = store.corpus
    token, kept = (corpus.read(name, 0, corpus.num_rows) for name in ("token", "kept"))
    item, place = (column(store, "blocks.1", name).long() for name in ("item", "place"))
    assert store.items == corpus.num_rows == int(item.max()) + 1
    assert torch.equal(token[item, place], column(store, "blocks.1", "token"))
    assert torch.equal(kept, token != 0)
    assert token.dtype == torch.int32
    assert token.shape[1] == LENGTH


def test_all_sites_have_the_same_rows_in_the_same_order(tmp_path):
    specimen = reader()
    store = fill(tmp_path, specimen)
    first, second = (column(store, site, "x") for site in ("blocks.0", "blocks.1"))
    torch.testing.assert_close(specimen.module.blocks[1](first.relu()), second)
    assert torch.equal(column(store, "blocks.0", "item"), column(store, "blocks.1", "item"))


def test_a_store_says_what_it_was_taken_from(tmp_path):
    specimen = reader()
    fill(tmp_path, specimen)
    store = open_store(tmp_path)
    assert store.vocabulary == list(specimen.vocabulary)
    assert len(store.vocabulary) == VOCABULARY
    assert torch.equal(store.unembedding(), specimen.unembedding())
    assert (store.shows, store.facts.context, store.facts.model) == ("text", LENGTH, "reader")
    assert store.grid("blocks.0") == (LENGTH,)
    assert store.captions == []
    assert {site: facts.width for site, facts in store.sites.items()} == dict(specimen.sites)


def test_rows_of_pictures_follow_the_positions_of_their_map(tmp_path):
    specimen = looker()
    store = fill(tmp_path, specimen, tokens=10_000)
    items = 11 * 5 + 3
    assert (store.grid("conv@1"), store.grid("head")) == ((3, 3), ())
    assert store.site("conv@1").rows == 9 * items
    assert store.site("head").rows == store.items == items
    pictures = torch.cat([pictures_of("train", n, 5) for n in range(12)])[:items]
    assert torch.equal(store.corpus.read("picture", 0, items), pictures)
    x = pictures.permute(0, 3, 1, 2).float() / 255
    maps = specimen.module.conv(x).permute(0, 2, 3, 1).reshape(-1, 5)
    torch.testing.assert_close(column(store, "conv@1", "x"), maps)
    assert torch.equal(
        column(store, "conv@1", "item"), torch.arange(items).repeat_interleave(9).int()
    )
    assert store.captions[:2] == [f"mean {float(one.mean()):.3f}" for one in x[:2]]
    assert len(store.captions) == items


def test_plain_rows_need_no_corpus(tmp_path):
    store = fill(tmp_path, looker(shows="row", captions=None), "head", tokens=20)
    assert store.corpus is None
    assert store.unembedding() is None
    assert column(store, "head", "item").tolist() == list(range(20))


def test_a_site_is_found_however_it_is_written(tmp_path):
    store = fill(tmp_path, reader(), "blocks.*:out", "blocks.0")
    assert list(store.sites) == ["blocks.0", "blocks.1"]
    assert store.site("blocks.1:out") is store.site("blocks.1")
    assert store.rows("blocks.0:out").num_rows == 100


def test_an_unknown_site_is_an_error_with_the_nearest(tmp_path):
    with pytest.raises(TenfoldError, match=r"'block\.0'; did you mean blocks\.0"):
        fill(tmp_path, reader(), "block.0")
    store = fill(tmp_path, reader(), "blocks.0")
    with pytest.raises(
        TenfoldError, match=r"site of the store .*'blocks\.1'; did you mean blocks\.0"
    ):
        store.rows("blocks.1")


def test_a_store_that_is_not_finished_is_refused(tmp_path):
    fill(tmp_path, reader())
    (tmp_path / "store.json").unlink()
    with pytest.raises(TenfoldError, match=r"no finished harvest at .*run `scope harvest`"):
        open_store(tmp_path)


def test_a_truncated_store_is_told_by_shard_and_byte(tmp_path):
    store = fill(tmp_path, reader())
    file = store.rows("blocks.1").path / "00000.x.bin"
    file.write_bytes(file.read_bytes()[:1234])
    with pytest.raises(
        TenfoldError, match=r"shard 0 of .*00000\.x\.bin ends at byte 1234.*says 1600"
    ):
        open_store(tmp_path)


def test_a_damaged_description_is_refused(tmp_path):
    fill(tmp_path, reader())
    facts = json.loads((tmp_path / "store.json").read_text())
    del facts["model"]
    (tmp_path / "store.json").write_text(json.dumps(facts))
    with pytest.raises(TenfoldError, match=r"describes no harvest.*'model'"):
        open_store(tmp_path)


def test_the_numbers_are_rounded_once(tmp_path):
    wide = fill(tmp_path / "a", reader(), tokens=40)
    narrow = fill(tmp_path / "b", reader(), tokens=40, dtype="bfloat16")
    assert torch.equal(column(narrow, "blocks.0", "x"), column(wide, "blocks.0", "x").bfloat16())
    assert narrow.site("blocks.0").dtype == "bfloat16"
    assert column(wide, "blocks.0", "x").shape == (40, WIDTH)
