import numpy as np
import pytest

from parts.rl.tiny_worlds import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.batch import BatchSpec
from tenfold.parts.rl.running_norm import RunningNorm
from tenfold.parts.rl.spaces import (
    common_shape,
    find_competition,
    own_actions,
    read_actions,
    read_observations,
)


def encode(space, value):
    encoding = read_observations(space, agent="agent")
    array = encoding.encode(value)
    assert (array.shape, array.dtype.name) == (encoding.shape, encoding.dtype)
    assert array.size == encoding.size
    return array


# Observations


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8"])
def test_numbers_become_float32(dtype):
    array = encode(Box((2, 3), dtype), np.arange(6, dtype=dtype).reshape(2, 3))
    assert array.dtype == np.float32
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_single_number_becomes_a_row_of_one():
    assert encode(Box((), "float32"), 2.5).tolist() == [2.5]


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_images_stay_bytes_and_put_channels_first(dtype):
    image = (np.arange(5 * 4 * 3) % 2).reshape(5, 4, 3).astype(dtype)
    array = encode(Box((5, 4, 3), dtype), image)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, image.transpose(2, 0, 1))


def test_images_with_channels_first_stay_as_they_are():
    image = np.arange(3 * 5 * 4, dtype=np.uint8).reshape(3, 5, 4)
    np.testing.assert_array_equal(encode(Box((3, 5, 4), "uint8"), image), image)


def test_grey_images_get_one_channel():
    image = np.arange(20, dtype=np.uint8).reshape(5, 4)
    np.testing.assert_array_equal(encode(Box((5, 4), "uint8"), image), image[None])


def test_rows_of_bytes_stay_bytes():
    array = encode(Box((3,), "uint8"), np.array([1, 2, 255], dtype=np.uint8))
    assert (array.dtype, array.tolist()) == (np.uint8, [1, 2, 255])


def test_choices_become_one_hot():
    assert encode(Discrete(4), 2).tolist() == [0, 0, 1, 0]
    assert encode(Discrete(3, start=5), 5).tolist() == [1, 0, 0]
    assert encode(MultiDiscrete([2, 3]), np.array([1, 0])).tolist() == [0, 1, 1, 0, 0]
    assert encode(MultiBinary((3,)), np.array([1, 0, 1])).tolist() == [1, 0, 1]


def test_entries_of_a_dict_or_a_tuple_are_put_end_to_end():
    numbers, choice = Box((2,), "float64"), Discrete(3)
    value = {"b": np.array([0.5, -1.0]), "a": 1}
    assert encode(Dict({"a": choice, "b": numbers}), value).tolist() == [0, 1, 0, 0.5, -1]
    assert encode(Tuple([numbers, choice]), (value["b"], 2)).tolist() == [0.5, -1, 0, 0, 1]


def test_a_dict_with_a_mask_is_an_observation_with_a_mask():
    space = Dict({"observation": Box((2,), "float32"), "action_mask": MultiBinary((3,))})
    encoding = read_observations(space, agent="agent")
    assert encoding.masked
    assert encoding.shape == (2,)


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (Text(), "observations of red are a Text, which has no fixed .* one of Box, Discrete"),
        (Box((2,), "complex64"), "observations of red are a Box of complex64, .* float32"),
        (
            Dict({"view": Box((4, 4, 3), "uint8"), "speed": Box((1,), "float32")}),
            "observations of red mix the image 'view' .* the image alone",
        ),
        (Dict({"name": Text()}), r"observations of red\[name\] are a Text"),
    ],
    ids=["text", "complex", "mixed", "inner"],
)
def test_observations_that_cannot_be_read_are_refused(space, match):
    with pytest.raises(TenfoldError, match=match):
        read_observations(space, agent="red")


def test_an_observation_of_another_shape_than_its_space_is_refused():
    encoding = read_observations(Box((3,), "float32"), agent="red")
    with pytest.raises(TenfoldError, match=r"of red has shape \(2,\), its space says \(3,\)"):
        encoding.encode(np.zeros(2))


def test_different_observations_share_a_row_with_room_for_the_longest():
    def read(*spaces):
        return common_shape([read_observations(space, agent="agent") for space in spaces])

    assert read(Box((2, 3), "float32"), Box((2, 3), "float32")) == ((2, 3), "float32")
    assert read(Box((2, 3), "float32"), Discrete(4)) == ((6,), "float32")
    assert read(Box((4, 4), "uint8"), Box((3,), "uint8")) == ((16,), "uint8")
    assert read(Box((2,), "uint8"), Box((3,), "float32")) == ((3,), "float32")


# Actions


@pytest.mark.parametrize(
    ("space", "want"),
    [
        (Discrete(3), [0, 1, 2]),
        (Discrete(2, start=-1), [-1, 0]),
        (Tuple([Discrete(2), Discrete(2, start=5)]), [(0, 5), (0, 6), (1, 5), (1, 6)]),
        (MultiDiscrete([1, 3]), [[0, 0], [0, 1], [0, 2]]),
        (MultiBinary((2,)), [[0, 0], [0, 1], [1, 0], [1, 1]]),
    ],
    ids=["one", "start", "tuple", "several", "bits"],
)
def test_numbers_stand_for_the_actions_of_a_space(space, want):
    moves = read_actions(space, agent="agent")
    told = [moves.decode(action) for action in range(moves.count)]
    assert [part.tolist() if isinstance(part, np.ndarray) else part for part in told] == want


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (Box((2,), "float32"), r"actions of red are continuous \(a Box of shape \(2,\)\)"),
        (MultiDiscrete([17, 241]), r"4,097 combinations of 2 choices, more than 4,096"),
        (Dict({"a": Discrete(2)}), "actions of red are a Dict, .* Discrete"),
        (Text(), "actions of red are a Text, .* Discrete"),
    ],
    ids=["continuous", "many", "dict", "text"],
)
def test_actions_that_are_no_choices_are_refused(space, match):
    with pytest.raises(TenfoldError, match=match):
        read_actions(space, agent="red")


