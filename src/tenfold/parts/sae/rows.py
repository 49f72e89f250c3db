"""From a batch to the rows of activations that count (rooms jumprelu, scope).

A row is one kept position of one site: its D features, and the labels that came with the
batch. Rows are in the order of the positions. B sequences, T positions, D features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.hooks import spread, spread_mask
from tenfold.parts.sae.taps import Calls, capture


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What a module is called with once."""

    inputs: tuple[Any, ...] = ()
    """Arguments by place; tensors among them are moved to the device of the module."""
    keywords: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments by name, moved likewise."""
    mask: Tensor | None = None
    """True at the positions to keep, [B, T] or [B]; None keeps all."""
    labels: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """Numbers to save beside each row, [B, T] or [B]: token ids, positions, documents."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How a module is run on batches and which rows are taken."""

    forward: Callable[[Batch], Any] | None = None
    """Runs the module on a batch; None is `module(*inputs, **keywords)`."""
    calls: Calls = "once"
    """As for `taps.capture`; with "all" the first position axis counts the calls."""
    norm_limit: float = 0.0
    """Leave out rows with a norm above this many times the median norm of their site and
    batch, as attention sinks have; 0 keeps all."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What one batch gave at one site."""

    x: Tensor
    """Features [n, D]."""
    labels: dict[str, Tensor]
    """Each [n]."""
    outliers: int
    """Rows left out because of their norm."""


def keep_tokens(tokens: Tensor, *, drop: Collection[int] = (), first: int = 0) -> Tensor:
    """Return the mask [..., T] that leaves out special tokens and the `first` positions.

    One beginning-of-text token left in spoils scales, thresholds and averages: its norm is
    often orders of magnitude above all others.
    """
    special = torch.tensor(sorted(drop), dtype=tokens.dtype, device=tokens.device)
    mask = ~torch.isin(tokens, special)
    mask[..., :first] = False
    return mask


def read_rows(
    module: nn.Module,
    names: Sequence[str],
    batch: Batch,
    *,
    number: int,
    reading: Reading,
    whole: bool,
) -> dict[str, Rows]:
    """Run `module` on batch `number` and return the rows of each site.

    Args:
        module: left in its mode.
        names: sites without wildcards.
        batch: the data.
        number: of the batch, for errors.
        reading: which rows are taken.
        whole: run the whole module, to make sure that each site is passed as often as
            `reading.calls` says; else leave it after the last site.

    Raises:
        TenfoldError: as `taps.capture`; for a mask or label that does not fit; for a value
            that is not finite, with its site, batch and position.
    """
    batch = moved(batch, module)

    def call() -> None:
        if reading.forward is None:
            module(*batch.inputs, **batch.keywords)
        else:
            reading.forward(batch)

    early = not whole and reading.calls == "once"
    taken = capture(module, names, call, stop_early=early, calls=reading.calls)
    return {
        name: _kept(x, batch, reading, where=f"site {name!r} at batch {number}")
        for name, x in taken.items()
    }


def moved(batch: Batch, module: nn.Module) -> Batch:
    """Return the batch with the tensors among its arguments on the device of `module`."""
    parameter = next(module.parameters(), None)
    if parameter is None:
        return batch

    def move(value: Any) -> Any:
        return value.to(parameter.device) if isinstance(value, Tensor) else value

    inputs = tuple(map(move, batch.inputs))
    keywords = {name: move(value) for name, value in batch.keywords.items()}
    return dataclasses.replace(batch, inputs=inputs, keywords=keywords)


def _kept(x: Tensor, batch: Batch, reading: Reading, *, where: str) -> Rows:
    """Return the rows of `x` [..., D] that the mask and the norm limit leave."""
    positions = x.shape[:-1]
    keep = torch.ones(positions, dtype=torch.bool, device=x.device)
    if batch.mask is not None:
        keep = spread_mask(batch.mask, x)
    index = keep.reshape(-1).nonzero().squeeze(1)
    rows = x.reshape(-1, x.shape[-1])[index]
    _refuse_non_finite(rows, index, positions, where=where)
    num_kept = len(rows)
    if reading.norm_limit and num_kept:
        norms = torch.linalg.vector_norm(rows.float(), dim=1)
        usual = norms <= reading.norm_limit * norms.median()
        rows, index = rows[usual], index[usual]
    labels = {
        name: spread(label.to(x.device), positions, what=f"label {name!r}").reshape(-1)[index]
        for name, label in batch.labels.items()
    }
    return Rows(x=rows, labels=labels, outliers=num_kept - len(rows))


def _refuse_non_finite(
    rows: Tensor, index: Tensor, positions: Sequence[int], *, where: str
) -> None:
    bad = (~torch.isfinite(rows)).any(dim=1).nonzero()
    if not len(bad):
        return
    first = int(bad[0])
    place = torch.unravel_index(index[first], tuple(positions))
    value = next(value for value in rows[first].tolist() if not abs(value) < float("inf"))
    raise TenfoldError(
        f"{where}, position {tuple(int(axis) for axis in place)}, has the value {value}; mask "
        "such positions, or run the module in a wider dtype"
    )
