import importlib.metadata
import json
import platform
import subprocess
import sys

import pytest

from tenfold.engine import origin


@pytest.fixture
def git(tmp_path, monkeypatch):
    """A checkout in `tmp_path` with one file, as which the module sees itself."""

    def call(*words):
        settings = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
        words = ["git", "-C", str(tmp_path), *settings, *words]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    call("init", "-q")
    (tmp_path / "origin.py").write_text("first\n")
    monkeypatch.setattr(origin, "__file__", str(tmp_path / "origin.py"))
    for cached in (origin.source_commit, origin.changes_digest):
        cached.cache_clear()
    yield call
    for cached in (origin.source_commit, origin.changes_digest):
        cached.cache_clear()


def commit(git):
    git("add", "origin.py")
    git("commit", "-q", "-m", "x")
    return git("rev-parse", "HEAD").strip()


def test_the_commit_is_that_of_the_checkout(git):
    head = commit(git)
    assert origin.source_commit() == head
    assert origin.changes_digest() == ""


def test_changed_source_has_a_digest(git, tmp_path):
    commit(git)
    (tmp_path / "origin.py").write_text("second\n")
    assert len(origin.changes_digest()) == 16


def test_a_package_installed_in_somebodys_repository_has_no_commit(git, tmp_path):
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-q", "-m", "x")
    assert origin.source_commit() == ""
    assert origin.changes_digest() == ""


@pytest.mark.usefixtures("git")
def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert origin.source_commit() == ""


def test_the_environment_names_packages_and_no_host():
    found = origin.environment()
    assert found["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert platform.node() not in json.dumps(found)


def test_a_package_that_is_not_installed_has_no_version():
    assert origin._find_version("no-such-package-here") == ""


def test_a_run_without_torch_does_not_import_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert origin.environment()["threads"] == 0
