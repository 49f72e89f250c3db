import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.rl.sampling import Prioritised, Uniform

HUGE = 1e300


def grid(number):
    """Return numbers evenly spread over [0, 1), for one lane."""
    return (np.arange(number)[None, :] + 0.5) / number


def with_priorities(sizes, **given):
    """Return a chooser of one lane whose items have exactly these p."""
    chooser = Prioritised(lanes=1, slots=len(sizes), floor=0.5, **given)
    chooser.grow(np.array([len(sizes)]))
    chooser.learn(np.arange(len(sizes))[None, :], np.array([sizes]) - 0.5)
    return chooser


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.sampled_from([1, 2]))
def test_items_are_drawn_exactly_as_often_as_their_priorities_say(sizes, exponent):
    powers = [size**exponent for size in sizes]
    chooser = with_priorities(sizes, exponent=exponent)
    drawn = chooser.draw(grid(sum(powers))).slot[0]
    assert np.bincount(drawn, minlength=len(sizes)).tolist() == powers
    np.testing.assert_allclose(chooser.probabilities()[0], np.array(powers) / sum(powers))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.floats(0, 1))
def test_weights_follow_the_definition(sizes, correction):
    total, number = sum(sizes), len(sizes)
    for normaliser in ("batch", "buffer"):
        chooser = with_priorities(sizes, exponent=1.0, normaliser=normaliser)
        drawn = chooser.draw(np.array([[0.0, 0.3]]), correction=correction)
        raw = [(total / (number * size)) ** correction for size in sizes]
        own = [raw[slot] for slot in drawn.slot[0]]
        largest = max(own) if normaliser == "batch" else max(raw)
        np.testing.assert_allclose(drawn.weight[0], np.array(own) / largest, rtol=1e-6)


def test_without_correction_all_weights_are_one():
    drawn = with_priorities([1, 5, 9], exponent=1.0).draw(grid(15))
    assert (drawn.weight == 1).all()


def test_a_correction_for_each_lane_equals_each_lane_alone():
    chooser = Prioritised(lanes=2, slots=3, exponent=[1.0, 2.0], normaliser="buffer")
    chooser.grow(np.array([3, 3]))
    errors = np.array([[1.0, 2.0, 3.0]] * 2)
    chooser.learn(np.array([[0, 1, 2]] * 2), errors)
    drawn = chooser.draw(np.repeat(grid(9), 2, axis=0), correction=[0.4, 1.0])
    for k, (exponent, correction) in enumerate([(1.0, 0.4), (2.0, 1.0)]):
        alone = Prioritised(lanes=1, slots=3, exponent=exponent, normaliser="buffer")
        alone.grow(np.array([3]))
        alone.learn(np.array([[0, 1, 2]]), errors[:1])
        told = alone.draw(grid(9), correction=correction)
        np.testing.assert_array_equal(drawn.slot[k], told.slot[0])
        np.testing.assert_array_equal(drawn.weight[k], told.weight[0])


@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9),
)
def test_priorities_that_count_for_nothing_are_uniform_sampling(slots, changes, numbers):
    plain = Uniform(lanes=1, slots=slots)
    equal = Prioritised(lanes=1, slots=slots, exponent=0.0)
    for grow, shrink in changes:
        for chooser in (plain, equal):
            chooser.shrink(np.minimum(shrink, chooser.count))
            chooser.grow(np.minimum(grow, slots - chooser.count))
    if not plain.count[0]:
        return
    uniform = np.array([numbers])
    one, two = plain.draw(uniform), equal.draw(uniform, correction=1.0)
    np.testing.assert_array_equal(one.slot, two.slot)
    np.testing.assert_array_equal(one.weight, two.weight)
    equal.learn(two.slot, uniform * 100)
    np.testing.assert_array_equal(equal.draw(uniform).slot, one.slot)


@pytest.mark.parametrize("make", [Uniform, Prioritised])
def test_each_item_there_is_drawn_alike_at_first_and_no_other(make):
    chooser = make(lanes=1, slots=7)
    chooser.grow(np.array([6]))
    chooser.shrink(np.array([4]))
    chooser.grow(np.array([3]))
    assert chooser.count.tolist() == [5]
    drawn = chooser.draw(grid(5 * 4)).slot[0]
    assert np.bincount(drawn, minlength=7).tolist() == [4, 4, 0, 0, 4, 4, 4]


def test_new_items_enter_at_the_largest_priority_there_is():
    chooser = Prioritised(lanes=1, slots=4, exponent=1.0, floor=0.5)
    chooser.grow(np.array([2]))
    chooser.learn(np.array([[0, 1]]), np.array([[7.5, 1.5]]))
    chooser.grow(np.array([1]))
    np.testing.assert_allclose(chooser.probabilities()[0] * 18, [8, 2, 8, 0])


def test_a_wild_error_is_forgotten_when_its_item_goes():
    chooser = Prioritised(lanes=1, slots=4, exponent=1.0, floor=0.5)
    chooser.grow(np.array([2]))
    chooser.learn(np.array([[0, 1]]), np.array([[HUGE, 1.5]]))
    chooser.shrink(np.array([1]))
    chooser.grow(np.array([1]))
    np.testing.assert_allclose(chooser.probabilities()[0], [0, 0.5, 0.5, 0])


@pytest.mark.parametrize("error", [np.inf, -np.inf, np.nan, HUGE])
@pytest.mark.parametrize("exponent", [0.5, 2.0])
def test_errors_without_bounds_leave_all_probabilities_numbers(error, exponent):
    chooser = Prioritised(lanes=1, slots=3, exponent=exponent)
    chooser.grow(np.array([3]))
    chooser.learn(np.array([[0, 1]]), np.array([[error, 0.0]]))
    told = chooser.probabilities()
    assert np.isfinite(told).all()
    assert told.argmax() == 0
    drawn = chooser.draw(grid(10), correction=0.4)
    assert np.isfinite(drawn.weight).all()


def test_errors_of_items_that_are_gone_are_passed_over():
    chooser = Prioritised(lanes=1, slots=3, exponent=1.0)
    chooser.grow(np.array([2]))
    chooser.shrink(np.array([1]))
    chooser.learn(np.array([[0, 2]]), np.array([[5.0, 5.0]]))
    assert chooser.probabilities().tolist() == [[0.0, 1.0, 0.0]]


def test_lanes_are_independent():
    chooser = Prioritised(lanes=2, slots=3, exponent=1.0, floor=0.5)
    chooser.grow(np.array([3, 1]))
    chooser.learn(np.array([[0, 1], [0, 0]]), np.array([[0.5, 1.5], [8.5, 3.5]]))
    np.testing.assert_allclose(chooser.probabilities() * 4, [[1, 2, 1], [4, 0, 0]])


@pytest.mark.parametrize("make", [Uniform, Prioritised])
def test_a_chooser_that_was_saved_draws_as_one_that_was_not(make):
    one, two = make(lanes=2, slots=5), make(lanes=2, slots=5)
    one.grow(np.array([5, 3]))
    one.shrink(np.array([2, 1]))
    one.learn(np.array([[2, 3], [1, 2]]), np.array([[0.1, 3.0], [7.0, 0.2]]))
    saved = one.state()
    one.grow(np.array([1, 1]))
    two.restore(saved)
    two.grow(np.array([1, 1]))
    uniform = np.repeat(grid(40), 2, axis=0)
    for a, b in zip(
        one.draw(uniform, correction=0.5), two.draw(uniform, correction=0.5), strict=True
    ):
        np.testing.assert_array_equal(a, b)
