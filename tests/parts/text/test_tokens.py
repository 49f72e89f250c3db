import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.text.tokens import BOUNDARY, VOCAB, decode, encode


@given(st.text())
def test_decoding_gives_back_every_text(text):
    assert decode(encode(text)) == text


def test_a_letter_outside_ascii_takes_several_tokens():
    assert encode("é").tolist() == [0xC3, 0xA9]


def test_documents_are_shown_with_a_mark_between_them():
    row = np.concatenate([encode("one"), [BOUNDARY], encode("two")])
    assert decode(row, boundary="|") == "one|two"
    assert decode([BOUNDARY, 97], boundary="|") == "|a"


def test_a_letter_cut_in_two_becomes_a_replacement_mark():
    assert decode(encode("aé")[:2]) == "a\ufffd"


def test_the_boundary_is_the_only_token_that_is_no_byte():
    assert BOUNDARY == VOCAB - 1 == 256
