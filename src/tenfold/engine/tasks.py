"""Many independent tasks: in this process, in several, or on Ray, with the same results.

Every result is written under its key as it arrives, so that a second call does only what is
missing. What a task computes depends on the task alone: threads are fixed per task and are
the same for any number of workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError, require
from tenfold.engine.files import read_json, write_json
from tenfold.engine.run import RunStopped

Workers = int | Literal["ray"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What became of one task: a result, a stop, or an error and the words for it."""

    key: str
    result: Any = None
    stopped: tuple[Path, str] | None = None
    error: BaseException | None = None
    fault: str = ""


Attempt = Callable[[str, Any], _Outcome]
RunSome = Callable[[Mapping[str, Any], list[str]], Iterator[_Outcome]]
"""Runs tasks and notes each key in the list when it begins."""


def map_tasks(
    function: Callable[[Any], Json],
    tasks: Mapping[str, Any],
    *,
    workers: Workers = 1,
    out: Path | None = None,
    threads: int = 1,
    check_stop: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, Json]]:
    """Yield (key, function(task)) for every task, as they finish.

    A task that fails, or whose process dies, does not keep the others from running.

    Args:
        function: gives plain JSON values; under several workers it is sent to them.
        tasks: what `function` gets, under keys that can be file names.
        workers: 1 is this process, in the order of `tasks`; more are processes of this
            machine; "ray" is a Ray cluster (extra `ray`), whose results come in chunks.
        out: folder for one `<key>.json` per result; those there are yielded first, not run.
        threads: CPU threads of one task; 0 leaves what the process has.
        check_stop: asked before each task; raises when no more should be started.

    Raises:
        TenfoldError: at once, if `workers` makes no sense or the extra is not installed; after
            all others are done, naming each key that failed and its fault.
        RunStopped: if a task was stopped, or `check_stop` says so, once running ones ended.
    """
    if workers != "ray" and (not isinstance(workers, int) or workers < 1):
        raise TenfoldError(f'workers is {workers!r}; give a number from 1 on, or "ray"')
    for key in tasks:
        assert re.fullmatch(r"\w[\w.=+-]{0,199}", key), f"task key {key!r} is no file name"
    done = {key: out / f"{key}.json" for key in tasks} if out else {}
    done = {key: path for key, path in done.items() if path.exists()}
    waiting = {key: task for key, task in tasks.items() if key not in done}
    outcomes = _outcomes(function, waiting, workers=workers, threads=threads, check_stop=check_stop)
    saved = ((key, read_json(path)) for key, path in done.items())
    return itertools.chain(saved, _results(outcomes, out=out, check_stop=check_stop))


def _results(
    outcomes: Iterator[_Outcome], *, out: Path | None, check_stop: Callable[[], None]
) -> Iterator[tuple[str, Json]]:
    ended = []
    for outcome in outcomes:
        if outcome.stopped or outcome.error:
            ended.append(outcome)
        elif out is None:
            yield outcome.key, outcome.result
        else:
            write_json(out / f"{outcome.key}.json", outcome.result)
            # Read back, so that a first run and a resumed one yield the very same values.
            yield outcome.key, read_json(out / f"{outcome.key}.json")
    _tell(ended)
    check_stop()


def _tell(ended: list[_Outcome]) -> None:
    for outcome in ended:
        if outcome.stopped:
            raise RunStopped(*outcome.stopped)
    if ended:
        faults = "; ".join(f"{outcome.key}: {outcome.fault}" for outcome in ended)
        raise TenfoldError(
            f"{len(ended)} tasks failed ({faults}); the others are done, and a second call "
            "does only what is missing"
        ) from ended[0].error


def _outcomes(
    function: Callable[[Any], Json],
    tasks: Mapping[str, Any],
    *,
    workers: Workers,
    threads: int,
    check_stop: Callable[[], None],
) -> Iterator[_Outcome]:
    def stopped() -> bool:
        try:
            check_stop()
        except RunStopped:
            return True
        return False

    if workers == 1 or not tasks:
        return _in_this_process(partial(_attempt, function, threads), tasks, stopped=stopped)
    attempt = partial(_attempt_in_worker, function, threads)
    if workers == "ray":
        return _on_ray(attempt, tasks, stopped=stopped)
    pool = _process_pool(workers, threads=threads)
    return _surviving_deaths(
        lambda some, begun: pool(_calls(attempt, some, begun=begun, stopped=stopped)),
        tasks,
        death=TerminatedWorkerError,
        stopped=stopped,
    )


