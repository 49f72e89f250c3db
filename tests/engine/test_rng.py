import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engine import rng

names = st.lists(st.text(max_size=5) | st.integers(), max_size=3).map(tuple)


@given(seed=st.integers(0, 2**40), path=names)
def test_a_stream_is_a_function_of_seed_and_path(seed, path):
    first, second = rng.stream(seed, *path), rng.stream(seed, *path)
    assert first.integers(0, 2**62, 4).tolist() == second.integers(0, 2**62, 4).tolist()


@given(one=st.tuples(st.integers(0, 99), names), other=st.tuples(st.integers(0, 99), names))
def test_different_names_are_different_streams(one, other):
    keys = rng.key(one[0], *one[1]), rng.key(other[0], *other[1])
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "b"), ("ab",)), ((1,), ("1",)), (("a", 1, 2), ("a", 12)), ((), ("",))],
)
def test_paths_that_read_alike_are_different_streams(one, other):
    assert rng.key(0, *one) != rng.key(0, *other)


def test_keys_are_the_first_sixteen_bytes_of_a_sha256_and_stay_so():
    # printf "(7, ('data', 3))" | sha256sum
    key = int.from_bytes(bytes.fromhex("14819c9609caefbcb9e89911bc472c01"), "little")
    assert rng.key(7, "data", 3) == key
    raw = rng.stream(7, "data", 3).bit_generator.random_raw(2)
    assert raw.tolist() == [12395741370616302303, 14804547724053948513]
    assert rng.torch_stream(7, "data", 3).initial_seed() == key % 2**63


def test_drawing_from_one_stream_moves_no_other():
    alone = rng.stream(1, "b").random(3)
    other, mine = rng.stream(1, "a"), rng.stream(1, "b")
    other.random(1000)
    assert (mine.random(3) == alone).all()


def test_streams_are_independent():
    draws = np.stack([rng.stream(5, "layer", i).standard_normal(4000) for i in range(12)])
    correlation = np.corrcoef(draws) - np.eye(12)
    # 66 pairs, standard deviation 1/sqrt(4000) = 0.016 each: five of them is out of reach.
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_global_generators_are_left_alone():
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    rng.stream(3, "x").random()
    torch.rand(3, generator=rng.torch_stream(3, "x"))
    assert (np.random.get_state()[1] == np_state).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_carried_generator_goes_on_from_its_saved_state():
    generator = rng.torch_stream(1, "noise")
    torch.randn(17, generator=generator)
    saved = rng.generator_state(generator)
    expected = torch.randn(5, generator=generator)
    other = rng.torch_stream(2, "elsewhere")
    rng.restore_generator(other, saved)
    assert torch.equal(torch.randn(5, generator=other), expected)


def test_a_saved_state_does_not_move_with_its_generator():
    generator = rng.torch_stream(1, "noise")
    saved = rng.generator_state(generator)
    before = saved.clone()
    torch.randn(1000, generator=generator)
    assert torch.equal(saved, before)
