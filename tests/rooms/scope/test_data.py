import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.scope.small_models import looker, reader
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.harvest import stream
from tenfold.rooms.scope import data as module
from tenfold.rooms.scope import live as live_module
from tenfold.rooms.scope.config import Harvest
from tenfold.rooms.scope.data import Order, StoreData, bucket_rows, refuse_unpaired
from tenfold.rooms.scope.harvest import harvest
from tenfold.rooms.scope.live import LiveData
from tenfold.rooms.scope.store import open_store

BATCH = 16


def fill(folder, specimen, *sites, **options):
    cfg = Harvest(sites=sites, **{"tokens": 400, "dtype": "float32"} | options)
    return harvest(specimen, cfg, folder=folder, quiet=True)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("texts"), reader())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("pictures"), looker(), tokens=10_000)


def open_data(store, sites=("blocks.0", "blocks.1"), **options):
    options = {"batch": BATCH, "seeds": (0, 1), "held_out": 0.1, "bucket": 128} | options
    return StoreData(store, sites, **options)


def read_all(data, steps):
    """Read every row of a site that is trained on there."""
    for step in range(steps):
        data.batch(step)
    return list(data.held_out("blocks.1"))


def numbered(store, site, rows):
    """Return which rows of the store these are."""
    shards = store.rows(site)
    known = {tuple(x): n for n, x in enumerate(shards.read("x", 0, shards.num_rows).tolist())}
    return [known[tuple(row)] for row in rows.tolist()]


