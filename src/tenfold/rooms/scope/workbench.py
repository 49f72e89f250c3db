"""Models behind live pages: opened once, asked one at a time in a thread of their own.

A page's request waits a while for its answer and is told to come again if there is none yet;
the work goes on meanwhile.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tenfold.engine.config import decode
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.scope.config import Subject
from tenfold.rooms.scope.suite import Manifest, SavedSuite, open_suite

if TYPE_CHECKING:
    from tenfold.parts.sae.specimen import Specimen
    from tenfold.rooms.jumprelu.model import Dictionary

T = TypeVar("T")

WAITING_JOBS = 16
"""Jobs that wait for the thread at most."""
MOST_OPENED = 2
"""Models kept in memory."""
MOST_DICTIONARIES = 8
"""Dictionaries kept in memory."""
PATIENCE_SECONDS = 4.0
"""How long a request waits for its answer."""
WORK_SECONDS = 60.0
"""How long one answer may take to make."""


class Busy(TenfoldError):
    """The answer is not there yet, or too many are asked for; coming again helps."""


class Worker:
    """One thread that does jobs in their order.

    The thread never keeps the process alive: a job that hangs is left behind at the end.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING_JOBS)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Have a job done in its turn.

        Raises:
            Busy: if too many wait already.
        """
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except BaseException as error:  # the one who waits raises it
                future.set_exception(error)

        try:
            self._jobs.put_nowait(work)
        except queue.Full:
            raise Busy(f"{WAITING_JOBS} requests wait for the model; try again soon") from None
        self._start()
        return future

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="scope", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def close(self, *, seconds: float = 2.0) -> None:
        """Drop the jobs that wait and give the one being done some time to end."""
        while True:
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                break
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(seconds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A suite with its model."""

    suite: SavedSuite
    specimen: Specimen
    notice: str = ""
    """What is to be told with every answer."""


class Workbench:
    """The opened suites of one server.

    Args:
        allowed: FILE.py:FUNCTION that may be run again for suites that were made with it.
        stopping: whether the server is going down.
    """

    def __init__(self, *, allowed: str = "", stopping: Callable[[], bool] = lambda: False) -> None:
        self._allowed = allowed
        self._stopping = stopping
        self._worker = Worker()
        self._opened: dict[Path, Opened] = {}
        self._dictionaries: dict[tuple[Path, str], Dictionary] = {}
        self._asked: dict[Any, Future[Any]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the thread."""
        self._worker.close()

    def ask(
        self,
        path: Path,
        question: Any,
        answer: Callable[[Opened, Callable[[], None]], T],
        *,
        patience: float | None = None,
    ) -> T:
        """Return what `answer` makes of the suite at `path`, with its model.

        Args:
            path: of the suite or its run.
            question: what equal questions have in common; asked again, the work under way is
                waited for instead of being done twice.
            answer: called in the thread with the opened suite and a function that it calls
                now and then, which raises when it is to stop.
            patience: seconds to wait; None is `PATIENCE_SECONDS`.

        Raises:
            Busy: if the answer takes longer.
            TenfoldError: if the suite or its model cannot be opened, or from `answer`.
        """
        key = (path, question)

        def job() -> T:
            opened = self._open(path)  # its time does not count: a model may be large
            return answer(opened, self._deadline())

        with self._lock:
            if key not in self._asked:
                self._forget_answered()
                self._asked[key] = self._worker.submit(job)
            future = self._asked[key]
        try:
            found: T = future.result(PATIENCE_SECONDS if patience is None else patience)
        except NotYet:
            if future.done():  # a timeout inside the job
                raise
            raise Busy("the model is at work; the answer comes as soon as it is there") from None
        finally:
            if future.done():
                with self._lock:
                    self._asked.pop(key, None)
        return found

    def _forget_answered(self) -> None:
        """Drop old answers that nobody came back for."""
        answered = [key for key, future in self._asked.items() if future.done()]
        for key in answered[:-WAITING_JOBS]:
            del self._asked[key]

    def _deadline(self) -> Callable[[], None]:
        end = time.monotonic() + WORK_SECONDS

        def check() -> None:
            if self._stopping():
                raise TenfoldError("the server is going down")
            if time.monotonic() > end:
                raise TenfoldError(
                    f"the answer takes more than {WORK_SECONDS:g} seconds; ask for less"
                )

        return check

    def _open(self, path: Path) -> Opened:
        if path in self._opened:
            return self._opened[path]
        suite = open_suite(path)
        specimen = reopen(suite.manifest, allowed=self._allowed)
        notice = ""
        if specimen.identity != suite.manifest.identity:
            notice = (
                f"The model at hand is not the {suite.manifest.model} that this suite was trained "
                "on: weights or data differ."
            )
        self._opened[path] = Opened(suite=suite, specimen=specimen, notice=notice)
        while len(self._opened) > MOST_OPENED:
            del self._opened[next(iter(self._opened))]
        return self._opened[path]

    def dictionary(self, opened: Opened, name: str) -> Dictionary:
        """Load a dictionary of an opened suite, or take the one that is there."""
        key = (opened.suite.path, name)
        found = self._dictionaries.pop(key, None) or opened.suite.load(name)
        self._dictionaries[key] = found  # the newest is the last
        while len(self._dictionaries) > MOST_DICTIONARIES:
            del self._dictionaries[next(iter(self._dictionaries))]
        return found


def reopen(manifest: Manifest, *, allowed: str = "") -> Specimen:
    """Open the model of a saved suite again; code of the user's is run only if it is `allowed`.

    Raises:
        TenfoldError: if that is not possible, with what to do.
    """
    from tenfold.engine.run import Options
    from tenfold.rooms.scope.subjects import open_subject

    options = Options(quiet=True)
    subject = decode(Subject, manifest.subject, path="subject")
    if not _is_code(subject.source):
        return open_subject(subject, options=options, trusted=False)
    if not allowed:
        raise TenfoldError(
            f"this suite's model was made by {subject.source}, and a saved suite runs no code; "
            f"start again with `tenfold serve --subject {subject.source}` if you trust that file"
        )
    if _called(allowed) != _called(subject.source):
        raise TenfoldError(
            f"this suite's model was made by {subject.source}, the server may run {allowed}; "
            f"start it with --subject {subject.source}"
        )
    return open_subject(replace(subject, source=allowed), options=options, trusted=True)


def _is_code(source: str) -> bool:
    file, colon, _ = source.rpartition(":")
    return bool(colon) and file.endswith(".py")


def _called(source: str) -> tuple[str, str]:
    """Return file name and function; the folder may differ from the one it was saved with."""
    file, _, function = source.rpartition(":")
    return Path(file).name, function
