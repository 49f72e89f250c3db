import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import torch_stream
from tenfold.engine.shards import open_shards
from tenfold.parts.sae.harvest import Batch, Reading, collect, folder_name, stream
from tenfold.parts.sae.taps import capture

NUM_BATCHES = 6


class Tiny(nn.Module):
    """Two layers, of which the second is counted."""

    def __init__(self):
        super().__init__()
        self.first = nn.Embedding(11, 3)
        self.second = nn.Linear(3, 2)
        self.seconds = 0
        for index, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=torch_stream(0, "parameter", index))

    def forward(self, tokens):
        hidden = self.first(tokens)
        self.seconds += 1
        return self.second(hidden)


def batch_of(number):
    tokens = torch.randint(0, 11, (2, 5), generator=torch_stream(0, "batch", number))
    positions = torch.arange(5).expand(2, 5)
    return Batch(
        inputs=(tokens,), mask=tokens != 0, labels={"token": tokens, "position": positions}
    )


def batches(start, stop=NUM_BATCHES):
    return map(batch_of, range(start, stop))


def harvest(folder, sites=("first", "second"), data=batches, **options):
    options = {"rows_per_shard": 8, "quiet": True} | options
    return collect(Tiny(), sites, data, folder=folder, **options)


def contents(shards):
    return {column.name: shards.read(column.name, 0, shards.num_rows) for column in shards.columns}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for site in ours:
        mine, others = contents(ours[site]), contents(theirs[site])
        assert mine.keys() == others.keys()
        assert all(torch.equal(mine[name], others[name]) for name in mine)


def stopping_at(count):
    calls = itertools.count()

    def check_stop():
        if next(calls) == count:
            raise InterruptedError

    return check_stop


def test_a_stream_gives_the_rows_of_a_capture_without_the_masked_ones():
    module = Tiny()
    for number, rows in enumerate(stream(module, ["first", "second:in"], batches(0))):
        batch = batch_of(number)
        taken = capture(module, "first", lambda batch=batch: module(*batch.inputs))["first"]
        assert torch.equal(rows["first"], taken[batch.mask])
        assert torch.equal(rows["second:in"], rows["first"])


def test_a_stream_leaves_the_module_early_from_the_second_batch_on():
    module = Tiny()
    assert len(list(stream(module, "first", batches(0)))) == NUM_BATCHES
    assert module.seconds == 1


def test_a_module_passed_twice_is_found_in_the_first_batch_of_a_stream():
    shared = nn.Linear(2, 2)
    data = [Batch(inputs=(torch.ones(1, 2),))]
    with pytest.raises(TenfoldError, match="'0:out' was passed 2 times"):
        next(stream(nn.Sequential(shared, shared), "0", data))
    rows = next(stream(nn.Sequential(shared, shared), "0", data, reading=Reading(calls="all")))
    assert len(rows["0"]) == 2


def test_stores_hold_the_rows_of_the_stream_and_their_labels(tmp_path):
    stores = harvest(tmp_path)
    streamed = list(stream(Tiny(), ["first", "second"], batches(0)))
    for site, shards in stores.items():
        assert torch.equal(contents(shards)["x"], torch.cat([rows[site] for rows in streamed]))
    tokens = torch.cat([batch.labels["token"][batch.mask] for batch in batches(0)])
    assert torch.equal(contents(stores["second"])["token"], tokens)
    torch.testing.assert_close(contents(stores["first"])["x"], Tiny().first(tokens).detach())


def test_stores_say_what_they_hold(tmp_path):
    meta = harvest(tmp_path, "first", meta={"model": "tiny"})["first"].meta
    assert meta["site"] == "first:out"
    assert meta["of"] == {"model": "tiny"}
    assert meta["batches"] == NUM_BATCHES
    assert meta["outliers"] == 0


def test_only_the_labels_named_are_kept(tmp_path):
    shards = harvest(tmp_path, "first", labels=["position"])["first"]
    assert [column.name for column in shards.columns] == ["x", "position"]


