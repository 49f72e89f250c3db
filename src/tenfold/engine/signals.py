"""Ctrl-C and SIGTERM as a request to stop at the next safe point."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Whether a stop was asked for, and by what."""

    reason: str = ""


# Signals belong to the process, so the request that they set is one for the process too.
_current: StopRequest | None = None


@contextlib.contextmanager
def listening() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a stop request while inside.

    A block inside another shares its request. Outside the main thread nothing is installed,
    because only the main thread may. A second SIGINT raises KeyboardInterrupt at once.
    """
    global _current
    if _current is not None:
        yield _current
        return
    if threading.current_thread() is not threading.main_thread():
        yield StopRequest()
        return
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _current = request
    try:
        for number in before:
            signal.signal(number, _handler(request))
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _current = None


def _handler(request: StopRequest) -> Callable[[int, FrameType | None], None]:
    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if request.reason and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.reason = f"asked to stop by {signal.Signals(number).name}"

    return ask
