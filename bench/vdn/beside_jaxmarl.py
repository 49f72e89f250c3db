"""Samples learnt a second and whole runs beside JaxMARL's VDN learner, on one core.

    python bench/vdn/beside_jaxmarl.py --peer-dir DIR --peer-python PYTHON [--seeds 1 8]

DIR is a checkout of JaxMARL, PYTHON one that has jax, jaxmarl and what its learner imports; without
them ours is measured alone. Theirs is run_jaxmarl.py: its preset for MPE on simple_spread, three
agents. Ours is on `spread/3` with the same width (64), batch (32 windows of 26 steps), copies (8),
replay (5,000 windows), updates (one a window of all copies) and play before the first update. All
seeds of a side are one stack or one program. The rest is as each side has it; `--alike` brings ours
as near as options allow: double Q, one-step returns, no dueling, theirs of discount, rate, clip.

A sample is one agent's step with a loss, in a batch: theirs are 25 of the 26 of a rollout, ours
those at which no time limit cuts an episode within the window, counted. A run is a process of its
own from its start to its last update, importing and compiling included; our loops are compiled
before, as set-up does, theirs at each run, as its script does (with `--peer-cache DIR` JAX keeps
what it compiled, and finds it from the second turn on). Samples a second are those of a second run
in the same process, all in: acting, environment, replay, learning, and the 31 windows of play
before the first update, on both sides. Sides take turns; figures are medians.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tenfold.engine import device
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import EnvBatch
from tenfold.rooms.vdn import tasks
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.trainer import Trainer

HERE = Path(__file__).resolve().parent
COPIES, LONGEST = 8, 180.0
SAME: dict[str, Any] = {
    "units": 64, "window": 26, "batch": 32, "capacity": 5_000, "warm_up": 32 * COPIES,
}  # fmt: skip
ALIKE: dict[str, Any] = {
    "double": True, "dueling": False, "trace": 0.0, "gamma": 0.9, "rate": 5e-3, "clip": 25.0,
    "normalise": False, "epsilon_share": 0.1,
}  # fmt: skip

RATIOS = (
    ("samples_ratio", "samples_a_second", True),
    ("samples_ratio_by_cpu", "samples_a_cpu_second", True),
    ("wall_ratio", "wall_seconds", False),
)
Row = dict[str, Any]


def main() -> int:
    options = parse()
    if options.own:
        print(json.dumps(train(options)))
        return 0
    # Here, as what it imports is no part of a run that trains.
    from tenfold.engine.claim import machine_name

    report = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": machine_name(),
        "load": os.getloadavg(),
        "setting": {name: vars(options)[name] for name in ("task", "updates", "alike")},
    }
    print(f"{report['date']}; {report['machine']}; load at the start {report['load'][0]:.1f}")
    if hasattr(os, "sched_setaffinity"):
        # Children have it from here.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    missing = find_missing(options)
    if missing:
        print(f"JaxMARL is left out: {missing}")
    print(HEADING, flush=True)
    report["rows"] = []
    for seeds in options.seeds:
        found = compare(options, seeds, peer=not missing)
        print("\n".join(line(row) for row in found), flush=True)
        report["rows"] += found
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))
    longest = max(turn["wall_seconds"] for row in report["rows"] for turn in row["turns"])
    if longest > LONGEST:
        print(f"a run took {longest:.0f} s, the aim is for 3 minutes: give fewer --updates")
    print("aimed at: 2 times the samples/s of all 8 seeds; 5 times as fast in runs of 3 minutes")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-dir", type=Path, metavar="DIR", help="checkout of JaxMARL")
    parser.add_argument("--peer-python", type=Path, metavar="PYTHON", help="that has jaxmarl")
    parser.add_argument("--peer-cache", type=Path, metavar="DIR", help="where JAX keeps programs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 8], help="teams of a run")
    parser.add_argument("--updates", type=int, default=300, help="of each team")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--task", default="spread/3", help="ours; theirs stays")
    parser.add_argument("--alike", action="store_true", help="our learning as near as it goes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--own", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min([*options.seeds, options.updates, options.rounds]) < 1:
        parser.error("seeds, updates and rounds begin at 1; give larger numbers")
    return options


def find_missing(options: argparse.Namespace) -> str:
    """Return why the peer cannot run, with the remedy; empty if it can."""
    if options.peer_dir is None or options.peer_python is None:
        return "give --peer-dir, a checkout of it, and --peer-python, one that has jaxmarl"
    for path in (options.peer_dir / "baselines", options.peer_python):
        if not path.exists():
            return f"there is no {path}; make it, or give another"
    return ""


# Ours, in a process of its own


def train(options: argparse.Namespace) -> Row:
    """Train a stack of teams and return times and counts."""
    device.apply(device.choose("cpu", threads=1))
    seeds = tuple(range(options.own))
    try:
        batch = tasks.open_task(options.task, copies=COPIES, seeds=seeds)
    except TenfoldError as error:
        sys.exit(str(error))
    cfg = Learning(**SAME, **(ALIKE if options.alike else {}))
    first = time.perf_counter()
    run(batch, cfg, seeds, updates=options.updates)
    ended = time.monotonic()
    first = time.perf_counter() - first
    batch = tasks.open_task(options.task, copies=COPIES, seeds=seeds)
    began, cpu = time.perf_counter(), time.process_time()
    trainer = run(batch, cfg, seeds, updates=options.updates)
    again, cpu = time.perf_counter() - began, time.process_time() - cpu
    learnt = count_learnt(trainer)
    return {
        "who": "tenfold",
        "seeds": len(seeds),
        "compile_seconds": 0.0,
        "first_run_seconds": first,
        "run_seconds": again,
        "run_cpu_seconds": cpu,
        "ended": ended,
        "updates": options.updates * len(seeds),
        "env_steps": trainer.team_steps * len(seeds),
        "steps_an_item": cfg.window,
        "steps_with_a_loss": learnt / (cfg.batch * len(batch.spec.agents)),
        "samples": options.updates * len(seeds) * learnt,
    }


def run(batch: EnvBatch, cfg: Learning, seeds: tuple[int, ...], *, updates: int) -> Trainer:
    """Play and learn from the first weights on until each team has had its updates."""
    arch = [arch_of("v.s.id")] * len(seeds)
    trainer = Trainer(batch, arch, cfg, seeds=seeds, updates=updates)
    while trainer.learner.updates < updates:
        trainer.step()
    return trainer


def count_learnt(trainer: Trainer, draws: int = 20) -> float:
    """Return the samples that count in an update of one team, in the mean over draws."""
    first = trainer.learner.updates
    blocks = [trainer.sample(first + number) for number in range(draws)]
    valid = sum(float(block.paid.valid.sum()) for block in blocks)
    return valid * len(trainer.batch.spec.agents) / (draws * len(trainer.seeds))


# Both sides, process by process


def compare(options: argparse.Namespace, seeds: int, *, peer: bool) -> list[Row]:
    """Return the figures of each side; with the peer's come the ratios to ours."""
    ours = own_command(options, seeds, updates=options.updates)
    theirs = [
        str(options.peer_python), str(HERE / "run_jaxmarl.py"), "--peer-dir", str(options.peer_dir),
        "--seeds", str(seeds), "--updates", str(options.updates),
    ]  # fmt: skip
    finish(own_command(options, seeds, updates=2))  # loops are compiled, and kept
    turns: list[list[Row]] = []
    for _ in range(options.rounds):
        both = [finish(theirs, cache=options.peer_cache)] if peer else []
        turns.append([finish(ours), *both])
    rows = [summary([turn[side] for turn in turns]) for side in range(1 + peer)]
    for row in rows[1:]:
        pairs = list(zip(rows[0]["turns"], row["turns"], strict=True))
        for name, figure, up in RATIOS:
            quotients = [own[figure] / other[figure] for own, other in pairs]
            row[name] = statistics.median(q if up else 1 / q for q in quotients)
    return rows


