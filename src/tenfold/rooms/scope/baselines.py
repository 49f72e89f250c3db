"""Stand-ins that any dictionary has to beat: mean, zero, principal components.

They are fitted to rows of the training split and measured on held-out ones, like dictionaries.
"""

# N rows, O width of a site, K components

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.harvest import stream
from tenfold.parts.sae.rows import Reading
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope.evaluation.passes import count_kept
from tenfold.rooms.scope.evaluation.sums import Rebuild

COUNTS = 4
"""Numbers of components tried at a site, at the most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Mean and principal directions of a site's activations."""

    rows: int
    mean: Tensor
    """[O]."""
    directions: Tensor
    """Unit vectors, that of the largest variance first, [O, O]."""
    variances: Tensor
    """Along the directions, [O]."""


class _Adding:
    """Sums of one site, about a centre near its mean so that float32 suffices for squares."""

    def __init__(self, first_NO: Tensor) -> None:
        self.centre = first_NO.float().mean(dim=0)
        self.rows = 0
        width = first_NO.shape[1]
        self.total = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, x_NO: Tensor) -> None:
        x_NO = x_NO.float() - self.centre
        self.rows += len(x_NO)
        self.total += x_NO.sum(dim=0, dtype=torch.float64).cpu()
        self.products += (x_NO.T @ x_NO).double().cpu()

    def moments(self) -> Moments:
        off = self.total / self.rows
        covariance = self.products / self.rows - torch.outer(off, off)
        variances, directions = torch.linalg.eigh(covariance)
        device = self.centre.device
        return Moments(
            rows=self.rows,
            mean=(self.centre.double().cpu() + off).float().to(device),
            directions=directions.flip(1).float().to(device),
            variances=variances.flip(0).clamp_min(0).float().to(device),
        )


@torch.no_grad()
def fit_moments(specimen: Specimen, sites: Sequence[str], *, tokens: int) -> dict[str, Moments]:
    """Fit each site's mean and principal directions to the first batches of training data.

    Args:
        specimen: the model with its data.
        sites: where.
        tokens: how many tokens or items to read, at the least.

    Raises:
        TenfoldError: if there are fewer than two rows.
    """
    reading = Reading(forward=specimen.run)
    batches = []
    for batch in specimen.batches("train"):
        batches.append(batch)
        if sum(map(count_kept, batches)) >= tokens:
            break
    sums: dict[str, _Adding] = {}
    for rows in stream(specimen.module, list(sites), batches, reading=reading):
        for site, x_NO in rows.items():
            if len(x_NO):
                sums.setdefault(site, _Adding(x_NO)).add(x_NO)
    for site in sites:
        if site not in sums or sums[site].rows < 2:
            raise TenfoldError(
                f"the training split gives fewer than two rows at {site!r}; baselines need some"
            )
    return {site: found.moments() for site, found in sums.items()}


def component_counts(target_l0: Sequence[float], *, width: int) -> tuple[int, ...]:
    """Return as many components as dictionaries have active latents, below the site's width."""
    whole = sorted({max(1, round(l0)) for l0 in target_l0 if 0 < l0 < width - 0.5})
    if len(whole) <= COUNTS:
        return tuple(whole)
    places = [round(i * (len(whole) - 1) / (COUNTS - 1)) for i in range(COUNTS)]
    return tuple(whole[place] for place in places)


def stand_ins(moments: Moments, counts: Sequence[int]) -> dict[str, Rebuild]:
    """Return what takes the place of rows [N, O], by name."""
    pca = {f"pca/{count}": partial(project, moments, count) for count in counts}
    return {"mean": partial(project, moments, 0), "zero": torch.zeros_like, **pca}


def project(moments: Moments, count: int, y_NO: Tensor) -> Tensor:
    """Return the rows with `count` principal components kept and the mean elsewhere."""
    directions_OK = moments.directions[:, :count]
    return moments.mean + (y_NO - moments.mean) @ directions_OK @ directions_OK.T


def baseline_metrics(sums: Mapping[str, Tensor], *, variance: float, predicted: float) -> Json:
    """Return FVU and delta loss of each stand-in from a site's sums.

    Args:
        sums: of the site, as `evaluation.sums.sum_site` makes them.
        variance: sum of squares about the mean, of the same rows.
        predicted: tokens or items on which the loss was taken; 0 if it was not.
    """
    found: Json = {"pca": []}
    for name in (name for name in sums if name.startswith("error/")):
        short = name.removeprefix("error/")
        metrics = {"fvu": float(sums[name]) / variance}
        if predicted and f"rise/{short}" in sums:
            metrics["delta_loss"] = float(sums[f"rise/{short}"]) / predicted
        if short.startswith("pca/"):
            count = {"components": int(short.removeprefix("pca/"))}
            found["pca"].append(count | metrics)
        else:
            found[short] = metrics
    found["pca"].sort(key=lambda row: row["components"])  # pieces on disk know no order
    return found
