import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import RunStopped
from tenfold.engine.tasks import map_tasks, run_command

# Functions are made inside the tests: workers then get them by value and need no import of
# this file.

NUMBERS = {f"n{number}": number for number in range(6)}


def summing():
    def sum_noise(seed):
        import torch

        generator = torch.Generator().manual_seed(seed)
        total = torch.randn(300, 300, generator=generator) @ torch.randn(300, generator=generator)
        return {"sum": total.sum().item(), "seed": seed}

    return sum_noise


def failing(*bad):
    def halve(number):
        if number in bad:
            raise KeyError(f"no half of {number}")
        return number / 2

    return halve


def dying(*bad):
    def halve(number):
        if number in bad:
            os._exit(3)
        return number / 2

    return halve


def collect(function, tasks, **options):
    """Return all results, and the error that ended them, if any."""
    results = {}
    try:
        results.update(map_tasks(function, tasks, **options))
    except TenfoldError as error:
        return results, error
    return results, None


def test_two_workers_give_exactly_what_one_gives():
    assert dict(map_tasks(summing(), NUMBERS, workers=2)) == dict(map_tasks(summing(), NUMBERS))


def test_one_worker_stays_in_this_process_and_in_order():
    seen = list(map_tasks(lambda number: [number, os.getpid()], NUMBERS))
    assert seen == [(key, [number, os.getpid()]) for key, number in NUMBERS.items()]


def test_workers_are_other_processes_that_know_what_they_are():
    where = dict(
        map_tasks(lambda _: [os.getpid(), os.environ["TENFOLD_WORKER"]], NUMBERS, workers=2)
    )
    assert os.getpid() not in {process for process, _ in where.values()}
    assert {flag for _, flag in where.values()} == {"1"}
    assert "TENFOLD_WORKER" not in os.environ


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("variable", ["2", None])
def test_a_task_has_one_thread_and_this_process_keeps_its_own(monkeypatch, workers, variable):
    def read_threads(_):
        import torch

        return [torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]]

    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads = dict(map_tasks(read_threads, NUMBERS, workers=workers))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(map(tuple, threads.values())) == {(1, "1")}
    assert os.environ.get("OMP_NUM_THREADS") == variable


def test_zero_threads_leaves_them_as_they_are():
    before = torch.get_num_threads()
    assert dict(map_tasks(lambda _: torch.get_num_threads(), {"a": 0}, threads=0)) == {"a": before}


def test_results_are_kept_under_their_keys_and_not_made_twice(tmp_path):
    halves = map_tasks(failing(), NUMBERS, out=tmp_path)
    assert [next(halves) for _ in range(2)] == [("n0", 0.0), ("n1", 0.5)]
    again = list(map_tasks(failing(0, 1), NUMBERS, out=tmp_path))
    assert again == [(key, number / 2) for key, number in NUMBERS.items()]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"n{i}.json" for i in range(6)]


def test_with_nothing_left_to_do_no_worker_is_started(tmp_path, monkeypatch):
    first = dict(map_tasks(failing(), NUMBERS, out=tmp_path))
    monkeypatch.setitem(sys.modules, "ray", None)
    assert dict(map_tasks(failing(), NUMBERS, workers="ray", out=tmp_path)) == first


def test_a_first_call_and_a_second_give_the_same_values(tmp_path):
    def odd_values(_):
        return {"pair": (1, 2), "missing": float("nan")}

    first = dict(map_tasks(odd_values, {"a": 0}, out=tmp_path))
    assert first == dict(map_tasks(odd_values, {"a": 0}, out=tmp_path))
    assert first == {"a": {"pair": [1, 2], "missing": None}}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_task_is_told_after_all_others_are_done(tmp_path, workers):
    results, error = collect(failing(1, 3), NUMBERS, workers=workers, out=tmp_path)
    assert sorted(results) == ["n0", "n2", "n4", "n5"]
    assert "2 tasks failed" in str(error)
    assert "n1: KeyError: 'no half of 1'" in str(error)
    assert "n3: KeyError: 'no half of 3'" in str(error)
    assert "no half of" in str(error.__cause__)
    results, error = collect(failing(), NUMBERS, workers=workers, out=tmp_path)
    assert len(results) == 6
    assert error is None


