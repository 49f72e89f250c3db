import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rooms.jumprelu.examples import D, activations
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu import data
from tenfold.rooms.jumprelu.data import Shuffle, Stream, as_source, dataset, examine, fingerprint
from tenfold.rooms.jumprelu.rows import matrix_rows


def numbered(*shape):
    """Rows that hold their own number."""
    count = int(np.prod(shape))
    array = np.repeat(np.arange(count, dtype=np.float32)[:, None], 2, axis=1)
    return matrix_rows(array.reshape(*shape, 2))


def numbers(x):
    return x[:, 0].long().tolist()


def held_out_numbers(source):
    return [number for block in source.held_out() for number in numbers(block)]


# The order of rows


@given(count=st.integers(1, 60), bucket=st.integers(1, 70), seed=st.integers(0, 5))
def test_every_epoch_visits_each_row_once(count, bucket, seed):
    shuffle = Shuffle(count, seed=seed, bucket=bucket)
    for epoch in range(3):
        assert sorted(shuffle.take(epoch * count, count)) == list(range(count))


@given(
    count=st.integers(1, 40),
    bucket=st.integers(1, 50),
    start=st.integers(0, 150),
    size=st.integers(1, 90),
)
def test_a_fresh_order_taken_up_anywhere_is_the_same_order(count, bucket, start, size):
    whole = Shuffle(count, seed=3, bucket=bucket).take(0, start + size)
    part = Shuffle(count, seed=3, bucket=bucket).take(start, size)
    np.testing.assert_array_equal(part, whole[start:])


def test_orders_differ_between_epochs_and_seeds():
    first = Shuffle(100, seed=0)
    assert (first.take(0, 100) != first.take(100, 100)).any()
    assert (first.take(0, 100) != Shuffle(100, seed=1).take(0, 100)).any()


def test_a_bucket_is_read_to_its_end_before_the_next():
    order = Shuffle(100, seed=0, bucket=10).take(0, 100) // 10
    assert len(list(itertools.groupby(order))) == 10


# What is held out


