"""Steps and updates a second of one core, all in, beside EPyMARL's VDN.

    python bench/vdn/beside_epymarl.py --peer-dir DIR [--peer-python PYTHON] [--steps 5000]

The task is level-based foraging, 8x8, two players, three foods, episodes of 50 steps. DIR is a
checkout of uoe-agents/epymarl and PYTHON an interpreter with torch, pyyaml, gymnasium and
lbforaging; without DIR only our rows are printed. EPyMARL runs its own loop (run_epymarl.py): a
network of two layers, as its preset for VDN has it, and a GRU. Ours (run_ours.py) is an LSTM:

    one run      the same environment in Python, one team, one copy
    eight seeds  the compiled port of it, eight teams in one stack, one copy each; all added up
    as usual     the same eight with the room's own settings: 16 copies each, 32 units, updates of
                 32 windows of 8 steps, one every 128 steps: six times fewer samples an update

Alike are 64 units, 32 windows of 50 steps a batch (an episode each there), one update after 50
steps (an episode there), a replay of 5,000, Adam at 0.0005, gradients cut at 10, targets copied
every 200 updates, exploration that falls over 50,000 steps, and double Q-learning, which
`--no-double` turns off on our side, as our own default has it. Not alike: ours has an LSTM, a value
beside the advantages, returns over the window and observations that are scaled; theirs scales
rewards, and an episode that ends early is a shorter row.

Every side is a process on the same core with one thread; sides take turns in rounds, backwards in
every second one. Figures are medians over rounds, ratios medians of those within a round; `core`
is the share of the wall time in which a side had the core.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from turns import Side, Turn, find_missing, middle, ratio, spread, stay_on_one_core, take_turns

from tenfold.engine.claim import machine_name

PACKAGES = ("torch", "yaml", "gymnasium", "lbforaging")
ORIGINAL = "lbforaging:Foraging-8x8-2p-3f-v3"
PORT = "lbf/8x8-2p-3f"
EPISODE, UNITS, BATCH, SEEDS = 50, 64, 32, 8
SKIP = 5
"""Updates before the clock begins."""
FALL = 50_000
"""Steps over which exploration falls, as in their preset."""
ONE, EIGHT = "tenfold, one run, original environment", "tenfold, 8 seeds, port, added up"
USUAL = "tenfold, 8 seeds, port, as usual, added up"
GOALS = {ONE: 5, EIGHT: 30, USUAL: 30}
"""How many times faster ours is meant to be."""
PEERS = {"EPyMARL, preset (no memory)": False, "EPyMARL, GRU": True}


def main() -> int:
    """Measure and print."""
    options = parse()
    machine, load = machine_name(), os.getloadavg()[0]
    stay_on_one_core()
    sides = [
        *find_peer(options),
        ours(ONE, ORIGINAL, teams=1, options=options),
        ours(EIGHT, PORT, teams=SEEDS, options=options),
        usual(),
    ]
    print(f"{machine}; load at the start {load:.1f}; {options.steps:,} steps a turn, "
          f"{options.rounds} rounds, double Q-learning on our side: {options.double}")  # fmt: skip
    turns = take_turns(sides, rounds=options.rounds)
    print_rates(turns)
    print_ratios(turns)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-dir", type=Path, metavar="DIR", help="checkout of EPyMARL")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--steps", type=int, default=5_000, help="of each team in a turn")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--double", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    if options.steps < EPISODE or options.rounds < 1:
        parser.error(f"give --steps {EPISODE} or more and --rounds 1 or more")
    return options


def find_peer(options: argparse.Namespace) -> list[Side]:
    """Return EPyMARL's sides, or say why it has none."""
    if options.peer_dir is None:
        print("EPyMARL is left out: no --peer-dir")
        return []
    if not (options.peer_dir / "src" / "run.py").is_file():
        print(f"EPyMARL is left out: {options.peer_dir} is no checkout of it (no src/run.py)")
        return []
    missing = find_missing(options.peer_python, PACKAGES)
    if missing:
        print(f"EPyMARL is left out: {options.peer_python} lacks {', '.join(missing)}")
        return []
    common = {
        "folder": str(options.peer_dir), "task": ORIGINAL, "episode": EPISODE, "units": UNITS,
        "batch": BATCH, "steps": options.steps, "skip": SKIP, "seed": 0,
    }  # fmt: skip
    return [
        Side(name, options.peer_python, "run_epymarl.py", common | {"use_rnn": memory})
        for name, memory in PEERS.items()
    ]


def ours(name: str, task: str, *, teams: int, options: argparse.Namespace) -> Side:
    """Return a side of ours."""
    updates, schedule = options.steps // EPISODE, FALL // EPISODE
    planned = max(schedule, SKIP + updates)
    learning = {
        "units": UNITS, "window": EPISODE, "batch": BATCH, "warm_up": BATCH, "capacity": 5_000,
        "rate": 5e-4, "copy_every": 200, "double": options.double,
        "epsilon_share": schedule / planned,
    }  # fmt: skip
    setting = {
        "task": task, "teams": teams, "copies": 1, "learning": learning, "schedule": schedule,
        "skip": SKIP, "updates": updates,
    }  # fmt: skip
    return Side(name, sys.executable, "run_ours.py", setting)


def usual() -> Side:
    """Return our side with the room's own settings."""
    setting = {
        "task": PORT, "teams": SEEDS, "copies": 16, "learning": {}, "schedule": 6_000,
        "skip": SKIP, "updates": 400,
    }  # fmt: skip
    return Side(USUAL, sys.executable, "run_ours.py", setting)


def print_rates(turns: dict[str, list[Turn]]) -> None:
    print("\n| | environment steps/s | range | updates/s | learner alone: updates/s | core, % |")
    print("|---|---|---|---|---|---|")
    for name, done in turns.items():
        print(
            f"| {name} | {middle(done, 'steps_rate'):,.0f} | {spread(done, 'steps_rate')} | "
            f"{middle(done, 'updates_rate'):,.1f} | {middle(done, 'learning_rate'):,.1f} | "
            f"{middle(done, 'share'):.0f} |"
        )


def print_ratios(turns: dict[str, list[Turn]]) -> None:
    peers = [name for name in PEERS if name in turns]
    if not peers:
        return
    print("\n| ours | beside | steps/s: times | updates/s: times | the same by processor time | "
          "learner alone | goal |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name, goal in GOALS.items():
        for peer in peers:
            found = [
                ratio(turns[name], turns[peer], rate)
                for rate in ("steps_rate", "updates_rate", "processor_rate", "learning_rate")
            ]
            print(f"| {name} | {peer} | {' | '.join(f'{x:.1f}' for x in found)} | {goal} |")


if __name__ == "__main__":
    sys.exit(main())
