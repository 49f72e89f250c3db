"""A stack of teams that play and learn: one step is a window of play and the updates after it.

K teams, C copies of each, B = K C, d agents, T steps of a window, R windows of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.nn.recurrent import LstmState
from tenfold.parts.rl import rollout
from tenfold.parts.rl.batch import EnvBatch
from tenfold.parts.rl.running_norm import RunningNorm
from tenfold.parts.rl.windows import WindowBatch, Windows
from tenfold.rooms.vdn.acting import Actor, as_inputs, inputs_of
from tenfold.rooms.vdn.config import Arch, Learning
from tenfold.rooms.vdn.learner import Block, Learner
from tenfold.rooms.vdn.method import Paid
from tenfold.rooms.vdn.model import Teams, structure_of

STILL = 1e-12
"""Variance below which a number never changed and is shifted only."""


class Trainer:
    """Teams, their environments and their replay; Checkpointable."""

    def __init__(
        self,
        batch: EnvBatch,
        archs: Sequence[Arch],
        cfg: Learning,
        *,
        seeds: Sequence[int],
        updates: int,
        updates_per_window: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Begin all episodes.

        Args:
            batch: environments, C copies for each team, those of team 0 first.
            archs: of each team, [K], all of one structure.
            cfg: how they learn.
            seeds: of each team, [K].
            updates: that each team will get, for the schedule of epsilon.
            updates_per_window: updates after each window of play.
            device: of networks.
        """
        spec = batch.spec
        structure = structure_of(
            archs[0], agents=len(spec.agents), inputs=inputs_of(spec), actions=max(spec.actions),
            units=cfg.units, dueling=cfg.dueling,
        )  # fmt: skip
        self.batch, self.cfg, self.seeds = batch, cfg, tuple(seeds)
        self.updates, self.updates_per_window = updates, updates_per_window
        teams = Teams.of(structure, list(archs))
        self.learner = Learner(teams, cfg, seeds=list(seeds), actions=spec.actions, device=device)
        self.actor = Actor(self.learner, spec, seeds=seeds)
        self.place = rollout.begin(batch, memory=self.actor.memory())
        self.replay = Windows(
            spec,
            seeds=seeds,
            capacity=cfg.capacity,
            steps=cfg.window,
            memory=self.place.memory,
            pay="sum",
            legal=self.place.seen.legal is not None,
        )
        scaled = cfg.normalise and spec.dtype != "uint8"
        self.norm = RunningNorm(lanes=teams.count, shape=(structure.inputs,)) if scaled else None
        self.windows = 0
        self.sums = np.zeros((teams.count, len(spec.agents), 1 + len(spec.events)))
        """Of rewards and events since training began, [K, d, 1 + E]."""

    @property
    def team_steps(self) -> int:
        """Steps that each team has taken in all of its copies."""
        return self.windows * self.cfg.window * self.actor.copies

    def step(self) -> Mapping[str, NDArray[Any]]:
        """Play one window in all copies, then learn.

        Returns:
            reward: of each team and agent in this window, a step and copy, [K, d].
            events: how often, a step and copy, [K, d, E].
            loss: mean of the updates, [K]; empty before learning begins.
        """
        self.actor.epsilon = self.epsilon()
        block, self.place = rollout.collect(
            self.batch, self.actor, self.place, steps=self.cfg.window
        )
        self._check(block)
        self.replay.write(block)
        self.windows += 1
        self._look(block)
        told = self._tally(block)
        losses = []
        if int(self.replay.count[0]) >= max(self.cfg.warm_up, self.cfg.batch):
            for _ in range(self.updates_per_window):
                if self.learner.updates >= self.updates:
                    break
                number = self.learner.updates
                loss = self.learner.update(self.sample(number), pace=self.pace())
                losses.append(loss.cpu().numpy())
        return told | {"loss": np.mean(losses, axis=0) if losses else np.zeros(0)}

    def _check(self, block: rollout.Block) -> None:
        """Refuse rewards and observations that are no numbers: they would undo what was learnt.

        Raises:
            TenfoldError: naming the first of them.
        """
        for what, array in (("reward", block.reward), ("observation", block.observation)):
            if array.dtype.kind != "f" or np.isfinite(array.sum()) or np.isfinite(array).all():
                continue
            place = np.argwhere(~np.isfinite(array))[0]
            raise TenfoldError(
                f"the {what} of {self.batch.spec.agents[place[2]]} in {self.batch.spec.name} is "
                f"{array[tuple(place)]} in window {self.windows + 1} of training; mend the "
                "environment, then go on from the last checkpoint"
            )

    def epsilon(self) -> float:
        """Return the share of random actions now: from 1 in a straight line, then constant."""
        fall = self.cfg.epsilon_share * self.updates
        done = min(1.0, self.learner.updates / fall) if fall else 1.0
        return (1 - done) + done * self.cfg.epsilon

    def pace(self) -> float:
        """Return the share of the learning rate now: 1, then down to 0 in a straight line."""
        fade = self.cfg.fade * self.updates
        left = self.updates - self.learner.updates
        return min(1.0, left / fade) if fade else 1.0

    def sample(self, number: int) -> Block:
        """Draw the windows of an update."""
        drawn = self.replay.sample(number, batch=self.cfg.batch)
        return block_of(drawn, self.learner)

    def _look(self, block: rollout.Block) -> None:
        """Take note of what observations are like, if they are to be scaled by it."""
        if self.norm is None:
            return
        count = self.learner.teams.count
        # [T, B, d, n] to [K, T C d, n].
        seen = block.observation[:-1].reshape(self.cfg.window, count, -1, self.norm.mean.shape[-1])
        self.norm.update(np.moveaxis(seen, 0, 1).reshape(count, -1, seen.shape[-1]))
        variance = self.norm.variance
        factor = 1 / np.sqrt(np.where(variance > STILL, variance, 1.0))
        self.learner.shift.copy_(torch.from_numpy(self.norm.mean))
        self.learner.factor.copy_(torch.from_numpy(factor))

    def _tally(self, block: rollout.Block) -> dict[str, NDArray[Any]]:
        count, copies = self.learner.teams.count, self.actor.copies
        shape = (self.cfg.window, count, copies, len(self.batch.spec.agents))
        reward = block.reward.reshape(shape).mean(axis=(0, 2), dtype=np.float64)
        events = np.zeros((*reward.shape, len(self.batch.spec.events)))
        if block.events is not None:
            events = block.events.reshape(*shape, -1).mean(axis=(0, 2))
        self.sums[..., 0] += reward
        self.sums[..., 1:] += events
        return {"reward": reward, "events": events}

    # Checkpoints

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything that later steps depend on."""
        tensors, values = self.learner.state()
        arrays = {f"replay/{k}": v for k, v in self.replay.state().items()}
        arrays |= {f"place/{k}": v for k, v in rollout.save_place(self.place).items()}
        arrays |= {f"batch/{k}": v for k, v in self.batch.state().items()}
        arrays["sums"] = self.sums.copy()
        if self.norm is not None:
            arrays |= {f"norm/{k}": v for k, v in self.norm.state().items()}
        return tensors | {
            f"arrays/{name}": torch.from_numpy(np.asarray(_signed(array), order="C"))
            for name, array in arrays.items()
        }, {"learner": values, "windows": self.windows}

    def load_state(self, tensors: Mapping[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        own = {k: v for k, v in tensors.items() if not k.startswith("arrays/")}
        self.learner.load_state(own, values["learner"])
        arrays = {k.removeprefix("arrays/"): v.numpy() for k, v in tensors.items() if k not in own}

        def part(name: str, like: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            return {k: arrays[f"{name}/{k}"].view(v.dtype) for k, v in like.items()}

        self.replay.restore(part("replay", self.replay.state()))
        self.batch.restore(part("batch", self.batch.state()))
        saved = part("place", rollout.save_place(self.place))
        self.place = rollout.load_place(saved, like=self.place)
        self.sums[:] = arrays["sums"]
        if self.norm is not None:
            self.norm.restore(part("norm", self.norm.state()))
        self.windows = int(values["windows"])


def _signed(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of a type that torch has; unsigned ones wider than bytes are viewed."""
    wide = array.dtype.kind == "u" and array.dtype.itemsize > 1
    return array.view(f"i{array.dtype.itemsize}") if wide else array