def test_the_text_of_a_fault_in_a_worker_names_its_line():
    _, error = collect(failing(1), {"n1": 1}, workers=2)
    assert "in halve" in str(error.__cause__)


def test_a_dying_worker_costs_only_its_own_task():
    results, error = collect(dying(2), NUMBERS, workers=2)
    assert results == {key: number / 2 for key, number in NUMBERS.items() if number != 2}
    assert "1 tasks failed (n2: its process died)" in str(error)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_run_starts_no_further_task(tmp_path, workers):
    asked = []

    def check_stop():
        if len(list(tmp_path.iterdir())) >= 2:
            asked.append(True)
            raise RunStopped(Path("here"), "asked to stop")

    tasks = {f"n{number}": number for number in range(20)}
    halves = map_tasks(failing(), tasks, workers=workers, out=tmp_path, check_stop=check_stop)
    with pytest.raises(RunStopped, match="asked to stop"):
        list(halves)
    assert asked
    assert 2 <= len(list(tmp_path.iterdir())) < 20


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_was_stopped_stops_them_all_and_is_no_fault(workers):
    def stop(number):
        if number == 0:
            raise RunStopped(Path("here"), "asked to stop")
        return number

    with pytest.raises(RunStopped, match="asked to stop"):
        list(map_tasks(stop, NUMBERS, workers=workers))


def test_a_key_that_is_no_file_name_is_our_own_fault():
    with pytest.raises(AssertionError, match="'a/b' is no file name"):
        map_tasks(failing(), {"a/b": 1})


@pytest.mark.parametrize("workers", [0, -1, "many"])
def test_a_number_of_workers_that_makes_no_sense_is_refused(workers):
    with pytest.raises(TenfoldError, match=f"workers is {workers!r}"):
        map_tasks(failing(), NUMBERS, workers=workers)


def test_ray_that_is_not_installed_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TenfoldError, match=r"tenfold\[ray\]"):
        map_tasks(failing(), NUMBERS, workers="ray")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(300)
@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="the extra ray is not installed")
def test_ray_gives_what_one_worker_gives_and_survives_faults_and_deaths(tmp_path):
    import ray

    try:
        alone = dict(map_tasks(summing(), NUMBERS))
        assert dict(map_tasks(summing(), NUMBERS, workers="ray", out=tmp_path)) == alone
        results, error = collect(failing(1), NUMBERS, workers="ray")
        assert len(results) == 5
        assert "n1: KeyError" in str(error)
        results, error = collect(dying(2), NUMBERS, workers="ray")
        assert len(results) == 5
        assert "n2: its process died" in str(error)
    finally:
        ray.shutdown()


def test_a_command_gives_its_exit_code_and_gets_the_environment_it_needs():
    code = "import os, sys; sys.exit(int(os.environ['ANSWER']))"
    assert run_command([sys.executable, "-c", code], env={"ANSWER": "42"}) == 42


PARENT = """
import sys
from tenfold.engine.tasks import run_command
child = '''
import signal, sys, time
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append("INT"))
signal.signal(signal.SIGTERM, lambda *_: caught.append("TERM"))
print("ready", flush=True)
while len(caught) < 2:
    time.sleep(0.01)
print(",".join(caught), flush=True)
sys.exit(7)
'''
sys.exit(run_command([sys.executable, "-c", child]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_signals_go_on_to_the_command_once_each_and_its_end_is_awaited():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with parent:
        assert parent.stdout.readline() == "ready\n"
        # To the whole group, as a terminal's Ctrl-C does.
        os.killpg(parent.pid, signal.SIGINT)
        time.sleep(0.1)
        parent.terminate()
        assert parent.stdout.readline() == "INT,TERM\n"
    assert parent.returncode == 7


def test_signal_handlers_are_back_after_a_command():
    before = signal.getsignal(signal.SIGINT)
    run_command([sys.executable, "-c", ""])
    assert signal.getsignal(signal.SIGINT) is before
