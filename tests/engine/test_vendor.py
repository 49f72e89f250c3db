import importlib.util
import io
import sys
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "vendor.py"


@pytest.fixture(scope="module")
def vendor():
    spec = importlib.util.spec_from_file_location("vendor_tool", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["vendor_tool"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["vendor_tool"]


@pytest.fixture
def package(vendor):
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    files = {"vendor/small.js": vendor.File(member="package/small.js", sha256=empty)}
    return vendor.Package(name="small", version="1.0.0", files=files)


def archive(folder, **members):
    path = folder / "small-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as out:
        for name, data in members.items():
            info = tarfile.TarInfo(f"package/{name}.js")
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def test_the_vendored_files_are_those_of_their_packages(vendor):
    assert vendor.list_faults() == []


def test_a_licence_stands_beside_every_vendored_script(vendor):
    folder = vendor.ROOT / vendor.VENDOR
    scripts = [path.name for path in folder.glob("*.js")]
    assert scripts
    for name in scripts:
        licence = folder / f"{name.removesuffix('.min.js')}.LICENSE"
        assert "Permission is hereby granted" in licence.read_text(encoding="utf-8")


def test_a_changed_file_is_named_with_both_sums(vendor, package, tmp_path):
    vendor.unpack(archive(tmp_path, small=b"changed"), package, root=tmp_path)
    (fault,) = vendor.list_faults((package,), root=tmp_path)
    assert fault.startswith("small.js has SHA-256 ")
    assert package.files["vendor/small.js"].sha256 in fault


def test_a_missing_file_is_named_with_the_way_to_get_it(vendor, package, tmp_path):
    (fault,) = vendor.list_faults((package,), root=tmp_path)
    assert fault == "small.js of small 1.0.0 is missing; fetch it with --fetch"


def test_unpacking_takes_the_named_files_only(vendor, package, tmp_path):
    vendor.unpack(archive(tmp_path, small=b"", other=b"x"), package, root=tmp_path)
    assert vendor.list_faults((package,), root=tmp_path) == []
    assert [path.name for path in (tmp_path / "vendor").iterdir()] == ["small.js"]


def test_an_archive_without_the_file_is_refused(vendor, package, tmp_path):
    with pytest.raises(SystemExit, match=r"holds no file 'package/small\.js'"):
        vendor.unpack(archive(tmp_path, other=b"x"), package, root=tmp_path)


def test_fetching_without_npm_says_what_is_missing(vendor, package, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="npm is not on the path"):
        vendor.fetch(package, root=tmp_path)


def fake_npm(folder, *lines):
    script = folder / "npm"
    script.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    script.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
def test_fetching_tells_when_npm_fails(vendor, package, tmp_path, monkeypatch):
    fake_npm(tmp_path, "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"could not pack small@1\.0\.0"):
        vendor.fetch(package, root=tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
def test_fetching_replaces_the_files_from_the_package(vendor, package, tmp_path, monkeypatch):
    packed = archive(tmp_path, small=b"")
    fake_npm(tmp_path, f'cp "{packed}" .')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    vendor.fetch(package, root=tmp_path)
    assert vendor.list_faults((package,), root=tmp_path) == []


def test_the_check_ends_with_one_if_a_file_is_wrong(vendor, monkeypatch, capsys):
    assert vendor.main([]) == 0
    monkeypatch.setattr(vendor, "list_faults", lambda: ["small.js is wrong"])
    assert vendor.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "small.js is wrong"
