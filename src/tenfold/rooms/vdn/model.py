"""The networks of many teams as one stack: first layer, LSTM, head, and the two channels.

Teams of one stack have networks of equal structure; whether their agents share weights, know
their role or add their values may differ (sheet of architectures: README).

K teams, d agents, A actions, T steps, R rows (copies or windows), e and h units, n inputs of one
observation. Lanes are agents, team after team; a central team is one lane.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, unflatten

from tenfold.parts.nn.recurrent import LstmState, LstmWeights, lstm_step, lstm_window
from tenfold.parts.nn.stack import Arrays, Layout, Shape, Slots, affine, dense, lstm
from tenfold.rooms.vdn.config import Arch

MIXING = 32
"""Hidden units of the mixing network of QMIX, as in its paper."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What must be equal for teams of one stack."""

    agents: int
    """d."""
    inputs: int
    """n, of the largest observation."""
    actions: int
    """A, of the agent with most."""
    units: int
    """e and h."""
    dueling: bool = True
    low: bool = False
    high: bool = False
    central: bool = False
    joint: bool = False
    """One value for each joint action."""
    qmix: bool = False

    @property
    def outputs(self) -> int:
        """Action values of one head."""
        return int(self.actions**self.agents) if self.joint else self.actions

    @property
    def lanes(self) -> int:
        """Lanes of one team."""
        return 1 if self.central else self.agents

    @property
    def heads(self) -> int:
        """Heads of one lane."""
        return self.agents if self.central and not self.joint else 1

    @property
    def wide(self) -> int:
        """w, what the LSTM of a lane reads."""
        return self.units * (self.agents if self.low or self.central else 1)

    @property
    def read(self) -> int:
        """r, what the heads of a lane read."""
        return self.units * (self.agents if self.high else 1)

    @cached_property
    def layout(self) -> Layout:
        """The arrays of one slot."""
        first = self.inputs + (0 if self.central else self.agents)
        shapes: list[Shape] = [
            *dense("first", first, self.units),
            *lstm("lstm", self.wide, self.units),
            *dense("advantage", self.read, self.heads * self.outputs),
        ]
        if self.dueling:
            shapes += dense("value", self.read, self.heads)
        return Layout(tuple(shapes))

    @cached_property
    def mixing(self) -> Layout:
        """The arrays of one team's mixing network; empty but for QMIX."""
        if not self.qmix:
            return Layout(())
        seen = self.agents * self.inputs
        return Layout(
            (
                *dense("weights 1", seen, self.agents * MIXING),
                *dense("bias 1", seen, MIXING),
                *dense("weights 2", seen, MIXING),
                *dense("bias 2", seen, MIXING),
                *dense("bias 3", MIXING, 1),
            )
        )


def structure_of(arch: Arch, *, agents: int, inputs: int, actions: int, units: int,
                 dueling: bool) -> Structure:  # fmt: skip
    """Return the structure of an architecture on a task."""
    return Structure(
        agents=agents,
        inputs=inputs,
        actions=actions,
        units=units,
        dueling=dueling,
        low=arch.low,
        high=arch.high,
        central=arch.central,
        joint=arch.mixer == "joint",
        qmix=arch.qmix,
    )


def slots_of(structure: Structure, archs: list[Arch]) -> Slots:
    """Return which slot each lane of each team uses: one for all agents if they share."""
    lanes: list[int] = []
    groups: list[int] = []
    for team, arch in enumerate(archs):
        own = 1 if arch.shared else structure.lanes
        start = len(groups)
        lanes += [start + (0 if own == 1 else lane) for lane in range(structure.lanes)]
        groups += [team] * own
    return Slots(torch.tensor(lanes), torch.tensor(groups))


def own_first(x: Tensor) -> Tensor:
    """Give each agent what all have, its own first, then the others in turn.

    With two agents, permuting them permutes the result: shared weights stay agent invariant.
    More agents keep that under rotations.

    Args:
        x: [K, d, M, w].

    Returns:
        [K, d, M, d w].
    """
    agents = x.shape[1]
    return torch.cat([x.roll(-shift, dims=1) for shift in range(agents)], dim=-1)


