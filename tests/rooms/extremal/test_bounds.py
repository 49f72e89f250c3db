"""Bounds and the table of known values, against exact values and all graphs of few nodes."""

import functools

import networkx
import pytest

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.extremal.bounds import known, read_known, upper_bound
from tenfold.rooms.extremal.graph import from_edges
from tenfold.rooms.extremal.problem import Problem
from tenfold.rooms.extremal.verify import find_faults

A006856 = (
    "0 1 2 3 5 6 8 10 12 15 16 18 21 23 26 28 31 34 38 41 44 47 50 54 57 61 65 68 72 76 80 85 87 "
    "90 95 99 104 109 114 120 124 129 134 139 145 150 156 162 168 175 176 178 181"
)


@functools.cache
def all_graphs():
    graphs = [graph for graph in networkx.graph_atlas_g() if 2 <= len(graph) <= 7]
    return [from_edges(len(graph), graph.edges) for graph in graphs]


def most_edges(nodes, **problem):
    asked = Problem(nodes=nodes, **problem)
    legal = [g.size for g in all_graphs() if g.nodes == nodes and not find_faults(g, asked)]
    return max(legal)


def bound(nodes, forbid="C3,C4", **problem):
    return upper_bound(Problem(nodes=nodes, forbid=forbid, **problem))


FAMILIES = ["C3", "C4", "C5", "C6", "C7", "C3,C4", "C4,C5", "C3,C4,C5", "girth7", "K2_2", "K2_3"]


@pytest.mark.parametrize("forbid", [*FAMILIES, "C3,K2_3", "C3,C5", "C4,C6"])
def test_no_graph_of_up_to_seven_nodes_exceeds_the_bound(forbid):
    for nodes in range(2, 8):
        assert most_edges(nodes, forbid=forbid) <= bound(nodes, forbid).value


@pytest.mark.parametrize("forbid", ["C3", "C3,C4", "C4", "C3,C4,C5", "K2_2"])
def test_the_bound_of_few_nodes_is_reached(forbid):
    for nodes in range(2, 8):
        assert most_edges(nodes, forbid=forbid) == bound(nodes, forbid).value


def test_exact_values_of_girth_five_are_those_of_the_encyclopedia():
    values = [int(word) for word in A006856.split()]
    table = known("girth5")
    assert [table[nodes].lower for nodes in range(1, 54)] == values
    assert all(table[nodes].exact for nodes in range(1, 54))
    assert [bound(nodes).value for nodes in range(2, 54)] == values[1:]


@pytest.mark.parametrize("forbid", ["C3,C4", "C4", "C3,C4,C5"])
def test_the_rules_give_every_upper_value_of_the_table(forbid):
    for nodes, value in known(forbid).items():
        assert nodes == 1 or bound(nodes, forbid).value == value.upper
        assert value.lower <= value.upper
        assert value.source


def test_the_rules_go_on_beyond_the_table():
    values = [bound(nodes).value for nodes in range(203, 261)]
    assert values[0] == 1442
    assert values == sorted(values)
    assert all(nodes * (nodes - 1) ** 0.5 / 2 >= bound(nodes).value for nodes in (204, 240, 1024))


def test_incidence_graphs_of_generalised_polygons_meet_the_bound():
    assert bound(14, "girth6").value == 21  # Heawood
    assert bound(30, "girth8").value == 45  # Tutte and Coxeter
    assert bound(266, "girth6").value == 1596  # the plane of order 11, beyond the table


def test_larger_sets_of_forbidden_graphs_have_no_larger_bound():
    for nodes in (20, 45, 62, 90, 130):
        few, more = bound(nodes, "C4").value, bound(nodes, "C3,C4").value
        most = bound(nodes, "C3,C4,C5").value
        assert few >= more >= most >= bound(nodes, "C3,C4,C5,C6").value


def test_each_bound_names_its_rule():
    told = {
        bound(50).rule: "table, A006856 (exact)",
        bound(9, "C3").rule: "no C3 (Mantel 1907)",
        bound(9, "C5").rule: "no C5 (Furedi and Gunderson 2015)",
        bound(6, "C6").rule: "no cycle through all nodes (Ore 1961)",
        bound(5, "C6").rule: "all pairs",
        bound(80, "C4").rule: "pairs with common neighbours",
        bound(54).rule: "averaging over the deletions from 54 nodes",
        bound(90, "girth9").rule: "Moore's bound for girth 9 (Alon, Hoory, Linial 2002)",
        bound(20, max_degree=3).rule: "the largest degree",
    }
    assert list(told) == list(told.values())


def test_a_host_lowers_the_bound():
    assert bound(14, "C4", host="bipartite:7,7").value == 21  # the Heawood graph
    assert bound(12, "K2_3", host="bipartite:4,8").value <= 4 * 8 * 3 // 4
    assert bound(8, "C5", host="hypercube:3").value == 12
    assert bound(40, "C4", host="bipartite:2,38").value == 39


def test_the_largest_degree_lowers_the_bound():
    assert bound(21, max_degree=3).value == 31


def test_the_table_tells_prototype_and_classes():
    value = known("C3,C4")[32]
    assert (value.prototype, value.classes) == (85, 1)
    assert "not checked" in value.classes_source
    assert known("C3,C4")[203].prototype == 1233
    assert known("C3,C4")[203].classes is None
    assert not known("C3,C4")[54].exact


def test_k22_has_the_table_of_c4_and_other_sets_have_none():
    assert known("K2_2") == known("C4")
    assert known("C3,C4,K2_3") == known("C3,C4")
    assert known("C5") == {}


def test_a_table_of_a_user_is_laid_over_ours(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "nodes,lower,upper,source\n98,450,482,me\n300,2000,,me\n16,28,28,mine\n17,30,31,x\n"
    )
    found = read_known(path)
    assert (found[98].lower, found[98].upper, found[98].source) == (450, 482, "me")
    assert found[98].classes is None
    assert found[300].upper == bound(300).value
    assert (found[16].classes, found[16].source) == (22, "mine")
    assert found[17].classes is None
    assert found[99] == known("C3,C4")[99]


BAD = {
    "column": ("nodes,lower\n5,5\n", "lacks the column source, upper"),
    "number": ("nodes,lower,upper,source\n5,x,6,me\n", "line 2 has nodes '5', lower 'x'"),
    "short": ("nodes,lower,upper,source\n5,5,5,me\n6\n", "line 3 has nodes '6', lower None"),
    "order": ("nodes,lower,upper,source\n5,7,6,me\n", "line 2 has lower 7 and upper 6 on 5 nodes"),
    "no nodes": ("nodes,lower,upper,source\n0,0,0,me\n", "line 2 has 0 nodes; give 1 to 1024"),
    "too many nodes": (
        "nodes,lower,upper,source\n1025,9,,me\n",
        "line 2 has 1025 nodes; give 1 to",
    ),
    "semicolons": ("nodes;lower;upper;source\n5;5;5;me\n", "lacks the column lower, nodes"),
    "empty": ("", "lacks the column"),
}


@pytest.mark.parametrize(("text", "told"), BAD.values(), ids=BAD)
def test_a_broken_table_is_refused(tmp_path, text, told):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(TenfoldError, match=told):
        read_known(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(TenfoldError, match=r"absent\.csv cannot be read"):
        read_known(tmp_path / "absent.csv")
