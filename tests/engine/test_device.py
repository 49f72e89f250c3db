import os

import pytest
import torch

from tenfold.engine import device
from tenfold.engine.errors import TenfoldError


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_cpu_is_chosen_and_the_reason_told():
    compute = device.choose()
    assert (compute.device, compute.dtype) == ("cpu", "float32")
    assert compute.reasons[0] == "cpu: torch finds no GPU"
    assert len(compute.reasons) == 3


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_chosen_where_there_is_one():
    assert device.choose().device == "cuda"
    assert device.choose().dtype == "bfloat16"
    assert device.choose("cuda:1").device == "cuda:1"
    assert device.choose("cpu").dtype == "float32"


@pytest.mark.usefixtures("two_gpus")
def test_an_old_gpu_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert device.choose().dtype == "float32"


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_refused_by_naming_those_that_are():
    with pytest.raises(
        TenfoldError, match=r"'cuda:2' is not on this machine.*cpu or cuda or cuda:0"
    ):
        device.choose("cuda:2")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cuda", "gpu", ""])
def test_a_device_that_torch_cannot_use_is_refused(name):
    with pytest.raises(TenfoldError, match="use auto or cpu"):
        device.choose(name)


@pytest.mark.usefixtures("no_gpu")
def test_threads_are_as_asked_else_by_environment_else_all_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert device.choose(threads=5).threads == 5
    assert device.choose().threads == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert device.choose().threads == device.spare_cores()


@pytest.mark.usefixtures("no_gpu")
def test_a_negative_number_of_threads_is_refused():
    with pytest.raises(TenfoldError, match="-2 threads cannot compute"):
        device.choose(threads=-2)


def test_apply_sets_the_threads_of_torch():
    before = torch.get_num_threads()
    try:
        device.apply(device.choose("cpu", threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_cores_are_limited_by_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(device, "_read_quota", lambda: 4)
    assert device.spare_cores() == 4
    monkeypatch.setattr(device, "_read_quota", lambda: 64)
    assert device.spare_cores() == 6
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert device.spare_cores() == 1


@pytest.mark.parametrize(
    ("text", "cores"), [("150000 100000\n", 2), ("50000 100000", 1), ("max 100000", 1 << 16)]
)
def test_a_quota_is_rounded_up_to_whole_cores(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert device._read_quota(str(tmp_path / "cpu.max")) == cores
