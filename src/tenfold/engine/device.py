"""Which device, number type and threads to compute with, and why."""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass

from tenfold.engine.errors import TenfoldError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A choice of device, with its reasons."""

    device: str
    """As torch names it: `cpu`, `cuda` or `cuda:1`."""
    dtype: str
    """Number type of large matrix products; parameters stay float32."""
    threads: int
    reasons: tuple[str, ...]


def choose(device: str = "auto", *, threads: int = 0) -> Compute:
    """Resolve `device` and `threads` (0 = by rule) on this machine.

    The result depends on the machine alone, not on its load, so that a resumed run sums in
    the same order.

    Raises:
        TenfoldError: if torch cannot compute on `device` here.
    """
    name, why_device = _choose_device(device)
    dtype, why_dtype = _choose_dtype(name)
    count, why_threads = _choose_threads(threads)
    return Compute(
        device=name, dtype=dtype, threads=count, reasons=(why_device, why_dtype, why_threads)
    )


def _choose_device(device: str) -> tuple[str, str]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return ("cuda", "cuda: a GPU is there") if count else ("cpu", "cpu: torch finds no GPU")
    known = ["cpu"] + (["cuda"] + [f"cuda:{i}" for i in range(count)] if count else [])
    if device not in known:
        raise TenfoldError(
            f"device {device!r} is not on this machine; use auto or {' or '.join(known)}"
        )
    return device, f"{device}: as asked"


def _choose_dtype(device: str) -> tuple[str, str]:
    import torch

    if device == "cpu":
        return "float32", "float32: what CPUs compute fastest"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16", "bfloat16: this GPU has tensor cores for it"
    return "float32", "float32: this GPU has no bfloat16"


def _choose_threads(threads: int) -> tuple[int, str]:
    if threads < 0:
        raise TenfoldError(f"{threads} threads cannot compute; give 0 (by rule) or more")
    if threads:
        return threads, f"{threads} threads: as asked"
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given), f"{given} threads: OMP_NUM_THREADS"
    cores = spare_cores()
    return cores, f"{cores} threads: the cores this process may use"


def apply(compute: Compute) -> None:
    """Set torch's threads for single operations, and keep its freed memory for the next step."""
    import torch

    torch.set_num_threads(compute.threads)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Stop glibc from giving large freed blocks back to the system.

    Otherwise each step's large tensors are new pages that the system has to clear, which took
    as long as the arithmetic itself at 30 MB a tensor. Without glibc nothing is done.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def spare_cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _read_quota()))


def _read_quota(path: str = "/sys/fs/cgroup/cpu.max") -> int:
    """Return the cores of a Linux control group's quota, rounded up; very many without one."""
    try:
        with open(path) as file:
            quota, period = file.read().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return 1 << 16
