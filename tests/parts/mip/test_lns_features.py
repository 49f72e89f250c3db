from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from parts.mip.examples import random_mip
from tenfold.parts.mip import features, lns_features
from tenfold.parts.mip.features import encode
from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.parts.mip.lns_features import COLUMN_FEATURES, append_history
from tenfold.parts.mip.lp_state import from_relaxed

pytest.importorskip("highspy")

from tenfold.parts.mip import highs


def told(encoded, mip, points):
    """Return the features by name, each [n]."""
    return dict(zip(COLUMN_FEATURES, append_history(encoded, mip, points).T, strict=True))


def encoded_of(mip):
    return encode(from_relaxed(mip, highs.relax(mip)))


@pytest.fixture
def mip():
    return random_mip(3)


def test_nine_columns_follow_the_nineteen_of_the_root(mip):
    encoded = encoded_of(mip)
    made = append_history(encoded, mip, [])
    assert len(COLUMN_FEATURES) == 28
    assert len(set(COLUMN_FEATURES)) == 28
    assert COLUMN_FEATURES[:19] == features.COLUMN_FEATURES
    assert made.dtype == np.float32
    assert made.shape == (5, 28)
    assert (made[:, :19] == encoded.columns).all()


def test_the_schema_number_holds_that_of_the_root():
    assert lns_features.SCHEMA // 100 == features.SCHEMA


@pytest.mark.parametrize("count", range(5))
def test_the_newest_incumbent_comes_first_and_missing_ones_are_marked(mip, count):
    points = [np.arange(5.0) + 10 * age for age in range(count)]
    named = told(encoded_of(mip), mip, points)
    for age in range(3):
        there = age < count
        assert (named[f"there is incumbent {age}"] == there).all()
        value = points[age] if there else np.zeros(5)
        assert (named[f"value in incumbent {age}"] == value).all()


def test_the_order_is_value_presence_for_each_incumbent_then_mask_then_bounds():
    assert COLUMN_FEATURES[19:] == (
        "value in incumbent 0",
        "there is incumbent 0",
        "value in incumbent 1",
        "there is incumbent 1",
        "value in incumbent 2",
        "there is incumbent 2",
        "must be whole",
        "lower bound",
        "upper bound",
    )


def test_kinds_and_bounds_are_told_and_missing_bounds_are_zero():
    mip = from_rows(
        name="b", cost=np.ones(4), matrix=sparse.csr_array(np.ones((1, 4))),
        left=np.array([2.0]), right=np.array([2.0]),
        lower=np.array([0.0, -3.0, -np.inf, 0.0]), upper=np.array([1.0, 7.0, 2.0, np.inf]),
        kinds=np.array([Kind.BINARY, Kind.INTEGER, Kind.CONTINUOUS, Kind.IMPLIED], dtype=np.uint8),
    )  # fmt: skip
    state = from_relaxed(mip, highs.relax(replace(mip, lower=np.maximum(mip.lower, -9))))
    named = told(encode(state), mip, [])
    assert named["must be whole"].tolist() == [1, 1, 0, 0]
    assert named["lower bound"].tolist() == [0, -3, 0, 0]
    assert named["upper bound"].tolist() == [1, 7, 2, 0]
    assert named["has lower bound"].tolist() == [1, 1, 0, 1]
    assert named["has upper bound"].tolist() == [1, 1, 1, 0]
    assert np.isfinite(append_history(encode(state), mip, [])).all()


def test_columns_of_an_lp_in_another_order_keep_their_own_past(mip):
    encoded = encoded_of(mip)
    order = np.array([4, 2, 0])
    part = replace(encoded, columns=encoded.columns[order], places=order)
    point = np.arange(5.0)
    named = told(part, mip, [point])
    assert named["value in incumbent 0"].tolist() == [4, 2, 0]
    assert (named["upper bound"] == mip.upper[order].astype(np.float32)).all()


def test_an_incumbent_of_another_length_is_a_fault_of_ours(mip):
    with pytest.raises(AssertionError, match="incumbent 1 has shape"):
        append_history(encoded_of(mip), mip, [np.zeros(5), np.zeros(4)])
