"""Tokens per second of one JumpReLU train step: ours beside SAELens and dictionary_learning.

    python bench/peers/train_step.py                  the full protocol, about ten minutes
    python bench/peers/train_step.py --steps 5 --repeats 1 --shapes 128x2048

Each library runs in its own environment (`make peers` makes them) as a process that stays
alive and runs a block of steps when told to, so that blocks of different libraries take turns
and share whatever the machine is doing. The train step alone is timed: forward, loss,
backward, optimiser, bookkeeping. float32; L0 is put at its target before the first
step, learning rates are so small that it stays there, and it is reported after every block.
Beside the libraries stand our dense step, which the sparse one must equal, and the encoder's
product alone, which is the floor of every exact step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tenfold.engine.claim import machine_name
from tenfold.engine.rng import stream

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = {
    "tenfold": (".venv", ["step_tenfold.py"]),
    "tenfold dense": (".venv", ["step_tenfold.py", "--dense"]),
    "encode product alone": (".venv", ["step_tenfold.py", "--floor"]),
    "sae-lens": (".venv-sae-lens", ["step_sae_lens.py"]),
    "sae-lens compiled": (".venv-sae-lens", ["step_sae_lens.py", "--compile"]),
    "dictionary-learning": (".venv-dictionary-learning", ["step_dictionary_learning.py"]),
}
L0, ALLOWED = 32.0, 2.0
LEARNING_RATE = 1e-6
"""So small that L0 stays where it was put; a step takes as long with any."""


@dataclass
class Child:
    """A library's process and what its blocks gave."""

    name: str
    process: subprocess.Popen
    blocks: list[dict] = field(default_factory=list)

    def ask(self, line: str = "") -> dict:
        if line:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended without an answer; its error is above")
        return json.loads(answer)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main() -> int:
    options = parse()
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for shape in options.shapes:
            d_in, num_latents = (int(part) for part in shape.split("x"))
            matrix = Path(scratch) / f"{d_in}.npy"
            np.save(matrix, activations(d_in, rows=options.rows))
            results += compare(options, d_in=d_in, num_latents=num_latents, matrix=matrix)
    report = {"machine": machine_name(), "threads": options.threads, "rows": results}
    print(json.dumps(report, indent=1) if options.json else table(report))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["128x2048", "256x8192"], metavar="DxM")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=32_768, help="rows of the fixed matrix")
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def activations(d_in: int, *, rows: int) -> np.ndarray:
    """Return sparse sums of 4 D random directions with noise, mean squared norm 1, [rows, D]."""
    rng = stream(0, "train_step", d_in)
    directions = rng.normal(size=(4 * d_in, d_in))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = rng.exponential(size=(rows, 4 * d_in)) * (rng.random((rows, 4 * d_in)) < 8 / d_in)
    x = strength @ directions + 0.1 * rng.normal(size=(rows, d_in)) / d_in**0.5
    return (x / np.sqrt((x**2).sum(axis=1).mean())).astype(np.float32)


def compare(
    options: argparse.Namespace, *, d_in: int, num_latents: int, matrix: Path
) -> list[dict]:
    children = [
        start(
            name,
            matrix=matrix,
            threads=options.threads,
            shape={
                "d_in": d_in,
                "num_latents": num_latents,
                "batch": options.batch,
                "target_l0": L0,
                "steps": options.warmup + options.steps * options.repeats,
                "learning_rate": LEARNING_RATE,
            },
        )
        for name in options.peers
    ]
    try:
        for child in children:
            child.ask()  # is ready
            child.ask(str(options.warmup))
        for repeat in range(options.repeats):
            turn = repeat % len(children)
            for child in children[turn:] + children[:turn]:
                child.blocks.append(child.ask(str(options.steps)))
    finally:
        for child in children:
            child.stop()
    tokens = options.batch * options.steps
    return [summary(child, d_in=d_in, num_latents=num_latents, tokens=tokens) for child in children]


def start(name: str, *, matrix: Path, threads: int, shape: dict, held_out: int = 0) -> Child:
    """Start a library's process on the rows of `matrix`; the first `held_out` only measure."""
    venv, script = PEERS[name]
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    setting = {"matrix": str(matrix), "threads": threads, "shape": shape, "held_out": held_out}
    command = [str(ROOT / venv / inside), str(HERE / script[0]), json.dumps(setting), *script[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    pipe = subprocess.PIPE
    return Child(
        name, subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    )


def summary(child: Child, *, d_in: int, num_latents: int, tokens: int) -> dict:
    rates = [tokens / block["seconds"] for block in child.blocks]
    return {
        "peer": child.name,
        "shape": f"{d_in}x{num_latents}",
        "tokens_per_second": statistics.median(rates),
        "all": rates,
        "l0": [block["l0"] for block in child.blocks],
    }


def table(report: dict) -> str:
    lines = [
        f"{report['machine']}; {report['threads']} threads, float32",
        f"{'shape':10} {'library':21} {'tokens/s':>9} {'range':>17} {'ours':>6} {'L0':>12}",
    ]
    for row in report["rows"]:
        ours = next(
            (r for r in report["rows"] if (r["peer"], r["shape"]) == ("tenfold", row["shape"])), row
        )
        ratio = ours["tokens_per_second"] / row["tokens_per_second"]
        spread = f"{min(row['all']):.0f}-{max(row['all']):.0f}"
        l0 = f"{min(row['l0']):.1f}-{max(row['l0']):.1f}"
        off = "" if all(abs(value - L0) <= ALLOWED for value in row["l0"]) else "  L0 off target"
        lines.append(
            f"{row['shape']:10} {row['peer']:21} {row['tokens_per_second']:9.0f} {spread:>17} "
            f"{ratio:5.2f}x {l0:>12}{off}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
