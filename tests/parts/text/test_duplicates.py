import numpy as np
import pytest

from tenfold.parts.text.documents import Document
from tenfold.parts.text.duplicates import fingerprint, without_near_duplicates

WORDS = [f"w{number}" for number in range(500)]


def write(seed, count=800):
    return " ".join(np.random.default_rng(seed).choice(WORDS, size=count))


def document(name, text):
    return Document(name=name, group=name, kind="prose", text=text)


def names(documents):
    return [d.name for d in without_near_duplicates(documents)]


def test_different_texts_all_stay():
    assert names([document(f"{i}", write(i)) for i in range(6)]) == list("012345")


def test_of_a_text_and_its_slightly_changed_copy_the_longer_stays():
    text = write(0)
    changed = text.replace("w7 ", "w8 ") + " and one more remark"
    assert names([document("a", text), document("b", changed)]) == ["b"]


def test_new_line_breaks_and_indents_hide_no_copy():
    text = write(0)
    wrapped = text.replace(" ", "\n    ", 300)
    assert names([document("a", text), document("b", wrapped)]) == ["b"]


def test_a_part_of_a_longer_text_goes():
    text = write(0)
    assert names([document("part", text[500:2000]), document("whole", text)]) == ["whole"]


def test_a_text_put_together_from_two_others_goes():
    first, second = write(0), write(1)
    pieces = first[:1200] + second[:1200]
    found = names([document("a", first), document("b", second), document("c", pieces)])
    assert found == ["a", "b"]


@pytest.mark.parametrize(("share", "kept"), [(0.3, ["a", "b"]), (0.7, ["a"])])
def test_half_of_shared_text_is_the_limit(share, kept):
    first, second = write(0, count=2000), write(1, count=2000)
    mixed = first[: int(share * 5000)] + second[: int((1 - share) * 5000)]
    assert names([document("a", first), document("b", mixed)]) == kept


def test_the_order_given_does_not_matter():
    text = write(0)
    documents = [document("b", text), document("a", text), document("c", write(1))]
    assert names(documents) == names(documents[::-1]) == ["a", "c"]


def test_one_passage_in_sixteen_is_kept():
    count = len(fingerprint(write(3, count=20_000)))
    assert count == pytest.approx(len(write(3, count=20_000)) / 16, rel=0.1)


def test_a_text_shorter_than_a_passage_has_no_fingerprint():
    assert len(fingerprint("short")) == 0
