"""What this machine has: for bug reports, and to see what tenfold will choose here.

Neither user nor host name is looked at, so that the report can be shown to anybody.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import itertools
import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tenfold.engine import device, kernel, origin
from tenfold.engine.config import Json
from tenfold.engine.files import cache_root, runs_root

GIGABYTE = 1e9
LITTLE_SPACE_GB = 2.0


def examine(probes: Mapping[str, str] | None = None) -> Json:
    """Return versions, devices, threads, memory, extras and free space of this machine.

    `problems` holds one sentence, with its remedy, for everything that will get in the way.

    Args:
        probes: more to ask, by label: names of modules whose `describe()` returns lines.
    """
    packages, extras = _find_packages()
    folders = {
        "cache": _examine_folder(cache_root(), named=("TENFOLD_CACHE", "~/.cache/tenfold")),
        "runs": _examine_folder(runs_root(), named=("TENFOLD_RUNS", "./runs")),
    }
    return {
        "tenfold": {"version": origin.version(), "commit": origin.source_commit()},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": {"all": os.cpu_count(), "usable": device.spare_cores()},
        "memory_gb": _read_memory(),
        "gpus": _list_gpus(),
        "compute": dataclasses.asdict(device.choose()),
        "kernels": kernel.describe(),
        "probes": {
            label: importlib.import_module(module).describe()
            for label, module in (probes or {}).items()
        },
        "packages": packages,
        "extras": extras,
        "folders": folders,
        "problems": _find_problems(packages, folders),
    }


def format_report(report: Json) -> str:
    """Lay out what `examine` found as lines for a reader."""
    ours, compute, cores = report["tenfold"], report["compute"], report["cores"]
    memory = f"{report['memory_gb']:.1f} GB" if report["memory_gb"] else "unknown"
    lines = {
        "tenfold": [", commit ".join(filter(None, [ours["version"], ours["commit"][:12]]))],
        "python": [f"{report['python']} on {report['system']}"],
        "cores": [f"{cores['usable']} usable of {cores['all']}"],
        "memory": [memory],
        "gpus": [f"{gpu['name']}, {gpu['memory_gb']:.1f} GB" for gpu in report["gpus"]] or ["none"],
        "computes": compute["reasons"],
        "kernels": [report["kernels"]],
        **report["probes"],
        "packages": [f"{name} {found or 'missing'}" for name, found in report["packages"].items()],
        "extras": [_format_extra(*extra) for extra in report["extras"].items()],
        "folders": [_format_folder(*folder) for folder in report["folders"].items()],
        "problems": report["problems"] or ["none"],
    }
    return "\n".join(
        f"{label:<9} {text}"
        for name, texts in lines.items()
        for label, text in itertools.zip_longest([name], texts, fillvalue="")
    )


def _format_extra(extra: str, packages: dict[str, str]) -> str:
    missing = [name for name, found in packages.items() if not found]
    if not missing:
        return f"{extra}: installed"
    return f'{extra}: {", ".join(missing)} missing; pip install "tenfold[{extra}]"'


def _format_folder(name: str, folder: Json) -> str:
    state = "writable" if folder["writable"] else "NOT writable"
    return f"{name} in {folder['place']}: {state}, {folder['free_gb']:.1f} GB free"


def _find_packages() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return the versions of what tenfold needs, and of what each extra brings."""
    needed: dict[str, str] = {}
    extras: dict[str, dict[str, str]] = {}
    for line in importlib.metadata.requires("tenfold") or []:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([\w-]+)", line)
        group = extras.setdefault(extra[1], {}) if extra else needed
        group[name] = _find_version(name)
    return needed, extras


def _find_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _list_gpus() -> list[Json]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory_gb": gpu.total_memory / GIGABYTE} for gpu in found]


def _read_memory(limit: str = "/sys/fs/cgroup/memory.max") -> float | None:
    """Return the gigabytes this process may use, or None where the system does not say."""
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(pages, int(Path(limit).read_text())) / GIGABYTE
    except (OSError, ValueError):
        return pages / GIGABYTE


def _examine_folder(path: Path, *, named: tuple[str, str]) -> Json:
    """Look at a folder that need not exist yet; its name may hold a user's, so it is not told."""
    variable, usual = named
    there = next(place for place in [path, *path.absolute().parents] if place.exists())
    return {
        "place": variable if os.environ.get(variable) else usual,
        "writable": there.is_dir() and os.access(there, os.W_OK),
        "free_gb": shutil.disk_usage(there).free / GIGABYTE,
    }


def _find_problems(packages: dict[str, str], folders: dict[str, Json]) -> list[str]:
    missing = [name for name, found in packages.items() if not found]
    problems = [f"{name} is not installed; pip install {name}" for name in missing]
    for name, folder in folders.items():
        if not folder["writable"]:
            problems.append(f"{folder['place']} ({name}) cannot be written to; name another folder")
        elif folder["free_gb"] < LITTLE_SPACE_GB:
            problems.append(
                f"{folder['place']} ({name}) has {folder['free_gb']:.1f} GB free, fewer than "
                f"{LITTLE_SPACE_GB:g}; make space or name another folder"
            )
    return problems
