import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "src" / "tenfold" / "web" / "static" / "vendor"


def test_every_vendored_file_is_pinned_and_has_its_licence_beside_it():
    spec = importlib.util.spec_from_file_location("vendor_tool_web", ROOT / "tools" / "vendor.py")
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)
    pinned = {path for package in tool.PACKAGES for path in package.files}
    here = {file.relative_to(ROOT).as_posix() for file in VENDOR.iterdir()}
    del sys.modules[spec.name]
    assert here <= pinned
    for file in VENDOR.iterdir():
        licence = VENDOR / f"{file.name.split('.')[0]}.LICENSE"
        words = licence.read_text(encoding="utf-8")
        assert "Permission to use, copy, modify" in words or "is hereby granted" in words
