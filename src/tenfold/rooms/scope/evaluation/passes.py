"""Passes of a model: the clean one, and again with one site replaced.

A loss with another activation at one site needs only that part of the model anew which runs
after the site. Modules that were called once and had ended before the site was reached give the
results that they gave in the clean pass; whether that leaves the loss the same to the last bit
is tried on the first batch of each site, and where it does not, the whole model runs.
"""

# B items of a batch, T positions, D width of a site, N rows that are kept

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.hooks import spread, spread_mask, watch
from tenfold.parts.sae.rows import Batch, moved
from tenfold.parts.sae.sites import name_sites
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.splice import splice
from tenfold.parts.sae.taps import capture

LEAST_SHARE = 0.02
"""Modules with fewer of the model's parameters are not worth the memory of their results."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clean:
    """What the untouched model did on one batch."""

    batch: Batch
    number: int
    """Of the batch."""
    first: int
    """Number of its first item."""
    size: int
    """Items B."""
    loss: Tensor | None
    """[B] or [B, T], NaN where nothing is predicted or the mask says no."""
    sites: Mapping[str, Tensor]
    """Activations [..., D]."""
    results: Mapping[str, Any]
    """What modules returned that need not run again."""

    def kept(self, site: str) -> Tensor:
        """Return which positions of a site count, bool [...]."""
        x = self.sites[site]
        if self.batch.mask is None:
            return torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
        return spread_mask(self.batch.mask, x)

    @property
    def grid(self) -> tuple[int, ...]:
        """[B, T] where mask or labels tell positions apart, else [B]."""
        return max((tuple(found.shape[:2]) for found in _marks(self.batch)), default=(self.size,))

    @property
    def num_bytes(self) -> int:
        """Size of what is held."""
        return sum(map(_num_bytes, (*self.sites.values(), *self.results.values())))


def count_items(batch: Batch) -> int:
    """Return the number of items of a batch, B.

    Raises:
        TenfoldError: if nothing in the batch has a first axis.
    """
    for value in (*_marks(batch), *batch.inputs, *batch.keywords.values()):
        if isinstance(value, Tensor) and value.ndim:
            return len(value)
    raise TenfoldError("a batch holds no tensor with an axis of items; give it a mask [B]")


def count_kept(batch: Batch) -> int:
    """Return how many tokens or items of a batch count."""
    return count_items(batch) if batch.mask is None else int(batch.mask.sum())


def _marks(batch: Batch) -> list[Tensor]:
    return [found for found in (batch.mask, *batch.labels.values()) if found is not None]


def call(specimen: Specimen, batch: Batch) -> Any:
    """Run the model on a batch and return what it returns."""
    if specimen.run is not None:
        return specimen.run(batch)
    here = moved(batch, specimen.module)
    return specimen.module(*here.inputs, **here.keywords)


@torch.no_grad()
def clean_pass(
    specimen: Specimen,
    batch: Batch,
    *,
    sites: Iterable[str],
    keep_results: Iterable[str] = (),
    number: int = 0,
    first: int = 0,
) -> Clean:
    """Run the untouched model on a batch.

    Args:
        specimen: the model; `loss` may be absent.
        batch: the data.
        sites: whose activations are kept.
        keep_results: modules whose results are kept.
        number: of the batch.
        first: number of its first item.

    Raises:
        TenfoldError: as `taps.capture`; if the loss does not fit the batch.
    """
    losses: list[Tensor] = []
    results: dict[str, Any] = {}

    def run() -> None:
        if specimen.loss is None:
            call(specimen, batch)
        else:
            losses.append(_counted(specimen.loss(batch), batch))

    with ExitStack() as hooks:
        for name in keep_results:
            module = specimen.module.get_submodule(name)
            hooks.enter_context(module.register_forward_hook(partial(_keep, results, name)))
        taken = capture(specimen.module, list(sites), run)
    return Clean(
        batch=batch,
        number=number,
        first=first,
        size=count_items(batch),
        loss=losses[0] if losses else None,
        sites=taken,
        results=results,
    )


def _keep(results: dict[str, Any], name: str, _module: nn.Module, _args: Any, result: Any) -> None:
    results[name] = _copied(result)


def _counted(loss: Tensor, batch: Batch) -> Tensor:
    """Return the loss with NaN where the mask says no."""
    size = count_items(batch)
    if loss.ndim not in (1, 2) or len(loss) != size:
        raise TenfoldError(
            f"the loss has shape {tuple(loss.shape)} on a batch of {size} items; give one number "
            "for each item [B] or each position [B, T]"
        )
    mask = batch.mask
    if mask is None or mask.ndim > loss.ndim:
        return loss.detach()
    counts = spread(mask.to(loss.device), loss.shape, what="the mask")
    return loss.detach().masked_fill(~counts, torch.nan)


@torch.no_grad()
def loss_with(
    specimen: Specimen, clean: Clean, site: str, x: Tensor, *, skip: Sequence[str] = ()
) -> Tensor:
    """Return the loss with `x` [..., D] in the place of a site's activation.

    Args:
        specimen: the model, which must have a loss.
        clean: its clean pass on the same batch.
        site: where.
        x: what takes the place of the whole activation.
        skip: modules that give their results of the clean pass instead of running.
    """
    assert specimen.loss is not None, "a model without a loss has none to compare"
    results = {name: clean.results[name] for name in skip}
    with _skipped(specimen.module, results), splice(specimen.module, {site: lambda _: x}):
        return _counted(specimen.loss(clean.batch), clean.batch)


@contextmanager
def _skipped(module: nn.Module, results: Mapping[str, Any]) -> Iterator[None]:
    """Let modules return what they returned before, without running."""
    with ExitStack() as undo:
        for name, result in results.items():
            attributes = module.get_submodule(name).__dict__
            undo.callback(_restore, attributes, attributes.get("forward"))
            attributes["forward"] = partial(_repeat, result)
        yield


def _repeat(result: Any, *_args: Any, **_kwargs: Any) -> Any:
    # A copy, because what comes next may work in place.
    return _copied(result)


def _restore(attributes: dict[str, Any], forward: Callable[..., Any] | None) -> None:
    attributes.pop("forward")
    if forward is not None:
        attributes["forward"] = forward


def find_shortcuts(
    specimen: Specimen, sites: Sequence[str], batch: Batch
) -> dict[str, tuple[str, ...]]:
    """Return for each site the modules that need not run again when it is replaced.

    Raises:
        TenfoldError: if the loss is not the same when the model runs again.
    """
    if specimen.loss is None:
        return dict.fromkeys(sites, ())
    candidates = _ended_before(specimen, sites, batch)
    wanted = dict.fromkeys(name for names in candidates.values() for name in names)
    clean = clean_pass(specimen, batch, sites=sites, keep_results=wanted)
    return {site: _proven(specimen, clean, site, candidates[site]) for site in sites}


def _proven(
    specimen: Specimen, clean: Clean, site: str, modules: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the modules if skipping them changes nothing, else none."""
    assert clean.loss is not None, "only a model with a loss has shortcuts"
    same = partial(loss_with, specimen, clean, site, clean.sites[site])
    if torch.allclose(same(skip=modules), clean.loss, rtol=0, atol=0, equal_nan=True):
        return modules
    again = same()
    if not torch.allclose(again, clean.loss, rtol=1e-4, atol=1e-5, equal_nan=True):
        off = float((again - clean.loss).nan_to_num().abs().max())
        raise TenfoldError(
            f"the loss of {specimen.name!r} differs by {off:.3g} when the model runs on the same "
            "batch again; put it in evaluation mode, so that it is a function of its inputs"
        )
    return ()


