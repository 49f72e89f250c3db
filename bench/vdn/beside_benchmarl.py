"""Updates a second of one core beside BenchMARL's VDN, the learner alone and all in.

    python bench/vdn/beside_benchmarl.py [--peer-python PYTHON] [--updates 120]

The task is simple_spread of mpe2, three agents, episodes of 25 steps. PYTHON is an interpreter with
benchmarl and mpe2; without one only our row is printed. BenchMARL runs its own experiment
(run_benchmarl.py) with its LSTM, ours (run_ours.py) is the architecture v.s.id: once on the same
environment in Python, once on our compiled port of it, once with eight seeds in one stack there.

Alike are 64 units, shared weights, 16 environments, one update after 8 steps of each (128 team
steps), batches of 32 sequences of 8 steps (256 team steps of three agents), a replay of 4,000
sequences, Adam at 0.001, gradients cut at 10, targets copied every 200 updates. BenchMARL counts a
batch in team steps and draws whole sequences, as long as what one environment plays between two
updates. Not alike, all more work for ours: a layer before the LSTM, the agent's role, a value
beside the advantages, returns over the window, observations that are scaled, the memory's state
kept in the replay. BenchMARL starts each sequence with an empty memory, and averages rewards of
agents where we add them.

Learner alone is drawing a batch and updating, timed inside the run. Every side is a process on the
same core with one thread; sides take turns in rounds, backwards in every second one. Figures are
medians over rounds, ratios medians of those within a round; `core` is the share of the wall time in
which a side had the core.
"""

from __future__ import annotations

import argparse
import os
import sys

from turns import Side, Turn, find_missing, middle, ratio, spread, stay_on_one_core, take_turns

from tenfold.engine.claim import machine_name

PACKAGES = ("torch", "benchmarl", "mpe2")
TASK = "mpe2:simple_spread_v3"
"""Three agents and 25 steps are its defaults."""
AGENTS, EPISODE = 3, 25
UNITS, COPIES, WINDOW, BATCH = 64, 16, 8, 32
CAPACITY, RATE, CLIP, COPY_EVERY = 4_000, 1e-3, 10.0, 200
SKIP = 10
"""Updates before the clock begins."""
GOAL = 10
"""How many times faster ours is meant to be."""
THEIRS = "BenchMARL, VDN with its LSTM"
OURS = {
    "tenfold, the same environment": (TASK, 1),
    "tenfold, port": ("spread/3", 1),
    "tenfold, port, 8 seeds, added up": ("spread/3", 8),
}
"""Task and seeds of each of our sides."""


def main() -> int:
    """Measure and print."""
    options = parse()
    machine, load = machine_name(), os.getloadavg()[0]
    stay_on_one_core()
    sides = [*find_peer(options), *(ours(name, options) for name in OURS)]
    print(f"{machine}; load at the start {load:.1f}; {options.updates:,} updates a turn, "
          f"{options.rounds} rounds")  # fmt: skip
    turns = take_turns(sides, rounds=options.rounds)
    print_rates(turns)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--updates", type=int, default=120, help="in a turn")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.updates < 1 or options.rounds < 1:
        parser.error("give --updates and --rounds 1 or more")
    return options


def find_peer(options: argparse.Namespace) -> list[Side]:
    """Return BenchMARL's side, or say why it has none."""
    missing = find_missing(options.peer_python, PACKAGES)
    if missing:
        print(f"BenchMARL is left out: {options.peer_python} lacks {', '.join(missing)}")
        return []
    setting = {
        "agents": AGENTS, "episode": EPISODE, "units": UNITS, "copies": COPIES, "window": WINDOW,
        "batch": BATCH, "capacity": CAPACITY, "rate": RATE, "clip": CLIP,
        "copy_every": COPY_EVERY, "skip": SKIP, "updates": options.updates, "seed": 0,
    }  # fmt: skip
    return [Side(THEIRS, options.peer_python, "run_benchmarl.py", setting)]


def ours(name: str, options: argparse.Namespace) -> Side:
    """Return a side of ours."""
    task, teams = OURS[name]
    learning = {
        "units": UNITS, "window": WINDOW, "batch": BATCH, "warm_up": BATCH, "capacity": CAPACITY,
        "rate": RATE, "clip": CLIP, "copy_every": COPY_EVERY,
    }  # fmt: skip
    setting = {
        "task": task, "teams": teams, "copies": COPIES, "learning": learning,
        "schedule": SKIP + options.updates, "skip": SKIP, "updates": options.updates,
    }  # fmt: skip
    return Side(name, sys.executable, "run_ours.py", setting)


def print_rates(turns: dict[str, list[Turn]]) -> None:
    rates = ("learning_rate", "updates_rate")
    print("\n| | learner alone: updates/s | range | all in: updates/s | range | team steps/s | "
          "core, % |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name, done in turns.items():
        cells = " | ".join(f"{middle(done, r):,.1f} | {spread(done, r)}" for r in rates)
        print(f"| {name} | {cells} | {middle(done, 'steps_rate'):,.0f} | "
              f"{middle(done, 'share'):.0f} |")  # fmt: skip
    for name in OURS if THEIRS in turns else ():
        alone, whole, processor = (
            ratio(turns[name], turns[THEIRS], rate) for rate in (*rates, "processor_rate")
        )
        print(f"\n{name}: faster by {alone:.1f} (learner alone), {whole:.1f} (all in), "
              f"{processor:.1f} (all in, by processor time); the goal is {GOAL}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
