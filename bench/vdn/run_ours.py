"""Our side of beside_epymarl.py and beside_benchmarl.py: teams that play and learn, timed.

    python bench/vdn/run_ours.py SETTING        called by those two, SETTING is JSON

What is told: task, teams, copies, learning (fields of Learning), schedule (updates over which
exploration falls), skip and updates. One update of each team follows each window of play.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from tenfold.engine import device
from tenfold.rooms.vdn import tasks
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.trainer import Trainer


def main() -> None:
    """Train and print what the clock said."""
    setting = json.loads(sys.argv[1])
    device.apply(device.choose("cpu", threads=1))
    seeds = tuple(range(setting["teams"]))
    batch = tasks.open_task(setting["task"], copies=setting["copies"], seeds=seeds)
    trainer = Trainer(
        batch,
        [arch_of("v.s.id")] * len(seeds),
        Learning(**setting["learning"]),
        seeds=seeds,
        updates=max(setting["schedule"], setting["skip"] + setting["updates"]),
    )
    spent: list[float] = []
    trainer.sample = clocked(trainer.sample, spent)
    trainer.learner.update = clocked(trainer.learner.update, spent)
    while trainer.learner.updates < setting["skip"]:
        trainer.step()
    spent.clear()
    steps, updates = trainer.team_steps, trainer.learner.updates
    begun, processor = time.perf_counter(), time.process_time()
    for _ in range(setting["updates"]):
        trainer.step()
    seconds, processor = time.perf_counter() - begun, time.process_time() - processor
    answer = {
        "steps": (trainer.team_steps - steps) * len(seeds),
        "updates": (trainer.learner.updates - updates) * len(seeds),
        "seconds": seconds,
        "processor": processor,
        "learning": sum(spent),
    }
    print(json.dumps(answer))


def clocked(call: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return a function that also notes how many seconds each call took."""

    def timed(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        result = call(*arguments, **options)
        spent.append(time.perf_counter() - begun)
        return result

    return timed


if __name__ == "__main__":
    main()
