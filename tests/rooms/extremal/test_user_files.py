"""What people bring: files with many graphs into an archive, and what is refused by name."""

import networkx
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import read_known
from tenfold.rooms.extremal.codecs import read_graphs, write_graphs
from tenfold.rooms.extremal.graph import empty, from_edges, relabel
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.problem import Problem

PETERSEN, CYCLE = construct("petersen"), construct("cycle:5")
TURNED = relabel(PETERSEN, [*range(9, -1, -1)])


def put_all(archive, path):
    """Return which graphs of a file were kept."""
    return [archive.put(graph, method="file", start=path.name) for graph in read_graphs(path)]


@pytest.mark.parametrize("name", ["g6", "s6", "edges", "adjacency", "dimacs"])
def test_a_file_of_many_graphs_goes_into_an_archive_class_by_class(tmp_path, name):
    path = tmp_path / f"mine.{name}"
    write_graphs(path, [CYCLE, PETERSEN, TURNED, construct("robertson")], format=name)
    archive = Archive(tmp_path / "archive", Problem(nodes=10))
    assert put_all(archive, path) == [True, True, False, True]
    assert [archive.edges(nodes) for nodes in archive.nodes()] == [5, 15, 38]
    assert archive.best(10)[0].start == path.name
    assert put_all(archive, path) == [False] * 4


def test_graph6_and_sparse6_may_be_mixed_in_one_file(tmp_path):
    for name in ("g6", "s6"):
        write_graphs(tmp_path / name, [CYCLE, PETERSEN], format=name)
    mixed = tmp_path / "mixed"
    mixed.write_text(f">>graph6<<{(tmp_path / 'g6').read_text()}\n{(tmp_path / 's6').read_text()}")
    assert read_graphs(mixed) == [CYCLE, PETERSEN, CYCLE, PETERSEN]


def test_a_file_goes_into_an_archive_that_has_better_graphs_without_harm(tmp_path):
    archive = Archive(tmp_path / "archive", Problem(nodes=10))
    archive.put(PETERSEN, method="hand")
    write_graphs(tmp_path / "worse.g6", [from_edges(10, PETERSEN.edges[1:])], format="g6")
    assert put_all(archive, tmp_path / "worse.g6") == [False]
    assert archive.edges(10) == 15


def test_what_a_search_kept_can_be_exported_and_put_into_another_archive(tmp_path):
    first = Archive(tmp_path / "first", Problem(nodes=10))
    for graph in (PETERSEN, CYCLE):
        first.put(graph, method="hand")
    first.export(tmp_path / "out.s6", format="s6", every=True)
    second = Archive(tmp_path / "second", Problem(nodes=10))
    assert put_all(second, tmp_path / "out.s6") == [True, True]
    assert second.merge(first) == 0


def test_a_start_that_breaks_the_rule_is_refused_with_its_cycle(tmp_path):
    write_graphs(tmp_path / "grid.g6", [from_edges(4, networkx.cycle_graph(4).edges)], format="g6")
    archive = Archive(tmp_path / "archive", Problem(nodes=4))
    with pytest.raises(TenfoldError, match=r"cycle of length 4 through nodes \d - \d - \d - \d"):
        put_all(archive, tmp_path / "grid.g6")


SIZES = {
    "none": (empty(0), {}, "a graph of 0 nodes does not fit: nodes is 0; give 2 to 1024"),
    "one": (empty(1), {}, "a graph of 1 nodes does not fit"),
    "too many": (empty(1025), {}, "of 1025 nodes does not fit: .* 2 to 1024, the table's limit"),
    "for a degree": (CYCLE, {"min_degree": 3}, "of 5 nodes .* needs 10 nodes or more"),
    "odd sum": (CYCLE, {"forbid": "C3", "regular": 1}, "of 5 nodes .* odd sum of degrees 5"),
}


@pytest.mark.parametrize(("graph", "asked", "told"), SIZES.values(), ids=SIZES)
def test_a_graph_of_a_size_that_cannot_be_asked_for_is_refused(tmp_path, graph, asked, told):
    archive = Archive(tmp_path, Problem(nodes=50, **asked))
    with pytest.raises(TenfoldError, match=told):
        archive.put(graph, method="file")
    assert archive.nodes() == []


def test_a_table_of_another_forbidden_set_is_laid_over_that_one(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("nodes,lower,upper,source\n60,190,,mine\n", encoding="utf-8-sig")
    found = read_known(path, forbid="C4")
    assert (found[60].lower, found[60].source) == (190, "mine")
    assert found[10].lower == 16  # ex(10; C4)
    assert set(read_known(path, forbid="C5")) == {60}
