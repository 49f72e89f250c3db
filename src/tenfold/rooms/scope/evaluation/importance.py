"""How evenly the active latents of a token share in its score (Gemma Scope, eq. 12-14).

    y = f * (W_dec grad_x L_m),  p = |y| / sum |y|,  r = exp(S(p)) / ||y||_0

L_m is the score of the correct next token minus the mean of all scores, S the entropy; r is 1
where all active latents matter alike and 1 / ||y||_0 where one alone does. The gradient is that
of the untouched model at the position whose score it is, so each position needs a backward pass
through its window: a few positions of each window are drawn.
"""

# B windows, T positions, V tokens, R drawn rows, D and O widths of what is read and rebuilt,
# M latents

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tenfold.engine.rng import stream
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.splice import splice
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.scope.evaluation.passes import Clean, call

POSITIONS = 4
"""Drawn from each window."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Attributed:
    """Drawn rows of a site, with what their scores depend on."""

    x: Tensor
    """What a dictionary reads, [R, D]."""
    gradient: Tensor
    """Of the mean-centred score of the correct token in what it rebuilds, [R, O]."""


def find_scores(output: Any) -> Tensor | None:
    """Return the scores [B, T, V] in what a language model returned, if they are there."""
    for found in (output, getattr(output, "logits", None)):
        if isinstance(found, Tensor) and found.ndim == 3 and found.is_floating_point():
            return found
    if isinstance(output, tuple | list) and len(output):
        return find_scores(output[0])
    return None


def why_not(specimen: Specimen, clean: Clean) -> str:
    """Say why uniformity cannot be had, or nothing if it can."""
    token = clean.batch.labels.get("token")
    if specimen.shows != "text" or token is None or token.ndim != 2:
        return "its batches have no label 'token' [B, T]"
    if clean.loss is None or clean.loss.ndim != 2:
        return "the model has no loss at each position"
    with torch.no_grad():
        scores = find_scores(call(specimen, clean.batch))
    if scores is None or scores.shape[:2] != token.shape or scores.shape[2] <= int(token.max()):
        return "the model's output has no score of each next token [B, T, V]"
    return ""


@torch.enable_grad()
def attribute(
    specimen: Specimen, pairs: Sequence[tuple[str, str]], clean: Clean, *, seed: int = 0
) -> dict[str, Attributed]:
    """Return drawn rows and gradients for each site that is replaced.

    Sites whose positions are not those of the tokens [B, T] are left out.

    Args:
        specimen: the model.
        pairs: sites (read, replaced).
        clean: the clean pass of the batch.
        seed: of the draws; a window has the same ones in any batch.
    """
    places_BR = _draw(clean, seed=seed)
    targets = dict.fromkeys(target for _, target in pairs)
    seen, losses_of = _run_with_graph(specimen, list(targets), clean.batch)
    gradients: dict[str, list[Tensor]] = {name: [] for name in seen}
    used = []
    for draw in range(places_BR.shape[1]):
        windows = (places_BR[:, draw] >= 0).nonzero().squeeze(1)
        places = places_BR[windows, draw]
        score = losses_of(windows, places).sum()
        last = draw == places_BR.shape[1] - 1
        found = torch.autograd.grad(
            score, list(seen.values()), retain_graph=not last, allow_unused=True
        )
        for (name, x), gradient in zip(seen.items(), found, strict=True):
            full = torch.zeros_like(x) if gradient is None else gradient
            if full.shape[:2] == clean.grid:
                gradients[name].append(full[windows, places])
        used.append((windows, places))
    return {
        target: Attributed(
            x=torch.cat([clean.sites[source][where] for where in used]),
            gradient=torch.cat(gradients[target]),
        )
        for source, target in pairs
        if gradients[target] and clean.sites[source].shape[:2] == clean.grid
    }


def _draw(clean: Clean, *, seed: int) -> Tensor:
    """Draw different predicted positions of each window [B, R]; -1 where there are too few."""
    assert clean.loss is not None, "only predicted positions are drawn"
    counts = clean.loss.isfinite().cpu()
    counts[:, -1] = False  # the token after it is not in the window
    places = torch.full((len(counts), POSITIONS), -1)
    for window, possible in enumerate(counts):
        known = possible.nonzero().squeeze(1)
        order = stream(seed, "uniformity", clean.first + window).permutation(len(known))
        chosen = known[torch.from_numpy(order[:POSITIONS])]
        places[window, : len(chosen)] = chosen
    return places


def _run_with_graph(
    specimen: Specimen, sites: Sequence[str], batch: Batch
) -> tuple[dict[str, Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """Run the model with a graph from every site on.

    Returns:
        The sites' activations in the graph, and a function from windows and places to the
        mean-centred scores of the correct next tokens.
    """
    seen: dict[str, Tensor] = {}

    def start_graph(name: str) -> Callable[[Tensor], Tensor]:
        def visit(x: Tensor) -> Tensor:
            # Parameters have no gradients, so the first site is where the graph begins.
            seen[name] = x if x.requires_grad else x.detach().requires_grad_()
            # A copy, because what comes next may work in place.
            return seen[name].clone()

        return visit

    with splice(specimen.module, {name: start_graph(name) for name in sites}):
        scores = find_scores(call(specimen, batch))
    assert scores is not None, "asked before by `why_not`"
    scores_BTV, tokens_BT = scores, batch.labels["token"].to(scores.device)

    def centred(windows: Tensor, places: Tensor) -> Tensor:
        rows_RV = scores_BTV[windows, places].float()
        correct = tokens_BT[windows, places + 1].long()
        return rows_RV.gather(1, correct.unsqueeze(1)).squeeze(1) - rows_RV.mean(dim=1)

    return seen, centred


@torch.no_grad()
def uniformity(dictionary: Dictionary, rows: Attributed) -> Tensor:
    """Return r of each row on which some active latent matters, [at most R] in float64."""
    f_RM = dictionary.encode(rows.x)
    weight_RM = rows.gradient.to(f_RM.dtype) @ dictionary.w_dec.T
    y_RM = (f_RM * weight_RM).double().abs()
    total_R = y_RM.sum(dim=1)
    y_RM, total_R = y_RM[total_R > 0], total_R[total_R > 0]
    p_RM = y_RM / total_R.unsqueeze(1)
    entropy_R = -torch.special.xlogy(p_RM, p_RM).sum(dim=1)
    ratio_R: Tensor = entropy_R.exp() / (y_RM > 0).sum(dim=1)
    return ratio_R


def join(parts: Sequence[Mapping[str, Attributed]]) -> dict[str, Attributed]:
    """Return the rows of several batches, for each site."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: Attributed(
            x=torch.cat([part[name].x for part in parts if name in part]),
            gradient=torch.cat([part[name].gradient for part in parts if name in part]),
        )
        for name in names
    }
