"""Runs; called as a program, this file is the process that the tests kill."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.engine import checkpoint
from tenfold.engine.checkpoint import Cadence
from tenfold.engine.config import free
from tenfold.engine.errors import TenfoldError
from tenfold.engine.metrics import read_rows
from tenfold.engine.rng import generator_state, restore_generator, stream, torch_stream
from tenfold.engine.run import Options, Run, RunStopped, read_record, saved_config

UNITS = {"count/value": "1", "count/best": "1"}
STEPS, MANY = 7, 1000
QUICK = Options(quiet=True, checkpoint=Cadence(every_steps=2, every_seconds=0))
RARELY = Options(quiet=True, checkpoint=Cadence(every_steps=20, every_seconds=0))


@dataclass(frozen=True, kw_only=True)
class Count:
    factor: float = 1.0000001
    log_every: int = free(1)


class Counter:
    """A float64 state, a generator that is carried along, and a best that starts infinite."""

    def __init__(self, config: Count, seed: int):
        self.config, self.seed = config, seed
        self.value = torch.zeros(3, dtype=torch.float64)
        self.generator = torch_stream(seed, "counter")
        self.best = math.inf

    def step(self, step: int):
        noise = torch.randn(3, dtype=torch.float64, generator=self.generator)
        drift = float(stream(self.seed, "drift", step).normal())
        self.value = self.value * self.config.factor + noise + drift
        self.best = min(self.best, float(self.value.abs().sum()))
        return {"count/value": self.value.sum(), "count/best": self.best}

    def state(self):
        tensors = {"value": self.value, "generator": generator_state(self.generator)}
        return tensors, {"best": self.best}

    def load_state(self, tensors, values):
        self.value = tensors["value"]
        restore_generator(self.generator, tensors["generator"])
        self.best = values["best"]


def new_run(path, *, config=None, options=QUICK, seed=3):
    return Run.create(
        config or Count(), room="toy", verb="count", seed=seed, units=UNITS, options=options,
        path=path,
    )  # fmt: skip


def again(path, *, config=None, options=QUICK, **more):
    return Run.resume(path, config or Count(), units=UNITS, options=options, **more)


def count(run, *, steps=STEPS, during=lambda _step: None):
    """The loop of a room, with rows before, in and after it."""
    counter = Counter(run.config, run.seed)
    with run:
        run.log(0, {"count/value": 0.0})
        for step in run.steps(steps, counter):
            numbers = counter.step(step)
            during(step)
            if step % run.config.log_every == 0:
                run.log(step, numbers)
        run.log(steps, {"count/best": counter.best})
    return counter


def rows_of(path):
    return [(row.step, row.name, row.value) for row in read_rows(path / "metrics.jsonl")]


def status_of(path):
    return json.loads((path / "status.json").read_text())


def tensors_of(path):
    number, folder = checkpoint.latest(path / "ckpt")
    return number, {k: v.tolist() for k, v in checkpoint.read_tensors(folder).items()}


@pytest.fixture(scope="module", autouse=True)
def _no_loss_of_power():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _handle: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    count(new_run(path))
    return path


def assert_equals_whole(path, whole):
    assert tensors_of(path) == tensors_of(whole)
    assert rows_of(path) == rows_of(whole)
    assert (status_of(path)["state"], status_of(path)["step"]) == ("done", STEPS)


class Kill(BaseException):
    """Stands for a SIGKILL inside this process: nothing below the test may catch it."""


def die_at(number):
    def during(step):
        if step == number:
            raise Kill

    return during


@pytest.mark.parametrize("number", range(STEPS))
def test_a_run_that_died_in_any_step_goes_on_to_the_same_bits(tmp_path, whole, number):
    with pytest.raises(Kill):
        count(new_run(tmp_path / "run"), during=die_at(number))
    assert status_of(tmp_path / "run")["state"] == "failed"
    count(again(tmp_path / "run"))
    assert_equals_whole(tmp_path / "run", whole)


@pytest.fixture(scope="module")
def dead(tmp_path_factory):
    path = tmp_path_factory.mktemp("dead") / "run"
    with pytest.raises(Kill):
        count(new_run(path), during=die_at(5))
    return path


@settings(max_examples=12, deadline=None, derandomize=True)
@given(torn=st.integers(min_value=0, max_value=140))
def test_rows_torn_at_any_byte_after_the_checkpoint_are_written_anew(
    tmp_path_factory, whole, dead, torn
):
    path = tmp_path_factory.mktemp("torn") / "run"
    shutil.copytree(dead, path)
    metrics = path / "metrics.jsonl"
    kept = checkpoint.read_extra(checkpoint.latest(path / "ckpt")[1])["metrics_bytes"]
    os.truncate(metrics, max(kept, metrics.stat().st_size - torn))
    count(again(path))
    assert_equals_whole(path, whole)


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path, whole):
    never = replace(QUICK, checkpoint=Cadence(every_seconds=0))
    for _ in range(2):
        run = again if (tmp_path / "run").exists() else new_run
        with pytest.raises(Kill):
            count(run(tmp_path / "run", options=never), during=die_at(4))
    count(again(tmp_path / "run", options=never))
    assert_equals_whole(tmp_path / "run", whole)


def test_a_damaged_checkpoint_costs_steps_but_no_bit(tmp_path, whole, caplog):
    path = tmp_path / "run"
    with pytest.raises(Kill):
        count(new_run(path), during=die_at(5))
    newest = path / "ckpt" / "00000004" / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"!")
    count(again(path))
    assert "00000004 is damaged" in caplog.text
    assert_equals_whole(path, whole)


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_sigkill_at_any_file_operation_costs_no_bit(tmp_path, every):
    words = [sys.executable, __file__, "kills", str(tmp_path), str(every)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tried = json.loads(done.stdout)
    assert len(tried) > 90 // every
    assert tried[-1]["code"] == 0
    assert {kill["code"] for kill in tried[:-1]} == {-signal.SIGKILL}
    assert [kill for kill in tried if not kill["same"]] == []


def test_sigkill_from_outside_is_seen_as_lost_and_goes_on(tmp_path):
    path = tmp_path / "run"
    process = subprocess.Popen([sys.executable, __file__, "slow", str(path)])
    wait_until(lambda: (path / "ckpt" / "latest").exists())
    assert read_record(path).state == "running"
    with pytest.raises(TenfoldError, match=f"in use by process {process.pid}"):
        count(again(path))
    process.kill()
    process.wait()
    assert status_of(path)["state"] == "running"
    assert read_record(path).state == "lost"
    count(again(path, options=RARELY), steps=MANY)
    count(new_run(tmp_path / "whole", options=RARELY), steps=MANY)
    assert tensors_of(path) == tensors_of(tmp_path / "whole")
    assert rows_of(path) == rows_of(tmp_path / "whole")


def wait_until(holds):
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("waited 30 s for nothing")


def test_a_finished_run_yields_nothing_and_gives_its_state(tmp_path, whole):
    path = tmp_path / "run"
    first = count(new_run(path))
    second = count(again(path), during=die_at(0))
    assert second.value.tolist() == first.value.tolist()
    assert_equals_whole(path, whole)


def test_a_finished_run_says_so(tmp_path, capsys):
    path, loud = tmp_path / "run", replace(QUICK, quiet=False)
    count(new_run(path))
    capsys.readouterr()
    count(again(path, options=loud))
    assert "finished before, no step is left" in capsys.readouterr().err


def test_stop_after_saves_and_the_rest_is_exact(tmp_path, whole):
    path, three = tmp_path / "run", replace(QUICK, stop_after=3)
    with pytest.raises(RunStopped, match="3 steps done") as stop:
        count(new_run(path, options=three))
    assert stop.value.path == path
    assert tensors_of(path)[0] == 3
    assert (status_of(path)["state"], status_of(path)["step"]) == ("stopped", 3)
    with pytest.raises(RunStopped):
        count(again(path, options=three))
    assert tensors_of(path)[0] == 6
    count(again(path, options=three))
    assert_equals_whole(path, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_puts_the_handlers_back(tmp_path, whole, number):
    path, before = tmp_path / "run", signal.getsignal(number)
    with pytest.raises(RunStopped, match=number.name):
        count(new_run(path), during=lambda step: step == 2 and os.kill(os.getpid(), number))
    assert signal.getsignal(number) is before
    assert tensors_of(path)[0] == 3
    assert number.name in read_record(path).reason
    count(again(path))
    assert_equals_whole(path, whole)


def test_a_second_ctrl_c_leaves_at_once_and_the_last_checkpoint_counts(tmp_path, whole):
    def press_twice(step):
        if step == 3:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)

    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        count(new_run(path), during=press_twice)
    assert status_of(path)["state"] == "stopped"
    assert tensors_of(path)[0] == 2
    count(again(path))
    assert_equals_whole(path, whole)


def test_a_signal_in_the_last_step_still_stops_what_comes_after(tmp_path, whole):
    path = tmp_path / "run"
    with pytest.raises(RunStopped):
        count(new_run(path), during=lambda step: step == 6 and signal.raise_signal(signal.SIGTERM))
    assert tensors_of(path)[0] == STEPS
    count(again(path))
    assert_equals_whole(path, whole)


def test_work_without_steps_stops_where_it_asks(tmp_path):
    run = new_run(tmp_path / "run")

    def work():
        with run:
            run.check_stop()
            assert not run.stopping
            signal.raise_signal(signal.SIGTERM)
            assert run.stopping
            run.check_stop()

    with pytest.raises(RunStopped, match="SIGTERM"):
        work()
    assert read_record(run.path).state == "stopped"


def test_a_run_inside_a_run_stops_both_and_the_outer_is_the_one_to_resume(tmp_path):
    outer, inner = new_run(tmp_path / "outer"), new_run(tmp_path / "outer" / "out" / "inner")
    with pytest.raises(RunStopped) as stop, outer:
        count(inner, during=lambda step: step == 1 and signal.raise_signal(signal.SIGTERM))
    assert stop.value.path == outer.path
    assert str(stop.value) == f"{outer.path} stopped: asked to stop by SIGTERM"
    assert {read_record(run.path).state for run in (outer, inner)} == {"stopped"}
    assert tensors_of(inner.path)[0] == 2


def test_a_run_in_a_thread_installs_no_handler(tmp_path):
    before, seen = signal.getsignal(signal.SIGTERM), []
    run = new_run(tmp_path / "run")
    thread = threading.Thread(
        target=lambda: count(run, during=lambda _: seen.append(signal.getsignal(signal.SIGTERM)))
    )
    thread.start()
    thread.join()
    assert seen == [before] * STEPS
    assert read_record(run.path).state == "done"


def test_the_same_run_cannot_be_entered_twice(tmp_path):
    run = new_run(tmp_path / "run")
    with run, pytest.raises(TenfoldError, match="in use by process"), again(tmp_path / "run"):
        pass
    with again(tmp_path / "run"):
        pass


def test_a_fault_is_told_in_status_and_log(tmp_path):
    run = new_run(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError("nothing to divide by")
    assert read_record(run.path).state == "failed"
    assert read_record(run.path).reason == "ZeroDivisionError: nothing to divide by"
    assert "Traceback" in (run.path / "log.txt").read_text()


def test_a_changed_config_is_refused_by_naming_the_change(tmp_path):
    with pytest.raises(RunStopped):
        count(new_run(tmp_path / "run", options=replace(QUICK, stop_after=2)))
    with pytest.raises(TenfoldError, match=r"factor: 1\.0000001 -> 2\.0.*--accept-changes"):
        again(tmp_path / "run", config=Count(factor=2.0))


def test_an_accepted_change_goes_on_and_is_written_into_the_history(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(RunStopped):
        count(new_run(path, options=replace(QUICK, stop_after=2)))
    count(again(path, config=Count(factor=2.0), accept_changes=True))
    lines = [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["created", "resumed"]
    assert lines[1]["changes"] == [{"path": "factor", "before": 1.0000001, "after": 2.0}]
    assert saved_config(path)["config"]["factor"] == 2.0


def test_a_free_field_may_change_and_alters_no_tensor(tmp_path, whole):
    path = tmp_path / "run"
    with pytest.raises(RunStopped):
        count(new_run(path, options=replace(QUICK, stop_after=2)))
    count(again(path, config=Count(log_every=5)))
    assert tensors_of(path) == tensors_of(whole)
    assert saved_config(path)["config"]["log_every"] == 5


def test_a_config_of_an_older_schema_is_migrated_before_it_is_compared(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Count:
        ratio: float = 1.0000001

    def rename(data):
        return {"ratio": data["factor"]}

    new_run(tmp_path / "run")
    steps = {1: rename}
    again(tmp_path / "run", config=Count(), schema=2, migrations=steps)
    with pytest.raises(TenfoldError, match="ratio"):
        again(tmp_path / "run", config=Count(ratio=0.5), schema=2, migrations=steps)


def test_a_run_resumed_as_saved_keeps_seed_and_encoded_config(tmp_path):
    new_run(tmp_path / "run", seed=11)
    run = Run.resume(tmp_path / "run")
    assert (run.seed, run.room, run.verb, run.resumed) == (11, "toy", "count", True)
    assert run.config == {"kind": "Count", "factor": 1.0000001, "log_every": 1}


def test_fewer_steps_than_are_done_is_refused(tmp_path):
    count(new_run(tmp_path / "run"))
    with pytest.raises(TenfoldError, match="done 7 steps, more than the 5"):
        count(again(tmp_path / "run"), steps=5)


def test_a_second_run_at_the_same_path_is_refused(tmp_path):
    new_run(tmp_path / "run")
    with pytest.raises(TenfoldError, match="holds a run already"):
        new_run(tmp_path / "run")


def test_steps_outside_of_the_block_are_a_fault_of_the_room(tmp_path):
    run = new_run(tmp_path / "run")
    with pytest.raises(AssertionError, match="inside `with run:`"):
        next(run.steps(3, Counter(Count(), 0)))


def test_new_runs_are_named_by_time_recipe_and_seed(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path))
    runs = [Run.create(Count(), room="toy", verb="count", recipe=r, seed=5) for r in ("", "a/b")]
    assert [run.path.parent for run in runs] == [tmp_path / "toy"] * 2
    day, clock, verb, seed, letters = runs[0].path.name.split("_")
    assert (len(day), len(clock), verb, seed, len(letters)) == (10, 4, "count", "s5", 4)
    assert "_a-b_s5_" in runs[1].path.name


def test_a_name_that_is_taken_is_drawn_again(tmp_path, monkeypatch):
    letters = iter("aaaaaaaabbbb")
    monkeypatch.setattr("secrets.choice", lambda _: next(letters))
    options = Options(runs=str(tmp_path))
    ends = [Run.create(Count(), room="toy", verb="v", options=options).path.name[-4:] for _ in "12"]
    assert ends == ["aaaa", "bbbb"]


def test_the_directory_tells_what_ran_but_not_who(tmp_path):
    run = new_run(tmp_path / "run")
    with run:
        run.note("a remark")
        assert run.write_json("result.json", {"x": math.nan}) == run.out / "result.json"
        assert run.write_data({"rows": 3}) == run.path / "data.json"
    saved = saved_config(run.path)
    assert {"schema", "room", "verb", "version", "commit", "dirty", "recipe"} < set(saved)
    assert saved["units"] == UNITS
    assert json.loads((run.out / "result.json").read_text()) == {"x": None}
    assert (run.path / "log.txt").read_text().endswith(" a remark\n")
    environment = (run.path / "env.json").read_text()
    assert torch.__version__ in environment
    assert os.uname().nodename not in environment


def test_leftovers_of_a_kill_are_swept_on_entering(tmp_path):
    run = new_run(tmp_path / "run")
    for folder in (run.path, run.out):
        folder.mkdir(exist_ok=True)
        (folder / ".tmp-status.json-1-abc").write_text("half")
    with run:
        pass
    assert list(run.path.rglob(".tmp-*")) == []


def test_a_tensor_with_a_gradient_is_logged_without_a_warning(tmp_path):
    run = new_run(tmp_path / "run")
    with run:
        run.log(0, {"count/value": torch.ones((), requires_grad=True) * 2, "count/best": 1})
    assert rows_of(run.path) == [(0, "count/value", 2.0), (0, "count/best", 1.0)]


def test_time_goes_on_over_sessions(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(RunStopped):
        count(new_run(path, options=replace(QUICK, stop_after=2)))
    folder = checkpoint.latest(path / "ckpt")[1]
    assert checkpoint.read_extra(folder)["seconds"] > 0
    count(again(path))
    times = [row.seconds for row in read_rows(path / "metrics.jsonl")]
    assert times == sorted(times)


def test_time_alone_can_call_for_a_checkpoint(tmp_path):
    always = replace(QUICK, checkpoint=Cadence(every_seconds=1e-9))
    seen = []
    run = new_run(tmp_path / "run", options=always)
    count(run, during=lambda _: seen.append((run.path / "ckpt" / "latest").exists()))
    assert seen == [False] + [True] * (STEPS - 1)


def run_and_die(path, kill_at):
    """Fork a child that runs, or goes on, and dies before its file operation `kill_at`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    operations = 0

    def hook(event, args):
        nonlocal operations
        if event in FILE_EVENTS and args and str(args[0]).startswith(str(path)):
            operations += 1
            if operations == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    os.fsync = lambda _handle: hook("open", (path,))
    count(again(path) if (path / "config.json").exists() else new_run(path), steps=4)
    os._exit(0)


FILE_EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir"}


def try_kills(folder, *, every):
    """Kill runs at each `every`-th operation, kill the next attempt too, and let it end."""
    count(new_run(folder / "whole"), steps=4)
    tried, kill_at, code = [], 1, -signal.SIGKILL
    while code:
        path = folder / str(kill_at)
        code = run_and_die(path, kill_at)
        run_and_die(path, 2 * kill_at)
        assert run_and_die(path, 0) == 0
        same = [rows_of(path), tensors_of(path)] == [
            rows_of(folder / "whole"), tensors_of(folder / "whole")
        ]  # fmt: skip
        tried.append({"kill_at": kill_at, "code": code, "same": same})
        kill_at += every
    return tried


def main(word, path, every="1"):
    if word == "kills":
        sys.stdout.write(json.dumps(try_kills(path, every=int(every))))
    else:
        count(new_run(path, options=RARELY), steps=MANY, during=lambda _: time.sleep(0.01))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
