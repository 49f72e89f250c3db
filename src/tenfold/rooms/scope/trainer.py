"""A whole suite trained in one pass: stacks of dictionaries of equal shape, step by step together.

A stack is one trainer of the room jumprelu, with sites, targets and seeds as its lanes. Inputs
are divided by the C of their site before the stack sees them, so that one stack may hold
several sites (GS 3.2: each site has a C of its own).
"""

# S stack of dictionaries, B rows of a batch, D width of a site, O of a transcoder's target,
# M latents

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tenfold.engine.config import Json
from tenfold.rooms.jumprelu import config as jumprelu
from tenfold.rooms.jumprelu import method
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.jumprelu.start import first_dictionary
from tenfold.rooms.jumprelu.trainer import Trainer, first_price
from tenfold.rooms.scope import config
from tenfold.rooms.scope.data import Batch, SuiteData
from tenfold.rooms.scope.places import Place

UNITS = {
    "fvu": "share of the variance, held out",
    "l0_error": "share by which L0 misses its target, held out",
    "dead_share": "share of the latents without a firing for long, training rows",
    "l0": "active latents a row, held out",
    "dead": "latents without a firing for long, training rows",
}
"""By the first word of a metric: alone it is the mean of all dictionaries, before a site and a
dictionary that one's."""
SHOWN_OF_LANES = ("fvu", "l0", "dead")
"""Metrics that are logged of every dictionary."""
MONITOR_ROWS = 1_024
"""Held-out rows of each site looked at while training."""
STACK_ENTRIES = 1 << 28
"""Pre-activations of one step that a stack on a GPU may hold."""


@dataclass(frozen=True, kw_only=True)
class Lane(jumprelu.Lane):
    """One dictionary of a suite."""

    place: Place
    width: int
    """Latents M."""

    @property
    def name(self) -> str:
        """Unique in the suite, a relative folder: `blocks.0/w1024_l0_16_s0`."""
        return f"{self.place.folder}/w{self.width}_{super().name}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Beginning:
    """All dictionaries of one place and width before the first step."""

    lanes: tuple[Lane, ...]
    train: jumprelu.Train
    schedule: jumprelu.Schedule
    dictionary: Dictionary
    """A stack [S], for inputs divided by `scale`."""
    price: Tensor
    """[S]."""
    scale: float
    """C, the root of the mean squared norm of raw inputs."""
    monitor: Tensor
    """Held-out inputs [n, D], divided by `scale`."""
    target: Tensor | None
    """For transcoders the rows [n, O] that belong to them, divided by the same."""

    @property
    def shape(self) -> tuple[int, ...]:
        """What has to be equal in a stack: D, M, O, and whether it transcodes and skips."""
        dictionary = self.dictionary
        sizes = (dictionary.input_width, dictionary.width, dictionary.output_width)
        return (*sizes, dictionary.transcoder, dictionary.w_skip is not None, len(self.monitor))


def suite_lanes(cfg: config.Suite, place: Place, width: int) -> tuple[Lane, ...]:
    """Return the dictionaries of one place and width: seeds times targets."""
    return tuple(
        Lane(seed=lane.seed, target_l0=lane.target_l0, price=lane.price, place=place, width=width)
        for lane in cfg.train(width=width).lanes
    )


def start(
    cfg: config.Suite, places: Sequence[Place], data: SuiteData, *, torch_device: str = "cpu"
) -> SuiteTrainer:
    """Return a trainer of all dictionaries of these places, at step 0.

    On a GPU sites of equal shape share a stack, whose arithmetic is batched. On a CPU each site
    has its own: nothing is won by more, and what a site becomes must not depend, to the last
    bit, on which other sites the process trains.
    """
    beginnings = [begin(cfg, place, width, data) for place in places for width in cfg.widths]
    stacks = _in_stacks(beginnings, batch=cfg.batch, on_cpu=torch_device == "cpu")
    return SuiteTrainer([_stack(stack, torch_device=torch_device) for stack in stacks], data)


