"""Which modules of a network are worth a dictionary, found by watching it run once.

Names help, but what decides is who was called, in which order, and whose result is whose
argument. In a transformer these are Gemma Scope's sites of each block (arXiv:2408.05147, 3.1):
the heads before the output projection, what the feed-forward layer adds (behind its own norm,
where it has one) and the residual stream. In other networks: what each layer with parameters
gives, behind the norm and activation that follow it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
FEED_FORWARD = re.compile(r"mlp|feed_?forward|ffn|^ff$|moe", re.IGNORECASE)
NORM = re.compile(r"norm|^ln(_|$)", re.IGNORECASE)
# Their names hold words of their neighbours: post_attention_layernorm, resid_attn_dropout.
BESIDE = re.compile(r"norm|drop|rotary|embed|^ln(_|$)", re.IGNORECASE)
CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)


@dataclass(kw_only=True, slots=True)
class Visit:
    """What passed one module in the forward pass that was watched."""

    name: str
    module: nn.Module
    calls: int = 0
    order: int = 0
    """Rank of the moment at which the module returned."""
    given: tuple[int, ...] = ()
    """Shape of its first tensor argument; () if there was none."""
    before: tuple[str, ...] = ()
    """Modules that had returned this very argument."""
    shape: tuple[int, ...] = ()
    """Shape of its result, or of the first entry of a tuple; () for anything else."""
    entry: str = ""
    """How the result is named in a site: "" or ":out[0]"."""
    makers: tuple[str, ...] = ()
    """Modules that had returned this very result before, as the last one of a sequence does."""

    @property
    def site(self) -> str:
        """The site of its result, features on the last axis."""
        return (self.name + self.entry) or ":out"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """The sites of one transformer block; empty where it has none."""

    name: str
    layer: int
    residual: str
    attention: tuple[str, ...] = ()
    """Inputs of output projections; several in blocks that also attend to an encoder."""
    feed_forward: str = ""
    feed_forward_input: str = ""
    """What the norm before the feed-forward layer gives."""


Visits = Mapping[str, Visit]


@dataclass(kw_only=True)
class _Watch:
    visits: dict[str, Visit] = field(default_factory=dict)
    makers: dict[int, tuple[ReferenceType[Tensor], list[str]]] = field(default_factory=dict)
    returned: int = 0

    def enter(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        visit = self.visits.setdefault(name, Visit(name=name, module=module))
        visit.calls += 1
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if tensors:
            visit.given = tuple(tensors[0].shape)
            visit.before = tuple(self._makers(tensors[0]))

    def leave(self, name: str, _module: nn.Module, _args: Any, result: Any) -> None:
        visit = self.visits[name]
        self.returned += 1
        visit.order = self.returned
        several = isinstance(result, tuple | list) and len(result) > 0
        first = result[0] if several else result
        if not isinstance(first, Tensor) or not first.is_floating_point():
            return
        visit.shape = tuple(first.shape)
        visit.entry = ":out[0]" if several and len(result) > 1 else ""
        # A weak reference, so that a large model's activations can go; and identity, because
        # a number may be given to another tensor afterwards.
        visit.makers = tuple(self._makers(first))
        self.makers[id(first)] = (ref(first), [*visit.makers, name])

    def _makers(self, x: Tensor) -> list[str]:
        known, names = self.makers.get(id(x), (None, []))
        return names if known is not None and known() is x else []


def watch_modules(module: nn.Module, call: Callable[[], Any]) -> dict[str, Visit]:
    """Run `call`, which runs `module`, and return what passed each module that was called."""
    watching = _Watch()
    with ExitStack() as hooks, torch.no_grad():
        for name, child in module.named_modules():
            enter, leave = partial(watching.enter, name), partial(watching.leave, name)
            hooks.enter_context(child.register_forward_pre_hook(enter, with_kwargs=True))
            hooks.enter_context(child.register_forward_hook(leave))
        call()
    return watching.visits


def find_blocks(module: nn.Module, visits: Visits) -> list[Block]:
    """List the transformer blocks among the modules that were called, in order.

    Blocks are the entries of a list whose residual stream [..., T, D] keeps its shape and that
    hold at least two projections. Lists inside blocks are not looked at.
    """
    blocks: list[Block] = []
    for name, child in module.named_modules():
        if any(_is_within(name, block.name) for block in blocks):
            continue
        if isinstance(child, nn.ModuleList | nn.Sequential) and len(child):
            entries = [visits.get(_join(name, str(i))) for i in range(len(child))]
            found = [entry for entry in entries if entry is not None and _is_block(entry, visits)]
            if len(found) == len(entries):
                blocks += [_block(entry, visits) for entry in found]
    return blocks


def _join(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _is_within(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + ".")


def _inside(visit: Visit, visits: Visits) -> Iterator[Visit]:
    """Yield what was called inside a module, as registered: parents before children."""
    names = (_join(visit.name, name) for name, _ in visit.module.named_modules() if name)
    return (visits[name] for name in names if name in visits)


def _is_projection(visit: Visit) -> bool:
    weight = getattr(visit.module, "weight", None)
    is_matrix = isinstance(weight, Tensor) and weight.ndim == 2
    is_leaf = next(visit.module.children(), None) is None
    return is_matrix and is_leaf and not isinstance(visit.module, nn.Embedding)


def _is_block(visit: Visit, visits: Visits) -> bool:
    projections = [inner for inner in _inside(visit, visits) if _is_projection(inner)]
    width = visit.shape[-1] if visit.shape else 0
    reads = any(width in (inner.given[-1:] + inner.shape[-1:]) for inner in projections)
    keeps = len(visit.shape) >= 3 and visit.given == visit.shape
    return visit.calls == 1 and keeps and len(projections) >= 2 and reads


def _block(visit: Visit, visits: Visits) -> Block:
    inside = [inner for inner in _inside(visit, visits) if inner.calls == 1]
    attentions = _outermost(inside, ATTENTION)
    rest = [
        inner
        for inner in inside
        if not any(_is_within(inner.name, attention.name) for attention in attentions)
    ]
    outputs = [_last_projection(attention, visits) for attention in attentions]
    feed_forward = _last(_outermost(rest, FEED_FORWARD)) or _last(
        [inner for inner in rest if _is_projection(inner)]
    )
    if feed_forward is not None and feed_forward.name in visit.makers:
        # It adds the residual stream itself, as in BLOOM: what it adds comes before.
        feed_forward = _last_projection(feed_forward, visits) or feed_forward
    added, given = feed_forward, ""
    if feed_forward is not None:
        added = _norm_behind(feed_forward, rest) or feed_forward
        norms = [visits[name] for name in feed_forward.before if NORM.search(_word(visits[name]))]
        given = norms[-1].site if norms else ""
    return Block(
        name=visit.name,
        layer=int(visit.name.rpartition(".")[2]),
        residual=visit.site,
        attention=tuple(f"{output.name}:in" for output in outputs if output is not None),
        feed_forward=added.site if added is not None and added.shape else "",
        feed_forward_input=given,
    )


def _word(visit: Visit) -> str:
    return visit.name.rpartition(".")[2]


def _outermost(inside: list[Visit], pattern: re.Pattern[str]) -> list[Visit]:
    found: list[Visit] = []
    for inner in inside:
        words = (_word(inner), type(inner.module).__name__)
        fits = any(map(pattern.search, words)) and not any(map(BESIDE.search, words))
        if fits and not any(_is_within(inner.name, outer.name) for outer in found):
            found.append(inner)
    return found


def _last(visits: list[Visit]) -> Visit | None:
    return max(visits, key=lambda visit: visit.order, default=None)


def _last_projection(attention: Visit, visits: Visits) -> Visit | None:
    """Return the output projection; None if it is not called, as in `nn.MultiheadAttention`."""
    inside = [inner for inner in _inside(attention, visits) if inner.calls == 1]
    return _last([inner for inner in inside if _is_projection(inner)])


def _norm_behind(visit: Visit, among: list[Visit]) -> Visit | None:
    behind = [inner for inner in among if visit.name in inner.before]
    return next((inner for inner in behind if NORM.search(_word(inner)) and inner.shape), None)


def layer_sites(visits: Visits) -> dict[str, str]:
    """Map each module with parameters of its own to the site behind its norm and activation.

    Embeddings, the network's own result and modules called more than once are left out. Where
    channels are the second axis, as in images, the site says so by `@1`.
    """
    top = visits.get("")
    ends: dict[str, str] = {}
    for name, visit in visits.items():
        if not _holds_layer(visit) or (_is_follower(visit) and _source(visit, visits)):
            continue
        end = visit
        while follower := _follower(end, visits):
            end = follower
        if top is None or end.name not in top.makers or not ends:
            ends[name] = _with_axis(end, visit)
    return ends


def _holds_layer(visit: Visit) -> bool:
    has_own = next(visit.module.parameters(recurse=False), None) is not None
    is_table = isinstance(visit.module, nn.Embedding | nn.EmbeddingBag)
    is_plain = bool(visit.name) and len(visit.shape) >= 2
    return has_own and not is_table and visit.calls == 1 and is_plain


def _is_follower(visit: Visit) -> bool:
    """Say whether a module changes each activation a little and mixes none."""
    home = type(visit.module).__module__
    return home.startswith("torch.nn.modules.activation") or bool(
        NORM.search(_word(visit)) or NORM.search(type(visit.module).__name__)
    )


def _source(visit: Visit, visits: Visits) -> bool:
    return any(_holds_layer(visits[name]) for name in visit.before)


def _follower(visit: Visit, visits: Visits) -> Visit | None:
    found = (
        other
        for other in visits.values()
        if visit.name in other.before
        and other.order > visit.order
        and other.calls == 1
        and other.shape == visit.shape
        and _is_follower(other)
        and next(other.module.children(), None) is None
    )
    # The nearest: a result changed in place keeps the name of everyone who had it.
    return min(found, key=lambda other: other.order, default=None)


def _with_axis(end: Visit, start: Visit) -> str:
    first = isinstance(start.module, CHANNELS_FIRST) and len(end.shape) >= 3
    return f"{end.name}@1" if first else end.site
