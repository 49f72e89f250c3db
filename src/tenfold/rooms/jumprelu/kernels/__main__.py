"""Compile the sparse step's loops, so that the first run does not wait: `make setup` does it.

python -m tenfold.rooms.jumprelu.kernels
"""

from __future__ import annotations

import sys
import time

import torch

from tenfold.engine import kernel
from tenfold.engine.rng import stream
from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.run import read_batch
from tenfold.rooms.jumprelu.trainer import start

METHODS: tuple[config.Method, ...] = (config.JumpReLU(), config.TopK(), config.BatchTopK())


def main() -> int:
    """Take a few small steps of each kind that has sparse code."""
    obstacle = kernel.find_obstacle()
    if obstacle:
        sys.stdout.write(f"no loops were compiled: {obstacle}\n")
        return 0
    begin = time.perf_counter()
    rows = stream(0, "kernels", "warm-up").standard_normal((256, 16)).astype("float32")
    source, _ = as_source(torch.from_numpy(rows), held_out=0.25)
    for chosen in METHODS:
        cfg = config.Train(
            method=chosen, width=64, target_l0=(4.0,), rows=64 * 20, batch=64, kernel="sparse"
        )
        trainer = start(cfg, source)
        # After the first step some latents count as dead, so that auxiliary losses run too.
        trainer.silent_rows.fill_(10**9)
        for step in range(2):
            trainer.update(read_batch(cfg, source, step), step)
    seconds = time.perf_counter() - begin
    sys.stdout.write(f"loops compiled by {kernel.describe()} in {seconds:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