def block_of(drawn: WindowBatch, learner: Learner) -> Block:
    """Bring drawn windows into the order in which lanes learn.

    The observation behind a window that an episode's end closes is the episode's final one; a step
    at which a time limit cut an episode before that is left out (`method.Paid`).
    """
    cfg, device = learner.cfg, learner.weights.device
    lanes, rows, steps, agents = drawn.action.shape
    seen = drawn.observation.reshape(lanes, rows, steps + 1, agents, -1)
    finals = drawn.finals
    closing = finals.time == steps - 1
    if closing.any():
        lane, row = finals.lane[closing], finals.row[closing]
        seen[lane, row, steps] = finals.observation[closing].reshape(-1, agents, seen.shape[-1])
        drawn.alive[lane, row, steps] = finals.alive[closing]
        if drawn.legal is not None and finals.legal is not None:
            drawn.legal[lane, row, steps] = finals.legal[closing]
    x = as_inputs(seen, learner)
    ended = drawn.terminated | drawn.truncated
    inside = drawn.truncated.copy()
    inside[:, :, -1] = False
    cut = ended.copy()
    cut[:, :, :-1] |= inside[:, :, 1:]
    keep = None
    if ended.any():
        begins = np.zeros((lanes, rows, steps + 1), np.float32)
        begins[:, :, 1:] = ended
        # The observation after the last step is the final one, which the memory goes with.
        begins[:, :, -1] = 0
        keep = _over_time(1 - begins, device)
    alive = None
    if not drawn.alive.all():
        alive = _over_time(drawn.alive.astype(np.float32), device)
    return Block(
        observation=x,
        action=_over_time(drawn.action, device),
        paid=Paid(
            reward=_over_time(drawn.reward * np.float32(cfg.reward_scale), device),
            terminated=_over_time(drawn.terminated, device),
            cut=_over_time(cut, device),
            valid=_over_time((~inside).astype(np.float32), device),
        ),
        keep=keep,
        legal=None if drawn.legal is None else _over_time(drawn.legal, device),
        alive=alive,
        state=LstmState(*(_lanes(drawn.memory[name], device) for name in ("hidden", "cell"))),
    )


def _over_time(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """Return [K, R, T, ...] as [K, T, R, ...]."""
    return torch.from_numpy(array).to(device).transpose(1, 2).contiguous()


def _lanes(array: NDArray[np.float32], device: torch.device | str) -> Tensor:
    """Return [K, R, lanes, h] as [L, R, h]."""
    return torch.from_numpy(array).to(device).transpose(1, 2).flatten(0, 1).contiguous()
