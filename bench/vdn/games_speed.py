"""Steps a second of the games with all windows, beside the time that writing their bytes takes.

    python bench/vdn/games_speed.py [COPIES [ROUNDS]]

One core, processor time, two players, random actions prepared before. The counted limit is what a
step cannot do without: the bytes that it hands out (windows, rewards, events, ends) and those of
the state that it changes, each written once by one plain copy from memory to memory. Tasks and
their limits take turns; figures are medians over rounds, the range is of ours. Level-based foraging
(8x8, 2 players, 3 foods) is the last row; the package lbforaging makes one step at a time.
"""

import sys
import time

import numpy as np

from tenfold.engine.rng import stream
from tenfold.rooms.vdn.foraging import ForagingBatch, find_foraging
from tenfold.rooms.vdn.games.batch import GameBatch
from tenfold.rooms.vdn.games.maps import find_task, list_tasks

BLOCK = 50
"""Steps of all copies between two looks at the clock."""


def new_batches(copies):
    batches = {
        name: GameBatch(find_task(name), copies=copies, seed=0, limit_steps=10**9)
        for name in list_tasks()
    }
    task = find_foraging("lbf/8x8-2p-3f")
    return batches | {task.name: ForagingBatch(task, copies=copies, seed=0)}


def bytes_of_step(batch, told):
    """Return the bytes that a step of all copies writes."""
    given = [told.observation, told.reward, told.truncated, told.events]
    if told.legal is not None:
        given += [told.legal, told.terminated]
    # Generators are only written when a level begins.
    state = [values for name, values in batch.state().items() if name != "random"]
    return sum(values.nbytes for values in given + state)


def step_block(batch, actions):
    """Return seconds for a block of steps; copies that end are begun anew."""
    begun = time.process_time()
    for turn in actions:
        told = batch.step(turn)
        if told.terminated.any() or told.truncated.any():
            batch.reset(told.terminated | told.truncated)
    return time.process_time() - begun


def copy_block(count, buffers):
    """Return seconds for copying as many bytes as a block of steps writes."""
    source, target = (buffer[:count] for buffer in buffers)
    begun = time.process_time()
    for _ in range(BLOCK):
        np.copyto(target, source)
    return time.process_time() - begun


def main(copies=4096, rounds=15):
    batches = new_batches(copies)
    rng = stream(0, "bench")
    turns = {
        name: rng.integers(0, batch.spec.actions[0], size=(BLOCK, copies, 2))
        for name, batch in batches.items()
    }
    counts = {
        name: bytes_of_step(batch, batch.step(turns[name][0])) for name, batch in batches.items()
    }
    buffers = [np.ones(max(counts.values()), dtype=np.uint8) for _ in range(2)]
    seconds = {name: [] for name in batches}
    for _ in range(rounds):
        for name, batch in batches.items():
            seconds[name].append(
                (step_block(batch, turns[name]), copy_block(counts[name], buffers))
            )
    print(f"{copies} copies, {rounds} rounds of {BLOCK} steps, one core")
    print("| task | bytes a step | steps/s | range | limit: steps/s | share of the limit |")
    print("|---|---|---|---|---|---|")
    for name, taken in seconds.items():
        # The first round warms caches up.
        ours, limit = copies * BLOCK / np.array(taken[1:]).T
        print(
            f"| {name} | {counts[name] / copies:.0f} | {np.median(ours):,.0f} | "
            f"{ours.min():,.0f}-{ours.max():,.0f} | {np.median(limit):,.0f} | "
            f"{np.median(ours / limit):.2f} |"
        )


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
