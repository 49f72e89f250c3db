"""Activations read while a module runs (rooms jumprelu, scope).

The module is neither rewritten nor left changed: hooks live for one call of `capture`, its
mode (train or eval) stays as it is, and an exception inside the forward pass leaves no hook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.hooks import watch
from tenfold.parts.sae.sites import Site, find_sites, name_sites, parse_site

__all__ = ["Calls", "Site", "capture", "find_sites", "parse_site"]

Calls = Literal["once", "all"]


class _Left(BaseException):
    """Leaves a forward pass early; no `except Exception` of the module may keep it."""


def capture(
    module: nn.Module,
    sites: str | Site | Iterable[str | Site],
    call: Callable[[], Any],
    *,
    stop_early: bool = False,
    calls: Calls = "once",
    grad: bool = False,
) -> dict[str, Tensor]:
    """Run `call`, which runs `module`, and return what passed each site, features last.

    Args:
        module: the module the sites are names in.
        sites: as written in `sites`; the result has the names as written, one for each match
            of a wildcard.
        call: a function without arguments, such as `lambda: model(tokens)`.
        stop_early: leave the forward pass once every site was seen. What would run after that
            is not looked at, a second call of a module neither.
        calls: "once" takes modules called exactly once. "all" takes any number of calls and
            puts them on a new first axis, as recurrent cells need it.
        grad: keep the tensors themselves, in the graph of the forward pass. Else they are
            detached copies, safe from operations in place, and no graph is built.

    Raises:
        TenfoldError: if a site is unknown, not reached, no tensor, or called more often than
            `calls` says.
    """
    if stop_early and calls == "all":
        raise TenfoldError("calls='all' needs the whole forward pass; use stop_early=False")
    taken: dict[str, list[Tensor]] = {}
    left = _Left()

    def take(name: str, x: Tensor) -> None:
        taken[name].append(x if grad else x.detach().clone())
        if stop_early and all(taken.values()):
            raise left

    with ExitStack() as hooks, torch.set_grad_enabled(grad):
        for name, site in name_sites(module, sites).items():
            taken[name] = []
            hooks.enter_context(watch(module, site, partial(take, name)))
        try:
            call()
        except _Left as caught:
            if caught is not left:  # of a capture around this one
                raise
        finally:
            left.__traceback__ = None  # it holds the frames, and they hold the activations
    return _settled(taken, calls)


def _settled(taken: Mapping[str, Sequence[Tensor]], calls: Calls) -> dict[str, Tensor]:
    unreached = [name for name, tensors in taken.items() if not tensors]
    if unreached:
        raise unreached_error(unreached)
    if calls == "all":
        return {name: _stacked(name, tensors) for name, tensors in taken.items()}
    for name, tensors in taken.items():
        if len(tensors) > 1:
            raise TenfoldError(
                f"site {name!r} was passed {len(tensors)} times in one forward pass; take them "
                "all with calls='all', or name a module that is called once"
            )
    return {name: tensors[0] for name, tensors in taken.items()}


def unreached_error(names: Sequence[str]) -> TenfoldError:
    """Build the error for sites whose modules were never called."""
    return TenfoldError(
        f"the forward pass never called the module of {', '.join(map(repr, names))}; a parent "
        "may use its weights without calling it: name the parent or a module around it"
    )


def _stacked(name: str, tensors: Sequence[Tensor]) -> Tensor:
    shapes = {tuple(tensor.shape): None for tensor in tensors}
    if len(shapes) > 1:
        raise TenfoldError(
            f"site {name!r} had shapes {list(shapes)} in its {len(tensors)} calls; only equal "
            "ones can be taken together"
        )
    return torch.stack(list(tensors))