def own_command(options: argparse.Namespace, seeds: int, *, updates: int) -> list[str]:
    numbers = ["--own", str(seeds), "--updates", str(updates), "--task", options.task]
    return [sys.executable, str(Path(__file__)), *numbers, *["--alike"] * options.alike]


def finish(command: list[str], *, cache: Path | None = None) -> Row:
    """Run a process to its end and return what it told, with seconds from start to last update."""
    more = {"JAX_COMPILATION_CACHE_DIR": str(cache.resolve())} if cache else {}
    begun = time.monotonic()
    pipe = subprocess.PIPE
    child = subprocess.run(command, stdout=pipe, text=True, env=os.environ | more, check=False)
    if child.returncode:
        sys.exit(f"a side ended with {child.returncode}, its error is above; repeat it alone: "
                 f"{' '.join(command)}")  # fmt: skip
    told = json.loads(child.stdout.splitlines()[-1])
    return told | {"wall_seconds": told["ended"] - begun}


def summary(turns: list[Row]) -> Row:
    for turn in turns:
        turn["cpu_share"] = turn["run_cpu_seconds"] / turn["run_seconds"]
        turn["samples_a_second"] = turn["samples"] / turn["run_seconds"]
        turn["samples_a_cpu_second"] = turn["samples"] / turn["run_cpu_seconds"]
    figures = ("samples_a_second", "wall_seconds", "compile_seconds", "cpu_share")
    found = {name: statistics.median(turn[name] for turn in turns) for name in figures}
    return {"who": turns[0]["who"], "seeds": turns[0]["seeds"], **found, "turns": turns}


HEADING = """\
| seeds | | samples/s | range | times theirs | by CPU time | run, s | range | of it compiling | \
faster by | share of the core |
|---|---|---|---|---|---|---|---|---|---|---|"""


def line(row: Row) -> str:
    def middle(name: str, digits: int) -> str:
        numbers = [turn[name] for turn in row["turns"]]
        low, high = min(numbers), max(numbers)
        return f"{row[name]:,.{digits}f} | {low:,.{digits}f}-{high:,.{digits}f}"

    more, by_cpu, faster = (f"{row[name]:.2f}" if name in row else "" for name, _, _ in RATIOS)
    return (
        f"| {row['seeds']} | {row['who']} | {middle('samples_a_second', 0)} | {more} | {by_cpu} | "
        f"{middle('wall_seconds', 1)} | {row['compile_seconds']:.1f} | {faster} | "
        f"{row['cpu_share']:.2f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
