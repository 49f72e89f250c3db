import getpass
import json
import socket
import sys
import types

import pytest
import torch

from tenfold.engine import doctor
from tenfold.engine.doctor import examine, format_report


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.mark.usefixtures("folders")
def test_the_report_is_json_and_knows_what_tenfold_needs():
    report = json.loads(json.dumps(examine()))
    assert report["packages"]["torch"] == torch.__version__
    assert "ray" in report["extras"]["ray"]
    assert "ray" not in report["packages"]
    assert report["compute"]["device"] in ("cpu", "cuda")
    assert 1 <= report["cores"]["usable"] <= report["cores"]["all"]


def test_nobody_is_named(folders):
    text = json.dumps(examine())
    for secret in (getpass.getuser() + "/", socket.gethostname(), str(folders)):
        assert secret not in text


def test_looking_writes_nothing(folders):
    examine()
    assert list(folders.iterdir()) == []


@pytest.mark.usefixtures("folders")
def test_a_folder_is_told_by_the_variable_that_names_it(monkeypatch):
    assert examine()["folders"]["cache"]["place"] == "TENFOLD_CACHE"
    monkeypatch.delenv("TENFOLD_CACHE")
    assert examine()["folders"]["cache"]["place"] == "~/.cache/tenfold"


def test_a_file_in_place_of_a_folder_is_a_problem_with_its_remedy(folders):
    (folders / "cache").write_text("in the way")
    report = examine()
    assert report["problems"] == ["TENFOLD_CACHE (cache) cannot be written to; name another folder"]
    assert "TENFOLD_CACHE (cache) cannot be written to" in format_report(report)


@pytest.mark.usefixtures("folders")
def test_little_space_and_a_missing_package_are_problems(monkeypatch):
    usage = type("Usage", (), {"free": 1.5e9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    known = doctor._find_version
    monkeypatch.setattr(doctor, "_find_version", lambda name: "" if name == "rich" else known(name))
    first, *others = examine()["problems"]
    assert first == "rich is not installed; pip install rich"
    assert all("1.5 GB free, fewer than 2" in problem for problem in others)
    assert len(others) == 2


@pytest.mark.usefixtures("folders")
def test_the_lines_say_what_is_there_what_is_missing_and_how_to_get_it():
    report = examine()
    report |= {
        "memory_gb": None,
        "gpus": [{"name": "Card", "memory_gb": 80.0}],
        "extras": {"ray": {"ray": ""}, "dev": {"ruff": "1"}},
        "problems": [],
    }
    lines = format_report(report).splitlines()
    assert "memory    unknown" in lines
    assert "gpus      Card, 80.0 GB" in lines
    assert 'extras    ray: ray missing; pip install "tenfold[ray]"' in lines
    assert "          dev: installed" in lines
    assert lines[-1] == "problems  none"


def test_memory_is_what_the_container_allows(tmp_path):
    limit = tmp_path / "memory.max"
    limit.write_text("1000000000\n")
    assert doctor._read_memory(str(limit)) == 1.0
    limit.write_text("max\n")
    assert doctor._read_memory(str(limit)) == doctor._read_memory(str(tmp_path / "absent"))


def test_memory_is_unknown_where_the_system_does_not_say(monkeypatch):
    monkeypatch.setattr(doctor.os, "sysconf", lambda _: int("none of that"))
    assert doctor._read_memory() is None


def test_every_gpu_is_listed(monkeypatch):
    card = type("Card", (), {"name": "Card", "total_memory": 80e9})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    assert doctor._list_gpus() == [{"name": "Card", "memory_gb": 80.0}] * 2


@pytest.mark.usefixtures("folders")
def test_modules_named_as_probes_are_asked(monkeypatch):
    probe = types.ModuleType("probe_of_a_test")
    probe.describe = lambda: ["first line", "second line"]
    monkeypatch.setitem(sys.modules, "probe_of_a_test", probe)
    report = examine({"guests": "probe_of_a_test"})
    assert report["probes"] == {"guests": ["first line", "second line"]}
    assert "guests    first line\n          second line\n" in format_report(report)
