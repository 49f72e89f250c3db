"""One agent that acts alone, with NumPy only: what `export` writes and a game server loads.

    agent = load_agent("agents/agent-0.safetensors")
    memory = agent.begin()
    action, memory = agent.act(observation, memory)

The arithmetic is that of `model.Teams.step`, written out for one agent. Nothing here imports
torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError

KEY = "tenfold.vdn.agent"
MOST = 10.0
"""Largest observation after scaling, as in `learner.MOST`."""
Floats = NDArray[np.float32]


class Memory(NamedTuple):
    """Hidden and cell values of the LSTM, [h] each."""

    hidden: Floats
    cell: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent:
    """One agent of a trained team whose agents need no messages."""

    name: str
    role: Floats
    """What is written beside the observation at the first layer, [d]; zeros without roles."""
    actions: int
    """How many the agent has."""
    shape: tuple[int, ...]
    """Of an observation of this agent's own."""
    shift: Floats
    """Taken from an observation, [n]."""
    factor: Floats
    """And what it is multiplied by then, [n]: 1/255 for bytes."""
    arrays: dict[str, Floats]

    def begin(self) -> Memory:
        """Return the memory at the beginning of an episode."""
        zeros = np.zeros(self.arrays["lstm.hidden"].shape[0], np.float32)
        return Memory(zeros, zeros)

    def values(self, observation: NDArray[Any], memory: Memory) -> tuple[Floats, Memory]:
        """Return the value of each action [A], and the memory after this observation.

        Raises:
            TenfoldError: if the observation has another number of entries, or some are no numbers.
        """
        arrays = self.arrays
        given = np.asarray(observation, np.float32).reshape(-1)
        if len(given) != math.prod(self.shape):
            raise TenfoldError(
                f"an observation of {len(given)} numbers, but {self.name} takes "
                f"{math.prod(self.shape)}; give what this agent saw in training, and no other's"
            )
        if not np.isfinite(given).all():
            raise TenfoldError(
                f"an observation of {self.name} with {given[~np.isfinite(given)][0]} in it; mend "
                "what makes observations"
            )
        x = np.zeros(len(self.shift), np.float32)
        x[: len(given)] = given
        x = ((x - self.shift) * self.factor).clip(-MOST, MOST)
        x = np.concatenate([x, self.role])
        first = np.maximum(x @ arrays["first.weight"] + arrays["first.bias"], 0)
        gates = first @ arrays["lstm.inputs"] + memory.hidden @ arrays["lstm.hidden"]
        gates = gates + arrays["lstm.bias"]
        entering, kept, out = (1 / (1 + np.exp(-part)) for part in np.split(gates[:], 4)[:3])
        cell = kept * memory.cell + entering * np.tanh(np.split(gates, 4)[3])
        hidden = out * np.tanh(cell)
        read = np.maximum(hidden, 0)
        values = read @ arrays["advantage.weight"] + arrays["advantage.bias"]
        if "value.weight" in arrays:
            values = values - values.mean()
            values = values + read @ arrays["value.weight"] + arrays["value.bias"]
        after = Memory(hidden.astype(np.float32), cell.astype(np.float32))
        return values[: self.actions].astype(np.float32), after

    def act(
        self, observation: NDArray[Any], memory: Memory, legal: NDArray[np.bool_] | None = None
    ) -> tuple[int, Memory]:
        """Return the best legal action and the memory after this observation."""
        values, after = self.values(observation, memory)
        if legal is not None:
            values = np.where(legal[: self.actions], values, -np.inf)
        return int(values.argmax()), after


def save_agent(agent: Agent, path: Path) -> None:
    """Write an agent as one safetensors file."""
    from safetensors.numpy import save

    from tenfold.engine.files import write_bytes

    told = {
        "name": agent.name,
        "actions": agent.actions,
        "shape": list(agent.shape),
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in agent.arrays.items()}
    own = {"role": agent.role, "shift": agent.shift, "factor": agent.factor}
    write_bytes(path, save(arrays | own, metadata={KEY: json.dumps(told)}))


def load_agent(path: str | Path) -> Agent:
    """Read an agent from its file.

    Raises:
        TenfoldError: if it is none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as held:
            header = (held.metadata() or {}).get(KEY)
            arrays = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TenfoldError(f"{path} cannot be read as an agent ({error}); export one") from None
    if header is None:
        raise TenfoldError(f"{path} is no agent of this room; export one")
    told = json.loads(header)
    role, shift, factor = (arrays.pop(name) for name in ("role", "shift", "factor"))
    return Agent(
        name=told["name"],
        role=role,
        shift=shift,
        factor=factor,
        actions=told["actions"],
        shape=tuple(told["shape"]),
        arrays=arrays,
    )
