"""EPyMARL's side of beside_epymarl.py: its own training loop, timed, in its own environment.

    python bench/vdn/run_epymarl.py SETTING     called by that script, SETTING is JSON

What is told: folder of the checkout, task, episode, use_rnn, units, batch, steps, skip and seed.
Uses EPyMARL, what it needs and turns.py only. Nothing of it is changed: its function `run` gets its
own presets (default, gymma, vdn) with tests, logs and files put off, and the learner's `train` is
wrapped so that each call leaves a note. Sacred is left out; its record stands empty.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import yaml
from turns import Note, summary

NEVER = 10**12
"""Steps between two tests or logs."""


def main() -> None:
    """Train and print what the clock said."""
    setting = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    source = Path(setting["folder"]).resolve() / "src"
    sys.path.insert(0, str(source))
    # It imports smaclite whatever is played; the package is on no index.
    if importlib.util.find_spec("smaclite") is None:
        sys.modules["smaclite"] = ModuleType("smaclite")
    learner = importlib.import_module("learners.q_learner").QLearner
    notes: list[Note] = []
    learner.train = noted(learner.train, notes)
    config = read_config(source, setting)
    np.random.seed(config["seed"])  # noqa: NPY002
    torch.manual_seed(config["seed"])
    record = SimpleNamespace(info={}, log_scalar=lambda *_: None)
    with contextlib.redirect_stdout(sys.stderr):
        importlib.import_module("run").run(record, config, logging.getLogger("epymarl"))
    print(json.dumps(summary(notes, skip=setting["skip"])))


def read_config(source: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Return its presets with what is told put over them."""
    config: dict[str, Any] = {}
    for name in ("default", "envs/gymma", "algs/vdn"):
        config |= yaml.safe_load((source / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    config["env_args"] |= {
        "key": setting["task"], "time_limit": setting["episode"], "seed": setting["seed"]
    }  # fmt: skip
    # The first batch is there after so many episodes, and `skip` updates are not counted.
    waiting = (setting["batch"] + setting["skip"]) * setting["episode"]
    return config | {
        "seed": setting["seed"], "t_max": waiting + setting["steps"], "use_cuda": False,
        "use_rnn": setting["use_rnn"], "hidden_dim": setting["units"],
        "batch_size": setting["batch"], "test_nepisode": 1, "test_interval": NEVER,
        "log_interval": NEVER, "runner_log_interval": NEVER, "learner_log_interval": NEVER,
    }  # fmt: skip


def noted(train: Any, notes: list[Note]) -> Any:
    """Return `train` such that each call notes its begin, its end and the steps played so far."""

    def wrapped(learner: Any, batch: Any, steps: int, episode: int) -> None:
        begun = time.perf_counter()
        train(learner, batch, steps, episode)
        notes.append(Note(begun, time.perf_counter(), time.process_time(), int(steps)))

    return wrapped


if __name__ == "__main__":
    main()