class Ready(NamedTuple):
    """Weights of each lane as the passes take them; see `Teams.ready`."""

    first: Tensor
    """First layer without the part for roles, [L, n, e]."""
    first_bias: Tensor
    """[L, e], of a lane's role too."""
    lstm: LstmWeights
    head: Tensor
    """[L, r, values of all heads]."""
    head_bias: Tensor
    """[L, values of all heads]."""


@dataclass(frozen=True, kw_only=True)
class Teams:
    """Forward passes of K teams; weights are given at each call, so that nothing is kept here."""

    structure: Structure
    archs: tuple[Arch, ...]
    """Of each team."""
    slots: Slots
    roles: Tensor
    """What is written beside observations, [K, d, d]: one-hot where a team knows roles, else 0."""

    @staticmethod
    def of(structure: Structure, archs: list[Arch]) -> Teams:
        """Return teams of given architectures, all of one structure."""
        one_hot = torch.eye(structure.agents)
        roles = torch.stack([one_hot * float(arch.role) for arch in archs])
        return Teams(
            structure=structure, archs=tuple(archs), slots=slots_of(structure, archs), roles=roles
        )

    @property
    def count(self) -> int:
        """K."""
        return len(self.archs)

    def draw(self, seeds: list[int]) -> Tensor:
        """Return first weights of all slots, [S P]; agents of a team begin differently.

        The first agent of a team begins as the shared weights of that seed do.
        """
        own, seen = [], [0] * self.count
        for group in self.slots.groups.tolist():
            own.append(seeds[group] + 1_000_003 * seen[group])
            seen[group] += 1
        return self.structure.layout.draw(own)

    def empty_state(self, rows: int, *, device: torch.device | str = "cpu") -> LstmState:
        """Return the state at the beginning of an episode."""
        lanes = self.count * self.structure.lanes
        zeros = torch.zeros(lanes, rows, self.structure.units, device=device)
        return LstmState(zeros, zeros.clone())

    def ready(self, weights: Arrays) -> Ready:
        """Return weights of each lane as the passes take them; gradients flow through.

        The role's part of the first layer is the same in all rows, so it is part of the bias. A
        dueling head's q = v + a - mean a is linear in what it reads: one layer does for both.
        """
        structure = self.structure
        first, bias = weights["first.weight"], weights["first.bias"]
        if not structure.central:
            role = torch.bmm(self.roles.flatten(0, 1).unsqueeze(1), first[:, structure.inputs :])
            first, bias = first[:, : structure.inputs], bias + role.squeeze(1)
        head, head_bias = weights["advantage.weight"], weights["advantage.bias"]
        if structure.dueling:
            size = (structure.heads, structure.outputs)
            parts = []
            for whole, value in (
                (head, weights["value.weight"]), (head_bias, weights["value.bias"])
            ):  # fmt: skip
                apart = unflatten(whole, -1, size)
                level = value - apart.mean(dim=-1)
                parts.append((apart + level.unsqueeze(-1)).flatten(-2))
            head, head_bias = parts
        return Ready(
            first=first,
            first_bias=bias,
            lstm=LstmWeights(*(weights[f"lstm.{name}"] for name in LstmWeights._fields)),
            head=head,
            head_bias=head_bias,
        )

    def window(
        self,
        ready: Ready,
        x: Tensor,
        state: LstmState,
        keep: Tensor | None = None,
        *,
        steps: int,
    ) -> Tensor:
        """Return action values of all steps.

        Args:
            ready: weights of each lane.
            x: observations, [K, d, T, R, n], roles not among them.
            state: before the first step.
            keep: 0 where a step begins an episode, [L, T, R]; None: nowhere.
            steps: how many of the T to go.

        Returns:
            [K, T, R, d, A]; of a combinatorial team [K, T, R, 1, A^d].
        """
        rows = x.shape[3]
        seen = self._seen(ready, x.flatten(2, 3), steps * rows)
        keep = None if keep is None else keep[:, :steps]
        read = lstm_window(
            unflatten(seen, 1, (steps, rows)), ready.lstm, state, keep, bend=True
        )  # fmt: skip
        return unflatten(self._values(ready, read.flatten(1, 2)), 1, (steps, rows))

    def step(self, ready: Ready, x: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """Return action values of one step, [K, R, d, A], and the state after it.

        Args:
            ready: weights of each lane.
            x: observations, [K, d, R, n].
            state: before the step.
        """
        after = lstm_step(self._seen(ready, x, x.shape[2]), ready.lstm, state)
        return self._values(ready, after.hidden.relu()), after

    def _seen(self, ready: Ready, x: Tensor, many: int) -> Tensor:
        """Return what the LSTM sees in the first M rows: [K, d, .., n] to [L, M, w]."""
        count, agents = x.shape[:2]
        if self.structure.central:
            flat = affine(x[:, :, :many].flatten(1, 2), ready.first, ready.first_bias, bend=True)
            return unflatten(flat, 1, (agents, many)).transpose(1, 2).flatten(2)
        rows = x.flatten(0, 1)[:, :many]
        seen = affine(rows, ready.first, ready.first_bias, bend=True)
        if self.structure.low:
            seen = own_first(unflatten(seen, 0, (count, agents))).flatten(0, 1)
        return seen

    def _values(self, ready: Ready, read: Tensor) -> Tensor:
        """Return action values from LSTM outputs after ReLU: [L, M, h] to [K, M, d or 1, A]."""
        structure, count = self.structure, self.count
        if structure.high:
            lanes = unflatten(read, 0, (count, structure.agents))
            read = own_first(lanes).flatten(0, 1)
        values = affine(read, ready.head, ready.head_bias)
        if structure.central:
            return unflatten(values, 2, (structure.heads, structure.outputs))
        return unflatten(values, 0, (count, structure.agents)).transpose(1, 2)

    def to(self, device: torch.device | str) -> Teams:
        """Return the same on another device."""
        return Teams(
            structure=self.structure, archs=self.archs, slots=self.slots.to(device),
            roles=self.roles.to(device),
        )  # fmt: skip


def mix(structure: Structure, weights: Arrays, values: Tensor, x: Tensor) -> Tensor:
    """Return the team's value by a monotonic network of all observations (Rashid et al. 2018).

    Args:
        structure: of the teams.
        weights: of each team's mixing network.
        values: of each agent's action, [K, M, d].
        x: observations of all agents, [K, M, d n].

    Returns:
        [K, M]; it never falls as one agent's value rises.
    """

    def layer(name: str, seen: Tensor) -> Tensor:
        return affine(seen, weights[f"{name}.weight"], weights[f"{name}.bias"])

    first = unflatten(layer("weights 1", x).abs(), 2, (structure.agents, MIXING))
    hidden = torch.nn.functional.elu(
        torch.einsum("kmd,kmdu->kmu", values, first) + layer("bias 1", x)
    )
    second = layer("weights 2", x).abs()
    last = layer("bias 3", layer("bias 2", x).relu()).squeeze(-1)
    return (hidden * second).sum(dim=-1) + last


def split_joint(index: Tensor, *, agents: int, actions: int) -> Tensor:
    """Return each agent's action of a joint one, [...] to [..., d]; agent 0 counts fastest."""
    places = torch.tensor([actions**agent for agent in range(agents)], device=index.device)
    return index.unsqueeze(-1).div(places, rounding_mode="floor") % actions


def join_actions(actions: Tensor, *, count: int) -> Tensor:
    """Return the number of joint actions, [..., d] to [...]; the inverse of `split_joint`."""
    agents = actions.shape[-1]
    places = torch.tensor([count**agent for agent in range(agents)], device=actions.device)
    return (actions * places).sum(dim=-1)


def count_weights(structure: Structure, arch: Arch) -> int:
    """Return the weights of one team."""
    own = 1 if arch.shared else structure.lanes
    return own * structure.layout.count + structure.mixing.count
