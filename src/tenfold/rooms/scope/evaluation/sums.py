"""Sums over rows, items, places and kinds from which every metric is made.

They are kept apart for each piece of work and added up in the end, so that a killed evaluation
goes on, and any grouping of the data gives the same up to rounding. All are float64 on the CPU.
"""

# N rows that are kept, M latents, D and O widths of what is read and of what is rebuilt,
# T places, K kinds

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tenfold.parts.sae.hooks import spread
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.jumprelu.eval import check_width
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.scope.evaluation.importance import Attributed, uniformity
from tenfold.rooms.scope.evaluation.passes import Clean, loss_with

Sums = dict[str, Tensor]
Rebuild = Callable[[Tensor], Tensor]
"""From activations [N, O] of a site to what takes their place [N, O]."""

BLOCK_LATENTS = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Latents of one block of rows, active or not: what fits the caches of a processor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """What is measured, on which model."""

    specimen: Specimen
    shortcuts: Mapping[str, tuple[str, ...]]
    """Modules that need not run again, for each replaced site."""
    places: int
    """Positions T of an item; 0 if items have none."""
    kinds: int
    """Number of kinds K of the label `kind`; 0 without it."""
    part: int
    """Batches of the smaller part of the data, on which the costly metrics are taken."""
    bfloat16: bool
    """Whether dictionaries are tried in that precision too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Clean passes that are held in memory together."""

    cleans: Sequence[Clean]
    attributed: Mapping[str, Attributed] = field(default_factory=dict)
    """For each replaced site, rows with the gradients of their scores."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What it took, by stage."""


def add_up(pieces: Iterable[Sums]) -> Sums:
    """Return the sums of all pieces, which come in the order of their items.

    Names that begin with `item/` are laid end to end, all others added.
    """
    total: dict[str, list[Tensor]] = {}
    for piece in pieces:
        for name, value in piece.items():
            total.setdefault(name, []).append(value)
    return {
        name: torch.cat(found) if name.startswith("item/") else torch.stack(found).sum(dim=0)
        for name, found in total.items()
    }


def sum_clean(probe: Probe, chunk: Chunk) -> Sums:
    """Sum the losses of the untouched model and count what they are about."""
    sums = _Adder(probe)
    for stage, seconds in chunk.seconds.items():
        sums.add(f"seconds/{stage}", torch.tensor(seconds))
    for clean in chunk.cleans:
        sums.add("items", torch.tensor(float(clean.size)))
        if clean.loss is not None:
            counts = clean.loss.isfinite()
            sums.add_losses("predicted", counts.double(), clean)
            if clean.number < probe.part:
                sums.add("part/predicted", counts.sum())
            sums.add_losses("clean", torch.where(counts, clean.loss.double(), 0.0), clean)
    return sums.found


@torch.no_grad()
def sum_site(probe: Probe, site: str, rebuilds: Mapping[str, Rebuild], *, chunk: Chunk) -> Sums:
    """Sum what the variance of a site needs, and what simple stand-ins for it cost.

    Args:
        probe: what is measured.
        site: what is replaced.
        rebuilds: stand-ins by name.
        chunk: the data.
    """
    sums = _Adder(probe)
    for clean in chunk.cleans:
        keep = clean.kept(site)
        y_NO = clean.sites[site][keep].float()
        sums.add_rows("rows", torch.ones(len(y_NO)), clean, keep)
        sums.add("power", y_NO.square().sum(dim=-1).double().sum())
        sums.add("total", y_NO.sum(dim=0, dtype=torch.float64))
        began = time.perf_counter()
        for name, rebuild in rebuilds.items():
            found_NO = rebuild(y_NO)
            sums.add(f"error/{name}", (y_NO - found_NO).square().sum(dim=-1).double().sum())
            if clean.loss is not None and clean.number < probe.part:
                rise = _rise(probe, clean, site, keep, found_NO)
                sums.add(f"rise/{name}", rise.sum())
        sums.lap("seconds/baselines", began)
    return sums.found


@torch.no_grad()
def sum_dictionary(
    probe: Probe, dictionary: Dictionary, *, source: str, site: str, chunk: Chunk
) -> Sums:
    """Sum what all metrics of one dictionary need.

    Args:
        probe: what is measured.
        dictionary: folded or not.
        source: the site that it reads.
        site: the site that it rebuilds.
        chunk: the data.

    Raises:
        TenfoldError: if the dictionary's width is not that of the site.
    """
    sums = _Adder(probe)
    low = copy.deepcopy(dictionary).to(torch.bfloat16) if probe.bfloat16 else None
    for clean in chunk.cleans:
        keep = clean.kept(site)
        y_NO = clean.sites[site][keep].to(dictionary.w_dec.dtype)
        x_ND = clean.sites[source][clean.kept(source)]
        check_width(dictionary, x_ND)
        began = time.perf_counter()
        found_NO, active_N, fired_M = rebuild_rows(dictionary, x_ND)
        off_N = (y_NO - found_NO).square().sum(dim=-1)
        sums.add("fired", fired_M)
        sums.add("size", found_NO.square().sum(dim=-1).double().sum())
        sums.add("overlap", (y_NO * found_NO).sum(dim=-1).double().sum())
        sums.add_rows("active", active_N, clean, keep)
        sums.add_rows("error", off_N, clean, keep)
        began = sums.lap("seconds/dictionary", began)
        if clean.loss is None:
            continue
        rise = _rise(probe, clean, site, keep, found_NO)
        sums.add_losses("rise", rise, clean)
        began = sums.lap("seconds/model", began)
        if clean.number < probe.part:
            sums.add("part/rise", rise.sum())
            if low is not None:
                lower_NO, _, _ = rebuild_rows(low, x_ND)
                sums.add("part/bfloat16", _rise(probe, clean, site, keep, lower_NO).sum())
                sums.lap("seconds/bfloat16", began)
    if site in chunk.attributed:
        ratios = uniformity(dictionary, chunk.attributed[site])
        sums.add("uniformity", ratios.sum().double())
        sums.add("uniformity_rows", torch.tensor(float(len(ratios))))
    return sums.found


