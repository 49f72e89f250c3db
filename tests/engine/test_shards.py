import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.engine.shards import Column, open_shards, open_writer

DTYPES = ("float32", "float16", "bfloat16", "int32", "int64", "uint8", "bool")
PLAIN = [Column(name="x", dtype="float32", shape=(2,))]


def numbers(dtype: str, *shape: int) -> torch.Tensor:
    values = torch.arange(int(np.prod(shape))).reshape(shape) % 120
    return values.to(getattr(torch, dtype))


def write_plain(path: Path, *, rows: int = 10, rows_per_shard: int = 4) -> torch.Tensor:
    """Write rows two at a time, each pair committed by its number."""
    values = numbers("float32", rows, 2)
    writer = open_writer(path, PLAIN, rows_per_shard=rows_per_shard, meta={"site": "a"})
    for start in range(writer.num_rows, rows, 2):
        writer.append(x=values[start : start + 2])
        writer.commit({"next": start + 2})
    writer.finish()
    return values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_every_type_and_shape_comes_back_bit_for_bit(tmp_path, dtype, shape):
    values = numbers(dtype, 7, *shape)
    writer = open_writer(tmp_path, [Column(name="x", dtype=dtype, shape=shape)], rows_per_shard=3)
    for row in values:
        writer.append(x=row[None])
        writer.commit({})
    writer.finish()
    back = open_shards(tmp_path, verify=True).read("x", 0, 7)
    assert back.dtype == values.dtype
    assert torch.equal(back, values)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    rows_per_shard=st.integers(1, 12),
    wanted=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_read_and_gather_agree_with_indexing_whatever_the_shards(
    tmp_path_factory, sizes, rows_per_shard, wanted
):
    path = tmp_path_factory.mktemp("store")
    whole = numbers("int64", sum(sizes), 2) * 7
    writer = open_writer(
        path, [Column(name="x", dtype="int64", shape=(2,))], rows_per_shard=rows_per_shard
    )
    for block in whole.split(sizes):
        writer.append(x=block)
        writer.commit({})
    writer.finish()
    shards = open_shards(path)
    rows = [number % len(whole) for number in wanted] if len(whole) else []
    assert shards.num_rows == len(whole)
    assert torch.equal(shards.gather("x", torch.tensor(rows, dtype=torch.int64)), whole[rows])
    for start in range(0, len(whole), 3):
        assert torch.equal(shards.read("x", start, len(whole)), whole[start:])


def test_files_are_plain_little_endian_numbers_another_program_can_read(tmp_path):
    values = write_plain(tmp_path, rows=4, rows_per_shard=4)
    assert (tmp_path / "00000.x.bin").read_bytes() == values.numpy().astype("<f4").tobytes()


def test_shards_end_only_at_safe_points(tmp_path):
    writer = open_writer(tmp_path, PLAIN, rows_per_shard=3)
    for _ in range(4):
        writer.append(x=numbers("float32", 5, 2))
    assert writer.cursor is None
    writer.commit({"next": 1})
    assert writer.cursor == {"next": 1}
    assert (tmp_path / "00000.x.bin").stat().st_size == 20 * 2 * 4


def test_a_row_gathered_twice_is_a_copy_not_a_view(tmp_path):
    values = write_plain(tmp_path)
    shards = open_shards(tmp_path)
    shards.gather("x", np.array([1, 1])).zero_()
    shards.read("x", 0, 10).zero_()
    assert torch.equal(shards.read("x", 0, 10), values)


def test_floats_are_rounded_to_the_type_of_the_column(tmp_path):
    writer = open_writer(tmp_path, [Column(name="x", dtype="bfloat16")])
    writer.append(x=torch.tensor([1.0, 1.001]))
    writer.finish()
    assert open_shards(tmp_path).read("x", 0, 2).tolist() == [1.0, 1.0]


def test_meta_of_start_and_end_are_both_there(tmp_path):
    writer = open_writer(tmp_path, PLAIN, meta={"site": "a"})
    writer.finish({"scale": 2.5})
    assert open_shards(tmp_path).meta == {"site": "a", "scale": 2.5}


def test_a_store_without_rows_can_be_read(tmp_path):
    open_writer(tmp_path, PLAIN).finish()
    assert open_shards(tmp_path).gather("x", np.array([], dtype=np.int64)).shape == (0, 2)


