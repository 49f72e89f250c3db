"""How a site is read and replaced while its module runs (rooms jumprelu, scope).

Arguments given by place or by name, tuples, lists, dicts, named tuples and dataclasses are
followed to the tensor, and rebuilt in their own type around its replacement.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.sites import Key, Site

Visit = Callable[[Tensor], Tensor | None]


def watch(module: nn.Module, site: Site, visit: Visit) -> RemovableHandle:
    """Show each tensor [..., D] that passes `site` to `visit`; one it returns takes its place."""
    target = module.get_submodule(site.module)
    if site.side == "out":

        def leaving(_module: nn.Module, _args: Any, result: Any) -> Any:
            return _visited(result, site.entry, site, visit)

        return target.register_forward_hook(leaving)

    def entering(called: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        place = _argument(called, args, kwargs, site)
        given: Any = args if isinstance(place, int) else kwargs
        changed = _visited(given, (place, *site.entry[1:]), site, visit)
        if changed is None:
            return None
        return (changed, kwargs) if isinstance(place, int) else (args, changed)

    return target.register_forward_pre_hook(entering, with_kwargs=True)


def spread(values: Tensor, positions: Sequence[int], *, what: str) -> Tensor:
    """Give every position of an activation its value: [B] or [B, T] becomes [*positions].

    The axes of `values` are the first ones of the positions, or the same ones flattened.

    Raises:
        TenfoldError: if the shapes do not fit.
    """
    shape, wanted = tuple(values.shape), tuple(positions)
    if shape == wanted[: len(shape)]:
        return values.reshape(shape + (1,) * (len(wanted) - len(shape))).expand(wanted)
    if len(wanted) == 1 and values.numel() == wanted[0]:
        return values.flatten()
    raise TenfoldError(
        f"{what} has shape {shape}, the activation has positions {wanted}; they must agree from "
        "the first axis on"
    )


def spread_mask(mask: Tensor, x: Tensor) -> Tensor:
    """Give every position of `x` [..., D] its value of a mask, on the device of `x`.

    Raises:
        TenfoldError: if the mask is not bool or does not fit.
    """
    if mask.dtype != torch.bool:
        raise TenfoldError(
            f"the mask is {mask.dtype}; make it bool, True at the positions that count"
        )
    return spread(mask.to(x.device), x.shape[:-1], what="the mask")


def _argument(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], site: Site
) -> Key:
    """Return the place in `args` or the name in `kwargs` where the site's argument was given."""
    wanted = site.entry[0] if site.entry else 0
    names = _positional_names(module)
    if isinstance(wanted, str):
        if wanted in kwargs:
            return wanted
        if wanted in names[: len(args)]:
            return names.index(wanted)
    elif -len(args) <= wanted < len(args):
        return wanted % len(args)
    elif 0 <= wanted < len(names) and names[wanted] in kwargs:
        return names[wanted]
    raise TenfoldError(
        f"site {site} asks for argument {wanted!r}; the call gave {len(args)} by place and "
        f"{sorted(kwargs)} by name: write {site.module}:in[NAME] with one of them"
    )


def _positional_names(module: nn.Module) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def _visited(value: Any, entry: Sequence[Key], site: Site, visit: Visit) -> Any:
    """Show the tensor at `entry` to `visit`; return `value` with its replacement, None if none."""
    if not entry and len(_keys(value)) == 1:
        entry = _keys(value)  # the only one, so nothing is guessed
    if entry:
        key = _existing_key(value, entry[0], site)
        child = _visited(_child(value, key), entry[1:], site, visit)
        return None if child is None else _with_child(value, key, child)
    if not isinstance(value, Tensor):
        raise _not_a_tensor(value, site)
    changed = visit(_features_last(value, site))
    return None if changed is None else _features_back(changed, like=value, axes=site.axes)


def _not_a_tensor(value: Any, site: Site) -> TenfoldError:
    fault = f"site {site} holds {type(value).__name__}, not one tensor; "
    keys = _keys(value)
    if not keys:
        return TenfoldError(fault + "name another entry or another module")
    above = site.entry or ((0,) if site.side == "in" else ())
    example = dataclasses.replace(site, entry=(*above, keys[0]))
    return TenfoldError(fault + f"name one of its entries {keys}, for instance {example}")


def _keys(value: Any) -> list[Key]:
    if isinstance(value, Mapping):
        return list(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(value._fields)
    if isinstance(value, tuple | list):
        return list(range(len(value)))
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return []


def _existing_key(value: Any, key: Key, site: Site) -> Key:
    """Return `key` as `value` knows it; a number also finds the n-th named entry."""
    keys = _keys(value)
    if key in keys:
        return key
    if isinstance(key, int) and -len(keys) <= key < len(keys):
        return keys[key]
    raise TenfoldError(
        f"site {site} asks for entry {key!r} of {type(value).__name__}, which has {keys or 'none'}"
    )


def _child(value: Any, key: Key) -> Any:
    by_item = isinstance(value, Mapping) or isinstance(key, int)
    return value[key] if by_item else getattr(value, str(key))


def _with_child(value: Any, key: Key, child: Any) -> Any:
    """Return a copy of a container, of its own type, with one entry exchanged."""
    if isinstance(value, Mapping):
        changed: Any = copy.copy(value)
        changed[key] = child
        return changed
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named: Any = value
        return named._replace(**{str(key): child})
    if isinstance(value, tuple | list):
        return type(value)(child if i == key else entry for i, entry in enumerate(value))
    return dataclasses.replace(value, **{str(key): child})


def _features_last(x: Tensor, site: Site) -> Tensor:
    axes = site.axes
    exist = all(-x.ndim <= axis < x.ndim for axis in axes)
    if not exist or len({axis % x.ndim for axis in axes}) < len(axes):
        raise TenfoldError(
            f"site {site} has features on axes {axes}, its tensor has shape {tuple(x.shape)}; "
            "name axes that exist, each once, as in @1"
        )
    if axes == (-1,):
        return x
    return torch.movedim(x, axes, tuple(range(-len(axes), 0))).flatten(-len(axes))


def _features_back(x: Tensor, *, like: Tensor, axes: tuple[int, ...]) -> Tensor:
    if axes == (-1,):
        return x
    split = x.reshape(*x.shape[:-1], *(like.shape[axis] for axis in axes))
    return torch.movedim(split, tuple(range(-len(axes), 0)), axes)