def rebuild_rows(dictionary: Dictionary, x_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return reconstructions [N, O], active latents of each row [N] and rows of each latent [M].

    In blocks of rows, so that the latents of all of them are never held together.
    """
    size = max(1, BLOCK_LATENTS.get(x_ND.device.type, 1 << 20) // dictionary.width)
    found, active = [], []
    fired_M = torch.zeros(dictionary.width, dtype=torch.float64)
    for block_ND in torch.split(x_ND, size):
        f_NM = dictionary.encode(block_ND)
        found.append(dictionary.decode(f_NM, block_ND))
        # In float32, where such counts are exact: adding up booleans is several times slower.
        on_NM = (f_NM > 0).float()
        active.append(on_NM.sum(dim=-1))
        fired_M += on_NM.sum(dim=0).double().cpu()
    if not found:
        empty = x_ND.new_zeros(0, dictionary.output_width, dtype=dictionary.w_dec.dtype)
        return empty, x_ND.new_zeros(0), fired_M
    return torch.cat(found), torch.cat(active), fired_M


def _rise(probe: Probe, clean: Clean, site: str, keep: Tensor, found_NO: Tensor) -> Tensor:
    """Return how much the loss rises at each position or item; 0 where it is not counted."""
    assert clean.loss is not None, "a model without a loss has none that rises"
    x = clean.sites[site].clone()
    x[keep] = found_NO.to(x.dtype)
    spliced = loss_with(probe.specimen, clean, site, x, skip=probe.shortcuts[site])
    rise = spliced.double() - clean.loss.double()
    return torch.where(clean.loss.isfinite(), rise, 0.0)


class _Adder:
    """Sums by name that grow from batch to batch."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.found: Sums = {}

    def add(self, name: str, value: Tensor) -> None:
        value = value.detach().double().cpu()
        if name.startswith("item/"):
            before = self.found.get(name)
            self.found[name] = value if before is None else torch.cat([before, value])
        else:
            self.found[name] = self.found[name] + value if name in self.found else value

    def lap(self, name: str, began: float) -> float:
        """Add the seconds since `began` and return the present moment."""
        now = time.perf_counter()
        self.add(name, torch.tensor(now - began))
        return now

    def add_rows(self, name: str, values_N: Tensor, clean: Clean, keep: Tensor) -> None:
        """Add values of the kept rows of a site: altogether, to their items and places."""
        values_N = values_N.double().cpu()
        self.add(name, values_N.sum())
        items = torch.arange(clean.size)
        if len(clean.grid) == 2:
            items = items.unsqueeze(1).expand(clean.grid)
        shape, keep = keep.shape, keep.cpu()
        item_N = spread(items, shape, what="the number of the item")[keep]
        self.add(f"item/{name}", _count(item_N, values_N, clean.size))
        if self.probe.places and len(clean.grid) == 2:
            places = torch.arange(clean.grid[1]).expand(clean.grid)
            place_N = spread(places, shape, what="the position")[keep]
            self.add(f"place/{name}", _count(place_N, values_N, self.probe.places))

    def add_losses(self, name: str, values: Tensor, clean: Clean) -> None:
        """Add values [B] or [B, T] of the loss: altogether, to items, places and kinds."""
        values = values.double().cpu()
        self.add(name, values.sum())
        self.add(f"item/{name}", values.reshape(clean.size, -1).sum(dim=1))
        if self.probe.places and values.ndim == 2:
            padded = torch.zeros(self.probe.places, dtype=torch.float64)
            padded[: values.shape[1]] = values.sum(dim=0)
            self.add(f"place/{name}", padded)
        kind = clean.batch.labels.get("kind")
        if self.probe.kinds and kind is not None and kind.ndim <= values.ndim:
            kinds = spread(kind.cpu().long(), values.shape, what="the label 'kind'")
            self.add(f"kind/{name}", _count(kinds.flatten(), values.flatten(), self.probe.kinds))


def _count(index_N: Tensor, weights_N: Tensor, size: int) -> Tensor:
    return torch.bincount(index_N, weights=weights_N, minlength=size)
