"""The rule of what an archive keeps."""

import pytest

from tenfold.rooms.extremal.codecs import encode_graph6
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.shelf import FIELDS, Entry, Shelf

EDGE = from_edges(3, [(0, 1)])


def entry(edges, form, *, nodes=9, end=0):
    return Entry({"nodes": nodes, "edges": edges, "form": form, "graph": f"{form}{edges}"}, end=end)


def filled(*, keep=2, slack=1):
    shelf = Shelf(keep=keep, slack=slack)
    for edges, form in ((5, "a"), (7, "b"), (6, "c"), (7, "d")):
        assert shelf.add(entry(edges, form))
    return shelf


def test_the_best_is_the_most_edges_of_a_size():
    shelf = filled()
    assert (shelf.best(9), shelf.best(8)) == (7, -1)


def test_entries_come_most_edges_first_and_those_below_the_slack_not_at_all():
    assert [each.form for each in filled().entries(9)] == ["b", "d", "c"]
    assert [each.form for each in filled(slack=0).entries(9)] == ["b", "d"]
    assert list(filled().entries(8)) == []


@pytest.mark.parametrize(
    ("nodes", "edges", "wanted"), [(9, 8, True), (9, 7, False), (9, 6, True), (9, 5, False)]
)
def test_wanted_is_what_lies_within_the_slack_and_has_room(nodes, edges, wanted):
    assert filled().wants(nodes, edges) == wanted


def test_any_first_graph_of_a_size_is_wanted():
    assert filled().wants(8, 0)


def test_a_class_is_kept_once_for_each_number_of_edges():
    shelf = filled()
    assert not shelf.add(entry(7, "b"))
    assert shelf.add(entry(8, "b"))
    assert shelf.add(entry(7, "b", nodes=10))


def test_the_entry_that_came_first_stays():
    shelf = filled()
    shelf.add(entry(7, "b", end=99))
    assert shelf.get(entry(7, "b")).end == 0
    assert shelf.get(entry(7, "x")) is None


def test_texts_are_remembered_of_copies_too():
    shelf = filled()
    copy = Entry({"nodes": 9, "edges": 7, "form": "b", "graph": "other text"}, end=0)
    assert not shelf.add(copy)
    assert {"b7", "other text"} <= shelf.texts


def test_a_find_has_the_facts_of_its_line_and_no_others():
    facts = {name: name for name in FIELDS - {"graph", "nodes", "edges"}}
    line = {**facts, "graph": encode_graph6(EDGE), "nodes": 3, "edges": 1, "of a later version": 1}
    find = Entry(line, end=0).find
    assert find.graph == EDGE
    assert (find.method, find.form) == ("method", "form")
