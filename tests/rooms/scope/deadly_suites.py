"""Suites in processes that SIGKILL ends where told; as `deadly`, with a network of the tests.

Called as a program, this file takes a JSON list of lives on stdin, forks a child for each, one
after the other, and writes their exit codes to stdout.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Life:
    """One process that makes the suite at a path or goes on with it, perhaps with an early end."""

    path: str
    changes: dict[str, object] = field(default_factory=dict)
    """Fields of the config that differ."""
    at_call: str = ""
    at_open: str = ""
    number: int = 1
    stop_after: int = 0


def live(*lives, timeout=150):
    """Live through `lives` one after the other; return their exit codes, 3 for a stop."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps([asdict(life) for life in lives]),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    assert set(codes) <= {0, 3, -signal.SIGKILL}, done.stderr
    return codes


def make(life):
    """Make the suite of a life in this process; return the exit code."""
    from rooms.scope.small_models import reader
    from tenfold.engine.checkpoint import Cadence
    from tenfold.engine.run import Options, Run, RunStopped
    from tenfold.rooms.scope import config, harvest, run

    harvest.ROWS_PER_SHARD = 64
    run.STAGES["report"] = lambda _work: None  # what is asked here is before it
    options = Options(
        quiet=True, checkpoint=Cadence(every_steps=3, every_seconds=0), stop_after=life.stop_after
    )
    fields = {
        "subject": config.Subject(source="tiny"),
        "sites": ("blocks.0", "blocks.0->blocks.1"),
        "widths": (12,),
        "target_l0": (2.0,),
        "seeds": (0, 1),
        "tokens": 300,
        "batch": 32,
        "held_out": 0.1,
        "threads": 1,
        "log_every": 2,
        "evaluate": False,
        "dash": False,
    }
    cfg = config.Suite(**{**fields, **life.changes})
    path = Path(life.path)
    try:
        if (path / "config.json").exists():
            run.resume(path, reader(), options=options)
        else:
            new = Run.create(
                cfg, room="scope", verb="suite", units=run.UNITS, options=options, path=path
            )
            run.train(cfg, reader(), run=new)
    except RunStopped:
        return 3
    return 0


def fork(life):
    from deadly import deadly, opening, put

    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        # Its worker processes die with it, as they would with their machine.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        return code
    os.setsid()
    os.dup2(2, 1)  # stdout is for the exit codes
    if life.at_call:
        put(life.at_call, lambda function: deadly(function, life.number))
    if life.at_open:
        sys.addaudithook(opening(life.at_open, life.number))
    code = make(life)
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    for name in ("tenfold.rooms.scope.run", "tensorboardX", "torch._dynamo", "numba"):
        importlib.import_module(name)
    json.dump([fork(Life(**life)) for life in json.load(sys.stdin)], sys.stdout)
