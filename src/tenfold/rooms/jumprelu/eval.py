"""The paper's metrics of a dictionary, on rows it was not trained on (GS 4; SAEBench 3.2).

| metric | definition |
|---|---|
| L0 | mean number of active latents on a row |
| FVU | E ||x - x_hat||^2 / E ||x - E x||^2, a ratio of means |
| reconstruction bias | gamma = E ||x_hat||^2 / E [x . x_hat]; 1 is no shrinkage |
| firing frequency | share of rows on which a latent is active |
| delta loss | model loss with the dictionary spliced in, minus without |

For a transcoder x is the activation y of the site that it rebuilds.
"""

# B rows of a batch, D width, O width of what is rebuilt, M latents, T positions

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.splice import bridge, splice
from tenfold.rooms.jumprelu.model import Dictionary

OFTEN = (0.01, 0.1)
"""Firing frequencies above which latents are counted as high-frequency."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """A dictionary's metrics on `rows` rows."""

    rows: int
    l0: float
    fvu: float
    reconstruction_bias: float
    frequencies: np.ndarray
    """Firing frequency of each latent, [M]."""

    @property
    def dead(self) -> int:
        """Latents that never fired."""
        return int((self.frequencies == 0).sum())

    def above(self, frequency: float) -> int:
        """Return the number of latents that fire more often than `frequency`."""
        return int((self.frequencies > frequency).sum())

    def histogram(self) -> Json:
        """Return the numbers of latents by the decimal logarithm of their firing frequency."""
        counts, edges = np.histogram(
            np.log10(np.maximum(self.frequencies, 1e-6)), bins=24, range=(-6, 0)
        )
        return {"frequency_counts": counts.tolist(), "frequency_edges": edges.tolist()}

    def summary(self) -> Json:
        """Return the metrics as plain values, frequencies by counts."""
        return {
            "rows": self.rows,
            "l0": self.l0,
            "fvu": self.fvu,
            "reconstruction_bias": self.reconstruction_bias,
            "dead": self.dead,
            **{f"above_{100 * often:g}_percent": self.above(often) for often in OFTEN},
        }


@torch.no_grad()
def measure(
    dictionary: Dictionary, batches: Iterable[Tensor] | Iterable[tuple[Tensor, Tensor]]
) -> Measures:
    """Measure a dictionary on raw activations.

    Args:
        dictionary: folded or not.
        batches: rows [n, D]; for a transcoder pairs of rows [n, D] and of the other site's
            rows [n, O] that belong to them.

    Raises:
        TenfoldError: if there are no rows, widths differ, the rows do not vary, or a
            transcoder is given no pairs.
    """
    width = dictionary.output_width
    device = dictionary.w_enc.device
    fired = torch.zeros(dictionary.width, dtype=torch.int64, device=device)
    total = torch.zeros(width, dtype=torch.float64, device=device)
    # Sums over rows: ||y||^2, ||y - y_hat||^2, ||y_hat||^2, y . y_hat.
    squares = torch.zeros(4, dtype=torch.float64, device=device)
    rows = 0
    for batch in batches:
        x_BD, y_BO = (
            rows.to(device=device, dtype=dictionary.w_enc.dtype)
            for rows in _pair(dictionary, batch)
        )
        f_BM = dictionary.encode(x_BD)
        found_BO = dictionary.decode(f_BM, x_BD)
        off_BO = y_BO - found_BO
        fired += (f_BM > 0).sum(dim=0)
        total += y_BO.sum(dim=0, dtype=torch.float64)
        pairs = ((y_BO, y_BO), (off_BO, off_BO), (found_BO, found_BO), (y_BO, found_BO))
        squares += torch.stack([(a * b).sum(dtype=torch.float64) for a, b in pairs])
        rows += len(y_BO)
    if rows == 0:
        raise TenfoldError("0 rows to measure on; give held-out activations")
    power, error, size, overlap = squares.tolist()
    variance = power - float(total.square().sum()) / rows
    if variance <= 1e-12 * power:
        raise TenfoldError(f"the {rows} rows are all alike; FVU is not defined on them")
    return Measures(
        rows=rows,
        l0=float(fired.sum()) / rows,
        fvu=error / variance,
        reconstruction_bias=size / overlap if overlap else float("nan"),
        frequencies=(fired.double() / rows).cpu().numpy(),
    )


