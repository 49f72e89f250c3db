import errno
import hashlib
import itertools

import pytest
import torch

from rooms.scope.small_models import looker, reader, text_batch
from tenfold.engine import files
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.rooms.scope import harvest as module
from tenfold.rooms.scope.config import Harvest
from tenfold.rooms.scope.harvest import harvest, look
from tenfold.rooms.scope.store import open_store

TOKEN = int(text_batch("train", 0, 4).inputs[0][0, 3])
"""One of the first window."""
CFG = Harvest(tokens=100, dtype="bfloat16")


@pytest.fixture(autouse=True)
def _short_shards(monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_SHARD", 32)


def fill(folder, specimen=None, cfg=CFG, **options):
    return harvest(specimen or reader(), cfg, folder=folder, quiet=True, **options)


def contents(folder):
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def stopping_at(count):
    calls = itertools.count()

    def check_stop():
        if next(calls) == count:
            raise InterruptedError

    return check_stop


@pytest.mark.parametrize("moment", [0, 2, 3, 5])
def test_a_harvest_stopped_at_any_batch_ends_with_the_same_bytes(tmp_path, moment):
    fill(tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fill(tmp_path / "broken", check_stop=stopping_at(moment))
    assert not (tmp_path / "broken" / "store.json").exists()
    fill(tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def count_flushes(monkeypatch, *, full_at=-1):
    """Count the files that are made safe; number `full_at` meets a full disk."""
    numbers, flush = [], files.flush

    def counting(path):
        numbers.append(path)
        if len(numbers) - 1 == full_at:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        flush(path)

    monkeypatch.setattr(files, "flush", counting)
    return numbers


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.8, 0.95])
def test_after_a_full_disk_nothing_finished_is_lost_and_the_same_command_goes_on(
    tmp_path, monkeypatch, share
):
    folder = tmp_path / "full"
    with monkeypatch.context() as patch:
        flushes = count_flushes(patch)
        fill(tmp_path / "whole")
    with monkeypatch.context() as patch:
        count_flushes(patch, full_at=int(share * len(flushes)))
        with pytest.raises(TenfoldError, match=r"no space left.*free some space"):
            fill(folder)
    assert not list(folder.rglob("*.part"))
    finished = {name: digest for name, digest in contents(folder).items() if ".bin" in name}
    fill(folder)
    assert contents(folder) == contents(tmp_path / "whole")
    assert finished.items() <= contents(folder).items()


def test_other_faults_of_the_disk_are_not_called_a_full_one(tmp_path, monkeypatch):
    def failing(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(files, "flush", failing)
    with pytest.raises(OSError, match="Input/output"):
        fill(tmp_path)


def test_a_finished_harvest_is_only_opened(tmp_path):
    first = fill(tmp_path)
    before = contents(tmp_path)
    again = fill(tmp_path, check_stop=stopping_at(0))
    assert again.facts == first.facts
    assert contents(tmp_path) == before


def test_a_harvest_of_another_model_type_or_shape_is_not_opened(tmp_path):
    fill(tmp_path)
    with pytest.raises(TenfoldError, match=r"was harvested from reader.*'reader': 1"):
        fill(tmp_path, reader(identity={"reader": 2}))
    with pytest.raises(TenfoldError, match="holds bfloat16, not float32"):
        fill(tmp_path, cfg=Harvest(tokens=100, dtype="float32"))
    other = reader()
    other.module.blocks[1] = torch.nn.Linear(6, 5)
    with pytest.raises(TenfoldError, match=r"has shape \[8, 4\] an item at blocks.1, .*\[8, 5\]"):
        fill(tmp_path, other)


def test_the_size_on_disk_keeps_to_the_limit_with_everything_beside_the_rows(tmp_path):
    limit = 20_000
    cfg = Harvest(tokens=10**6, max_gb=limit / 1e9)
    for name, specimen in (("text", reader()), ("picture", looker(num_batches=10**4))):
        fill(tmp_path / name, specimen, cfg=cfg)
        used = sum(
            path.stat().st_size
            for path in (tmp_path / name).rglob("*")
            if path.suffix in (".bin", ".safetensors")
        )
        assert 0.8 * limit < used <= limit + 100  # the header of a .safetensors file


def test_a_limit_that_the_unembedding_exceeds_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="max_gb 1e-08 does not hold the unembedding"):
        fill(tmp_path, cfg=Harvest(max_gb=1e-8))


def test_a_row_that_is_not_finite_is_told_by_site_batch_and_position(tmp_path):
    specimen = reader()
    specimen.module.embed.weight.data[TOKEN] = float("nan")
    with pytest.raises(
        TenfoldError, match=r"site 'blocks.0:out' at batch 0, position \(\d, \d\).*nan"
    ):
        fill(tmp_path, specimen)


def test_sites_are_proposed_where_none_are_named(tmp_path):
    store = fill(tmp_path, reader(sites={}))
    assert store.sites


def test_a_look_tells_width_positions_and_kept_rows():
    seen = look(looker(), ["conv@1", "head"])
    assert (seen["conv@1"].width, seen["conv@1"].grid, seen["conv@1"].rows) == (5, (3, 3), 45)
    assert (seen["head"].width, seen["head"].grid, seen["head"].rows) == (3, (), 5)
    kept = int((text_batch("train", 0, 4).inputs[0] != 0).sum())
    assert look(reader(), ["blocks.0"])["blocks.0"].rows == kept


def test_texts_without_tokens_are_refused(tmp_path):
    def batches(_split, _start=0):
        yield Batch(inputs=(torch.ones(2, 3, dtype=torch.long),))

    with pytest.raises(TenfoldError, match="label 'token' of a batch of texts is missing"):
        fill(tmp_path, reader(batches=batches))


def test_rows_whose_place_would_be_lost_are_not_left_out(tmp_path):
    with pytest.raises(TenfoldError, match=r"norm_limit 3.0 .*conv@1 with positions \[3, 3\]"):
        fill(tmp_path, looker(), cfg=Harvest(norm_limit=3.0))


def test_an_outlier_of_a_text_is_left_out_at_its_site_only(tmp_path):
    specimen = reader()
    specimen.module.embed.weight.data[TOKEN] *= 1e4
    store = fill(tmp_path, specimen, cfg=Harvest(tokens=100, norm_limit=50.0))
    rows = store.rows("blocks.0")
    assert not (rows.read("token", 0, 100) == TOKEN).any()
    assert open_store(tmp_path).rows("blocks.0").meta["outliers"] > 0


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(TenfoldError, match="reader has 0 batches to train on"):
        fill(tmp_path, reader(num_batches=0))
