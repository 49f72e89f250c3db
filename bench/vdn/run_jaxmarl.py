"""The peer's side of beside_jaxmarl.py: JaxMARL's VDN learner on simple_spread, on one core.

    PYTHON bench/vdn/run_jaxmarl.py --peer-dir DIR [--seeds 8] [--updates 300]

PYTHON is one that has jax, jaxmarl and what its learner imports; DIR is a checkout of JaxMARL. Its
learner, baselines/QLearning/vdn_rnn.py, is loaded as it is and given its own preset for MPE, with
no tests during training and no log. As its script does, it is compiled as one program over all
seeds. Printed last is one JSON line.

An item of its buffer is a whole rollout of 26 steps; an update takes 32 of them. The loss is that
of 25 steps, as the last one only gives a value. The buffer gives nothing until each copy has played
32 rollouts, so that 31 iterations of play alone come before the first update, whatever
LEARNING_STARTS says. The program runs twice: the first run ends what a user waits for, the second
one, with its memory at hand, tells the speed.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
import types
from pathlib import Path
from typing import Any

LEARNER = Path("baselines/QLearning/vdn_rnn.py")
PRESET = Path("baselines/QLearning/config/alg/ql_rnn_mpe.yaml")
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def main() -> int:
    options = parse()
    # All three before jax is imported, which reads them once.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"
    learner = load_learner(options.peer_dir)
    config = read_config(options.peer_dir, updates=options.updates)
    print(json.dumps(measure(learner, config, seeds=options.seeds)))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=1, help="teams, all in one program")
    parser.add_argument("--updates", type=int, default=300, help="of each team")
    return parser.parse_args()


def load_learner(folder: Path) -> types.ModuleType:
    """Import the learner from its file; its log of figures on the web is never used."""
    file = folder / LEARNER
    if not file.is_file():
        sys.exit(f"there is no {file}; give a whole checkout of JaxMARL as --peer-dir")
    sys.modules["wandb"] = types.ModuleType("wandb")
    spec = importlib.util.spec_from_file_location("vdn_rnn", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        sys.exit(
            f"{file} cannot be imported ({error}); pip install 'jaxmarl==0.2.0' flashbax "
            f"hydra-core optax safetensors with {sys.executable}"
        )
    return module


def read_config(folder: Path, *, updates: int) -> dict[str, Any]:
    """Return the preset, with as many iterations as give each team its updates."""
    from omegaconf import OmegaConf

    preset = OmegaConf.to_container(OmegaConf.load(folder / PRESET))
    waiting = preset["BUFFER_BATCH_SIZE"] - 1
    steps = preset["NUM_ENVS"] * preset["NUM_STEPS"]
    return preset | {
        "TOTAL_TIMESTEPS": (updates + waiting) * steps,
        "LEARNING_STARTS": 0,
        "TEST_DURING_TRAINING": False,
        "WANDB_MODE": "disabled",
        "HYP_TUNE": False,
    }


def measure(learner: types.ModuleType, config: dict[str, Any], *, seeds: int) -> dict[str, Any]:
    """Compile, run and return times and counts."""
    import jax
    import jaxmarl

    begun = time.perf_counter()
    env, _ = learner.env_from_config(config)
    train = jax.jit(jax.vmap(learner.make_train(config, env)))
    rngs = jax.random.split(jax.random.PRNGKey(0), seeds)
    lowered = train.lower(rngs)
    traced = time.perf_counter()
    program = lowered.compile()
    compiled = time.perf_counter()
    jax.block_until_ready(program(rngs))
    ended = time.monotonic()
    first, cpu = time.perf_counter(), time.process_time()
    told = jax.block_until_ready(program(rngs))
    again, cpu = time.perf_counter() - first, time.process_time() - cpu

    updates = int(told["runner_state"][0].grad_steps.sum())
    iterations = config["NUM_UPDATES"] * seeds
    learnt = config["BUFFER_BATCH_SIZE"] * (config["NUM_STEPS"] - 1) * env.num_agents
    return {
        "who": f"JaxMARL {jaxmarl.__version__}, jax {jax.__version__}",
        "seeds": seeds,
        "trace_seconds": traced - begun,
        "compile_seconds": compiled - traced,
        "first_run_seconds": first - compiled,
        "run_seconds": again,
        "run_cpu_seconds": cpu,
        "ended": ended,
        "updates": updates,
        "env_steps": iterations * config["NUM_ENVS"] * config["NUM_STEPS"],
        "steps_an_item": config["NUM_STEPS"],
        "steps_with_a_loss": config["NUM_STEPS"] - 1,
        "samples": updates * learnt,
        "samples_a_second": updates * learnt / again,
    }


if __name__ == "__main__":
    sys.exit(main())
