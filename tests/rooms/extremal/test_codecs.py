"""Texts and files of graphs, against networkx and against what a user may break."""

import re

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.codecs import (
    decode_graph,
    encode_graph6,
    encode_sparse6,
    read_graphs,
    write_graphs,
)
from tenfold.rooms.extremal.graph import empty, from_edges

FORMATS = ("g6", "s6", "edges", "adjacency", "dimacs")
PETERSEN = from_edges(10, networkx.petersen_graph().edges)


@st.composite
def graphs(draw, most=40):
    n = draw(st.integers(0, most))
    edges = draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) if n else ()
    return from_edges(n, {(min(pair), max(pair)) for pair in edges if pair[0] != pair[1]})


def random_graph(nodes, *, density, seed=0):
    rng = np.random.default_rng(seed)
    return from_edges(nodes, np.argwhere(np.triu(rng.random((nodes, nodes)) < density, 1)))


def theirs(graph, kind):
    write = getattr(networkx, f"to_{kind}_bytes")
    return write(graph.to_networkx(), header=False).decode().strip()


@pytest.mark.parametrize("nodes", [*range(71), 258, 300])
def test_texts_equal_those_of_networkx_at_every_order(nodes):
    for density in (0, 0.1, 0.9) if nodes < 100 else (0.1,):
        graph = random_graph(nodes, density=density, seed=nodes)
        assert encode_graph6(graph) == theirs(graph, "graph6")
        assert encode_sparse6(graph) == theirs(graph, "sparse6")
        assert decode_graph(encode_graph6(graph)) == graph
        assert decode_graph(encode_sparse6(graph)) == graph


@given(graphs())
def test_texts_of_any_graph_are_read_back(graph):
    assert decode_graph(encode_graph6(graph)) == graph
    assert decode_graph(encode_sparse6(graph)) == graph


@given(graphs(most=17))
def test_networkx_reads_sparse6_of_small_orders_as_the_same_graph(graph):
    read = networkx.from_sparse6_bytes(encode_sparse6(graph).encode())
    assert from_edges(len(read), read.edges) == graph


@pytest.mark.parametrize("nodes", [63, 64, 5_000])
def test_sparse6_of_many_nodes_is_read_back(nodes):
    graph = from_edges(nodes, [(0, nodes - 1), (1, 2), (nodes - 2, nodes - 1)])
    assert decode_graph(encode_sparse6(graph)) == graph


def test_eight_characters_tell_more_than_258047_nodes():
    graph = from_edges(258_048, [(0, 258_047)])
    text = encode_sparse6(graph)
    assert text == theirs(empty(258_048), "sparse6") + text[9:]
    assert decode_graph(text) == graph


def test_headers_and_line_ends_are_left_out():
    assert decode_graph(">>graph6<<" + encode_graph6(PETERSEN) + "\n") == PETERSEN
    assert decode_graph(">>sparse6<<" + encode_sparse6(PETERSEN) + "\r\n") == PETERSEN


def test_the_example_of_the_format_is_spelled_as_printed_there():
    graph = from_edges(5, [(0, 2), (0, 4), (1, 3), (3, 4)])
    assert encode_graph6(graph) == "DQc"
    assert encode_sparse6(from_edges(7, [(0, 1), (0, 2), (1, 2), (5, 6)])) == ":Fa@x^"


BROKEN = {
    "character": ("I?h]\x20@eOWG", r"character 5 is ' '"),
    "character behind a header": (">>graph6<<D Qc", r"character 12 is ' '"),
    "not ASCII": ("Dé?", r"character 2 is 'é'"),
    "short": ("I?h]@eOW", r"ends after character 8; graph6 of 10 nodes has 9, this text 8"),
    "long": ("DQc?", r"goes on behind character 3; graph6 of 5 nodes has 3, this text 4"),
    "padding": ("DQd", r"character 3 has bits set"),
    "empty": ("", r"ends after 0 of the 1"),
    "order cut": ("~?A", r"ends after 3 of the 4"),
    "long order cut": ("~~?A", r"ends after 4 of the 8"),
    "order too large": ("~~??~???", r"tells \d+ nodes; at most 262144"),
    "sparse6 goes on": (":Fa@x^~~", r"character 6 is behind the last edge of 7 nodes"),
    "sparse6 padding": (":Fa@xL", r"character 6 is behind the last edge"),
    "sparse6 loop": (":Ff", r"edge 1 - 1 is a loop"),
    "sparse6 twice": (":F_N", r"edge 0 - 1 comes twice"),
    "incremental": (";Fa@x^", r"begins with ';'"),
    "directed": ("&AO", r"digraph6"),
}


