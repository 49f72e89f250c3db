"""The update of a stack on a CPU: arrays laid out for the compiled loop of `learning_loops`.

K teams, d agents, L lanes, A actions, T steps, R windows; M lanes of a team.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine.kernel import find_obstacle
from tenfold.parts.nn.lstm_loops import Kept, Room
from tenfold.parts.nn.recurrent import LstmWeights
from tenfold.parts.nn.stack import Arrays
from tenfold.rooms.vdn import learning_loops as loops
from tenfold.rooms.vdn import slot_loops
from tenfold.rooms.vdn.config import Learning
from tenfold.rooms.vdn.mixing_loops import Mixing, MixRoom
from tenfold.rooms.vdn.model import MIXING, Ready, Teams

if TYPE_CHECKING:
    from tenfold.rooms.vdn.learner import Block


class _Rooms(NamedTuple):
    """Room for one team's windows."""

    space: loops.Space
    kept: Kept
    back: Room
    mixed: MixRoom
    returns: NDArray[np.float32]


class InCache:
    """Losses and gradients of one update, each team from its first to its last layer and back."""

    def __init__(self, teams: Teams, cfg: Learning, *, own: Tensor | None) -> None:
        """Prepare to learn.

        Args:
            teams: the networks.
            cfg: how they learn.
            own: actions that an agent has at all, [d, A]; None: all have the same number.
        """
        self.teams, self.cfg = teams, cfg
        structure = teams.structure
        self.adds = np.array([arch.mixer != "none" for arch in teams.archs])
        self.roles = np.zeros((len(teams.slots.lanes), 0), np.float32)
        if not structure.central:
            self.roles = teams.roles.flatten(0, 1).numpy()
        # As many rows as choosers; one that chooses jointly has all joint actions.
        self.own = np.ones((structure.lanes * structure.heads, structure.outputs), np.bool_)
        if own is not None and not structure.joint:
            self.own = own.numpy()
        self._rooms: dict[tuple[int, int], _Rooms] = {}
        self._found = weights_of(self.room())
        # Of no team: this is how the loop knows that values are not mixed.
        self._mixing = Mixing._make(np.empty((0, *size), np.float32) for size in [(0, 0), (0,)] * 5)

    @staticmethod
    def serves(weights: Tensor) -> bool:
        """Return whether the loop can run on such weights."""
        fits = weights.device.type == "cpu" and weights.dtype == torch.float32
        return fits and not find_obstacle()

    def room(self) -> Ready:
        """Return room for the weights of all lanes."""
        structure, lanes = self.teams.structure, len(self.teams.slots.lanes)
        units, values = structure.units, structure.heads * structure.outputs
        return Ready(
            first=torch.empty(lanes, structure.inputs, units),
            first_bias=torch.empty(lanes, units),
            lstm=LstmWeights(
                torch.empty(lanes, structure.wide, 4 * units),
                torch.empty(lanes, units, 4 * units),
                torch.empty(lanes, 4 * units),
            ),
            head=torch.empty(lanes, structure.read, values),
            head_bias=torch.empty(lanes, values),
        )

    def lay_out(self, arrays: Arrays, out: Ready) -> None:
        """Write the weights of each lane, as `Teams.ready` gives them, from slots [S, *size]."""
        lanes = self.teams.slots.lanes.numpy()
        slot_loops.lay_out(_slots(arrays), lanes, self.roles, weights_of(out))

    def learn(
        self,
        trained: Ready,
        frozen: Ready,
        block: Block,
        out: Arrays,
        *,
        mixing: tuple[Arrays, Arrays, Arrays] | None = None,
    ) -> Tensor:
        """Write the gradients of all slots to `out` [S, *size], and return the losses, [K].

        Args:
            trained: weights of each lane that learn.
            frozen: those of the older copy.
            block: windows.
            out: arrays of `Structure.layout`.
            mixing: of QMIX the weights of mixing networks, those of the older copy, and where
                their gradients are written, arrays of `Structure.mixing`.
        """
        structure, cfg = self.teams.structure, self.cfg
        losses = torch.empty(self.teams.count)
        room = self._room_for(block)
        own, copy, for_mixing = (self._mixing,) * 3 if mixing is None else map(_mixing_of, mixing)
        loops.learn(
            weights_of(trained), weights_of(frozen), self._drawn(block), room.space, room.kept,
            room.back, self.adds, structure.joint, structure.actions, cfg.double,
            np.float32(cfg.gamma), np.float32(cfg.trace), self._found, own, copy, room.mixed,
            room.returns, for_mixing, losses.numpy(),
        )  # fmt: skip
        for array in out.values():
            array.zero_()
        lanes = self.teams.slots.lanes.numpy()
        slot_loops.add_up(self._found, lanes, self.roles, _slots(out))
        return losses

    def _drawn(self, block: Block) -> loops.Drawn:
        alive = None if self.teams.structure.joint else block.alive
        legal = self.own[None, None, None]
        if block.legal is not None and not self.teams.structure.joint:
            legal = np.ascontiguousarray(block.legal.numpy() & legal)
        paid = block.paid
        return loops.Drawn(
            observation=_array(block.observation),
            action=_array(block.action),
            reward=_array(paid.reward),
            terminated=_array(paid.terminated),
            cut=_array(paid.cut),
            valid=_array(paid.valid),
            keep=_given(block.keep, 3),
            legal=legal,
            alive=_given(alive, 4),
            hidden=_array(block.state.hidden),
            cell=_array(block.state.cell),
        )

    def _room_for(self, block: Block) -> _Rooms:
        """Return room for one team's windows, kept for the next update."""
        _, steps, rows, _ = block.action.shape
        found = self._rooms.get((steps, rows))
        if found is None:
            found = self._rooms[steps, rows] = self._make_room(steps, rows)
        return found

    def _make_room(self, steps: int, rows: int) -> _Rooms:
        structure = self.teams.structure
        lanes, units, values = structure.lanes, structure.units, structure.heads * structure.outputs
        wide = structure.wide

        def room(*size: int) -> NDArray[np.float32]:
            return np.empty(size, np.float32)

        many, fewer = (lanes, steps + 1, rows), (lanes, steps, rows)
        shown = room(*many, units)
        space = loops.Space(
            seen=room(steps + 1, rows, units),
            wide=room(*many, wide),
            shown=shown,
            read=room(*many, structure.read) if structure.read > units else shown,
            values=room(*many, values),
            frozen=room(*many, values),
            to_values=room(*fewer, values),
            to_read=room(steps, rows, structure.read),
            to_shown=room(*fewer, units),
            to_wide=room(*fewer, wide),
        )
        kept = Kept(
            gates=room(*many, 4 * units),
            befores=room(*many, units),
            cells=room(*many, units),
            curved=room(*many, units),
            hidden=room(lanes, rows, units),
            cell=room(lanes, rows, units),
        )
        back = Room(
            slopes=room(steps, rows, 4 * units),
            to_hidden=room(rows, units),
            to_cell=room(rows, units),
            come=room(units),
            turned=room(4 * units, units),
        )
        agents = structure.agents if structure.qmix else 0
        mixed = MixRoom(
            x=room(steps, rows, agents * structure.inputs),
            own=room(steps, rows, agents),
            first=room(steps, rows, agents * MIXING),
            level=room(steps, rows, MIXING),
            second=room(steps, rows, MIXING),
            hidden=room(steps, rows, MIXING),
            total=room(steps, rows),
        )
        return _Rooms(space, kept, back, mixed, room(steps, rows))


def _mixing_of(arrays: Arrays) -> Mixing:
    return Mixing._make(array.numpy() for array in arrays.values())


def weights_of(ready: Ready) -> slot_loops.Weights:
    """Return weights of lanes as loops read them, sharing their memory."""
    whole = (ready.first, ready.first_bias, *ready.lstm, ready.head, ready.head_bias)
    return slot_loops.Weights._make(map(_array, whole))


def _slots(arrays: Arrays) -> slot_loops.Slots:
    """Return arrays of a layout as loops take them, where empty ones say: no dueling."""
    found = [array.numpy() for array in arrays.values()]
    if len(found) < len(slot_loops.Slots._fields):
        found += [np.empty((0, 0, 0), np.float32), np.empty((0, 0), np.float32)]
    return slot_loops.Slots._make(found)


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array


def _given(tensor: Tensor | None, dimensions: int) -> NDArray[Any]:
    """Return a tensor as the loop takes it, where an empty array says that there is none."""
    return np.empty((0,) * dimensions, np.float32) if tensor is None else _array(tensor)
