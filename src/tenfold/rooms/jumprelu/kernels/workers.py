"""A fixed pool of threads that goes through a step's tasks without OpenMP.

Compiled loops and matrix products run outside Python's global lock. Each worker's products are
single-threaded, because OpenMP's own workers would go on spinning beside our loops for
milliseconds after each product. Which worker takes which task never matters to a result.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import torch

Task = Callable[["Room"], None]


class Room:
    """Memory of one worker that tasks reuse, so that its pages are there and near."""

    def __init__(self) -> None:
        self._tensors: dict[str, torch.Tensor] = {}

    def take(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return a tensor of this shape; its content is whatever the last task left."""
        size = 1
        for length in shape:
            size *= length
        kept = self._tensors.get(name)
        if kept is None or len(kept) < size:
            kept = self._tensors[name] = torch.empty(size, dtype=dtype)
        return kept[:size].view(shape)


class Pool:
    """`threads` workers; made once, by `pool_of`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._mine = threading.local()
        # Setting a thread's number of threads also sets it for threads that are yet to come.
        usual = torch.get_num_threads()
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="sparse-step", initializer=self._prepare
        )
        gate = threading.Barrier(threads)
        list(self._executor.map(lambda _: gate.wait(), range(threads)))
        torch.set_num_threads(usual)

    def _prepare(self) -> None:
        torch.set_num_threads(1)
        self._mine.room = Room()

    def run(self, tasks: list[Task]) -> None:
        """Run tasks in their order, each on the next free worker, and wait for all.

        Raises:
            Exception: of the first worker that failed; its later tasks are not run.
        """
        waiting = iter(tasks)
        count = min(self.threads, len(tasks))
        usual = torch.get_num_threads()
        # The library behind products has one number of threads for the whole process, and would
        # give each worker's product that many.
        torch.set_num_threads(1)
        try:
            ended = [self._executor.submit(self._work, waiting) for _ in range(count)]
            wait(ended)
        finally:
            torch.set_num_threads(usual)
        for one in ended:
            one.result()

    def _work(self, waiting: Iterator[Task]) -> None:
        # Taking from a list's iterator is one step under the global lock.
        for task in waiting:
            task(self._mine.room)


@functools.cache
def pool_of(threads: int) -> Pool:
    """Return the process's pool of so many threads."""
    return Pool(threads)


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads.
    os.register_at_fork(after_in_child=pool_of.cache_clear)
