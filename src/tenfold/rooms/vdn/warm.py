"""Compile this room's loops ahead, as set-up does: `python -m tenfold.rooms.vdn.warm`."""

from __future__ import annotations

import time

from tenfold.engine import kernel
from tenfold.engine.progress import say
from tenfold.rooms.vdn import tasks
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.trainer import Trainer

TASKS = ("fetch/open", "switch/open", "checkers/board", "lbf/5x5-2p-1f", "spread/2")


def main() -> None:
    """Train a tiny team for a moment on one task of each kind, and ask for its values."""
    if kernel.find_obstacle():
        return
    began = time.monotonic()
    cfg = Learning(units=4, batch=4, capacity=16, warm_up=4)
    for name in TASKS:
        batch = tasks.open_task(name, copies=4, seeds=(0,), episode=40)
        trainer = Trainer(batch, [arch_of("v.s.id")], cfg, seeds=(0,), updates=2)
        for _ in range(3):
            trainer.step()
        # Layer by layer, as replays want the values themselves.
        trainer.actor.values(trainer.place.seen, trainer.place.memory)
    say(f"vdn loops ready ({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main()
