import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.text.documents import Document
from tenfold.parts.text.packing import Windows, cut, pack, spread_starts
from tenfold.parts.text.tokens import decode

DOCUMENTS = [
    Document(name="a", group="a", kind="prose", text="one"),
    Document(name="b", group="b", kind="code", text="two!"),
]


def windows(**changes):
    return Windows(**({"size": 103, "length": 5, "batch": 4, "seed": 1, "name": "x"} | changes))


def test_each_document_stands_behind_a_boundary():
    packed = pack(DOCUMENTS)
    assert decode(packed.tokens, boundary="|") == "|one|two!"
    assert packed.starts.tolist() == [0, 4]
    assert packed.kinds.tolist() == [1, 0]


def test_every_position_knows_its_document():
    assert pack(DOCUMENTS).document_at(np.arange(9)).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_no_documents_give_no_tokens():
    assert len(pack([]).tokens) == 0


def test_windows_are_cut_as_they_stand():
    row = pack(DOCUMENTS).tokens
    assert cut(row, np.array([1, 5]), length=3).tolist() == [list(b"one"), list(b"two")]


@given(size=st.integers(30, 200), epoch=st.integers(0, 3), seed=st.integers(0, 50))
def test_no_token_comes_twice_in_an_epoch(size, epoch, seed):
    order = windows(size=size, seed=seed)
    batches = range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch)
    places = np.concatenate([order.starts(index) for index in batches])[:, None] + np.arange(5)
    assert len(np.unique(places)) == places.size
    assert 0 <= places.min() <= places.max() < size


def test_batches_are_a_function_of_seed_name_and_index():
    assert windows().starts(7).tolist() == windows().starts(7).tolist()
    for other in (windows(seed=2), windows(name="y")):
        assert windows().starts(7).tolist() != other.starts(7).tolist()


def test_epochs_differ_in_order_and_in_where_windows_begin():
    first, second = (windows(size=10_003).starts(epoch * 499) for epoch in (0, 1))
    assert first.tolist() != second.tolist()
    assert set(first % 5) != set(second % 5)


def test_a_text_too_short_for_a_batch_is_refused():
    with pytest.raises(ValueError, match="20 tokens do not hold 4 windows of 5"):
        windows(size=20)


def test_spread_windows_reach_over_the_whole_row():
    assert spread_starts(100, length=10, count=4).tolist() == [0, 25, 50, 75]


def test_spread_windows_never_overlap_and_are_as_many_as_fit():
    assert spread_starts(35, length=10, count=99).tolist() == [0, 11, 22]
    assert len(spread_starts(5, length=10, count=3)) == 0