def test_an_unknown_label_is_an_error_with_the_nearest(tmp_path):
    with pytest.raises(TenfoldError, match="label of the batch 'tokens'; did you mean token"):
        harvest(tmp_path, labels=["tokens"])


def test_a_label_in_the_place_of_the_features_is_refused(tmp_path):
    data = [Batch(inputs=(torch.ones(2, dtype=torch.long),), labels={"x": torch.ones(2)})]
    with pytest.raises(TenfoldError, match="label is called 'x'"):
        harvest(tmp_path, data=lambda start: iter(data[start:]))


def test_a_label_of_a_type_that_shards_lack_is_refused(tmp_path):
    label = torch.ones(2, dtype=torch.float64)
    data = [Batch(inputs=(torch.ones(2, dtype=torch.long),), labels={"reward": label})]
    with pytest.raises(TenfoldError, match="label 'reward' is float64; convert it"):
        harvest(tmp_path, data=lambda start: iter(data[start:]))


def test_bfloat16_stores_hold_the_rounded_values(tmp_path):
    wide = contents(harvest(tmp_path / "a", "first")["first"])["x"]
    narrow = contents(harvest(tmp_path / "b", "first", dtype="bfloat16")["first"])["x"]
    assert narrow.dtype == torch.bfloat16
    assert torch.equal(narrow, wide.bfloat16())


def test_another_dtype_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="float32 or bfloat16, not as 'float16'"):
        harvest(tmp_path, dtype="float16")


@pytest.mark.parametrize("limit", [1, 8, 13])
def test_the_row_limit_holds_exactly_and_keeps_the_first_rows(tmp_path, limit):
    whole = contents(harvest(tmp_path / "a", "first")["first"])["x"]
    short = harvest(tmp_path / "b", "first", max_rows=limit)["first"]
    assert torch.equal(contents(short)["x"], whole[:limit])


def test_no_batch_is_run_after_the_row_limit(tmp_path):
    asked = []

    def watched(start):
        return (asked.append(number) or batch_of(number) for number in itertools.count(start))

    harvest(tmp_path, data=watched, max_rows=9)
    assert max(asked) <= 2


def test_the_size_limit_counts_all_columns_of_all_sites(tmp_path):
    # A row takes 3 and 2 floats, and two labels of 8 bytes at each of the two sites.
    row_bytes = 4 * (3 + 2) + 2 * 2 * 8
    stores = harvest(tmp_path, max_gb=20.5 * row_bytes / 1e9)
    assert [shards.num_rows for shards in stores.values()] == [20, 20]


def test_a_size_limit_below_one_row_is_an_error(tmp_path):
    with pytest.raises(TenfoldError, match="holds no row: one row of all sites takes 52 bytes"):
        harvest(tmp_path, max_gb=1e-8)


def test_no_batch_at_all_is_an_error(tmp_path):
    with pytest.raises(TenfoldError, match="there is no batch 0"):
        harvest(tmp_path, data=lambda _: iter(()))


def test_masks_that_drop_everything_are_an_error(tmp_path):
    tokens = torch.zeros(2, 5, dtype=torch.long)
    data = [Batch(inputs=(tokens,), mask=tokens != 0)]
    with pytest.raises(TenfoldError, match="no row of 'first:out' was kept in 1 batches"):
        harvest(tmp_path, data=lambda start: iter(data[start:]))


@pytest.mark.parametrize("max_rows", [0, 37])
@pytest.mark.parametrize("stops", [(0,), (1, 2), (4, 3, 0), (5,)])
def test_a_harvest_that_is_stopped_ends_like_one_that_is_not(tmp_path, stops, max_rows):
    options = {"rows_per_shard": 11, "max_rows": max_rows, "labels": ["token"]}
    for stop in stops:
        with contextlib.suppress(InterruptedError):
            harvest(tmp_path / "a", "first", check_stop=stopping_at(stop), **options)
    resumed = harvest(tmp_path / "a", "first", **options)
    assert_same(resumed, harvest(tmp_path / "b", "first", **options))


