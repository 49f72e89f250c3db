"""Dictionaries put into a running module in place of activations (rooms jumprelu, scope)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.hooks import spread_mask, watch
from tenfold.parts.sae.sites import Site, name_sites
from tenfold.parts.sae.taps import unreached_error

Reconstruct = Callable[[Tensor], Tensor]
SiteName = str | Site
Mask = Tensor | Callable[[], Tensor | None] | None


@contextmanager
def splice(
    module: nn.Module,
    dictionaries: Mapping[str, Reconstruct] | Mapping[Site, Reconstruct],
    *,
    error: Literal["drop", "keep"] = "drop",
    mask: Mask = None,
) -> Iterator[Mapping[str, int]]:
    """Replace the activations of sites by their reconstructions inside the `with` block.

    Every call of a site's module is replaced. Of two splices of one site the inner one sees
    what the outer one put there, and so does a `capture` inside the block.

    Args:
        module: the module the sites are names in.
        dictionaries: site to a function [..., D] -> [..., D]; a wildcard stands for all of its
            sites. The function gets the activation as it is; its result is cast to that dtype.
        error: "drop" leaves the reconstruction alone. "keep" adds the error x - x_hat as a
            constant: the values stay exactly those of the clean pass, the gradients go
            through the reconstruction only. To edit latents and keep the error, pass
            `lambda x: edited(x) + (x - clean(x)).detach()` with "drop".
        mask: True where to replace; other positions keep the clean value and its gradient.
            A tensor that fits every forward pass, or a function that is asked in each call
            and may return None (replace all).

    Yields:
        How often each site was replaced so far.

    Raises:
        TenfoldError: if a site is unknown, or its module was never called before the block
            ended; inside the forward pass if a reconstruction has another shape.
    """
    counts: dict[str, int] = {}
    with ExitStack() as hooks:
        for written, reconstruct in dictionaries.items():
            for name, site in name_sites(module, written).items():
                counts[name] = 0
                visit = _replacer(name, reconstruct, error=error, mask=mask, counts=counts)
                hooks.enter_context(watch(module, site, visit))
        yield counts
    _refuse_unreached(counts)


@contextmanager
def bridge(
    module: nn.Module,
    dictionaries: Mapping[tuple[SiteName, SiteName], Reconstruct],
    *,
    error: Literal["drop", "keep"] = "drop",
    mask: Mask = None,
) -> Iterator[Mapping[str, int]]:
    """Replace activations by functions of an earlier site's, as transcoders do.

    In each forward pass the function of a pair sees what last passed the first site, and its
    result takes the place of what passes the second. A pair behind another one sees what the
    other one has changed.

    Args:
        module: the module the sites are names in.
        dictionaries: (site read, site replaced) to a function [..., D] -> [..., O], where O is
            the width of the second site; each name stands for one site.
        error: as for `splice`; the error is that of the second site.
        mask: as for `splice`, at the second site.

    Yields:
        How often each second site was replaced so far.

    Raises:
        TenfoldError: as `splice`; if a name stands for several sites; inside the forward pass
            if the second site is passed before the first one.
    """
    counts: dict[str, int] = {}
    with ExitStack() as hooks:
        for (source, target), reconstruct in dictionaries.items():
            (given, site_in), (name, site_out) = _one(module, source), _one(module, target)
            counts[name] = 0
            held = _Held(given, name)
            hooks.callback(held.seen.clear)
            hooks.enter_context(watch(module, site_in, held.see))
            across = held.through(reconstruct)
            visit = _replacer(name, across, error=error, mask=mask, counts=counts)
            hooks.enter_context(watch(module, site_out, visit))
        yield counts
    _refuse_unreached(counts)


class _Held:
    """What passed the first site of a bridge, until the second site asks for it."""

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self.seen: list[Tensor] = []

    def see(self, x: Tensor) -> None:
        # Only the last: an earlier forward pass may have been left before the second site.
        self.seen[:] = [x]

    def through(self, reconstruct: Reconstruct) -> Reconstruct:
        def replacement(_: Tensor) -> Tensor:
            if not self.seen:
                raise TenfoldError(
                    f"site {self.target!r} was passed before {self.source!r}, from which it is to "
                    "be rebuilt; name a first site that the forward pass reaches earlier"
                )
            return reconstruct(self.seen.pop())

        return replacement


def _one(module: nn.Module, written: SiteName) -> tuple[str, Site]:
    found = list(name_sites(module, written).items())
    if len(found) > 1:
        raise TenfoldError(
            f"{str(written)!r} stands for {len(found)} sites, a bridge has one at each end; "
            f"name one of them, for instance {found[0][0]!r}"
        )
    return found[0]


def _refuse_unreached(counts: Mapping[str, int]) -> None:
    unreached = [name for name, count in counts.items() if not count]
    if unreached:
        raise unreached_error(unreached)


def _replacer(
    name: str, reconstruct: Reconstruct, *, error: str, mask: Mask, counts: dict[str, int]
) -> Reconstruct:
    def replace(x: Tensor) -> Tensor:
        counts[name] += 1
        x_hat = reconstruct(x)
        if x_hat.shape != x.shape:
            raise TenfoldError(
                f"the reconstruction at site {name!r} has shape {tuple(x_hat.shape)}, the "
                f"activation {tuple(x.shape)}; was the dictionary trained at this site?"
            )
        if error == "keep":
            # Equal to x_hat + (x - x_hat).detach(), but without its rounding.
            x_hat = x.detach() + (x_hat - x_hat.detach()).to(x.dtype)
        return _where(mask() if callable(mask) else mask, x_hat.to(x.dtype), x)

    return replace


def _where(mask: Tensor | None, x_hat: Tensor, x: Tensor) -> Tensor:
    if mask is None:
        return x_hat
    keep = spread_mask(mask, x)
    return torch.where(keep.unsqueeze(-1), x_hat, x)
