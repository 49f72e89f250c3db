"""Where a result comes from: version, commit, changed source, packages and machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tenfold.engine.config import Json

PACKAGES = ("torch", "numpy", "scipy", "safetensors", "joblib")


def version() -> str:
    """Return the version of the installed package."""
    return importlib.metadata.version("tenfold")


@functools.cache
def source_commit() -> str:
    """Return the commit of the checkout that this package runs from; "" outside one."""
    # Installed in somebody's own repository, git would answer with that one's commit.
    if not _git("ls-files", "--error-unmatch", Path(__file__).name):
        return ""
    return _git("rev-parse", "HEAD").strip()


@functools.cache
def changes_digest() -> str:
    """Return 16 hexadecimal digits that identify uncommitted changes; "" if there are none."""
    changes = _git("diff", "HEAD") if source_commit() else ""
    return hashlib.sha256(changes.encode()).hexdigest()[:16] if changes else ""


def _git(*words: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(  # noqa: S603 fixed words, no shell
        [git, "-C", str(Path(__file__).parent), *words],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""


def environment() -> Json:
    """Describe what could make the same config give other numbers; no user or host name."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _find_version(name) for name in PACKAGES},
        **_describe_torch(),
    }


def _find_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _describe_torch() -> Json:
    torch = sys.modules.get("torch")
    if torch is None:  # a run that does without it need not wait for its import
        return {"threads": 0, "gpu": ""}
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return {"threads": torch.get_num_threads(), "gpu": gpu}
