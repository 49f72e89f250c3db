"""Team updates a second of one core, all in: acting, games, replay, learning.

    python bench/vdn/team_updates.py [TEAMS] [ARCHS]

The setting is that of the laptop claim: Fetch, two agents, 16 copies a team, windows of 8 steps,
batches of 32, LSTM of 32 units, one update a window. Printed are team updates a CPU second, where
the time goes, and the limit that the multiply-adds alone would allow at the speed of one large
matrix product. As a machine's speed changes with what its neighbours do, steps are measured in
blocks, each beside the product: the median and the best block are told.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch

from tenfold.engine import device
from tenfold.parts.rl import rollout
from tenfold.rooms.vdn import tasks
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.trainer import Trainer

BLOCKS, ROUNDS = 15, 20


def main() -> None:
    """Measure and print."""
    device.apply(device.choose("cpu", threads=1))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    names = (sys.argv[2] if len(sys.argv) > 2 else "ind,v,v.s,v.s.id").split(",")
    archs = [arch_of(names[team % len(names)]) for team in range(count)]
    seeds = tuple(range(count))
    batch = tasks.open_task("fetch/open", copies=16, seeds=seeds, episode=5_000)
    cfg = Learning(warm_up=64)
    trainer = Trainer(batch, archs, cfg, seeds=seeds, updates=100_000)
    for _ in range(20):
        trainer.step()
    taken, speeds = [], []
    for _ in range(BLOCKS):
        taken.append(timed(trainer.step, ROUNDS))
        speeds.append(product_speed())
    whole = statistics.median(taken)
    print(f"{count} teams ({', '.join(names)}): {count / whole:.0f} team updates a CPU second, "
          f"{count / min(taken):.0f} in the best of {BLOCKS} blocks")  # fmt: skip
    for name, seconds in parts(trainer):
        print(f"  {name:28s} {1e3 * seconds:7.2f} ms, {100 * seconds / whole:5.1f} %")
    flops = count_flops(trainer)
    speed = statistics.median(speeds)
    print(f"  {flops / 1e6:.1f} MFLOP a team update; one large product runs at {speed / 1e9:.0f} "
          f"GFLOP/s ({min(speeds) / 1e9:.0f} to {max(speeds) / 1e9:.0f}): at most "
          f"{speed / flops:.0f} team updates a second")  # fmt: skip


def parts(trainer: Trainer) -> Iterator[tuple[str, float]]:
    """Yield the seconds of each part of a step, measured alone."""
    number = trainer.learner.updates
    block = trainer.sample(number)

    def play() -> None:
        _, trainer.place = rollout.collect(
            trainer.batch, trainer.actor, trainer.place, steps=trainer.cfg.window
        )

    games = trainer.batch
    actions = torch.zeros(games.spec.copies, len(games.spec.agents), dtype=torch.long).numpy()

    def step_games() -> None:
        for _ in range(trainer.cfg.window):
            games.step(actions)

    yield "play: games and acting", timed(play)
    yield "of that games alone", timed(step_games)
    yield "drawing windows", timed(lambda: trainer.sample(number))
    yield "update", timed(lambda: trainer.learner.update(block))
    yield "of that Adam", timed(trainer.learner.adam.step)


def timed(call: Callable[[], object], rounds: int = 40) -> float:
    """Return CPU seconds of one call."""
    call()
    began = time.process_time()
    for _ in range(rounds):
        call()
    return (time.process_time() - began) / rounds


def count_flops(trainer: Trainer) -> float:
    """Return multiplications and additions of one team's update in matrix products."""
    structure, cfg = trainer.learner.teams.structure, trainer.cfg
    macs = sum(s.count for s in structure.layout.shapes if len(s.size) == 2)
    rows = cfg.batch * structure.lanes
    # Forward of the frozen network, forward of the trained one, twice that backward (the first
    # layer's inputs need no gradient).
    first = structure.layout.shapes[0].count
    backward = 2 * macs - first
    return 2.0 * rows * ((cfg.window + 1) * macs + cfg.window * (macs + backward))


def product_speed() -> float:
    """Return operations a second of a large float32 product on one thread."""
    x, y = torch.rand(1024, 1024), torch.rand(1024, 1024)
    return 2 * 1024**3 / timed(lambda: x @ y, rounds=10)


if __name__ == "__main__":
    main()
