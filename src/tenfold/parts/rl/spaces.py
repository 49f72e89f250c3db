"""Observation and action spaces of other libraries, read as arrays and numbers (rooms triad, vdn).

Spaces are told apart by the names of their classes (Box, Discrete, MultiDiscrete, MultiBinary,
Dict, Tuple), so that those of Gymnasium, of its older brother and of tests all do, and none of
the libraries is imported.
"""

# N agents, A actions

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec, Bools

MOST_COMBINATIONS = 4_096
"""Of actions that an agent takes at once, counted as one action."""
MASK = "action_mask"
"""Entry of an observation or an info that says which actions are legal (PettingZoo)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How one agent's observation becomes an array."""

    shape: tuple[int, ...]
    dtype: str
    """uint8 or float32."""
    encode: Callable[[Any], NDArray[Any]]
    masked: bool = False
    """Whether observations are pairs of `observation` and `action_mask`."""

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """How a number becomes one agent's action."""

    count: int
    decode: Callable[[int], Any]


def space_name(space: Any) -> str:
    """Return which of the known spaces this is, else the name of its class."""
    names = [cls.__name__ for cls in type(space).__mro__]
    return next((name for name in names if name in _READERS), names[0])


# Observations


def read_observations(space: Any, *, agent: str) -> Encoding:
    """Return how observations of a space are encoded.

    Images (bytes or truth values with 2 or 3 dimensions) stay bytes and put channels first, other
    bytes stay bytes, numbers become float32, choices become one-hot, and what Dict and Tuple hold
    is put end to end. A Dict of `observation` and `action_mask` is an observation with a mask.

    Raises:
        TenfoldError: if such a space cannot be read.
    """
    if space_name(space) == "Dict" and set(space.spaces) == {"observation", MASK}:
        inner = read_observations(space.spaces["observation"], agent=agent)
        return Encoding(shape=inner.shape, dtype=inner.dtype, encode=inner.encode, masked=True)
    reader = _READERS.get(space_name(space))
    if reader is None:
        raise TenfoldError(
            f"observations of {agent} are a {space_name(space)}, which has no fixed number of "
            f"entries; wrap the environment so that it gives one of {', '.join(_READERS)}"
        )
    return reader(space, agent)


def _read_box(space: Any, agent: str) -> Encoding:
    kind, shape = np.dtype(space.dtype), tuple(map(int, space.shape))
    if kind.kind not in "fiub":
        raise TenfoldError(
            f"observations of {agent} are a Box of {kind}, which are no numbers; "
            "wrap the environment so that it gives float32 or uint8"
        )
    if kind.itemsize > 1 or kind.kind == "i":
        return _plain(shape or (1,), shape, np.float32, agent)
    if len(shape) == 3 and shape[2] <= shape[0]:
        return _image(shape, agent)
    if len(shape) == 2:
        return _plain((1, *shape), shape, np.uint8, agent)
    return _plain(shape or (1,), shape, np.uint8, agent)


def _plain(shape: tuple[int, ...], given: tuple[int, ...], kind: Any, agent: str) -> Encoding:
    """Return an encoding that changes the type and adds dimensions of one."""

    def encode(value: Any) -> NDArray[Any]:
        return _checked(value, given, agent).astype(kind).reshape(shape)

    return Encoding(shape=shape, dtype=np.dtype(kind).name, encode=encode)


def _image(shape: tuple[int, ...], agent: str) -> Encoding:
    """Return an encoding that puts channels, which are last, first."""

    def encode(value: Any) -> NDArray[Any]:
        return _checked(value, shape, agent).astype(np.uint8).transpose(2, 0, 1)

    return Encoding(shape=(shape[2], shape[0], shape[1]), dtype="uint8", encode=encode)


def _checked(value: Any, shape: tuple[int, ...], agent: str) -> NDArray[Any]:
    array = np.asarray(value)
    if array.shape != shape:
        raise TenfoldError(
            f"an observation of {agent} has shape {array.shape}, its space says {shape}; "
            "the environment has to keep to its own space"
        )
    return array


def _read_discrete(space: Any, agent: str) -> Encoding:  # noqa: ARG001
    return _one_hot([int(space.n)], int(getattr(space, "start", 0)))


def _read_multi_discrete(space: Any, agent: str) -> Encoding:  # noqa: ARG001
    sizes = np.asarray(space.nvec).ravel().tolist()
    return _one_hot(sizes, getattr(space, "start", 0))


def _one_hot(sizes: list[int], start: Any) -> Encoding:
    """Return an encoding of several choices, each one-hot, end to end."""
    begins = np.cumsum([0, *sizes[:-1]])

    def encode(value: Any) -> NDArray[Any]:
        array = np.zeros(sum(sizes), np.float32)
        array[begins + (np.asarray(value) - np.asarray(start)).ravel()] = 1
        return array

    return Encoding(shape=(sum(sizes),), dtype="float32", encode=encode)


def _read_multi_binary(space: Any, agent: str) -> Encoding:
    shape = tuple(map(int, space.shape))
    return _plain((math.prod(shape),), shape, np.float32, agent)


def _read_dict(space: Any, agent: str) -> Encoding:
    return _joined(dict(space.spaces), agent)


