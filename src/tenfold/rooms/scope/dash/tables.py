"""What the pages of one dictionary read: a table of all latents, and bundles of their details."""

# M latents, X examples, S places of a window, P classes of places

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tenfold.engine.config import Json
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.scope.dash.bundles import shares, smallest, write_bundle
from tenfold.rooms.scope.dash.encoder import Encoder
from tenfold.rooms.scope.dash.examples import Examples
from tenfold.rooms.scope.dash.layout import Layout
from tenfold.rooms.scope.dash.relations import (
    Ranked,
    find_companions,
    nearest,
    promoted,
    reaches_scores,
)
from tenfold.rooms.scope.dash.scan import Scan

LATENTS = 128
"""Latents of a bundle, fewer if their examples are large."""
_BYTES = 1 << 22
_BITS = 16.0
"""Bound of what mutual information is stored to, in bits."""
BINS = 24
"""Of the histogram of firing frequencies, between 1e-6 and 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All that a pass over a site found of one dictionary."""

    dictionary: Dictionary
    encoder: Encoder
    scan: Scan
    examples: Examples
    layout: Layout
    site_out: str
    unembedding: Tensor | None
    tokens: NDArray[np.int64] | None
    """Token at each example, [M, X]; None if items are no texts."""
    captions: list[str]


def write_tables(folder: Path, name: str, found: Findings) -> Json:
    """Write the bundles of one dictionary below `folder/name`, and return its summary."""
    shutil.rmtree(folder / name, ignore_errors=True)
    width, window = found.encoder.width, found.examples.colour.shape[2]
    per = min(LATENTS, max(1, _BYTES // (window * found.examples.row.shape[1])))
    details = _details(found)
    for first in range(0, width, per):
        part = {key: values[first : first + per] for key, values in details.items()}
        write_bundle(folder, f"{name}/{first // per}", arrays=part)
    ranked = "up_id" in details
    label, captions = _labels(found)
    table = {
        "fired": found.scan.counts.fired.astype(np.uint32),
        "largest": np.maximum(found.scan.counts.top_value[:, 0], 0),
        "mean": _means(found),
        "label": label,
    }
    if found.encoder.threshold is not None:
        table["threshold"] = found.encoder.threshold
    if ranked:
        table["promoted"] = details["up_id"][:, 0]
    places = found.layout.places
    facts = {
        "per": per,
        "rows": found.layout.rows,
        "sampled": len(found.scan.sampled_starts) - 1,
        "captions": captions,
        "places": {
            "kind": places.kind,
            "starts": list(places.starts),
            "shape": list(places.shape),
            "rows": found.layout.rows_of_places.tolist(),
        },
        "cells": found.layout.cells,
        "grid": list(found.layout.grid),
    }
    write_bundle(folder, f"{name}/table", facts=facts, arrays=table)
    return _summary(found)


def _summary(found: Findings) -> Json:
    fired, rows = found.scan.counts.fired, found.layout.rows
    counts, edges = np.histogram(np.log10(np.maximum(fired / rows, 1e-6)), bins=BINS, range=(-6, 0))
    return {
        "rows": rows,
        "l0": float(fired.sum() / rows),
        "dead": int((fired == 0).sum()),
        "above_10_percent": int((fired > 0.1 * rows).sum()),
        "frequency_counts": counts.tolist(),
        "frequency_edges": edges.tolist(),
    }


def _means(found: Findings) -> NDArray[np.float32]:
    counts = found.scan.counts
    return (counts.total / np.maximum(counts.fired, 1)).astype(np.float32)


def _details(found: Findings) -> dict[str, np.ndarray]:
    counts, w_dec_MD = found.scan.counts, found.dictionary.w_dec.detach()
    largest = np.maximum(counts.top_value[:, 0], 0)
    arrays = {
        "span": counts.span.astype(np.float32),
        "histogram": smallest(counts.histogram),
        "places": smallest(counts.places),
    }
    arrays |= _example_arrays(found.examples, largest)
    arrays |= _ranked("decoder", nearest(w_dec_MD), scale=1.0)
    arrays |= _ranked("encoder", nearest(found.encoder.w_enc.T), scale=1.0)
    companions = find_companions(found.scan)
    arrays |= {
        "companion_id": smallest(companions.ids + 1),
        "companion_jaccard": shares(companions.jaccard, 1.0),
        "companion_bits": shares(companions.information, _BITS),
        "companion_together": smallest(companions.together),
    }
    if found.unembedding is not None and reaches_scores(
        found.site_out, w_dec_MD.shape[1], found.unembedding
    ):
        up, down = promoted(w_dec_MD, found.unembedding)
        scale = np.abs(np.concatenate([up.values, down.values], axis=1)).max(axis=1)
        arrays["score_scale"] = scale
        arrays |= _ranked("up", up, scale=scale[:, None])
        arrays |= _ranked("down", down, scale=scale[:, None])
    return arrays


def _ranked(
    name: str, ranked: Ranked, *, scale: NDArray[np.float32] | float
) -> dict[str, np.ndarray]:
    return {f"{name}_id": smallest(ranked.ids), f"{name}_value": shares(ranked.values, scale)}


def _example_arrays(examples: Examples, largest: NDArray[np.float32]) -> dict[str, np.ndarray]:
    """Return the examples; the item is one more than its number, 0 where there is none."""
    return {
        "item": smallest(examples.item + 1),
        "place": smallest(examples.place),
        "window": smallest(examples.window),
        "value": shares(examples.value, largest[:, None]),
        "group": examples.group,
        "colour": examples.colour,
    }


def _labels(found: Findings) -> tuple[NDArray[np.int32], list[str]]:
    """Return the commonest token or caption of each latent's largest examples, [M].

    Of equally common ones the smaller token or the earlier caption; -1 where there is none.
    """
    top = found.examples.group == 0
    present = (found.examples.row >= 0) & top
    if found.tokens is not None:
        return _commonest(found.tokens, present), []
    if not found.captions:
        return np.full(len(top), -1, np.int32), []
    kinds = sorted(set(found.captions))
    number = {caption: place for place, caption in enumerate(kinds)}
    kind_of_item = np.array([number[caption] for caption in found.captions])
    return _commonest(kind_of_item[found.examples.item], present), kinds


def _commonest(values: NDArray[np.int64], present: NDArray[np.bool_]) -> NDArray[np.int32]:
    found = np.full(len(values), -1, np.int32)
    for latent in np.flatnonzero(present.any(axis=1)):
        kinds, number = np.unique(values[latent][present[latent]], return_counts=True)
        found[latent] = kinds[number.argmax()]
    return found