def begin(cfg: config.Suite, place: Place, width: int, data: SuiteData) -> Beginning:
    """Return the dictionaries of one place and width before their first step."""
    train = cfg.train(width=width, rows=data.rows)
    sample = data.sample(place.site)
    scale = math.sqrt(float(sample.square().sum(dtype=torch.float64)) / len(sample))
    target = data.sample(place.site_out) / scale if place.site_out else None
    sample = sample / scale
    schedule = jumprelu.resolve_schedule(train, input_width=sample.shape[1])
    skip = cfg.skip and target is not None
    dictionary = first_dictionary(
        train, schedule, sample=sample, scale=scale, target=target, skip=skip
    )
    dictionary.scale = 1.0  # inputs come divided
    return Beginning(
        lanes=suite_lanes(cfg, place, width),
        train=train,
        schedule=schedule,
        dictionary=dictionary,
        price=first_price(train, dictionary, sample),
        scale=scale,
        monitor=_first_rows(data.held_out(place.site), MONITOR_ROWS) / scale,
        target=_first_rows(data.held_out(place.site_out), MONITOR_ROWS) / scale
        if place.site_out
        else None,
    )


def _first_rows(pieces: Iterator[Tensor], most: int) -> Tensor:
    found: list[Tensor] = []
    for rows in pieces:
        found.append(rows[: most - sum(map(len, found))])
        if sum(map(len, found)) >= most:
            break
    return torch.cat(found)


def _in_stacks(
    beginnings: Sequence[Beginning], *, batch: int, on_cpu: bool
) -> list[list[Beginning]]:
    return [[one] for one in beginnings] if on_cpu else by_shape(beginnings, batch=batch)


def by_shape(beginnings: Sequence[Beginning], *, batch: int) -> list[list[Beginning]]:
    """Put beginnings of equal shape together, as many as `STACK_ENTRIES` allows."""
    stacks: list[list[Beginning]] = []
    for beginning in beginnings:
        entries = batch * beginning.train.width * len(beginning.lanes)
        for stack in stacks:
            held = sum(batch * one.train.width * len(one.lanes) for one in stack)
            if stack[0].shape == beginning.shape and held + entries <= STACK_ENTRIES:
                stack.append(beginning)
                break
        else:
            stacks.append([beginning])
    return stacks


def _stack(beginnings: Sequence[Beginning], *, torch_device: str) -> Stack:
    """Build the trainer of a stack."""
    first = beginnings[0]
    dictionary = _joined([one.dictionary for one in beginnings])
    trainer = Trainer(
        first.train,
        lanes=tuple(lane for one in beginnings for lane in one.lanes),
        schedule=first.schedule,
        dictionary=dictionary.to(torch_device),
        first_price=torch.cat([one.price for one in beginnings]).to(torch_device),
        monitor=_for_lanes(beginnings, [one.monitor for one in beginnings]).to(torch_device),
        monitor_target=None
        if first.target is None
        else _for_lanes(
            beginnings, [one.target for one in beginnings if one.target is not None]
        ).to(torch_device),
    )
    scales = {lane.place: one.scale for one in beginnings for lane in one.lanes}
    return Stack(trainer=trainer, scales=scales)


def _for_lanes(beginnings: Sequence[Beginning], values: Sequence[Tensor]) -> Tensor:
    """Give each lane its site's rows, [S, n, D]; a single site's rows serve as they are."""
    if len(beginnings) == 1:
        return values[0]
    counts = torch.tensor([len(one.lanes) for one in beginnings])
    return torch.stack(list(values)).repeat_interleave(counts, dim=0)


def _joined(stacks: Sequence[Dictionary]) -> Dictionary:
    """Put stacks of one shape side by side along their stack axis."""
    whole = copy.deepcopy(stacks[0])
    states = [stack.state_dict() for stack in stacks]
    parameters = dict(whole.named_parameters())
    for name in states[0]:
        value = torch.cat([state[name] for state in states])
        owner, _, leaf = name.rpartition(".")
        grown = nn.Parameter(value) if name in parameters else value
        setattr(whole.get_submodule(owner), leaf, grown)
    return whole


