"""Progress of a loop: one live block on a terminal, else a plain line each half minute."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

WORKER = "TENFOLD_WORKER"
"""Set to 1 in worker processes, which say nothing."""
LINE_SECONDS = 30.0
UPDATES_PER_SECOND = 4


def say(text: str) -> None:
    """Write one line of talk on stderr; results go to stdout and files."""
    if not _is_worker():
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _is_worker() -> bool:
    return os.environ.get(WORKER) == "1"


class Progress:
    """What is shown of a loop over `total` steps while the block is entered."""

    def __init__(
        self,
        title: str,
        total: int,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self.numbers: dict[str, float] = {}
        self.event = ""
        self._quiet = quiet or _is_worker()
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._said = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        self._said = self._clock()
        if not self._quiet and sys.stderr.isatty():
            self._live = _start_live(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if not self._quiet and self._first is not None:
            say(describe(self))

    def update(self, done: int, /, **numbers: float) -> None:
        """Take the number of steps done and the newest values to show; costs next to nothing."""
        now = self._clock()
        if self._first is None:
            self._first = (now, done)
        self.done = done
        self.numbers |= numbers
        if not self._quiet and self._live is None and now - self._said >= LINE_SECONDS:
            self._said = now
            say(describe(self))

    def note(self, text: str) -> None:
        """Show an event: in the live block until the next one, else as a line."""
        self.event = text
        if not self._quiet and self._live is None:
            say(f"{self.title}: {text}")

    @property
    def rate(self) -> float:
        """Steps per second since the first update; 0 while unknown."""
        if self._first is None:
            return 0.0
        seconds = self._clock() - self._first[0]
        return (self.done - self._first[1]) / seconds if seconds > 0 else 0.0


def describe(progress: Progress) -> str:
    """Say in one line how far `progress` is."""
    parts = [f"{progress.title}: {progress.done} of {progress.total}", *_pace(progress)]
    parts += [f"{name} {value:.4g}" for name, value in progress.numbers.items()]
    return ", ".join(parts)


def _pace(progress: Progress) -> list[str]:
    rate = progress.rate
    if rate <= 0:
        return []
    left = (progress.total - progress.done) / rate
    speed = f"{rate:.3g} a second" if rate >= 1 else f"{1 / rate:.3g} s each"
    return [speed, f"{format_seconds(left)} left"] if left > 0 else [speed]


def format_seconds(seconds: float) -> str:
    """Write a duration in its two largest units.

    >>> format_seconds(3725)
    '1 h 2 min'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _start_live(progress: Progress) -> Live:
    from rich.console import Console
    from rich.live import Live

    live = Live(
        console=Console(stderr=True),
        get_renderable=lambda: _block(progress),
        refresh_per_second=UPDATES_PER_SECOND,
        transient=True,
        redirect_stdout=False,  # results printed meanwhile belong on stdout
    )
    live.start()
    return live


def _block(progress: Progress) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    bar = ProgressBar(total=progress.total, completed=progress.done)
    # The bar last: it ends without a line break, and what follows would be cropped.
    return Group(Text(describe(progress)), Text(progress.event, style="dim"), bar)