def test_sites_that_were_left_at_different_batches_both_end_exactly(tmp_path):
    # Images give more rows than their flattened values, so shards of the sites end apart.
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten())
    for index, parameter in enumerate(module.parameters()):
        nn.init.normal_(parameter, generator=torch_stream(0, index))

    def images(start):
        for number in range(start, 5):
            yield Batch(inputs=(torch.randn(3, 1, 2, 2, generator=torch_stream(1, number)),))

    def run(folder, **options):
        return collect(
            module, ["0@1", "1"], images, folder=folder, rows_per_shard=7, quiet=True, **options
        )

    with pytest.raises(InterruptedError):
        run(tmp_path / "a", check_stop=stopping_at(4))
    resumed, whole = run(tmp_path / "a"), run(tmp_path / "b")
    assert_same(resumed, whole)
    assert [whole["0@1"].num_rows, whole["1"].num_rows] == [60, 15]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_harvest import batch_of, harvest

    def dying(start):
        for number in range(start, 6):
            if number == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch_of(number)

    harvest(Path({folder!r}), data=dying)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_harvest_killed_in_the_middle_ends_like_one_that_is_not(tmp_path):
    tests = os.path.dirname(__file__)
    code = textwrap.dedent(KILLED).format(tests=tests, folder=str(tmp_path / "killed"))
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    with pytest.raises(TenfoldError, match="unfinished"):
        open_shards(tmp_path / "killed" / folder_name("first:out"))
    seen = []

    def watched(start):
        seen.append(start)
        return batches(start)

    resumed = harvest(tmp_path / "killed", data=watched)
    assert seen == [0, 4]  # the first batch is looked at for widths, the rest not run again
    assert_same(resumed, harvest(tmp_path / "whole"))


def test_a_finished_harvest_is_opened_without_running_anything(tmp_path):
    first = harvest(tmp_path)
    assert_same(harvest(tmp_path, data=lambda _: pytest.fail("asked for data")), first)


def test_a_finished_harvest_of_other_settings_is_refused(tmp_path):
    harvest(tmp_path, max_rows=5)
    with pytest.raises(TenfoldError, match=r"differently \(max_rows: 5 -> 6\)"):
        harvest(tmp_path, max_rows=6)


def test_an_unfinished_harvest_of_another_model_is_refused(tmp_path):
    with pytest.raises(InterruptedError):
        harvest(tmp_path, check_stop=stopping_at(3), meta={"model": "a"})
    with pytest.raises(TenfoldError, match=r"model: 'a' -> 'b'"):
        harvest(tmp_path, meta={"model": "b"})


def test_a_site_can_be_added_to_a_finished_harvest(tmp_path):
    harvest(tmp_path, "first")
    assert_same(harvest(tmp_path), harvest(tmp_path / "anew"))


def test_two_names_of_one_site_share_a_store(tmp_path):
    stores = harvest(tmp_path, ["first", "first:out"])
    assert stores.keys() == {"first", "first:out"}
    assert [path.name for path in tmp_path.iterdir()] == ["first+out"]


def test_outliers_are_counted_across_a_stop(tmp_path):
    reading = Reading(norm_limit=1.2)
    with pytest.raises(InterruptedError):
        harvest(tmp_path / "a", reading=reading, check_stop=stopping_at(4))
    resumed = harvest(tmp_path / "a", reading=reading)
    whole = harvest(tmp_path / "b", reading=reading)
    assert resumed["first"].meta == whole["first"].meta
    assert whole["first"].meta["outliers"] > 0


def test_different_sites_have_different_folders_on_one_level():
    modules = ["", "a", "a.b", "a+b", "a/b", "a b", "a%2Fb", "é"]
    sides = ["in", "out", "out[0]", "out[1][a]", "in[a]", "out@1", "out[0]@-2,-1"]
    folders = [folder_name(f"{module}:{side}") for module in modules for side in sides]
    assert len(set(folders)) == len(modules) * len(sides)
    assert not any("/" in folder for folder in folders)