def test_each_agent_has_its_own_first_actions():
    spec = BatchSpec(
        name="two",
        copies=1,
        agents=("red", "blue"),
        actions=(2, 3),
        shape=(1,),
        dtype="float32",
        sizes=(1, 1),
    )
    assert own_actions(spec).tolist() == [[True, True, False], [True, True, True]]


# Competition


@pytest.mark.parametrize("total", [0.0, 3.0])
def test_rewards_that_always_add_up_to_the_same_are_told(total):
    own = np.random.default_rng(1).normal(size=100)
    told = find_competition(np.stack([own, total - own], axis=1))
    assert told.startswith(f"the rewards of the 2 agents add up to {total:g} at each of 100 steps")


@pytest.mark.parametrize(
    "rewards",
    [
        np.zeros((50, 2)),
        np.full((50, 2), -1.0),
        np.eye(2)[np.arange(50) % 2] * (np.arange(50) % 3 == 0)[:, None],
        np.ones((50, 1)),
        np.random.default_rng(2).normal(size=(50, 3)),
    ],
    ids=["nothing", "price of time", "now and then", "one agent", "any"],
)
def test_rewards_of_a_team_are_let_pass(rewards):
    assert find_competition(rewards) == ""


# Normalisation


def test_running_numbers_equal_those_of_all_observations_at_once():
    generator = np.random.default_rng(3)
    seen = generator.normal(5, 3, size=(2, 60, 4))
    norm = RunningNorm(lanes=2, shape=(4,))
    for part in np.split(seen, [1, 10, 11, 40], axis=1):
        norm.update(part)
    np.testing.assert_allclose(norm.mean, seen.mean(axis=1))
    np.testing.assert_allclose(norm.variance, seen.var(axis=1))
    told = norm.apply(seen)
    assert told.dtype == np.float32
    np.testing.assert_allclose(told.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(told.std(axis=1), 1, rtol=1e-5)


def test_only_observations_of_a_mask_count():
    generator = np.random.default_rng(4)
    seen, mask = generator.normal(size=(2, 30, 3)), generator.random((2, 30)) < 0.4
    mask[:, 0] = True
    norm = RunningNorm(lanes=2, shape=(3,))
    norm.update(seen[:, :10], mask=mask[:, :10])
    norm.update(seen[:, 10:], mask=mask[:, 10:])
    for k in range(2):
        np.testing.assert_allclose(norm.mean[k], seen[k, mask[k]].mean(axis=0))
        np.testing.assert_allclose(norm.variance[k], seen[k, mask[k]].var(axis=0))


def test_a_mask_of_nothing_changes_nothing():
    norm = RunningNorm(lanes=1, shape=(2,))
    norm.update(np.ones((1, 3, 2)), mask=np.zeros((1, 3), dtype=bool))
    assert (norm.mean == 0).all()
    assert (norm.apply(np.full((1, 1, 2), 4.0)) == 4).all()


def test_numbers_that_never_change_are_shifted_only():
    norm = RunningNorm(lanes=1, shape=(2,))
    norm.update(np.full((1, 5, 2), 7.0))
    assert norm.apply(np.array([[[7.0, 9.0]]])).tolist() == [[[0.0, 2.0]]]


def test_a_frozen_norm_learns_nothing_and_results_stay_within_the_limit():
    norm = RunningNorm(lanes=1, shape=(1,), limit=3.0)
    norm.update(np.array([[[0.0], [2.0]]]))
    norm.frozen = True
    norm.update(np.full((1, 9, 1), 50.0))
    assert norm.apply(np.array([[[1.0], [50.0], [-50.0]]])).tolist() == [[[0.0], [3.0], [-3.0]]]


def test_a_norm_applies_to_blocks_with_more_dimensions():
    norm = RunningNorm(lanes=2, shape=(3,))
    norm.update(np.random.default_rng(5).normal(size=(2, 20, 3)))
    block = np.random.default_rng(6).normal(size=(2, 4, 5, 3))
    flat = norm.apply(block.reshape(2, 20, 3))
    np.testing.assert_array_equal(norm.apply(block), flat.reshape(block.shape))


def test_lanes_are_normalised_each_by_itself():
    seen = np.random.default_rng(7).normal(size=(3, 20, 2))
    together = RunningNorm(lanes=3, shape=(2,))
    together.update(seen)
    for k in range(3):
        alone = RunningNorm(lanes=1, shape=(2,))
        alone.update(seen[k : k + 1])
        np.testing.assert_array_equal(alone.apply(seen[k : k + 1])[0], together.apply(seen)[k])


def test_a_norm_that_was_saved_goes_on_as_one_that_was_not():
    first, second = np.random.default_rng(8).normal(size=(2, 2, 10, 3))
    one, two = (RunningNorm(lanes=2, shape=(3,)) for _ in range(2))
    one.update(first)
    saved = one.state()
    one.update(second)
    two.restore(saved)
    two.update(second)
    np.testing.assert_array_equal(one.apply(first), two.apply(first))
    one.frozen = True
    two.restore(one.state())
    assert two.frozen
