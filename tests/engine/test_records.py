import json
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from tenfold.engine import lock, records
from tenfold.engine.errors import TenfoldError
from tenfold.engine.records import decode_saved, find_run, list_records, read_record, saved_config


@dataclass(frozen=True, kw_only=True)
class Facts:
    size: int = 1


def make_run(root, name, *, room="toy", config=None, **status):
    path = root / room / name
    path.mkdir(parents=True)
    saved = {"schema": 1, "room": room, "verb": "count", "seed": 4, "recipe": "tiny"}
    saved |= {"started": 12.5, "config": config or {"size": 2}}
    told = {"state": "done", "step": 3, "total": 9, "reason": "", "heartbeat": 0.0} | status
    (path / "config.json").write_text(json.dumps(saved))
    (path / "status.json").write_text(json.dumps(told))
    return path


def test_a_record_tells_what_the_run_is_and_how_far(tmp_path):
    record = read_record(make_run(tmp_path, "a", state="stopped", reason="SIGTERM"))
    assert (record.name, record.room, record.verb, record.recipe) == ("a", "toy", "count", "tiny")
    assert (record.step, record.total, record.seed, record.started) == (3, 9, 4, 12.5)
    assert (record.state, record.reason) == ("stopped", "SIGTERM")


def test_a_running_run_without_a_process_is_lost_whatever_its_heartbeat(tmp_path):
    path = make_run(tmp_path, "a", state="running", heartbeat=time.time())
    assert read_record(path).state == "lost"


def test_a_running_run_with_a_process_is_running_however_long_it_is_silent(tmp_path):
    path = make_run(tmp_path, "a", state="running", heartbeat=time.time() - 1e6)
    with lock.hold(path):
        assert read_record(path).state == "running"


@pytest.mark.parametrize(("age", "state"), [(60, "running"), (121, "lost")])
def test_the_heartbeat_decides_where_locks_cannot_be_asked(tmp_path, monkeypatch, age, state):
    monkeypatch.setattr(lock, "is_held", lambda _: None)
    path = make_run(tmp_path, "a", state="running", heartbeat=time.time() - age)
    assert read_record(path).state == state


def test_runs_are_listed_by_name_and_broken_ones_are_called_so(tmp_path):
    make_run(tmp_path, "2026-02", room="other")
    make_run(tmp_path, "2026-01")
    (make_run(tmp_path, "2026-03") / "status.json").write_text("{")
    (tmp_path / "toy" / "no run").mkdir()
    found = list_records(tmp_path)
    assert [(r.name, r.state) for r in found] == [
        ("2026-01", "done"), ("2026-02", "done"), ("2026-03", "broken")
    ]  # fmt: skip
    assert "line 1 column 2" in found[2].reason


def test_a_folder_of_runs_that_is_not_there_lists_nothing(tmp_path):
    assert list_records(tmp_path / "none") == []


def test_a_record_that_lacks_a_field_is_told_by_its_name(tmp_path):
    path = make_run(tmp_path, "a")
    (path / "status.json").write_text('{"state": "done"}')
    with pytest.raises(TenfoldError, match="lacks 'step'"):
        read_record(path)


@pytest.mark.parametrize("text", ['{"schema": 1, "room": "toy"}', "[1]"])
def test_a_config_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(TenfoldError, match=r"'verb'.*it is not a run's config"):
        saved_config(tmp_path)


def test_a_saved_config_decodes_and_migrates(tmp_path):
    assert decode_saved(make_run(tmp_path, "a"), Facts) == Facts(size=2)
    old = make_run(tmp_path, "b", config={"width": 5})
    steps = {1: lambda data: {"size": data["width"]}}
    assert decode_saved(old, Facts, schema=2, migrations=steps) == Facts(size=5)


def test_a_run_is_found_by_path_name_beginning_and_end(tmp_path):
    path = make_run(tmp_path, "2026-01-02_1200_tiny_s0_abcd")
    make_run(tmp_path, "2026-01-03_1200_tiny_s0_efgh")
    for name in (path, str(path), path.name, "2026-01-02", "abcd"):
        assert find_run(name, tmp_path) == path


def test_a_beginning_that_fits_several_runs_names_them(tmp_path):
    for name in ("run_a", "run_b"):
        make_run(tmp_path, name)
    with pytest.raises(TenfoldError, match="'run' fits 2 runs: run_a, run_b; write more of one"):
        find_run("run", tmp_path)


@pytest.mark.parametrize("name", ["run_aab", ""])
def test_a_name_that_fits_no_run_is_answered_by_the_nearest(tmp_path, name):
    make_run(tmp_path, "run_aaa")
    with pytest.raises(TenfoldError, match="run_aaa"):
        find_run(name, tmp_path)


def test_listing_runs_imports_neither_torch_nor_rich():
    code = (
        "import sys, tenfold.engine.run, tenfold.engine.device\n"
        "heavy = {'torch', 'rich', 'scipy', 'tensorboardX', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_names_of_states_are_the_published_ones():
    assert set(records.State.__args__) == {"running", "done", "stopped", "failed", "lost", "broken"}
