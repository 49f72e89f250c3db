import errno
import subprocess
import sys

import pytest

from tenfold.engine import lock
from tenfold.engine.errors import TenfoldError

HOLD = """
import sys
from pathlib import Path
from tenfold.engine import lock
with lock.hold(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path`."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"inside\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_is_inside(tmp_path, holder):
    assert lock.is_held(tmp_path) is True
    with pytest.raises(TenfoldError, match=f"in use by process {holder.pid};"), lock.hold(tmp_path):
        pass


def test_a_killed_process_leaves_the_lock_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert lock.is_held(tmp_path) is False
    with lock.hold(tmp_path):
        assert lock.is_held(tmp_path) is True


def test_a_folder_that_nobody_ever_held_is_free(tmp_path):
    assert lock.is_held(tmp_path) is False


def test_the_lock_is_free_after_a_fault_inside(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.hold(tmp_path):
        raise ZeroDivisionError
    assert lock.is_held(tmp_path) is False


def test_asking_whether_it_is_held_does_not_stop_another(tmp_path, monkeypatch):
    refusals = iter([BlockingIOError(), BlockingIOError()])
    true_lock = lock._lock

    def refuse_twice(handle, *, shared=False):
        for error in refusals:
            raise error
        true_lock(handle, shared=shared)

    monkeypatch.setattr(lock, "_lock", refuse_twice)
    with lock.hold(tmp_path):
        assert (tmp_path / "lock").exists()


def test_a_disk_without_locks_is_refused_and_cannot_be_asked(tmp_path, monkeypatch):
    def fail(_handle, **_):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / "lock").touch()
    monkeypatch.setattr(lock, "_lock", fail)
    with (
        pytest.raises(TenfoldError, match=r"cannot be locked \(No locks available\)"),
        lock.hold(tmp_path),
    ):
        pass
    assert lock.is_held(tmp_path) is None


def test_a_lock_that_may_not_be_opened_cannot_be_asked(tmp_path):
    (tmp_path / "lock").mkdir()
    assert lock.is_held(tmp_path) is None


def test_a_holder_that_cannot_be_read_is_called_unknown(tmp_path):
    assert lock._holder(tmp_path) == "unknown"
