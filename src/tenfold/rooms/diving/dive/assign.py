"""From what a network says to bounds of a sub-MIP (Nair et al. 2020, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.parts.mip.instance import Floats, Mip
from tenfold.parts.mip.propagate import grant_wishes
from tenfold.rooms.diving.dive.hooks import Hooks
from tenfold.rooms.diving.dive.slots import Ints, Slots, tighten
from tenfold.rooms.diving.method.diving import most_certain, sample_bits


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predicted:
    """What a network says of an instance."""

    slots: Slots
    logits: Tensor
    """[S], of each slot's bit."""
    chosen: Tensor
    """[H, S], logits of the coverage heads."""
    coverages: tuple[float, ...]
    """What each head was trained for."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Partial:
    """A partial assignment: bounds of a sub-MIP."""

    lower: Floats
    """[n]."""
    upper: Floats
    """[n]."""
    coverage: float
    """Share of slots that were to be assigned."""
    tightened: int
    """Whole columns whose bounds moved."""
    refused: int = 0
    """Columns whose assignment the rows ruled out, given the surer ones."""


def partial_assignments(
    mip: Mip,
    predicted: Predicted,
    *,
    coverage: float,
    hooks: Hooks | None = None,
    count: int = 1,
    generator: torch.Generator | None = None,
    propagation: bool = True,
) -> list[Partial]:
    """Return partial assignments, the likeliest first, then sampled ones.

    Args:
        mip: the instance.
        predicted: of it.
        coverage: share of slots to assign.
        hooks: of the family; a decoder takes the place of rounding bit by bit.
        count: how many.
        generator: of the samples; needed if there is more than one.
        propagation: assign the surest first and leave out what rows rule out after that.
    """
    assert count == 1 or generator is not None, "samples need a generator"
    hooks = hooks or Hooks()
    draw = generator or torch.Generator()
    bits = sample_bits(predicted.logits, count, draw)
    return [_partial(mip, predicted, row, coverage, hooks, propagation) for row in bits]


def _partial(
    mip: Mip, predicted: Predicted, bits: Tensor, coverage: float, hooks: Hooks, propagation: bool
) -> Partial:
    certainty = _certainty(predicted, bits, coverage)
    if hooks.decode is not None:
        lower, upper = hooks.bounds(mip, _likely(mip, predicted, bits), coverage)
    else:
        chosen = most_certain(certainty, coverage)
        lower, upper = tighten(mip, predicted.slots, bits.numpy(), chosen.numpy())
    moved = mip.whole & ((lower > mip.lower + 1e-9) | (upper < mip.upper - 1e-9))
    refused = 0
    if propagation:
        columns = _surest_first(np.flatnonzero(moved), predicted.slots, certainty)
        lower, upper, granted = grant_wishes(mip, columns, lower[columns], upper[columns])
        refused = int((~granted).sum())
        moved = mip.whole & ((lower > mip.lower + 1e-9) | (upper < mip.upper - 1e-9))
    return Partial(
        lower=lower, upper=upper, coverage=coverage, tightened=int(moved.sum()), refused=refused
    )


def _surest_first(columns: Ints, slots: Slots, certainty: Tensor) -> Ints:
    """Return columns by the certainty of their surest slot; those without a slot come last."""
    best = np.full(int(slots.column.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(best, slots.column, certainty.double().numpy())
    known = np.full(len(columns), -np.inf)
    inside = columns < len(best)
    known[inside] = best[columns[inside]]
    return columns[np.argsort(-known, kind="stable")]


def _certainty(predicted: Predicted, bits: Tensor, coverage: float) -> Tensor:
    """Return how much each slot's bit is to be trusted, [S].

    The head whose coverage is nearest says which slots to assign, the likelihood of the bit
    breaks its ties; bits that were sampled against the odds come last.
    """
    signed = torch.where(bits, predicted.logits, -predicted.logits)
    if not len(predicted.coverages):
        return signed
    nearest = int(np.argmin([abs(head - coverage) for head in predicted.coverages]))
    return torch.nn.functional.logsigmoid(predicted.chosen[nearest]) + (
        torch.nn.functional.logsigmoid(signed)
    )


def _likely(mip: Mip, predicted: Predicted, bits: Tensor) -> Floats:
    """Return the chance of 1 of each predicted binary column, [n], NaN elsewhere.

    A bit that was sampled against the odds is told as a toss-up leaning its way.
    """
    logits = torch.where(bits == (predicted.logits > 0), predicted.logits, -0.01 * predicted.logits)
    likely = np.full(len(mip.cost), np.nan)
    binary = mip.upper[predicted.slots.column] - mip.lower[predicted.slots.column] < 1.5
    likely[predicted.slots.column[binary]] = logits.double().sigmoid().numpy()[binary]
    return likely
