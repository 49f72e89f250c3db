"""Check the files of other projects that tenfold ships, or fetch them again from npm.

    python tools/vendor.py            compares each file with its SHA-256
    python tools/vendor.py --fetch    takes the packages by `npm pack` and replaces the files

A new version is taken by changing the version here, fetching, and entering the sums that the
fetch prints.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file: its name in the package and the SHA-256 it must have."""

    member: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """An npm package at one version, and which of its files go where."""

    name: str
    version: str
    files: Mapping[str, File]
    """Path below the repository -> the file."""


VENDOR = "src/tenfold/engine/report/vendor"
WEB_VENDOR = "src/tenfold/web/static/vendor"
PACKAGES = (
    Package(
        name="plotly.js-cartesian-dist-min",
        version="4.1.1",
        files={
            f"{VENDOR}/plotly-cartesian.min.js": File(
                member="package/plotly-cartesian.min.js",
                sha256="79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a",
            ),
            f"{VENDOR}/plotly-cartesian.LICENSE": File(
                member="package/LICENSE",
                sha256="8c45d9eaf50c2f72dd9c7ab9ef440788ba58a3538484b5c51c1f17d5128752e7",
            ),
        },
    ),
    Package(
        name="htmx.org",
        version="4.0.1",
        files={
            f"{WEB_VENDOR}/htmx.min.js": File(
                member="package/dist/htmx.min.js",
                sha256="a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
            ),
            f"{WEB_VENDOR}/htmx.LICENSE": File(
                member="package/LICENSE",
                sha256="d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
            ),
        },
    ),
    Package(
        name="uplot",
        version="1.6.32",
        files={
            f"{WEB_VENDOR}/uPlot.iife.min.js": File(
                member="package/dist/uPlot.iife.min.js",
                sha256="19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
            ),
            f"{WEB_VENDOR}/uPlot.min.css": File(
                member="package/dist/uPlot.min.css",
                sha256="df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
            ),
            f"{WEB_VENDOR}/uPlot.LICENSE": File(
                member="package/LICENSE",
                sha256="8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
            ),
        },
    ),
)


def list_faults(packages: tuple[Package, ...] = PACKAGES, *, root: Path = ROOT) -> list[str]:
    """List the files that are missing or are not what they should be, a sentence each."""
    return [
        fault
        for package in packages
        for path, file in package.files.items()
        if (fault := _fault(root / path, file, package))
    ]


def _fault(path: Path, file: File, package: Package) -> str:
    if not path.exists():
        return f"{path.name} of {package.name} {package.version} is missing; fetch it with --fetch"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found == file.sha256:
        return ""
    return f"{path.name} has SHA-256 {found}, {package.name} {package.version} has {file.sha256}"


def fetch(package: Package, *, root: Path = ROOT) -> None:
    """Take the package from the npm registry and replace its files below `root`.

    Raises:
        SystemExit: if npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not on the path; install Node.js, or leave out --fetch")
    with tempfile.TemporaryDirectory() as folder:
        words = [npm, "pack", "--silent", f"{package.name}@{package.version}"]
        if subprocess.run(words, cwd=folder, check=False).returncode:
            raise SystemExit(f"npm could not pack {package.name}@{package.version}; see above")
        (archive,) = Path(folder).glob("*.tgz")
        unpack(archive, package, root=root)


def unpack(archive: Path, package: Package, *, root: Path = ROOT) -> None:
    """Copy the named members of an archive to their places; nothing else in it is touched.

    Raises:
        SystemExit: if the archive lacks one of them.
    """
    with tarfile.open(archive) as members:
        for path, file in package.files.items():
            if file.member not in members.getnames():
                raise SystemExit(f"{archive.name} holds no file {file.member!r}; was it renamed?")
            source = members.extractfile(file.member)
            assert source is not None, f"{file.member} is a file, not a folder"
            _replace(root / path, source.read())


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def main(words: list[str]) -> int:
    """Run the check, after a fetch if asked for; 1 if a file is not as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fetch", action="store_true", help="take the packages from npm first")
    if parser.parse_args(words).fetch:
        for package in PACKAGES:
            fetch(package)
    faults = list_faults()
    print("\n".join(faults) or "vendored files are as they should be")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