@pytest.mark.parametrize(("text", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_text_is_refused_with_its_place(text, told):
    with pytest.raises(TenfoldError, match=told):
        decode_graph(text)


@given(st.text(max_size=12))
def test_any_text_is_a_graph_or_a_told_fault(text):
    try:
        graph = decode_graph(text)
    except TenfoldError:
        return
    assert graph.nodes >= 0


@settings(max_examples=20)
@given(st.lists(graphs(most=9), min_size=1, max_size=3))
def test_every_format_is_read_back_from_a_file(tmp_path_factory, several):
    for name in FORMATS:
        path = tmp_path_factory.mktemp("graphs") / "file"
        write_graphs(path, several, format=name)
        assert read_graphs(path) == several


FILES = {
    "edges from 0": ("0 1\n1 2\n\n2 3\n", "Ch"),
    "two edges": ("2 3\n0 1\n", "C`"),
    "commas and remarks": ("# mine\n0,1\n1, 2\n# end\n", "Bg"),
    "matrix without blanks": ("011\n100\n100\n", "Bo"),
    "matrix of two": ("0 1\n1 0\n", "A_"),
    "windows": ("\ufeff0 1\r\n1 2\r\n", "Bg"),
    "dimacs": ("c a path\np col 3 2\ne 1 2\ne 2 3\n", "Bg"),
    "header line": (">>graph6<<\nBg\n", "Bg"),
    "header in line": (">>graph6<<Bg\n\n", "Bg"),
}


@pytest.mark.parametrize(("text", "graph6"), FILES.values(), ids=FILES)
def test_a_file_of_a_user_is_told_by_its_content(tmp_path, text, graph6):
    (tmp_path / "file").write_text(text, encoding="utf-8", newline="")
    assert [encode_graph6(graph) for graph in read_graphs(tmp_path / "file")] == [graph6]


BAD_FILES = {
    "nothing": ("\n\n", "holds no graph"),
    "only remarks": ("c nothing\n", "holds no graph"),
    "graph6": ("Bg\nB g\n", "line 2: character 2 is ' '"),
    "three numbers": ("0 1\n1 2 5\n", r"line 2: '1 2 5' is neither an edge .* nor one of 2 rows"),
    "loop": ("0 1\n1 1\n2 3\n", "line 2: edge '1 1' is a loop"),
    "twice": ("0 1\n2 3\n1 0\n", "line 3: edge '1 0' comes twice"),
    "negative": ("0 1\n-1 2\n3 4\n", "line 2: edge '-1 2' is a loop or leaves"),
    "beyond the nodes": ("# nodes 3\n0 1\n1 3\n", "line 3: edge '1 3' .* the 3 nodes"),
    "no number": ("0 1\n1 x\n", "line 2: 'x' is no whole number"),
    "huge": ("0 999999\n", "line 1: '999999' is no whole number up to 262144"),
    "no number of nodes": ("# nodes 3\n0 1\n# nodes \n", "line 3: '# nodes' lacks a number"),
    "not symmetric": ("010\n000\n000\n", "line 1: an adjacency matrix"),
    "dimacs head": ("p graph 3 2\n", "line 1: 'p graph 3 2' should be"),
    "dimacs edge": ("p edge 3 1\na 1 2\n", "line 2: 'a 1 2' should be"),
    "dimacs number": ("p edge 3 2\ne 1 2\n", "line 1: 2 edges are promised, 1 follow"),
    "dimacs from 0": ("p edge 3 1\ne 0 1\n", "line 2: edge 'e 0 1' is a loop or leaves"),
}


@pytest.mark.parametrize(("text", "told"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_broken_file_is_refused_with_its_line(tmp_path, text, told):
    path = tmp_path / "file"
    path.write_text(text)
    for place in (path, str(path)):
        with pytest.raises(TenfoldError, match=re.escape(str(path)) + f".*{told}"):
            read_graphs(place)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TenfoldError, match=r"absent\.g6 cannot be read"):
        read_graphs(tmp_path / "absent.g6")