def _pair(dictionary: Dictionary, batch: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return inputs and what is to be rebuilt from them, of fitting shapes."""
    if isinstance(batch, Tensor):
        check_width(dictionary, batch)
        if dictionary.transcoder:
            raise TenfoldError(
                "a transcoder rebuilds another site's activations; give pairs of both sites' rows"
            )
        return batch, batch
    x_BD, y_BO = batch
    check_width(dictionary, x_BD)
    if y_BO.shape != (*x_BD.shape[:-1], dictionary.output_width):
        raise TenfoldError(
            f"targets {list(y_BO.shape)} do not fit inputs {list(x_BD.shape)} of a dictionary "
            f"that rebuilds width {dictionary.output_width}; give the other site's rows in order"
        )
    return x_BD, y_BO


def check_width(dictionary: Dictionary, x_BD: Tensor) -> None:
    """Refuse activations of another width than the dictionary's.

    Raises:
        TenfoldError: naming both shapes.
    """
    if x_BD.shape[-1] != dictionary.input_width:
        raise TenfoldError(
            f"activations {list(x_BD.shape)} have width {x_BD.shape[-1]}, the dictionary is "
            f"D {dictionary.input_width} x M {dictionary.width}; they come from different sites"
        )


@torch.no_grad()
def delta_loss(
    module: nn.Module,
    site: str | tuple[str, str],
    dictionary: Dictionary,
    *,
    loss: Callable[[Tensor], Tensor],
    batches: Sequence[Batch],
    clean: float,
) -> float:
    """Return how much a model's mean loss rises when the dictionary replaces a site.

    Masked positions keep their clean value.

    Args:
        module: the running model.
        site: where its activation is replaced by the reconstruction; for a transcoder the
            site that it reads and the site that it replaces.
        dictionary: folded or not; it sees raw activations.
        loss: tokens [B, T] to losses [B, T - 1], by running `module` on all but the last.
        batches: held-out tokens with their masks.
        clean: mean loss of the untouched model on the same tokens.

    Raises:
        TenfoldError: if a transcoder is given one site, or an autoencoder two; as `splice`.
    """
    mask: Tensor | None = None

    def spliced(batch: Batch) -> Tensor:
        nonlocal mask
        mask = None if batch.mask is None else batch.mask[:, :-1]
        return loss(batch.inputs[0])

    with _in_place(module, site, dictionary, mask=lambda: mask):
        return _mean_over_kept(spliced, batches) - clean


def _in_place(
    module: nn.Module,
    site: str | tuple[str, str],
    dictionary: Dictionary,
    *,
    mask: Callable[[], Tensor | None],
) -> AbstractContextManager[object]:
    if dictionary.transcoder != isinstance(site, tuple):
        wanted = "the sites it reads and replaces" if dictionary.transcoder else "one site"
        kind = "a transcoder" if dictionary.transcoder else "an autoencoder"
        raise TenfoldError(f"site {site!r} does not fit {kind}; give {wanted}")
    if isinstance(site, tuple):
        return bridge(module, {site: dictionary}, mask=mask)
    return splice(module, {site: dictionary}, mask=mask)


@torch.no_grad()
def mean_loss(loss: Callable[[Tensor], Tensor], batches: Sequence[Batch]) -> float:
    """Return the mean of losses over tokens that are kept and follow a kept one."""
    return _mean_over_kept(lambda batch: loss(batch.inputs[0]), batches)


def _mean_over_kept(loss: Callable[[Batch], Tensor], batches: Sequence[Batch]) -> float:
    kept = []
    for batch in batches:
        losses = loss(batch).double()
        mask = torch.ones_like(losses, dtype=torch.bool)
        if batch.mask is not None:
            mask = (batch.mask[:, :-1] & batch.mask[:, 1:]).to(losses.device)
        kept.append(losses[mask])
    return float(torch.cat(kept).mean())
