"""BenchMARL's side of beside_benchmarl.py: its own experiment, timed, in its own environment.

    python bench/vdn/run_benchmarl.py SETTING   called by that script, SETTING is JSON

What is told: agents, episode, units, copies, window, batch, learning rate and the like, skip,
updates and seed. Uses BenchMARL, mpe2 and turns.py only. Its own task for simple_spread asks
PettingZoo for an environment that newer versions do not have any more, so the task is made here
from mpe2, which our side plays too.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from benchmarl.algorithms import VdnConfig
from benchmarl.environments import PettingZooClass
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models import LstmConfig
from mpe2 import simple_spread_v3
from tensordict import TensorDictBase
from torchrl.envs import EnvBase
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from turns import Note, summary


class Spread(PettingZooClass):
    """simple_spread of mpe2 as a task of BenchMARL."""

    def get_env_fun(
        self,
        num_envs: int,  # noqa: ARG002
        continuous_actions: bool,
        seed: int | None,
        device: Any,
    ) -> Callable[[], EnvBase]:
        """Return what makes one environment; BenchMARL puts several side by side."""
        config = dict(self.config)

        def make() -> EnvBase:
            env = simple_spread_v3.parallel_env(continuous_actions=continuous_actions, **config)
            return PettingZooWrapper(
                env, return_state=True, categorical_actions=True, seed=seed, device=device
            )

        return make


class Timed(Experiment):
    """An experiment that notes when each update begins and ends."""

    def __init__(self, **arguments: Any) -> None:
        self.notes: list[Note] = []
        super().__init__(**arguments)

    def _optimizer_loop(self, group: str) -> TensorDictBase:
        begun = time.perf_counter()
        told = super()._optimizer_loop(group)
        ended, processor = time.perf_counter(), time.process_time()
        self.notes.append(Note(begun, ended, processor, self.total_frames))
        return told


def main() -> None:
    """Train and print what the clock said."""
    setting = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        experiment = Timed(
            task=Spread(
                "SIMPLE_SPREAD", {"N": setting["agents"], "max_cycles": setting["episode"]}
            ),
            algorithm_config=VdnConfig.get_from_yaml(),
            model_config=new_model(setting),
            seed=setting["seed"],
            config=new_config(setting, folder),
        )
        experiment.run()
    print(json.dumps(summary(experiment.notes, skip=setting["skip"])))


def new_model(setting: dict[str, Any]) -> LstmConfig:
    """Return one LSTM with one linear layer behind it."""
    config = LstmConfig.get_from_yaml()
    config.hidden_size, config.n_layers, config.mlp_num_cells = setting["units"], 1, []
    return config


def new_config(setting: dict[str, Any], folder: str) -> ExperimentConfig:
    """Return its preset with what is told put over it.

    The steps that one environment plays between two updates are one sequence of its replay, and a
    batch is as many whole sequences as hold `off_policy_train_batch_size` steps of the team.
    """
    config = ExperimentConfig.get_from_yaml()
    told = {
        "share_policy_params": True, "prefer_continuous_actions": False, "gamma": 0.99,
        "lr": setting["rate"], "clip_grad_val": setting["clip"], "soft_target_update": False,
        "hard_target_update_frequency": setting["copy_every"], "max_n_frames": None,
        "max_n_iters": setting["skip"] + setting["updates"],
        "off_policy_n_envs_per_worker": setting["copies"],
        "off_policy_collected_frames_per_batch": setting["copies"] * setting["window"],
        "off_policy_n_optimizer_steps": 1,
        "off_policy_train_batch_size": setting["batch"] * setting["window"],
        "off_policy_memory_size": setting["capacity"] * setting["window"],
        "evaluation": False, "render": False, "loggers": [], "create_json": False,
        "checkpoint_interval": 0, "checkpoint_at_end": False, "save_folder": folder,
    }  # fmt: skip
    for name, value in told.items():
        setattr(config, name, value)
    return config


if __name__ == "__main__":
    main()
