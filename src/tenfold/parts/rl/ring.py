"""What both replays share: room for each lane, drawing, saving (rooms triad, vdn, ctf).

Copy b of a block belongs to lane b // C. Arrays begin with [K, R, C], of which a chooser sees
S = R C slots.
"""

# K lanes, C copies in each, R rows of a ring, S slots, N agents, A actions, B drawn, T steps

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec, Ints
from tenfold.parts.rl.draws import Draws
from tenfold.parts.rl.replay_kernels import TERMINATED, TRUNCATED
from tenfold.parts.rl.rollout import Block
from tenfold.parts.rl.sampling import Chooser, Drawn
from tenfold.parts.rl.shelf import Shelf

Arrays = Mapping[str, NDArray[Any]]
Pay = Literal["agents", "sum", "mean"]
"""Rewards kept: each agent's own [N], their sum, or their mean over all N."""


class MakeChooser(Protocol):
    """Says which items are drawn: `Uniform`, or `functools.partial(Prioritised, exponent=0.6)`."""

    def __call__(self, *, lanes: int, slots: int) -> Chooser:
        """Return a chooser of no items yet."""


# Making room


def copies_of(spec: BatchSpec, *, lanes: int) -> int:
    """Return C."""
    assert lanes > 0, "no lanes"
    assert spec.copies % lanes == 0, f"{spec.copies} copies cannot be shared by {lanes} lanes"
    return spec.copies // lanes


def new_seen(spec: BatchSpec, shape: tuple[int, ...], *, legal: bool) -> dict[str, NDArray[Any]]:
    """Return room for what is seen before a step, by its name in `Block`."""
    agents = (*shape, len(spec.agents))
    seen: dict[str, NDArray[Any]] = {
        "observation": np.zeros((*agents, *spec.shape), spec.dtype),
        "alive": np.zeros(agents, np.bool_),
    }
    if legal:
        seen["legal"] = np.zeros((*agents, max(spec.actions)), np.bool_)
    return seen


def new_shelf(seen: Arrays, *, dimensions: int) -> Shelf:
    """Return a shelf for what is seen, whose arrays have these many dimensions before one row."""
    return Shelf({name: (array.shape[dimensions:], array.dtype) for name, array in seen.items()})


def action_type(spec: BatchSpec) -> type[np.uint8] | type[np.int32]:
    """Return the smallest type that holds an action."""
    return np.uint8 if max(spec.actions) <= 256 else np.int32


def as_array(value: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return a memory as an array of the host."""
    if isinstance(value, Tensor):
        array: NDArray[Any] = value.detach().cpu().numpy()
        return array
    return value


# Writing


def paid(block: Block, pay: Pay) -> NDArray[np.float32]:
    """Return the rewards to keep, [T, K C, N] or [T, K C]."""
    if pay == "agents":
        return block.reward
    total: NDArray[np.float32] = block.reward.sum(axis=2)
    return total if pay == "sum" else total / np.float32(block.reward.shape[2])


def codes(block: Block) -> NDArray[np.uint8]:
    """Return what became of episodes, [T, K C]; the end of one's own counts before a cut."""
    cut = np.where(block.truncated, np.uint8(TRUNCATED), np.uint8(0))
    return np.where(block.terminated, np.uint8(TERMINATED), cut)


def shelve(shelf: Shelf, block: Block) -> tuple[Ints, Ints, Ints]:
    """Keep what was seen last of episodes that were cut: their time, copy and number, each [F]."""
    time, copy = block.finals.time, block.finals.copy
    cut = block.truncated[time, copy] & ~block.terminated[time, copy]
    rows = {name: getattr(block.finals, name)[cut] for name in shelf.arrays}
    return time[cut], copy[cut], shelf.put(rows)


def check_legal(seen: Arrays, block: Block) -> None:
    """Find a replay that was made for other blocks; else masks would be lost in silence."""
    kept, given = "legal" in seen, block.legal is not None
    assert kept == given, f"legal actions: kept {kept}, given {given}"


# Drawing


def take(array: NDArray[Any], slot: Ints) -> NDArray[Any]:
    """Return [K, B, ...] from an array [K, R, C, ...] and slots [K, B]."""
    lanes, slots = len(array), array.shape[1] * array.shape[2]
    flat = array.reshape(lanes * slots, *array.shape[3:])
    rows: NDArray[Any] = np.take(flat, slot + slots * np.arange(lanes)[:, None], axis=0)
    return rows


def with_shape(draws: Draws, batch: int) -> Draws:
    """Return draws of B numbers a lane, the same ones while B stays."""
    if draws.shape == (batch,):
        return draws
    return Draws(draws.seeds, *draws.path, shape=(batch,))


def draw(chooser: Chooser, draws: Draws, step: int, correction: Any) -> Drawn:
    """Draw from each lane.

    Raises:
        TenfoldError: if a lane is empty.
    """
    empty = np.flatnonzero(chooser.count == 0)
    if empty.size:
        raise TenfoldError(
            f"nothing can be drawn from the replay of lane {empty[0]} yet; "
            "collect more steps before the first update"
        )
    return chooser.draw(draws.at(step), correction=correction)


# Saving


def save(arrays: Arrays, shelf: Shelf, chooser: Chooser, written: int) -> dict[str, NDArray[Any]]:
    """Return a replay as arrays, copied."""
    saved = {name: array.copy() for name, array in arrays.items()}
    saved |= {f"shelf/{name}": array for name, array in shelf.state().items()}
    saved |= {f"chooser/{name}": array for name, array in chooser.state().items()}
    return saved | {"written": np.array(written)}


def load(saved: Arrays, arrays: Arrays, shelf: Shelf, chooser: Chooser) -> int:
    """Put back what `save` returned, and return how much had been written.

    Raises:
        TenfoldError: if it is of another replay.
    """
    for name, array in arrays.items():
        found = saved[name].shape if name in saved else None
        if found != array.shape:
            raise TenfoldError(
                f"the saved replay is another one: {name} has shape {found} there and "
                f"{array.shape} here; go on with the settings that it was saved with"
            )
    for name, array in arrays.items():
        array[:] = saved[name]
    shelf.restore(_under("shelf/", saved))
    chooser.restore(_under("chooser/", saved))
    return int(saved["written"].item())


def _under(prefix: str, saved: Arrays) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): array for name, array in saved.items() if name.startswith(prefix)
    }
