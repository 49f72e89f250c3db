"""How teams act: one step of all networks for all copies of all teams.

K teams, C copies of each, B = K C, d agents, L lanes, n inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, unflatten

from tenfold.engine.kernel import find_obstacle
from tenfold.parts.nn.recurrent import LstmState
from tenfold.parts.rl.batch import BatchSpec
from tenfold.parts.rl.draws import Draws
from tenfold.parts.rl.explore import epsilon_greedy
from tenfold.parts.rl.rollout import Choice, Memory, Seen
from tenfold.rooms.vdn.acting_loops import Rows, Scratch, act
from tenfold.rooms.vdn.learner import MOST, Learner
from tenfold.rooms.vdn.learning import weights_of
from tenfold.rooms.vdn.loops import turn_bytes
from tenfold.rooms.vdn.model import Ready, split_joint
from tenfold.rooms.vdn.slot_loops import Weights

BYTE = np.float32(1 / 255)
"""Bytes are scaled to [0, 1]."""
MOST_SEEN = np.float32(MOST)


def inputs_of(spec: BatchSpec) -> int:
    """Return n, the numbers in one observation."""
    return math.prod(spec.shape)


class Actor:
    """Epsilon-greedy actions of all teams; a policy for `parts.rl.rollout.collect`.

    Each team draws from streams of its own, so that it does the same in any company.
    """

    def __init__(
        self, learner: Learner, spec: BatchSpec, *, seeds: Sequence[int], stream: str = "explore"
    ) -> None:
        """Prepare to act.

        Args:
            learner: whose trained weights are used.
            spec: of the environments, B copies.
            seeds: of each team, [K].
            stream: name of the random streams.
        """
        self.learner, self.spec = learner, spec
        self.copies = spec.copies // learner.teams.count
        self.epsilon = 1.0
        structure = learner.teams.structure
        self._choosers = structure.lanes * structure.heads
        self._draws = Draws(seeds, "vdn", stream, shape=(self.copies, self._choosers, 2))
        weights = learner.weights
        fits = weights.device.type == "cpu" and weights.dtype == torch.float32
        self._by_rows = fits and not find_obstacle()
        self._scratch = Scratch.of(
            self.copies if self._by_rows else 0,
            lanes=structure.lanes,
            inputs=structure.inputs,
            units=structure.units,
            wide=structure.wide,
            read=structure.read,
            heads=structure.heads,
            outputs=structure.outputs,
        )
        self._all = np.ones((1, self._choosers, structure.outputs), np.bool_)
        self._of_bytes: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        if spec.dtype == "uint8":
            size = (learner.teams.count, structure.inputs)
            self._of_bytes = np.zeros(size, np.float32), np.full(size, BYTE)
        self._ready: Ready | None = None
        self._weights: Weights | None = None

    def memory(self) -> Memory:
        """Return the memory at the beginning of an episode, [B, lanes, h] each."""
        structure = self.learner.teams.structure
        size = (self.spec.copies, structure.lanes, structure.units)
        if self._by_rows:
            return {name: np.zeros(size, np.float32) for name in ("hidden", "cell")}
        device = self.learner.weights.device
        return {name: torch.zeros(size, device=device) for name in ("hidden", "cell")}

    def __call__(self, seen: Seen, memory: Memory, step: int) -> Choice:
        """Choose an action for every agent of every copy."""
        if self._by_rows:
            return self._act_by_rows(seen, memory, step)
        structure = self.learner.teams.structure
        values, after = self.values(seen, memory)
        legal = self.legal(seen.legal)
        # In float64: a number just below 1 must not become 1.
        draws = torch.from_numpy(self._draws.at(step)).to(values.device)
        share = values.new_full((), self.epsilon)
        actions = epsilon_greedy(values, share, draws, legal=legal)
        if structure.joint:
            actions = split_joint(
                actions.squeeze(2), agents=structure.agents, actions=structure.actions
            )
        whole = actions.reshape(self.spec.copies, structure.agents).cpu().numpy()
        return Choice(actions=whole, memory=after)

    def _act_by_rows(self, seen: Seen, memory: Memory, step: int) -> Choice:
        """Choose as `__call__` does, by one compiled loop."""
        structure = self.learner.teams.structure
        copies, agents, choosers = self.spec.copies, structure.agents, self._choosers
        hidden, cell = _as_rows(memory["hidden"]), _as_rows(memory["cell"])
        shift, factor = self._scales()
        rows = Rows(
            seen=np.ascontiguousarray(seen.observation).reshape(copies, agents, -1),
            shift=shift,
            factor=factor,
            hidden=hidden,
            cell=cell,
            new_hidden=np.empty_like(hidden),
            new_cell=np.empty_like(cell),
            legal=self._legal_rows(seen.legal),
            draws=self._draws.at(step).reshape(copies, choosers, 2),
            actions=np.empty((copies, agents), np.int64),
        )
        act(self._laid_out(), rows, self._scratch, structure.actions, self.epsilon, MOST_SEEN)
        return Choice(
            actions=rows.actions, memory={"hidden": rows.new_hidden, "cell": rows.new_cell}
        )

    def _legal_rows(self, legal: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Return what `legal` does as the compiled loop reads it."""
        if self.learner.teams.structure.joint:
            return self._all
        own = None if self.learner.own is None else self.learner.own.numpy()
        if legal is None:
            return self._all if own is None else own[None]
        return np.ascontiguousarray(legal if own is None else legal & own)

    def _laid_out(self) -> Weights:
        """Return the trained weights as loops read them, anew when they lie elsewhere."""
        ready = self.learner.ready()
        if self._weights is None or ready is not self._ready:
            self._ready, self._weights = ready, weights_of(ready)
        return self._weights

    def _scales(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what is taken from observations, and what they are multiplied by, [K, n]."""
        if self._of_bytes is None:
            return self.learner.shift.numpy(), self.learner.factor.numpy()
        return self._of_bytes

    @torch.no_grad()
    def values(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        """Return action values [K, C, d, A], or [K, C, 1, A^d], and the memory after."""
        teams = self.learner.teams
        whole = np.ascontiguousarray(seen.observation)
        x = as_inputs(whole.reshape(teams.count, self.copies, 1, *whole.shape[1:]), self.learner)
        state = LstmState(*(self._to_lanes(memory[name]) for name in ("hidden", "cell")))
        values, after = teams.step(self.learner.ready(), x.squeeze(2), state)
        return values, {
            "hidden": self._to_copies(after.hidden), "cell": self._to_copies(after.cell)
        }  # fmt: skip

    def legal(self, legal: NDArray[np.bool_] | None) -> Tensor | None:
        """Return the actions that may be chosen, [K, C, d, A], or what broadcasts to it."""
        if self.learner.teams.structure.joint:
            return None
        if legal is None:
            return self.learner.own
        told = torch.from_numpy(legal).to(self.learner.weights.device)
        told = unflatten(told, 0, (self.learner.teams.count, self.copies))
        return told if self.learner.own is None else told & self.learner.own

    def _to_lanes(self, value: Tensor | NDArray[np.float32]) -> Tensor:
        """Return memory [B, lanes, h] as a state [L, C, h]."""
        tensor = torch.as_tensor(value)
        return unflatten(tensor, 0, (-1, self.copies)).transpose(1, 2).flatten(0, 1).contiguous()

    def _to_copies(self, value: Tensor) -> Tensor:
        lanes = self.learner.teams.structure.lanes
        return unflatten(value, 0, (-1, lanes)).transpose(1, 2).flatten(0, 1).contiguous()


def _as_rows(value: Tensor | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return memory as the compiled loop reads it."""
    return np.ascontiguousarray(value.numpy() if isinstance(value, Tensor) else value)


def as_inputs(seen: NDArray[Any], learner: Learner) -> Tensor:
    """Return observations as the first layer takes them: bytes in [0, 1], others scaled.

    Args:
        seen: [K, R, T, d, ...], C-contiguous.
        learner: whose scales and device.

    Returns:
        [K, d, T, R, n], contiguous.
    """
    count, rows, steps, agents = seen.shape[:4]
    flat = seen.reshape(count, rows, steps, agents, -1)
    device = learner.weights.device
    if flat.dtype == np.uint8 and device.type == "cpu" and not find_obstacle():
        out = torch.empty(count, agents, steps, rows, flat.shape[-1])
        turn_bytes(flat, out.numpy(), BYTE)
        return out
    x = torch.from_numpy(flat).permute(0, 3, 2, 1, 4)
    if x.dtype == torch.uint8:
        return x.contiguous().to(device).to(torch.float32).mul_(float(BYTE))
    return learner.scaled(x.to(device, torch.float32)).contiguous()
