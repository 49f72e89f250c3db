"""What all tests share: one thread, no network, folders of their own, the same examples."""

import os
import socket
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from tenfold.engine.kernel import cache_folder

HERE = Path(__file__).parent
# Before torch is imported: two test processes share two cores, and sums must not depend on it.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Tests are no package; what they share is imported from here.
sys.path.insert(0, str(HERE))

# Compiled loops outlive a session, whose other caches do not.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))

hypothesis.settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=50, print_blob=True
)
hypothesis.settings.register_profile(
    "nightly", hypothesis.settings.get_profile("default"), max_examples=2_000
)
hypothesis.settings.load_profile("default")

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def guarded(connect):
    """Return `connect` for this machine only; a failure that no `except` of the code can hide."""

    def connect_here(self, address):
        # What is no pair of host and port is the path of a Unix socket.
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            pytest.fail(f"a test connects to {address[0]}; tests work without a network")
        return connect(self, address)

    return connect_here


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Put files with the mark `long` first; processes take files in this order."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _folders_of_their_own(tmp_path_factory):
    """One cache a session, so that a small language model is trained once."""
    root = tmp_path_factory.mktemp("session")
    folders = {"HOME": "home", "TENFOLD_CACHE": "cache", "TENFOLD_RUNS": "runs"}
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in folders.items():
            (root / folder).mkdir()
            patch.setenv(name, str(root / folder))
        patch.setenv("USERPROFILE", str(root / "home"))  # HOME on Windows
        yield


def write_text(root):
    """Write text that is just enough for a language model into a folder."""
    words = np.array(["the", "cat", "sat", "on", "a", "mat", "under", "blue", "skies", "today"])
    for number in range(30):
        chosen = np.random.default_rng(number).choice(words, size=2_000)
        (root / f"{number}.{'py' if number % 2 else 'txt'}").write_text(" ".join(chosen))


@pytest.fixture(scope="session")
def small_text(tmp_path_factory):
    """Return a folder of text that is just enough for a language model."""
    root = tmp_path_factory.mktemp("text")
    write_text(root)
    return root


@pytest.fixture
def command(capsys):
    """Return a function that calls the command line and gives (exit code, stdout, stderr)."""
    from tenfold.cli import main

    def run(*words):
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run
