import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.text.ngram import fit_trigram, surprise

VOCAB = 4
rows = st.lists(st.integers(0, VOCAB - 1), min_size=3, max_size=60)


def tokens(values):
    return np.array(values, dtype=np.uint16)


def probabilities_after(model, first, second):
    row = tokens([first, second, 0])
    nats = []
    for last in range(VOCAB):
        row[2] = last
        nats.append(surprise(model, row, np.array([2]))[0])
    return np.exp(-np.array(nats))


def discount(counts):
    once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
    return once / (once + 2 * twice) if once and twice else 0.5


def plain_kneser_ney(row, context, last):
    """Definition by dictionaries, one order below the other."""
    orders = {3: Counter(zip(row, row[1:], row[2:], strict=False))}
    for order in (2, 1):
        orders[order] = Counter(gram[1:] for gram in orders[order + 1])
    probability = 1 / VOCAB
    for order in (1, 2, 3):
        counts, d = orders[order], discount(orders[order])
        past = tuple(context[len(context) - order + 1 :])
        after = {gram: n for gram, n in counts.items() if gram[:-1] == past}
        if total := sum(after.values()):
            kept = max(counts[(*past, last)] - d, 0)
            probability = (kept + d * len(after) * probability) / total
    return probability


@given(row=rows, first=st.integers(0, 3), second=st.integers(0, 3))
def test_probabilities_agree_with_the_definition_and_add_up_to_one(row, first, second):
    found = probabilities_after(fit_trigram(tokens(row), vocab=VOCAB), first, second)
    expected = [plain_kneser_ney(row, (first, second), last) for last in range(VOCAB)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found.min() > 0


def test_a_text_that_repeats_is_hardly_surprising():
    row = tokens([0, 1, 2] * 200)
    model = fit_trigram(row, vocab=VOCAB)
    assert surprise(model, row, np.arange(2, 600)).mean() < 0.02


def test_random_tokens_cost_their_entropy():
    row = np.random.default_rng(0).integers(0, VOCAB, 50_000).astype(np.uint16)
    model = fit_trigram(row[:40_000], vocab=VOCAB)
    nats = surprise(model, row, np.arange(40_002, 50_000)).mean()
    assert nats == pytest.approx(math.log(VOCAB), abs=0.01)


def test_a_trigram_beats_what_single_tokens_can_say_about_ordered_text():
    rng = np.random.default_rng(1)
    row = np.cumsum(rng.choice([1, 1, 1, 2], size=4_000)).astype(np.uint16) % VOCAB
    model = fit_trigram(row[:3_000], vocab=VOCAB)
    nats = surprise(model, row, np.arange(3_002, 4_000)).mean()
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert entropy - 0.05 < nats < entropy + 0.05
