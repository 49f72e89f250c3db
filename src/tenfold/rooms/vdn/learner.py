"""A stack of teams that learns: weights, frozen copies, optimiser, one update of all.

The update is the paper's (section 3.1): windows of a replay, forward-view returns of the frozen
network, one step of Adam. Teams never mix.

K teams, d agents, A actions, T steps, R windows, L lanes, S slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, unflatten

from tenfold.engine.config import Json
from tenfold.engine.kernel import find_obstacle
from tenfold.parts.nn.recurrent import LstmState
from tenfold.parts.nn.stack import Adam, Arrays
from tenfold.parts.rl.targets import Bootstrap, bootstrap
from tenfold.rooms.vdn import method
from tenfold.rooms.vdn.config import Learning
from tenfold.rooms.vdn.learning import InCache
from tenfold.rooms.vdn.model import Ready, Teams, join_actions, mix

MOST = 10.0
"""Largest observation after scaling."""


class Block(NamedTuple):
    """Windows of all teams."""

    observation: Tensor
    """[K, d, T + 1, R, n], scaled to about 1."""
    action: Tensor
    """[K, T, R, d], whole numbers."""
    paid: method.Paid
    """Rewards and ends, [K, T, R] each."""
    keep: Tensor | None
    """0 where a step begins an episode, [K, T + 1, R]; None: nowhere."""
    legal: Tensor | None
    """[K, T + 1, R, d, A]; None: all actions."""
    alive: Tensor | None
    """1 where an agent takes part, [K, T + 1, R, d]; None: all do."""
    state: LstmState
    """At the first step, [L, R, h]."""


class Learner:
    """Weights of K teams and what moves them; Checkpointable."""

    def __init__(
        self,
        teams: Teams,
        cfg: Learning,
        *,
        seeds: list[int],
        actions: Sequence[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        """Draw first weights.

        Args:
            teams: the networks.
            cfg: how they learn.
            seeds: of each team's first weights, [K].
            actions: how many each agent has, [d]; empty: all have the same number.
            device: where all of it lies.
        """
        self.teams, self.cfg = teams.to(device), cfg
        self.weights = teams.draw(seeds).to(device)
        rates = [cfg.rate] * teams.count
        groups = self.teams.slots.groups
        layout, mixing = teams.structure.layout, teams.structure.mixing
        self.adam = Adam(self.weights, layout, groups, rates=rates, clip=cfg.clip)
        self.frozen = self.weights.clone()
        adds = [arch.mixer == "sum" for arch in teams.archs]
        self.adds = torch.tensor(adds, device=device).reshape(-1, 1, 1, 1)
        self.all_add, self.any_add = all(adds), any(adds)
        self.mixing = mixing.draw(seeds).to(device)
        own = torch.arange(teams.count, device=device)
        self.mixing_adam = Adam(self.mixing, mixing, own, rates=rates, clip=cfg.clip)
        self.frozen_mixing = self.mixing.clone()
        limits = torch.tensor(list(actions) or [teams.structure.actions]).unsqueeze(-1)
        own = torch.arange(teams.structure.actions) < limits
        self.own = None if bool(own.all()) else own.to(device)
        """Actions that an agent has at all, [d, A]; None: all have the same number."""
        self._in_cache: InCache | None = None
        self._room: Ready | None = None
        self._old_room: Ready | None = None
        if InCache.serves(self.weights):
            self._in_cache = InCache(self.teams, cfg, own=self.own)
            self._room, self._old_room = self._in_cache.room(), self._in_cache.room()
        inputs = teams.structure.inputs
        self.shift = torch.zeros(teams.count, inputs, device=device)
        """Taken from observations of each team before the first layer, [K, n]."""
        self.factor = torch.ones(teams.count, inputs, device=device)
        """And what they are multiplied by then, [K, n]."""
        self.updates = 0
        self._lanes: Arrays | None = None
        self._ready: Ready | None = None
        self._old: Ready | None = None

    @property
    def way(self) -> str:
        """How updates are computed here, and why if it is the slower way."""
        if self._in_cache is not None:
            return "compiled loops"
        weights = self.weights
        return f"layer by layer: {find_obstacle() or f'{weights.dtype} on {weights.device}'}"

    def scaled(self, x: Tensor) -> Tensor:
        """Return observations [K, ..., n] as the first layer takes them, within +-`MOST`."""
        size = (self.teams.count, *(1,) * (x.dim() - 2), x.shape[-1])
        moved = (x - self.shift.view(size)).mul_(self.factor.view(size))
        return moved.clamp_(-MOST, MOST)

    def lanes(self) -> Arrays:
        """Return the trained weights of each lane, gathered once between two changes."""
        if self._lanes is None:
            self._lanes = self._gather(self.weights)
        return self._lanes

    def ready(self) -> Ready:
        """Return the trained weights as networks take them, until they change."""
        if self._ready is None:
            self._ready = self._lay_out(self.weights, self._room)
        return self._ready

    def ready_frozen(self) -> Ready:
        """Return the frozen weights as networks take them, until they change."""
        if self._old is None:
            self._old = self._lay_out(self.frozen, self._old_room)
        return self._old

    def _lay_out(self, flat: Tensor, room: Ready | None) -> Ready:
        if self._in_cache is None or room is None:
            return self.teams.ready(self._gather(flat))
        self._in_cache.lay_out(self.teams.structure.layout.views(flat), room)
        return room

    def forget(self, *, frozen: bool = True) -> None:
        """Drop what follows from the weights; whoever changes them calls this."""
        self._lanes = self._ready = None
        if frozen:
            self._old = None

    def _gather(self, flat: Tensor) -> Arrays:
        return self.teams.slots.gather(self.teams.structure.layout.views(flat))

    def update(self, block: Block, *, pace: float = 1.0) -> Tensor:
        """Take one step of all teams, learning rates times `pace`; return each one's loss, [K]."""
        if self._in_cache is not None:
            losses = self._in_cache.learn(
                self.ready(), self.ready_frozen(), block, self.adam.gradients, mixing=self._mixers()
            )
            self.adam.step(pace=pace)
            if self.teams.structure.qmix:
                self.mixing_adam.step(pace=pace)
        else:
            losses = self._update_by_layers(block, pace)
        self.updates += 1
        copied = self.updates % self.cfg.copy_every == 0
        if copied:
            self.frozen.copy_(self.weights)
            self.frozen_mixing.copy_(self.mixing)
        self.forget(frozen=copied)
        return losses.detach()

    def _mixers(self) -> tuple[Arrays, Arrays, Arrays] | None:
        """Return mixing networks, their older copies and room for gradients; None but for QMIX."""
        structure = self.teams.structure
        if not structure.qmix:
            return None
        own, older = (structure.mixing.views(x) for x in (self.mixing, self.frozen_mixing))
        return own, older, self.mixing_adam.gradients

    def _update_by_layers(self, block: Block, pace: float) -> Tensor:
        """Take the step layer by layer, each one operation for the whole stack."""
        structure = self.teams.structure
        # Gradients of lanes are added up afterwards: the weights were gathered to act already.
        weights = _leaves(self.lanes())
        mixing = _leaves(structure.mixing.views(self.mixing))
        keep, steps = self._per_lane(block.keep), block.action.shape[1]
        # One step more says which actions the trained network would choose after the window.
        values = self.teams.window(
            self.teams.ready(weights),
            block.observation,
            block.state,
            keep,
            steps=steps + self.cfg.double,
        )
        with torch.no_grad():
            returns = self._returns(block, keep, values.detach()[:, 1:])
        trained = self._trained(block, values[:, :steps], mixing)
        losses = method.team_loss(trained, returns, block.paid.valid)
        # Teams are independent, so that the gradient of the sum is each one's own.
        found = torch.autograd.grad(losses.sum(), [*weights.values(), *mixing.values()])
        own = dict(zip(weights, found, strict=False))
        self.adam.step(self.teams.slots.add_up(own), pace=pace)
        if structure.qmix:
            mixed = dict(zip(mixing, found[len(weights) :], strict=True))
            self.mixing_adam.step(mixed, pace=pace)
        return losses

    def _per_lane(self, keep: Tensor | None) -> Tensor | None:
        """Return `keep` of each lane, [L, T + 1, R]."""
        if keep is None:
            return None
        return keep.repeat_interleave(self.teams.structure.lanes, dim=0)

    def _trained(self, block: Block, values: Tensor, mixing: Arrays) -> Tensor:
        """Return the values that returns are compared with: [K, T, R], or [K, T, R, d] mixed."""
        structure = self.teams.structure
        if structure.joint:
            joint = join_actions(block.action, count=structure.actions)
            return method.taken(values.squeeze(3), joint)
        own = method.taken(values, block.action)
        if block.alive is not None:
            own = own * block.alive[:, :-1]
        if structure.qmix:
            return self._mixed(mixing, own, block.observation[:, :, :-1])
        return self._added(own)

    def _added(self, own: Tensor) -> Tensor:
        """Return the sum for teams that add: [K, T, R, d], in place 0 with zeros behind it."""
        if self.all_add:
            return own.sum(dim=-1)
        if not self.any_add:
            return own
        total = torch.zeros_like(own)
        total[..., 0] = own.sum(dim=-1)
        return torch.where(self.adds, total, own)

    def _mixed(self, mixing: Arrays, own: Tensor, x: Tensor) -> Tensor:
        steps, rows = own.shape[1:3]
        seen = x.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)
        total = mix(self.teams.structure, mixing, own.flatten(1, 2), seen)
        return unflatten(total, 1, (steps, rows))

    def _returns(self, block: Block, keep: Tensor | None, trained: Tensor) -> Tensor:
        """Return the forward-view returns of the shape that `_trained` has.

        Args:
            block: windows.
            keep: of each lane.
            trained: the trained network's values after each step; used by double Q-learning only.
        """
        structure, cfg = self.teams.structure, self.cfg
        many = block.observation.shape[2]
        values = self.teams.window(
            self.ready_frozen(), block.observation, block.state, keep, steps=many
        )[:, 1:]  # fmt: skip
        select = trained if cfg.double else values
        if structure.joint:
            after = _best(values, select, None).squeeze(3)
        else:
            legal = self.own
            if block.legal is not None:
                legal = block.legal[:, 1:] if legal is None else block.legal[:, 1:] & legal
            own = _best(values, select, legal)
            if block.alive is not None:
                own = own * block.alive[:, 1:]
            frozen_mixing = structure.mixing.views(self.frozen_mixing)
            after = (
                self._mixed(frozen_mixing, own, block.observation[:, :, 1:])
                if structure.qmix
                else self._after(own)
            )
        returns = method.returns_of(block.paid, after, gamma=cfg.gamma, trace=cfg.trace)
        return self._only_first(returns)

    def _after(self, own: Tensor) -> Tensor:
        """Return values after each step, as `_added` but with the team's value everywhere."""
        if self.all_add:
            return own.sum(dim=-1)
        if not self.any_add:
            return own
        return torch.where(self.adds, own.sum(dim=-1, keepdim=True), own)

    def _only_first(self, returns: Tensor) -> Tensor:
        """Put zeros where `_added` has them, so that a team's error counts once."""
        if returns.dim() < 4 or not self.any_add:
            return returns
        first = torch.zeros_like(returns)
        first[..., 0] = returns[..., 0]
        return torch.where(self.adds, first, returns)

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything that later updates depend on."""
        tensors = {
            "weights": self.weights, "frozen": self.frozen, "mixing": self.mixing,
            "frozen mixing": self.frozen_mixing, "shift": self.shift, "factor": self.factor,
        }  # fmt: skip
        values: Json = {"updates": self.updates}
        for name, adam in (("adam", self.adam), ("mixing adam", self.mixing_adam)):
            more, values[name] = adam.state()
            tensors |= {f"{name} {key}": value for key, value in more.items()}
        return {name: value.clone() for name, value in tensors.items()}, values

    def load_state(self, tensors: Mapping[str, Tensor], values: Json) -> None:
        """Take over what `state` returned."""
        for name, own in (
            ("weights", self.weights), ("frozen", self.frozen), ("mixing", self.mixing),
            ("frozen mixing", self.frozen_mixing), ("shift", self.shift), ("factor", self.factor),
        ):  # fmt: skip
            own.copy_(tensors[name])
        for name, adam in (("adam", self.adam), ("mixing adam", self.mixing_adam)):
            some = {
                key.removeprefix(f"{name} "): value
                for key, value in tensors.items()
                if key.startswith(f"{name} ")
            }
            adam.load_state(some, values[name])
        self.updates = int(values["updates"])
        self.forget()


def _best(values: Tensor, select: Tensor, legal: Tensor | None) -> Tensor:
    """Return the frozen network's value of the best action: [..., A] to [...]."""
    if select is values and legal is None:
        return values.amax(dim=-1)
    kind = Bootstrap.TARGET_Q if select is values else Bootstrap.DOUBLE_Q
    told = None if legal is None else legal.expand_as(values)
    return bootstrap(select, values, kind, legal=told)


def _leaves(arrays: Arrays) -> Arrays:
    """Return the arrays as ends of a graph, sharing their memory."""
    return {name: array.detach().requires_grad_() for name, array in arrays.items()}
