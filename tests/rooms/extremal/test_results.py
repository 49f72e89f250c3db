"""The graphs that are committed as the room's result: each checked anew, against its own table."""

import csv
from pathlib import Path

import pytest

from tenfold.rooms.extremal.bounds import known
from tenfold.rooms.extremal.codecs import read_graphs
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import verify

FOLDER = Path(__file__).parents[3] / "claims" / "extremal"
GRAPHS, TABLE = FOLDER / "girth5.s6", FOLDER / "girth5.csv"


@pytest.fixture(scope="module")
def rows():
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def graphs():
    return read_graphs(GRAPHS)


def test_every_graph_has_girth_five_and_as_many_edges_as_its_row_says(graphs, rows):
    assert len(graphs) == len(rows)
    for graph, row in zip(graphs, rows, strict=True):
        assert (graph.nodes, graph.size) == (int(row["nodes"]), int(row["edges"]))
        assert verify(graph, Problem(nodes=graph.nodes)).girth == 5


def test_every_size_is_there_once(rows):
    nodes = [int(row["nodes"]) for row in rows]
    assert nodes == list(range(54, 261))


def test_rows_say_where_a_graph_came_from_and_what_is_known(rows):
    table = known("C3,C4")
    for row in rows:
        assert all(row[name] for name in ("method", "start", "time"))
        assert int(row["flips"]) > 0
        nodes, edges = int(row["nodes"]), int(row["edges"])
        if nodes in table:
            assert int(row["known_lower"]) == table[nodes].lower <= edges
            assert edges <= table[nodes].upper


def test_the_files_are_small():
    assert GRAPHS.stat().st_size + TABLE.stat().st_size < 1_000_000
