"""Several processes that compute one thing together: who this one is, sums, and who writes.

`torchrun` starts the processes and tells each its place by environment variables; without it
there is one process, and everything here does nothing. Only the first process writes files.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as torch_dist

from tenfold.engine.errors import TenfoldError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which of `count` processes this one is."""

    rank: int = 0
    """Its number, from 0."""
    count: int = 1
    """How many there are on all machines."""
    local_rank: int = 0
    """Its number among those of this machine, which is also that of its device."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count or self.local_rank < 0:
            raise TenfoldError(
                f"process {self.rank} (here {self.local_rank}) of {self.count} cannot be; numbers "
                "go from 0 to one less than their count"
            )

    @property
    def writes(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1


def find_place(environment: Mapping[str, str] | None = None) -> Place:
    """Return this process's place, as `torchrun` tells it; alone without `torchrun`.

    Args:
        environment: variables to look at; None is those of this process.

    Raises:
        TenfoldError: if only some of the variables are set, or they make no sense.
    """
    environment = os.environ if environment is None else environment
    given = {name: environment[name] for name in _VARIABLES if name in environment}
    if not given:
        return Place()
    missing = [name for name in _VARIABLES if name not in given]
    odd = [f"{name}={value!r}" for name, value in given.items() if not value.isdecimal()]
    if missing or odd:
        fault = f"without {', '.join(missing)}" if missing else f"with {', '.join(odd)}"
        raise TenfoldError(
            f"the environment has {', '.join(given)} {fault}; start all processes by torchrun, or "
            "unset these variables"
        )
    rank, count, local_rank = (int(given[name]) for name in _VARIABLES)
    return Place(rank=rank, count=count, local_rank=local_rank)


@contextlib.contextmanager
def joined(
    place: Place, *, meeting: str = "env://", device: str = "cpu", patience_s: float = 600.0
) -> Iterator[Place]:
    """Meet the other processes for the `with` block, and part from them after it.

    Args:
        place: of this process; one that is alone meets nobody.
        meeting: where they meet: `env://` as torchrun says, or `file://PATH` of a file that
            does not exist yet.
        device: `cpu` or `cuda`; says by what means sums travel.
        patience_s: seconds after which a process that does not answer counts as dead.

    Raises:
        TenfoldError: if this build of torch cannot connect processes, or they do not come.
    """
    if place.is_alone:
        yield place
        return
    if not torch_dist.is_available():
        raise TenfoldError("this build of torch has no torch.distributed; use one process")
    # Its functions have the group of all processes as defaults, taken at import. Imported after
    # the meeting (optimisers do that), they would keep the group and its threads alive past the
    # parting, and a thread that lets go of a tensor while Python ends brings the process down.
    importlib.import_module("torch.distributed.nn.functional")
    try:
        torch_dist.init_process_group(
            "nccl" if device.startswith("cuda") else "gloo",
            init_method=meeting,
            rank=place.rank,
            world_size=place.count,
            timeout=timedelta(seconds=patience_s),
        )
    except (RuntimeError, ValueError) as error:
        raise TenfoldError(
            f"process {place.rank} of {place.count} did not meet the others at {meeting} "
            f"({str(error).splitlines()[0]}); start all of them, with equal addresses"
        ) from None
    try:
        yield place
    finally:
        torch_dist.destroy_process_group()


def sum_over(place: Place, *tensors: Tensor) -> list[Tensor]:
    """Return the sums of tensors over all processes, the same bits in each.

    All travel together. They have one number type and, in every process, equal shapes.
    """
    if place.is_alone:
        return list(tensors)
    packed = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    torch_dist.all_reduce(packed)
    parts = torch.split(packed, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def gather_from(place: Place, tensor: Tensor) -> list[Tensor]:
    """Return the tensor of each process, in order, in the one that writes; elsewhere nothing.

    Shapes are equal in every process.
    """
    if place.is_alone:
        return [tensor]
    tensor = tensor.detach().contiguous()
    found = [torch.empty_like(tensor) for _ in range(place.count)] if place.writes else None
    torch_dist.gather(tensor, found)
    return found or []
