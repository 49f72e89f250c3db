import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.diving.examples import integers
from tenfold.rooms.diving.dive.slots import bits_of, slots_of, tighten


@st.composite
def boxes(draw, columns=3):
    """Draw an integer box, a point inside, and a number of bits for each column."""
    lower = draw(st.lists(st.integers(-50, 50), min_size=columns, max_size=columns))
    widths = draw(st.lists(st.integers(0, 70), min_size=columns, max_size=columns))
    inside = [low + draw(st.integers(0, width)) for low, width in zip(lower, widths, strict=True)]
    known = draw(st.lists(st.integers(0, 8), min_size=columns, max_size=columns))
    mip = integers(lower, np.array(lower) + np.array(widths))
    return mip, np.array(inside, dtype=float), np.array(known)


def cut(mip, slots, x, chosen):
    return tighten(mip, slots, bits_of(slots, x)[0], chosen)


@given(boxes())
def test_a_point_stays_inside_when_its_own_first_bits_are_fixed(drawn):
    mip, x, known = drawn
    slots = slots_of(mip, bits=10)
    lower, upper = cut(mip, slots, x, slots.bit < known[slots.column])
    assert np.all((lower <= x) & (x <= upper))
    assert np.all((lower >= mip.lower) & (upper <= mip.upper))


@given(boxes())
def test_all_bits_of_a_point_fix_it(drawn):
    mip, x, _ = drawn
    slots = slots_of(mip, bits=10)
    lower, upper = cut(mip, slots, x, np.ones(len(slots), dtype=bool))
    assert np.array_equal(lower, x)
    assert np.array_equal(upper, x)


@given(boxes(), st.data())
def test_whatever_bits_are_fixed_a_value_is_left(drawn, data):
    mip, _, known = drawn
    slots = slots_of(mip, bits=10)
    drawn_bits = st.lists(st.booleans(), min_size=len(slots), max_size=len(slots))
    bits = np.array(data.draw(drawn_bits), dtype=bool)
    lower, upper = tighten(mip, slots, bits, slots.bit < known[slots.column])
    assert np.all(lower <= upper)
    assert np.all((lower >= mip.lower) & (upper <= mip.upper))


@given(st.integers(-10, 10), st.integers(1, 7), st.data())
def test_each_bit_halves_a_range_of_a_power_of_two(low, depth, data):
    size = 2**depth
    x = np.array([float(low + data.draw(st.integers(0, size - 1)))])
    mip = integers([low], [low + size - 1])
    slots = slots_of(mip, bits=depth)
    assert len(slots) == depth
    for known in range(depth + 1):
        lower, upper = cut(mip, slots, x, slots.bit < known)
        assert upper[0] - lower[0] + 1 == size / 2**known


def test_a_column_has_as_many_bits_as_its_values_need():
    mip = integers([0, 0, 0, 0, -3], [1, 2, 3, 4, 4])
    assert np.bincount(slots_of(mip, bits=10).column).tolist() == [1, 2, 2, 3, 3]


@pytest.mark.parametrize("power", [40, 49, 52])
def test_the_last_of_a_wide_range_of_values_still_has_a_code_of_its_own(power):
    # One value more than bits of `power` can tell apart: log2 in floats does not see it.
    mip = integers([0], [2**power])
    slots = slots_of(mip, bits=60)
    assert len(slots) == power + 1
    assert bits_of(slots, np.array([2.0**power]))[0].tolist() == [True] + [False] * power


def test_an_abstained_bit_stops_its_column_and_no_other():
    mip = integers([0, 0], [7, 7])
    slots = slots_of(mip, bits=3)
    x = np.array([5.0, 6.0])
    # The first column abstains at its second bit, the second column at none.
    chosen = np.array([True, False, True, True, True, True])
    lower, upper = cut(mip, slots, x, chosen)
    assert (lower[0], upper[0]) == (4, 7)
    assert (lower[1], upper[1]) == (6, 6)


def test_a_column_whose_first_bit_is_abstained_keeps_its_bounds():
    mip = integers([2], [9])
    slots = slots_of(mip, bits=3)
    lower, upper = cut(mip, slots, np.array([3.0]), np.array([False, True, True]))
    assert (lower[0], upper[0]) == (2, 9)


def test_a_binary_column_has_one_slot_that_fixes_it():
    mip = integers([0, 0], [1, 1])
    slots = slots_of(mip, bits=6)
    assert slots.column.tolist() == [0, 1]
    lower, upper = cut(mip, slots, np.array([0.0, 1.0]), np.ones(2, dtype=bool))
    assert lower.tolist() == upper.tolist() == [0.0, 1.0]


def test_columns_with_an_infinite_bound_or_one_value_have_no_slot():
    mip = integers([0, -math.inf, 4, 0], [math.inf, 3, 4, 1])
    assert slots_of(mip, bits=6).column.tolist() == [3]


def test_bounds_between_whole_numbers_count_the_values_they_leave():
    # 0.2 to 0.9 leaves none, 0.5 to 1.4 one, 0.5 to 2.5 two.
    mip = integers([0.2, 0.5, 0.5], [0.9, 1.4, 2.5])
    slots = slots_of(mip, bits=6)
    assert slots.column.tolist() == [2]
    for value in (1.0, 2.0):
        lower, upper = cut(mip, slots, np.array([0.0, 1.0, value]), np.ones(1, dtype=bool))
        assert np.ceil(lower[2]) == np.floor(upper[2]) == value


def test_the_cap_keeps_the_most_significant_bits():
    mip = integers([0], [255])
    slots = slots_of(mip, bits=3)
    assert slots.bit.tolist() == [0, 1, 2]
    lower, upper = cut(mip, slots, np.array([200.0]), np.ones(3, dtype=bool))
    assert (lower[0], upper[0]) == (192, 223)


def test_bits_beyond_the_highest_value_mean_that_value():
    mip = integers([0], [4])
    slots = slots_of(mip, bits=3)
    lower, upper = tighten(mip, slots, np.ones(3, dtype=bool), np.ones(3, dtype=bool))
    assert (lower[0], upper[0]) == (4, 4)


def test_only_the_columns_asked_for_have_slots():
    mip = integers([0, 0, 0], [1, 3, 1])
    slots = slots_of(mip, bits=6, asked=np.array([False, True, False]))
    assert slots.column.tolist() == [1, 1]


def test_bits_of_several_points_are_those_of_each_alone():
    mip = integers([-2, 0], [5, 12])
    slots = slots_of(mip, bits=6)
    points = np.array([[-2.0, 12.0], [5.0, 0.0], [1.0, 7.0]])
    alone = [bits_of(slots, point)[0] for point in points]
    assert np.array_equal(bits_of(slots, points), np.stack(alone))
    # 1 is the fourth value from -2 on (011), 7 of 13 is 0111.
    assert alone[2].tolist() == [False, True, True, False, True, True, True]