@torch.no_grad()
def _ended_before(
    specimen: Specimen, sites: Sequence[str], batch: Batch
) -> dict[str, tuple[str, ...]]:
    """Return for each site the largest modules that were called once and ended before it."""
    ended: list[str] = []
    odd: set[str] = set()
    before: dict[str, list[str]] = {}

    def end(name: str, _module: nn.Module, _args: Any, result: Any) -> None:
        ended.append(name)
        if not _is_plain(result):
            odd.add(name)

    def reach(site: str, _: Tensor) -> None:
        before[site] = list(ended)

    assert specimen.loss is not None, "only a model with a loss has shortcuts"
    with ExitStack() as hooks:
        # First these: a module whose own result is the site has ended by then.
        for name, module in specimen.module.named_modules():
            hooks.enter_context(module.register_forward_hook(partial(end, name)))
        for name, site in name_sites(specimen.module, sites).items():
            hooks.enter_context(watch(specimen.module, site, partial(reach, name)))
        specimen.loss(batch)
    usable = {name for name, count in Counter(ended).items() if count == 1} - odd
    return {site: _largest(specimen.module, usable & set(before.get(site, ()))) for site in sites}


def _largest(module: nn.Module, names: set[str]) -> tuple[str, ...]:
    """Return those of `names` that lie in no other one and hold enough parameters."""
    total = sum(parameter.numel() for parameter in module.parameters())
    chosen: list[str] = []
    for name, _ in module.named_modules():
        within = any(name.startswith(f"{other}.") for other in chosen)
        if name and name in names and not within:
            chosen.append(name)
    sizes = {name: _num_parameters(module.get_submodule(name)) for name in chosen}
    return tuple(name for name, size in sizes.items() if total and size >= LEAST_SHARE * total)


def _num_parameters(module: nn.Module) -> int:
    if isinstance(module, nn.Embedding):  # a look-up costs nothing, however large the table
        return 0
    return sum(parameter.numel() for parameter in module.parameters())


def _is_plain(result: Any) -> bool:
    if type(result) in (tuple, list):
        return all(map(_is_plain, result))
    return result is None or isinstance(result, Tensor)


def _copied(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.detach().clone()
    return None if result is None else type(result)(map(_copied, result))


def _num_bytes(result: Any) -> int:
    if isinstance(result, Tensor):
        return result.numel() * result.element_size()
    return 0 if result is None else sum(map(_num_bytes, result))
