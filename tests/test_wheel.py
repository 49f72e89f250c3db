"""The wheel: what is in it is enough to run, away from the sources."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PROJECT = Path(__file__).parents[1]


def call(*words, cwd, **env):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder that holds the installed wheel and nothing else."""
    root = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--no-isolation", "--outdir", root / "dist")
    call(*build, PROJECT, cwd=root)
    (wheel,) = (root / "dist").glob("*.whl")
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index")
    call(*install, "--no-deps", "--target", root / "site", wheel, cwd=root)
    return root / "site"


@pytest.fixture
def tenfold(installed, tmp_path):
    """Return a function that runs the wheel's `tenfold` in an empty folder."""

    def run(*words):
        return call("-m", "tenfold", *words, cwd=tmp_path, PYTHONPATH=str(installed))

    return run


def test_the_wheel_is_what_is_imported(installed, tmp_path):
    code = "import tenfold; print(tenfold.__file__)"
    told = call("-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    assert Path(told.strip()).is_relative_to(installed)


def test_the_wheel_holds_licence_types_and_the_files_of_reports(installed):
    package = installed / "tenfold"
    assert (package / "py.typed").exists()
    for name in ("templates/page.html", "vendor/plotly-cartesian.min.js"):
        assert (package / "engine" / "report" / name).stat().st_size > 0
    for folder in ("web/templates", "web/static/vendor", "rooms/scope/templates"):
        assert any((package / folder).iterdir())
    assert any((package / "rooms" / "scope" / "dash").rglob("*.js"))
    (metadata,) = installed.glob("tenfold-*.dist-info")
    assert {file.name for file in (metadata / "licenses").iterdir()} == {"LICENSE", "NOTICE"}
    assert "tenfold = tenfold.cli:entry" in (metadata / "entry_points.txt").read_text()


def test_the_wheel_shows_help_and_makes_a_tiny_run_with_its_report(tenfold, tmp_path):
    assert "jumprelu" in tenfold("--help")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((400, 8)))
    run = tmp_path / "run"
    tenfold("jumprelu", "train", "tiny", "--data.path", "x.npy", "--path", run, "--quiet")
    assert list(run.glob("out/*/dictionary.safetensors"))
    assert (run / "report.html").stat().st_size > 1_000_000  # the script for its figures is in it
