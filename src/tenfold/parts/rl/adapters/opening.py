"""Environments by a name that says where they come from (rooms triad, vdn).

    gym:CartPole-v1                                     Gymnasium, as gymnasium.make knows it
    gym:ale_py:ALE/Breakout-v5                          the same, from a module that registers it
    lbforaging:Foraging-8x8-2p-3f-v3, rware:ID          the same, from those packages
    mpe2:simple_spread_v3                               a parallel_env of mpe2
    pettingzoo:pettingzoo.butterfly.pistonball_v6:parallel_env    MODULE:FUNCTION
    doors.py:make                                       a function of a file of yours

A function of yours that takes an argument `copies` returns a batch of arrays (see `array_batch`)
and is given the copies' `seeds` if it takes them. Any other returns one environment, Gymnasium's
or PettingZoo's, is called once for each copy, and is given its `seed` if it takes one. The file
is run: name only files that you trust.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError, require, unknown_name
from tenfold.engine.own_code import load_function
from tenfold.parts.rl.adapters.array_batch import ArrayBatch
from tenfold.parts.rl.adapters.copies import Copies, Copy, blaming
from tenfold.parts.rl.adapters.gym_batch import GymCopy
from tenfold.parts.rl.adapters.parallel_batch import ParallelCopy
from tenfold.parts.rl.batch import EnvBatch

EXTRA = "rl"
"""The extra that brings the packages."""
REGISTERED = ("lbforaging", "rware")
"""Packages that register environments with Gymnasium when they are imported."""
SOURCES = ("gym", "pettingzoo", "mpe2", *REGISTERED)
SEEDS = 1 << 31
"""Seeds for functions of users lie below this."""
Options = Mapping[str, Any]
Make = Callable[..., Any]


def open_environment(
    name: str,
    *,
    copies: int,
    seed: int | Sequence[int],
    options: Options | None = None,
    time_limit: int = 0,
) -> EnvBatch:
    """Open an environment by its name.

    Args:
        name: SOURCE:ID or FILE.py:FUNCTION, as at the head of this file.
        copies: in each lane.
        seed: of one lane, or of each of K lanes; there are K times `copies` copies in all, those
            of a lane next to one another, and what happens in them depends on their lane's seed.
        options: passed to what makes the environment.
        time_limit: steps after which an episode is truncated; 0: as the environment has it. A
            batch of arrays keeps to its own.

    Raises:
        TenfoldError: if there is no such environment, a package is missing, or the environment
            cannot be used.
    """
    lanes = [seed] if isinstance(seed, int) else list(seed)
    seeds = [rng.key(lane, "copy", c) for lane in lanes for c in range(copies)]
    make = find_maker(name)
    given = dict(options or {})
    takes = _arguments(make) if _split(name)[0].endswith(".py") else frozenset()
    if "copies" in takes:
        own = {"seeds": [s % SEEDS for s in seeds]} if "seeds" in takes else {}
        with blaming(name, "the function"):
            return as_batch(make(copies=len(seeds), **own, **given), name=name)
    with blaming(name, "the function"):
        made = [make(**({"seed": s % SEEDS} if "seed" in takes else {}), **given) for s in seeds]
    singles = [as_copy(env, name=name) for env in made]
    return Copies(singles, name=name, seeds=seeds, time_limit=time_limit)


def as_batch(thing: Any, *, name: str) -> EnvBatch:
    """Return an object of a user's as a batch: it is one already, or it has arrays.

    Raises:
        TenfoldError: if it is neither.
    """
    if hasattr(thing, "spec") and hasattr(thing, "restore"):
        batch: EnvBatch = thing
        return batch
    return ArrayBatch(thing, name=name)


def as_copy(env: Any, *, name: str) -> Copy:
    """Return one environment of PettingZoo or Gymnasium as a copy of a batch.

    Raises:
        TenfoldError: if it is neither, or cannot be used.
    """
    if hasattr(env, "possible_agents") or hasattr(env, "agent_iter"):
        return ParallelCopy(env, name=name)
    if hasattr(env, "observation_space") and hasattr(env, "action_space"):
        return GymCopy(env, name=name)
    raise TenfoldError(
        f"{name} gives a {type(env).__name__}, which is no environment of Gymnasium or PettingZoo; "
        "a function that makes a batch of arrays has to take an argument copies"
    )


def find_maker(name: str) -> Make:
    """Return the function that makes what a name says, for other arguments than its options.

    Raises:
        TenfoldError: if there is none, or a package is missing.
    """
    source, rest = _split(name)
    if source.endswith(".py"):
        if not rest:
            raise TenfoldError(f"{name} names no function; write FILE.py:FUNCTION")
        return load_function(Path(source), rest, called=name)
    if source not in SOURCES or not rest:
        raise unknown_name("environment", name, [*(f"{s}:NAME" for s in SOURCES), "FILE.py:NAME"])
    purpose = f"the environment {name}"
    if source in REGISTERED:
        require(source, extra=EXTRA, purpose=purpose)
    if source == "mpe2":
        return _of_mpe2(require("mpe2", extra=EXTRA, purpose=purpose), rest)
    if source == "pettingzoo":
        require("pettingzoo", extra=EXTRA, purpose=purpose)
        module, _, function = rest.partition(":")
        return _of_module(module, function or "parallel_env", purpose)
    make = _of_gymnasium(require("gymnasium", extra=EXTRA, purpose=purpose), rest)
    return _without_traces(make) if source == "lbforaging" else make


def _split(name: str) -> tuple[str, str]:
    """Return where an environment comes from and what it is called there."""
    # A path may have colons of its own.
    path, _, function = name.rpartition(":")
    if path.endswith(".py"):
        return path, function
    if name.endswith(".py"):
        return name, ""
    source, _, rest = name.partition(":")
    return source, rest


def _of_gymnasium(gymnasium: ModuleType, identity: str) -> Make:
    def make(**options: Any) -> Any:
        try:
            # Its checker does not know environments of several agents.
            return gymnasium.make(identity, disable_env_checker=True, **options)
        except (gymnasium.error.Error, ModuleNotFoundError) as error:
            raise TenfoldError(
                f"gymnasium.make cannot make {identity!r}: {error}; if another package registers "
                "it, write gym:PACKAGE:ID"
            ) from error

    return make


def _without_traces(make: Make) -> Make:
    """Let an environment of lbforaging begin as its seed says.

    Its version 2.0.0 places no player where one stood at the end of the episode before.
    """

    def make_alone(**options: Any) -> Any:
        env = make(**options)
        reset = env.reset

        def reset_alone(**given: Any) -> Any:
            for player in getattr(env.unwrapped, "players", ()):
                player.position = None
            return reset(**given)

        env.reset = reset_alone
        return env

    return make_alone


def _of_mpe2(mpe2: ModuleType, rest: str) -> Make:
    known = [module.name for module in pkgutil.iter_modules(mpe2.__path__)]
    names = [name for name in known if "_v" in name]
    if rest not in names:
        raise unknown_name("environment of mpe2", rest, names)
    make: Make = importlib.import_module(f"mpe2.{rest}").parallel_env
    return make


def _of_module(name: str, function: str, purpose: str) -> Make:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise TenfoldError(
            f"{purpose} needs the module {error.name!r}, which is not there; versions are part of "
            "names, as in pistonball_v6, and some environments need packages of their own"
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        names = [known for known, value in vars(module).items() if callable(value)]
        raise unknown_name(f"function of {name}", function, names)
    make: Make = found
    return make


def _arguments(function: Make) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
