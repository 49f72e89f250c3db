"""Trigram model of tokens: what any language model has to beat (rooms jumprelu, scope).

Interpolated Kneser-Ney smoothing (Kneser and Ney 1995, in the interpolated form of Chen and
Goodman 1999, section 4.1.6): one discount an order, D = n1 / (n1 + 2 n2) with n1 and n2 the
numbers of n-grams seen once and twice; below the top order the counts are those of distinct
left neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.parts.text.tokens import VOCAB, Tokens

Table = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigram:
    """Probabilities of the next token given the two before it, or one if those are new."""

    rows: NDArray[np.int64]
    """Row of `seen` for each pair of tokens [first, second]; -1 for pairs never seen."""
    seen: Table
    """Probabilities after each pair that was seen [pairs, next]."""
    lower: Table
    """Probabilities after a single token [second, next]."""


def fit_trigram(tokens: Tokens, *, vocab: int = VOCAB) -> Trigram:
    """Count the trigrams of `tokens` and smooth them with the lower orders."""
    wide = tokens.astype(np.int64)
    pairs = wide[:-2] * vocab + wide[1:-1]
    known = np.flatnonzero(np.bincount(pairs, minlength=vocab**2))
    rows = np.full(vocab**2, -1, dtype=np.int64)
    rows[known] = np.arange(len(known))
    trigrams = _count(rows[pairs], wide[2:], shape=(len(known), vocab))
    row, last = np.nonzero(trigrams)
    second = known % vocab
    bigrams = _count(second[row], last, shape=(vocab, vocab))
    unigrams = (bigrams > 0).sum(axis=0, dtype=np.float32)
    uniform = np.full(vocab, 1 / vocab, dtype=np.float32)
    lower = _interpolate(bigrams, _interpolate(unigrams, uniform))
    seen = _interpolate(trigrams, lower[second])
    return Trigram(rows=rows.reshape(vocab, vocab), seen=seen, lower=lower)


def _count(rows: NDArray[np.int64], columns: NDArray[np.int64], *, shape: tuple[int, int]) -> Table:
    codes = rows * shape[1] + columns
    counts = np.bincount(codes, minlength=shape[0] * shape[1])
    return counts.astype(np.float32).reshape(shape)


def _interpolate(counts: Table, lower: Table) -> Table:
    """Discount `counts` [..., next] and give what is freed to `lower`, which broadcasts."""
    discount = _discount(counts)
    total = counts.sum(axis=-1, keepdims=True)
    freed = discount * (counts > 0).sum(axis=-1, keepdims=True, dtype=np.float32)
    kept = np.maximum(counts - discount, 0)
    # A context that was never seen says nothing: all of its mass goes to the lower order.
    weight = np.where(total > 0, freed / np.maximum(total, 1), 1)
    return np.asarray(kept / np.maximum(total, 1) + weight * lower, dtype=np.float32)


def _discount(counts: Table) -> np.float32:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return np.float32(once / (once + 2 * twice)) if once and twice else np.float32(0.5)


def surprise(model: Trigram, tokens: Tokens, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the nats of the tokens at `positions` (each at least 2), given the two before."""
    first, second, last = (tokens[positions - back] for back in (2, 1, 0))
    row = model.rows[first, second]
    found = np.where(row >= 0, model.seen[row, last], model.lower[second, last])
    return np.asarray(-np.log(found.astype(np.float64)))
