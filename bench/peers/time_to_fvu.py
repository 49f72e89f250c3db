"""Seconds to a stated reconstruction error at L0 32 on real activations: ours beside the libraries.

    python bench/peers/time_to_fvu.py                     about five minutes
    python bench/peers/time_to_fvu.py --fvu 0.3 --seconds 60

All train a JumpReLU dictionary on the same activations of the small language model that this
machine trains by itself (block 1 of the claim's quick subject), each at the settings of its own
schedule for the given number of steps. Every few steps training stops its clock and measures L0
and the fraction of variance unexplained on held-out rows. A library has reached the goal when
its error is at most the stated one at an L0 of 32 +- 2; what it had at the end is printed too.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from train_step import ALLOWED, L0, start

from tenfold.engine.claim import machine_name
from tenfold.engine.rng import stream
from tenfold.engine.run import Options
from tenfold.parts.sae import subject_config
from tenfold.parts.sae.harvest import collect
from tenfold.parts.sae.subject import load_or_train

LIBRARIES = ("tenfold", "tenfold dense", "sae-lens", "dictionary-learning")
SITE = "blocks.1"
HELD_OUT = 4_096


def main() -> int:
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        matrix = Path(scratch) / "rows.npy"
        np.save(matrix, activations(options.rows + HELD_OUT, folder=Path(scratch)))
        rows = [train(name, options, matrix=matrix) for name in options.peers]
    report = {"machine": machine_name(), "threads": options.threads, "rows": rows}
    print(json.dumps(report, indent=1) if options.json else table(report, options))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fvu", type=float, default=0.1, help="the error to be reached")
    parser.add_argument("--peers", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=90, help="of training, for each")
    parser.add_argument("--every", type=int, default=50, help="steps between two measurements")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def activations(count: int, *, folder: Path) -> np.ndarray:
    """Return rows of the claim's quick subject in random order, mean squared norm 1, [count, D]."""
    subject = load_or_train(subject_config.quick(""), options=Options(quiet=True), device="cpu")
    store = collect(
        subject.module,
        (SITE,),
        lambda first: subject.batches(seed=0, split="train", start=first),
        folder=folder,
        max_rows=count,
        meta={},
        quiet=True,
    )[SITE]
    order = stream(0, "time_to_fvu").permutation(store.num_rows)[:count]
    rows = store.gather("x", order).float().numpy()
    return rows / np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1).mean()).astype(np.float32)


def train(name: str, options: argparse.Namespace, *, matrix: Path) -> dict:
    """Train until steps or seconds are over, or the goal is reached, and return what was seen."""
    shape = {
        "d_in": int(np.load(matrix, mmap_mode="r").shape[1]),
        "num_latents": options.width,
        "batch": options.batch,
        "target_l0": L0,
        "steps": options.steps,
        "learning_rate": 0.0,
    }
    child = start(name, matrix=matrix, threads=options.threads, shape=shape, held_out=HELD_OUT)
    seconds, seen = 0.0, []
    try:
        child.ask()  # is ready
        for done in range(options.every, options.steps + 1, options.every):
            answer = child.ask(str(options.every))
            seconds += answer["seconds"]
            seen.append({"steps": done, "at": seconds, "l0": answer["l0"], "fvu": answer["fvu"]})
            if reached(seen[-1], options) or seconds > options.seconds:
                break
    finally:
        child.stop()
    return {"library": name, "reached": reached(seen[-1], options), **seen[-1], "seen": seen}


def reached(point: dict, options: argparse.Namespace) -> bool:
    return point["fvu"] <= options.fvu and abs(point["l0"] - L0) <= ALLOWED


def table(report: dict, options: argparse.Namespace) -> str:
    lines = [
        f"{report['machine']}; {report['threads']} threads, float32; "
        f"goal: FVU {options.fvu:g} at L0 {L0:g} +- {ALLOWED:g}",
        f"{'library':21} {'goal':>8} {'seconds':>8} {'steps':>6} {'FVU':>6} {'L0':>6}",
    ]
    lines += [
        f"{row['library']:21} {'reached' if row['reached'] else 'missed':>8} {row['at']:8.1f} "
        f"{row['steps']:6d} {row['fvu']:6.3f} {row['l0']:6.1f}"
        for row in report["rows"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
