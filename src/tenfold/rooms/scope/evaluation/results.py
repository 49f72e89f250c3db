"""From sums to the metrics of `evaluation.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.jumprelu.eval import Measures
from tenfold.rooms.scope.evaluation.resampling import ratio_interval
from tenfold.rooms.scope.evaluation.sums import Sums
from tenfold.rooms.scope.suite import Entry

STAGES = ("clean", "baselines", "uniformity", "dictionary", "model", "bfloat16")


def variance_of(site: str, sums: Sums) -> float:
    """Return the sum of squares about the mean of a site's rows.

    Raises:
        TenfoldError: if there are no rows, or they are all alike.
    """
    rows, power = float(sums["rows"]), float(sums["power"])
    if not rows:
        raise TenfoldError(f"the masks keep no row at site {site!r}; give held-out data with some")
    variance = power - float(sums["total"].square().sum()) / rows
    if variance <= 1e-12 * power:
        raise TenfoldError(f"the {rows:.0f} rows at site {site!r} are all alike; FVU needs others")
    return variance


def entry_metrics(
    entry: Entry, sums: Sums, *, site: Sums, clean: Sums, kinds: Sequence[str]
) -> Json:
    """Return the metrics of one dictionary.

    Args:
        entry: which.
        sums: of it, from `sum_dictionary`.
        site: of the site that it rebuilds, from `sum_site`.
        clean: of the untouched model, from `sum_clean`.
        kinds: names of the kinds of data.
    """
    variance = variance_of(entry.site_out or entry.site, site)
    rows, overlap = float(site["rows"]), float(sums["overlap"])
    measures = Measures(
        rows=int(rows),
        l0=float(sums["active"]) / rows,
        fvu=float(sums["error"]) / variance,
        reconstruction_bias=float(sums["size"]) / overlap if overlap else float("nan"),
        frequencies=(sums["fired"] / rows).numpy(),
    )
    found: Json = {
        "site": entry.site,
        "site_out": entry.site_out,
        "kind": entry.kind,
        "width": entry.width,
        "target_l0": entry.target_l0,
        "seed": entry.seed,
    }
    found |= measures.summary() | measures.histogram()
    # The variance is a number of the site: only the error is resampled.
    per_row = site["item/rows"].numpy() * (variance / rows)
    found["fvu_interval"] = _bounds(sums["item/error"].numpy(), per_row)
    if "uniformity" in sums and float(sums["uniformity_rows"]):
        found["uniformity"] = float(sums["uniformity"] / sums["uniformity_rows"])
        found["uniformity_rows"] = int(sums["uniformity_rows"])
    if "rise" in sums:
        found |= loss_metrics(sums, site=site, clean=clean, kinds=kinds)
    if "place/error" in sums:
        found["by_position"] = by_position(sums, site=site, clean=clean)
    return found


def loss_metrics(sums: Sums, *, site: Sums, clean: Sums, kinds: Sequence[str]) -> Json:
    """Return what the model's loss says of a dictionary, in the loss's own unit."""
    found: Json = {
        "delta_loss": float(sums["rise"] / clean["predicted"]),
        "delta_loss_interval": _bounds(sums["item/rise"].numpy(), clean["item/predicted"].numpy()),
    }
    predicted = float(clean.get("part/predicted", torch.zeros(())))
    if predicted:
        rise = float(sums["part/rise"])
        found["delta_loss_part"] = rise / predicted
        if "part/bfloat16" in sums:
            found["delta_loss_bfloat16"] = float(sums["part/bfloat16"]) / predicted
        for name in ("zero", "mean"):
            ablated = float(site.get(f"rise/{name}", torch.zeros(())))
            if ablated:
                # (ablated - spliced) / (ablated - clean), all losses on the same positions.
                found[f"loss_recovered_{name}"] = 1 - rise / ablated
    if "kind/rise" in sums:
        found["by_kind"] = {
            kind: rise / count
            for kind, rise, count in zip(
                kinds, sums["kind/rise"].tolist(), clean["kind/predicted"].tolist(), strict=True
            )
            if count
        }
    return found


def by_position(sums: Sums, *, site: Sums, clean: Sums) -> Json:
    """Return error and rise of the loss at each position of an item.

    The error is in units of the mean variance of all positions, so that its mean over rows is
    the FVU.
    """
    rows = float(site["rows"])
    variance = variance_of("", site) / rows
    found: Json = {
        "place": list(range(len(sums["place/error"]))),
        "error": _ratios(sums["place/error"], site["place/rows"] * variance),
    }
    if "place/rise" in sums:
        found["delta_loss"] = _ratios(sums["place/rise"], clean["place/predicted"])
    return found


def common_facts(clean: Sums, sites: Mapping[str, Sums], *, kinds: Sequence[str]) -> Json:
    """Return what is no dictionary's: counts, clean losses and variances."""
    found: Json = {
        "items": int(clean["items"]),
        "sites": {
            site: {"rows": int(sums["rows"]), "variance": variance_of(site, sums) / rows}
            for site, sums in sites.items()
            if (rows := float(sums["rows"]))
        },
    }
    for site, sums in sites.items():
        if "place/rows" in sums:
            found["sites"][site]["place_rows"] = sums["place/rows"].long().tolist()
    if "predicted" in clean:
        found["predicted"] = int(clean["predicted"])
        found["clean_loss"] = float(clean["clean"] / clean["predicted"])
        found["part"] = {"predicted": int(clean.get("part/predicted", torch.zeros(())))}
        if "place/predicted" in clean:
            found["place_predicted"] = clean["place/predicted"].long().tolist()
        if "kind/predicted" in clean:
            counts, losses = clean["kind/predicted"].tolist(), clean["kind/clean"].tolist()
            found["kinds"] = {
                kind: {"predicted": int(count), "clean_loss": loss / count}
                for kind, count, loss in zip(kinds, counts, losses, strict=True)
                if count
            }
    return found


def item_tensors(
    entries: Mapping[str, Sums], sites: Mapping[str, Sums], clean: Sums
) -> dict[str, Tensor]:
    """Return the sums of each item, from which intervals over items are made."""
    found = {f"site/{site}/rows": sums["item/rows"] for site, sums in sites.items()}
    if "item/predicted" in clean:
        found["predicted"] = clean["item/predicted"]
    for name, sums in entries.items():
        for what in ("error", "active", "rise"):
            if f"item/{what}" in sums:
                found[f"entry/{name}/{what}"] = sums[f"item/{what}"]
    return {name: value.contiguous() for name, value in found.items()}


def share_rerun(specimen: Specimen, skipped: Sequence[str]) -> float:
    """Return the share of a model's parameters that run again when a site is replaced."""
    total = sum(parameter.numel() for parameter in specimen.module.parameters())
    spared = sum(
        parameter.numel()
        for name in skipped
        for parameter in specimen.module.get_submodule(name).parameters()
    )
    return 1 - spared / total if total else 1.0


def stage_seconds(pieces: Sequence[Sums]) -> dict[str, float]:
    """Return the seconds of each stage over all pieces, in all sessions."""
    totals = {
        stage: sum(float(piece.get(f"seconds/{stage}", 0)) for piece in pieces) for stage in STAGES
    }
    return {stage: round(seconds, 3) for stage, seconds in totals.items()}


def _bounds(above: np.ndarray, below: np.ndarray) -> list[float] | None:
    interval = ratio_interval(above, below)
    return None if interval is None else [interval.low, interval.high]


def _ratios(above: Tensor, below: Tensor) -> list[float | None]:
    pairs = zip(above.tolist(), below.tolist(), strict=True)
    return [a / b if b else None for a, b in pairs]
