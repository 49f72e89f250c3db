"""Processes that die: command lines of tenfold in children that SIGKILL ends where told.

Called as a program, this file takes a JSON list of lives on stdin, forks a child for each, one
after the other, and prints their exit codes. Forking imports torch once for all of them.
"""

import fnmatch
import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Life:
    """One process: `tenfold ARGS`, perhaps with an early end."""

    args: tuple[str, ...]
    at_call: str = ""
    """Die on entering this function, "module:name" where it is looked up."""
    at_open: str = ""
    """Die on opening a file to write whose path matches this pattern."""
    number: int = 1
    """At which call or opening."""
    constants: dict[str, object] = field(default_factory=dict)
    """Values to put in place of "module:name"."""
    env: dict[str, str] = field(default_factory=dict)


KILLED = -signal.SIGKILL


def live(*lives, timeout=50):
    """Live through `lives` one after the other; return their exit codes."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps([asdict(life) for life in lives]),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    assert set(codes) <= {0, KILLED}, done.stderr
    return codes


def bits_of(run: Path):
    """Return what must not depend on kills: digests of all tensors, and the rows of metrics."""
    from tenfold.engine import checkpoint
    from tenfold.engine.files import sha256
    from tenfold.engine.metrics import read_rows
    from tenfold.engine.records import read_record

    record = read_record(run)
    assert record.state == "done", f"{run.name} is {record.state}: {record.reason}"
    step, newest = checkpoint.latest(run / "ckpt")
    results = {str(file.relative_to(run)): file for file in run.glob("out/**/*.safetensors")}
    rows = [(row.step, row.name, row.value) for row in read_rows(run / "metrics.jsonl")]
    files = {f"state after {step} steps": newest / "tensors.safetensors"} | results
    return {name: sha256(file) for name, file in files.items()} | {"metrics": rows}


def fork(life):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    from tenfold.cli import main

    os.dup2(2, 1)  # stdout is for the exit codes
    os.environ |= life.env
    for name, value in life.constants.items():
        put(name, lambda _old, value=value: value)
    if life.at_call:
        put(life.at_call, lambda function: deadly(function, life.number))
    if life.at_open:
        sys.addaudithook(opening(life.at_open, life.number))
    code = main(life.args)
    sys.stderr.flush()
    os._exit(code)


def put(name, change):
    module, _, attribute = name.partition(":")
    module = importlib.import_module(module)
    setattr(module, attribute, change(getattr(module, attribute)))


def deadly(function, number):
    count = counter(number)

    def call(*args, **keywords):
        count()
        return function(*args, **keywords)

    return call


def opening(pattern, number):
    count = counter(number)

    def hook(event, args):
        to_write = event == "open" and "w" in (args[1] or "")
        if to_write and fnmatch.fnmatch(str(args[0]), pattern):
            count()

    return hook


def counter(number):
    left = number

    def count():
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def import_ahead(lives):
    """Import before forking what the children would import, each for itself."""
    from tenfold.registry import ROOMS

    # The last by torch's optimisers, when the first one is made.
    for module in (
        "tenfold.arguments",
        "tenfold.runs_cli",
        "tensorboardX",
        "torch._dynamo",
        "numba",
    ):
        importlib.import_module(module)
    for room in {life.args[0] for life in lives} & set(ROOMS):
        for module in ("cli", "run", "report"):
            importlib.import_module(f"{ROOMS[room].module}.{module}")


if __name__ == "__main__":
    plan = [Life(**life) for life in json.load(sys.stdin)]
    import_ahead(plan)
    json.dump([fork(life) for life in plan], sys.stdout)
