"""Sides of a benchmark that take turns on one core (beside_epymarl.py, beside_benchmarl.py).

A side is a process. It is told its setting as JSON in its first argument, and the last line that
it prints is JSON again:

    steps       of the environment, all teams together
    updates     all teams together
    seconds     of wall time for both
    processor   seconds of processor time for both, which a busy machine changes less
    learning    seconds of them spent in updates, and in drawing batches (not EPyMARL's)

The clock of a side begins at the end of its update number `skip` and stops at the end of its last
one, so that start-up and the first, slow calls are left out. This file needs no package: peers
use it too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TAIL = 2_000
"""Characters of a failed side's errors that are shown."""


class Note(NamedTuple):
    """One update of a peer."""

    begun: float
    ended: float
    """Both as `time.perf_counter` says."""
    processor: float
    """As `time.process_time` says at its end."""
    steps: int
    """Of the environment until then."""


@dataclass(frozen=True)
class Side:
    """One side: what runs it and what it is told."""

    name: str
    python: str
    script: str
    setting: dict


@dataclass(frozen=True)
class Turn:
    """What a side did in one turn."""

    steps: int
    updates: int
    seconds: float
    processor: float
    learning: float

    @property
    def steps_rate(self) -> float:
        """Environment steps a second, all in."""
        return self.steps / self.seconds

    @property
    def updates_rate(self) -> float:
        """Updates a second, all in."""
        return self.updates / self.seconds

    @property
    def processor_rate(self) -> float:
        """Updates a second of processor time, all in."""
        return self.updates / self.processor

    @property
    def share(self) -> float:
        """Percent of the wall time in which the side had the core."""
        return 100 * self.processor / self.seconds

    @property
    def learning_rate(self) -> float:
        """Updates a second of the learner alone."""
        return self.updates / self.learning


def summary(notes: list[Note], *, skip: int) -> dict[str, float]:
    """Return a peer's answer: from the end of update `skip` to the end of the last one."""
    first, last, counted = notes[skip - 1], notes[-1], notes[skip:]
    return {
        "steps": last.steps - first.steps,
        "updates": len(counted),
        "seconds": last.ended - first.ended,
        "processor": last.processor - first.processor,
        "learning": sum(note.ended - note.begun for note in counted),
    }


def stay_on_one_core() -> None:
    """Keep this process and those that it starts on one core, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def find_missing(python: str, modules: tuple[str, ...]) -> list[str]:
    """Return those modules that a Python does not have.

    Raises:
        SystemExit: if there is no such Python.
    """
    code = (
        "import importlib.util, sys\n"
        "print(*(m for m in sys.argv[1:] if importlib.util.find_spec(m) is None))"
    )
    try:
        told = subprocess.run(
            [python, "-c", code, *modules], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{python} does not run ({error}); give --peer-python a Python interpreter")
    return told.stdout.split()


def play(side: Side) -> Turn:
    """Run a side once.

    Raises:
        SystemExit: if it fails, with the end of what it said.
    """
    told = subprocess.run(
        [side.python, str(HERE / side.script), json.dumps(side.setting)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | ONE_THREAD | {"PYTHONDONTWRITEBYTECODE": "1", "TQDM_DISABLE": "1"},
    )
    if told.returncode or not told.stdout.strip():
        sys.exit(
            f"{told.stderr[-TAIL:]}\n{side.name} failed, see above; install into {side.python} "
            "what it lacks, or leave that peer out"
        )
    return Turn(**json.loads(told.stdout.strip().splitlines()[-1]))


def take_turns(sides: list[Side], *, rounds: int) -> dict[str, list[Turn]]:
    """Return the turns of each side; every second round goes through the sides backwards."""
    turns: dict[str, list[Turn]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            turns[side.name].append(play(side))
            print(f"  round {number + 1}: {side.name}", file=sys.stderr, flush=True)
    return turns


def middle(turns: list[Turn], rate: str) -> float:
    """Return the median of a rate over rounds."""
    return statistics.median(getattr(turn, rate) for turn in turns)


def spread(turns: list[Turn], rate: str) -> str:
    """Return the lowest and highest value of a rate."""
    values = [getattr(turn, rate) for turn in turns]
    return f"{min(values):,.1f}-{max(values):,.1f}"


def ratio(ours: list[Turn], theirs: list[Turn], rate: str) -> float:
    """Return the median over rounds of how many times faster ours is within a round."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(getattr(own, rate) / getattr(their, rate) for own, their in pairs)
