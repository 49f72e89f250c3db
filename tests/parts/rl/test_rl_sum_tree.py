import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.rl import sum_tree

SIZES = st.floats(1e-100, 1e100) | st.just(0.0)


def tree_of(*lanes):
    """Return trees with these leaves."""
    trees = sum_tree.new_trees(len(lanes), slots=len(lanes[0]))
    for k, leaves in enumerate(lanes):
        for slot, value in enumerate(leaves):
            sum_tree.place(trees, k, slot, float(value))
    return trees


def leaves_of(trees, slots):
    half = trees.total.shape[1] // 2
    return trees.total[:, half : half + slots].tolist()


def found(trees, wanted):
    slot = np.empty(np.shape(wanted), dtype=np.int64)
    sum_tree.find(trees, np.array(wanted, dtype=np.float64), slot)
    return slot.tolist()


def plain_find(leaves, wanted):
    """Walk along the leaves."""
    for slot, value in enumerate(leaves):
        if wanted < value:
            return slot
        wanted -= value
    raise AssertionError("beyond the last leaf")


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(any))
def test_each_leaf_is_found_for_exactly_as_many_numbers_as_it_is_large(leaves):
    trees = tree_of(leaves)
    wanted = np.arange(sum(leaves)) + 0.5
    (slots,) = found(trees, [wanted])
    assert np.bincount(slots, minlength=len(leaves)).tolist() == leaves


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(any), st.data())
def test_finding_equals_a_walk_along_the_leaves(leaves, data):
    total = sum(leaves)
    wanted = data.draw(st.lists(st.integers(0, 8 * total - 1), min_size=1, max_size=10))
    wanted = [number / 8 for number in wanted]
    assert found(tree_of(leaves), [wanted]) == [[plain_find(leaves, w) for w in wanted]]


@given(
    st.lists(SIZES, min_size=1, max_size=17).filter(any),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=10),
)
def test_a_leaf_that_holds_nothing_is_never_found(leaves, shares):
    trees = tree_of(leaves)
    wanted = np.array([shares]) * trees.total[0, 1]
    assert all(leaves[slot] > 0 for slot in found(trees, wanted)[0])


@given(st.lists(SIZES, min_size=1, max_size=17).filter(any))
def test_a_number_rounded_up_to_the_total_still_finds_a_leaf_that_holds_something(leaves):
    trees = tree_of(leaves)
    ((slot,),) = found(trees, trees.total[:, 1:2])
    assert leaves[slot] > 0


@given(st.lists(SIZES, min_size=1, max_size=17))
def test_every_node_is_the_sum_the_least_and_the_most_of_what_is_below(leaves):
    trees = tree_of(leaves)
    half = trees.total.shape[1] // 2
    for node in range(1, half):
        left, right = 2 * node, 2 * node + 1
        assert trees.total[0, node] == trees.total[0, left] + trees.total[0, right]
    there = [value for value in leaves if value > 0]
    assert trees.total[0, 1] == pytest.approx(sum(leaves))
    assert trees.most[0, 1] == max(there, default=0)
    assert trees.least[0, 1] == min(there, default=np.inf)


@given(st.lists(st.tuples(st.integers(0, 12), SIZES), max_size=40))
def test_a_tree_built_anew_from_its_leaves_is_equal_to_the_last_bit(changes):
    trees = sum_tree.new_trees(1, slots=13)
    for slot, value in changes:
        sum_tree.place(trees, 0, slot, value)
    again = sum_tree.new_trees(1, slots=13)
    again.total[:, again.total.shape[1] // 2 :] = trees.total[:, trees.total.shape[1] // 2 :]
    sum_tree.rebuild(again)
    for one, other in zip(trees, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sums_do_not_drift_when_leaves_change_a_million_fold():
    trees = tree_of([1.0] * 8)
    generator = np.random.default_rng(1)
    for _ in range(2_000):
        sum_tree.place(trees, 0, int(generator.integers(8)), 10.0 ** generator.uniform(-60, 60))
    for slot in range(8):
        sum_tree.place(trees, 0, slot, 1.0)
    assert trees.total[0, 1] == 8.0


def test_new_leaves_are_as_large_as_the_largest_of_their_own_lane():
    trees = tree_of([2.0, 5.0, 0, 0, 0], [0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0.5])
    sum_tree.enter(trees, np.array([2, 3, 1]), np.array([2, 1, 0]), 5)
    assert leaves_of(trees, 5) == [[2, 5, 5, 5, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0.5]]


def test_leaves_come_and_go_in_a_circle():
    trees = tree_of([3.0, 0, 0, 0, 0])
    sum_tree.enter(trees, np.array([3]), np.array([3]), 5)
    assert leaves_of(trees, 5) == [[3, 0, 0, 3, 3]]
    sum_tree.leave(trees, np.array([4]), np.array([2]), 5)
    assert leaves_of(trees, 5) == [[0, 0, 0, 3, 0]]
    assert trees.total[0, 1] == 3


def test_only_leaves_that_hold_something_are_revised_and_the_last_value_counts():
    trees = tree_of([1.0, 0, 2.0], [0, 1.0, 1.0])
    slots = np.array([[0, 1, 0], [1, 1, 0]])
    sum_tree.revise(trees, slots, np.array([[7.0, 8.0, 9.0], [4.0, 5.0, 6.0]]))
    assert leaves_of(trees, 3) == [[9, 0, 2], [0, 5, 1]]


@pytest.mark.parametrize("slots", [1, 2, 3, 8, 9])
def test_trees_of_any_size_hold_all_their_slots(slots):
    trees = tree_of([1.0] * slots)
    assert found(trees, [np.arange(slots) + 0.25]) == [list(range(slots))]


def test_compiled_loops_equal_plain_ones():
    if not hasattr(sum_tree.find, "py_func"):
        pytest.skip("numba is not installed")
    generator = np.random.default_rng(2)
    leaves = generator.integers(0, 5, size=(3, 11))
    trees = tree_of(*leaves.tolist())
    wanted = generator.random((3, 50)) * trees.total[:, 1:2]
    slots = np.empty((3, 50), dtype=np.int64)
    sum_tree.find.py_func(trees, wanted, slots)
    assert slots.tolist() == found(trees, wanted)