def _read_tuple(space: Any, agent: str) -> Encoding:
    return _joined(dict(enumerate(space.spaces)), agent)


def _joined(spaces: dict[Any, Any], agent: str) -> Encoding:
    """Return an encoding that puts entries end to end, in the order of their space."""
    parts = {
        name: read_observations(part, agent=f"{agent}[{name}]") for name, part in spaces.items()
    }
    images = [name for name, part in parts.items() if part.dtype == "uint8" and len(part.shape) > 1]
    if images:
        raise TenfoldError(
            f"observations of {agent} mix the image {images[0]!r} with other entries, which cannot "
            "be put end to end; wrap the environment so that it gives the image alone, or numbers"
        )

    def encode(value: Any) -> NDArray[Any]:
        rows = [part.encode(value[name]).ravel() for name, part in parts.items()]
        return np.concatenate(rows).astype(np.float32)

    return Encoding(
        shape=(sum(part.size for part in parts.values()),), dtype="float32", encode=encode
    )


_READERS: dict[str, Callable[[Any, str], Encoding]] = {
    "Box": _read_box,
    "Discrete": _read_discrete,
    "MultiDiscrete": _read_multi_discrete,
    "MultiBinary": _read_multi_binary,
    "Dict": _read_dict,
    "Tuple": _read_tuple,
}


def common_shape(encodings: Sequence[Encoding]) -> tuple[tuple[int, ...], str]:
    """Return shape and type of a row that holds any agent's observation.

    Equal shapes stay; others become one row of numbers with room for the longest.
    """
    shapes = {encoding.shape for encoding in encodings}
    kinds = {encoding.dtype for encoding in encodings}
    shape = shapes.pop() if len(shapes) == 1 else (max(encoding.size for encoding in encodings),)
    return shape, kinds.pop() if len(kinds) == 1 else "float32"


# Actions


def read_actions(space: Any, *, agent: str) -> Moves:
    """Return how numbers from 0 on become actions of a space.

    Several choices at once count as one action, up to 4,096 combinations.

    Raises:
        TenfoldError: if actions are not choices, or too many.
    """
    name = space_name(space)
    if name == "Discrete":
        start = int(getattr(space, "start", 0))
        return Moves(count=int(space.n), decode=lambda action: int(action) + start)
    if name == "Box":
        raise TenfoldError(
            f"actions of {agent} are continuous (a Box of shape {tuple(space.shape)}), and this "
            "method chooses among a few; look for a discrete version of the environment, or wrap "
            "it so that a number stands for each of some actions"
        )
    if name == "Tuple" and all(space_name(part) == "Discrete" for part in space.spaces):
        starts = [int(getattr(part, "start", 0)) for part in space.spaces]
        sizes = [int(part.n) for part in space.spaces]
        return _combined(sizes, starts, agent, tuple)
    if name in ("MultiDiscrete", "MultiBinary"):
        shape = tuple(map(int, space.shape))
        several = np.asarray(space.nvec) if name == "MultiDiscrete" else np.full(shape, 2)
        starts = np.broadcast_to(getattr(space, "start", 0), several.shape).ravel().tolist()

        def finish(choices: list[int]) -> NDArray[np.int64]:
            return np.array(choices, np.int64).reshape(shape)

        return _combined(several.ravel().tolist(), starts, agent, finish)
    raise TenfoldError(
        f"actions of {agent} are a {name}, which is not a choice among a number of actions; "
        "wrap the environment so that its action space is Discrete"
    )


def _combined(
    sizes: list[int], starts: list[int], agent: str, finish: Callable[[list[int]], Any]
) -> Moves:
    count = math.prod(sizes)
    if count > MOST_COMBINATIONS:
        raise TenfoldError(
            f"actions of {agent} are {count:,} combinations of {len(sizes)} choices, more than "
            f"{MOST_COMBINATIONS:,}; wrap the environment so that it takes fewer at once"
        )

    def decode(action: int) -> Any:
        choices = np.unravel_index(int(action), tuple(sizes))
        return finish([int(c) + start for c, start in zip(choices, starts, strict=True)])

    return Moves(count=count, decode=decode)


def own_actions(spec: BatchSpec) -> Bools:
    """Return which of the A actions each agent has, [N, A]."""
    mask: Bools = np.arange(max(spec.actions)) < np.array(spec.actions)[:, None]
    return mask


def find_competition(rewards: NDArray[Any]) -> str:
    """Return what is wrong with a team value of sampled rewards [S, N], empty if nothing is.

    Where the agents' rewards differ from step to step but add up to the same number at all steps,
    one agent's gain is another's loss.
    """
    steps = np.asarray(rewards, np.float64)
    if steps.ndim != 2 or steps.shape[1] < 2 or len(steps) < 2:
        return ""
    total = steps.sum(axis=1)
    slack = 1e-6 * max(1.0, float(np.abs(steps).max()))
    if np.ptp(total) > slack or np.ptp(steps, axis=0).max() <= slack:
        return ""
    return (
        f"the rewards of the {steps.shape[1]} agents add up to {total[0]:g} at each of "
        f"{len(steps)} steps, so they compete and the value of the team means nothing; "
        "train agents of one side against others, or choose a cooperative environment"
    )
