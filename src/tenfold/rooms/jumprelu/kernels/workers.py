"""A fixed pool of threads that goes through a step's tasks without OpenMP.

Compiled loops and matrix products run outside Python's global lock. Each worker's products are
single-threaded, because OpenMP's own workers would go on spinning beside our loops for
milliseconds after each product. Which worker takes which task never matters to a result.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

Task = Callable[["Room"], None]

MOST_SHAPES = 64
"""How many shapes a room remembers: those of dead latents may change with every step."""


class Memory(NamedTuple):
    """The same numbers as torch and as NumPy see them."""

    tensor: torch.Tensor
    array: NDArray[Any]


class Room:
    """Memory of one worker that tasks reuse, so that its pages are there and near."""

    def __init__(self) -> None:
        self._tensors: dict[str, torch.Tensor] = {}
        self._shaped: dict[tuple[str, tuple[int, ...]], Memory] = {}

    def take(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Memory:
        """Return memory of this shape; its content is whatever the last task left.

        One name is of one dtype.
        """
        found = self._shaped.get((name, shape))
        return self._shape(name, shape, dtype) if found is None else found

    def _shape(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Memory:
        size = math.prod(shape)
        kept = self._tensors.get(name)
        if kept is None or len(kept) < size:
            kept = self._tensors[name] = torch.empty(size, dtype=dtype)
            # Other shapes of this name still hold the memory that was too small.
            self._shaped.clear()
        if len(self._shaped) >= MOST_SHAPES:
            self._shaped.clear()
        tensor = kept[:size].view(shape)
        memory = self._shaped[name, shape] = Memory(tensor, tensor.numpy())
        return memory


class _Own(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.room = Room()


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch compute with one thread inside, then with as many as before.

    The library behind products has one number of threads for the whole process, and would give
    each worker's product that many.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


class Pool:
    """`threads` workers, the caller's thread among them; made once, by `pool_of`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._own = _Own()
        self._others = ThreadPoolExecutor(
            max(1, threads - 1),
            thread_name_prefix="sparse-step",
            initializer=torch.set_num_threads,
            initargs=(1,),
        )
        # Setting a thread's number of threads also sets it for threads that are yet to come, so
        # all of them come now.
        with single_threaded():
            gate = threading.Barrier(threads)
            started = [self._others.submit(gate.wait) for _ in range(threads - 1)]
            gate.wait()
            wait(started)

    def run(self, tasks: Iterable[Task]) -> None:
        """Run tasks in their order, each on the next free worker, and wait for all.

        Raises:
            Exception: of the first worker that failed; its later tasks are not run.
        """
        tasks = list(tasks)
        waiting = iter(tasks)
        with single_threaded():
            others = min(self.threads, len(tasks)) - 1
            ended = [self._others.submit(self._work, waiting) for _ in range(others)]
            try:
                self._work(waiting)
            finally:
                wait(ended)
        for one in ended:
            one.result()

    def _work(self, waiting: Iterator[Task]) -> None:
        room = self._own.room
        # Taking from a list's iterator is one step under the global lock.
        for task in waiting:
            task(room)


@functools.cache
def pool_of(threads: int) -> Pool:
    """Return the process's pool of so many threads."""
    return Pool(threads)


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads.
    os.register_at_fork(after_in_child=pool_of.cache_clear)
