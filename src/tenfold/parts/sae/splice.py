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