def _in_this_process(
    attempt: Attempt, tasks: Mapping[str, Any], *, stopped: Callable[[], bool]
) -> Iterator[_Outcome]:
    for key, task in tasks.items():
        if stopped():
            return
        outcome = attempt(key, task)
        yield outcome
        if outcome.stopped:
            return


def _process_pool(workers: int, *, threads: int) -> Any:
    with joblib.parallel_config("loky", inner_max_num_threads=threads or None):
        return joblib.Parallel(
            # joblib takes one worker to be this process; here it is one other process.
            n_jobs=max(workers, 2),
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="n_jobs",
        )


def _on_ray(
    attempt: Attempt, tasks: Mapping[str, Any], *, stopped: Callable[[], bool]
) -> Iterator[_Outcome]:
    purpose = 'workers="ray"'
    ray = require("ray", extra="ray", purpose=purpose)
    require("ray.util.joblib", extra="ray", purpose=purpose).register_ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    cores = int(ray.cluster_resources()["CPU"])

    def run_some(some: Mapping[str, Any], begun: list[str]) -> Iterator[_Outcome]:
        # joblib's Ray backend knows no generators (joblib 1.6, ray 2.60): lists, by chunks.
        calls = _calls(attempt, some, begun=begun, stopped=stopped)
        while chunk := list(itertools.islice(calls, cores)):
            with joblib.parallel_config("ray", n_jobs=cores):
                outcomes = joblib.Parallel(batch_size=1)(chunk)
            yield from outcomes

    return _surviving_deaths(run_some, tasks, death=ray.exceptions.RayError, stopped=stopped)


def _calls(
    attempt: Attempt,
    tasks: Mapping[str, Any],
    *,
    begun: list[str],
    stopped: Callable[[], bool],
) -> Iterator[Any]:
    for key, task in list(tasks.items()):
        if stopped():
            return
        begun.append(key)
        yield joblib.delayed(attempt)(key, task)


def _surviving_deaths(
    run_some: RunSome,
    tasks: Mapping[str, Any],
    *,
    death: type[BaseException],
    stopped: Callable[[], bool],
) -> Iterator[_Outcome]:
    """Run all tasks; a dead process takes others with it, so those run again one by one."""
    waiting = dict(tasks)
    while waiting and not stopped():
        begun: list[str] = []
        try:
            for outcome in run_some(waiting, begun):
                del waiting[outcome.key]
                yield outcome
        except death:
            for key in [key for key in begun if key in waiting and not stopped()]:
                yield _alone(run_some, key, waiting.pop(key), death=death)


def _alone(run_some: RunSome, key: str, task: Any, *, death: type[BaseException]) -> _Outcome:
    try:
        return next(run_some({key: task}, []))
    except death as error:
        return _Outcome(key=key, error=error, fault="its process died")


def _attempt_in_worker(
    function: Callable[[Any], Json], threads: int, key: str, task: Any
) -> _Outcome:
    os.environ["TENFOLD_WORKER"] = "1"
    outcome = _attempt(function, threads, key, task)
    if outcome.error is None:
        return outcome
    # Not every exception survives the way between processes; its text does.
    text = "".join(traceback.format_exception(outcome.error))
    return dataclasses.replace(outcome, error=RuntimeError(text))


def _attempt(function: Callable[[Any], Json], threads: int, key: str, task: Any) -> _Outcome:
    try:
        with _limited_threads(threads):
            return _Outcome(key=key, result=function(task))
    except RunStopped as stop:
        return _Outcome(key=key, stopped=(stop.path, stop.reason))
    except Exception as error:
        return _Outcome(key=key, error=error, fault=f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _limited_threads(count: int) -> Iterator[None]:
    """Hold torch, and what asks the environment, to `count` threads; 0: as they are."""
    if count == 0:
        yield
        return
    import torch

    before, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        os.environ.pop("OMP_NUM_THREADS")
        if variable is not None:
            os.environ["OMP_NUM_THREADS"] = variable


def run_command(args: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run a whole command as a child process and return its exit code.

    SIGINT and SIGTERM go on to the child, once each, and its end is awaited.
    """
    # A session of its own: else a terminal's Ctrl-C would reach the child twice.
    own_session = os.name != "nt"
    child = subprocess.Popen(  # noqa: S603 (arguments, never a shell)
        list(args), env={**os.environ, **(env or {})}, start_new_session=own_session
    )
    with _forwarded_signals(child) if own_session else contextlib.nullcontext():
        return child.wait()


@contextlib.contextmanager
def _forwarded_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