@given(
    count=st.integers(2, 400),
    held_out=st.floats(0.01, 0.99),
    size=st.integers(1, 50),
    seed=st.integers(0, 3),
)
def test_held_out_rows_never_appear_in_batches_and_no_row_is_lost(count, held_out, size, seed):
    source = dataset(numbered(count), held_out=held_out)
    aside = held_out_numbers(source)
    steps = -(-source.num_training_rows // size)
    seen = [n for step in range(steps) for n in numbers(source.batch(step, size=size, seed=seed))]
    assert aside
    assert not set(aside) & set(seen)
    assert not set(aside) & set(numbers(source.sample()))
    assert set(aside) | set(seen) == set(range(count))


def test_about_the_asked_share_is_held_out_the_same_in_every_run():
    aside = held_out_numbers(dataset(numbered(4_000), held_out=0.1))
    assert len(aside) == pytest.approx(400, rel=0.05)
    assert aside == held_out_numbers(dataset(numbered(4_000), held_out=0.1))


@pytest.mark.parametrize(("sequences", "length"), [(500, 7), (12, 5), (3, 400)])
def test_positions_of_a_sequence_are_held_out_together(sequences, length):
    source = dataset(numbered(sequences, length), held_out=0.1)
    aside = held_out_numbers(source)
    whole = {number // length for number in aside}
    assert sorted(aside) == [length * s + t for s in sorted(whole) for t in range(length)]
    assert 0 < len(whole) < sequences


def test_one_sequence_cannot_be_parted():
    with pytest.raises(TenfoldError, match="9 rows are one sequence of 9; give at least two"):
        dataset(numbered(1, 9), held_out=0.1)


def test_one_row_is_too_few_to_hold_out():
    with pytest.raises(TenfoldError, match="1 row is too few: one to train on and one to hold out"):
        dataset(numbered(1), held_out=0.1)


def test_batches_depend_on_step_size_and_seed_alone():
    source = dataset(numbered(300), held_out=0.1)
    later = source.batch(5, size=16, seed=1)
    assert torch.equal(later, dataset(numbered(300), held_out=0.1).batch(5, size=16, seed=1))
    assert not torch.equal(later, source.batch(5, size=16, seed=2))


# What is looked at before training


def test_constant_columns_are_counted():
    x = activations(100)
    x[:, [1, 4]] = 3.0
    assert examine(matrix_rows(x)) == [f"2 of {D} columns are constant"]
    assert examine(matrix_rows(activations(100))) == []


def test_rows_that_are_all_alike_are_refused():
    with pytest.raises(TenfoldError, match="all 3 columns are constant; there is nothing to learn"):
        examine(matrix_rows(np.ones((50, 3), dtype=np.float32)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named_by_its_number(bad, monkeypatch):
    monkeypatch.setattr(data, "READ_ROWS", 16)
    x = activations(100)
    x[37, 3] = bad
    x[80, 0] = np.nan
    with pytest.raises(TenfoldError, match=r"^row 37 holds NaN or infinity; remove such rows"):
        as_source(x, held_out=0.1)


def test_huge_finite_rows_are_no_fault():
    x = activations(50)
    x[:, 0] = 3e38 * np.sign(x[:, 0])
    as_source(x, held_out=0.1)


def test_a_bad_row_beyond_those_looked_at_is_named_when_it_comes(monkeypatch):
    monkeypatch.setattr(data, "CHECKED_ROWS", 10)
    x = activations(100)
    x[10:, 3] = np.nan
    source, _ = as_source(x, held_out=0.1)
    with pytest.raises(TenfoldError, match=r"row \d\d holds NaN"):
        source.batch(0, size=50, seed=0)


def test_the_fingerprint_changes_with_a_value_and_not_with_the_name():
    x = activations(100)
    changed = x.copy()
    changed[50, 2] += 1
    assert fingerprint(matrix_rows(x, name="a")) == fingerprint(matrix_rows(x.copy(), name="b"))
    assert fingerprint(matrix_rows(x)) != fingerprint(matrix_rows(changed))


# Streams


def factory(cursor):
    return (torch.full((4, 2), float(number)) for number in itertools.count(cursor))


def test_a_stream_sets_its_first_batches_aside_and_trains_on_the_rest():
    stream = Stream(factory)
    assert held_out_numbers(stream) == [number for number in range(8) for _ in range(4)]
    assert [numbers(stream.batch(step, size=4, seed=0))[0] for step in range(3)] == [8, 9, 10]
    assert stream.width == 2


def test_a_factory_is_taken_up_anywhere():
    assert numbers(Stream(factory).batch(5, size=4, seed=0)) == [13] * 4


def test_seeds_share_the_batch_of_a_stream():
    stream = Stream(factory(0))
    batches = [stream.batch(0, size=4, seed=seed) for seed in (0, 1)]
    assert torch.equal(*batches)
    assert numbers(stream.batch(1, size=4, seed=0)) == [9] * 4


def test_a_plain_iterator_cannot_be_taken_up():
    stream = Stream(factory(0))
    assert not stream.resumable
    assert Stream(factory).resumable
    with pytest.raises(
        TenfoldError, match="batch 5 was asked for but a plain iterator stands at 0"
    ):
        stream.batch(5, size=4, seed=0)


def test_a_stream_that_ends_too_early_says_after_how_many_batches():
    stream = Stream(iter([torch.ones(4, 2)] * 9))
    stream.batch(0, size=4, seed=0)
    with pytest.raises(TenfoldError, match="the stream ended after 9 batches; make it longer"):
        stream.batch(1, size=4, seed=0)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (1, 4, 2)])
def test_a_batch_of_another_shape_is_named(shape):
    batches = [torch.ones(4, 2)] * 2 + [torch.ones(shape)] + [torch.ones(4, 2)] * 8
    with pytest.raises(TenfoldError, match=r"batch 2 has shape .*; wanted \[B, 2\]"):
        Stream(iter(batches))


def test_a_bad_row_of_a_stream_is_named_with_its_batch():
    batches = [torch.ones(4, 2)] * 2 + [torch.full((4, 2), torch.nan)]
    with pytest.raises(TenfoldError, match="batch 2, row 0 holds NaN"):
        Stream(iter(batches))


def test_a_stream_of_another_batch_size_than_the_configs_is_refused():
    with pytest.raises(TenfoldError, match="has 4 rows and the config's batch is 5; make them eq"):
        Stream(factory).batch(0, size=5, seed=0)