@given(
    count=st.integers(1, 60),
    bucket=st.integers(1, 70),
    batch=st.integers(1, 25),
    seed=st.integers(),
)
@settings(max_examples=40)
def test_each_epoch_of_an_order_has_every_row_once(count, bucket, batch, seed):
    order = Order(count, bucket=bucket)
    steps = -(-2 * count // batch)
    seen = []
    for step in range(steps):
        for part in order.parts(step * batch, batch):
            seen += order.span(part.bucket)[order.take(part, seed=seed)].tolist()
    assert len(seen) == steps * batch
    assert sorted(seen[:count]) == sorted(seen[count : 2 * count]) == list(range(count))


def test_seeds_differ_in_the_order_of_rows_but_not_of_buckets():
    order = Order(1_000, bucket=100)
    parts = list(order.parts(0, 300))
    assert len({part.bucket for part in parts}) == 3
    first, other = ([order.take(part, seed=seed).tolist() for part in parts] for seed in (0, 1))
    assert first != other
    assert [sorted(rows) for rows in first] == [sorted(rows) for rows in other]


def test_buckets_hold_what_fits_into_memory():
    assert bucket_rows(4 * 512) == 1 << 18
    assert bucket_rows(1) == module.MOST_BUCKET_ROWS
    assert bucket_rows(10**9) == module.LEAST_BUCKET_ROWS


def test_every_training_row_is_seen_once_a_pass_and_no_held_out_one(texts):
    data = open_data(texts)
    steps = -(-data.rows // BATCH)
    rows = torch.cat([data.batch(step)["blocks.0"][1] for step in range(steps)])[: data.rows]
    trained = numbered(texts, "blocks.0", rows)
    aside = numbered(texts, "blocks.0", torch.cat(list(data.held_out("blocks.0"))))
    assert sorted(trained + aside) == list(range(400))
    assert trained != sorted(trained)


def test_held_out_are_whole_items_the_same_ones_at_every_site(texts, pictures):
    for store, sites in ((texts, ("blocks.0", "blocks.1")), (pictures, ("conv@1", "head"))):
        data = open_data(store, sites)
        aside = []
        for site in sites:
            item = store.rows(site).read("item", 0, store.site(site).rows)
            rows = numbered(store, site, torch.cat(list(data.held_out(site))))
            aside.append(set(item[rows].tolist()))
            assert len(rows) == int(sum(int((item == one).sum()) for one in aside[-1]))
        assert aside[0] == aside[1]


def test_sites_get_the_same_rows(texts):
    batch = open_data(texts).batch(3)
    head = reader().module.blocks[1]
    for seed in (0, 1):
        expected = head(batch["blocks.0"][seed].relu())
        torch.testing.assert_close(batch["blocks.1"][seed], expected)
    assert not torch.equal(batch["blocks.0"][0], batch["blocks.0"][1])


def test_a_batch_depends_on_the_step_alone(texts):
    whole, other = open_data(texts, bucket=64), open_data(texts, ("blocks.1",), bucket=64)
    ahead = [whole.batch(step)["blocks.1"][0] for step in range(40)]
    for step in (39, 0, 17, 3):
        assert torch.equal(other.batch(step)["blocks.1"][0], ahead[step])


def test_sites_with_more_positions_are_read_in_an_order_of_their_own(pictures):
    data = open_data(pictures, ("conv@1", "head"))
    assert data.rows == data.describe()["sites"]["conv@1"]["training_rows"]
    batch = data.batch(30)
    assert batch["conv@1"][0].shape == (BATCH, 5)
    assert batch["head"][0].shape == (BATCH, 3)


def test_samples_are_training_rows_and_equal_ones_at_every_site(texts):
    data = open_data(texts)
    first, second = data.sample("blocks.0"), data.sample("blocks.1")
    torch.testing.assert_close(reader().module.blocks[1](first.relu()), second)
    aside = numbered(texts, "blocks.0", torch.cat(list(data.held_out("blocks.0"))))
    assert not {*numbered(texts, "blocks.0", first)} & {*aside}


def test_a_row_of_a_store_that_is_not_finite_is_told_by_site_and_number(tmp_path):
    store = fill(tmp_path, reader(), "blocks.1")
    file = store.rows("blocks.1").path / "00000.x.bin"
    values = np.fromfile(file, "<f4")
    values[4 * 77 + 2] = np.nan
    values.tofile(file)
    data = open_data(open_store(tmp_path), ("blocks.1",), held_out=0.01)
    with pytest.raises(TenfoldError, match=r"site 'blocks\.1', row 77 holds NaN"):
        read_all(data, 30)


def test_one_item_is_too_few(tmp_path):
    store = fill(tmp_path, reader(num_batches=1, batch_size=1), "blocks.0")
    with pytest.raises(TenfoldError, match=r"rows of 1 items.*harvest more"):
        open_data(store, ("blocks.0",))


def test_sites_of_other_positions_are_no_pair(pictures, tmp_path):
    with pytest.raises(TenfoldError, match=r"conv@1 has .*\[522, 3, 3\], head \[58\]"):
        refuse_unpaired(pictures, "conv@1", "head")
    store = fill(tmp_path, reader(), norm_limit=50.0)
    with pytest.raises(TenfoldError, match=r"harvested with norm_limit 50\.0"):
        refuse_unpaired(store, "blocks.0", "blocks.1")


# Without a store


@pytest.fixture(autouse=True)
def _small_samples(monkeypatch):
    monkeypatch.setattr(live_module, "SAMPLE_ROWS", 100)
    monkeypatch.setattr(live_module, "HELD_OUT_ROWS", 100)


def live(specimen=None, sites=("blocks.0", "blocks.1"), **options):
    options = {"batch": BATCH, "seeds": (0, 1), "rows": 400, "bucket": 64} | options
    return LiveData(specimen or reader(), sites, dtype=torch.float32, **options)


def test_live_rows_are_those_of_the_model_each_once_and_mixed():
    data, specimen = live(), reader()
    rows = torch.cat([data.batch(step)["blocks.0"][0] for step in range(20)])
    streamed = itertools.islice(
        stream(specimen.module, "blocks.0", specimen.batches("train", 0)), 20
    )
    expected = torch.cat([found["blocks.0"] for found in streamed])
    known = {tuple(row) for row in expected.tolist()}
    assert all(tuple(row) in known for row in rows.tolist())
    assert not torch.equal(rows, expected[: len(rows)])
    batch = data.batch(20)
    torch.testing.assert_close(
        specimen.module.blocks[1](batch["blocks.0"][1].relu()), batch["blocks.1"][1]
    )


def test_live_rows_go_on_from_the_bucket_they_stood_in():
    whole = live()
    ahead = [whole.batch(step)["blocks.1"] for step in range(14)]
    data = live()
    for step in range(9):
        data.batch(step)
    values = data.state()
    assert values["bucket"] > 0
    resumed = live()
    resumed.load_state(values)
    assert resumed.state() == values
    for step in range(9, 14):
        found = resumed.batch(step)["blocks.1"]
        assert all(torch.equal(found[seed], ahead[step][seed]) for seed in (0, 1))


def test_live_rows_can_be_asked_for_again():
    data = live()
    first = data.batch(0)["blocks.0"][0]
    data.batch(12)
    assert torch.equal(data.batch(0)["blocks.0"][0], first)


def test_live_held_out_rows_come_from_the_held_out_split():
    data, specimen = live(), reader()
    first = next(stream(specimen.module, "blocks.0", specimen.batches("held_out", 0)))
    held_out = torch.cat(list(data.held_out("blocks.0")))
    assert torch.equal(held_out[: len(first["blocks.0"])], first["blocks.0"])


def test_live_data_that_end_are_told():
    data = live(reader(num_batches=4))
    with pytest.raises(TenfoldError, match=r"data of reader ended after .* rows"):
        read_all(data, 20)


def test_live_sites_of_other_positions_are_refused():
    with pytest.raises(TenfoldError, match=r"different numbers of rows.*leave out --live"):
        live(looker(), ("conv@1", "head"))