def test_a_reopened_writer_goes_on_after_its_last_complete_shard(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    values = write_plain(whole)
    writer = open_writer(broken, PLAIN, rows_per_shard=4, meta={"site": "a"})
    for start in (0, 2, 4):
        writer.append(x=values[start : start + 2])
        writer.commit({"next": start + 2})
    again = open_writer(broken, PLAIN, rows_per_shard=4, meta={"site": "a"})
    assert again.num_rows == 4
    assert again.cursor == {"next": 4}
    write_plain(broken)
    for place in whole.iterdir():
        assert place.read_bytes() == (broken / place.name).read_bytes()


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from tenfold.engine.shards import Column, open_writer
writer = open_writer(Path(sys.argv[1]), [Column(name="x", dtype="float32", shape=(2,))],
                     rows_per_shard=4, meta={"site": "a"})
values = (torch.arange(20).reshape(10, 2) % 120).float()
for start in (0, 2, 4):
    writer.append(x=values[start : start + 2])
    writer.commit({"next": start + 2})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_writer_leaves_what_a_second_one_completes_to_the_same_bytes(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    write_plain(whole)
    done = subprocess.run([sys.executable, "-c", KILLED, str(broken)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (broken / "00001.x.bin.part").exists()
    write_plain(broken)
    for place in whole.iterdir():
        assert place.read_bytes() == (broken / place.name).read_bytes()


def test_reopening_removes_only_files_of_our_own_naming(tmp_path):
    open_writer(tmp_path, PLAIN)
    for name in (
        ".tmp-index.json-1-a",
        "00000.x.bin",
        "00000.x.bin.part",
        "notes.txt",
        "weights.bin",
    ):
        (tmp_path / name).write_text("old")
    open_writer(tmp_path, PLAIN)
    left = {place.name for place in tmp_path.iterdir()}
    assert left == {"index.json", "notes.txt", "weights.bin"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_told_and_finished_shards_survive(tmp_path):
    values = numbers("float32", 10, 2)
    writer = open_writer(tmp_path, PLAIN, rows_per_shard=4, meta={"site": "a"})
    writer.append(x=values[:4])
    writer.commit({"next": 4})
    (tmp_path / "00001.x.bin.part").symlink_to("/dev/full")
    with pytest.raises(TenfoldError, match=r"no space left while writing shard 1 of .*4 rows"):
        writer.append(x=values[4:])
    write_plain(tmp_path)
    assert torch.equal(open_shards(tmp_path, verify=True).read("x", 0, 10), values)


def test_other_faults_of_the_disk_keep_their_own_name(tmp_path):
    writer = open_writer(tmp_path, PLAIN)
    (tmp_path / "00000.x.bin.part").mkdir()
    with pytest.raises(IsADirectoryError):
        writer.append(x=numbers("float32", 1, 2))


def test_a_finished_store_is_not_written_again(tmp_path):
    write_plain(tmp_path)
    with pytest.raises(TenfoldError, match=r"are finished \(10 rows\)"):
        open_writer(tmp_path, PLAIN, meta={"site": "a"})


def test_another_meta_is_refused_with_the_difference(tmp_path):
    open_writer(tmp_path, PLAIN, meta={"site": "a"})
    with pytest.raises(TenfoldError, match=r"begun differently .meta.site: 'a' -> 'b'"):
        open_writer(tmp_path, PLAIN, meta={"site": "b"})


def test_an_unfinished_store_cannot_be_read_and_says_how_to_go_on(tmp_path):
    open_writer(tmp_path, PLAIN)
    with pytest.raises(TenfoldError, match=r"unfinished .*run the command that writes them once"):
        open_shards(tmp_path)


def test_a_folder_without_an_index_is_no_store(tmp_path):
    with pytest.raises(TenfoldError, match=r"no index\.json"):
        open_shards(tmp_path)


@pytest.mark.parametrize("left", [0, 17])
def test_a_truncated_file_is_named_with_its_shard_and_byte(tmp_path, left):
    write_plain(tmp_path)
    place = tmp_path / "00001.x.bin"
    place.write_bytes(place.read_bytes()[:left])
    with pytest.raises(TenfoldError, match=rf"shard 1 .*00001\.x\.bin ends at byte {left},.* 32"):
        open_shards(tmp_path)


def test_a_changed_byte_is_found_by_verify_with_shard_and_file(tmp_path):
    write_plain(tmp_path)
    place = tmp_path / "00002.x.bin"
    place.write_bytes(b"\x01" + place.read_bytes()[1:])
    open_shards(tmp_path)
    with pytest.raises(TenfoldError, match=r"shard 2 .*00002\.x\.bin does not have the sha256"):
        open_shards(tmp_path, verify=True)


def test_an_index_with_an_unknown_type_is_refused_by_its_path(tmp_path):
    write_plain(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    index["columns"][0]["dtype"] = "float8"
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(TenfoldError, match=r"columns\[0\]\.dtype: 'float8'"):
        open_shards(tmp_path)


def test_rows_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    columns = [*PLAIN, Column(name="y", dtype="int32")]
    writer = open_writer(tmp_path, columns)
    x, y = numbers("float32", 3, 2), numbers("int32", 3)
    with pytest.raises(TenfoldError, match=r"rows have columns \['x'\]"):
        writer.append(x=x)
    with pytest.raises(TenfoldError, match=r"different length .*'x': 3, 'y': 2"):
        writer.append(x=x, y=y[:2])
    with pytest.raises(TenfoldError, match=r"column y takes rows of int32 .*not int64"):
        writer.append(x=x, y=y.long())
    with pytest.raises(TenfoldError, match=r"column x takes .*\(2,\), not float32 \(3,\)"):
        writer.append(x=numbers("float32", 3, 3), y=y)
    assert [place.name for place in tmp_path.iterdir()] == ["index.json"]


def test_a_value_beyond_float16_is_refused_with_the_value(tmp_path):
    writer = open_writer(tmp_path, [Column(name="x", dtype="float16")])
    with pytest.raises(TenfoldError, match="ends at 65504, and a value is 70000"):
        writer.append(x=torch.tensor([1.0, -70_000.0]))


def test_an_unknown_column_is_answered_with_the_nearest(tmp_path):
    write_plain(tmp_path)
    with pytest.raises(TenfoldError, match=r"unknown column of .* 'xx'; did you mean x"):
        open_shards(tmp_path).read("xx", 0, 1)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "a/b"}, "'a/b' is not a letter"),
        ({"dtype": "float64"}, "'float64' not in"),
        ({"shape": (3, 0)}, r"shape \(3, 0\) has a size below 1"),
    ],
)
def test_a_column_that_cannot_be_stored_is_refused(changes, fault):
    with pytest.raises(ValueError, match=fault):
        Column(**({"name": "x", "dtype": "float32"} | changes))