class Stack:
    """Dictionaries of equal shape under one trainer, with the C of each one's site."""

    def __init__(self, *, trainer: Trainer, scales: Mapping[Place, float]) -> None:
        self.trainer = trainer
        self.scales = dict(scales)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The dictionaries, in the order of the stack axis."""
        lanes = tuple(lane for lane in self.trainer.lanes if isinstance(lane, Lane))
        assert len(lanes) == len(self.trainer.lanes), "lanes of a suite know their place"
        return lanes

    def update(self, batch: Batch, step: int) -> method.Terms:
        """Take one step on raw rows."""
        x_SBD = self._rows(batch, [lane.place.site for lane in self.lanes])
        y_SBO = None
        if self.trainer.dictionary.transcoder:
            y_SBO = self._rows(batch, [lane.place.target for lane in self.lanes])
        return self.trainer.update(x_SBD, step, y_SBO)

    def _rows(self, batch: Batch, sites: Sequence[str]) -> Tensor:
        """Return each lane's rows [S, B, D], divided by the C of its input."""
        scaled: dict[tuple[str, int, float], Tensor] = {}
        keys = [
            (site, lane.seed, self.scales[lane.place])
            for site, lane in zip(sites, self.lanes, strict=True)
        ]
        for site, seed, scale in dict.fromkeys(keys):
            scaled[site, seed, scale] = batch[site][seed] / scale
        return torch.stack([scaled[key] for key in keys])

    def dictionaries(self) -> Iterator[tuple[Lane, Dictionary]]:
        """Yield each dictionary in raw units, not yet folded."""
        for index, lane in enumerate(self.lanes):
            dictionary = self.trainer.dictionary.lane(index)
            dictionary.scale = self.scales[lane.place]
            yield lane, dictionary


class SuiteTrainer:
    """All stacks, and the place in the data, between two steps; `Checkpointable`.

    Made by `start`.
    """

    def __init__(self, stacks: Sequence[Stack], data: SuiteData) -> None:
        self.stacks = tuple(stacks)
        self.data = data

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.stacks[0].trainer.cfg.steps

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """All dictionaries."""
        return tuple(lane for stack in self.stacks for lane in stack.lanes)

    def update(self, step: int) -> list[method.Terms]:
        """Take one step with every dictionary and return each stack's terms before it."""
        batch = self.data.batch(step)
        return [stack.update(batch, step) for stack in self.stacks]

    def watch(
        self, terms: Sequence[method.Terms], step: int
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Measure every dictionary on held-out rows.

        Args:
            terms: of the step just taken.
            step: its number.

        Returns:
            The means of the suite and a few metrics `metric/dictionary`, and what is going
            wrong, each warning once.
        """
        seen: dict[str, Tensor] = {}
        warnings: list[str] = []
        for stack, of_stack in zip(self.stacks, terms, strict=True):
            values, new = stack.trainer.watch(of_stack, step)
            seen |= values
            warnings += new
        return self._means(seen) | self._chosen(seen), warnings

    def _means(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        lanes = self.lanes
        missed = [(seen[f"l0/{lane.name}"] / lane.target_l0 - 1).abs() for lane in lanes]
        dead = [seen[f"dead/{lane.name}"] / lane.width for lane in lanes]
        fvu = [seen[f"fvu/{lane.name}"] for lane in lanes]
        named = {"fvu": fvu, "l0_error": missed, "dead_share": dead}
        return {name: torch.stack(values).mean() for name, values in named.items()}

    def _chosen(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = (f"{metric}/{lane.name}" for metric in SHOWN_OF_LANES for lane in self.lanes)
        return {name: seen[name] for name in names}

    def dictionaries(self) -> Iterator[tuple[Lane, Dictionary]]:
        """Yield each dictionary in raw units, not yet folded."""
        for stack in self.stacks:
            yield from stack.dictionaries()

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return everything the next step depends on."""
        tensors: dict[str, Tensor] = {}
        values = []
        for number, stack in enumerate(self.stacks):
            own, plain = stack.trainer.state()
            tensors |= {f"{number}/{name}": tensor for name, tensor in own.items()}
            values.append(plain | {"scales": list(stack.scales.values())})
        return tensors, {"stacks": values, "data": self.data.state()}

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Put back what `state` returned."""
        self.data.load_state(values["data"])
        for number, (stack, plain) in enumerate(zip(self.stacks, values["stacks"], strict=True)):
            prefix = f"{number}/"
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            stack.trainer.load_state(own, plain)
            stack.scales = dict(zip(stack.scales, plain["scales"], strict=True))
